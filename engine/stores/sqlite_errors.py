"""SQLite's errors as what the engine does about them."""

import sqlite3

from engine.errors import StoreError, StoreUnavailable


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
            return StoreError(f"the store's file is damaged ({error}): restore it from a backup"), True
    return error, False


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
