"""run.py as a process, in a folder of its own: started, killed, stopped, and asked for what it has logged."""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from telegram.load.plan import BotPlan

ROOT: Final = Path(__file__).parents[2]
STARTED_WITHIN_S: Final = 60.0
ENDED_WITHIN_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.02
_LINE_BYTES_MAX: Final = 1 << 20
_TAIL: Final = 10

T = TypeVar("T")


class Ended(NamedTuple):
    """How a process ended: its exit code (negative for a signal), and how long it took since it was asked to."""

    code: int
    took_s: float


class Noted(NamedTuple):
    """One line of the journal: see telegram/load/watched.py."""

    event: str
    update_id: int
    at_ns: int
    pid: int
    key: str = "-"

    @classmethod
    def parse(cls, line: str) -> Self:
        """A line as the witness writes it."""
        event, update_id, at_ns, pid, key = line.split()
        return cls(event, int(update_id), int(at_ns), int(pid), key)


class NotRunningError(RuntimeError):
    """The process has ended by itself."""


class Finished(NamedTuple):
    """What a command of run.py printed."""

    code: int
    out: str
    err: str


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """These settings and no others; whatever we can import, the process can import."""
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return {**settings, "PYTHONPATH": path}


async def command(*arguments: str, folder: Path, **settings: str) -> Finished:
    """Run run.py to its end; TimeoutError, and the end of the process, if it does not end by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "run.py"), *arguments),
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
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Finished(process.returncode or 0, out.decode(), err.decode())


class Service:
    """A watched bot at one Bot API server; `plan` is its part, `settings` are run.py's, in upper case.

    `async with` ends what runs. The folder keeps the store, the log and the journal from one start to the next.
    `program` is what Python runs, if it is not run.py: it has to log the event "started", too. `environment` is what
    the process gets beside the settings.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        token: str,
        plan: BotPlan | None = None,
        program: Sequence[str] = (str(ROOT / "run.py"),),
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
            "HANDLERS": "telegram.load.witness:router",
            "LOG_FORMAT": "json",
            "MESSAGES_PER_S": "0",  # a load is no load if it is spaced
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
        """Whether there is a process that has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """The exit code; None while the process runs. Other than `ended`, it waits for nothing that holds the pipe."""
        return self._started().returncode

    async def spawn(self, plan: BotPlan | None = None, **settings: str) -> None:
        """Start the process; `plan` and `settings` go before those of the constructor."""
        (plan or self._plan)._replace(until_eof=True).save(self.folder)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._program),
            cwd=self.folder,
            env=environment({**self._settings, **settings}),
            start_new_session=True,  # Ctrl+C in a terminal is for whoever started us, not for the bot
            stdin=PIPE,  # its end tells the bot that we are gone
            stdout=PIPE,  # a pipe: what limits the process's files does not limit what it tells
            stderr=STDOUT,
            limit=_LINE_BYTES_MAX,
        )
        self._log.clear()
        self._logging = asyncio.create_task(self._keep_log(self._process))

    async def start(self, plan: BotPlan | None = None, **settings: str) -> None:
        """Start the process, and return when it works."""
        await self.spawn(plan, **settings)
        await self.working()

    async def working(self) -> None:
        """Return when the process that was spawned works; TimeoutError if it does not come to that."""
        await self.logged("started", timeout_s=STARTED_WITHIN_S)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, which must not have ended by itself."""
        process = self._started()
        if process.returncode is not None:
            raise NotRunningError(f"exit code {process.returncode}; the log ends: {self._log[-_TAIL:]}")
        process.send_signal(number)

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        self.send_signal(signal.SIGKILL)
        await self.ended()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Ask it to end as a supervisor does."""
        asked = time.monotonic()
        self.send_signal(number)
        return Ended(await self.ended(), time.monotonic() - asked)

    async def ended(self, timeout_s: float = ENDED_WITHIN_S) -> int:
        """The exit code, as soon as there is one."""
        process = self._started()
        async with asyncio.timeout(timeout_s):
            code = await process.wait()
            if self._logging is not None:
                await self._logging
        return code

    async def command(self, *arguments: str) -> Finished:
        """Run a command on the store of this bot, which must not run."""
        self._plan.save(self.folder)  # without `until_eof`: a command has no standard input
        return await command(*arguments, folder=self.folder, **self._settings)

    def log(self) -> list[dict[str, Any]]:
        """What the present process has logged; a line that is no event (a traceback, say) is the event "?"."""
        return self._log

    def last_words(self) -> str:
        """The end of the log in one line."""
        line = self._log[-1] if self._log else {"line": "nothing"}
        return str(line.get("line", line)).strip()

    async def logged(self, event: str, *, timeout_s: float = 30.0, **fields: Any) -> dict[str, Any]:
        """The first event of this name and with these fields in the log of the present process, as soon as it is there."""

        def found() -> dict[str, Any] | None:
            for line in self.log():
                if line["event"] == event and fields.items() <= line.items():
                    return line
            return None

        return await self._soon(found, f"the event {event!r}", timeout_s)

    def journal(self) -> list[Noted]:
        """What all processes of this folder have noted."""
        path = self.folder / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Noted.parse(line) for line in lines]

    async def noted(self, event: str, update_id: int, *, timeout_s: float = 30.0) -> Noted:
        """The present process's line about an update in the journal, as soon as it is there."""

        def found() -> Noted | None:
            wanted = (event, update_id, self.pid)
            return next(
                (line for line in self.journal() if (line.event, line.update_id, line.pid) == wanted), None
            )

        return await self._soon(found, f"{event} of update {update_id}", timeout_s)

    def _started(self) -> Process:
        if self._process is None:
            raise RuntimeError("the process was never started")
        return self._process

    async def _soon(self, found: Callable[[], T | None], what: str, timeout_s: float) -> T:
        give_up = time.monotonic() + timeout_s
        while True:
            is_over = not self.is_running or time.monotonic() > give_up
            if (result := found()) is not None:
                return result
            if is_over:
                raise TimeoutError(f"no sign of {what}; the end of the log: {self._log[-_TAIL:]}")
            await asyncio.sleep(_LOOK_EVERY_S)

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
