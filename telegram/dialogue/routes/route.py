"""The entries of a router: a handler with its filters and options, and the protocol that flows implement, too."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypedDict

from engine import Retries
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.queries import contexts_for
from telegram.dialogue.contexts.updates import MESSAGE_KINDS, MessageContext, TimerContext
from telegram.dialogue.filters.builtin import Hint, checked_filters, command, hint_of
from telegram.dialogue.filters.conditions import (
    Extract,
    Filter,
    as_predicate,
    is_asked,
    kinds_of,
    label_of,
    walk,
)
from telegram.dialogue.filters.contradictions import check_possible
from telegram.dialogue.filters.limits import Limit, limits_in, with_stale
from telegram.dialogue.filters.narrowing import check_contexts
from telegram.dialogue.routes.albums import is_album
from telegram.dialogue.routes.policies import OnNew, policy_of
from telegram.dialogue.state.conversation import OWN_SCOPE
from telegram.dialogue.state.timers import timer_name

Handler: TypeAlias = Callable[..., Awaitable[Any]]

TIMER = "timer"
"""The kind of a timer, which is not an update."""

EVENT = "event"
"""The kind of an event from outside, which is not an update."""

EVERY = "every"
"""The kind of a run of a job, which is not an update."""

NO_RETRIES: Final = Retries()


def checked_retries(retries: Retries) -> Retries:
    """Return the retries; ValueError for less than 1 attempt, or a negative pause."""
    attempts, backoff_s = retries
    if attempts is not None and not (type(attempts) is int and attempts >= 1):
        raise ValueError(f"attempts is a number from 1 on, not {attempts!r}")
    if backoff_s is not None and not 0 <= backoff_s < float("inf"):
        raise ValueError(f"backoff_s is a number of seconds from 0 on, not {backoff_s!r}")
    return retries


class HandlerOptions(TypedDict, total=False):
    """The keyword arguments of all decorators of handlers, as authors write them (Options)."""

    stop: Filter | None
    on_new: OnNew
    timeout_s: float | None
    stale_s: float | None
    attempts: int | None
    backoff_s: float | None


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a handler."""

    stop: Filter | None = None
    """An update of the same conversation that passes it stops the handler, running or not yet started."""

    on_new: OnNew = "queue"
    """What becomes of a new update while it works (telegram/dialogue/routes/policies.py)."""

    scope: str = OWN_SCOPE
    """The scope of that conversation (telegram/dialogue/state/scopes.py): with CHAT, any member stops the handler."""

    batch: str | None = None
    """"album": all messages of a media group at once; "burst": all consecutive pending messages."""

    timeout_s: float | None = None
    """Time-out of the handler in seconds; None: the bot's setting."""

    limits: tuple[Limit, ...] = ()
    """Limits: the age of updates, the rate of a sender."""

    retries: Retries = NO_RETRIES
    """How often and how soon the handler runs again after a failure; None: the router's setting, else the bot's."""

    is_plain: bool = field(init=False, compare=False)
    """Whether all options that affect the run are unset."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "is_plain",
            (self.stop, self.on_new, self.batch, self.timeout_s, self.limits, self.retries)
            == (None, "queue", None, None, (), NO_RETRIES),
        )
        if policy_of(self.on_new) != "queue" and self.batch == "album":
            raise TypeError("an album is gathered by itself: its handler has no on_new")
        if self.stop is not None and is_asked(self.stop):
            raise TypeError("a `stop` filter is evaluated when an update arrives, so it cannot be async")
        if self.timeout_s is not None and not 0 < self.timeout_s < _TIMEOUT_MAX_S:
            raise ValueError(f"timeout_s is a number of seconds above 0, not {self.timeout_s}")

    @property
    def takes_along(self) -> bool:
        """Whether the handler gets several messages that wait, except those of an album."""
        return self.batch == "burst" or self.on_new in {"merge", "restart"}


_TIMEOUT_MAX_S: Final = 366 * 86_400.0

PLAIN = Options()


class Match(NamedTuple):
    """The handler that was found for an update."""

    run: Callable[..., Awaitable[Any]]
    """Runs it; the argument is the list of messages for a batch, else there is none."""

    options: Options
    handler: Handler
    around: tuple[Limit, ...] = ()
    """The limits of the routers around the handler, outermost first."""


class Entry(Protocol):
    """An entry of a router: a handler with its filters, or a flow."""

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds of update that it may handle; None: any."""
        ...

    @property
    def hint(self) -> Hint:
        """A necessary condition for an update, to narrow the search."""
        ...

    @property
    def scope(self) -> str:
        """The scope of the conversation that it uses (telegram/dialogue/state/scopes.py)."""
        ...

    def take(self, ctx: Context) -> Match | None:
        """Return the handler for the update; None leaves it to the next entry."""
        ...


