"""What all contexts of a bot share: who the bot is, its client, and what its author opened at the start."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from telegram.client import TgClient

T = TypeVar("T")

SHOWN_MAX: Final = 1_000  # far more than handlers that show their progress and run at the same time


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

    timers: frozenset[str] | None = None
    """Names of the timers that handlers take; None: any may be, or it is not known yet."""

    shown: dict[str, int] = field(default_factory=dict)
    """Progress messages by what they belong to, so that a handler that runs again goes on with its own."""

    answered: dict[str, None] = field(default_factory=dict)
    """Queries that were answered at once, so that a handler that runs again does not answer them again."""

    def note_answered(self, query: str) -> None:
        """Note that a query has its answer; the oldest is forgotten if they are too many."""
        self.answered[query] = None
        if len(self.answered) > SHOWN_MAX:
            del self.answered[next(iter(self.answered))]

    def remember(self, name: str, message_id: int | None) -> None:
        """Note where the progress `name` is shown; the oldest is forgotten if they are too many."""
        self.shown.pop(name, None)
        if message_id is not None:
            self.shown[name] = message_id
        if len(self.shown) > SHOWN_MAX:
            del self.shown[next(iter(self.shown))]

    @asynccontextmanager
    async def open(self, resources: list[Resource[Any]]) -> AsyncIterator[None]:
        """Open in order, close in reverse. ValueError says in one line which one could not be opened."""
        stack = AsyncExitStack()
        try:
            for resource in resources:
                try:
                    self.opened[resource] = await stack.enter_async_context(resource.opens())
                except (Exception, SystemExit) as error:  # SystemExit would leave by the event loop, past all
                    text = " ".join(str(error).split())  # one line, whatever the error says
                    raise ValueError(
                        f"cannot open {resource.name}: {type(error).__name__}: {text}"
                    ) from error
            yield
        finally:
            self.opened.clear()
            # Whatever ends the bot is no error of a resource: what stands behind its `yield` runs, `finally` or not.
            await stack.aclose()

    def use(self, resource: Resource[T]) -> T:
        """Return what the resource opened. RuntimeError if the bot does not run or does not know it."""
        try:
            found: T = self.opened[resource]
        except KeyError:
            raise RuntimeError(
                f"{resource.name} is not open: its router is not in the one that the bot runs"
            ) from None
        return found
