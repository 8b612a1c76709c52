"""The settings of a bot and its commands: flags, the environment (upper case) and the file .env, in this order."""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, CliSubCommand, SettingsConfigDict, SettingsError

from telegram.command.new import NewBot
from telegram.command.tokens import check_stores, number_of, read_tokens, store_of
from telegram.dialogue.diagrams.command import Flows
from telegram.operating import commands as operator
from telegram.operating.copying import Copy, MigrateSchema
from telegram.operating.settings import OperatorSettings
from telegram.service.logs import LogFormat, LogLevel
from telegram.service.personal import Erase, Export
from telegram.service.posting import PostEvent
from telegram.settings.bot_settings import BotSettings
from telegram.settings.events_settings import EventsSettings
from telegram.settings.load_test import Load
from telegram.settings.metrics_settings import MetricsSettings
from telegram.settings.program import PROGRAM
from telegram.settings.tracing_settings import TracingSettings
from telegram.settings.webhook import WebhookSettings

SANDBOX_TOKEN = (
    f"1000000001:{secrets.token_urlsafe(24)}"  # a new one with each start: no page of another site knows it
)
SANDBOX_STORE_URL = "sqlite:chatlane-sandbox.db"


class WrongSettingError(Exception):
    """A person has to change a setting; the text says which, in one line."""


class InSandbox(BaseModel):
    """Run the bot in a sandbox: a page to chat in, without a token, an account or a network. BOT_TOKEN is not used."""


