"""Files below one folder, opened so that no link leads out of it, also not one that comes while we look.

A path is followed and checked first; then each of its parts is opened relative to the folder before it, without following
links (open(2), O_NOFOLLOW and openat). What was a folder when we looked, and is a link now, is refused.
"""

import errno
import os
import stat
from pathlib import Path
from typing import IO, Final, NamedTuple

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not hold us up


class Beneath(NamedTuple):
    """A file below `root`, by parts that are no links. OSError for whatever it cannot be opened by."""

    root: Path
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.root.joinpath(*self.parts))

    def stat(self) -> os.stat_result:
        """Return what the file is."""
        fd = self._open()
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def open(self, mode: str) -> IO[bytes]:
        """Open it for reading; `mode` is "rb"."""
        if mode != "rb":
            raise ValueError("what lies below a root is only read")
        fd = self._open()
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        return os.fdopen(fd, "rb")

    def _open(self) -> int:
        folder = os.open(self.root, _FOLDER)
        try:
            for part in self.parts[:-1]:
                inner = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            return os.open(self.parts[-1], _FILE, dir_fd=folder)
        finally:
            os.close(folder)


def find_beneath(path: Path, root: Path) -> Beneath | None:
    """Return the file that a path leads to; None if that is not below `root`. OSError, ValueError, RuntimeError."""
    real, real_root = path.resolve(), root.resolve()
    if real == real_root or not real.is_relative_to(real_root):
        return None
    return Beneath(real_root, real.relative_to(real_root).parts)
