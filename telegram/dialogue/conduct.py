"""What a bot says when a handler fails or refuses a press."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine import PROGRAMMING_ERRORS

if TYPE_CHECKING:
    from telegram.dialogue.backlog import Backlog

APOLOGY: Final = "Sorry, that did not work."

OLD_BUTTON: Final = "This button belongs to an earlier question."
OTHERS_BUTTON: Final = "This button is for somebody else."

ANSWER_MAX: Final = 200
"""Characters of the answer to a press (Telegram Bot API, answerCallbackQuery: text)."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a bot behaves when a handler fails."""

    apology: str = APOLOGY
    """What the user is told, once, when an update was given up; nothing if it is empty."""

    programming_errors: tuple[type[BaseException], ...] = PROGRAMMING_ERRORS
    """What is given up at the first attempt, as in EngineConfig."""

    old_button: str = OLD_BUTTON
    """What is answered to a button that a flow has sent for an earlier question; nothing if it is empty."""

    others_button: str = OTHERS_BUTTON
    """What is answered to whoever presses a button of somebody else's flow; nothing if it is empty."""

    backlog: "Backlog | None" = None
    """What is done with messages that waited at Telegram's; None: they are handled like any other."""


def check_answer(text: str) -> str:
    """Return the text of an answer to a press; ValueError if Telegram would refuse it."""
    if len(text) > ANSWER_MAX:
        raise ValueError(f"the answer to a press has at most {ANSWER_MAX} characters, not {len(text)}")
    return text
