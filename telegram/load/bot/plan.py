"""Parameters of the bot's process, in the file load.json of its working directory."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = "load.json"


class BotPlan(NamedTuple):
    """Parameters of the bot's process in a load test."""

    handlers: str = "telegram.load.bot.counting:router"
    """Like the setting HANDLERS."""

    handler_ms: float = 20.0
    """Duration of a handler of `counting`, in milliseconds."""

    journal: str | None = "journal"
    """File of the journal (telegram/load/bot/journal.py); None: no journal."""

    until_eof: bool = False
    """Exit when standard input ends, so that a killed load test leaves no bot behind."""

    def save(self, folder: Path) -> None:
        """Write it to `folder`, the working directory of the bot's process."""
        (folder / FILE).write_text(json.dumps(self._asdict()))

    @classmethod
    def read(cls) -> "BotPlan":
        """Read it from the working directory; return the defaults if there is no file."""
        path = Path(FILE)
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return cls(**found)
