"""Loads the router named by the setting HANDLERS."""

import importlib
import sysconfig
from pathlib import Path
from traceback import extract_tb
from typing import Final

from telegram.dialogue.router.flows import router_problems
from telegram.dialogue.router.router import Router
from telegram.dialogue.router.table import Table

_LIBRARY: Final = frozenset(("site-packages", "dist-packages"))
_NOT_THEIRS: Final = ("<", sysconfig.get_path("stdlib"), str(Path(__file__).parents[2]))


def load_router(spec: str) -> Router:
    """Return the router `module:name`, with its flows checked. ValueError with a clear line per problem."""
    router = find_router(spec)
    if wrong := router_problems(router):
        raise ValueError("\n".join(f"HANDLERS: {line}" for line in wrong))
    try:
        Table(router)
    except (TypeError, ValueError) as error:
        raise ValueError(f"HANDLERS: {error}") from None
    return router


def find_router(spec: str) -> Router:
    """Return the router `module:name`. ValueError with one clear line if there is none."""
    module_name, colon, name = spec.partition(":")
    if not (module_name and colon and name):
        raise ValueError(f"{spec!r} does not name a router: write module:name, like handlers:router")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(f"there is no module {error.name!r} (wanted for {spec!r})") from None
        raise ValueError(_failed(module_name, error)) from error
    except (Exception, SystemExit) as error:  # a module may do anything while it is imported
        raise ValueError(_failed(module_name, error)) from error
    try:
        router = getattr(module, name)
    except AttributeError:
        raise ValueError(f"the module {module_name!r} has no {name!r} (wanted for {spec!r})") from None
    if not isinstance(router, Router):
        raise ValueError(f"{spec!r} is not a Router but of type {type(router).__name__!r}")  # noqa: TRY004
    return router


def _failed(module_name: str, error: BaseException) -> str:
    text = " ".join(str(error).split())  # one line, whatever the error says
    return f"importing {module_name!r} failed: {type(error).__name__}: {text}{_where(error)}"


def _where(error: BaseException) -> str:
    """Return the author's line that raised the error: the innermost one outside of Chatlane and libraries."""
    found = [
        frame
        for frame in extract_tb(error.__traceback__)
        if not frame.filename.startswith(_NOT_THEIRS) and not _LIBRARY & set(Path(frame.filename).parts)
    ]
    return f" ({Path(found[-1].filename).name}, line {found[-1].lineno})" if found else ""
