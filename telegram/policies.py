"""Settings of what a bot says by itself: part of run.py's, kept where the texts are used."""

from typing import Any, Final

from pydantic import BaseModel, Field, field_validator

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

    @field_validator("old_button", "others_button")
    @classmethod
    def _answer(cls, text: str) -> str:
        return check_answer(text)

    def policies(self) -> dict[str, Any]:
        """Return them by the names that BotConfig has for them."""
        texts = {name: getattr(self, name) for name in ("apology", "old_button", "others_button")}
        return {name: "" if text == NOTHING else text for name, text in texts.items()}
