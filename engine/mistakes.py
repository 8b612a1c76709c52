"""Which errors of a handler are programming errors: a retry would fail the same way, so there is none.

The policy:

* An error of a type in PROGRAMMING_ERRORS that was raised in the bot's code, in this project's, or by the standard
  library when called from there (json, datetime, enum, ...) is a mistake: the update becomes a dead letter at the first
  attempt. So does an exception group that contains such an error.
* Raised inside another library, or inside a module of NETWORK_MODULES, the same type may mean a broken connection, and
  is retried like any error. Libraries do raise it then: redis/redis-py#3546 (TypeError) and #3815 (AttributeError),
  MagicStack/asyncpg#240, aio-libs/aiopg#628 (AttributeError).
* All other types are retried. KeyError, IndexError and ValueError are not mistakes: another service's answer may cause
  them.

Override it in one place (`except TypeError as error: raise Retry(str(error)) from error`, or Reject for an error that
would be retried), or for the whole pool: `EngineConfig(programming_errors=())`.
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
"""Modules of the standard library whose errors may mean a broken connection."""

_ROOT: Final = Path(__file__).parents[1].as_posix()
_OURS: Final = (f"{_ROOT}/engine/", f"{_ROOT}/telegram/")  # also where they are installed as a library
_STDLIB: Final = f"{Path(sysconfig.get_path('stdlib')).as_posix()}/"
_INSTALLED: Final = ("/site-packages/", "/dist-packages/")
_EXTENSION: Final = (".pyx", ".pxd", ".pxi")  # Cython gives the relative path of its source
_DEPTH_MAX: Final = 10  # nesting of exception groups that is inspected


def is_mistake(error: BaseException, types: tuple[type[BaseException], ...] = PROGRAMMING_ERRORS) -> bool:
    """Return whether the error is a programming error by the policy above, not a passing failure."""
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
    """Return whether a library raised it: another package, or a module of NETWORK_MODULES.

    Decided by the innermost frame that is neither generated code ("<string>") nor of another standard module.
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
