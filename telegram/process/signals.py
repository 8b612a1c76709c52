"""Signals to processes that asyncio has started."""

import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process, if it has not ended.

    Not by the process's own `send_signal`, `terminate` and `kill`: before Python 3.13 these reap a process that has just
    ended, whose exit code is then lost and reported as 255 (CPython, gh-87744).
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
