"""The bot's part of a load test, as a setting HANDLERS: the handlers that load.json names, watched (watched.py)."""

import os
import sys
import threading

from telegram.dialogue import Router, load_router
from telegram.load.plan import BotPlan
from telegram.load.watched import Journal, Witness


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
