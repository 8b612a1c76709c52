"""The common tutorial design, wrong on purpose: a load test must detect it (`run.py load --engine tutorial`).

One poller puts updates into one asyncio.Queue, and workers take them from it. So two updates of one chat are handled at
the same time, queued updates are lost with the process although they were confirmed, and failed updates are lost.
"""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Final

import structlog

from engine import KEEP, Delivery, Effects, Handler, Lease, Queue, Work, observed_handler
from telegram.botapi.calls import decode_call
from telegram.botapi.errors import TelegramError
from telegram.botapi.routing import envelope
from telegram.client import TgClient
from telegram.dialogue import InboxHandler
from telegram.load.bot.entry_point import router
from telegram.service.logs import set_up_logging
from telegram.service.observe import observer_of

_AFTER_TROUBLE_S: Final = 1.0

log = structlog.get_logger()


class Tutorial:
    """A bot in forty lines."""

    def __init__(self, client: TgClient, workers: int) -> None:
        self._client = client
        self._workers = workers
        observe = observer_of(router.observers())
        self._handle: Handler = InboxHandler(router, observe=observe)
        if observe is not None:
            self._handle = observed_handler(self._handle, observe)
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._states: dict[tuple[str, str], bytes] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _poll(self) -> None:
        offset = 0
        while True:
            try:
                updates = await self._client.get_updates(offset, timeout_s=10)
            except TelegramError:
                await asyncio.sleep(_AFTER_TROUBLE_S)
                continue
            for update in updates:
                offset = update.update_id + 1
                found = envelope(update)
                self._queue.put_nowait(Delivery(Lease(Queue.INBOX, found.key, 0), found, 1, None))

    async def _work(self) -> None:
        while True:
            delivery = await self._queue.get()
            try:
                await self._do(delivery)
            except Exception:  # noqa: BLE001 - a tutorial's worker survives anything
                log.warning("an update failed", id=delivery.envelope.id)

    async def _do(self, delivery: Delivery) -> None:
        conversation = (delivery.envelope.key, delivery.envelope.scope)
        effects: Effects = await self._handle(Work(delivery._replace(state=self._states.get(conversation))))
        if isinstance(effects.state, bytes):
            self._states[conversation] = effects.state
        elif effects.state is not KEEP:
            self._states.pop(conversation, None)
        for call in effects.calls:
            await self._client.post(*decode_call(call.body))


async def main(url: str, token: str, workers: int) -> None:
    """Run until SIGTERM, which cancels all running handlers."""
    async with TgClient(token, base_url=url, connections=workers) as client:
        running = asyncio.create_task(Tutorial(client, workers).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        log.info("started")
        with suppress(asyncio.CancelledError):
            await running


if __name__ == "__main__":
    server, bot_token, worker_count = sys.argv[1:]
    set_up_logging("info", "json", bot_token)
    asyncio.run(main(server, bot_token, int(worker_count)))
