"""Which clients there are, what each needs, and its process."""

import asyncio
import os
import shutil
import signal
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from telegram.process.signals import send

HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = HERE.parents[1] / ".venv-judges"
_GRACE_S: Final = 5.0


class Client(NamedTuple):
    """A framework: the name of its package, which is that of its environment, too; and its bot in bots/."""

    package: str
    bot: str

    @property
    def needs_node(self) -> bool:
        """Whether it is JavaScript."""
        return self.bot.endswith(".mjs")

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return ENVIRONMENTS / self.package / "bin/python"

    def missing(self) -> str:
        """What is not installed, "" when it can run."""
        if self.needs_node and shutil.which("node") is None:
            return "no node"
        installed = HERE / "node_modules" / self.package if self.needs_node else self.python
        return "" if installed.exists() else f"{self.package} is not installed"

    def command(self) -> tuple[str, ...]:
        """How its bot is started, in HERE: there, python-telegram-bot's `telegram` is not ours."""
        if self.needs_node:
            return ("node", f"bots/{self.bot}")
        return (str(self.python), "-m", f"bots.{self.bot.removesuffix('.py')}")


CLIENTS: Final = (
    Client("aiogram", "aiogram_judge.py"),
    Client("pytelegrambotapi", "telebot_judge.py"),
    Client("python-telegram-bot", "ptb_judge.py"),
    Client("grammy", "grammy_judge.mjs"),
)


class BotProcess:
    """A client's bot at one Bot API server, from `async with` to its end; `pictures` is the folder that it uploads from."""

    def __init__(self, client: Client, url: str, token: str, pictures: Path) -> None:
        self._client = client
        settings = {"BOT_TOKEN": token, "TELEGRAM_API_URL": url, "PICTURES": str(pictures)}
        self._settings = settings | {"PATH": os.environ["PATH"]}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._client.command(),
            cwd=HERE,
            env=self._settings,
            stdin=PIPE,  # its end tells the bot that we are gone
            stdout=self._log,
            stderr=STDOUT,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            send(process, signal.SIGTERM)
            try:
                async with asyncio.timeout(_GRACE_S):
                    await process.wait()
            except TimeoutError:
                send(process, signal.SIGKILL)
                await process.wait()
        self._log.close()

    @property
    def has_ended(self) -> bool:
        """Whether it is gone, without having been told."""
        return self._process is None or self._process.returncode is not None

    def log_tail(self, lines: int = 15) -> str:
        """The end of what it has printed."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-lines:])
