"""Runs run.py as a child process in its own folder: start, kill, stop, read its log and journal."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from telegram.load.bot.journal import JournalEntry
from telegram.load.bot.plan import BotPlan
from telegram.process.signals import send

ROOT: Final = Path(__file__).parents[3]
PROGRAM: Final = ("-P", "-m", "telegram.command")
"""Arguments for Python that mean run.py, also where Chatlane is installed as a package."""

STARTED_WITHIN_S: Final = 60.0
ENDED_WITHIN_S: Final = 60.0
SEEN_WITHIN_S: Final = 60.0
_POLL_EVERY_S: Final = 0.02
_LINE_BYTES_MAX: Final = 1 << 20
_TAIL: Final = 10

T = TypeVar("T")


class Ended(NamedTuple):
    """How a process ended: its exit code (negative for a signal), and the seconds since the signal to stop."""

    code: int
    took_s: float


class NotRunningError(RuntimeError):
    """The process has ended by itself."""


class Finished(NamedTuple):
    """Exit code and output of a command of run.py."""

    code: int
    out: str
    err: str


@contextmanager
def held_port() -> Iterator[int]:
    """A free port of 127.0.0.1, for a server that is started meanwhile, also again and again.

    A socket is bound to it and does not listen: on Linux the system gives the port to no program that asks for any port or
    opens a connection, and a server that names it, with SO_REUSEADDR, can listen. Elsewhere it is only free at first.
    """
    with socket.socket() as bound:
        if sys.platform == "linux":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])
        if sys.platform != "linux":
            bound.close()
        yield port


def hooked(port: int) -> dict[str, str]:
    """Return the settings of a bot with a webhook on this port, for a server on this machine."""
    return {
        "WEBHOOK_URL": f"http://127.0.0.1:{port}/updates",
        "WEBHOOK_LISTEN": f"127.0.0.1:{port}",
    }


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with only these settings, and a PYTHONPATH with all that this process can import."""
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return {**settings, "PYTHONPATH": path}


