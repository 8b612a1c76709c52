"""Conversations with states (FSM): a flow says what it asks, what it takes in each state, and where that leads.

    class Step(Enum):
        NAME = "name"
        AGE = "age"

    class Answers(BaseModel):
        name: str = ""

    survey = Flow("survey", Step, Answers)

    @survey.entry.message(command("survey"))
    async def begin(ctx: MessageContext, data: Answers) -> Literal[Step.NAME]:
        return Step.NAME

    survey.at(Step.NAME).ask("What is your name?")

    @survey.at(Step.NAME).message(text)
    async def name(ctx: MessageContext, data: Answers) -> Literal[Step.AGE]:
        data.name = ctx.text
        return Step.AGE

State, data, time-out and replies of a step are committed at once, with the update. The annotation of what a handler
returns is what the picture of the flow is drawn from (`run.py flows`), and what a step may do.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, overload

from pydantic import BaseModel
from typing_extensions import TypeVar as DefaultTypeVar

from telegram.callback_data import CallbackData
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import (
    MESSAGE_KINDS,
    CallbackContext,
    ChatContext,
    MessageContext,
    TimerContext,
)
from telegram.dialogue.filters import Extract, Filter, Hint
from telegram.dialogue.flow_run import Run
from telegram.dialogue.outcomes import Back, End, Targets, targets_of
from telegram.dialogue.router import TIMER, Options, Route, Taken, checked_filters
from telegram.dialogue.scopes import OWN, USER, Scope
from telegram.dialogue.signature import check_handler

S = TypeVar("S", bound=Enum)
D = TypeVar("D", bound=BaseModel)
R = DefaultTypeVar("R", default=None)
V = TypeVar("V")
C = TypeVar("C", bound=Context)
A = TypeVar("A")
P = TypeVar("P", bound=CallbackData)

Outcome: TypeAlias = S | End[R] | Back | None

TIMEOUT: Final = "~timeout"
"""The name of a flow's own timer; handlers cannot set it."""

Asks: TypeAlias = Callable[[Any, Any], Awaitable[None]]
Misfit: TypeAlias = Callable[[Context, dict[str, Any], Exception], Awaitable[Any]]


class Step(NamedTuple):
    """A handler of a flow, with where it may lead."""

    route: Route
    targets: Targets


class TimeOut(NamedTuple):
    """What happens when nothing comes for `after_s`."""

    after_s: float
    step: Step


class SubFlow(NamedTuple):
    """A state in which another flow runs, and what takes its value."""

    flow: "Flow[Any, Any, Any]"
    handler: Callable[..., Awaitable[Any]]
    targets: Targets


class Prompt(NamedTuple):
    """What is asked on entering a state; `params` of a fixed text, for the check of its buttons."""

    run: Asks
    params: dict[str, Any]


class FlowOn(Generic[C, S, D, R]):
    """`flow.at(state).message` and its sisters: decorators for handlers of one kind of update.

    A handler takes the context, the flow's data, and what extracts hand over, and returns where to go.
    """

    def __init__(self, spot: "Spot[S, D, R]", kinds: frozenset[str] | None, context: Any) -> None:
        self._spot = spot
        self._kinds = kinds
        self._context = context

    @overload
    def __call__(
        self, first: Extract[A], /, *filters: Filter, stop: Filter | None = None
    ) -> Callable[[Callable[[C, D, A], Awaitable[Outcome[S, R]]]], Callable[[C, D, A], Awaitable[Any]]]: ...
    @overload
    def __call__(
        self, first: type[P], /, *filters: Filter, stop: Filter | None = None
    ) -> Callable[[Callable[[C, D, P], Awaitable[Outcome[S, R]]]], Callable[[C, D, P], Awaitable[Any]]]: ...
    @overload
    def __call__(
        self, *filters: Filter, stop: Filter | None = None
    ) -> Callable[[Callable[[C, D], Awaitable[Outcome[S, R]]]], Callable[[C, D], Awaitable[Any]]]: ...

    def __call__(self, *filters: Any, stop: Filter | None = None) -> Any:
        """Decorate a handler of updates that pass all filters; `stop` as in `Router.message`."""
        return self._spot.add(self._kinds, filters, self._context, stop)


