"""How the shortcuts of telegram/botapi/collected.py collect a call, and what they return."""

import re
from collections.abc import Callable, Generator
from typing import Any, Final, NoReturn

from telegram.botapi.named import message_name


class WrongCall(TypeError):  # noqa: N818 - a fact about a call
    """A call that the Bot API does not have, or with a wrong parameter: a programming error, in one line."""


class Collected:
    """What collecting returns: there is no result yet, and nothing to await.

    The shortcuts are declared to return None, so that mypy rejects the use of a result.
    """

    __slots__ = ("_method", "_name")

    def __init__(self, name: str, method: str | None = None) -> None:
        self._name = name
        self._method = method

    def __await__(self) -> Generator[Any, None, None]:
        """Raise WrongCall: there is nothing to await."""
        self._fail("await")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._fail(f"read as .{name}")

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<{self._name}(): with the commit>"

    def _fail(self, what: str) -> NoReturn:
        now = "" if self._method is None else f"; `await ctx.client.{_own(self._method)}(...)` calls at once"
        raise WrongCall(f"{self._name}(): nothing to {what}, it takes effect with the commit{now}")


def _own(method: str) -> str:
    """Return the name of a method of TgClient."""
    return "close_bot" if method == "close" else re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()


_NONE: Final[frozenset[str]] = frozenset()


class Quotable:
    """What `quote=` takes besides True: another message than the update's."""

    __slots__ = ()

    def _quoted(self, name: str) -> int:
        """Return its id; `name` is the shortcut's."""
        raise NotImplementedError


def collects(
    name: str,
    method: str,
    filled: str | None = None,
    has: frozenset[str] = _NONE,
    positional: tuple[str, ...] = (),
    *,
    quotes: bool = False,
    names: bool = False,
) -> Callable[..., None]:
    """Return a method that collects a call of the Bot API's `method`, by `self._collected(method, params)`.

    `filled` is the name of the method that returns what is filled in, `has` which of it the Bot API's method has,
    `positional` what may be given without a name. `quotes`: it has `quote=True`, a reply to `self._quoted()`.
    `names`: it has `name="menu"`, the name of the message that it sends.
    """
    returned = Collected(name, method)
    first = positional[0] if positional else None

    def collect(self: Any, *args: Any, **params: Any) -> Any:
        if args:
            if len(args) == 1 and first is not None and first not in params:  # nearly always
                params[first] = args[0]
            else:
                params = _bound(name, positional, args, params)
        if quotes and "quote" in params:
            _quote(name, params, self)
        if filled is not None:
            given = getattr(self, filled)(name)
            params = {**(given if has.issuperset(given) else _fitting(name, given, has)), **params}
        if names and params.get("name") is not None:
            self._collected(method, params, name=_name(name, params))
        else:
            self._collected(method, params)
        return returned

    collect.__name__ = name
    collect.__doc__ = f"Telegram Bot API, {method}: telegram/botapi/collected.pyi has the parameters."
    return collect


def _bound(
    name: str, positional: tuple[str, ...], args: tuple[Any, ...], params: dict[str, Any]
) -> dict[str, Any]:
    if len(args) > len(positional):
        takes = f"only {', '.join(positional)}" if positional else "nothing"
        raise WrongCall(f"{name}() takes {takes} without a name, and got {len(args)} such values")
    given = dict(zip(positional, args, strict=False))
    for each in given:
        if each in params:
            raise WrongCall(f"{name}() got {each} twice")
    given.update(params)
    return given


def _quote(name: str, params: dict[str, Any], source: Any) -> None:
    """Replace `quote=True` by reply_parameters."""
    quote = params.pop("quote")
    if isinstance(quote, Quotable):
        source, quote = quote, True
    if not isinstance(quote, bool):
        raise WrongCall(f"quote of {name}() is of type {type(quote).__name__}, and must be bool")
    if quote:
        params.setdefault("reply_parameters", {"message_id": source._quoted(name)})  # noqa: SLF001 - of the same shortcut


def _name(name: str, params: dict[str, Any]) -> str:
    """Return the `name=` of a message, removed from the params."""
    try:
        return message_name(params.pop("name"))
    except (TypeError, ValueError) as error:
        raise WrongCall(f"{name}(): {error}") from None


def _fitting(name: str, filled: dict[str, Any], has: frozenset[str]) -> dict[str, Any]:
    """Return those of the filled-in parameters that the method has; WrongCall if they lead to where it cannot."""
    if filled.get("business_connection_id") and "business_connection_id" not in has:
        raise WrongCall(f"{name}(): Telegram has no such call on behalf of a business account")
    return {each: value for each, value in filled.items() if each in has}
