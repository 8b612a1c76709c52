"""The log of what operators did: one line of JSON for each thing, only ever appended, synced before the answer.

An action has two lines: `"result": "begun"` before it, so that nothing is done that could not be recorded, and its result
after it. The file may be renamed at any time (log rotation): it is opened for each line.
"""

import asyncio
import json
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from engine import StoreUnavailable

_TAIL_BYTES: Final = 256 << 10
_LINE_MAX: Final = 16 << 10
_FLAGS: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)


class Who(NamedTuple):
    """Who acts: `name` for the log, and the role; `where` is the address or the like."""

    name: str
    may_write: bool
    where: str


class AuditFailed(StoreUnavailable):
    """The log cannot be written: nothing was done."""


class AuditLog(Protocol):
    """Where it is recorded."""

    async def note(self, who: Who, what: str, about: dict[str, Any], result: str) -> None:
        """Append a line, durable on return; AuditFailed."""
        ...

    async def tail(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest entries, newest first; lines that are none are left out."""
        ...


class Audit:
    """The log at `path`. `wall` returns Unix time."""

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        self.path = path
        self._wall = wall

    async def note(self, who: Who, what: str, about: dict[str, Any], result: str) -> None:
        """See AuditLog."""
        line = entry_line(self._wall(), who, what, about, result)
        await asyncio.to_thread(self._append, f"{line}\n".encode())

    async def tail(self, limit: int) -> list[dict[str, Any]]:
        """See AuditLog."""
        text = await asyncio.to_thread(self._read_end)
        return read_entries(reversed(text.splitlines()), limit)

    def _append(self, line: bytes) -> None:
        try:
            descriptor = os.open(self.path, _FLAGS, 0o600)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(0, "it is no file")
                if os.write(descriptor, line) != len(line):
                    raise OSError(0, "the disk is full")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise AuditFailed(
                f"the audit log {self.path} cannot be written ({reason}): nothing was done"
            ) from None

    def _read_end(self) -> str:
        try:
            with self.path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                start = max(0, file.tell() - _TAIL_BYTES)
                file.seek(start)
                data = file.read(_TAIL_BYTES)
        except OSError:
            return ""
        return (data.partition(b"\n")[2] if start else data).decode("utf-8", "replace")


def entry_line(at: float, who: Who, what: str, about: dict[str, Any], result: str) -> str:
    """Return an entry as a line of JSON, of bounded length."""
    entry = {
        "at": round(at, 3),
        "who": who.name,
        "where": who.where,
        "what": what,
        "about": about,
        "result": result,
    }
    line = json.dumps(entry, ensure_ascii=True)
    return line if len(line) <= _LINE_MAX else json.dumps({**entry, "about": {"cut": line[:_LINE_MAX]}})


def read_entries(lines: Iterable[str], limit: int) -> list[dict[str, Any]]:
    """Return at most `limit` entries; lines that are none are left out."""
    entries: list[dict[str, Any]] = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.keys() >= {"at", "who", "what", "result"}:
            entries.append(entry)
        if len(entries) == limit:
            break
    return entries
