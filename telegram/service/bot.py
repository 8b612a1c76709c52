"""One bot: a poller, an inbox, an outbox, and the order in which they start and stop."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from engine import PROGRAMMING_ERRORS, Engine, EngineConfig, Inbox, Queue, Running
from engine.store import FullStore
from telegram.botapi.decoding import warm_up
from telegram.botapi.errors import TelegramError, Unauthorized
from telegram.botapi.routing import URGENT
from telegram.botapi.types import User
from telegram.client import TgClient
from telegram.client.peers import Peers
from telegram.dialogue import Conduct, InboxHandler, Router, Tools
from telegram.dialogue.backlog import BACKLOG, BACKLOG_TEXT, read_backlog
from telegram.dialogue.conduct import APOLOGY, OLD_BUTTON, OTHERS_BUTTON, check_answer
from telegram.dialogue.kinds import log_kinds
from telegram.service.poller import Poller
from telegram.service.sender import Sender, UnknownOutcome

log = structlog.get_logger(__name__)

SEND_ATTEMPTS_MAX: Final = 10
"""With backoff about 10 minutes of 5xx for one call, before it becomes a dead letter."""

_SEND_TIMEOUT_S: Final = 6 * 3600.0
"""Far above the client's own time-outs, also for a large file; a call that is cut may be sent twice."""

_ASK_AGAIN_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class BotConfig:
    """Settings of one bot, each with its unit and its reason."""

    workers: int = 64
    """Handlers at a time."""

    senders: int = 64
    """Calls to Telegram at a time; each needs a connection."""

    messages_per_s: float = 30.0
    """Messages to all chats together at the most (telegram/service/pace.py); 0: neither this nor any other limit of ours."""

    handler_timeout_s: float = 60.0
    """A handler is cancelled after this long."""

    attempts_max: int = 5
    """Failures of one update before it goes to the dead letters."""

    retry_programming_errors: bool = False
    """Whether a handler's TypeError and the like (engine/mistakes.py) is tried again as other errors are."""

    drain_timeout_s: float = 25.0
    """How long a graceful stop may take: below the 30 s that supervisors give before they kill."""

    pending_max: int = 1_000_000
    """Updates that may wait in the inbox; above, polling waits."""

    poll_timeout_s: int = 50
    """How long one getUpdates may wait; Telegram clamps it to 50."""

    unknown_outcome: UnknownOutcome = "repeat"
    """A call of which nobody knows whether it was executed: "repeat" it (at least once), or "give-up" what would make
    something twice (at most once; a kill in the middle of a call can still repeat it)."""

    apology: str = APOLOGY
    """What a user is told when a handler has failed for good; nothing if it is empty."""

    old_button: str = OLD_BUTTON
    """What is answered to a press of a flow's button that belongs to an earlier question; nothing if it is empty."""

    others_button: str = OTHERS_BUTTON
    """What is answered to a press of a button that belongs to another user's flow; nothing if it is empty."""

    backlog: str = BACKLOG
    """What is done with messages that waited at Telegram's: "handle", "drop:SECONDS" or "tell:SECONDS" (dialogue/backlog.py)."""

    backlog_text: str = BACKLOG_TEXT
    """What "tell" sends to each private chat."""

    allowed_updates: Sequence[str] | None = None
    """Kinds of update to ask Telegram for; None: what the router's handlers take (`Router.allowed_updates`)."""

    def __post_init__(self) -> None:
        """Raise ValueError for an answer that Telegram would refuse."""
        check_answer(self.old_button)
        check_answer(self.others_button)
        read_backlog(self.backlog, self.backlog_text)

    def handling(self) -> EngineConfig:
        """Return the settings of the engine that handles updates."""
        return EngineConfig(
            workers=self.workers,
            handler_timeout_s=self.handler_timeout_s,
            attempts_max=self.attempts_max,
            programming_errors=self._mistakes(),
            urgent=URGENT,
        )

    def sending(self) -> EngineConfig:
        """Return the settings of the engine that sends calls."""
        return EngineConfig(
            workers=self.senders, handler_timeout_s=_SEND_TIMEOUT_S, attempts_max=SEND_ATTEMPTS_MAX
        )

    def conduct(self) -> Conduct:
        """Return how the bot behaves when a handler fails."""
        return Conduct(
            apology=self.apology,
            programming_errors=self._mistakes(),
            old_button=self.old_button,
            others_button=self.others_button,
            backlog=read_backlog(self.backlog, self.backlog_text),
        )

    def _mistakes(self) -> tuple[type[BaseException], ...]:
        return () if self.retry_programming_errors else PROGRAMMING_ERRORS


