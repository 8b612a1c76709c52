"""Who takes part, and how its process is started, stopped and measured."""

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import psutil

from telegram.load.bot.service import ROOT, environment
from telegram.process.signals import send

PEERS_PYTHON: Final = ROOT / ".venv-peers/bin/python"
GRACE_S: Final = 30.0
"""What a supervisor allows between SIGTERM and SIGKILL (Kubernetes: terminationGracePeriodSeconds)."""

_HERE: Final = Path(__file__).parent


class Contender(NamedTuple):
    """One line of the table: a module of bots/, and which variant of it."""

    name: str
    module: str
    variant: str = ""

    @property
    def is_chatlane(self) -> bool:
        """Whether run.py runs it, in our own environment."""
        return self.module == "chatlane_bot"


CONTENDERS: Final = (
    Contender("Chatlane", "chatlane_bot"),
    Contender("one queue, 64 workers", "tutorial_bot"),
    Contender("aiogram", "aiogram_bot"),
    Contender("aiogram, SimpleEventIsolation", "aiogram_bot", "isolated"),
    Contender("python-telegram-bot", "ptb_bot"),
    Contender("python-telegram-bot, concurrent_updates", "ptb_bot", "concurrent"),
    Contender("pyTelegramBotAPI, AsyncTeleBot", "telebot_bot"),
    Contender("pyTelegramBotAPI, TeleBot", "telebot_bot", "threads"),
)


class BotProcess:
    """A contender at one Bot API server; the folder keeps what it keeps from one start to the next. `async with` ends it."""

    def __init__(self, contender: Contender, folder: Path, url: str, token: str) -> None:
        self._contender = contender
        self._folder = folder
        self._settings = {
            "BOT_TOKEN": token,
            "TELEGRAM_API_URL": url,
            "VARIANT": contender.variant,
        }
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.end(signal.SIGKILL)

    async def start(self) -> None:
        """Start the process; nobody waits until it works."""
        command, settings, folder = self._how()
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env=settings,
                stdin=PIPE,  # its end tells the bot that we are gone
                stdout=log,
                stderr=STDOUT,
            )

    def _how(self) -> tuple[Sequence[str], Mapping[str, str], Path]:
        module = self._contender.module
        if self._contender.is_chatlane:
            settings = {"HANDLERS": f"tests.peers.bots.{module}:router", **self._settings}
            return (sys.executable, str(ROOT / "run.py")), environment(settings), self._folder
        # far from our root: there, python-telegram-bot's `telegram` would be ours
        return (str(PEERS_PYTHON), "-m", f"bots.{module}"), self._settings, _HERE

    async def end(self, number: signal.Signals) -> float:
        """Send a signal, after GRACE_S a SIGKILL; return how many seconds the end took."""
        began = time.monotonic()
        send(self._running, number)
        try:
            async with asyncio.timeout(GRACE_S):
                await self._running.wait()
        except TimeoutError:
            send(self._running, signal.SIGKILL)
            await self._running.wait()
        return time.monotonic() - began

    def cpu_s(self) -> float:
        """CPU time of the process since its start, in seconds."""
        times = psutil.Process(self._running.pid).cpu_times()
        return float(times.user + times.system)

    def log_tail(self, lines: int = 10) -> str:
        """The end of what it has printed."""
        return "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-lines:])

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError("the process was never started")
        return self._process
