"""A bot in a unit test: the production code from the update to the call, in virtual time and without a network."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

from engine import DeadLetter, Park, Queue, Reject
from engine.observe import Handled
from engine.stores.memory import MemoryStore
from telegram.botapi.intake import UPDATES_MAX, split
from telegram.client.peers import Unreachable
from telegram.dialogue import Router
from telegram.service.assembly import Assembly
from telegram.service.incoming import take_in
from telegram.settings.bot_config import BotConfig
from telegram.testing.blocked import BlockedLoop
from telegram.testing.chats import Chat, Group
from telegram.testing.client import Sent, WorldClient
from telegram.testing.scene import Scene
from telegram.testing.virtual import DeadlockError, VirtualLoop

T = TypeVar("T")

START: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""Default start time of a test: a Monday at noon."""


class Conversations:
    """Runs a bot with `router` for the simulated users of a test; `with` starts and stops it.

    Plain functions, no `await`: it has its own event loop, whose clock moves only while all tasks wait. A turn returns when
    all that it caused has been handled and sent. Exceptions of handlers are raised by the turn; a handler that blocks the
    event loop for half a second causes a RuntimeWarning with its file and line.
    """

    def __init__(
        self,
        router: Router,
        *,
        config: BotConfig | None = None,
        username: str = "test_bot",
        start: datetime = START,
    ) -> None:
        self._router = router
        self._config = config or BotConfig()
        self._start = start.timestamp()
        self._loop: VirtualLoop | None = None
        self.scene = Scene(username, self._wall)
        """The users, chats and messages; for actions without a method here: block, kick, vote, migrate, ..."""
        self._client = WorldClient(self.scene)
        self._store = MemoryStore(wall=self._wall)
        self._people: dict[str, int] = {}
        self._known_dead = 0
        self._offset = 0
        self._failed: list[Exception] = []  # not raised by a turn yet
        self.failures: list[Exception] = []
        """Failures in turns with `failing=True`: exceptions of handlers, refused calls."""

    # ---- chats

    def chat(self, name: str) -> Chat:
        """The private chat with the person of this name, always the same; the person has started the bot."""
        user_id = self.member(name)
        self.scene.start(user_id)
        return Chat(self, user_id, user_id)

    def group(self, title: str, **fields: Any) -> Group:
        """Return a new supergroup with the bot; `fields` as in `World.group`: kind="channel", is_forum=True."""
        return Group(self, self.scene.add_group(title, [], **fields)["id"])

    def member(self, name: str) -> int:
        """The id of the user of this name. Telegram refuses private messages of the bot to users who have no `chat` with it."""
        if name not in self._people:
            self._people[name] = self.scene.add_user(name, has_started=False)["id"]
        return self._people[name]

    # ---- actions and time

    @property
    def now(self) -> datetime:
        """The test's time, used by timers and updates; Python's own clocks (`time`, `datetime`) are not affected."""
        return datetime.fromtimestamp(self._wall(), UTC)

    def passes(self, *, failing: bool = False, **time: float) -> None:
        """Let time pass: `passes(minutes=10)`, arguments as of timedelta. What is due at its end happens, too."""
        self._go(self._clock.time() + timedelta(**time).total_seconds())
        self._raise_failures(failing=failing)

    def settles(self, *, failing: bool = False) -> None:
        """Wait until all running handlers have ended and their calls are sent; pending timers stay."""
        next_at = self._go(self._clock.time())
        while self._is_busy():
            if next_at is None:
                raise DeadlockError("a handler waits for something that cannot happen")
            next_at = self._go(next_at)
        self._raise_failures(failing=failing)

    def happens(self, *, wait: bool = True, failing: bool = False) -> None:
        """Deliver updates caused directly in `scene` to the bot, as by `bot.scene.block(7)`."""
        self._finish(self._accept)
        if wait:
            self.settles(failing=failing)
        else:
            self.passes(failing=failing)

    def post(
        self,
        chat: int,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        id: str | int | None = None,  # noqa: A002 - as of Bot.post
        user_id: int | None = None,
        topic: int | None = None,
        wait: bool = True,
        failing: bool = False,
    ) -> None:
        """Post an event, as `Bot.post`: to the chat of this id, `alice.id` or `team.id`."""
        self._finish(lambda: self._parts.post(chat, name, payload, id=id, user_id=user_id, topic=topic))
        if wait:
            self.settles(failing=failing)

    def restart(self) -> None:
        """Stop the bot at once and start it again on the same store: running handlers are cancelled, and run again."""
        self._stop()
        self._finish(self._store.close)
        self._store = self._store.peer()
        self._begin()

    # ---- results

    def calls(self, method: str | None = None) -> list[Sent]:
        """Return all calls of the bot, or those of one method, oldest first."""
        return [each for each in self._client.sent if method in {None, each.method}]

    def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters, newest first: updates that were given up, and refused calls."""
        return self._finish(self._store.dead_letters)

    def dropped(self) -> dict[str, int]:
        """The number of updates dropped since the start, by reason: "stale", "throttled", "backlog", "superseded", "busy"."""
        return dict(self._parts.handler.dropped.counts)

    def unreachable(self) -> dict[int | str, Unreachable]:
        """The chats that cannot be reached, by id: Telegram's reason, and the number of calls that were dropped."""
        return self._parts.peers.unreachable()

    # ---- start and stop

    def __enter__(self) -> Self:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise TypeError(
                "Conversations has a loop of its own: write the test as `def`, not as `async def`"
            )
        with ExitStack() as stack:
            runner = stack.enter_context(asyncio.Runner(loop_factory=VirtualLoop))
            self._loop = cast("VirtualLoop", runner.get_loop())
            self._blocked = BlockedLoop(self._loop)
            stack.callback(self._blocked.close)
            self._begin()
            stack.callback(self._stop)
            self._ends = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def _begin(self) -> None:
        self._stopping = False
        config = self._config
        self._parts = Assembly(
            self._client,
            self._store,
            self._router,
            replace(config, messages_per_s=0),  # a test is not slower than its handlers
            wall=self._wall,
            jitter=_no_jitter,
            log_failures=False,  # the turn raises them
            observe=self._observe,
        )
        self._parts.tools.post = self._parts.post
        self._parts.tools.username = self.scene.bot["username"]
        self.scene.queue.allow(self._parts.asked)
        self._main = self._clock.create_task(self._live())
        self._finish(self._parts.begin_jobs)
        self._go(self._clock.time())

    async def _live(self) -> None:
        parts = self._parts
        await parts.create_tables()
        async with parts.tools.open(self._router.resources()), asyncio.TaskGroup() as group:
            for engine in (parts.handling, parts.sending):
                engine.start(group)

    def _observe(self, event: object) -> None:
        """Record the errors that handlers of updates raise."""
        if not isinstance(event, Handled) or event.delivery.lease.queue is Queue.OUTBOX:
            return
        match event.outcome:
            case asyncio.CancelledError() if not self._stopping:
                self._failed.append(TimeoutError("the handler was cut off: it ran too long"))
            case Park() | Reject():
                pass  # the latter is among the dead letters
            case Exception() as error:
                self._failed.append(error)

    async def _accept(self) -> None:
        """Append updates as the poller does, until none is left."""
        while raw := self.scene.queue.read(self._offset, UPDATES_MAX):
            updates = split(b'{"ok":true,"result":[%b]}' % b",".join(raw))
            self._offset = updates[-1].update_id + 1
            inbox = self._parts.inbox
            await take_in(inbox, await inbox.right(), updates, self._wall(), self._parts.observe)

    def _stop(self) -> None:
        """Stop at once, as the bot does: cancel and release running handlers, then close the resources."""
        self._stopping = True
        for engine in (self._parts.handling, self._parts.sending):
            self._finish(lambda: engine.drain(self._clock.time()))  # noqa: B023 - called here
        self._finish(lambda: self._main)
        self._parts.handler.dropped.close()

    # ---- time

    def _wall(self) -> float:
        return self._start + (self._loop.time() if self._loop else 0.0)

    @property
    def _clock(self) -> VirtualLoop:
        if self._loop is None or self._loop.is_closed():
            raise RuntimeError("the bot does not run: `with Conversations(router) as bot`")
        return self._loop

    def _go(self, moment: float) -> float | None:
        next_at = self._clock.run_to(moment)
        if self._main.done():
            self._main.result()  # raises the error that ended the bot
        return next_at

    def _finish(self, work: Callable[[], Awaitable[T]]) -> T:
        loop = self._clock
        return loop.run_until_complete(work())

    def _is_busy(self) -> bool:
        counts = [self._store.mine(queue) for queue in Queue]
        return any(each.ready or each.leased for each in counts)

    def _raise_failures(self, *, failing: bool) -> None:
        found, self._blocked.found = self._blocked.found, []
        for line in found:
            warnings.warn(line, RuntimeWarning, stacklevel=4)
        dead = [letter for letter in self.dead_letters() if letter.number > self._known_dead]
        self._known_dead += len(dead)
        self._failed += [
            AssertionError(f"a dead letter: {letter.reason}\n{letter.envelope.body.decode(errors='replace')}")
            for letter in reversed(dead)
        ]
        failed, self._failed = self._failed, []
        if failed and not failing:
            raise failed[0]
        self.failures += failed


def _no_jitter() -> float:
    return 0.0
