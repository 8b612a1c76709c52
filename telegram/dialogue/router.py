"""Which handler takes which update: the first match wins, in the order of writing."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeAlias, TypeVar, cast, overload

from telegram.botapi import types
from telegram.dialogue.albums import ALBUM_KINDS
from telegram.dialogue.callback_data import CallbackData
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import (
    MESSAGE_KINDS,
    CallbackContext,
    ChatContext,
    MessageContext,
    TimerContext,
)
from telegram.dialogue.filters import AnyFilter, Extract, Filter, check_filters, checked_filters
from telegram.dialogue.kinds import asked_kinds, commands_of
from telegram.dialogue.limits import Limit, with_stale
from telegram.dialogue.routes import (
    PLAIN,
    TIMER,
    Entry,
    Handler,
    OfTimer,
    Options,
    Route,
    album_filters,
    parted,
    predicates,
)
from telegram.dialogue.signature import takes_of
from telegram.dialogue.tools import Resource

C = TypeVar("C", bound=Context)
A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
D = TypeVar("D", bound=CallbackData)

Nothing: TypeAlias = Callable[[], Awaitable[None]]
Takes: TypeAlias = Callable[[Callable[[C], Awaitable[None]] | Nothing], Handler]
TakesOne: TypeAlias = Callable[
    [Callable[[C, A], Awaitable[None]] | Callable[[C], Awaitable[None]] | Nothing], Handler
]
TakesTwo: TypeAlias = Callable[
    [
        Callable[[C, A, B], Awaitable[None]]
        | Callable[[C, A], Awaitable[None]]
        | Callable[[C], Awaitable[None]]
        | Nothing
    ],
    Handler,
]
"""A handler takes the first ones of what it could be given, as many as it names."""

_Batch: TypeAlias = TakesOne[MessageContext, list[types.Message]]


class On(Generic[C]):
    """`router.message` and its sisters: decorators for handlers of one kind of update."""

    def __init__(self, router: "Router", kinds: frozenset[str] | None, context: type[C]) -> None:
        self._router = router
        self._kinds = kinds
        self._context = context

    @overload
    def __call__(
        self,
        first: Extract[A],
        second: Extract[B],
        /,
        *filters: Filter,
        stop: Filter | None = None,
        timeout_s: float | None = None,
        stale_s: float | None = None,
    ) -> TakesTwo[C, A, B]: ...
    @overload
    def __call__(
        self,
        first: Extract[A],
        /,
        *filters: Filter,
        stop: Filter | None = None,
        timeout_s: float | None = None,
        stale_s: float | None = None,
    ) -> TakesOne[C, A]: ...
    @overload
    def __call__(
        self,
        first: type[D],
        /,
        *filters: Filter,
        stop: Filter | None = None,
        timeout_s: float | None = None,
        stale_s: float | None = None,
    ) -> TakesOne[C, D]: ...
    @overload
    def __call__(
        self,
        *filters: Filter,
        stop: Filter | None = None,
        timeout_s: float | None = None,
        stale_s: float | None = None,
    ) -> Takes[C]: ...

    def __call__(
        self,
        *filters: Any,
        stop: Filter | None = None,
        timeout_s: float | None = None,
        stale_s: float | None = None,
    ) -> Any:
        """Decorate a handler of updates that pass all filters; it takes the context and what extracts hand over.

        An update of the same conversation that passes `stop` ends it at once, also while it runs: what it wanted does
        not happen, and the stopping update is handled next. `timeout_s` is how long the handler may run, from its start;
        by default as long as the bot's others. An update that is older than `stale_s` when its turn comes is dropped, also
        for all other handlers (telegram/dialogue/limits.py).
        """
        options = Options(stop=stop, timeout_s=timeout_s)
        filters, options = parted(filters, options, stale_s)
        return self._router.add(self._kinds, filters, self._context, options)


class Router:
    """A list of handlers, of flows and of other routers. An update that nobody takes is acknowledged.

    `filters` apply to all that stands in it; so does `stale_s`, where a handler or a nearer router has none of its own.
    """

    def __init__(self, *filters: Filter, stale_s: float | None = None) -> None:
        check_filters(each for each in filters if not isinstance(each, Limit))
        self._filters = with_stale(filters, stale_s)
        self._entries: list[Entry | Router] = []
        self._resources: list[Resource[Any]] = []
        self.message = On(self, frozenset(("message",)), MessageContext)
        self.edited_message = On(self, frozenset(("edited_message",)), MessageContext)
        self.channel_post = On(self, frozenset(("channel_post",)), MessageContext)
        self.edited_channel_post = On(self, frozenset(("edited_channel_post",)), MessageContext)
        self.business_message = On(self, frozenset(("business_message",)), MessageContext)
        self.any_message = On(self, MESSAGE_KINDS, MessageContext)
        self.callback_query = On(self, frozenset(("callback_query",)), CallbackContext)
        self.inline_query = On(self, frozenset(("inline_query",)), Context[types.InlineQuery])
        self.chosen_inline_result = On(
            self, frozenset(("chosen_inline_result",)), Context[types.ChosenInlineResult]
        )
        self.pre_checkout_query = On(
            self, frozenset(("pre_checkout_query",)), ChatContext[types.PreCheckoutQuery]
        )
        self.shipping_query = On(self, frozenset(("shipping_query",)), ChatContext[types.ShippingQuery])
        self.poll_answer = On(self, frozenset(("poll_answer",)), ChatContext[types.PollAnswer])
        self.my_chat_member = On(self, frozenset(("my_chat_member",)), ChatContext[types.ChatMemberUpdated])
        self.chat_member = On(self, frozenset(("chat_member",)), ChatContext[types.ChatMemberUpdated])
        self.chat_join_request = On(
            self, frozenset(("chat_join_request",)), ChatContext[types.ChatJoinRequest]
        )
        self.message_reaction = On(
            self, frozenset(("message_reaction",)), ChatContext[types.MessageReactionUpdated]
        )
        self.update: On[Context] = On(self, None, Context)

    def album(
        self,
        *filters: AnyFilter,
        stop: Filter | None = None,
        timeout_s: float | None = None,
        stale_s: float | None = None,
    ) -> TakesOne[MessageContext, list[types.Message]]:
        """Decorate a handler that takes all messages of an album (media group) at once, also of a channel.

        It takes the album if one of its messages passes all filters; others are asked with its first message. An album
        that comes in pieces is waited for, for a second after its last message.
        """
        options = Options(stop, batch="album", timeout_s=timeout_s)
        asked, options = parted(filters, options, stale_s)
        return cast("_Batch", self._batch(album_filters(asked), options))

    def burst(
        self,
        *filters: AnyFilter,
        stop: Filter | None = None,
        timeout_s: float | None = None,
        stale_s: float | None = None,
    ) -> TakesOne[MessageContext, list[types.Message]]:
        """Decorate a handler that takes all messages of a person that wait in a row, committed together.

        Those that this handler would get one by one: what another one would take ends the row.
        """
        options = Options(stop, batch="burst", timeout_s=timeout_s)
        asked, options = parted(filters, options, stale_s)
        return cast("_Batch", self._batch(predicates(asked), options))

    def _batch(self, filters: tuple[Filter, ...], options: Options) -> Any:
        """Return a decorator for a handler that takes several messages."""
        kinds = ALBUM_KINDS if options.batch == "album" else frozenset(("message",))
        return self.add(kinds, filters, MessageContext, options, (list,))

    def timer(self, name: str) -> Takes[TimerContext]:
        """Decorate the handler of the timers that `ctx.set_timer(name, ...)` sets; the first match wins, as always."""
        return cast("Takes[TimerContext]", self.add(frozenset((TIMER,)), (OfTimer(name),), TimerContext))

    def resource(self, opens: Callable[[], AsyncIterator[T]]) -> Resource[T]:
        """Decorate an async generator that yields once: what it yields is there from the start to the drain.

        Opened in the order of writing, closed in reverse; a handler gets it by `ctx.use(...)`.
        """
        found = Resource(asynccontextmanager(opens), getattr(opens, "__name__", "a resource"))
        self._resources.append(found)
        return found

    def include(self, other: "Router | Entry") -> None:
        """Ask `other`, a router or a flow, at this place in the order."""
        if isinstance(other, type) or not (isinstance(other, Router) or hasattr(other, "take")):
            raise TypeError(f"include() wants a router or a flow, not {other!r}")
        if isinstance(other, Router) and (other is self or other.includes(self)):
            raise ValueError("a router cannot include itself")
        self._entries.append(other)

    def includes(self, other: "Router") -> bool:
        """Whether `other` is asked by this router, however deep."""
        return any(
            entry is other or entry.includes(other) for entry in self._entries if isinstance(entry, Router)
        )

    def add(
        self,
        kinds: frozenset[str] | None,
        filters: tuple[Any, ...],
        context: Any,
        options: Options = PLAIN,
        more: tuple[Any, ...] = (),
    ) -> Any:
        """Return a decorator that adds a handler; it is called with a `context`, what extracts hand over, and `more`."""
        filters = checked_filters(filters)
        handed = [each.type for each in filters if isinstance(each, Extract)]

        def register(handler: Handler) -> Handler:
            takes = takes_of(handler, (context, *handed, *more))
            self._entries.append(Route(kinds, filters, handler, options, takes))
            return handler

        return register

    def resources(self) -> list[Resource[Any]]:
        """What this router and those in it open, in order, each once."""
        found = dict.fromkeys(self._resources)
        for entry in self._entries:
            if isinstance(entry, Router):
                found.update(dict.fromkeys(entry.resources()))
        return list(found)

    def allowed_updates(self) -> list[str]:
        """Return the kinds of update that the bot asks Telegram for: those of all handlers, and what it needs itself.

        A handler of `update` wants every kind, unless a filter `kind(...)` says which.
        """
        return asked_kinds(self.entries())

    def commands(self) -> list[str]:
        """Return the commands that the handlers take, without the slash, in the order of the handlers."""
        return commands_of(self.entries())

    def entries(self, above: tuple[Filter, ...] = ()) -> Iterator[tuple[Entry, tuple[Filter, ...]]]:
        """All handlers and flows in order, however deep, each with the filters of the routers around it."""
        filters = above + self._filters
        for entry in self._entries:
            if isinstance(entry, Router):
                yield from entry.entries(filters)
            else:
                yield entry, filters
