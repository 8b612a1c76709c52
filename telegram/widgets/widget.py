"""What the widgets share: the name in front of their callback data, and the wrapper around the author's handler."""

import re
from collections.abc import Callable
from functools import wraps
from inspect import isroutine
from typing import Any, Final, Generic, Optional, Protocol, TypeVar, get_type_hints

from telegram.botapi.shortcuts import current
from telegram.botapi.types import InlineKeyboardButton
from telegram.dialogue.contexts.updates import CallbackContext
from telegram.dialogue.filters.builtin import Extract
from telegram.dialogue.routes.route import Handler

T = TypeVar("T")
H = TypeVar("H", bound=Handler)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,15}")


class Place(Protocol):
    """Where a widget's handler is added: a Router, or `flow.at(state)`."""

    @property
    def callback_query(self) -> Any:
        """The decorator for handlers of pressed buttons."""
        ...


class Press(str):
    """The callback data of one of a widget's buttons, without the widget's name."""

    __slots__ = ()


class Widget(Generic[T]):
    """A keyboard whose buttons carry `name:`; a subclass says what a press means."""

    def __init__(self, name: str, type_: type[T]) -> None:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"a widget's name has 1 to 16 letters from a to z, digits and _, not {name!r}")
        self.name = name
        self._prefix = f"{name}:"
        self._pressed: Extract[T] = Extract(type_, self._read, f"{name} button")

    def on(self, place: Place) -> Callable[[H], H]:
        """Decorate the handler of what the user chooses: an argument as of an extract, after the context (in a flow: the data)."""

        def register(handler: H) -> H:
            @wraps(handler)
            async def pressed(*given: Any) -> Any:
                ctx = current.get()
                if not isinstance(ctx, CallbackContext):
                    raise TypeError(f"{self.name}: a widget's handler is for pressed buttons")
                press = self._read(ctx)
                chosen = None if press is None else await self.choose(ctx, press)
                if chosen is None:
                    return None
                return await handler(*(chosen if isinstance(each, Press) else each for each in given))

            pressed.__annotations__ = _with_none(handler)
            place.callback_query(self._pressed)(pressed)
            return handler

        return register

    async def choose(self, ctx: CallbackContext, press: Press) -> T | None:
        """Return what the user chose; None if the widget has handled the press itself."""
        raise NotImplementedError

    def button(self, text: str, data: str = "") -> InlineKeyboardButton:
        """Return a button of the widget; without data it does nothing."""
        return InlineKeyboardButton(text=text, callback_data=f"{self._prefix}{data}")

    def _read(self, ctx: Any) -> Any:
        data = ctx.button
        return (
            Press(data[len(self._prefix) :]) if data is not None and data.startswith(self._prefix) else None
        )


def _with_none(handler: Handler) -> dict[str, Any]:
    """Return the handler's annotations, with None as one more result: in a flow a turned page stays in the state."""
    function = handler if isroutine(handler) else type(handler).__call__
    hints = get_type_hints(function)
    if "return" in hints:
        result: Any = hints["return"]
        hints["return"] = Optional[result]  # noqa: UP045 - of a value
    return hints
