"""Turns what a handler raised into the outcome of its delivery: a Retry, Park or Reject with values a store can keep.

The exception's `__str__`, fields and class are the author's code, which may raise as well: nothing here trusts them.
"""

import os
import traceback
from pathlib import Path
from typing import Final, TypeVar

from engine.errors import Park, Reject, Retry
from engine.mistakes import PROGRAMMING_ERRORS, is_mistake

T = TypeVar("T", bound=Exception)
_REASON_MAX: Final = 1000  # characters
_TRACE_MAX: Final = 8000
_FRAMES_MAX: Final = 20
_OURS: Final = tuple(f"{Path(__file__).parents[1] / name}{os.sep}" for name in ("engine", "telegram"))
_BEFORE_TRACE: Final = "\n\x1e"


class Released(Exception):  # noqa: N818 - an outcome, not an error
    """The pool stops: the delivery is released, and no attempt is counted."""


def outcome_of(
    raised: BaseException, programming_errors: tuple[type[BaseException], ...] = PROGRAMMING_ERRORS
) -> Retry | Park | Reject:
    """Return the outcome of a delivery whose handler raised this; an outcome with invalid fields becomes a Retry.

    A programming error (engine/mistakes.py) becomes a Reject.
    """
    try:
        match raised:
            case Reject():
                return Reject(storable(raised.reason))
            case Park():
                return Park(storable(raised.reason), delay_s=raised.delay_s)
            case Retry():
                return Retry(storable(raised.reason), after_s=raised.after_s)
    except BaseException as invalid:  # noqa: BLE001 - a subclass's code, or a field set to an invalid value
        return Retry(storable(f"{_name(raised)}: {described(invalid)}"))
    reason = storable(described(raised))
    outcome = Reject(reason) if is_mistake(raised, programming_errors) else Retry(reason)
    return caused(outcome, raised)


def caused(outcome: T, raised: BaseException) -> T:
    """Return the outcome with its cause, for `with_trace`."""
    # Without the frame that caught it: that one has the outcome, and the two would wait for the garbage collector.
    trace = raised.__traceback__
    outcome.__cause__ = raised.with_traceback(None if trace is None else trace.tb_next)
    return outcome


def with_trace(reason: str, cause: BaseException | None) -> str:
    """Return the reason of a dead letter together with the traceback of its cause: the innermost frames, without those of
    ours that call the handler.
    """
    if cause is None:
        return reason
    try:
        report = traceback.TracebackException.from_exception(cause, limit=-_FRAMES_MAX)
        frames = list(report.stack)
        first = next((index for index, frame in enumerate(frames) if not frame.filename.startswith(_OURS)), 0)
        report.stack = traceback.StackSummary.from_list(frames[first:])
        text = "".join(report.format())
    except BaseException:  # noqa: BLE001 - the author's code
        return reason
    return f"{reason}{_BEFORE_TRACE}{_kept(text[-_TRACE_MAX:])}"


def split_trace(kept: str) -> tuple[str, str]:
    """Return the reason, and the traceback or "", of what `with_trace` returned."""
    reason, _, trace = kept.partition(_BEFORE_TRACE)
    return reason, trace


def described(error: BaseException) -> str:
    """Return "Type: text", or only the type if it has no text."""
    try:
        return f"{_name(error)}: {error}"
    except BaseException:  # noqa: BLE001 - the author's code
        return _name(error)


def storable(reason: object) -> str:
    """Return a reason that every store can keep: an exact str of valid UTF-8 without NUL, cut after 1,000 characters."""
    try:
        text = "" if reason is None else str.__str__(reason if isinstance(reason, str) else str(reason))
    except BaseException:  # noqa: BLE001 - the author's code
        text = type(reason).__name__
    return _kept(text[:_REASON_MAX])


def _kept(text: str) -> str:
    # PostgreSQL keeps no NUL in a text (documentation, 8.3): a failure that cannot be recorded would be repeated for ever.
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _name(error: BaseException) -> str:
    return type(error).__name__
