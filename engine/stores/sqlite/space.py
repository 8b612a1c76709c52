"""The disk space that the store's files need.

A transaction goes to the WAL first, and a checkpoint copies its pages to the database file. On a disk that fills between
the two a WAL could neither be copied nor start over, and no process could write to the file any more, not even to open it.
So the space in the database file is allocated before each commit: every WAL can be checkpointed on a full disk.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.stores.sqlite.disk import Watch

RESERVE_BYTES_MAX: Final = 16 << 20
"""The bound of the WAL's size: with this much space it can always be checkpointed into the database."""

LOG_BYTES_MIN: Final = 64 << 10
"""The WAL's size from the start on, if the disk has room: enough for what a start writes, and for deletions."""

_GROW_BYTES: Final = 64 << 10
_RESERVE_BYTES_MIN: Final = 64 << 10
_RESERVE_SHARE: Final = 8  # the reserve takes at most an eighth of the free space

Allocate = Callable[[int, int, int], None]
"""Allocates disk space, as `os.posix_fallocate`: descriptor, offset, and size in bytes; OSError if there is none."""


def allocate(fd: int, offset: int, size: int) -> None:
    """Make the file at least `offset + size` bytes long, with disk space for the bytes from `offset`, its present end."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, offset, size)
    else:  # macOS has none
        os.pwrite(fd, bytes(size), offset)


def no_space(error: OSError) -> bool:
    """Return whether the error says that the disk, or the user's share of it, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


class Space:
    """Disk space of the database file for pages that are still in the WAL only, and of a WAL's beginning.

    The descriptor of the database file stays open until SQLite has closed it: closing any descriptor of a file removes
    all locks of the process on it (SQLite, "How To Corrupt An SQLite Database File", 2.2).
    """

    def __init__(self, path: Path, log: Path, watch: Watch, allocate: Allocate) -> None:
        self._path = path
        self._log = log
        self._watch = watch
        self._allocate = allocate
        self._fd = -1

    def open(self) -> None:
        """Open the database file; call it before SQLite opens it, or while it has it open."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the database file; call it after SQLite has closed it. May be repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def claim(self, size: int) -> None:
        """Let the database file have at least this size in bytes; OSError if the disk is full.

        SQLite ignores what is beyond its last page, and cuts it off at the next complete checkpoint.
        """
        has = self._watch.database_bytes()
        if has is None or size <= has:
            return
        self._watch.check()  # what another program has written must not be recorded as ours
        try:
            try:
                self._allocate(self._fd, has, max(size - has, _GROW_BYTES))
            except OSError as error:
                if not no_space(error):
                    raise
                self._allocate(self._fd, has, size - has)
        except OSError as error:
            if no_space(error):
                raise
            # else a file system that cannot allocate: SQLite allocates when it writes
        finally:
            self._watch.written()

    def claim_log(self) -> None:
        """Let the WAL have the space that the first transactions of a process need, if the disk has room."""
        with suppress(OSError):
            fd = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
            try:
                size = os.fstat(fd).st_size
                if size < LOG_BYTES_MIN:
                    self._allocate(fd, size, LOG_BYTES_MIN - size)
            finally:
                os.close(fd)


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
            return not no_space(error)  # e.g. a file system that cannot allocate
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
