"""How a bot tells what its framework made of the server's answers. Standard library only: frameworks have their own environment."""

import json
import os
import threading
from pathlib import Path
from typing import Final

URL: Final = os.environ.get("TELEGRAM_API_URL", "")
TOKEN: Final = os.environ.get("BOT_TOKEN", "")
PICTURES: Final = Path(os.environ.get("PICTURES", ""))

COMMANDS: Final = {"start": "Say hello", "photo": "Send a photo"}
POLL_OPTIONS: Final = ("Tea", "Coffee")
NO_MESSAGE: Final = 999_999


def told(step: str, **facts: object) -> str:
    """The text of the message that reports a step."""
    return f"{step} {json.dumps(facts)}"


def die_with_parent() -> None:
    """A judgement that was cut short leaves no bot behind: its end of our standard input ends, too."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
