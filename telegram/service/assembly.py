"""The wiring of a bot, in one place for production, the sandbox, load tests and the test kit."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import structlog

from engine import (
    Engine,
    Handler,
    Inbox,
    Observe,
    Queue,
    SqlFailed,
    StoreError,
    StoreUnavailable,
    TooManyTimers,
    metered_store,
    observed_handler,
    observed_store,
)
from engine.meter import Meter
from engine.sharing import Sharing
from engine.store import FullStore
from telegram.botapi.kept_files import KeptFiles
from telegram.client import TgClient
from telegram.client.peers import Peers
from telegram.dialogue import InboxHandler, Router, Tools
from telegram.dialogue.router.refusals import wanted_by
from telegram.dialogue.router.table import Table
from telegram.dialogue.routes.events import check_event, posted
from telegram.dialogue.routes.schedules import looks
from telegram.service.observe import ObservedPoster, observer_of
from telegram.service.pace import Pace
from telegram.service.sender import CallMeter, Poster, Sender
from telegram.settings.bot_config import BotConfig

log = structlog.get_logger(__name__)


class BotMeter(CallMeter, Protocol):
    """Counts what happens in a bot; also an observer."""

    def __call__(self, event: Any) -> None:
        """Count an event."""
        ...

    def of(self, queue: Queue) -> Meter:
        """Return the meter of one queue's pool."""
        ...


class Traces(Protocol):
    """Traces what happens in a bot, by wrappers (telegram/tracing/tracing.py)."""

    def store(self, store: FullStore) -> FullStore:
        """Return the store, traced."""
        ...

    def handler(self, handler: Handler) -> Handler:
        """Return the handler of a queue, traced, with its hooks."""
        ...

    def poster(self, poster: Poster) -> Poster:
        """Return what the sender sends by, traced."""
        ...

    def observe(self, event: Any) -> None:
        """Note an event of telegram/dialogue/routes/observe.py."""
        ...


class Assembly:
    """The parts of one bot, not started: two engines over one store, the handler of updates, and the inbox."""

    def __init__(
        self,
        client: TgClient,
        store: FullStore,
        router: Router,
        config: BotConfig,
        *,
        wall: Callable[[], float],
        jitter: Callable[[], float] = random.random,
        log_failures: bool = True,
        observe: Observe | None = None,
        meter: BotMeter | None = None,
        traces: Traces | None = None,
    ) -> None:
        """`wall` returns Unix time by Telegram's clock, `jitter` a float in [0, 1).

        `observe` and the router's observers are called with the events of telegram/service/observe.py. A meter is told the
        frequent things by calls, which is cheaper (engine/meter.py), unless there are observers: then it is one of them.
        """
        table = Table(router)  # what is wrong in the router is an error here
        self.router = router
        watched, meter = _watched([*router.observers(), observe], meter)
        self.observe = watched or observer_of([] if meter is None else [meter])
        """The observer, which does not raise. None: there is none."""

        self.peers = Peers(drops=config.unreachable == "drop")
        pace = _pace(config.messages_per_s, store.sharing, jitter)
        files = KeptFiles(config.files_dir, is_shared=store.sharing.is_shared)
        self.tools = Tools(client=client, database=store.database, pace=pace, files=files)
        routed = watched if traces is None else observer_of([*filter(None, [watched]), traces.observe])
        self.handler = InboxHandler(
            router,
            tools=self.tools,
            peers=self.peers,
            conduct=config.conduct(),
            wall=wall,
            observe=routed,
        )
        store, poster = _reporting(store, client, watched, meter, traces)
        sender = Sender(
            poster,
            peers=self.peers,
            unknown_outcome=config.unknown_outcome,
            pace=pace,
            jitter=jitter,
            refused=wanted_by(router.entries()),
            meter=meter,
            files=files,
            sharing=store.sharing,
        )
        handle, send = _reports(self.handler, watched, traces), _reports(sender, watched, traces)
        meters = [None if meter is None else meter.of(queue) for queue in Queue]
        handling = replace(config.handling(), log_failures=log_failures)
        self.handling = Engine(store, Queue.INBOX, handle, handling, jitter=jitter, meter=meters[0])
        self.sending = Engine(store, Queue.OUTBOX, send, config.sending(), jitter=jitter, meter=meters[1])
        self.inbox = Inbox(store, pending_max=config.pending_max)
        self.events, self._jobs = table.events, table.jobs.values()
        """Names of the events that have handlers (None: a handler may handle any), and the jobs."""
        self.asked = list(config.allowed_updates or router.allowed_updates())
        """The kinds of update requested from Telegram (getUpdates, `allowed_updates`)."""

    async def post(
        self,
        chat_id: int,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        id: str | int | None = None,  # noqa: A002 - as of Bot.post
        user_id: int | None = None,
        topic: int | None = None,
    ) -> None:
        """Store an event, as `Bot.post`."""
        check_event(name, self.events)
        post = posted(chat_id, name, payload, id, user_id, topic)
        try:
            await self.inbox.post((post,))
        except TooManyTimers as error:
            raise StoreUnavailable(str(error)) from None

    async def create_tables(self) -> None:
        """Create the tables that routers declare. ValueError, one line, if that cannot be done."""
        for script in self.router.scripts():
            database = self.tools.database
            if database is None:
                raise ValueError(
                    "router.tables() needs a database: set STORE_URL to sqlite:FILE or postgres://..."
                )
            try:
                await database.create_tables(script)
            except (SqlFailed, StoreUnavailable) as error:
                raise ValueError(f"cannot create the tables of a router: {error}") from None

    async def begin_jobs(self) -> None:
        """Let the jobs begin: their lanes look at the time, and at a changed schedule. Returns when that is stored."""
        for post in looks(self._jobs):
            pause_s = 1.0
            while True:
                try:
                    await self.inbox.post((post,))
                except (TooManyTimers, StoreError):  # the latter ends the bot elsewhere
                    log.exception("a job cannot begin", key=post.key)
                except StoreUnavailable:
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, 30.0)
                    continue
                break


def _reporting(
    store: FullStore, poster: Poster, watched: Observe | None, meter: BotMeter | None, traces: Traces | None
) -> tuple[FullStore, Poster]:
    """Return both, wrapped so that they report to traces, observers and the meter; unchanged if there are none."""
    if traces is not None:
        store, poster = traces.store(store), traces.poster(poster)
    if meter is not None:
        store = metered_store(store, meter)
    elif watched is not None:
        store, poster = observed_store(store, watched), ObservedPoster(poster, watched)
    return store, poster


def _reports(handler: Handler, watched: Observe | None, traces: Traces | None) -> Handler:
    """Return the handler, wrapped so that it reports to traces and observers."""
    traced = handler if traces is None else traces.handler(handler)
    return traced if watched is None else observed_handler(traced, watched)


def _watched(
    observers: Sequence[Observe | None], meter: BotMeter | None
) -> tuple[Observe | None, BotMeter | None]:
    """Return one observer of all events, and None; or None and the meter, if there is no other observer."""
    others = [each for each in observers if each is not None]
    if not others:
        return None, meter
    return observer_of(others if meter is None else [*others, meter]), None


def _pace(per_s: float, sharing: Sharing, jitter: Callable[[], float]) -> Pace | None:
    return Pace(per_s, jitter, lambda: sharing.part_of_lanes) if per_s else None
