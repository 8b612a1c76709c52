"""One handler with its filters, as it stands in a router, and how it is run."""

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
"""The kind of what is no update, but a timer of ours."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a handler is run."""

    stop: Filter | None = None
    """An update that passes it ends the handler at once, running or not yet begun, if it is of the same conversation."""

    scope: str = OWN_SCOPE
    """Whose conversation that is (telegram/dialogue/scopes.py): anybody in the chat stops what is the chat's."""

    batch: str | None = None
    """"album": all messages of a media group at once; "burst": all that wait in a row."""

    timeout_s: float | None = None
    """How long the handler may run; None: as long as the bot's others."""

    limits: tuple[Limit, ...] = ()
    """What it does not take: updates that are too old, too many of a sender."""

    is_plain: bool = field(init=False, compare=False)
    """Whether nothing is to be done but to run the handler."""

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


class Taken(NamedTuple):
    """An update has found its handler."""

    run: Callable[..., Awaitable[Any]]
    """Called with nothing, or with the messages of a batch."""

    options: Options
    handler: Handler
    around: tuple[Limit, ...] = ()
    """The limits of the routers around the handler, outermost first."""


class Entry(Protocol):
    """What stands in a router: a handler with its filters, or a flow."""

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds of update that it may take; None: any."""
        ...

    @property
    def hint(self) -> Hint:
        """What narrows the search: it takes no other update."""
        ...

    @property
    def scope(self) -> str:
        """Whose conversation it looks at (telegram/dialogue/scopes.py)."""
        ...

    def take(self, ctx: Context) -> Taken | None:
        """Take the update, or leave it to the next."""
        ...


@dataclass(slots=True)
class Route:
    """A handler and its filters."""

    kinds: frozenset[str] | None
    filters: tuple[Filter | Extract[Any], ...]
    handler: Handler
    options: Options = PLAIN
    takes: int | None = None
    """How many of its arguments the handler takes; None: all."""

    scope: str = OWN_SCOPE
    hint: Hint = field(init=False)

    def __post_init__(self) -> None:
        self.hint = hint_of(self.filters)
        check_possible(self.filters)

    def values(self, ctx: Context) -> list[Any] | None:
        """What the filters hand over, if the update passes all of them."""
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

    def take(self, ctx: Context) -> Taken | None:
        """Take what passes all filters."""
        values = self.values(ctx)
        if values is None:
            return None
        return Taken(lambda *more: self.run(ctx, *values, *more), self.options, self.handler)

    def run(self, *given: Any) -> Awaitable[Any]:
        """Call the handler with as many of these as it takes."""
        return self.handler(*given[: self.takes])


class OfTimer:
    """A timer of this name."""

    def __init__(self, name: str) -> None:
        self.timer = timer_name(name)
        self.label = f"timer {name}"

    def __call__(self, ctx: Context) -> bool:
        """Whether it fires."""
        return isinstance(ctx, TimerContext) and ctx.timer == self.timer


def album_filters(filters: tuple[Any, ...]) -> tuple[Filter, ...]:
    """Return the filters of an album's handler: it takes the album if one of its messages passes all of `filters`."""
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
    """Return the filters without limits, and the options with them."""
    limits = limits_in(with_stale(filters, stale_s))
    if not limits:
        return filters, options
    return tuple(each for each in filters if not isinstance(each, Limit)), replace(options, limits=limits)


def predicates(filters: tuple[Any, ...]) -> tuple[Filter, ...]:
    """Return filters and extracts as predicates: a handler of several messages gets no values of one of them."""
    return tuple(as_predicate(each) for each in checked_filters(filters))
