"""The arguments of handlers: a handler may declare any of the available arguments, in any order.

They are found by their types, else by their positions: a handler that declares the first ones in their order needs no types.
This is checked when the handler is registered, not when the first update comes.

A parameter with the default `given` is not one of them: it is opened for the update (providing.py).
"""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from types import UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

GIVEN: Final[Any] = type("given", (), {"__repr__": lambda _: "given"})()
"""The default of a parameter that a `@router.provide` gives: `session: Session = given`."""


class Asked(NamedTuple):
    """A parameter with the default `given`; `type` is Any without an annotation."""

    name: str
    type: Any


_POSITIONAL: Final = frozenset((inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD))


def takes_of(handler: Callable[..., Any], given: Sequence[Any], *, is_async_required: bool = True) -> int:
    """Return how many of the arguments of types `given` the handler takes, counted from the first.

    TypeError if it is not async, requires more arguments, or declares another type for one.
    """
    if is_async_required and not is_async(handler):
        raise TypeError(f"a handler must be written with `async def`: {handler!r}")
    name = getattr(handler, "__qualname__", repr(handler))
    signature = inspect.signature(handler)
    named = _named(signature)
    takes_all = any(each.kind is each.VAR_POSITIONAL for each in signature.parameters.values())
    takes = len(given) if takes_all else min(len(named), len(given))
    try:
        signature.bind(*given[:takes])
    except TypeError:
        there = ", ".join(_name(each) for each in given)
        raise TypeError(f"{name}{signature}: a handler here can take ({there})") from None
    annotations = annotations_of(handler)
    for parameter, each in zip(named, given, strict=False):
        asked = annotations.get(parameter.name)
        if not fits(each, asked):
            raise TypeError(f"{name}: {parameter.name} is {_name(asked)}, but would be {_name(each)}")
    return takes


def order_of(handler: Callable[..., Any], given: Sequence[Any]) -> tuple[int, ...] | None:
    """Return which of the arguments of types `given` each parameter of the handler takes, found by types.

    None if there is no such order. A parameter without a type takes the first argument that is left.
    """
    signature = inspect.signature(handler)
    annotations = annotations_of(handler)
    left = dict(enumerate(given))
    found: dict[str, int] = {}
    named = _named(signature)
    for exact in (True, False):
        for parameter in named:
            asked = annotations.get(parameter.name, Any)
            if parameter.name in found or (asked is Any) is exact:
                continue
            at = next((at for at, each in left.items() if fits(each, asked, certainly=exact)), None)
            if at is not None:
                found[parameter.name] = at
                del left[at]
    taken = [found.get(parameter.name) for parameter in named]
    while taken and taken[-1] is None and named[len(taken) - 1].default is not inspect.Parameter.empty:
        taken.pop()
    order = tuple(at for at in taken if at is not None)
    try:
        signature.bind(*order)
    except TypeError:
        return None
    return order if len(order) == len(taken) else None


def fitted(handler: Callable[..., Any], there: Sequence[Any]) -> Callable[..., Any]:
    """Return the handler as a function of all of `there`; TypeError as `takes_of` if no order of them fits it.

    If it asks for more (`given`), this is opened by the context, which is the first of `there`.
    """
    asked = asked_by(handler)
    if not asked:
        return arranged(handler, there)
    call = arranged(handler, there, more=True)

    async def provided(ctx: Any, *args: Any) -> Any:
        return await call(ctx, *args, **await ctx.around.give(asked))

    return wraps(handler)(provided)


def arranged(
    handler: Callable[..., Any], given: Sequence[Any], *, more: bool = False, is_async_required: bool = True
) -> Callable[..., Any]:
    """Return `handler` as a function of all of `given`, and of keywords if there is `more`; TypeError as `takes_of`."""
    try:
        takes = takes_of(handler, given, is_async_required=is_async_required)
    except TypeError:
        order = order_of(handler, given)
        if order is None or (is_async_required and not is_async(handler)):
            raise
        return wraps(handler)(lambda *args, **also: handler(*[args[at] for at in order], **also))
    if more:
        return wraps(handler)(lambda *args, **also: handler(*args[:takes], **also))
    return handler if takes == len(given) else wraps(handler)(lambda *args: handler(*args[:takes]))


def fixed(handler: Callable[..., Any], there: Sequence[Any]) -> Callable[..., Any]:
    """Return the same as `fitted` for a function that cannot ask for more; TypeError if it does."""
    if asked := asked_by(handler):
        raise TypeError(
            f"{asked[0].name} = given: a prompt, or what takes a sub-flow's result, is given nothing"
        )
    return arranged(handler, there)


def asked_by(handler: Callable[..., Any]) -> tuple[Asked, ...]:
    """Return the parameters with the default `given`."""
    names = [each.name for each in inspect.signature(handler).parameters.values() if each.default is GIVEN]
    hints = annotations_of(handler) if names else {}
    return tuple(Asked(name, hints.get(name, Any)) for name in names)


def _named(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [
        each
        for each in signature.parameters.values()
        if each.kind in _POSITIONAL and each.default is not GIVEN
    ]


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


def annotations_of(handler: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the parameters, and of the result as "return"; empty if they cannot be evaluated."""
    function = handler if inspect.isroutine(handler) else type(handler).__call__
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # names that exist for the type checker only
        return {}


def fits(given: Any, asked: Any, *, certainly: bool = False) -> bool:
    """Return False only if the types are certainly incompatible; with `certainly`, True only if they are compatible."""
    if Any in (given, asked):
        return asked is Any or not certainly
    if get_origin(given) in _UNIONS:
        return all(fits(each, asked, certainly=certainly) for each in get_args(given))
    if get_origin(asked) in _UNIONS:
        return any(fits(given, each, certainly=certainly) for each in get_args(asked))
    given, asked = get_origin(given) or given, get_origin(asked) or asked
    if not (isinstance(given, type) and isinstance(asked, type)):
        return not certainly
    return issubclass(given, asked)


_UNIONS: Final = (Union, UnionType)


def _name(type_: Any) -> str:
    return str(type_) if get_origin(type_) in _UNIONS else getattr(type_, "__name__", str(type_))
