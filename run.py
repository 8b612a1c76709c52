"""Runs a Telegram bot; `run.py sandbox`: the same bot in a sandbox, with a page to chat in.

Settings come from flags, the environment (upper case) and the file .env, in this order.
The composition root: only this file reads the environment, and only here the parts are put together.
"""

import asyncio
import os
import re
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, CliSubCommand, SettingsConfigDict, SettingsError

from engine import StoreError
from engine.store import FullStore
from engine.stores import open_store
from telegram.botapi.errors import Unauthorized, redact
from telegram.botapi.printable import printable
from telegram.client import TgClient
from telegram.dialogue import load_router
from telegram.dialogue.diagrams.command import EXIT_PROBLEMS, Flows, draw_flows
from telegram.metrics import monitored
from telegram.process.running import Running, new_event_loop, tune_garbage_collection
from telegram.process.systemd import Systemd
from telegram.process.watchdog import Watchdog
from telegram.service.bot import Bot
from telegram.service.letters import Dead, Replay, replay, show_dead
from telegram.service.logs import LogFormat, LogLevel, log_what_nobody_catches, set_up_logging
from telegram.service.observe import observer_of
from telegram.service.posting import PostEvent, post_event
from telegram.service.secrecy import warn_of_readable_settings, without_password, without_secrets
from telegram.service.serving import run_until_signal, unless_signalled
from telegram.settings.bot_settings import BotSettings
from telegram.settings.load_test import Load
from telegram.settings.metrics_settings import MetricsSettings

if TYPE_CHECKING:
    from telegram.fake import FakeServer
    from telegram.sandbox.lanes import LaneBoard

log = structlog.get_logger(__name__)

EXIT_WRONG_SETTING = 2
BLOCKED_MAX_MIN_S = 30.0
"""A handler whose time-out is shorter may block the event loop for so long, before the process is ended."""

SANDBOX_TOKEN = (
    f"1000000001:{secrets.token_urlsafe(24)}"  # a new one with each start: no page of another site knows it
)
SANDBOX_STORE_URL = "sqlite:chatlane-sandbox.db"


class WrongSettingError(Exception):
    """A person has to change a setting; the text says which, in one line."""


class InSandbox(BaseModel):
    """Run the bot in a sandbox: a page to chat in, without a token, an account or a network. BOT_TOKEN is not used."""


class Settings(BotSettings, MetricsSettings, BaseSettings):
    """Chatlane runs a Telegram bot: every chat in its own ordered lane, nothing lost.

    Each setting is a flag, or a variable in the environment or in .env (WORKERS=8). Without BOT_TOKEN nothing is
    started; to try a bot without one: run.py sandbox
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

    bot_token: SecretStr | None = Field(default=None, description="from @BotFather")
    without_token: Literal["error", "sandbox"] = Field(
        default="error",
        description="if BOT_TOKEN is not set: an error, or the sandbox (as `make run` does)",
    )
    telegram_api_url: str = Field(default="https://api.telegram.org", description="a Bot API server")
    telegram_local: bool = Field(
        default=False,
        description="that server runs with --local on this machine: it gets paths instead of files",
    )
    telegram_local_root: Path | None = Field(
        default=None, description="its --dir: the only folder that its files are read from"
    )
    telegram_allow_http: bool = Field(
        default=False,
        description="http:// also to another machine, in a network that you trust: the token is sent unencrypted",
    )
    telegram_test: bool = Field(default=False, description="BOT_TOKEN is of Telegram's test environment")
    store_url: str = Field(
        default="sqlite:chatlane.db",
        description="sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE, or memory: (forgets)",
    )
    handlers: str = Field(default="handlers:router", description="module:router with your conversations")
    sandbox_port: int = Field(
        default=8088, ge=0, le=65535, description="of the sandbox's page; 0: any free one"
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error")
    log_format: LogFormat = Field(default="console", description="console or json")

    sandbox: CliSubCommand[InSandbox]
    dead: CliSubCommand[Dead]
    replay: CliSubCommand[Replay]
    post: CliSubCommand[PostEvent]
    load: CliSubCommand[Load]
    flows: CliSubCommand[Flows]

    def is_given(self, name: str) -> bool:
        """Return whether a person has set this, as opposed to its default."""
        return name in self.model_fields_set

    @property
    def is_sandbox(self) -> bool:
        """Whether there is no Telegram to run against."""
        return self.sandbox is not None or self.bot_token is None

    @property
    def token(self) -> str:
        """The bot's token; the sandbox has one of its own."""
        return SANDBOX_TOKEN if self.is_sandbox or not self.bot_token else self.bot_token.get_secret_value()

    @property
    def effective_store_url(self) -> str:
        """Where the bot's work is kept; the sandbox does not mix with a real bot's, nor beside BOT_TOKEN with STORE_URL."""
        if self.is_sandbox and (self.bot_token is not None or not self.is_given("store_url")):
            return SANDBOX_STORE_URL
        return self.store_url


