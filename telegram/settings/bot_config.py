"""The settings of one bot, each with its default, its unit and its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from engine import PROGRAMMING_ERRORS, EngineConfig
from telegram.botapi.constants import FallbackStr, ParseModeStr
from telegram.botapi.routing import URGENT
from telegram.botapi.types import LinkPreviewOptions
from telegram.dialogue.contexts.conduct import (
    APOLOGY,
    OLD_BUTTON,
    OTHERS_BUTTON,
    Conduct,
    check_answer,
    check_mode,
)
from telegram.dialogue.inbox.backlog import BACKLOG, BACKLOG_TEXT, read_backlog

UnreachablePolicy = Literal["drop", "dead-letter"]
"""What to do with calls to a chat that cannot be reached: "drop" them, or send each one, which is then a dead letter."""

Role = Literal["both", "poll", "work"]
"""What of the bot's work a process does, of several over one database: take updates in, handle them, or both."""

UnknownOutcome = Literal["repeat", "give-up"]
"""What to do with a call whose outcome is unknown: "repeat" (at least once), or "give-up" (at most once)."""

SEND_ATTEMPTS_MAX: Final = 10
"""Attempts of one call: with backoff about 10 minutes of 5xx before it becomes a dead letter."""

_SEND_TIMEOUT_S: Final = 6 * 3600.0
"""Far above the client's own time-outs, also for a large file; a call that is cancelled may be sent twice."""


@dataclass(frozen=True, slots=True)
class BotConfig:
    """Settings of one bot, each with its unit and its reason."""

    role: Role = "both"
    """What the process does: "poll" takes updates in, and handles none; "work": handles updates that other processes take in."""

    workers: int = 64
    """Number of handlers at a time."""

    senders: int = 64
    """Number of calls to Telegram at a time; each needs a connection."""

    messages_per_s: float = 30.0
    """Maximum rate over all chats (telegram/service/pace.py); 0: no rate limits at all, also not per chat."""

    handler_timeout_s: float = 60.0
    """Seconds after which a handler is cancelled."""

    attempts_max: int = 5
    """Attempts of one update before it becomes a dead letter."""

    retry_programming_errors: bool = False
    """Whether programming errors, such as a TypeError (engine/mistakes.py), are retried like other errors."""

    drain_timeout_s: float = 25.0
    """Maximum duration of a graceful stop, in seconds: below the 30 s after which supervisors kill."""

    pending_max: int = 1_000_000
    """Pending updates in the inbox at which polling waits."""

    poll_timeout_s: int = 50
    """Seconds that one getUpdates may wait; Telegram clamps it to 50."""

    unknown_outcome: UnknownOutcome = "repeat"
    """A call whose outcome is unknown: "repeat" it (at least once), or "give-up" if it would create something twice (at
    most once; a kill in the middle of a call can still repeat it)."""

    unreachable: UnreachablePolicy = "drop"
    """Calls to a chat that cannot be reached, as the user has blocked the bot: "drop" (telegram/client/peers.py), or "dead-letter"."""

    apology: str = APOLOGY
    """Text sent to the user when an update was given up; empty: none."""

    old_button: str = OLD_BUTTON
    """Answer to a press on a flow's button of an earlier question; empty: no text."""

    others_button: str = OTHERS_BUTTON
    """Answer to a press on a button of another user's flow; empty: no text."""

    parse_mode: ParseModeStr | None = None
    """Parse mode of the handlers' texts that state none and no entities; None: none."""

    parse_fallback: FallbackStr | None = None
    """Handlers' texts that Telegram cannot parse: "plain" sends them as plain text; None: they are refused."""

    link_preview: bool = True
    """Whether links in the handlers' texts have a preview, if a call does not state it."""

    backlog: str = BACKLOG
    """Policy for messages that waited at Telegram: "handle", "drop:SECONDS" or "tell:SECONDS" (dialogue/inbox/backlog.py)."""

    backlog_text: str = BACKLOG_TEXT
    """The text that "tell" sends to each private chat."""

    files_dir: Path | None = None
    """The folder of files to send that all processes of the bot see, under this path or another one each; None: there is none."""

    allowed_updates: Sequence[str] | None = None
    """Kinds of update to request from Telegram; None: those of the router's handlers (`Router.allowed_updates`)."""

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid text or policy."""
        check_mode(self.parse_mode)
        check_answer(self.old_button)
        check_answer(self.others_button)
        read_backlog(self.backlog, self.backlog_text)

    def handling(self) -> EngineConfig:
        """Return the settings of the engine that handles updates."""
        return EngineConfig(
            workers=self.workers,
            handler_timeout_s=self.handler_timeout_s,
            attempts_max=self.attempts_max,
            programming_errors=self._mistakes(),
            urgent=URGENT,
        )

    def sending(self) -> EngineConfig:
        """Return the settings of the engine that sends calls."""
        return EngineConfig(
            workers=self.senders, handler_timeout_s=_SEND_TIMEOUT_S, attempts_max=SEND_ATTEMPTS_MAX
        )

    def conduct(self) -> Conduct:
        """Return the policy for failures, refused presses and the backlog."""
        return Conduct(
            apology=self.apology,
            programming_errors=self._mistakes(),
            old_button=self.old_button,
            others_button=self.others_button,
            parse_mode=self.parse_mode,
            plain=self.parse_fallback == "plain",
            link_preview=None if self.link_preview else LinkPreviewOptions(is_disabled=True),
            backlog=read_backlog(self.backlog, self.backlog_text),
        )

    def _mistakes(self) -> tuple[type[BaseException], ...]:
        return () if self.retry_programming_errors else PROGRAMMING_ERRORS