@dataclass(slots=True)
class Route:
    """A handler and its filters."""

    kinds: frozenset[str] | None
    filters: tuple[Filter | Extract[Any], ...]
    handler: Handler
    options: Options = PLAIN
    call: Handler = None  # type: ignore[assignment] # set below
    """The handler as a function of all available arguments, i.e. the context and the extracts' values; None: itself."""

    scope: str = OWN_SCOPE
    hint: Hint = field(init=False)
    _commands: tuple[command, ...] = field(init=False)
    """Those with a prefix of their own, whose arguments become `ctx.args`."""

    def __post_init__(self) -> None:
        if self.call is None:
            self.call = self.handler
        self.hint = hint_of(self.filters)
        check_possible(self.filters)
        self._commands = tuple(
            each for each in walk(self.filters) if isinstance(each, command) and each.prefixes
        )

        if self.options.takes_along and not (self.kinds and self.kinds <= MESSAGE_KINDS):
            raise TypeError(
                f'on_new="{self.options.on_new}" hands over several messages: for handlers of messages only'
            )

    def values(self, ctx: Context) -> list[Any] | None:
        """Return the extracts' values if the update passes all filters, else None."""
        values = []
        for each in self.filters:
            if isinstance(each, Extract):
                value = each.read(ctx)
                if value is None:
                    return None
                values.append(value)
            elif not each(ctx):
                return None
        if self._commands and isinstance(ctx, MessageContext) and ctx.command is None:
            for each in self._commands:
                if each(ctx):
                    ctx.note_args(each.args(ctx))
        return values

    def take(self, ctx: Context) -> Match | None:
        """Return the handler if the update passes all filters, else None."""
        values = self.values(ctx)
        if values is None:
            return None
        return Match(lambda *more: self.call(ctx, *values, *more), self.options, self.handler)


class OfTimer:
    """Matches a timer of this name."""

    def __init__(self, name: str) -> None:
        self.name = timer_name(name)
        self.label = f"timer {name}"

    def __call__(self, ctx: Context) -> bool:
        """Return whether the update is a timer of this name."""
        return isinstance(ctx, TimerContext) and ctx.timer == self.name


def album_filters(filters: tuple[Any, ...]) -> tuple[Filter, ...]:
    """Return the filters of an album handler: one message of the album must pass all of `filters`."""
    asked = predicates(filters)
    if not asked:
        return (is_album,)

    def some_message(ctx: Context) -> bool:
        return any(all(passes(each) for passes in asked) for each in getattr(ctx, "album", (ctx,)))

    some_message.__name__ = " and ".join(map(label_of, asked))
    return (is_album, some_message)


def parted(
    filters: tuple[Any, ...], given: Mapping[str, Any], batch: str | None = None
) -> tuple[tuple[Any, ...], Options]:
    """Return the filters without limits, and the options with the limits. TypeError for an unknown option."""
    if unknown := sorted(set(given) - set(HandlerOptions.__annotations__)):
        raise TypeError(
            f"a handler has no option {unknown[0]!r}; there are {', '.join(HandlerOptions.__annotations__)}"
        )
    own = checked_retries(Retries(given.get("attempts"), given.get("backoff_s")))
    named = {name: value for name, value in given.items() if name in {"stop", "on_new", "timeout_s"}}
    limits = limits_in(with_stale(filters, given.get("stale_s")))
    without = tuple(each for each in filters if not isinstance(each, Limit))
    return without, Options(batch=batch, limits=limits, retries=own, **named)


def checked_for(
    filters: tuple[Any, ...], kinds: frozenset[str] | None, context: type[Context]
) -> tuple[Any, ...]:
    """Return the filters of a handler that gets a `context`, as `checked_filters`. TypeError for a filter of another one."""
    filters = checked_filters(filters)
    named = kinds_of(filters)
    check_contexts(filters, [context] if named is None else contexts_for(both_kinds(kinds, named)))
    return filters


def both_kinds(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Return the kinds in both; None: any."""
    return other if one is None else one if other is None else one & other


def predicates(filters: tuple[Any, ...]) -> tuple[Filter, ...]:
    """Return filters and extracts as predicates: a handler of several messages gets no extracted values."""
    return tuple(as_predicate(each) for each in checked_filters(filters))
