"""Settings of what a bot says by itself: part of run.py's, kept where the texts are used."""

from typing import Any, Final

from pydantic import BaseModel, Field, field_validator

from telegram.dialogue.backlog import BACKLOG, BACKLOG_TEXT, read_backlog
from telegram.dialogue.conduct import APOLOGY, OLD_BUTTON, OTHERS_BUTTON, check_answer

NOTHING: Final = "none"
"""As a text: say nothing."""


class Policies(BaseModel):
    """What is said when a handler fails, and to a press that a flow does not take; `none` stands for nothing."""

    apology: str = Field(
        default=APOLOGY, description="what a user is told when a handler has failed for good; none: nothing"
    )
    old_button: str = Field(
        default=OLD_BUTTON,
        description="what is answered to a flow's button that belongs to an earlier question; none: nothing",
    )
    others_button: str = Field(
        default=OTHERS_BUTTON,
        description="what is answered to a user who presses a button of another user's flow; none: nothing",
    )

    backlog: str = Field(
        default=BACKLOG,
        description="messages that waited at Telegram's: handle, drop:SECONDS (if longer), or tell:SECONDS (and say so)",
    )
    backlog_text: str = Field(
        default=BACKLOG_TEXT, description="what BACKLOG=tell:SECONDS sends to each private chat, once"
    )

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

    def policies(self) -> dict[str, Any]:
        """Return them by the names that BotConfig has for them."""
        texts = {name: getattr(self, name) for name in ("apology", "old_button", "others_button")}
        said = {name: "" if text == NOTHING else text for name, text in texts.items()}
        return {**said, "backlog": self.backlog, "backlog_text": self.backlog_text}
