"""The policy for failed handlers, refused button presses, and the backlog after a downtime."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine import PROGRAMMING_ERRORS
from telegram.botapi.late import ANSWER_MAX

if TYPE_CHECKING:
    from telegram.dialogue.backlog import Backlog

APOLOGY: Final = "Sorry, that did not work."

OLD_BUTTON: Final = "This button belongs to an earlier question."
OTHERS_BUTTON: Final = "This button is for somebody else."


@dataclass(frozen=True, slots=True)
class Conduct:
    """The policy for failed handlers, refused button presses, and the backlog after a downtime."""

    apology: str = APOLOGY
    """Text sent to the user, once, when an update was given up; empty: none."""

    programming_errors: tuple[type[BaseException], ...] = PROGRAMMING_ERRORS
    """Errors that make a dead letter at the first attempt, as in EngineConfig."""

    old_button: str = OLD_BUTTON
    """Answer to a press on a button that a flow sent for an earlier question; empty: no text."""

    others_button: str = OTHERS_BUTTON
    """Answer to a press on a button of another user's flow; empty: no text."""

    backlog: "Backlog | None" = None
    """Policy for messages that waited at Telegram during a downtime; None: they are handled like others."""


def check_answer(text: str) -> str:
    """Return the text of an answer to a press; ValueError if Telegram would refuse it."""
    if len(text) > ANSWER_MAX:
        raise ValueError(f"the answer to a press has at most {ANSWER_MAX} characters, not {len(text)}")
    return text
