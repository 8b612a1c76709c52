"""The definition of a flow: its states, its data model, and the prompt, handlers and sub-flow of each state."""

from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel
from typing_extensions import TypeVar as DefaultTypeVar

from telegram.dialogue.contexts.context import Context
from telegram.dialogue.flows.outcomes import Targets
from telegram.dialogue.routes.route import Handler, Route
from telegram.dialogue.state.conversation import Scope
from telegram.dialogue.state.scopes import OWN

S = TypeVar("S", bound=Enum)
D = TypeVar("D", bound=BaseModel)
R = DefaultTypeVar("R", default=None)

Asks: TypeAlias = Callable[[Any, Any], Awaitable[Any]]
MismatchHandler: TypeAlias = Callable[[Context, dict[str, Any], Exception], Awaitable[Any]]


class Step(NamedTuple):
    """A handler of a flow, with its possible outcomes."""

    route: Route
    targets: Targets


class TimeOut(NamedTuple):
    """The step that runs `after_s` seconds after the last handled update."""

    after_s: float
    step: Step
    everywhere: bool = False
    """Whether it is the flow's for all states, not the state's own."""


class SubFlow(NamedTuple):
    """The sub-flow of a state, and the handler of its result."""

    flow: "Plan[Any, Any, Any]"
    handler: Handler
    run: Handler
    targets: Targets


class Prompt(NamedTuple):
    """The prompt on entering a state; `params` are those of a fixed text, for the check of its buttons."""

    run: Asks
    params: dict[str, Any]


class Plan(Generic[S, D, R]):
    """The parts of a Flow (see there for the arguments), filled by spots, read by turns, checks and diagrams."""

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
        """The first state, where it begins as a sub-flow."""
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
        """Whether one of its steps may handle a pressed button."""
        self.mismatch_handler: MismatchHandler | None = None
        self.mismatch_targets: Targets | None = None

    def __repr__(self) -> str:
        return f"Flow({self.name!r})"
