"""The policy for failed handlers, refused button presses, and the backlog after a downtime."""

from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Final

import structlog

from engine import PROGRAMMING_ERRORS, Reject, Retry, is_mistake
from telegram.botapi.collecting import WrongCall
from telegram.botapi.constants import ParseMode, ParseModeStr
from telegram.botapi.errors import redact
from telegram.botapi.late import ANSWER_MAX
from telegram.botapi.types import LinkPreviewOptions
from telegram.dialogue.contexts.defaults import Defaults

if TYPE_CHECKING:
    from telegram.dialogue.contexts.context import Context
    from telegram.dialogue.inbox.backlog import Backlog

log = structlog.get_logger(__name__)

APOLOGY: Final = "Sorry, that did not work."

_OURS: Final = str(Path(__file__).parents[2])

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

    parse_mode: ParseModeStr | None = None
    """Parse mode of collected calls that state none and no entities (telegram/dialogue/contexts/defaults.py)."""

    link_preview: LinkPreviewOptions | None = None
    """Link previews of collected texts that state none; None: Telegram shows them."""

    plain: bool = False
    """Whether collected texts that Telegram cannot parse are sent as plain text, unless a call states `fallback=None`."""

    backlog: "Backlog | None" = None
    """Policy for messages that waited at Telegram during a downtime; None: they are handled like others."""

    @property
    def defaults(self) -> Defaults | None:
        """The defaults of collected calls; None if there are none."""
        if self.parse_mode is None and self.link_preview is None and not self.plain:
            return None
        return Defaults(self.parse_mode, self.link_preview, self.plain)


def outcome_without_trace(ctx: "Context", error: Exception, conduct: Conduct) -> Reject | Retry | None:
    """Return the outcome of an error whose traceback the engine is not to log; None for any other.

    That is an error whose text contains the token, and a wrong call, whose text and place say it all.
    """
    text = redact(str(error))
    if isinstance(error, WrongCall):
        text += _place_of(error)
    elif text == str(error):
        return None
    else:
        log.error("handler failed", key=ctx.key, id=ctx.update_id, exc_info=error)
    reason = f"{type(error).__name__}: {text}"
    return Reject(reason) if is_mistake(error, conduct.programming_errors) else Retry(reason)


def _place_of(error: Exception) -> str:
    """Return the innermost line of the author's code in the traceback."""
    places = walk_tb(error.__traceback__)
    own = [(frame.f_code, line) for frame, line in places if not frame.f_code.co_filename.startswith(_OURS)]
    return f" ({Path(own[-1][0].co_filename).name}:{own[-1][1]}, in {own[-1][0].co_name})" if own else ""


def check_mode(mode: str | None) -> str | None:
    """Return a parse mode; ValueError if Telegram does not know it."""
    if mode is not None and mode not in (
        known := (ParseMode.HTML, ParseMode.MARKDOWN_V2, ParseMode.MARKDOWN)
    ):
        raise ValueError(f"the parse mode is one of {', '.join(known)}, not {mode!r}")
    return mode


def check_answer(text: str) -> str:
    """Return the text of an answer to a press; ValueError if Telegram would refuse it."""
    if len(text) > ANSWER_MAX:
        raise ValueError(f"the answer to a press has at most {ANSWER_MAX} characters, not {len(text)}")
    return text
