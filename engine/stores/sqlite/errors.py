"""SQLite's errors as what the engine does about them."""

import sqlite3
from pathlib import Path
from typing import Final

from engine.errors import StoreError, StoreUnavailable

_REASON_MAX: Final = 200


def translated(error: Exception) -> tuple[Exception, bool]:
    """Return what callers get for an error on the thread, and whether the file's contents are in doubt.

    After a failed sync the kernel may have dropped the pages: trying the same sync again would lie (SQLite and
    PostgreSQL, "fsyncgate"). So an I/O error means to read the file anew, as after a crash. What is not known is
    returned as it is: whether it is the fault of what was asked depends on where it happened.
    """
    if isinstance(error, StoreError | StoreUnavailable):
        return error, True
    if isinstance(error, OSError):
        return StoreUnavailable(f"the store's file cannot be reached: {error}"), True
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreUnavailable("the disk is full: make room on it"), False
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable("another program has locked the store's file: close it"), False
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreUnavailable(f"the store's file cannot be written: {error}"), True
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreError(damaged(str(error))), True
    return error, False


def at_opening(path: Path, error: Exception) -> StoreError:
    """Return, in one line, what a person has to do about an error that came up while a file was opened and read."""
    known, _ = translated(error)
    match known:
        case StoreError() | StoreUnavailable():
            reason = str(error.strerror or error) if isinstance(error, OSError) else str(known)
        case sqlite3.OperationalError() if "json_each" in str(error):
            reason = f"{error} (this Python's SQLite is {sqlite3.sqlite_version}, 3.38 is needed)"
        case MemoryError():
            reason = "there is not enough memory for what is in it"
        case _:
            reason = damaged(f"{type(error).__name__}: {error}")
    return StoreError(f"cannot open {path}: {reason}")


def damaged(what: str) -> str:
    """Say what is wrong with a file, and what to do."""
    return f"the store's file is damaged ({what[:_REASON_MAX]}): restore it from a backup"


def is_full(error: Exception) -> bool:
    """Return whether there is no room on the disk."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_FULL


def is_fault_of_values(error: Exception) -> bool:
    """Return whether SQLite, or Python on the way to it, does not take a value of one who asks."""
    if isinstance(error, sqlite3.ProgrammingError):
        return "closed" not in str(error)
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError)
    return not isinstance(error, OSError | StoreError | StoreUnavailable)


def outcome_of(error: Exception) -> tuple[Exception, bool]:
    """Return what a caller gets whose transaction failed, and whether the file is in doubt."""
    failure, suspect = translated(error)
    if failure is error and not suspect and not is_fault_of_values(error):
        return StoreUnavailable(f"the store's file cannot be used: {error!r}"), True
    return failure, suspect
