"""Translation of SQLite's errors into the engine's."""

import sqlite3
from pathlib import Path

from engine.errors import StoreError, StoreUnavailable
from engine.stores.owned.ledger import damaged
from engine.stores.sqlite.space import no_space


def translated(error: Exception) -> tuple[Exception, bool]:
    """Return the error for callers, and whether the file's contents are in doubt.

    After a failed sync the kernel may have dropped the dirty pages, and a second sync would succeed falsely (PostgreSQL,
    "fsyncgate"). So an I/O error means that the file must be reloaded, as after a crash. An unknown error is returned
    unchanged: whether a request's values caused it depends on where it was raised.
    """
    if isinstance(error, StoreError | StoreUnavailable):
        return error, True
    if is_full(error):
        return StoreUnavailable("the disk is full: make room on it"), False
    if isinstance(error, OSError):
        return StoreUnavailable(f"the store's file cannot be reached: {error}"), True
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable("another program has locked the store's file: close it"), False
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreUnavailable(f"the store's file cannot be written: {error}"), True
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreError(damaged(str(error))), True
    return error, False


def at_opening(path: Path, error: Exception) -> StoreError:
    """Return a StoreError for an error while a file was opened and read: one line, with what a person has to do."""
    known, _ = translated(error)
    match known:
        case StoreError() | StoreUnavailable():
            reason = (
                str(known)
                if is_full(error) or not isinstance(error, OSError)
                else str(error.strerror or error)
            )
        case sqlite3.OperationalError() if "json_each" in str(error):
            reason = f"{error} (this Python's SQLite is {sqlite3.sqlite_version}, 3.38 is needed)"
        case MemoryError():
            reason = "there is not enough memory for what is in it"
        case _:
            reason = damaged(f"{type(error).__name__}: {error}")
    return StoreError(f"cannot open {path}: {reason}")


def is_full(error: Exception) -> bool:
    """Return whether the error says that the disk is full."""
    if isinstance(error, OSError):
        return no_space(error)
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_FULL


def is_fault_of_values(error: Exception) -> bool:
    """Return whether a value of the request caused the error, in SQLite or in Python before it."""
    if isinstance(error, sqlite3.ProgrammingError):
        return "closed" not in str(error)
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError)
    return not isinstance(error, OSError | StoreError | StoreUnavailable)


def outcome_of(error: Exception) -> tuple[Exception, bool]:
    """Return the error for a caller whose transaction failed, and whether the file's contents are in doubt."""
    failure, suspect = translated(error)
    if failure is error and not suspect and not is_fault_of_values(error):
        return StoreUnavailable(f"the store's file cannot be used: {error!r}"), True
    return failure, suspect
