"""The running handlers, recorded in a small file beside the store's, which survives the death of the process.

The file is mapped into memory: a note costs a fraction of a microsecond and no system call, and survives however the
process dies. It is not synced: a power cut may lose or garble it, and a checksum discards garbled notes. Each note has the
stamp of its process; the start that counts the notes of the previous process stores its own stamp in the same
transaction, so that no note is counted twice.

| running at the death                     | one more attempt is counted for | reason           |
|------------------------------------------|---------------------------------|------------------|
| one update                               | it                              | DIED             |
| several, none of them a suspect          | all of them                     | DIED_WITH_OTHERS |
| a suspect (one at a time), beside others | the suspect                     | DIED             |

An update with one of these reasons is a suspect from then on, until it is committed or fails in another way. Suspects run
one at a time once a suspect has more than one counted attempt; before that, a person may have killed the process.
"""

import mmap
import os
import sqlite3
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from engine.model import TIMER_IDS
from engine.store import DIED, DIED_WITH_OTHERS, ID_MASK
from engine.stores.sqlite.disk import open_private

log = structlog.get_logger(__name__)

_NOTE: Final = struct.Struct("<QQQ")  # id, stamp, check
_NOTE_BYTES: Final = _NOTE.size
_NO_NOTE: Final = bytes(_NOTE_BYTES)
_CHECK: Final = 0x9E3779B97F4A7C15
_PAGE: Final = 4096
_BYTES_MAX: Final = 1 << 20
"""Of a file that was left: more than 40,000 workers. A longer one is no file of notes; it must not fill disk and memory."""


class RunningFile:
    """One note per worker: the id that it handles. If the disk has no space for the file, nothing is recorded.

    `stamp` identifies this process; it is below 2**64.
    """

    def __init__(self, path: Path, stamp: int) -> None:
        self._path = path
        self._stamp = stamp
        self._check = stamp ^ _CHECK
        self._fd = -1
        self._map: mmap.mmap | bytearray = bytearray()
        self._last_at = -1  # offset of the last note that fits
        self._deaths: dict[int, str] = {}
        self._is_repeated = False

    def open(self) -> None:
        """Map the file, created if missing."""
        try:
            self._fd = open_private(self._path)
            if os.fstat(self._fd).st_size > _BYTES_MAX:
                os.ftruncate(self._fd, 0)
            self._extend(os.fstat(self._fd).st_size)
        except (OSError, ValueError) as error:
            log.warning(
                "what runs is not noted: a crash counts no attempt", file=str(self._path), reason=str(error)
            )

    def count_deaths(self, connection: sqlite3.Connection, stamp: int) -> None:
        """Count an attempt for each update that ran when the process of this stamp died, in the open transaction."""
        _count(connection, self._left(stamp))
        query = "SELECT place, reason, attempts FROM parked WHERE queue = 'inbox' AND reason IN (?, ?)"
        rows = connection.execute(query, (DIED, DIED_WITH_OTHERS)).fetchall()
        self._deaths = {place & ID_MASK: reason for place, reason, _ in rows}
        self._is_repeated = any(attempts > 1 for _, _, attempts in rows)

    def death(self, id_: int) -> str | None:
        """Return DIED or DIED_WITH_OTHERS if the process died, before this start, while this id was handled; else None."""
        return self._deaths.get(id_)

    def is_repeated(self) -> bool:
        """Return whether this start found a suspect with more than one counted attempt (deaths and failures)."""
        return self._is_repeated

    def _left(self, stamp: int) -> list[int]:
        notes = (_NOTE.unpack_from(self._map, at) for at in range(0, self._last_at + 1, _NOTE_BYTES))
        return [id_ for id_, noted, check in notes if noted == stamp and check == id_ ^ stamp ^ _CHECK]

    def begin(self, worker: int, id_: int) -> None:
        """Record that a worker runs the handler of this id."""
        at = worker * _NOTE_BYTES
        if at > self._last_at:
            with suppress(OSError, ValueError):
                self._extend(at + _NOTE_BYTES)
        if at <= self._last_at:
            _NOTE.pack_into(self._map, at, id_, self._stamp, id_ ^ self._check)

    def end(self, worker: int) -> None:
        """Remove the worker's note: its handler has ended."""
        at = worker * _NOTE_BYTES
        if at <= self._last_at:
            self._map[at : at + _NOTE_BYTES] = _NO_NOTE

    def clear(self) -> None:
        """Remove all notes: the process ends in an orderly way."""
        self._map[:] = bytes(len(self._map))

    def close(self) -> None:
        """Remove all notes and close the file."""
        self.clear()
        self._map, self._last_at = bytearray(), -1
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _extend(self, size: int) -> None:
        """Map at least `size` bytes. They are allocated first: writing to a mapped page without disk space is a SIGBUS."""
        if self._fd < 0:
            return
        size = max(_PAGE, -(-size // _PAGE) * _PAGE)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, 0, size)
        else:  # macOS has none
            written = os.fstat(self._fd).st_size
            os.pwrite(self._fd, bytes(max(0, size - written)), written)
        self._map, self._last_at = mmap.mmap(self._fd, size), size - _NOTE_BYTES


def _count(connection: sqlite3.Connection, ids: Iterable[int]) -> None:
    found = [lane for id_ in ids if (lane := _find(connection, id_)) is not None]
    tried = {(key, place): _tried(connection, key, place) for key, place in found}
    suspects = {name: attempts for name, (attempts, reason) in tried.items() if reason.startswith(DIED)}
    counted = suspects or {name: attempts for name, (attempts, _) in tried.items()}
    reason = DIED if len(counted) == 1 else DIED_WITH_OTHERS
    for (key, place), attempts in counted.items():
        log.warning(reason, key=key, id=place & ID_MASK, attempt=attempts + 1)
        connection.execute(
            "INSERT OR REPLACE INTO parked (queue, key, attempts, until, reason, delay_s, place)"
            " VALUES ('inbox', ?, ?, 0, ?, 0, ?)",
            (key, attempts + 1, reason, place),
        )


def _find(connection: sqlite3.Connection, id_: int) -> tuple[str, int] | None:
    """Return (key, place) of the pending update or timer of this id, or None."""
    table = "timer" if id_ & TIMER_IDS else "inbox"
    row: tuple[str, int] | None
    row = connection.execute(f"SELECT key, place FROM {table} WHERE place = ?", (id_,)).fetchone()
    if row is None and table == "inbox":  # since a restart of Telegram's numbering the place is not the id
        row = connection.execute(
            "SELECT key, place FROM inbox WHERE place & ? = ?", (ID_MASK, id_)
        ).fetchone()
    return row


def _tried(connection: sqlite3.Connection, key: str, place: int) -> tuple[int, str]:
    """Return the attempts counted for the entry at a place, and the reason of the last one."""
    query = "SELECT attempts, reason FROM parked WHERE queue = 'inbox' AND key = ? AND place = ?"
    return connection.execute(query, (key, place)).fetchone() or (0, "")
