"""One bot: a poller, an inbox, an outbox, and the order in which they start and stop."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import structlog

from engine import Observe, Queue, Running, StoreError, StoreUnavailable
from engine.store import FullStore
from telegram.botapi.decoding import warm_up
from telegram.botapi.errors import TelegramError, Unauthorized
from telegram.botapi.types import User
from telegram.client import TgClient
from telegram.client.peers import Peers
from telegram.dialogue import Router
from telegram.dialogue.router.kinds import log_kinds
from telegram.dialogue.router.menus import menu_lists
from telegram.service.accepting import Accepting, Body
from telegram.service.assembly import Assembly, BotMeter, Traces
from telegram.service.menu import publish
from telegram.service.poller import Poller
from telegram.service.roles import watch_roles
from telegram.service.webhook import Webhook
from telegram.settings.bot_config import BotConfig
from telegram.settings.webhook import WebhookConfig

__all__ = ["Bot", "BotConfig"]

log = structlog.get_logger(__name__)

_LEAVE_S: Final = 2.0
_ASK_AGAIN_MAX_S: Final = 30.0


class Bot:
    """Runs until stopped. It does not own the client and the store: the caller closes them afterwards."""

    def __init__(
        self,
        client: TgClient,
        store: FullStore,
        router: Router,
        config: BotConfig | None = None,
        *,
        rng: random.Random | None = None,
        observe: Observe | None = None,
        meter: BotMeter | None = None,
        traces: Traces | None = None,
        webhook: WebhookConfig | None = None,
    ) -> None:
        """`webhook`: updates come by it, or by `accept`; None: they are polled. `observe` is called with the events of engine/observe.py and telegram/service/observe.py; it must not block. `meter`: the metrics of telegram/metrics, `traces`: those of telegram/tracing.

        ValueError if the router has more commands for its menu than Telegram allows.
        """
        self._rng = rng = rng or random.Random()  # for the jitter of all pauses
        self._config = config = config or BotConfig()
        self._client = client
        self._webhook = webhook
        self._store = store
        self._parts = Assembly(
            client,
            store,
            router,
            config,
            wall=client.time,
            jitter=rng.random,
            observe=observe,
            meter=meter,
            traces=traces,
        )
        self._parts.tools.post = self.post
        self._accepting = Accepting(self._parts.inbox, wall=client.time, observe=self._parts.observe)
        self._lists = menu_lists(router)
        self._stop = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self.me: User | None = None
        """The bot's own user, after `start`."""

    async def start(self) -> None:
        """Call getMe until Telegram answers, then start to work.

        Unauthorized for an invalid token, ValueError for a resource of the router that cannot be opened.
        """
        warm_up()
        self.me = await self._ask_who_we_are()
        self._parts.tools.username = self.me.username
        opened = asyncio.Event()
        self._main = asyncio.create_task(self._live(opened), name="bot")
        waiting = asyncio.create_task(opened.wait())
        try:
            await asyncio.wait({self._main, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not opened.is_set():
            failed, self._main = self._main, None
            await failed  # raises the reason
        log.info("started", bot=self.me.username, workers=self._config.workers)
        log_kinds(self.asked, self._parts.router.allowed_updates())

    async def wait(self) -> None:
        """Return when the bot has stopped; raises the error that ended it, unless it was asked to stop."""
        if self._main is not None:
            await asyncio.shield(self._main)

    async def stop(self) -> None:
        """Stop polling, let handlers finish, and send their replies, all within `drain_timeout_s`; nothing is lost.

        What is not finished by then is released to the store. Cancelling this call stops at once.
        """
        self._stop.set()
        self._parts.handling.hold()
        if self._main is not None:
            await self._main

    async def post(
        self,
        chat_id: int,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        id: str | int | None = None,  # noqa: A002 - the word of those who call it
        user_id: int | None = None,
        topic: int | None = None,
    ) -> None:
        """Post an event for `@router.event(name)` to the lane of a chat, after what is pending there; durable on return.

        An event with the `id` of one of the same name that was handled in the chat has no effect: for 48 hours from the
        post, and among the last 1,000 of the chat. So after an error, or a kill, call it again with the same id. `user_id`
        (in a private chat its user) names whose `data` and flows the handler gets, `topic` the topic (0: a forum's general
        one). `payload` is plain JSON (else NotKept), 64 KiB at most. ValueError or TypeError for wrong arguments and an
        event without a handler, RuntimeError if the bot does not run, StoreUnavailable if it cannot be stored now.
        """
        self._check_runs("post()")
        await self._parts.post(chat_id, name, payload, id=id, user_id=user_id, topic=topic)

    async def accept(self, update: Body) -> None:
        """Take in one update that another web application received; durable on return, so answer 200 only then.

        A repeated update_id is ignored. ValueError if it is no update (answer 400), StoreUnavailable if it cannot be stored
        now, RuntimeError if the bot does not run (answer 503: Telegram sends it again). Check the secret before.
        """
        self._check_runs("accept()")
        if not self.takes_in:
            raise RuntimeError("accept() needs a process that takes updates in: its role is work")
        await self._accepting.accept(update)

    @property
    def is_started(self) -> bool:
        """Whether it handles updates."""
        return self._main is not None and not self._main.done()

    @property
    def takes_in(self) -> bool:
        """Whether it polls, or listens for the webhook, when it has the right to."""
        return self._config.role != "work"

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    @property
    def peers(self) -> Peers:
        """Chats that cannot be reached, and groups that continue under another id."""
        return self._parts.peers

    @property
    def asked(self) -> list[str]:
        """The kinds of update requested from Telegram (getUpdates, `allowed_updates`)."""
        return self._parts.asked

    @property
    def dropped(self) -> Counter[str]:
        """Number of updates that were dropped before a handler, by reason: "stale", "throttled", "backlog", "superseded", "busy"."""
        return self._parts.handler.dropped.counts

    def running(self) -> tuple[list[Running], list[Running]]:
        """Return the running handlers of the inbox and the running calls of the outbox."""
        return self._parts.handling.running(), self._parts.sending.running()

    def _check_runs(self, call: str) -> None:
        if not self.is_started or self.is_stopping:
            raise RuntimeError(f"{call} needs a running bot: call it between start() and stop()")

    async def _live(self, opened: asyncio.Event) -> None:
        await self._parts.create_tables()
        async with self._parts.tools.open(self._parts.router.resources()):
            opened.set()
            await self._run()

    async def _run(self) -> None:
        parts = self._parts
        async with asyncio.TaskGroup() as group:
            parts.sending.start(group)
            parts.handling.start(group)
            # Not in the group: if the poller ends (token revoked), running handlers still finish.
            poller = asyncio.create_task(self._take_in(), name="poller")
            roles = asyncio.create_task(watch_roles(self._store.sharing), name="roles")
            stop = asyncio.create_task(self._stop.wait(), name="stop")
            menu = asyncio.create_task(publish(self._client, self._lists), name="menu")
            jobs = asyncio.create_task(parts.begin_jobs(), name="jobs")
            try:
                await asyncio.wait({poller, stop}, return_when=asyncio.FIRST_COMPLETED)
                await self._drain(poller)
            finally:
                for task in (poller, stop, menu, jobs, roles):
                    task.cancel()
                await asyncio.wait({poller, stop, menu, jobs, roles})
                parts.handler.dropped.close()
        if not poller.cancelled() and (error := poller.exception()):
            raise error

    async def _take_in(self) -> None:
        """Take updates in until cancelled; a process with the role "work" leaves that to others."""
        if self.takes_in:
            await self._source().run()
        else:
            await asyncio.Event().wait()

    def _source(self) -> Poller | Webhook:
        parts = self._parts
        if self._webhook is not None:
            return Webhook(
                self._client,
                parts.inbox,
                self._accepting,
                self._webhook,
                allowed_updates=self.asked,
                rng=self._rng,
            )
        return Poller(
            self._client,
            parts.inbox,
            poll_timeout_s=self._config.poll_timeout_s,
            allowed_updates=self.asked,
            rng=self._rng,
            wall=self._client.time,
            observe=parts.observe,
        )

    async def _drain(self, poller: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        allowed_s = self._config.drain_timeout_s
        log.info("stopping", running=len(self._parts.handling.running()))
        poller.cancel()
        self._parts.handler.albums.is_stopping = True
        # The last fifth is for the replies: a call that is cancelled while it is sent may be sent twice.
        await asyncio.gather(
            asyncio.wait([poller]),
            self._leave(),
            self._parts.handling.drain(started + allowed_s * 0.8 - 1.0),
        )
        await self._parts.sending.settle(started + allowed_s * 0.9 - 1.0)
        await self._parts.sending.drain(started + allowed_s - 1.0)
        log.info(
            "stopped",
            took_s=round(loop.time() - started, 2),
            calls_dropped=self.peers.dropped,
            updates_kept=self._store.mine(Queue.INBOX).pending,
            calls_kept=self._store.mine(Queue.OUTBOX).pending,
        )

    async def _leave(self) -> None:
        """Let other processes handle the chats of which no handler runs."""
        try:
            async with asyncio.timeout(_LEAVE_S):
                await self._store.leave()
        except (StoreUnavailable, StoreError, TimeoutError) as error:
            log.debug("other processes wait for the end of this one", reason=str(error))

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
