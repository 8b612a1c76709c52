"""The store's files as the file system knows them: whether they are still there, and a reserve of room on the disk.

SQLite goes on with a file that was deleted, replaced or unmounted as long as it has it open, and what it writes then is
gone with the process. So the store looks at the names from outside: after each transaction that Telegram's updates
depend on, before they count as stored, and once a second when nothing happens.
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
"""As long as SQLite's log gets: with this much room the log can always be folded into the file."""

_DATABASE_BYTES_MIN: Final = 512  # SQLite, "Database File Format": the smallest page
_PRIVATE: Final = 0o600  # who can read the file can read what people write to the bot
_RESERVE_BYTES_MIN: Final = 64 << 10
_RESERVE_SHARE: Final = 8  # of the room on the disk, at most an eighth


class Seen(NamedTuple):
    """What a name leads to: the file's device and number, its size, and when it was last written."""

    device: int
    inode: int
    size: int
    written_ns: int


def resolved(path: Path) -> Path:
    """Return where a path leads to; StoreError for links that lead round in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"cannot open {path}: {error}") from None


def open_private(path: Path) -> int:
    """Open a file for reading and writing, and make it if there is none; only its owner may read it from now on."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, _PRIVATE)
    with suppress(OSError):  # another user's file, or a file system without modes
        if stat.S_IMODE(os.fstat(fd).st_mode) & ~_PRIVATE:
            os.fchmod(fd, _PRIVATE)
    return fd


def make_database(path: Path) -> None:
    """Make the file if there is none. StoreError for one that SQLite would take for empty, though it is not."""
    fd = open_private(path)
    try:
        if 0 < os.fstat(fd).st_size < _DATABASE_BYTES_MIN:
            raise StoreError(
                f"cannot open {path}: the file is too short, it is not a database: it is damaged"
            )
    finally:
        os.close(fd)


def make_private(path: Path) -> None:
    """Let only the owner of a file read it, if there is one."""
    with suppress(OSError):
        if stat.S_IMODE(path.stat().st_mode) & ~_PRIVATE:
            path.chmod(_PRIVATE)


def check_kinds(*paths: Path) -> None:
    """Raise StoreError for a path that leads to something else than a file: a pipe or a device may answer never."""
    for path in paths:
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
                raise StoreError(f"cannot open {path}: it is {kind}: set STORE_URL to a file")


Look = Callable[[Path], Seen | None]
"""Returns None for a name that leads nowhere; OSError if it cannot be told."""


def look(path: Path) -> Seen | None:
    """Look at a name in the file system."""
    try:
        status = os.stat(path)  # noqa: PTH116 - this is on everybody's way
    except FileNotFoundError:
        return None
    return Seen(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Watch:
    """The database and its log, as they were when SQLite had opened them or the store last wrote to the database."""

    def __init__(self, path: Path, log: Path, look: Look) -> None:
        self._path = path
        self._log = log
        self._look = look
        self._database: Seen | None = None
        self._log_inode: tuple[int, int] | None = None

    def log_bytes(self) -> int:
        """Return the size of SQLite's log on the disk."""
        seen = self._look(self._log)
        return 0 if seen is None else seen.size

    def opened(self) -> bool:
        """Note what SQLite has opened; return False if there is no log, or it cannot be looked at."""
        self._log_inode = None
        with suppress(OSError):
            log = self._look(self._log)
            self._log_inode = None if log is None else log[:2]
        self.written()
        return self._log_inode is not None

    def written(self) -> None:
        """Note the database after the store itself has written to it, which only folding the log does."""
        self._database = None  # if it cannot be told: the next check will
        with suppress(OSError):
            self._database = self._look(self._path)

    def has_foreign_log(self) -> bool:
        """Return whether the log's name leads to a log that SQLite has not opened, as far as can be told."""
        with suppress(OSError):
            log = self._look(self._log)
            return log is not None and log[:2] != self._log_inode
        return False

    def has_log(self) -> bool:
        """Return whether the log's name still leads to the log that SQLite has opened."""
        log = self._look(self._log)
        return log is not None and log[:2] == self._log_inode

    def check(self) -> int:
        """Return the size of the log, if all is as it was.

        Raise StoreUnavailable for what is gone and may come back, StoreError for what has been replaced.
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
    """Room on the disk that is given up when the disk is full, so that what is stored can still be put in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0
        """In bytes; 0 if there is none."""

        with suppress(OSError):
            self.size = path.stat().st_size

    def keep(self) -> bool:
        """Take as much as is proper on this disk; return False if the disk is too full for that."""
        try:
            status = os.statvfs(self._path.parent)
            free = status.f_bavail * status.f_frsize
            wanted = min(RESERVE_BYTES_MAX, (free + self.size) // _RESERVE_SHARE)
            if wanted < _RESERVE_BYTES_MIN:
                return self.size > 0
            if wanted >= 2 * self.size and hasattr(os, "posix_fallocate"):
                self._allocate(wanted)
        except OSError as error:
            return error.errno not in {errno.ENOSPC, errno.EDQUOT}  # a file system that reserves nothing
        return True

    def give_up(self) -> bool:
        """Free it; return whether there was something to free."""
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