async def command(*arguments: str, folder: Path, **settings: str) -> Finished:
    """Run run.py to its end. If it does not end within ENDED_WITHIN_S it is killed: TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *PROGRAM, *arguments),
        cwd=folder,
        env=environment(settings),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(ENDED_WITHIN_S):
            out, err = await process.communicate()
    finally:
        send(process, signal.SIGKILL)
        await process.wait()
    return Finished(process.returncode or 0, out.decode(), err.decode())


class Service:
    """A bot process, connected to one Bot API server; `settings` are run.py's environment variables.

    `async with` kills a running process at the end. The folder keeps store, log and journal across restarts. `program`
    are the arguments for Python instead of run.py; it must log the event "started", too. `environment`: further
    environment variables.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        token: str,
        plan: BotPlan | None = None,
        program: Sequence[str] = PROGRAM,
        environment: Mapping[str, str] | None = None,
        /,
        **settings: str,
    ) -> None:
        self.folder = folder
        self._program = program
        self._plan = plan or BotPlan()
        self._settings = {
            **(environment or {}),
            "BOT_TOKEN": token,
            "TELEGRAM_API_URL": url,
            "STORE_URL": f"sqlite:{folder / 'bot.db'}",
            "HANDLERS": "telegram.load.bot.entry_point:router",
            "LOG_FORMAT": "json",
            "MESSAGES_PER_S": "0",  # rate limiting would limit the load
            **settings,
        }
        self._log: list[dict[str, Any]] = []
        self._logging: asyncio.Task[None] | None = None
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_running:
            await self.kill()

    @property
    def is_running(self) -> bool:
        """Whether a process was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Process id of the running or last process. RuntimeError if there was none."""
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """The exit code; None while the process runs. Unlike `ended` it does not wait for the end of the output."""
        return self._started().returncode

    async def spawn(self, plan: BotPlan | None = None, **settings: str) -> None:
        """Start the process; `plan` replaces, `settings` override those of the constructor."""
        (plan or self._plan)._replace(until_eof=True).save(self.folder)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._program),
            cwd=self.folder,
            env=environment({**self._settings, **settings}),
            start_new_session=True,  # Ctrl+C in a terminal does not reach the bot
            stdin=PIPE,  # the bot exits at its end, also when this process is killed
            stdout=PIPE,  # a pipe: limits on the process's files do not affect its log
            stderr=STDOUT,
            limit=_LINE_BYTES_MAX,
        )
        self._log.clear()
        self._logging = asyncio.create_task(self._keep_log(self._process))

    async def start(self, plan: BotPlan | None = None, **settings: str) -> None:
        """Start the process and wait for its event "started"; TimeoutError."""
        await self.spawn(plan, **settings)
        await self.working()

    async def working(self) -> None:
        """Wait until the spawned process has logged "started"; TimeoutError after STARTED_WITHIN_S or if it ends."""
        await self.logged("started", timeout_s=STARTED_WITHIN_S)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process. NotRunningError if it has ended."""
        process = self._started()
        if process.returncode is not None:
            raise NotRunningError(f"exit code {process.returncode}; the log ends: {self._log[-_TAIL:]}")
        send(process, number)

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.send_signal(signal.SIGKILL)
        await self.ended()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Send a signal, as a supervisor does, and wait for the end; TimeoutError after ENDED_WITHIN_S."""
        asked = time.monotonic()
        self.send_signal(number)
        return Ended(await self.ended(), time.monotonic() - asked)

    async def ended(self, timeout_s: float = ENDED_WITHIN_S) -> int:
        """Wait for the end of the process and of its output; return the exit code. TimeoutError."""
        process = self._started()
        async with asyncio.timeout(timeout_s):
            code = await process.wait()
            if self._logging is not None:
                await self._logging
        return code

    async def command(self, *arguments: str) -> Finished:
        """Run a command of run.py on the store of this bot, which must not be running."""
        self._plan.save(self.folder)  # without `until_eof`: a command has no standard input
        return await command(*arguments, folder=self.folder, **self._settings)

    def log(self) -> list[dict[str, Any]]:
        """Return the log of the current process; a line that is not JSON (a traceback, say) is the event "?"."""
        return self._log

    def last_log_line(self) -> str:
        """Return the last line of the log."""
        line = self._log[-1] if self._log else {"line": "nothing"}
        return str(line.get("line", line)).strip()

    async def logged(self, event: str, *, timeout_s: float = SEEN_WITHIN_S, **fields: Any) -> dict[str, Any]:
        """Wait for an event with these fields in the log of the current process; return the first. TimeoutError."""

        def found() -> dict[str, Any] | None:
            for line in self.log():
                if line["event"] == event and fields.items() <= line.items():
                    return line
            return None

        return await self._soon(found, f"the event {event!r}", timeout_s)

    def journal(self) -> list[JournalEntry]:
        """Return the journal of all processes in this folder."""
        path = self.folder / "journal"
        whole, _, _ = path.read_text().rpartition("\n") if path.exists() else ("", "", "")
        lines = whole.splitlines()  # the last one may be in the making
        return [JournalEntry.parse(line) for line in lines]

    async def noted(self, event: str, update_id: int, *, timeout_s: float = SEEN_WITHIN_S) -> JournalEntry:
        """Wait for the current process's journal line about an update; return it. TimeoutError."""

        def found() -> JournalEntry | None:
            wanted = (event, update_id, self.pid)
            return next(
                (line for line in self.journal() if (line.event, line.update_id, line.pid) == wanted), None
            )

        return await self._soon(found, f"{event} of update {update_id}", timeout_s)

    def _started(self) -> Process:
        if self._process is None:
            raise RuntimeError("the process was never started")
        return self._process

    async def soon(self, found: Callable[[], T | None]) -> T:
        """Wait until `found` returns something, and return it; TimeoutError after STARTED_WITHIN_S, or if the process ends."""
        return await self._soon(found, "it", STARTED_WITHIN_S)

    async def _soon(self, found: Callable[[], T | None], what: str, timeout_s: float) -> T:
        give_up = time.monotonic() + timeout_s
        while True:
            is_over = not self.is_running or time.monotonic() > give_up
            if (result := found()) is not None:
                return result
            if is_over:
                raise TimeoutError(f"no sign of {what}; the end of the log: {self._log[-_TAIL:]}")
            await asyncio.sleep(_POLL_EVERY_S)

    async def _keep_log(self, process: Process) -> None:
        if process.stdout is None:
            return
        with (self.folder / "log").open("ab", buffering=0) as file:
            async for line in process.stdout:
                file.write(line)
                self._log.append(_event(line))


def _event(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) and "event" in found else {"event": "?", "line": line.decode()}
