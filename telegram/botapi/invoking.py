"""The base of the generated methods: typed parameters to a call, and its result to a type."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from telegram.botapi import types
from telegram.botapi.errors import ServerTrouble


class Invoking(ABC):
    """Base of the generated methods."""

    @abstractmethod
    async def call(self, method: str, /, **params: Any) -> Any:
        """Call any method of the Bot API and return its `result`."""

    async def invoke(
        self, method: str, params: Mapping[str, Any], newer: Mapping[str, Any], returns: str
    ) -> Any:
        """Call `method` and parse its result as `returns`, a type expression of telegram/botapi/types.py."""
        given = {name: value for name, value in params.items() if value is not None}
        found = _read(returns, await self.call(method, **given, **newer))
        if found is ...:
            raise ServerTrouble(method, 200, f"HTTP 200, the result is no {returns}")
        return found


def _read(returns: str, result: Any) -> Any:
    """Parse a result; return `...` if that fails (no error, since its context or variables would contain the result)."""
    with suppress(ValidationError):
        return _reader(returns).validate_python(result)
    return ...


@cache
def _reader(returns: str) -> TypeAdapter[Any]:
    """Build the validator of a result type at its first use: all of them at once take a second."""
    return TypeAdapter(eval(returns, vars(types)))  # noqa: S307 - our own generated text
