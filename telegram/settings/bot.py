"""The settings of one bot, each with its default, its unit and its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine import PROGRAMMING_ERRORS, EngineConfig
from telegram.botapi.routing import URGENT
from telegram.dialogue.backlog import BACKLOG, BACKLOG_TEXT, read_backlog
from telegram.dialogue.conduct import APOLOGY, OLD_BUTTON, OTHERS_BUTTON, Conduct, check_answer

UnknownOutcome = Literal["repeat", "give-up"]
"""What to do when nobody knows whether a call was executed: at least once, or at most once."""

SEND_ATTEMPTS_MAX: Final = 10
"""With backoff about 10 minutes of 5xx for one call, before it becomes a dead letter."""

_SEND_TIMEOUT_S: Final = 6 * 3600.0
"""Far above the client's own time-outs, also for a large file; a call that is cut may be sent twice."""


@dataclass(frozen=True, slots=True)
class BotConfig:
    """Settings of one bot, each with its unit and its reason."""

    workers: int = 64
    """Handlers at a time."""

    senders: int = 64
    """Calls to Telegram at a time; each needs a connection."""

    messages_per_s: float = 30.0
    """Messages to all chats together at the most (telegram/service/pace.py); 0: neither this nor any other limit of ours."""

    handler_timeout_s: float = 60.0
    """A handler is cancelled after this long."""

    attempts_max: int = 5
    """Failures of one update before it goes to the dead letters."""

    retry_programming_errors: bool = False
    """Whether a handler's TypeError and the like (engine/mistakes.py) is tried again as other errors are."""

    drain_timeout_s: float = 25.0
    """How long a graceful stop may take: below the 30 s that supervisors give before they kill."""

    pending_max: int = 1_000_000
    """Updates that may wait in the inbox; above, polling waits."""

    poll_timeout_s: int = 50
    """How long one getUpdates may wait; Telegram clamps it to 50."""

    unknown_outcome: UnknownOutcome = "repeat"
    """A call of which nobody knows whether it was executed: "repeat" it (at least once), or "give-up" what would make
    something twice (at most once; a kill in the middle of a call can still repeat it)."""

    apology: str = APOLOGY
    """What a user is told when a handler has failed for good; nothing if it is empty."""

    old_button: str = OLD_BUTTON
    """What is answered to a press of a flow's button that belongs to an earlier question; nothing if it is empty."""

    others_button: str = OTHERS_BUTTON
    """What is answered to a press of a button that belongs to another user's flow; nothing if it is empty."""

    backlog: str = BACKLOG
    """What is done with messages that waited at Telegram's: "handle", "drop:SECONDS" or "tell:SECONDS" (dialogue/backlog.py)."""

    backlog_text: str = BACKLOG_TEXT
    """What "tell" sends to each private chat."""

    allowed_updates: Sequence[str] | None = None
    """Kinds of update to ask Telegram for; None: what the router's handlers take (`Router.allowed_updates`)."""

    def __post_init__(self) -> None:
        """Raise ValueError for an answer that Telegram would refuse."""
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
        """Return how the bot behaves when a handler fails."""
        return Conduct(
            apology=self.apology,
            programming_errors=self._mistakes(),
            old_button=self.old_button,
            others_button=self.others_button,
            backlog=read_backlog(self.backlog, self.backlog_text),
        )

    def _mistakes(self) -> tuple[type[BaseException], ...]:
        return () if self.retry_programming_errors else PROGRAMMING_ERRORS
