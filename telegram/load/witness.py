"""Wraps the handlers that load.json names, and notes in a journal when each begins and how it ends.

One line each: `EVENT UPDATE_ID MONOTONIC_NS PID KEY`. The events are "begin", then "end" (it returned) or "fail" (it
raised, or was cancelled); and "connect" for each connection that the process tries to open, since a refused one is
seen by nobody else. An update that no handler wants begins and ends, too: it is acknowledged.
"""

import os
import sys
import threading
import time
from functools import partial
from typing import Final

from telegram.dialogue import Context, Router, load_router
from telegram.dialogue.router import Handler
from telegram.load.plan import BotPlan

PID: Final = os.getpid()


class Journal:
    """A file that takes whole lines only, whatever kills the process."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def note(self, event: str, update_id: int = 0, key: str = "-") -> None:
        """Write one line at once."""
        os.write(self._fd, f"{event} {update_id} {time.monotonic_ns()} {PID} {key}\n".encode())


class Witness(Router):
    """Matches as `router` does; what it finds is watched."""

    def __init__(self, router: Router, journal: Journal) -> None:
        super().__init__()
        self._router = router
        self._journal = journal

    def match(self, ctx: Context) -> Handler | None:
        """The first handler that wants this update, or one that does nothing: both are watched."""
        return partial(self._watched, self._router.match(ctx))

    async def _watched(self, handler: Handler | None, ctx: Context) -> None:
        told = (ctx.update_id, ctx.key)
        self._journal.note("begin", *told)
        try:
            if handler is not None:
                await handler(ctx)
        except BaseException:
            self._journal.note("fail", *told)
            raise
        self._journal.note("end", *told)


def _die_with_parent() -> None:
    """A load test that was killed leaves no bot behind: its end of our standard input ends, too."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _watch(plan: BotPlan) -> Router:
    if plan.until_eof:
        _die_with_parent()
    router = load_router(plan.handlers)
    if plan.journal is None:
        return router
    journal = Journal(plan.journal)
    sys.addaudithook(lambda event, _: journal.note("connect") if event == "socket.connect" else None)
    return Witness(router, journal)


router = _watch(BotPlan.read())
