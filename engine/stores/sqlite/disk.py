"""The store's files in the file system: whether they are still there, and a reserve of disk space.

SQLite continues with a file that was deleted, replaced or unmounted while it has it open, and what it writes then is lost
with the process. So the store checks the paths: after each transaction with updates, before they count as stored, and once
a second.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import StoreError, StoreUnavailable

RESERVE_BYTES_MAX: Final = 16 << 20
"""The bound of the WAL's size: with this much space it can always be checkpointed into the database."""

_DATABASE_BYTES_MIN: Final = 512  # SQLite, "Database File Format": the smallest page
_PRIVATE: Final = 0o600  # who can read the file can read what people write to the bot
_RESERVE_BYTES_MIN: Final = 64 << 10
_RESERVE_SHARE: Final = 8  # the reserve takes at most an eighth of the free space


class Seen(NamedTuple):
    """The file at a path: device and inode numbers, size in bytes, and time of the last write."""

    device: int
    inode: int
    size: int
    written_ns: int


def resolved(path: Path) -> Path:
    """Return the path with symbolic links resolved; StoreError if they form a loop."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"cannot open {path}: {error}") from None


def open_private(path: Path) -> int:
    """Open a file for reading and writing, created if missing; make it readable by its owner only. Return the descriptor."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, _PRIVATE)
    with suppress(OSError):  # another user's file, or a file system without modes
        if stat.S_IMODE(os.fstat(fd).st_mode) & ~_PRIVATE:
            os.fchmod(fd, _PRIVATE)
    return fd


def make_database(path: Path) -> None:
    """Create the file if missing. StoreError for a file too short for a database, which SQLite would treat as empty."""
    fd = open_private(path)
    try:
        if 0 < os.fstat(fd).st_size < _DATABASE_BYTES_MIN:
            raise StoreError(
                f"cannot open {path}: the file is too short, it is not a database: it is damaged"
            )
    finally:
        os.close(fd)


def make_private(path: Path) -> None:
    """Make a file readable by its owner only, if it exists."""
    with suppress(OSError):
        if stat.S_IMODE(path.stat().st_mode) & ~_PRIVATE:
            path.chmod(_PRIVATE)


def check_kinds(*paths: Path) -> None:
    """Raise StoreError for a path to anything but a regular file: opening a pipe or a device may block for ever."""
    for path in paths:
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
                raise StoreError(f"cannot open {path}: it is {kind}: set STORE_URL to a file")


Look = Callable[[Path], Seen | None]
"""Returns the file at a path, None if there is none; OSError if that cannot be determined."""


def look(path: Path) -> Seen | None:
    """Return the file at a path, by `stat`."""
    try:
        status = os.stat(path)  # noqa: PTH116 - faster, and called for every append
    except FileNotFoundError:
        return None
    return Seen(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Watch:
    """The database and its WAL, as they were when SQLite opened them or the store last wrote to the database."""

    def __init__(self, path: Path, log: Path, look: Look) -> None:
        self._path = path
        self._log = log
        self._look = look
        self._database: Seen | None = None
        self._log_inode: tuple[int, int] | None = None

    def log_bytes(self) -> int:
        """Return the size of the WAL on the disk, in bytes."""
        seen = self._look(self._log)
        return 0 if seen is None else seen.size

    def opened(self) -> bool:
        """Record what SQLite has opened; return False if there is no WAL, or that cannot be determined."""
        self._log_inode = None
        with suppress(OSError):
            log = self._look(self._log)
            self._log_inode = None if log is None else log[:2]
        self.written()
        return self._log_inode is not None

    def written(self) -> None:
        """Record the database file after the store itself has written to it, which only a checkpoint does."""
        self._database = None  # if `look` fails now, the next check raises
        with suppress(OSError):
            self._database = self._look(self._path)

    def has_foreign_log(self) -> bool:
        """Return whether the file at the WAL's path is not the one that SQLite has opened; False if undetermined."""
        with suppress(OSError):
            log = self._look(self._log)
            return log is not None and log[:2] != self._log_inode
        return False

    def has_log(self) -> bool:
        """Return whether the file at the WAL's path is still the one that SQLite has opened."""
        log = self._look(self._log)
        return log is not None and log[:2] == self._log_inode

    def check(self) -> int:
        """Return the size of the WAL in bytes, if both files are unchanged.

        StoreUnavailable for a database or WAL that is gone, StoreError for a database that was replaced or overwritten.
        """
        was = self._database
        if was is None:
            raise StoreUnavailable(f"the store's file {self._path} could not be looked at")
        if (seen := self._look(self._path)) is None:
            raise StoreUnavailable(
                f"the store's file {self._path} is gone (deleted, renamed or unmounted): put it back"
            )
        if seen != was:
            self._explain(was, seen)
        log = self._look(self._log)
        if log is None or log[:2] != self._log_inode:
            raise StoreUnavailable(f"{self._log}, which belongs to the store's file, was deleted or replaced")
        return log.size

    def _explain(self, was: Seen, seen: Seen) -> None:
        if seen.inode != was.inode:
            raise StoreError(
                f"the store's file {self._path} was replaced while the bot ran: nothing is written to the new one; "
                "start the bot again to use it, or put the old one back first"
            )
        if seen.device != was.device:  # mounted again
            raise StoreUnavailable(f"the store's file {self._path} is on another device than before")
        raise StoreError(
            f"the store's file {self._path} was written by another program while the bot ran: if a backup was "
            "restored, restore it once more now that the bot has stopped"
        )


class Reserve:
    """Disk space that is freed when the disk is full, so that pending work can still be committed and deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0
        """In bytes; 0 if there is none."""

        with suppress(OSError):
            self.size = path.stat().st_size

    def keep(self) -> bool:
        """Allocate the reserve, by the disk's free space; return False if the disk is too full for it."""
        try:
            status = os.statvfs(self._path.parent)
            free = status.f_bavail * status.f_frsize
            wanted = min(RESERVE_BYTES_MAX, (free + self.size) // _RESERVE_SHARE)
            if wanted < _RESERVE_BYTES_MIN:
                return self.size > 0
            if wanted >= 2 * self.size and hasattr(os, "posix_fallocate"):
                self._allocate(wanted)
        except OSError as error:
            return error.errno not in {errno.ENOSPC, errno.EDQUOT}  # e.g. a file system that cannot allocate
        return True

    def give_up(self) -> bool:
        """Free the reserve; return whether there was one."""
        had, self.size = self.size > 0, 0
        with suppress(OSError):
            self._path.unlink()
            return had
        return False

    def _allocate(self, size: int) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            self.give_up()
            raise
        finally:
            os.close(fd)
        self.size = size
