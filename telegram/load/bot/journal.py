"""The journal of a bot's process: a file with a line for each event of its handlers.

One line per event: `EVENT UPDATE_ID MONOTONIC_NS PID KEY`. The events:

    begin     a handling starts, also for an update that no handler takes: it is acknowledged
    end       the handler returned, raised Invalid, or was stopped by an update: the update is handled
    fail      the handler raised, or was cancelled otherwise
    untaken   no handler takes the update; this and the next three come before "end"
    enter     a conversation has begun
    leave     a conversation has ended
    cancel    a conversation was ended by a command
    connect   the process tries to open a connection; a refused one is recorded nowhere else
"""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple, Self

PID: Final = os.getpid()


class JournalEntry(NamedTuple):
    """One line of the journal."""

    event: str
    update_id: int
    at_ns: int
    pid: int
    key: str = "-"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Parse a line of the journal."""
        event, update_id, at_ns, pid, key = line.split()
        return cls(event, int(update_id), int(at_ns), int(pid), key)


class Journal:
    """A file of whole lines, also after a kill: each is written by one system call."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def note(self, event: str, update_id: int = 0, key: str = "-") -> None:
        """Append one line."""
        os.write(self._fd, f"{event} {update_id} {time.monotonic_ns()} {PID} {key}\n".encode())


class Tail:
    """Reads each line of a growing file once; the file may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[JournalEntry]:
        """Return the lines that were completed since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read()
        except FileNotFoundError:
            return []
        whole = whole[: whole.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [JournalEntry.parse(line) for line in whole.decode().splitlines()]
