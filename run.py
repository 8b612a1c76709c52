"""Runs a Telegram bot. Without BOT_TOKEN: a sandbox with a page to chat in.

Settings come from flags, the environment (upper case) and the file .env, in this order.
The composition root: only this file reads the environment, and only here the parts are put together.
"""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    CliSubCommand,
    SettingsConfigDict,
    SettingsError,
)

from engine import StoreError
from engine.store import FullStore
from engine.stores import open_store
from telegram.bot import Bot, BotConfig
from telegram.client import TgClient
from telegram.dialogue import load_router
from telegram.dialogue.flows.command import EXIT_PROBLEMS, Flows, draw_flows
from telegram.dialogue.inbox import APOLOGY
from telegram.dialogue.kinds import read_kinds
from telegram.errors import Unauthorized, redact
from telegram.fake import FakeServer
from telegram.fake.sandbox import Sandbox
from telegram.letters import Dead, Replay, letter_lines
from telegram.load.options import Load
from telegram.logs import LogFormat, LogLevel, set_up_logging
from telegram.running import Running, new_event_loop, tune_garbage_collection
from telegram.sender import UnknownOutcome
from telegram.watchdog import Watchdog

log = structlog.get_logger(__name__)

EXIT_WRONG_SETTING = 2
BLOCKED_MAX_MIN_S = 30.0
"""A handler whose time-out is shorter may block the event loop for so long, before the process is ended."""

SANDBOX_TOKEN = "1000000001:sandbox"  # noqa: S105 - made up; it opens nothing
SANDBOX_STORE_URL = "sqlite:chatlane-sandbox.db"


class WrongSettingError(Exception):
    """A person has to change a setting; the text says which, in one line."""


class Settings(BaseSettings):
    """Chatlane runs a Telegram bot: every chat in its own ordered lane, nothing lost.

    Each setting is a flag, or a variable in the environment or in .env (WORKERS=8). Without BOT_TOKEN, a sandbox
    with a page to chat in is started.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        cli_prog_name="run.py",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,
    )

    bot_token: SecretStr | None = Field(default=None, description="from @BotFather; without it: the sandbox")
    telegram_api_url: str = Field(default="https://api.telegram.org", description="a Bot API server")
    telegram_local: bool = Field(
        default=False,
        description="that server runs with --local on this machine: it is told paths, not sent files",
    )
    telegram_local_root: Path | None = Field(
        default=None, description="its --dir: the only folder that its files are read from"
    )
    telegram_test: bool = Field(default=False, description="BOT_TOKEN is of Telegram's test environment")
    store_url: str = Field(default="sqlite:chatlane.db", description="sqlite:FILE, or memory: (forgets)")
    handlers: str = Field(default="handlers:router", description="module:router with your conversations")
    workers: int = Field(default=64, ge=1, le=10_000, description="handlers at a time")
    messages_per_s: float = Field(
        default=30, ge=0, le=10_000, description="messages to all chats together at the most; 0: unlimited"
    )
    handler_timeout_s: float = Field(default=60, gt=0, description="a handler is cancelled after this long")
    attempts_max: int = Field(default=5, ge=1, description="failures of an update before it is a dead letter")
    retry_programming_errors: bool = Field(
        default=False, description="try a handler's TypeError and the like again, as other errors"
    )
    unknown_outcome: UnknownOutcome = Field(
        default="repeat",
        description="a call that may have been executed: repeat it, or give-up what would come twice",
    )
    allowed_updates: str | None = Field(
        default=None,
        description="kinds of update to ask Telegram for, comma separated, or all; default: what the handlers take",
    )
    apology: str = Field(
        default=APOLOGY, description="what a user is told when a handler has failed for good; none: nothing"
    )
    drain_timeout_s: float = Field(
        default=25, ge=2, description="a graceful stop takes at most this long; supervisors kill after 30 s"
    )
    sandbox_port: int = Field(
        default=8088, ge=0, le=65535, description="of the sandbox's page; 0: any free one"
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error")
    log_format: LogFormat = Field(default="console", description="console or json")

    dead: CliSubCommand[Dead]
    replay: CliSubCommand[Replay]
    load: CliSubCommand[Load]
    flows: CliSubCommand[Flows]

    @field_validator("allowed_updates")
    @classmethod
    def _known(cls, kinds: str | None) -> str | None:
        return kinds if kinds is None else ",".join(read_kinds(kinds))

    def is_given(self, name: str) -> bool:
        """Return whether a person has set this, as opposed to its default."""
        return name in self.model_fields_set

    @property
    def is_sandbox(self) -> bool:
        """Whether there is no Telegram to run against."""
        return self.bot_token is None

    @property
    def token(self) -> str:
        """The bot's token; the sandbox has one of its own."""
        return self.bot_token.get_secret_value() if self.bot_token else SANDBOX_TOKEN

    @property
    def effective_store_url(self) -> str:
        """Where the bot's work is kept; the sandbox does not mix with a real bot's."""
        if self.is_sandbox and not self.is_given("store_url"):
            return SANDBOX_STORE_URL
        return self.store_url