class _TokenGiven(BaseSettings):
    """BOT_TOKEN as it is written, also if it is empty."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", cli_kebab_case=True, cli_ignore_unknown_args=True
    )

    bot_token: str | None = None


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
    _check_together(settings, arguments)
    return settings


def _check_together(settings: Settings, arguments: Sequence[str]) -> None:
    """Raise WrongSettingError for settings of which one makes no sense without another."""
    needs_token = settings.sandbox is None and settings.load is None and settings.flows is None
    if settings.bot_token is None and needs_token:
        hint = "set it to the token from @BotFather; to try the bot without one: run.py sandbox"
        if _TokenGiven(_cli_parse_args=list(arguments)).bot_token is not None:
            raise WrongSettingError(f"BOT_TOKEN is empty: {hint}")
        if settings.without_token != "sandbox":  # noqa: S105 - a choice, no password
            raise WrongSettingError(f"BOT_TOKEN is not set: {hint}")
        for name in ("telegram_api_url", "telegram_local", "telegram_local_root", "telegram_test"):
            if settings.is_given(name):
                raise WrongSettingError(
                    f"{name.upper()} is set but BOT_TOKEN is not: set it, or unset both for the sandbox"
                )
    if problem := settings.metrics_problem():
        raise WrongSettingError(problem)
    # In a script a variable that is not set: without its id an event would be handled more than once.
    if settings.post is not None and any(not each or re.fullmatch("--[^=]+=", each) for each in arguments):
        raise WrongSettingError("post: an argument is empty")
    if settings.telegram_local and not settings.is_given("telegram_api_url"):
        raise WrongSettingError("TELEGRAM_LOCAL is set but TELEGRAM_API_URL is not: give its address")
    if settings.telegram_local_root is not None and not settings.telegram_local:
        raise WrongSettingError("TELEGRAM_LOCAL_ROOT is set but TELEGRAM_LOCAL is not: set both, or none")


async def serve(settings: Settings, watchdog: Watchdog) -> int:
    """Run the bot until a signal; return the exit code."""
    warn_of_readable_settings(Path(".env"))
    sys.path.insert(0, str(Path.cwd()))  # for HANDLERS=my_bot:router, wherever run.py lies
    router = load_router(settings.handlers)
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(_fake(settings)) if settings.is_sandbox else None
        config = settings.config(is_sandbox=settings.is_sandbox)
        client = await stack.enter_async_context(
            TgClient(settings.token, base_url=fake.url, connections=config.senders, wall=fake.clock)
            if fake is not None
            else TgClient(
                settings.token,
                base_url=settings.telegram_api_url,
                connections=config.senders,
                test=settings.telegram_test,
                local=settings.telegram_local,
                local_root=settings.telegram_local_root,
                allow_http=settings.telegram_allow_http,
            )
        )
        wall = fake.clock if fake is not None else time.time  # the sandbox lets time pass
        systemd = await stack.enter_async_context(Systemd(os.environ))
        monitoring = await stack.enter_async_context(monitored(settings, client, wall))
        opening = open_store(settings.effective_store_url, str(client.bot_id), wall=wall, standby=True)
        store = await unless_signalled(opening, watchdog)
        if store is None:
            return 0
        stack.push_async_callback(store.close)
        watchdog.at_force = store.notes.clear  # whom a stop cuts off is not to blame
        lanes = None if fake is None else _lane_board(fake, store)
        observers = [each.observe for each in (lanes, monitoring) if each is not None]
        bot = Bot(client, store, router, config, observe=observer_of(observers))
        if monitoring is not None:
            monitoring.serve(store, bot)
        if fake is not None and lanes is not None:
            await _open_page(settings, stack, fake, bot, store, lanes, router.commands())
        return await run_until_signal(bot, watchdog, systemd)


def _fake(settings: Settings) -> "FakeServer":
    from telegram.fake import FakeServer  # late: a bot at Telegram does not need it

    return FakeServer(token=settings.token, strict=True)


def _lane_board(fake: "FakeServer", store: FullStore) -> "LaneBoard":
    from telegram.sandbox.lanes import LaneBoard

    return LaneBoard(fake, store)


async def _open_page(
    settings: Settings,
    stack: AsyncExitStack,
    fake: "FakeServer",
    bot: Bot,
    store: FullStore,
    lanes: "LaneBoard",
    commands: Sequence[str],
) -> None:
    """Start the sandbox's page, and print where it is."""
    from telegram.sandbox.server import Sandbox

    scheme, _, file = settings.effective_store_url.partition(":")
    chats_file = Path(f"{file}-chats") if scheme == "sqlite" else None
    sandbox = await stack.enter_async_context(
        Sandbox(fake, bot, store, lanes, port=settings.sandbox_port, commands=commands, chats_file=chats_file)
    )
    if settings.sandbox is None:
        print("\n  BOT_TOKEN is not set: this is the sandbox, no bot at Telegram.")
    print(f"\n  Chat with your bot here:  {sandbox.url}\n  Stop with Ctrl+C.\n", flush=True)


