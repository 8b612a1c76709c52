"""What all contexts of a bot share: its username, its client, and its resources."""

import inspect
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from telegram.botapi.kept_files import ON_ONE_MACHINE, KeptFiles
from telegram.client import TgClient
from telegram.dialogue.contexts.signature import annotations_of
from telegram.dialogue.languages.texts import Languages

if TYPE_CHECKING:
    from engine.store import Database
    from telegram.dialogue.contexts.defaults import Defaults
    from telegram.dialogue.contexts.streaming import Pacing

T = TypeVar("T")

SHOWN_MAX: Final = 1_000  # far more than handlers that run at the same time


class Post(Protocol):
    """`Bot.post`, for a resource that brings events from outside."""

    async def __call__(
        self,
        chat_id: int,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        id: str | int | None = None,  # noqa: A002 - as of Bot.post
        user_id: int | None = None,
        topic: int | None = None,
    ) -> None:
        """Post an event to the lane of a chat."""


class Resource(Generic[T]):
    """An object opened when the bot starts and closed after its drain, e.g. a database pool or an HTTP session.

    `opens` returns an async context manager; it takes nothing, `Post`, or by its annotation the `TgClient`: what is before its
    `yield` runs at the start, what is behind it at the stop. Created by `Router.resource`; a handler gets the value by
    `ctx.use`.
    """

    def __init__(self, opens: Callable[..., AbstractAsyncContextManager[T]], name: str) -> None:
        self.opens = opens
        self.name = name
        hints = annotations_of(inspect.unwrap(opens))
        needed = [each for each in inspect.signature(opens).parameters.values() if each.default is each.empty]
        self._takes = [hints.get(each.name) for each in needed]

    def open(self, client: TgClient | None, post: Post | None) -> AbstractAsyncContextManager[T]:
        """Return the context manager, opened with what it takes: the client, `Post`, both, or nothing."""
        return self.opens(*(client if asked is TgClient else post for asked in self._takes))


@dataclass(slots=True)
class Tools:
    """Filled when the bot starts. `username` is the bot's own, without the "@"; None: unknown."""

    username: str | None = None
    client: TgClient | None = None
    opened: dict[Resource[Any], Any] = field(default_factory=dict)

    defaults: "Defaults | None" = None
    """Parse mode and link previews of collected calls; None: Telegram's own."""

    pace: "Pacing | None" = None
    """The rate limiter of the sender, for growing answers; None: no limits."""

    post: Post | None = None
    """Posts an event from outside, for resources; None: there is no bot."""

    database: "Database | None" = None
    """The store, if it runs the author's own SQL."""

    files: KeptFiles = ON_ONE_MACHINE
    """Where the files of calls wait."""

    texts: Languages = field(default_factory=Languages)
    """The texts in the bot's languages."""

    wall: Callable[[], float] = time.time
    """Returns Unix time, by Telegram's clock."""

    timers: frozenset[str] | None = None
    """Names of the timers that have handlers; None: any, or not known yet."""

    shared: Collection[str] = ()
    """Names of the shared data that routers declare (telegram/dialogue/state/shared.py)."""

    shown: dict[str, int] = field(default_factory=dict)
    """Message ids of progress messages and growing answers by name, so that a handler that runs again continues with its own."""

    answered: dict[str, None] = field(default_factory=dict)
    """Queries that were answered by `answer_now`, so that they are not answered again."""

    warned: set[str] = field(default_factory=set)
    """Places in the code that call Telegram while a transaction is open."""

    def note_answered(self, query: str) -> None:
        """Record that a query was answered; above SHOWN_MAX the oldest is dropped."""
        self.answered[query] = None
        if len(self.answered) > SHOWN_MAX:
            del self.answered[next(iter(self.answered))]

    def remember(self, name: str, message_id: int | None) -> None:
        """Record the message of the progress `name`; above SHOWN_MAX the oldest is dropped."""
        self.shown.pop(name, None)
        if message_id is not None:
            self.shown[name] = message_id
        if len(self.shown) > SHOWN_MAX:
            del self.shown[next(iter(self.shown))]

    @asynccontextmanager
    async def open(self, resources: list[Resource[Any]]) -> AsyncIterator[None]:
        """Open resources in order, close them in reverse. ValueError, one line, for one that could not be opened."""
        stack = AsyncExitStack()
        try:
            for resource in resources:
                try:
                    self.opened[resource] = await stack.enter_async_context(
                        resource.open(self.client, self.post)
                    )
                except (Exception, SystemExit) as error:  # SystemExit would skip the cleanup
                    text = " ".join(str(error).split())  # one line, whatever the error says
                    raise ValueError(
                        f"cannot open {resource.name}: {type(error).__name__}: {text}"
                    ) from error
            yield
        finally:
            self.opened.clear()
            # Closed as after success, whatever ends the bot: the code after a resource's `yield` always runs.
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
