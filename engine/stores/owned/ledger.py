"""The seam between the lanes in memory and what keeps them: a file, a database."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from engine.embedded.lane import ParkedLane
from engine.model import Sql
from engine.store import Notes
from engine.stores.owned.group import Row
from engine.stores.owned.ids import Ids, Kind
from engine.stores.owned.reads import Read
from engine.stores.owned.writer import Doubted, GroupWriter

T = TypeVar("T")
Loader = Callable[[], Callable[["Source"], T]]
"""Called on the event loop directly before reading; what it returns may be called on any thread."""

_REASON_MAX: Final = 200


class Granted(NamedTuple):
    """The right to append, in a store with several sessions."""

    epoch: int
    """Grows with each grant."""

    last_place: int
    """The highest place in the inbox; 0 if it is empty."""

    seen: Sequence[Row]
    """The segments of ids appended before, as in Source.seen."""


class Source(Protocol):
    """Everything that is kept, read once at each opening."""

    owner_epoch: int
    """Grows with each opening, so that no lease outlives it."""

    shares: Collection[int] | None
    """The shares of the lanes that this is all of; None: of all lanes."""

    granted: Granted | None
    """The right to append, if this is of a session that has it."""

    def pending(self, queue: str) -> Iterable[tuple[int, str]]:
        """Return (place, key) of all that is pending, in the order of the places."""

    def parked(self, queue: str, now: float) -> list[ParkedLane]:
        """Return the lanes that were parked or had failed; `now` is Unix time."""

    def seen(self) -> Iterable[tuple[int, bytes, float]]:
        """Return the segments of ids appended before: (number, bits, Unix time of the last use)."""

    def states(self) -> int:
        """Return the number of conversation states, or more."""

    def aliases(self) -> Iterable[tuple[str, str]]:
        """Return the aliases: (name, key of the lane)."""

    def dead(self) -> Iterable[tuple[int, str, str]]:
        """Return (number, queue, key) of the dead letters, oldest first."""

    def ids(self, kind: Kind) -> Ids:
        """Return the ids of this kind that were never used; those of "letters" are the numbers of dead letters."""

    def rows(self, what: Read, values: Row) -> Iterable[Row]:
        """Return the rows of the answer."""


class Ledger(Protocol):
    """Keeps what one store has; each store has its own."""

    @property
    def name(self) -> str:
        """What it is, for logs and errors; no secrets."""

    @property
    def notes(self) -> Notes:
        """The record of running inbox handlers."""

    @property
    def pause_max_s(self) -> float:
        """The longest pause before another `reopen`, in seconds."""

    async def open(self, loader: Loader[T]) -> T:
        """Open it and return what is loaded; StoreError says in one line what a person has to do."""

    async def reopen(self, loader: Loader[T]) -> T:
        """Open it again, because it is in doubt: StoreUnavailable if that fails now, StoreError if it never will."""

    def writer(self, doubted: Doubted, lost: Callable[[], object]) -> GroupWriter:
        """Return the writer of this opening. `lost` is called if another process may take over before the next one."""

    async def query(self, asked: Sql) -> list[Any]:
        """Return rows of the author's tables, as committed; SqlFailed."""

    async def create_tables(self, script: str) -> None:
        """Run the script that creates the author's tables; SqlFailed."""

    async def close(self) -> None:
        """Close it; it is not used any more."""


def damaged(what: str) -> str:
    """Return the message for a damaged file: what is wrong, and what to do."""
    return f"the store's file is damaged ({what[:_REASON_MAX]}): restore it from a backup"