async def administer(settings: Settings) -> int:
    """Run a command on the store of a bot that does not run."""
    bot_id = settings.token.partition(":")[0]
    router = None
    if settings.post is not None:
        sys.path.insert(0, str(Path.cwd()))  # for HANDLERS=my_bot:router
        router = load_router(settings.handlers)
    store = await open_store(settings.effective_store_url, bot_id)
    try:
        if settings.post is not None and router is not None:
            return await post_event(store, router, settings.post)
        if settings.dead is not None:
            await show_dead(store, settings.dead, settings.token)
            return 0
        return 0 if await replay(store, settings.replay or Replay(numbers=[])) else EXIT_WRONG_SETTING
    finally:
        await store.close()


async def load(settings: Settings) -> int:
    """Test handlers under load, without the bot and the store of the settings."""
    from telegram.load.command import run_load

    sys.path.insert(0, str(Path.cwd()))  # for --handlers=my_bot:router
    others = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    token = settings.bot_token.get_secret_value() if settings.bot_token else ""
    command = shlex.join(["python", *(without_secrets(each, token) for each in sys.argv)])
    return await run_load(settings.load or Load(), others, command)


async def flows(settings: Settings) -> int:
    """Draw the flows of HANDLERS, and print them with their problems; return 1 if there are any."""
    sys.path.insert(0, str(Path.cwd()))  # for HANDLERS=my_bot:router
    command = settings.flows or Flows()
    lines, wrong = draw_flows(settings.handlers, command)
    print("\n".join(map(printable, lines)) or "no flows")
    print(printable(f"pictures: {command.out / 'index.html'}"))
    for line in wrong:
        print(f"run.py: HANDLERS: {printable(line)}", file=sys.stderr)
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
        run = administer if settings.dead or settings.replay or settings.post else None
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
    # Of a router with flows, one for each thing wrong.
    lines = reason.split("\n") if reason.startswith("HANDLERS: ") else [reason]
    for line in lines:
        print(f"run.py: {printable(without_password(redact(line, token)))}", file=sys.stderr)
    return EXIT_WRONG_SETTING


if __name__ == "__main__":
    log_what_nobody_catches()
    process = Watchdog()
    sys.exit(process.leave(main(sys.argv[1:], process)))