class Bot:
    """Runs until stopped. It owns neither the client nor the store: whoever made them closes them afterwards."""

    def __init__(
        self,
        client: TgClient,
        store: FullStore,
        router: Router,
        config: BotConfig | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng = rng or random.Random()  # of every pause's jitter
        self._config = config = config or BotConfig()
        self._client = client
        self._store = store
        self.peers = Peers()
        self._tools = Tools(client=client)
        self._handler = InboxHandler(
            router,
            tools=self._tools,
            peers=self.peers,
            behind=store,
            conduct=config.conduct(),
            wall=client.time,
            allow=lambda delivery, seconds: self._inbox.allow(delivery, seconds),  # noqa: PLW0108 - the engine comes next
        )
        self._inbox = Engine(
            store,
            Queue.INBOX,
            self._handler,
            config.handling(),
            farewell=self._handler.farewell,
            jitter=rng.random,
        )
        self._outbox = Engine(
            store,
            Queue.OUTBOX,
            Sender(
                client,
                peers=self.peers,
                unknown_outcome=config.unknown_outcome,
                per_s=config.messages_per_s,
                jitter=rng.random,
            ),
            config.sending(),
            jitter=rng.random,
        )
        self._stop = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self.me: User | None = None
        """Who the bot is, once it has started."""
        self.asked: list[str] = []
        """The kinds of update that it asks Telegram for, once it has started."""

    async def start(self) -> None:
        """Ask Telegram who we are, for as long as that takes, then start to work.

        Unauthorized for a bad token, ValueError for a resource of the router that cannot be opened.
        """
        warm_up()
        self.me = await self._ask_who_we_are()
        self._tools.username = self.me.username
        taken = self._handler.router.allowed_updates()
        self.asked = list(self._config.allowed_updates or taken)
        opened = asyncio.Event()
        self._main = asyncio.create_task(self._live(opened), name="bot")
        waiting = asyncio.create_task(opened.wait())
        try:
            await asyncio.wait({self._main, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not opened.is_set():
            failed, self._main = self._main, None
            await failed  # raises why
        log.info("started", bot=self.me.username, workers=self._config.workers)
        log_kinds(self.asked, taken)

    async def wait(self) -> None:
        """Return when the bot has stopped; raises what it died of, if it did not stop by request."""
        if self._main is not None:
            await asyncio.shield(self._main)

    async def stop(self) -> None:
        """Stop polling, let handlers finish, send what they replied, all within `drain_timeout_s`; lose nothing.

        What is not finished by then is handed back to the store. Cancelling this call stops at once.
        """
        self._stop.set()
        if self._main is not None:
            await self._main

    @property
    def dropped(self) -> Counter[str]:
        """How many updates no handler was given, by reason: "stale", "throttled", "backlog", "superseded"."""
        return self._handler.dropped.counts

    def running(self) -> tuple[list[Running], list[Running]]:
        """Return what the workers of the inbox and of the outbox do now."""
        return self._inbox.running(), self._outbox.running()

    async def _live(self, opened: asyncio.Event) -> None:
        async with self._tools.open(self._handler.router.resources()):
            opened.set()
            await self._run()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._outbox.start(group)
            self._inbox.start(group)
            # Not in the group: when the poller ends (its token was revoked), what runs still finishes.
            polling = Poller(
                self._client,
                Inbox(self._store, pending_max=self._config.pending_max, arrived=self._handler.arrived),
                poll_timeout_s=self._config.poll_timeout_s,
                allowed_updates=self.asked,
                rng=self._rng,
                wall=self._client.time,
            )
            poller = asyncio.create_task(polling.run(), name="poller")
            stop = asyncio.create_task(self._stop.wait(), name="stop")
            try:
                await asyncio.wait({poller, stop}, return_when=asyncio.FIRST_COMPLETED)
                await self._drain(poller)
            finally:
                for task in (poller, stop):
                    task.cancel()
                await asyncio.wait({poller, stop})
                self._handler.dropped.close()
        if not poller.cancelled() and (error := poller.exception()):
            raise error

    async def _drain(self, poller: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        allowed_s = self._config.drain_timeout_s
        log.info("stopping", running=len(self._inbox.running()))
        poller.cancel()
        self._handler.albums.is_stopping = True
        # The last fifth belongs to the replies: a call that is cut in the middle may be sent twice.
        await asyncio.gather(
            asyncio.wait([poller]),
            self._inbox.drain(started + allowed_s * 0.8 - 1.0),
        )
        await self._outbox.settle(started + allowed_s * 0.9 - 1.0)
        await self._outbox.drain(started + allowed_s - 1.0)
        stats = await self._store.stats()
        log.info(
            "stopped",
            took_s=round(loop.time() - started, 2),
            updates_kept=stats.inbox.pending,
            calls_kept=stats.outbox.pending,
        )

    async def _ask_who_we_are(self) -> User:
        pause_s = 0.5
        while True:
            try:
                return await self._client.get_me()
            except Unauthorized:
                raise
            except TelegramError as error:
                log.warning("Telegram cannot be reached: trying again", reason=str(error), wait_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(_ASK_AGAIN_MAX_S, pause_s * 2)
