"""Which errors of a handler are mistakes in the program: the next attempt would end the same way, so there is none.

The policy, in one place:

* An error of PROGRAMMING_ERRORS that was raised in the bot's own code, in this project's, or by the standard library in
  a call from there (json, datetime, enum, ...) is a mistake: the update is a dead letter at the first attempt, with the
  reason. So is a group of errors with such a one in it.
* Raised inside another library, or inside a module of NETWORK_MODULES, the same type may say that a connection broke,
  and is tried again like any error. Libraries do raise it then: redis/redis-py#3546 (TypeError) and #3815
  (AttributeError), MagicStack/asyncpg#240, aio-libs/aiopg#628 (AttributeError).
* All other types are tried again. KeyError, IndexError and ValueError are not among the mistakes: they may come of what
  another service answered.

An author overrules it for one place (`except TypeError as error: raise Retry(str(error)) from error`, or Reject for what
is tried again otherwise), or for the whole pool: `EngineConfig(programming_errors=())`.
"""

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

PROGRAMMING_ERRORS: Final[tuple[type[BaseException], ...]] = (
    TypeError,
    AttributeError,
    NameError,
    NotImplementedError,
    ImportError,
    SyntaxError,
)

NETWORK_MODULES: Final = frozenset((
    "asyncio", "ftplib", "http", "imaplib", "poplib", "selectors", "smtplib", "socket", "socketserver", "ssl",
    "urllib", "xmlrpc",
))  # fmt: skip
"""Of the standard library: their errors may be a connection's."""

_ROOT: Final = Path(__file__).parents[1].as_posix()
_OURS: Final = (f"{_ROOT}/engine/", f"{_ROOT}/telegram/")  # also where they are installed as a library
_STDLIB: Final = f"{Path(sysconfig.get_path('stdlib')).as_posix()}/"
_INSTALLED: Final = ("/site-packages/", "/dist-packages/")
_EXTENSION: Final = (".pyx", ".pxd", ".pxi")  # Cython gives the relative path of its source
_DEPTH_MAX: Final = 10  # groups in groups that are looked into


def is_mistake(error: BaseException, types: tuple[type[BaseException], ...] = PROGRAMMING_ERRORS) -> bool:
    """Whether the error says that the program is wrong, and not that something is down for now."""
    return any(
        isinstance(each, types) and not _is_of_a_library(each.__traceback__) for each in _leaves(error, 0)
    )


def _leaves(error: BaseException, depth: int) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup) and depth < _DEPTH_MAX:
        for each in error.exceptions:
            yield from _leaves(each, depth + 1)
    else:
        yield error


def _is_of_a_library(trace: TracebackType | None) -> bool:
    """Whether the code that raised it, or what called that from inside, is a library's.

    The frame that counts is the innermost one that is neither made up ("<string>") nor of the rest of the standard
    library.
    """
    files = []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename.replace("\\", "/"))
        trace = trace.tb_next
    for file in reversed(files):
        if file.startswith(_OURS):
            return False
        if file.endswith(_EXTENSION) or any(each in file for each in _INSTALLED):
            return True
        if file.startswith(_STDLIB):
            if file.removeprefix(_STDLIB).partition("/")[0].removesuffix(".py") in NETWORK_MODULES:
                return True
        elif not file.startswith("<"):
            return False
    return False
