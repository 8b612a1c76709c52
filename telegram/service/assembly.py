"""The wiring of a bot, in one place for production, the sandbox, load tests and the test kit."""

import random
from collections.abc import Callable
from dataclasses import replace

from engine import Engine, FullHandler, Inbox, Queue
from engine.store import FullStore
from telegram.client import TgClient
from telegram.client.peers import Peers
from telegram.dialogue import InboxHandler, Router, Tools
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
        renew_every_s: float | None = None,
        around: Callable[[FullHandler], FullHandler] = lambda handler: handler,
    ) -> None:
        """`wall` returns Unix time by Telegram's clock, `jitter` a float in [0, 1).

        `around` wraps the handler of the inbox, for an observer of its outcomes.
        """
        self.router = router
        self.peers = Peers()
        self.tools = Tools(client=client)
        self.handler = InboxHandler(
            router,
            tools=self.tools,
            peers=self.peers,
            conduct=config.conduct(),
            wall=wall,
        )
        handling, sending = config.handling(), config.sending()
        if renew_every_s is not None:
            handling = replace(handling, renew_every_s=renew_every_s)
            sending = replace(sending, renew_every_s=renew_every_s)
        self.handling = Engine(
            store,
            Queue.INBOX,
            around(self.handler),
            handling,
            jitter=jitter,
        )
        sender = Sender(
            client,
            peers=self.peers,
            unknown_outcome=config.unknown_outcome,
            per_s=config.messages_per_s,
            jitter=jitter,
        )
        self.sending = Engine(store, Queue.OUTBOX, sender, sending, jitter=jitter)
        self.inbox = Inbox(store, pending_max=config.pending_max)
        self.asked = list(config.allowed_updates or router.allowed_updates())
        """The kinds of update requested from Telegram (getUpdates, `allowed_updates`)."""
