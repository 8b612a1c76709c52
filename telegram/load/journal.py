"""Reading the journal of telegram/load/watched.py while it is written."""

from pathlib import Path

from telegram.load.service import Noted


class Tail:
    """Reads a file that grows, and perhaps does not exist yet; each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[Noted]:
        """What was noted since the last time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read()
        except FileNotFoundError:
            return []
        whole = whole[: whole.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [Noted.parse(line) for line in whole.decode().splitlines()]
