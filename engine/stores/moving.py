"""What a store has of one bot, as rows that another store can take: for copying a bot, while no process uses it.

A store's rows differ only in what each database adds. So two stores have the same if they have the same rows of each kind
(`Tally`), in whatever order they are read. What processes know of each other (sessions, shares, mail) is not copied: mail is
filed before.
"""

import struct
from collections.abc import AsyncGenerator, Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol

Row = tuple[Any, ...]
Batches = AsyncGenerator[list[Row], None]


class Kind(NamedTuple):
    """A table that is copied: its columns, and the one that may be large."""

    columns: tuple[str, ...]
    large: str | None = None


KINDS: Final = {
    "alias": Kind(("name", "key")),
    "seen": Kind(("segment", "bits", "touched")),
    "inbox": Kind(("place", "key", "scope", "body", "at"), "body"),
    "outbox": Kind(("place", "key", "scope", "body", "at"), "body"),
    "timer": Kind(("place", "key", "scope", "name", "at", "body"), "body"),
    "parked": Kind(("queue", "key", "attempts", "until", "reason", "delay_s", "place")),
    "dead": Kind(("number", "queue", "id", "key", "scope", "body", "attempts", "reason", "at"), "body"),
    "state": Kind(("key", "scope", "state"), "state"),
}
"""The tables by name. Lanes that an operator holds are rows of `parked`."""

LARGE_BYTES: Final = 1 << 16
"""Rows whose large column is longer are read one at a time, so that a batch is bounded in bytes, too."""

BATCH: Final = 256
"""Other rows are read so many at a time: at most 16 MiB."""

MARKS: Final = ("calls", "timers", "letters")
"""Kinds of ids, each with the highest one that was ever used (engine/stores/owned/ids.py)."""

_BITS: Final = 256


def portions(kind: str, length: str) -> list[tuple[str, int]]:
    """Return SQL conditions that divide the rows of a kind, each with how many rows to read at a time.

    `length` is the database's function for the number of bytes of a value.
    """
    large = KINDS[kind].large
    if large is None:
        return [("true", BATCH)]
    small = f"{length}({large}) <= {LARGE_BYTES}"
    return [(small, BATCH), (f"NOT {small}", 1)]


class Tally:
    """The number of rows and a digest that does not depend on their order: the sum of a hash of each."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows."""
        for row in rows:
            self.count += 1
            self._sum += int.from_bytes(sha256(b"".join(map(_encoded, row))).digest(), "big")

    @property
    def digest(self) -> str:
        """The digest, as 64 hexadecimal digits."""
        return f"{self._sum % 2**_BITS:064x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and (self.count, self.digest) == (other.count, other.digest)

    __hash__ = None  # type: ignore[assignment] # it changes


class Moving(Protocol):
    """A store that no process uses, opened for copying one bot. All methods: StoreError or StoreUnavailable, in one line."""

    async def open(self) -> None:
        """Take it for this process alone; a target is created if missing. `close` it in any case."""

    @property
    def name(self) -> str:
        """What it is, for logs and errors; no secrets."""

    async def count(self, kind: str) -> int:
        """Return the number of rows of a kind."""

    def rows(self, kind: str) -> Batches:
        """Yield all rows of a kind, with the columns of KINDS, in batches."""

    async def marks(self) -> dict[str, int]:
        """Return the highest id of each kind of MARKS that was ever used."""

    async def begin(self) -> None:
        """Begin the transaction in which everything is written. Until `commit`, nothing of it is there."""

    async def write(self, kind: str, batches: Batches) -> None:
        """Add rows."""

    async def raise_marks(self, marks: dict[str, int]) -> None:
        """Use only higher ids from now on."""

    async def commit(self) -> None:
        """Make what was written durable, all of it."""

    async def mark_moved(self, to: str) -> None:
        """Let no bot use this store any more: its work goes on in the store `to`."""

    async def others(self) -> list[str]:
        """Return the names of tables that are not the store's, as far as they are known."""

    async def close(self) -> None:
        """Release files and connections; what is not committed is gone."""


def moved(name: str, to: object) -> str:
    """Return the message for a store that was marked as moved."""
    return (
        f"the bot's work in {name} was moved to {to}: set STORE_URL to that; "
        "if that is lost, copy this one anew, with `copy --again`"
    )


def _encoded(value: object) -> bytes:
    """Return a value so that no two sequences of values have the same bytes."""
    match value:
        case float():
            return b"f" + struct.pack(">d", value)
        case int():
            return b"i%d;" % value
        case str():
            data = value.encode()
            return b"s%d;" % len(data) + data
        case bytes():
            return b"b%d;" % len(value) + value
    raise TypeError(f"no value of a row: {type(value).__name__}")
