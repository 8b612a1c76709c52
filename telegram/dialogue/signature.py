"""Whether a handler takes what it will be given: told where it is written, not when the first user comes."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_origin, get_type_hints


def check_handler(handler: Callable[..., Any], given: Sequence[Any]) -> None:
    """Raise TypeError if `handler` is not async, or does not take arguments of the types `given`, in this order."""
    if not is_async(handler):
        raise TypeError(f"a handler must be written with `async def`: {handler!r}")
    name = getattr(handler, "__qualname__", repr(handler))
    takes = inspect.signature(handler)
    try:
        takes.bind(*given)
    except TypeError:
        wanted = ", ".join(_name(each) for each in given)
        raise TypeError(f"{name}{takes} would be called with ({wanted})") from None
    annotations = _annotations(handler)
    for parameter, each in zip(takes.parameters.values(), given, strict=False):
        asked = annotations.get(parameter.name)
        if parameter.kind is not inspect.Parameter.VAR_POSITIONAL and not _fits(each, asked):
            raise TypeError(f"{name}: {parameter.name} is {_name(asked)}, but would be {_name(each)}")


def is_async(function: Any) -> bool:
    """Whether calling it gives something to await."""
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
    """Only what is certainly wrong does not fit."""
    given, asked = get_origin(given) or given, get_origin(asked) or asked
    if not (isinstance(given, type) and isinstance(asked, type)):
        return True
    return issubclass(given, asked)


def _name(type_: Any) -> str:
    return getattr(type_, "__name__", str(type_))
