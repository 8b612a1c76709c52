"""The standard streams of a program: closed ones, a full disk, a reader that is gone."""

import os
import sys
from contextlib import suppress
from typing import Final, TextIO

EXIT_NO_READER: Final = 141
"""Exit code of a command whose reader is gone, as in `dead | head`: 128 + SIGPIPE, as of other programs."""

_NAMES: Final = ("stdin", "stdout", "stderr")


def open_standard_streams() -> None:
    """Open those that are closed on the null device.

    Else the next file or connection has the number 1 or 2: libuv aborts, and whatever a library writes to "stderr" goes
    into it (SQLite, "How To Corrupt", 1.1).
    """
    for fd, name in enumerate(_NAMES):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115 - for good


def tell(text: str, stream: TextIO | None = None) -> None:
    """Write a line to stdout, or to this stream. Where it cannot be written the program goes on."""
    with suppress(OSError, ValueError):
        print(text, file=stream, flush=True)


def flushed(code: int) -> int:
    """Return this exit code when all output is written; OSError if it cannot be: then the rest of it is dropped.

    Else the interpreter complains at its end, and replaces the code by 120.
    """
    failed = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            failed = failed or error
            _drop(stream)
        except (AttributeError, ValueError):  # there is none
            continue
    if failed is not None:
        raise failed
    return code


def _drop(stream: TextIO) -> None:
    """Let what is in its buffer go nowhere (Python's documentation, signal, "Note on SIGPIPE")."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
