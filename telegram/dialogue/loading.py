"""Finding the router that the setting HANDLERS names."""

import importlib

from telegram.dialogue.flows.check import router_problems
from telegram.dialogue.router import Router


def load_router(spec: str) -> Router:
    """The router that `module:name` names, with flows that are sound. ValueError: a clear line for each thing wrong."""
    router = find_router(spec)
    if wrong := router_problems(router):
        raise ValueError("\n".join(f"HANDLERS: {line}" for line in wrong))
    return router


def find_router(spec: str) -> Router:
    """The router that `module:name` names. ValueError with one clear line if there is none."""
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
    return f"importing {module_name!r} failed: {type(error).__name__}: {text}"
