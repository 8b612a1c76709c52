"""The wiring of a bot, in one place for production, the sandbox, load tests and the test kit."""

import random
from collections.abc import Callable
from dataclasses import replace

from engine import Engine, Handler, Inbox, Observe, Queue, observed_handler, observed_store
from engine.store import FullStore
from telegram.client import TgClient
from telegram.client.peers import Peers
from telegram.dialogue import InboxHandler, Router, Tools
from telegram.service.observe import ObservedPoster, observer_of
from telegram.service.sender import Sender
from telegram.settings.bot_config import BotConfig


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
    ) -> None:
        """`wall` returns Unix time by Telegram's clock, `jitter` a float in [0, 1).

        `observe` and the router's observers are called with the events of telegram/service/observe.py.
        """
        self.router = router
        self.observe = observer_of([*router.observers(), *([] if observe is None else [observe])])
        """The observer, which does not raise. None: there is none."""

        self.peers = Peers()
        self.tools = Tools(client=client)
        self.handler = InboxHandler(
            router,
            tools=self.tools,
            peers=self.peers,
            conduct=config.conduct(),
            wall=wall,
            observe=self.observe,
        )
        handling = replace(config.handling(), log_failures=log_failures)
        handle: Handler = self.handler
        if self.observe is not None:
            store = observed_store(store, self.observe)
            handle = observed_handler(handle, self.observe)
        sender = Sender(
            client if self.observe is None else ObservedPoster(client, self.observe),
            peers=self.peers,
            unknown_outcome=config.unknown_outcome,
            per_s=config.messages_per_s,
            jitter=jitter,
        )
        send: Handler = sender if self.observe is None else observed_handler(sender, self.observe)
        self.handling = Engine(store, Queue.INBOX, handle, handling, jitter=jitter)
        self.sending = Engine(store, Queue.OUTBOX, send, config.sending(), jitter=jitter)
        self.inbox = Inbox(store, pending_max=config.pending_max)
        self.asked = list(config.allowed_updates or router.allowed_updates())
        """The kinds of update requested from Telegram (getUpdates, `allowed_updates`)."""
