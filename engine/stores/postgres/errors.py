"""Translation of PostgreSQL's and the driver's errors into the engine's."""

from typing import Final

from asyncpg import PostgresError, UniqueViolationError

from engine.errors import (
    RightLost,
    SqlFailed,
    StateChanged,
    StoreError,
    StoreUnavailable,
    TooManyTimers,
    TransactionFailed,
)

_REASON_MAX: Final = 200

# By the first two characters of SQLSTATE (PostgreSQL documentation, appendix A).
# Not 23: no value of a request can break a constraint of ours, but ids that are there already.
_VALUES: Final = {"22"}
# 54: also when it stops to assign transaction ids before they wrap around, and when its queue of notifications is full.
_ROLLED_BACK: Final = {"40", "53", "54", "55"}
_ROLLED_BACK_CODES: Final = {"57014"}  # statement_timeout, or a person has cancelled it
_PERSON: Final = {"28", "3D", "3F", "42", "0A", "F0"}
_NO_RIGHT: Final = "42501"
_DIVISION_BY_ZERO: Final = "22012"


def described(error: BaseException) -> str:
    """Return the error in one line. Neither PostgreSQL nor the driver puts the password into its messages."""
    text = " ".join(str(error).split())[:_REASON_MAX]
    return text or type(error).__name__


def at_opening(name: str, error: Exception) -> StoreError | StoreUnavailable:
    """Return the error for one while connecting or reading: StoreError if a person has to do something."""
    if isinstance(error, StoreError | StoreUnavailable):
        return error
    if isinstance(error, PostgresError) and error.sqlstate == _NO_RIGHT:
        return StoreError(f"cannot use {name}: {described(error)}: migrate-schema --for ROLE gives the right")
    if isinstance(error, PostgresError) and _class_of(error) in _PERSON:
        return StoreError(f"cannot use {name}: {described(error)}")
    if isinstance(error, PostgresError) and "startup parameter" in str(error):
        return StoreError(f"{name} is a pooler: connect to PostgreSQL itself")
    return StoreUnavailable(f"{name} cannot be reached: {described(error)}")


def outcome_of(error: Exception) -> tuple[Exception, bool]:
    """Return the error for a caller whose transaction failed, and whether the store is in doubt.

    It is not if the server has said that it rolled the transaction back, and goes on.
    """
    if isinstance(error, SqlFailed | TransactionFailed):
        return error, False
    if isinstance(error, StoreError | StoreUnavailable):
        return error, True
    if isinstance(error, UniqueViolationError) and error.table_name == "state":
        return StateChanged("another process has set it at the same time"), False
    if is_fault_of_values(error):
        return error, False
    if isinstance(error, PostgresError):
        if _class_of(error) in _ROLLED_BACK or error.sqlstate in _ROLLED_BACK_CODES:
            return StoreUnavailable(f"the database cannot do it now: {described(error)}"), False
        if error.sqlstate == _DIVISION_BY_ZERO:
            return StoreUnavailable("what was to be acked is not in the database"), True
    return StoreUnavailable(f"the database cannot be used: {described(error)}"), True


def is_fault_of_values(error: BaseException) -> bool:
    """Return whether a value of the request caused the error, in PostgreSQL or in the driver before it."""
    if isinstance(error, PostgresError):
        return _class_of(error) in _VALUES and error.sqlstate != _DIVISION_BY_ZERO
    return isinstance(
        error, TooManyTimers | RightLost | StateChanged | ValueError | TypeError | OverflowError
    )


def _class_of(error: PostgresError) -> str:
    return (error.sqlstate or "")[:2]
