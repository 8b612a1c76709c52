"""The processes of one bot as a load test starts, disturbs and stops them: one, or several over one database, supervised."""

import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from telegram.load.bot.service import STARTED_WITHIN_S, Ended, Service

_DEAD_WITHIN_S: Final = 60.0 if Path("/proc").is_dir() else 1.0
"""Where its end can be seen, a killed process is waited for: on a busy machine it can still write for a while."""

_LOOK_EVERY_S: Final = 0.001


class Member(Protocol):
    """One of the processes."""

    @property
    def pid(self) -> int:
        """Its process id, or that of the one that has replaced it."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal. NotRunningError if it has ended."""

    async def kill(self) -> None:
        """Send SIGKILL; it is dead on return."""

    async def spawn(self) -> None:
        """Start it again; what has a supervisor is waited for."""

    async def working(self) -> None:
        """Wait until it has logged "started"; TimeoutError."""


class Supervised:
    """The process with this number of a supervisor, which starts it again."""

    def __init__(self, supervisor: Service, number: int) -> None:
        self._supervisor = supervisor
        self._number = number
        self._begins = 0  # where the lines of the current process begin in the log

    @property
    def pid(self) -> int:
        """See Member."""
        started = [line["pid"] for line in self._lines("process started", 0)]
        return int(started[-1])

    def send_signal(self, number: signal.Signals) -> None:
        """See Member."""
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """See Member. Without a pause: what others note about its chats afterwards comes later."""
        pid = self.pid
        self._begins = len(self._supervisor.log())
        os.kill(pid, signal.SIGKILL)
        give_up = time.monotonic() + _DEAD_WITHIN_S
        while _runs(pid) and time.monotonic() < give_up:
            time.sleep(_LOOK_EVERY_S)  # noqa: ASYNC251 - on purpose, see above

    async def spawn(self) -> None:
        """See Member."""
        await self._supervisor.soon(lambda: self._lines("process started", self._begins) or None)

    async def working(self) -> None:
        """See Member."""
        await self._supervisor.soon(lambda: self._lines("started", self._begins) or None)

    def _lines(self, event: str, begins: int) -> list[dict[str, Any]]:
        log = self._supervisor.log()[begins:]
        return [line for line in log if line["event"] == event and line["process"] == self._number]


def _runs(pid: int) -> bool:
    """Return whether a process has not ended; one whose parent has not waited for it yet (Z) has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1]
    except OSError:  # it is gone, or the system has no /proc: then it has ended when its time is over
        return not Path("/proc").is_dir()
    return state != [b"Z"]


class Fleet:
    """The processes, in one folder: they write one journal. `async with` kills those that run at the end."""

    def __init__(self, service: Service, processes: int = 1) -> None:
        """`service` is the process, or with several the supervisor."""
        self._service = service
        self.is_supervised = processes > 1
        self.members: tuple[Member, ...] = (service,)
        if self.is_supervised:
            self.members = tuple(Supervised(service, number) for number in range(processes))
        self._next = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._service.__aexit__(kind, error, trace)

    @property
    def folder(self) -> Path:
        """The folder with the journal."""
        return self._service.folder

    @property
    def is_running(self) -> bool:
        """Whether the process, or the supervisor, runs."""
        return self._service.is_running

    async def start(self) -> None:
        """Start them, and wait until each handles updates; TimeoutError."""
        await self._service.spawn()
        event = "all processes work" if self.is_supervised else "started"
        await self._service.logged(event, timeout_s=2 * STARTED_WITHIN_S)

    def victim(self) -> Member:
        """Return the one that the next fault concerns: each in its turn."""
        self._next += 1
        return self.members[self._next % len(self.members)]

    async def stop(self) -> Ended:
        """Let all of them stop; return the exit code, and the time."""
        return await self._service.stop()

    def log(self) -> list[dict[str, Any]]:
        """Return the log of all processes."""
        return self._service.log()

    def last_log_line(self) -> str:
        """Return the last line of the log."""
        return self._service.last_log_line()
