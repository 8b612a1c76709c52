"""Files below one folder, opened so that no symbolic link leads out of it, even one created during the check.

A path is resolved and checked first; then each part is opened relative to its parent folder, without following links
(open(2), O_NOFOLLOW and openat). A folder that was replaced by a link after the check is refused.
"""

import errno
import os
import stat
from pathlib import Path
from typing import IO, Final, NamedTuple

_EXISTS: Final = hasattr(os, "O_NOFOLLOW")  # Windows has none of it
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC if _EXISTS else 0
# Opening a pipe must not block.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK if _EXISTS else 0


class Beneath(NamedTuple):
    """A file below `root`, by path parts that are not links. The methods raise OSError if it cannot be opened so."""

    root: Path
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.root.joinpath(*self.parts))

    def stat(self) -> os.stat_result:
        """Return the file's status."""
        fd = self._open()
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def open(self, mode: str) -> IO[bytes]:
        """Open the file for reading; ValueError for a `mode` other than "rb", OSError if it is not a regular file."""
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
    """Return the resolved file of a path; None if it is not below `root`. OSError, ValueError or RuntimeError (a loop)."""
    real, real_root = path.resolve(), root.resolve()
    if real == real_root or not real.is_relative_to(real_root):
        return None
    return Beneath(real_root, real.relative_to(real_root).parts)
