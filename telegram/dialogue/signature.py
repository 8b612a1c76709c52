"""The arguments of handlers: a handler may declare any prefix of the available arguments.

This is checked when the handler is registered, not when the first update comes.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, get_origin, get_type_hints

_POSITIONAL: Final = frozenset((inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD))


def takes_of(handler: Callable[..., Any], given: Sequence[Any]) -> int:
    """Return how many of the arguments of types `given` the handler takes, counted from the first.

    TypeError if it is not async, requires more arguments, or declares another type for one.
    """
    if not is_async(handler):
        raise TypeError(f"a handler must be written with `async def`: {handler!r}")
    name = getattr(handler, "__qualname__", repr(handler))
    signature = inspect.signature(handler)
    named = [each for each in signature.parameters.values() if each.kind in _POSITIONAL]
    takes_all = any(each.kind is each.VAR_POSITIONAL for each in signature.parameters.values())
    takes = len(given) if takes_all else min(len(named), len(given))
    try:
        signature.bind(*given[:takes])
    except TypeError:
        there = ", ".join(_name(each) for each in given)
        raise TypeError(f"{name}{signature}: a handler here can take ({there})") from None
    annotations = _annotations(handler)
    for parameter, each in zip(named, given, strict=False):
        asked = annotations.get(parameter.name)
        if not _fits(each, asked):
            raise TypeError(f"{name}: {parameter.name} is {_name(asked)}, but would be {_name(each)}")
    return takes


def fitted(handler: Callable[..., Any], given: Sequence[Any]) -> Callable[..., Any]:
    """Return the handler as a function of all of `given`; TypeError as `takes_of`."""
    takes = takes_of(handler, given)
    return handler if takes == len(given) else wraps(handler)(lambda *args: handler(*args[:takes]))


def check_returned(handler: Callable[..., Any], returned: Any) -> None:
    """Raise TypeError if a handler returned an awaitable: it was not awaited, so its work was not done."""
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        name = getattr(handler, "__qualname__", repr(handler))
        raise TypeError(
            f"{name} returned a {type(returned).__name__} that was never awaited: write `await` before the call"
        )


def is_async(function: Any) -> bool:
    """Return whether it is a coroutine function, or has an async __call__."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__ is a handler, too
    )


def _annotations(handler: Callable[..., Any]) -> dict[str, Any]:
    function = handler if inspect.isroutine(handler) else type(handler).__call__
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # names that exist for the type checker only
        return {}


def _fits(given: Any, asked: Any) -> bool:
    """Return False only if the types are certainly incompatible."""
    given, asked = get_origin(given) or given, get_origin(asked) or asked
    if Any in {given, asked}:
        return True
    if not (isinstance(given, type) and isinstance(asked, type)):
        return True
    return issubclass(given, asked)


def _name(type_: Any) -> str:
    return getattr(type_, "__name__", str(type_))
