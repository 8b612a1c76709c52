"""The settings of a bot as text, for run.py, with the defaults of BotConfig."""

from dataclasses import fields
from typing import Final, Literal

from pydantic import BaseModel, DirectoryPath, Field, field_validator

from telegram.dialogue.contexts.conduct import check_answer
from telegram.dialogue.inbox.backlog import BACKLOG, read_backlog
from telegram.dialogue.router.kinds import read_kinds
from telegram.settings.bot_config import BotConfig, Role, UnknownOutcome, UnreachablePolicy

NOTHING: Final = "none"
"""Value of a text setting that stands for no text."""


_BOT: Final = BotConfig()


class BotSettings(BaseModel):
    """How a bot works, and its texts to users; the value `none` means no text."""

    role: Role = Field(
        default=_BOT.role,
        description="with STORE_URL=postgres://: poll takes updates in and handles none, work handles and never polls",
    )
    workers: int = Field(default=_BOT.workers, ge=1, le=10_000, description="handlers at a time")
    senders: int = Field(
        default=_BOT.senders,
        ge=1,
        le=1000,
        description="calls to Telegram at a time, each over a connection of its own",
    )
    messages_per_s: float = Field(
        default=_BOT.messages_per_s,
        ge=0,
        le=10_000,
        description="maximum rate of messages to all chats together; 0: unlimited",
    )
    handler_timeout_s: float = Field(
        default=_BOT.handler_timeout_s, gt=0, description="a handler is cancelled after this long"
    )
    attempts_max: int = Field(
        default=_BOT.attempts_max, ge=1, description="attempts of an update before it is a dead letter"
    )
    retry_programming_errors: bool = Field(
        default=_BOT.retry_programming_errors,
        description="retry a handler's TypeError and the like, as other errors",
    )
    unknown_outcome: UnknownOutcome = Field(
        default=_BOT.unknown_outcome,
        description="a call that may have been executed: repeat it, or give-up if it would create something twice",
    )
    unreachable: UnreachablePolicy = Field(
        default=_BOT.unreachable,
        description="calls to a chat that has blocked or removed the bot: drop, or dead-letter for each",
    )
    allowed_updates: str | None = Field(
        default=None,
        description="kinds of update to request from Telegram, comma separated, or all; default: those of the handlers",
    )
    files_dir: DirectoryPath | None = Field(
        default=_BOT.files_dir,
        description="the folder of files to send that all processes mount, each where it likes",
    )
    drain_timeout_s: float = Field(
        default=_BOT.drain_timeout_s,
        ge=2,
        description="a graceful stop takes at most this long; supervisors kill after 30 s",
    )

    apology: str = Field(
        default=_BOT.apology,
        description="text sent to the user when an update was given up; none: no text",
    )
    old_button: str = Field(
        default=_BOT.old_button,
        description="answer to a press of a flow's button that belongs to an earlier question; none: no text",
    )
    others_button: str = Field(
        default=_BOT.others_button,
        description="answer to a press of a button that belongs to another user's flow; none: no text",
    )

    parse_mode: Literal["none", "HTML", "MarkdownV2", "Markdown"] = Field(
        default="none", description="parse mode of the handlers' texts that state none themselves"
    )
    parse_fallback: Literal["none", "plain"] = Field(
        default="none", description="texts that Telegram cannot parse: plain sends them without their markup"
    )
    link_preview: bool = Field(
        default=_BOT.link_preview, description="whether links in the handlers' texts have a preview"
    )

    backlog: str = Field(
        default=_BOT.backlog,
        description="messages that waited at Telegram: handle; drop:SECONDS drops older ones; tell:SECONDS also sends a text",
    )
    backlog_text: str = Field(
        default=_BOT.backlog_text,
        description="the text that BACKLOG=tell:SECONDS sends to each private chat, once",
    )

    @field_validator("allowed_updates")
    @classmethod
    def _known(cls, kinds: str | None) -> str | None:
        return kinds if kinds is None else ",".join(read_kinds(kinds))

    @field_validator("backlog")
    @classmethod
    def _backlog(cls, policy: str) -> str:
        read_backlog(policy)
        return policy

    @field_validator("backlog_text")
    @classmethod
    def _backlog_text(cls, text: str) -> str:
        read_backlog(BACKLOG, text)
        return text

    @field_validator("old_button", "others_button")
    @classmethod
    def _answer(cls, text: str) -> str:
        return check_answer(text)

    def config(self, *, is_sandbox: bool) -> BotConfig:
        """Return the configuration of the bot; the sandbox has no limits of Telegram's."""
        given = {name: getattr(self, name) for name in _SAME}
        for name in ("apology", "old_button", "others_button"):
            if given[name] == NOTHING:
                given[name] = ""
        for name in ("parse_mode", "parse_fallback"):
            given[name] = None if given[name] == NOTHING else given[name]
        if is_sandbox:
            given["messages_per_s"] = 0.0
        kinds = self.allowed_updates
        return BotConfig(**given, allowed_updates=kinds.split(",") if kinds else None)


_SAME: Final = ({field.name for field in fields(BotConfig)} & BotSettings.model_fields.keys()) - {
    "allowed_updates"
}
