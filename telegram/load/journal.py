"""Reads the journal of telegram/load/recording_router.py while it is written."""

from pathlib import Path

from telegram.load.service import JournalEntry


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