def read_settings(arguments: Sequence[str]) -> Settings:
    """Read flags, environment and .env; WrongSettingError names what is wrong, never the values."""
    try:
        settings = Settings(_cli_parse_args=list(arguments))
    except SettingsError as error:
        raise WrongSettingError(f"{error} (see: run.py --help)") from None
    except UnicodeDecodeError:
        raise WrongSettingError(".env is not UTF-8: save it as UTF-8") from None
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise WrongSettingError("; ".join(wrong)) from None
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    """Raise WrongSettingError for settings of which one makes no sense without another."""
    if settings.is_sandbox and settings.load is None and settings.flows is None:
        for name in ("telegram_api_url", "telegram_local", "telegram_local_root", "telegram_test"):
            if settings.is_given(name):
                hint = "set it, or unset both for the sandbox"
                raise WrongSettingError(f"{name.upper()} is set but BOT_TOKEN is not: {hint}")
    if settings.telegram_local and not settings.is_given("telegram_api_url"):
        raise WrongSettingError("TELEGRAM_LOCAL is set but TELEGRAM_API_URL is not: give its address")
    if settings.telegram_local_root is not None and not settings.telegram_local:
        raise WrongSettingError("TELEGRAM_LOCAL_ROOT is set but TELEGRAM_LOCAL is not: set both, or none")


async def serve(settings: Settings, watchdog: Watchdog) -> int:
    """Run the bot until a signal; return the exit code."""
    sys.path.insert(0, str(Path.cwd()))  # for HANDLERS=my_bot:router, wherever run.py lies
    router = load_router(settings.handlers)
    async with AsyncExitStack() as stack:
        api_url = settings.telegram_api_url
        fake = None
        if settings.is_sandbox:
            fake = await stack.enter_async_context(FakeServer(token=settings.token))
            api_url = fake.url
        config = BotConfig(
            workers=settings.workers,
            messages_per_s=0 if settings.is_sandbox else settings.messages_per_s,
            handler_timeout_s=settings.handler_timeout_s,
            attempts_max=settings.attempts_max,
            retry_programming_errors=settings.retry_programming_errors,
            unknown_outcome=settings.unknown_outcome,
            allowed_updates=settings.allowed_updates.split(",") if settings.allowed_updates else None,
            apology="" if settings.apology == "none" else settings.apology,
            drain_timeout_s=settings.drain_timeout_s,
        )
        client = await stack.enter_async_context(
            TgClient(
                settings.token,
                base_url=api_url,
                connections=config.senders,
                test=settings.telegram_test,
                local=settings.telegram_local,
                local_root=settings.telegram_local_root,
            )
        )
        store = await open_store(settings.effective_store_url, str(client.bot_id))
        stack.push_async_callback(store.close)
        watchdog.at_force = store.notes.clear  # whom a stop cuts off is not to blame
        bot = Bot(client, store, router, config)
        if fake is not None:
            sandbox = await stack.enter_async_context(Sandbox(fake, bot, store, port=settings.sandbox_port))
            print(f"\n  Chat with your bot here:  {sandbox.url}\n  Stop with Ctrl+C.\n", flush=True)
        return await run_until_signal(bot, watchdog)


