"""The setting HANDLERS of the bot's process in a load test: the handlers of load.json, observed by recorder.py."""

import os
import sys
import threading

from telegram.dialogue import Router, load_router
from telegram.load.bot.journal import Journal
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.recorder import Recorder
from telegram.process.supervisor import EXIT_WRONG_SETTING


def _die_with_parent() -> None:
    """Exit when standard input ends, which happens when the load test is killed: it must leave no bot behind."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(EXIT_WRONG_SETTING)  # a supervisor does not start it again

    threading.Thread(target=wait, daemon=True).start()


def _router(plan: BotPlan) -> Router:
    if plan.until_eof:
        _die_with_parent()
    router = load_router(plan.handlers)
    if plan.journal is None:
        return router
    journal = Journal(plan.journal)
    sys.addaudithook(lambda event, _: journal.note("connect") if event == "socket.connect" else None)
    router.observer(Recorder(journal))
    return router


router = _router(BotPlan.read())
