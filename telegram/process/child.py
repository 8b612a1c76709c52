"""One process of a supervisor (supervisor.py), from its start to its end, as the supervisor sees it."""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Collection
from contextlib import suppress
from typing import Final

import structlog

from telegram.process.signals import send
from telegram.process.systemd import SESSION

log = structlog.get_logger(__name__)

_SESSIONS_MAX: Final = 4


class Child:
    """A process, and what it has reported over `stream`."""

    def __init__(self, number: int, process: Process, stream: socket.socket) -> None:
        self.number = number
        self.process = process
        self.stream = stream
        self.sessions: deque[int] = deque(maxlen=_SESSIONS_MAX)
        self.ready = asyncio.Event()
        self.ready_at: float | None = None
        self.heard_at = asyncio.get_running_loop().time()
        self.is_asked_to_stop = False
        self.replaced = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def works(self) -> bool:
        """Whether it is ready and runs."""
        return self.ready.is_set() and not self.ended.done()

    def ask_to_stop(self, number: signal.Signals) -> None:
        """Send a signal to stop, if it runs. Several SIGTERM are one to it (watchdog.py); SIGINT after that stops it at once."""
        self.is_asked_to_stop = True
        send(self.process, number)

    def kill(self) -> None:
        """End it, if it runs."""
        send(self.process, signal.SIGKILL)

    async def ready_or_ended(self, slow_s: float) -> None:
        """Wait for either, and report a process that takes long: its handlers' modules may hang while they are imported."""
        while not (self.ready.is_set() or self.ended.done()):
            await first(self.ready.wait(), asyncio.shield(self.ended), asyncio.sleep(slow_s))
            if not (self.ready.is_set() or self.ended.done()):
                log.warning("a process is not ready yet", process=self.number, pid=self.process.pid)

    async def listen(self) -> None:
        """Note what it reports, until the end of the stream."""
        loop, rest = asyncio.get_running_loop(), b""
        with suppress(OSError):
            while data := await loop.sock_recv(self.stream, 4096):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.note(line)

    def note(self, line: bytes) -> None:
        """Note what it has reported."""
        self.heard_at = asyncio.get_running_loop().time()
        name, _, value = line.decode("ascii", "replace").partition("=")
        if name == "READY":
            self.ready_at = self.heard_at
            self.ready.set()
        elif name == SESSION and value.isdecimal():
            self.sessions.append(int(value))


def reap_others(ours: Collection[int]) -> None:
    """Reap processes that have ended and were given to this one, as process 1 of a container; `ours` are waited for elsewhere.

    Of these a look may find one: then it is repeated later.
    """
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in ours:
                break
            os.waitpid(ended.si_pid, 0)


def described(code: int) -> dict[str, object]:
    """Return how a process has ended, for a line of the log."""
    return {"exit_code": code} if code >= 0 else {"signal": signal.strsignal(-code) or -code}


async def first(*work: Awaitable[object]) -> None:
    """Return when one of them is done; cancel the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
