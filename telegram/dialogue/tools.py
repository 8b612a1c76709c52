"""What all contexts of a bot share: who the bot is, its client, and what its author opened at the start."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from telegram.client import TgClient

T = TypeVar("T")


class Resource(Generic[T]):
    """Something that is opened when the bot starts and closed after its drain: a database pool, an HTTP session.

    `opens` returns an async context manager. Made by `Router.resource`; a handler gets the thing by `ctx.use`.
    """

    def __init__(self, opens: Callable[[], AbstractAsyncContextManager[T]], name: str) -> None:
        self.opens = opens
        self.name = name


@dataclass(slots=True)
class Tools:
    """Filled when the bot starts. `username` is the bot's own, without the "@"; None: not known."""

    username: str | None = None
    client: TgClient | None = None
    opened: dict[Resource[Any], Any] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self, resources: list[Resource[Any]]) -> AsyncIterator[None]:
        """Open in order, close in reverse. ValueError says in one line which one could not be opened."""
        async with AsyncExitStack() as stack:
            for resource in resources:
                try:
                    self.opened[resource] = await stack.enter_async_context(resource.opens())
                except Exception as error:
                    raise ValueError(
                        f"cannot open {resource.name}: {type(error).__name__}: {error}"
                    ) from error
            try:
                yield
            finally:
                self.opened.clear()

    def use(self, resource: Resource[T]) -> T:
        """Return what the resource opened. RuntimeError if the bot does not run or does not know it."""
        try:
            found: T = self.opened[resource]
        except KeyError:
            raise RuntimeError(
                f"{resource.name} is not open: its router is not in the one that the bot runs"
            ) from None
        return found