class Settings(
    BotSettings,
    MetricsSettings,
    TracingSettings,
    WebhookSettings,
    EventsSettings,
    OperatorSettings,
    BaseSettings,
):
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
        cli_prog_name=PROGRAM,
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,
    )

    bot_token: SecretStr | None = Field(
        default=None, description="from @BotFather; of several bots, separated by commas: processes for each"
    )
    only_bot: int | None = Field(
        default=None,
        description="the number of one of several bots in BOT_TOKEN: run, or ask, this one alone",
    )
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
    proxy: SecretStr | None = Field(
        default=None,
        description="http://HOST:PORT or socks5://USER:PASSWORD@HOST:PORT between the bot and the Bot API server",
    )
    telegram_test: bool = Field(default=False, description="BOT_TOKEN is of Telegram's test environment")
    store_url: str = Field(
        default="sqlite:chatlane.db",
        description="sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE, or memory: (forgets)",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="of the bot on this machine, supervised; with STORE_URL=postgres:// only",
    )
    handlers: str = Field(default="handlers:router", description="module:router with your conversations")
    sandbox_port: int = Field(
        default=8088, ge=0, le=65535, description="of the sandbox's page; 0: any free one"
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error")
    log_format: LogFormat = Field(default="console", description="console or json")
    log_texts: bool | None = Field(
        default=None, description="whether users' texts are written to the log; default: in the sandbox only"
    )

    reload: bool = Field(
        default=False,
        description="while developing: start again when a source file below this folder changes",
    )

    sandbox: CliSubCommand[InSandbox]
    stats: CliSubCommand[operator.StatsOf]
    top: CliSubCommand[operator.Top]
    lanes: CliSubCommand[operator.Lanes]
    dead: CliSubCommand[operator.Dead]
    replay: CliSubCommand[operator.Replay]
    discard: CliSubCommand[operator.Discard]
    park: CliSubCommand[operator.Park]
    release: CliSubCommand[operator.Release]
    audit: CliSubCommand[operator.AuditOf]
    pause: CliSubCommand[operator.Pause]
    resume: CliSubCommand[operator.Resume]
    drain: CliSubCommand[operator.Drain]
    post: CliSubCommand[PostEvent]
    export: CliSubCommand[Export]
    erase: CliSubCommand[Erase]
    copy_: CliSubCommand[Copy] = Field(alias="copy")
    migrate_schema: CliSubCommand[MigrateSchema]
    load: CliSubCommand[Load]
    flows: CliSubCommand[Flows]
    new: CliSubCommand[NewBot]

    def is_given(self, name: str) -> bool:
        """Return whether a person has set this, as opposed to its default."""
        return name in self.model_fields_set

    @property
    def is_sandbox(self) -> bool:
        """Whether there is no Telegram to run against."""
        return self.sandbox is not None or self.bot_token is None

    @property
    def shows_texts(self) -> bool:
        """Whether users' texts are written to the log, and into errors in traces."""
        return self.is_sandbox if self.log_texts is None else self.log_texts

    @property
    def is_command(self) -> bool:
        """Whether it is a command about one bot, as opposed to running."""
        others = (self.post, self.export, self.erase, self.copy_)
        return self.operators_command is not None or any(each is not None for each in others)

    @property
    def operators_command(self) -> operator.Command | None:
        """The command of an operator, if it is one."""
        names = (
            "stats",
            "top",
            "lanes",
            "dead",
            "replay",
            "discard",
            "park",
            "release",
            "pause",
            "resume",
            "drain",
            "audit",
        )
        given = (getattr(self, name) for name in names)
        return next((each for each in given if each is not None), None)

    @property
    def tokens(self) -> list[str]:
        """The bots' tokens: of one, or of all that this program runs; the sandbox has one of its own."""
        if self.is_sandbox or not self.bot_token:
            return [SANDBOX_TOKEN]
        tokens = read_tokens(self.bot_token.get_secret_value())
        return (
            tokens
            if self.only_bot is None
            else [each for each in tokens if number_of(each) == str(self.only_bot)]
        )

    @property
    def token(self) -> str:
        """The bot's token; of several all, separated by commas."""
        return ",".join(self.tokens)

    def of_bot(self, index: int) -> "Settings":
        """Return the settings of one of several bots; WrongSettingError if there is none of this index (any more)."""
        if len(self.tokens) == 1:
            return self
        if index >= len(self.tokens):
            raise WrongSettingError(
                "BOT_TOKEN has fewer bots than when the supervisor was started: start that again"
            )
        return self.model_copy(update={"bot_token": SecretStr(self.tokens[index])})

    @property
    def effective_store_url(self) -> str:
        """Where the bot's work is kept; the sandbox does not mix with a real bot's, nor beside BOT_TOKEN with STORE_URL."""
        if self.is_sandbox and (self.bot_token is not None or not self.is_given("store_url")):
            return SANDBOX_STORE_URL
        return self.store_url if len(self.tokens) > 1 else store_of(self.store_url, self.token)


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
        raise WrongSettingError(f"{error} (see: {PROGRAM} --help)") from None
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


def _check_tokens(settings: Settings) -> None:
    """Raise WrongSettingError for tokens of several bots that are none, and for what cannot be with several."""
    try:
        tokens = settings.tokens
        if settings.only_bot is not None and (settings.is_sandbox or not tokens):
            raise WrongSettingError("ONLY_BOT: BOT_TOKEN has no token of this bot")
        if len(tokens) == 1:
            return
        check_stores(settings.store_url)
    except ValueError as error:
        text = str(error)
        raise WrongSettingError(text if text.startswith("STORE_URL") else f"BOT_TOKEN: {text}") from None
    if settings.is_command:
        names = ", ".join(map(number_of, tokens))
        raise WrongSettingError(f"BOT_TOKEN has several bots: say which one by --only-bot, of {names}")
    if settings.webhook_url is not None:
        raise WrongSettingError(
            "WEBHOOK_URL is the address of one bot: of several in BOT_TOKEN each polls, or use --only-bot"
        )


def _check_together(settings: Settings, arguments: Sequence[str]) -> None:
    """Raise WrongSettingError for settings of which one makes no sense without another."""
    without = ("sandbox", "load", "flows", "new", "copy_", "migrate_schema")
    needs_token = not any(getattr(settings, name) for name in without)
    if settings.bot_token is None and needs_token:
        hint = f"set it to the token from @BotFather; to try the bot without one: {PROGRAM} sandbox"
        if _TokenGiven(_cli_parse_args=list(arguments)).bot_token is not None:
            raise WrongSettingError(f"BOT_TOKEN is empty: {hint}")
        if settings.without_token != "sandbox":  # noqa: S105 - a choice, no password
            raise WrongSettingError(f"BOT_TOKEN is not set: {hint}")
        for name in ("telegram_api_url", "telegram_local", "telegram_local_root", "telegram_test"):
            if settings.is_given(name):
                raise WrongSettingError(
                    f"{name.upper()} is set but BOT_TOKEN is not: set it, or unset both for the sandbox"
                )
    _check_tokens(settings)
    problem = settings.metrics_problem() or settings.events_problem() or settings.operator_problem()
    if problem:
        raise WrongSettingError(problem)
    # In a script a variable that is not set: without its id an event would be handled more than once.
    if settings.post is not None and any(not each or re.fullmatch("--[^=]+=", each) for each in arguments):
        raise WrongSettingError("post: an argument is empty")
    is_own_server = not settings.telegram_api_url.startswith("https://api.telegram.org")
    if error := settings.webhook_error(local=is_own_server):
        raise WrongSettingError(error)
    if settings.telegram_local and not settings.is_given("telegram_api_url"):
        raise WrongSettingError("TELEGRAM_LOCAL is set but TELEGRAM_API_URL is not: give its address")
    if settings.telegram_local_root is not None and not settings.telegram_local:
        raise WrongSettingError("TELEGRAM_LOCAL_ROOT is set but TELEGRAM_LOCAL is not: set both, or none")
