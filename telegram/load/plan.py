"""What a load test tells the bot's process, in the file load.json of its working directory."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = "load.json"


class BotPlan(NamedTuple):
    """The part of a load test that the bot's process plays."""

    handlers: str = "telegram.load.counting:router"
    """As the setting HANDLERS."""

    handler_ms: float = 20.0
    """How long a handler of `counting` works, in milliseconds."""

    journal: str | None = "journal"
    """The file for what no reply can tell; None for none."""

    until_eof: bool = False
    """End when standard input ends: a load test that was killed leaves no bot behind."""

    def save(self, folder: Path) -> None:
        """Leave it where `read` finds it."""
        (folder / FILE).write_text(json.dumps(self._asdict()))

    @classmethod
    def read(cls) -> "BotPlan":
        """Return what the working directory says; the defaults if it says nothing."""
        path = Path(FILE)
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return cls(**found)
