"""Decorators that add handlers to a flow: `flow.at(state)`, `flow.entry`, `flow.anywhere`, `flow.otherwise`."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, Unpack, get_origin, overload

from telegram.botapi.parameters import check_call
from telegram.botapi.types import Message
from telegram.dialogue.buttons.callback_data import CallbackData
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.defaults import takes_fallback
from telegram.dialogue.contexts.signature import fitted, fixed
from telegram.dialogue.contexts.updates import (
    MESSAGE_KINDS,
    CallbackContext,
    ChatContext,
    MessageContext,
    TimerContext,
)
from telegram.dialogue.filters.conditions import Extract, Filter, FilterOf
from telegram.dialogue.flows.outcomes import Back, End, targets_of
from telegram.dialogue.flows.plan import D, Plan, Prompt, R, S, Step, SubFlow, TimeOut
from telegram.dialogue.routes.albums import ALBUM_KINDS
from telegram.dialogue.routes.events import EventContext, OfEvent
from telegram.dialogue.routes.route import (
    EVENT,
    TIMER,
    Handler,
    HandlerOptions,
    OfTimer,
    Options,
    Route,
    album_filters,
    checked_for,
    parted,
    predicates,
)

if TYPE_CHECKING:
    from telegram.botapi.collected import TextParams

V = TypeVar("V")
C = TypeVar("C", bound=Context)
A = TypeVar("A")
To = TypeVar("To")
P = TypeVar("P", bound=CallbackData)

Outcome: TypeAlias = S | End[R] | Back | None

FlowTakes: TypeAlias = Callable[
    [
        Callable[[C, D], Awaitable[To]]
        | Callable[[D, C], Awaitable[To]]
        | Callable[[C], Awaitable[To]]
        | Callable[[D], Awaitable[To]]
        | Callable[[], Awaitable[To]]
    ],
    Handler,
]
FlowTakesOne: TypeAlias = Callable[
    [
        Callable[[C, D, A], Awaitable[To]]
        | Callable[[C, A, D], Awaitable[To]]
        | Callable[[D, C, A], Awaitable[To]]
        | Callable[[D, A, C], Awaitable[To]]
        | Callable[[A, C, D], Awaitable[To]]
        | Callable[[A, D, C], Awaitable[To]]
        | Callable[[C, D], Awaitable[To]]
        | Callable[[C, A], Awaitable[To]]
        | Callable[[D, C], Awaitable[To]]
        | Callable[[D, A], Awaitable[To]]
        | Callable[[A, C], Awaitable[To]]
        | Callable[[A, D], Awaitable[To]]
        | Callable[[C], Awaitable[To]]
        | Callable[[D], Awaitable[To]]
        | Callable[[A], Awaitable[To]]
        | Callable[[], Awaitable[To]]
    ],
    Handler,
]


class FlowOn(Generic[C, S, D, R]):
    """The type of `flow.at(state).message` and the like: decorators for handlers of some kinds of update.

    A handler may declare any of: the context, the flow's data, the extract's value. It returns an outcome.
    """

    def __init__(self, spot: "Spot[S, D, R]", kinds: frozenset[str] | None, context: Any) -> None:
        self._spot = spot
        self._kinds = kinds
        self._context = context

    @overload
    def __call__(
        self,
        first: Extract[A, C],
        /,
        *filters: FilterOf[C],
        **options: Unpack[HandlerOptions],
    ) -> FlowTakesOne[C, D, A, Outcome[S, R]]: ...
    @overload
    def __call__(
        self,
        first: type[P],
        /,
        *filters: FilterOf[C],
        **options: Unpack[HandlerOptions],
    ) -> FlowTakesOne[C, D, P, Outcome[S, R]]: ...
    @overload
    def __call__(
        self,
        *filters: FilterOf[C],
        **options: Unpack[HandlerOptions],
    ) -> FlowTakes[C, D, Outcome[S, R]]: ...

    def __call__(
        self,
        *filters: Any,
        **options: Unpack[HandlerOptions],
    ) -> Any:
        """Decorate a handler of updates that pass all filters; `stop`, `timeout_s` and `stale_s` as in `Router.message`."""
        asked, given = parted(filters, options)
        return self._spot.add(self._kinds, asked, self._context, given)


class Spot(Generic[S, D, R]):
    """One or several states of a flow, all of them, or its entry, to which handlers are added."""

    def __init__(self, flow: Plan[S, D, R], steps: list[list[Step]], states: tuple[S, ...] = ()) -> None:
        self._flow = flow
        self._steps = steps
        self._states = states
        self.message: FlowOn[MessageContext, S, D, R] = FlowOn(self, frozenset(("message",)), MessageContext)
        self.any_message: FlowOn[MessageContext, S, D, R] = FlowOn(self, MESSAGE_KINDS, MessageContext)
        self.callback_query: FlowOn[CallbackContext, S, D, R] = FlowOn(
            self, frozenset(("callback_query",)), CallbackContext
        )
        self.update: FlowOn[Context, S, D, R] = FlowOn(self, None, Context)

    def album(
        self,
        *filters: FilterOf[MessageContext] | Extract[Any, MessageContext],
        **options: Unpack[HandlerOptions],
    ) -> FlowTakesOne[MessageContext, D, list[Message], Outcome[S, R]]:
        """Decorate a handler of all messages of an album, as `Router.album`; they are the argument after the data."""
        register: FlowTakesOne[MessageContext, D, list[Message], Outcome[S, R]]
        asked, given = parted(filters, options, "album")
        register = self._batch(album_filters(asked), given)
        return register

    def burst(
        self,
        *filters: FilterOf[MessageContext] | Extract[Any, MessageContext],
        **options: Unpack[HandlerOptions],
    ) -> FlowTakesOne[MessageContext, D, list[Message], Outcome[S, R]]:
        """Decorate a handler of consecutive messages, as `Router.burst`; they are the argument after the data."""
        register: FlowTakesOne[MessageContext, D, list[Message], Outcome[S, R]]
        asked, given = parted(filters, options, "burst")
        register = self._batch(predicates(asked), given)
        return register

    def _batch(self, filters: tuple[Filter, ...], options: Options) -> Any:
        kinds = ALBUM_KINDS if options.batch == "album" else frozenset(("message",))
        return self.add(kinds, filters, MessageContext, options, (list,))

    def timer(self, name: str) -> FlowTakes[TimerContext, D, Outcome[S, R]]:
        """Decorate the handler of a timer set by `ctx.set_timer(name, ...)`, if it fires in these states."""
        register: Any = self.add(frozenset((TIMER,)), (OfTimer(name),), TimerContext, Options())
        return register  # type: ignore[no-any-return]

    def event(self, name: str) -> FlowTakes[EventContext, D, Outcome[S, R]]:
        """Decorate the handler of an event posted by `Bot.post(chat_id, name, ...)`, if its turn comes in these states."""
        register: Any = self.add(frozenset((EVENT,)), (OfEvent(name),), EventContext, Options())
        return register  # type: ignore[no-any-return]

    def timeout(self, after: float | timedelta) -> FlowTakes[TimerContext, D, Outcome[S, R]]:
        """Decorate the handler that runs when the flow has handled no update for `after` (seconds)."""
        after_s = after.total_seconds() if isinstance(after, timedelta) else float(after)

        def register(handler: Handler) -> Handler:
            call = fitted(handler, (TimerContext, self._flow.data))
            route = Route(frozenset((TIMER,)), (), handler, call=call)
            step = Step(route, targets_of(handler, self._flow.states))
            for state in self._states or self._flow.states:
                if self._states or state not in self._flow.timeouts:
                    self._flow.timeouts[state] = TimeOut(after_s, step, not self._states)
            return handler

        return register

    def ask(self, text: str, /, **params: "Unpack[TextParams]") -> None:
        """Send `text` on entering the state, and again when an answer was not valid; `params` of sendMessage."""
        call = {"chat_id": 0, "text": text, **params}
        takes_fallback("sendMessage", call)
        check_call("sendMessage", call)
        given: dict[str, Any] = {**params}

        async def say(ctx: ChatContext, data: Any) -> None:  # noqa: ARG001 - a fixed text
            ctx.reply(ctx.said(text), **given)

        for state in self._named():
            self._prompt(state, Prompt(say, given))

    def asks(
        self,
        handler: Callable[[ChatContext, D], Awaitable[None]] | Callable[[ChatContext], Awaitable[None]],
    ) -> Handler:
        """Decorate a function that sends the prompt on entering the state, and again when an answer was not valid."""
        run = fixed(handler, (ChatContext, self._flow.data))
        for state in self._named():
            self._prompt(state, Prompt(run, {}))
        return handler

    def runs(self, flow: Plan[Any, Any, V]) -> FlowTakesOne[ChatContext, D, V, Outcome[S, R]]:
        """Run `flow` as the sub-flow of the state, and decorate the handler of its result."""

        def register(handler: Handler) -> Handler:
            run = fixed(handler, (ChatContext, self._flow.data, flow.result or Any))
            if flow is self._flow or flow.scope != self._flow.scope:
                raise ValueError(f"{self._flow.name}: a sub-flow is another flow of the same scope")
            for state in self._named():
                self._flow.sub_flows[state] = SubFlow(
                    flow, handler, run, targets_of(handler, self._flow.states)
                )
            return handler

        return register

    def _prompt(self, state: S, prompt: Prompt) -> None:
        if state in self._flow.prompts:
            raise ValueError(f"{self._flow.name}: {state} has one `ask` or `asks` already")
        self._flow.prompts[state] = prompt

    def _named(self) -> tuple[S, ...]:
        if not self._states:
            raise ValueError(f"{self._flow.name}: say in which state, with at(...)")
        return self._states

    def add(
        self,
        kinds: frozenset[str] | None,
        filters: tuple[Any, ...],
        context: Any,
        options: Options,
        more: tuple[Any, ...] = (),
    ) -> Any:
        """Return a decorator that adds a handler to each of the states."""
        filters = checked_for(filters, kinds, get_origin(context) or context)
        handed = [each.type for each in filters if isinstance(each, Extract)]
        flow = self._flow
        options = replace(options, scope=flow.scope)

        def register(handler: Handler) -> Handler:
            call = fitted(handler, (context, flow.data, *handed, *more))
            step = Step(Route(kinds, filters, handler, options, call), targets_of(handler, flow.states))
            for steps in self._steps:
                steps.append(step)
                if steps is not flow.entries and (kinds is None or "callback_query" in kinds):
                    flow.takes_buttons = True
            return handler

        return register
