"""The router: a list of handlers with filters; the first match handles the update, in the order of registration."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar, Union, Unpack, cast, get_origin, overload

from engine import Observe, Retries
from telegram.botapi import types
from telegram.client import TgClient
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.signature import fitted
from telegram.dialogue.contexts.tools import Post, Resource
from telegram.dialogue.contexts.updates import ChatContext, MessageContext, TimerContext
from telegram.dialogue.filters.conditions import Extract, Filter, FilterOf, condition_of
from telegram.dialogue.filters.limits import Limit, with_stale
from telegram.dialogue.languages.texts import Languages, Texts
from telegram.dialogue.router.kinds import asked_kinds, commands_of
from telegram.dialogue.router.refusals import Names, OfRefusal, RefusedContext, wanted_of
from telegram.dialogue.routes.albums import ALBUM_KINDS
from telegram.dialogue.routes.decorators import Decorators, Takes, TakesOne
from telegram.dialogue.routes.events import EventContext, OfEvent
from telegram.dialogue.routes.hooks import ErrorHook, Handled, Hooks, checked_types
from telegram.dialogue.routes.providing import Provider
from telegram.dialogue.routes.route import (
    EVENT,
    EVERY,
    PLAIN,
    TIMER,
    Entry,
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
from telegram.dialogue.routes.schedules import EveryContext, Job, Missed, OfEvery
from telegram.dialogue.state.shared import Migrate, Shared

T = TypeVar("T")
M = TypeVar("M")
E = TypeVar("E", bound=Exception)
E2 = TypeVar("E2", bound=Exception)
Hook = TypeVar("Hook", bound=Callable[..., Awaitable[Handled | None]])

_Decided: TypeAlias = Awaitable[Handled | None]
OfError: TypeAlias = (
    Callable[[ChatContext[Any], E], _Decided]
    | Callable[[E, ChatContext[Any]], _Decided]
    | Callable[[ChatContext[Any]], _Decided]
    | Callable[[E], _Decided]
    | Callable[[], _Decided]
)

_Batch: TypeAlias = TakesOne[MessageContext, list[types.Message]]


class Router(Decorators):
    """A list of handlers, flows and other routers. An update without a handler is acknowledged.

    `filters` apply to all its entries; so do `stale_s`, `attempts` and `backoff_s` (the pause after the first failure; it
    doubles with each further one), unless a handler or an inner router has its own. An update whose handler raises an error of
    a type in `never_retry` is a dead letter at the first attempt. `texts` are the bot's languages, for all routers of
    the bot (telegram/dialogue/languages/texts.py).
    """

    def __init__(
        self,
        *filters: FilterOf[Context],
        stale_s: float | None = None,
        texts: Texts | None = None,
        attempts: int | None = None,
        backoff_s: float | None = None,
        never_retry: tuple[type[Exception], ...] = (),
    ) -> None:
        self._filters = with_stale(
            tuple(each if isinstance(each, Limit) else condition_of(each) for each in filters),
            stale_s,
        )
        self.hooks = Hooks(Retries(attempts, backoff_s), never_retry)
        """Hooks and providers (telegram/dialogue/routes/hooks.py)."""
        self._entries: list[Entry | Router] = []
        self._resources: list[Resource[Any]] = []
        self._tables: list[str] = []
        self._shared: list[Shared[Any]] = []
        self._observers: list[Observe] = []
        self._texts = texts
        super().__init__(self)

    def album(
        self,
        *filters: FilterOf[MessageContext] | Extract[Any, MessageContext],
        **options: Unpack[HandlerOptions],
    ) -> TakesOne[MessageContext, list[types.Message]]:
        """Decorate a handler that gets all messages of an album (media group) at once, also in a channel.

        It handles the album if one of its messages passes all filters; other handlers are tried with the first message. The
        bot waits for further messages of the album until none has arrived for ALBUM_WAIT_S (1.2 s).
        """
        asked, given = parted(filters, options, "album")
        return cast("_Batch", self._batch(album_filters(asked), given))

    def burst(
        self,
        *filters: FilterOf[MessageContext] | Extract[Any, MessageContext],
        **options: Unpack[HandlerOptions],
    ) -> TakesOne[MessageContext, list[types.Message]]:
        """Decorate a handler that gets all consecutive pending messages of a user at once, committed together.

        Only messages that this handler would get one by one: a message for another handler ends the burst.
        """
        asked, given = parted(filters, options, "burst")
        return cast("_Batch", self._batch(predicates(asked), given))

    def _batch(self, filters: tuple[Filter, ...], options: Options) -> Any:
        """Return a decorator for a handler of several messages."""
        kinds = ALBUM_KINDS if options.batch == "album" else frozenset(("message",))
        return self.add(kinds, filters, MessageContext, options, (list,))

    def timer(self, name: str) -> Takes[TimerContext]:
        """Decorate the handler of the timers that `ctx.set_timer(name, ...)` sets; the first match handles it."""
        return cast("Takes[TimerContext]", self.add(frozenset((TIMER,)), (OfTimer(name),), TimerContext))

    def every(
        self,
        schedule: str,
        *,
        tz: str,
        name: str | None = None,
        missed: Missed = "once",
        timeout_s: float | None = None,
    ) -> Takes[EveryContext]:
        """Decorate a job that runs by a schedule of cron, as "0 9 * * mon-fri", in the time zone `tz`, as "Europe/Moscow".

        Two runs of a job never overlap. Runs whose time passed while the bot was down, or busy with an earlier one: `missed`
        runs them "once" together, "all" of the last 31 days, or with "skip" none that is more than a minute late. `name`
        (default: the handler's) is that of its lane and its data: when the schedule of a name changes, the new one counts
        from the next start on. `timeout_s` bounds a run (default: the bot's setting). ValueError, one line, for what is wrong.
        """
        Job(schedule, tz, "job" if name is None else name, missed)  # an error is at this line
        options = Options(timeout_s=timeout_s)

        def register(handler: Handler) -> Handler:
            own = getattr(handler, "__name__", "") if name is None else name
            taken = OfEvery(Job(schedule, tz, own, missed))
            added: Handler = self.add(frozenset((EVERY,)), (taken,), EveryContext, options)(handler)
            return added

        return cast("Takes[EveryContext]", register)

    def event(self, name: str) -> Takes[EventContext]:
        """Decorate the handler of the events that `Bot.post(chat_id, name, ...)` posts; the first match handles it."""
        return cast("Takes[EventContext]", self.add(frozenset((EVENT,)), (OfEvent(name),), EventContext))

    def refused(self, reason: Names = (), /, *, method: Names = ()) -> Takes[RefusedContext]:
        """Decorate the handler of calls that Telegram has refused: for all, or these reasons, or these methods.

        `reason`: "blocked", "rights", "entities", "gone", "other" (telegram/dialogue/router/refusals.py). Such a call is no dead letter.
        """
        taken = OfRefusal(wanted_of(reason, method))
        return cast("Takes[RefusedContext]", self.add(frozenset((EVENT,)), (taken,), RefusedContext))

    def before(self, hook: Hook) -> Hook:
        """Decorate a hook that runs before the handlers of this router; if it returns HANDLED, no handler runs."""
        self.hooks.before.append(fitted(hook, (ChatContext,)))
        return hook

    def after(self, hook: Hook) -> Hook:
        """Decorate a hook that runs after a handler of this router has returned, before the commit."""
        self.hooks.after.append(fitted(hook, (ChatContext,)))
        return hook

    @overload
    def error(self, one: type[E], other: type[E2], /) -> Callable[[OfError[E | E2]], Handler]: ...
    @overload
    def error(self, *types: type[E]) -> Callable[[OfError[E]], Handler]: ...
    def error(self, *types: type[Exception]) -> Any:
        """Decorate a hook for errors of these types (default: any) in the handlers of this router: telegram/dialogue/routes/hooks.py."""
        caught = checked_types(types)

        def register(hook: Handler) -> Handler:
            run = fitted(hook, (ChatContext, Union[caught]))  # noqa: UP007 - of a tuple
            self.hooks.errors.append(ErrorHook(caught, run, getattr(hook, "__qualname__", repr(hook))))
            return hook

        return register

    def provide(self, opens: Callable[..., AsyncIterator[T]]) -> Provider[T]:
        """Decorate an async generator that yields once, an object for one update: see telegram/dialogue/routes/providing.py."""
        found = Provider(opens)
        if any(each.name == found.name for each in self.hooks.providers):
            raise ValueError(f"this router has a provider {found.name} already")
        self.hooks.providers.append(found)
        return found

    def resource(
        self,
        opens: Callable[[], AsyncIterator[T]]
        | Callable[[Post], AsyncIterator[T]]
        | Callable[[TgClient], AsyncIterator[T]]
        | Callable[[TgClient, Post], AsyncIterator[T]],
    ) -> Resource[T]:
        """Decorate an async generator that yields once: a resource, open from the start of the bot to the end of its drain.

        Resources are opened in the order of registration and closed in reverse; a handler gets the value by `ctx.use(...)`.
        A generator with a parameter gets `Bot.post`, to bring events from outside, or the client if it is a `TgClient`.
        """
        opening: Callable[..., AsyncIterator[T]] = opens
        found = Resource(asynccontextmanager(opening), getattr(opens, "__name__", "a resource"))
        self._resources.append(found)
        return found

    def tables(self, script: str) -> None:
        """Create tables of your own in the store's database: statements CREATE TABLE IF NOT EXISTS ..., run at each start."""
        self._tables.append(script)

    def observer(self, observe: Observe) -> Observe:
        """Decorate a function that is called with each event of the bot, for metrics or a log: see telegram/service/observe.py.

        It is called on the event loop and must not block; what it raises is logged.
        """
        self._observers.append(observe)
        return observe

    def chat_data(self, model: type[M], *, version: int = 1, migrate: Migrate | None = None) -> Shared[M]:
        """Declare `ctx.chat_data`: a pydantic model whose fields all have defaults, or `dict`. Returns it as a typed function.

        It is read for each update of the bot, saved with the commit, and shared by all who write in the chat. When the model
        changes, raise `version`, and convert older data in `migrate(version, data)`.
        """
        return self._share(Shared("chat_data", model, version, migrate))

    def user_data(self, model: type[M], *, version: int = 1, migrate: Migrate | None = None) -> Shared[M]:
        """Declare `ctx.user_data`, the data of a user in all chats, as `chat_data`."""
        return self._share(Shared("user_data", model, version, migrate))

    def bot_data(self, model: type[M], *, version: int = 1, migrate: Migrate | None = None) -> Shared[M]:
        """Declare `ctx.bot_data`, as `chat_data`. Of handlers that change it at the same time all but one run again."""
        return self._share(Shared("bot_data", model, version, migrate))

    def _share(self, shared: Shared[M]) -> Shared[M]:
        self._shared.append(shared)
        return shared

    def shared(self) -> list[Shared[Any]]:
        """Return the data that this router and the included ones declare, in order, without duplicates."""
        return self._with_included(self._shared, Router.shared)

    def include(self, other: "Router | Entry") -> None:
        """Add a router or a flow at this position."""
        if isinstance(other, type) or not (isinstance(other, Router) or hasattr(other, "take")):
            raise TypeError(f"include() wants a router or a flow, not {other!r}")
        if isinstance(other, Router) and (other is self or other.includes(self)):
            raise ValueError("a router cannot include itself")
        self._entries.append(other)

    def includes(self, other: "Router") -> bool:
        """Return whether this router includes `other`, directly or indirectly."""
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
        """Return a decorator that adds a handler, whose arguments are a `context`, the extracts' values, and `more`."""
        filters = checked_for(filters, kinds, get_origin(context) or context)
        handed = [each.type for each in filters if isinstance(each, Extract)]

        def register(handler: Handler) -> Handler:
            call = fitted(handler, (context, *handed, *more))
            self._entries.append(Route(kinds, filters, handler, options, call))
            return handler

        return register

    def _with_included(self, own: list[T], of: "Callable[[Router], list[T]]") -> list[T]:
        """Return `own`, and what `of` returns for the included routers, in order, without duplicates."""
        found = dict.fromkeys(own)
        for entry in self._entries:
            if isinstance(entry, Router):
                found.update(dict.fromkeys(of(entry)))
        return list(found)

    def resources(self) -> list[Resource[Any]]:
        """Return the resources of this router and the included ones, in order, without duplicates."""
        return self._with_included(self._resources, Router.resources)

    def scripts(self) -> list[str]:
        """Return the scripts of `tables` of this router and the included ones, in order, without duplicates."""
        return self._with_included(self._tables, Router.scripts)

    def observers(self) -> list[Observe]:
        """Return the observers of this router and the included ones, in order, without duplicates."""
        return self._with_included(self._observers, Router.observers)

    def texts(self) -> Languages:
        """Return the texts of this router and the included ones; ValueError if their default languages differ."""
        own = [] if self._texts is None else [self._texts]
        return Languages(self._with_included(own, lambda other: other.texts().parts))

    def allowed_updates(self) -> list[str]:
        """Return the kinds of update to request from Telegram: those of all handlers, and those the bot needs itself.

        A handler of `update` handles every kind, unless it has a filter `kind(...)`.
        """
        return asked_kinds(self.entries())

    def commands(self) -> list[str]:
        """Return the commands of the handlers, without the slash, in the order of the handlers."""
        return commands_of(self.entries())

    def entries(self, above: tuple[Filter, ...] = ()) -> Iterator[tuple[Entry, tuple[Filter, ...]]]:
        """Yield all handlers and flows in order, also of included routers, each with its routers' filters."""
        filters = above + self._filters
        if not self.hooks.is_empty():
            filters += (self.hooks,)
        for entry in self._entries:
            if isinstance(entry, Router):
                yield from entry.entries(filters)
            else:
                yield entry, filters
