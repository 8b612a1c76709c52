"""Turns what a handler raised into the outcome of its delivery: a Retry, Park or Reject with values a store can keep.

The exception's `__str__`, fields and class are the author's code, which may raise as well: nothing here trusts them.
"""

from typing import Final

from engine.errors import Park, Reject, Retry
from engine.mistakes import PROGRAMMING_ERRORS, is_mistake

_REASON_MAX: Final = 1000  # characters


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
    return Reject(reason) if is_mistake(raised, programming_errors) else Retry(reason)


def described(error: BaseException) -> str:
    """Return "Type: text", or only the type if it has no text."""
    try:
        return f"{_name(error)}: {error}"
    except BaseException:  # noqa: BLE001 - the author's code
        return _name(error)


def storable(reason: object) -> str:
    """Return a reason that every store can keep: an exact str of valid UTF-8, cut after 1,000 characters."""
    try:
        text = "" if reason is None else str.__str__(reason if isinstance(reason, str) else str(reason))
    except BaseException:  # noqa: BLE001 - the author's code
        text = type(reason).__name__
    return text[:_REASON_MAX].encode("utf-8", "backslashreplace").decode()


def _name(error: BaseException) -> str:
    return type(error).__name__
