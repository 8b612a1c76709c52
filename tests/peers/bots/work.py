"""What every bot does with a text, and what it replies. Standard library only: each runs in its own environment."""

import os
import threading
import time
from typing import Final

URL: Final = os.environ.get("TELEGRAM_API_URL", "")
TOKEN: Final = os.environ.get("BOT_TOKEN", "")
VARIANT: Final = os.environ.get("VARIANT", "")


def work_s(text: str) -> float:
    """How long the handler of a text works: its last word says it, in milliseconds."""
    return float(text.rsplit(maxsplit=1)[1]) / 1000


def evidence(text: str, update_id: int, counted: int, begin_ns: int) -> str:
    """The reply to a text whose handler ends now; 0 stands for an update_id that a framework does not tell."""
    return f"{text}|{update_id}|{counted}|{begin_ns}|{time.monotonic_ns()}|{os.getpid()}"


def die_with_parent() -> None:
    """A benchmark that was killed leaves no bot behind: its end of our standard input ends, too."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
