"""What a flow consists of: its states, its data, and for each state what is asked, taken and run."""

from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel
from typing_extensions import TypeVar as DefaultTypeVar

from telegram.dialogue.context import Context
from telegram.dialogue.conversation import Scope
from telegram.dialogue.flows.outcomes import Targets
from telegram.dialogue.routes import Handler, Route
from telegram.dialogue.scopes import OWN

S = TypeVar("S", bound=Enum)
D = TypeVar("D", bound=BaseModel)
R = DefaultTypeVar("R", default=None)

Asks: TypeAlias = Callable[[Any, Any], Awaitable[Any]]
Misfit: TypeAlias = Callable[[Context, dict[str, Any], Exception], Awaitable[Any]]


class Step(NamedTuple):
    """A handler of a flow, with where it may lead."""

    route: Route
    targets: Targets


class TimeOut(NamedTuple):
    """What happens when nothing comes for `after_s`."""

    after_s: float
    step: Step
    everywhere: bool = False
    """It is the flow's, not the state's own."""


class SubFlow(NamedTuple):
    """A state in which another flow runs, and what takes its value."""

    flow: "Plan[Any, Any, Any]"
    handler: Handler
    run: Handler
    targets: Targets


class Prompt(NamedTuple):
    """What is asked on entering a state; `params` of a fixed text, for the check of its buttons."""

    run: Asks
    params: dict[str, Any]


class Plan(Generic[S, D, R]):
    """The parts of a Flow, which says what the arguments are. Spots fill it, a turn and the pictures read it."""

    def __init__(
        self,
        name: str,
        states: type[S],
        data: type[D],
        result: type[R] | None = None,
        *,
        version: int = 1,
        scope: Scope = OWN,
        begins: Iterable[S] = (),
        migrate: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None,
        takes_any_button: bool = False,
    ) -> None:
        if not all(isinstance(state.value, str) for state in states) or not len(states):
            raise TypeError(f"{name}: the states are an Enum of strings")
        if needed := [field for field, each in data.model_fields.items() if each.is_required()]:
            raise TypeError(f"{name}: give every field of {data.__name__} a default: {', '.join(needed)}")
        self.name = name
        self.states = states
        self.first: S = next(iter(states))
        """Where it begins as a sub-flow."""
        self.begins = frozenset(begins)
        self.data = data
        self.result = result
        self.version = version
        self.scope: str = scope
        self.takes_any_button = takes_any_button
        self.migrate = migrate
        self.prompts: dict[S, Prompt] = {}
        self.timeouts: dict[S, TimeOut] = {}
        self.sub_flows: dict[S, SubFlow] = {}
        self.entries: list[Step] = []
        self.steps: dict[S, list[Step]] = {state: [] for state in states}
        self.steps_anywhere: list[Step] = []
        self.steps_else: list[Step] = []
        self.takes_buttons = False
        """Whether a step of it may take a pressed button."""
        self.misfits: Misfit | None = None
        self.misfit_targets: Targets | None = None

    def __repr__(self) -> str:
        return f"Flow({self.name!r})"
