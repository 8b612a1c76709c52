"""The entries of a router: a handler with its filters and options, and the protocol that flows implement, too."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from telegram.dialogue.albums import is_album
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import TimerContext
from telegram.dialogue.contradictions import check_possible
from telegram.dialogue.conversation import OWN_SCOPE
from telegram.dialogue.filters import (
    Extract,
    Filter,
    Hint,
    as_predicate,
    check_filters,
    checked_filters,
    hint_of,
    label_of,
)
from telegram.dialogue.limits import Limit, limits_in, with_stale
from telegram.dialogue.timers import timer_name

Handler: TypeAlias = Callable[..., Awaitable[Any]]

TIMER = "timer"
"""The kind of a timer, which is not an update."""

EVENT = "event"
"""The kind of an event from outside, which is not an update."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a handler."""

    stop: Filter | None = None
    """An update of the same conversation that passes it stops the handler, running or not yet started."""

    scope: str = OWN_SCOPE
    """The scope of that conversation (telegram/dialogue/scopes.py): with CHAT, any member stops the handler."""

    batch: str | None = None
    """"album": all messages of a media group at once; "burst": all consecutive pending messages."""

    timeout_s: float | None = None
    """Time-out of the handler in seconds; None: the bot's setting."""

    limits: tuple[Limit, ...] = ()
    """Limits: the age of updates, the rate of a sender."""

    is_plain: bool = field(init=False, compare=False)
    """Whether all options that affect the run are unset."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "is_plain", (self.stop, self.batch, self.timeout_s, self.limits) == (None, None, None, ())
        )
        if self.stop is not None:
            check_filters((self.stop,))
        if self.timeout_s is not None and not 0 < self.timeout_s < _TIMEOUT_MAX_S:
            raise ValueError(f"timeout_s is a number of seconds above 0, not {self.timeout_s}")


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
        """The scope of the conversation that it uses (telegram/dialogue/scopes.py)."""
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
    takes: int | None = None
    """How many of the available arguments the handler takes; None: all."""

    scope: str = OWN_SCOPE
    hint: Hint = field(init=False)

    def __post_init__(self) -> None:
        self.hint = hint_of(self.filters)
        check_possible(self.filters)

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
        return values

    def take(self, ctx: Context) -> Match | None:
        """Return the handler if the update passes all filters, else None."""
        values = self.values(ctx)
        if values is None:
            return None
        return Match(lambda *more: self.run(ctx, *values, *more), self.options, self.handler)

    def run(self, *given: Any) -> Awaitable[Any]:
        """Call the handler with as many of the arguments as it takes."""
        return self.handler(*given[: self.takes])


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
    filters: tuple[Any, ...], options: Options, stale_s: float | None
) -> tuple[tuple[Any, ...], Options]:
    """Return the filters without limits, and the options with the limits."""
    limits = limits_in(with_stale(filters, stale_s))
    if not limits:
        return filters, options
    return tuple(each for each in filters if not isinstance(each, Limit)), replace(options, limits=limits)


def predicates(filters: tuple[Any, ...]) -> tuple[Filter, ...]:
    """Return filters and extracts as predicates: a handler of several messages gets no extracted values."""
    return tuple(as_predicate(each) for each in checked_filters(filters))
