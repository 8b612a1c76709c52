"""Errors of a disk, and somebody else's lock, while a store runs: spells of one kind each."""

import random
from typing import Final

import apsw

from tests.kit.disk import Operation

_CODES: Final = {
    "full": apsw.SQLITE_FULL,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "create": apsw.SQLITE_CANTOPEN,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "read": apsw.SQLITE_IOERR_READ,
    "busy": apsw.SQLITE_BUSY,
}
_KINDS: Final = (*_CODES, "full", "sync", "sync", "sync", "busy")
_GAP_MAX: Final = 150
_PATIENCE: Final = 300
"""Operations after which a spell that met nothing of its kind gives way to the next."""


class Faults:
    """Makes some operations fail, while it is on."""

    def __init__(self, rng: random.Random) -> None:
        self.hits = 0
        self._rng = rng
        self._is_on = False
        self._kind = ""
        self._until_begin = 0
        self._left = 0

    def turn(self, *, on: bool) -> None:
        self._is_on = on
        self._choose()

    def on_disk(self, operation: Operation, grows: bool) -> int | None:
        """What a disk asks before each operation."""
        self._until_begin -= operation != "read"
        if self._until_begin < -_PATIENCE:
            self._choose()
        return self._strike() if operation == self._kind or (grows and self._kind == "full") else None

    def on_begin(self) -> bool:
        """Whether somebody else has the lock."""
        return self._kind == "busy" and self._strike() is not None

    def _strike(self) -> int | None:
        if not self._is_on or self._until_begin > 0:
            return None
        self.hits += 1
        code = _CODES[self._kind]
        self._left -= 1
        if not self._left:
            self._choose()
        return code

    def _choose(self) -> None:
        self._kind = self._rng.choice(_KINDS)
        self._until_begin = self._rng.randrange(_GAP_MAX)
        self._left = self._rng.choice((1, 1, 2, 5, 30))