async def run_until_signal(bot: Bot, watchdog: Watchdog) -> int:
    """Run the bot; the first SIGINT or SIGTERM drains it, a second one stops at once. Return the exit code."""
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    watchdog.watch(received.put_nowait)

    async def work() -> None:
        await bot.start()
        watchdog.serve()
        await bot.wait()

    async def at_signal() -> signal.Signals:
        return await received.get()

    working = asyncio.create_task(work())
    signalled = asyncio.create_task(at_signal())
    try:
        await asyncio.wait({working, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if working.done() or bot.me is None:
            working.cancel()
            await asyncio.wait({working})
            return 0 if working.cancelled() else _raise_reason(working)
        stopping = asyncio.create_task(bot.stop())
        signalled = asyncio.create_task(at_signal())
        await asyncio.wait({stopping, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            return _raise_reason(stopping)
        stopping.cancel()
        await asyncio.wait({stopping})
        log.warning("stopped at once: what was not committed comes again at the next start")
        return 128 + signalled.result()
    finally:
        for task in (working, signalled):
            task.cancel()
        await asyncio.wait({working, signalled})


def _raise_reason(task: asyncio.Task[None]) -> int:
    """Return 0 if the task ended well; raise the one reason that a person can mend, if there is one."""
    error = task.exception()
    if error is None:
        return 0
    while isinstance(error, BaseExceptionGroup):
        known = error.subgroup((StoreError, Unauthorized))
        error = (known or error).exceptions[0]
    raise error


async def show_dead(store: FullStore, command: Dead, token: str) -> None:
    """Print dead letters, newest first, without the token: a handler's own errors may quote it."""
    print("\n".join(letter_lines(await store.dead_letters(command.limit), token)) or "no dead letters")


async def replay(store: FullStore, command: Replay) -> int:
    """Put dead letters back; return 2 if there is one that does not exist."""
    missing = [number for number in command.numbers if not await store.replay(number)]
    print(f"{len(command.numbers) - len(missing)} put back; the bot handles them at its next start")
    if missing:
        print("no dead letter has the number", ", ".join(map(str, missing)), file=sys.stderr)
    return EXIT_WRONG_SETTING if missing else 0


async def administer(settings: Settings) -> int:
    """Run a command on the store of a bot that does not run."""
    bot_id = settings.token.partition(":")[0]
    store = await open_store(settings.effective_store_url, bot_id)
    try:
        if settings.dead is not None:
            await show_dead(store, settings.dead, settings.token)
            return 0
        return await replay(store, settings.replay or Replay(numbers=[]))
    finally:
        await store.close()


async def load(settings: Settings) -> int:
    """Test handlers under load; nothing of it meets the bot and the store that the settings name."""
    from telegram.load.command import run_load

    sys.path.insert(0, str(Path.cwd()))  # for --handlers=my_bot:router
    others = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return await run_load(settings.load or Load(), others, shlex.join(["python", *sys.argv]))


async def flows(settings: Settings) -> int:
    """Draw the flows of HANDLERS, and print them with their problems; return 1 if there are any."""
    sys.path.insert(0, str(Path.cwd()))  # for HANDLERS=my_bot:router
    command = settings.flows or Flows()
    lines, wrong = draw_flows(settings.handlers, command)
    print("\n".join(lines) or "no flows")
    print(f"pictures: {command.out / 'index.html'}")
    for line in wrong:
        print(f"run.py: HANDLERS: {line}", file=sys.stderr)
    return EXIT_PROBLEMS if wrong else 0


def serve_to_the_end(settings: Settings, watchdog: Watchdog) -> int:
    """Run the bot until it has stopped, or was stopped by force; return the exit code."""
    blocked_max_s = max(BLOCKED_MAX_MIN_S, settings.handler_timeout_s)
    watchdog.start(drain_timeout_s=settings.drain_timeout_s, blocked_max_s=blocked_max_s)
    running = Running(new_event_loop)
    try:
        return running.run(serve(settings, watchdog))
    finally:
        watchdog.unwatch(running.left)


def main(arguments: Sequence[str], watchdog: Watchdog | None = None) -> int:
    """Read the settings and run; return the exit code, with one line on stderr if a person has to do something."""
    token = ""
    try:
        settings = read_settings(arguments)
        token = settings.token
        set_up_logging(settings.log_level, settings.log_format, token)
        run = administer if settings.dead or settings.replay else None
        run = load if settings.load else flows if settings.flows else run
        tune_garbage_collection()
        if run is None:
            return serve_to_the_end(settings, watchdog or Watchdog())
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(run(settings))
    except Unauthorized as error:
        reason = f"Telegram refuses BOT_TOKEN ({error}): copy it again from @BotFather"
    except (WrongSettingError, StoreError, ValueError) as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.strerror or error}"
    for line in redact(reason, token).split("\n"):  # of a router with flows, one for each thing wrong
        print(f"run.py: {line}", file=sys.stderr)
    return EXIT_WRONG_SETTING


if __name__ == "__main__":
    process = Watchdog()
    sys.exit(process.leave(main(sys.argv[1:], process)))
