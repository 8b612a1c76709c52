"""Which handler takes which update: the first match wins, in the order of writing."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from telegram.dialogue.context import Context
from telegram.dialogue.filters import Filter

Handler: TypeAlias = Callable[[Context], Awaitable[None]]
H = TypeVar("H", bound=Handler)


class _Route(NamedTuple):
    kind: str | None  # None: every kind
    filters: tuple[Filter, ...]
    handler: Handler

    def wants(self, ctx: Context) -> bool:
        if self.kind is not None and self.kind != ctx.kind:
            return False
        for passes in self.filters:  # noqa: SIM110 - all() of a generator costs as much again as the filters
            if not passes(ctx):
                return False
        return True


class Router:
    """A list of handlers, and of other routers. An update that nobody takes is acknowledged."""

    def __init__(self) -> None:
        self._entries: list[_Route | Router] = []

    def message(self, *filters: Filter) -> Callable[[H], H]:
        """Decorate a handler of new messages that pass all `filters`."""
        return self._on("message", filters)

    def callback_query(self, *filters: Filter) -> Callable[[H], H]:
        """Decorate a handler of pressed buttons that pass all `filters`."""
        return self._on("callback_query", filters)

    def update(self, *filters: Filter) -> Callable[[H], H]:
        """Decorate a handler of updates of any kind that pass all `filters`."""
        return self._on(None, filters)

    def include(self, other: "Router") -> None:
        """Ask `other` at this place in the order."""
        if other is self or other.includes(self):
            raise ValueError("a router cannot include itself")
        self._entries.append(other)

    def includes(self, other: "Router") -> bool:
        """Whether `other` is asked by this router, however deep."""
        return any(
            entry is other or entry.includes(other) for entry in self._entries if isinstance(entry, Router)
        )

    def match(self, ctx: Context) -> Handler | None:
        """The first handler that wants this update."""
        for entry in self._entries:
            if isinstance(entry, Router):
                handler = entry.match(ctx)
                if handler is not None:
                    return handler
            elif entry.wants(ctx):
                return entry.handler
        return None

    def _on(self, kind: str | None, filters: tuple[Filter, ...]) -> Callable[[H], H]:
        for passes in filters:
            if not callable(passes) or _is_async(passes):
                raise TypeError(
                    f"a filter is a plain function of the Context that returns a bool, not {passes!r}"
                )

        def register(handler: H) -> H:
            if not _is_async(handler):
                raise TypeError(f"a handler must be written with `async def`: {handler!r}")
            self._entries.append(_Route(kind, filters, handler))
            return handler

        return register


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__ is a handler, too
    )
