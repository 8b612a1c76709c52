"""The bot under test: answers every text with the evidence that tests/kit/checker.py judges by.

HANDLER_MS is how long a handler works. JOURNAL names a file for what no reply can tell: one line when a handler begins,
one when it ends, and one for each connection that the process tries to open (a refused one is seen by nobody else).
"""

import asyncio
import os
import sys
import threading
import time

from telegram.dialogue import Context, Router, text
from tests.kit.checker import Evidence

HANDLER_S = float(os.environ.get("HANDLER_MS", "20")) / 1000
PID = os.getpid()

router = Router()


@router.message(text)
async def count(ctx: Context) -> None:
    begin_ns = time.monotonic_ns()
    note("begin", ctx.update_id, begin_ns)
    await asyncio.sleep(HANDLER_S)
    end_ns = time.monotonic_ns()
    note("end", ctx.update_id, end_ns)
    ctx.data["count"] = ctx.data.get("count", 0) + 1
    ctx.reply(str(Evidence(ctx.text, ctx.update_id, ctx.data["count"], begin_ns, end_ns, PID)))


def note(event: str, update_id: int = 0, at_ns: int = 0) -> None:
    """One write, so that a kill leaves whole lines only."""
    if journal is not None:
        os.write(journal, f"{event} {update_id} {at_ns or time.monotonic_ns()} {PID}\n".encode())


def open_journal() -> int | None:
    path = os.environ.get("JOURNAL")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644) if path else None


def die_with_parent() -> None:
    """A harness that was killed leaves no bot behind: its end of our standard input ends, too."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if os.environ.get("UNTIL_EOF"):
    die_with_parent()
journal = open_journal()
if journal is not None:
    sys.addaudithook(lambda event, _: note("connect") if event == "socket.connect" else None)
