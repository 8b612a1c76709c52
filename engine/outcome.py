"""What the end of a handler means for its delivery.

Whatever a handler raises becomes an exact Retry, Park or Reject whose values a store can keep. Nothing here trusts a
method of what was raised: its text, its fields and its class are the author's code, which may raise as well.
"""

from typing import Final

from engine.errors import Park, Reject, Retry
from engine.mistakes import PROGRAMMING_ERRORS, is_mistake

_REASON_MAX: Final = 1000  # characters


class Released(Exception):  # noqa: N818 - why a handler was cut, not an error
    """The pool stops: the delivery is handed back, uncounted."""


def outcome_of(
    raised: BaseException, programming_errors: tuple[type[BaseException], ...] = PROGRAMMING_ERRORS
) -> Retry | Park | Reject:
    """Return what becomes of a delivery whose handler raised this; what is not usable is one more failure.

    A mistake in the program (engine/mistakes.py) is given up at once.
    """
    try:
        match raised:
            case Reject():
                return Reject(storable(raised.reason))
            case Park():
                return Park(storable(raised.reason), delay_s=raised.delay_s)
            case Retry():
                return Retry(storable(raised.reason), after_s=raised.after_s)
    except BaseException as invalid:  # noqa: BLE001 - of a subclass, or of a field that was set to anything
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
    """Return a reason that every store and every terminal takes: bounded, valid UTF-8, an exact str."""
    try:
        text = "" if reason is None else str.__str__(reason if isinstance(reason, str) else str(reason))
    except BaseException:  # noqa: BLE001 - the author's code
        text = type(reason).__name__
    return text[:_REASON_MAX].encode("utf-8", "backslashreplace").decode()


def _name(error: BaseException) -> str:
    return type(error).__name__