class Spot(Generic[S, D, R]):
    """One or several states of a flow, all of them, or its entry: where handlers are added."""

    def __init__(self, flow: "Flow[S, D, R]", steps: list[list[Step]], states: tuple[S, ...] = ()) -> None:
        self._flow = flow
        self._steps = steps
        self._states = states
        self.message: FlowOn[MessageContext, S, D, R] = FlowOn(self, frozenset(("message",)), MessageContext)
        self.any_message: FlowOn[MessageContext, S, D, R] = FlowOn(self, MESSAGE_KINDS, MessageContext)
        self.callback_query: FlowOn[CallbackContext, S, D, R] = FlowOn(
            self, frozenset(("callback_query",)), CallbackContext
        )
        self.update: FlowOn[Context, S, D, R] = FlowOn(self, None, Context)

    def timer(
        self, name: str
    ) -> Callable[
        [Callable[[TimerContext, D], Awaitable[Outcome[S, R]]]], Callable[[TimerContext, D], Awaitable[Any]]
    ]:
        """Decorate the handler of a timer that `ctx.set_timer(name, ...)` has set, if it fires here."""

        def fires(ctx: Context) -> bool:
            return isinstance(ctx, TimerContext) and ctx.timer == name

        register: Any = self.add(frozenset((TIMER,)), (fires,), TimerContext, None)
        return register  # type: ignore[no-any-return]

    def timeout(
        self, after: float | timedelta
    ) -> Callable[
        [Callable[[TimerContext, D], Awaitable[Outcome[S, R]]]], Callable[[TimerContext, D], Awaitable[Any]]
    ]:
        """Decorate what is to happen when nothing that the flow takes comes for `after` (seconds)."""
        after_s = after.total_seconds() if isinstance(after, timedelta) else float(after)

        def register(handler: Callable[[TimerContext, D], Awaitable[Any]]) -> Any:
            check_handler(handler, (TimerContext, self._flow.data))
            step = Step(Route(frozenset((TIMER,)), (), handler), targets_of(handler, self._flow.states))
            for state in self._states or self._flow.states:
                if self._states or state not in self._flow.timeouts:
                    self._flow.timeouts[state] = TimeOut(after_s, step)
            return handler

        return register

    def ask(self, text: str, /, **params: Any) -> None:
        """Send `text` on entering the state, and again when an answer was not valid."""

        async def say(ctx: ChatContext, data: Any) -> None:  # noqa: ARG001 - a fixed text
            ctx.reply(text, **params)

        for state in self._states:
            self._flow.prompts[state] = Prompt(say, params)

    def asks(
        self, handler: Callable[[ChatContext, D], Awaitable[None]]
    ) -> Callable[[ChatContext, D], Awaitable[None]]:
        """Decorate what asks on entering the state, and again when an answer was not valid."""
        check_handler(handler, (ChatContext, self._flow.data))
        for state in self._states:
            self._flow.prompts[state] = Prompt(handler, {})
        return handler

    def runs(
        self, flow: "Flow[Any, Any, V]"
    ) -> Callable[
        [Callable[[ChatContext, D, V], Awaitable[Outcome[S, R]]]],
        Callable[[ChatContext, D, V], Awaitable[Any]],
    ]:
        """Decorate what takes the value of `flow`, which runs while this one is in the state."""

        def register(handler: Callable[[ChatContext, D, V], Awaitable[Any]]) -> Any:
            check_handler(handler, (ChatContext, self._flow.data, Any))
            if flow is self._flow or flow.scope != self._flow.scope:
                raise ValueError(f"{self._flow.name}: a sub-flow is another flow of the same scope")
            for state in self._states:
                self._flow.sub_flows[state] = SubFlow(flow, handler, targets_of(handler, self._flow.states))
            return handler

        return register

    def add(
        self, kinds: frozenset[str] | None, filters: tuple[Any, ...], context: Any, stop: Filter | None
    ) -> Any:
        """Return a decorator that adds a handler to each of the states."""
        filters = checked_filters(filters)
        handed = [each.type for each in filters if isinstance(each, Extract)]
        flow = self._flow
        options = Options(stop=stop, anyone=flow.scope not in {OWN, USER})

        def register(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            check_handler(handler, (context, flow.data, *handed))
            step = Step(Route(kinds, filters, handler, options), targets_of(handler, flow.states))
            for steps in self._steps:
                steps.append(step)
            return handler

        return register


class Flow(Generic[S, D, R]):
    """A conversation with states. Include it in a router; the first match wins there, as for handlers.

    `states` is an Enum of strings, `data` a pydantic model whose fields all have defaults; what is lost when it
    changes is nothing: raise `version`, and say in `migrate` how older data becomes today's. `scope`: whose
    conversation it is (OWN: of a person in a chat, CHAT, TOPIC, USER: of a person in all chats).
    """

    def __init__(
        self,
        name: str,
        states: type[S],
        data: type[D],
        result: type[R] | None = None,  # noqa: ARG002 - names the type R
        *,
        version: int = 1,
        scope: Scope = OWN,
        migrate: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if not all(isinstance(state.value, str) for state in states) or not len(states):
            raise TypeError(f"{name}: the states are an Enum of strings")
        data()  # a ValidationError here names the fields that have no default
        self.name = name
        self.states = states
        self.first: S = next(iter(states))
        """Where it begins as a sub-flow."""
        self.data = data
        self.version = version
        self.scope: str = scope
        self.migrate = migrate
        self.prompts: dict[S, Prompt] = {}
        self.timeouts: dict[S, TimeOut] = {}
        self.sub_flows: dict[S, SubFlow] = {}
        self.entries: list[Step] = []
        self.steps: dict[S, list[Step]] = {state: [] for state in states}
        self.steps_anywhere: list[Step] = []
        self.steps_else: list[Step] = []
        self.misfits: Misfit | None = None
        self.entry: Spot[S, D, R] = Spot(self, [self.entries])
        """Handlers that begin the flow, whatever else goes on in this conversation."""
        self.anywhere: Spot[S, D, R] = Spot(self, [self.steps_anywhere])
        """Handlers for all states, asked after the state's own; also while a sub-flow runs."""
        self.otherwise: Spot[S, D, R] = Spot(self, [self.steps_else])
        """Handlers for what nothing else in the flow takes."""

    def __repr__(self) -> str:
        return f"Flow({self.name!r})"

    @property
    def kinds(self) -> None:
        """It may take any kind of update."""

    @property
    def hint(self) -> Hint | None:
        """Nothing narrows the search: that depends on the state."""
        return None

    def at(self, *states: S) -> Spot[S, D, R]:
        """The place of these states."""
        if not states:
            raise ValueError(f"{self.name}: at() wants at least one state")
        return Spot(self, [self.steps[state] for state in states], states)

    def misfit(self, handler: Misfit) -> Misfit:
        """Decorate what decides when stored data or a stored state does not fit any more: it gets the data and the error.

        Without it such an update goes to the dead letters, and the data stays.
        """
        targets_of(handler, self.states)
        self.misfits = handler
        return handler

    def take(self, ctx: Context) -> Taken | None:
        """Take what the flow wants in its state, or what begins it."""
        return Run(self, ctx).take() if ctx.has(self.scope) else None

    async def begin(self, ctx: Context, state: S, data: D | None = None) -> None:
        """Begin the flow from any handler, in `state`; what went on in this conversation is over."""
        await Run(self, ctx).begin(data or self.data(), state)

    def is_in(self, *states: S) -> Filter:
        """A filter: the flow goes on here, in one of `states` (none named: in any)."""
        wanted = frozenset(state.value for state in states or self.states)
        return lambda ctx: ctx.has(self.scope) and Run(self, ctx).state() in wanted
