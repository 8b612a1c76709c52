"""A bot's two queues on either store and on virtual time: updates go in, calls come out with the moment of each."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from engine import Effects, Engine, EngineConfig, Queue, Work
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import open_sqlite
from telegram.botapi.calls import decode_call
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import URGENT, envelope
from telegram.dialogue import Conduct, InboxHandler, Router, Tools
from tests.kit.deliveries import ALICE, message
from tests.kit.loop_thread import LoopThread

STORES = ("memory", "sqlite")
START = 1_700_000_000.0


class Out(NamedTuple):
    """A call that went out: seconds since the rig was opened, the outbox's lane, method and params."""

    at: float
    lane: str
    method: str
    params: dict[str, Any]


class Rig:
    """Made by `open_rig`."""

    def __init__(self, store: Any, router: Router, config: EngineConfig, client: Any = None) -> None:
        self.store = store
        self.out: list[Out] = []
        self.group: asyncio.TaskGroup
        self._began = asyncio.get_running_loop().time()
        self._next_id = 0
        self.handler = InboxHandler(router, tools=Tools(client=client), conduct=Conduct(), wall=self.wall)
        self.inbox = Engine(store, Queue.INBOX, self.handler, config, jitter=lambda: 0.0)
        self.outbox = Engine(store, Queue.OUTBOX, self._send, EngineConfig(workers=8))

    def wall(self) -> float:
        return START + asyncio.get_running_loop().time()

    async def comes(self, *updates: dict[str, Any], key: str | None = None) -> list[int]:
        """Append updates, each `{kind: item}`, to their lanes or to the lane `key`; return their ids."""
        batch = []
        for update in updates:
            self._next_id += 1
            fields = {"update_id": self._next_id, **update}
            raw = RawUpdate(self._next_id, json.dumps(fields).encode(), fields)
            given = envelope(raw, self.wall())
            batch.append(given if key is None else given._replace(key=key))
        await append(self.store, batch)
        return [each.id for each in batch]

    async def settles(self, limit_s: float = 3600.0) -> None:
        """Let all that is ready, leased or parked end; timers stay."""
        async with asyncio.timeout(limit_s):
            while True:
                stats = await self.store.stats()
                if not stats.inbox.pending + stats.outbox.pending:
                    return
                await asyncio.sleep(0.01)

    def sent(self, method: str) -> list[Out]:
        return [each for each in self.out if each.method == method]

    def texts(self) -> list[str]:
        return [each.params["text"] for each in self.sent("sendMessage")]

    async def data(self, key: str, scope: str = "7") -> Any:
        """What lies in the store, decoded; None if nothing does."""
        state = await self.store.state(key, scope)
        return None if state is None else json.loads(state)

    async def _send(self, work: Work) -> Effects:
        method, params = decode_call(work.envelope.body)
        at = asyncio.get_running_loop().time() - self._began
        self.out.append(Out(at, work.lease.key, method, json.loads(params)))
        return Effects()


@asynccontextmanager
async def open_rig(
    kind: str, folder: Path, router: Router, *, client: Any = None, **config: Any
) -> AsyncIterator[Rig]:
    """Run a bot on a store of this kind (a file in the folder goes on); for `run_virtual`. `client` is that of `ctx.client`."""
    loop = asyncio.get_running_loop()

    def wall() -> float:
        return START + loop.time()

    if kind == "memory":
        store: Any = MemoryStore(wall=wall)
    else:
        store = await open_sqlite(folder / "bot.db", "1", wall=wall, thread=LoopThread, look_every_s=None)
    try:
        rig = Rig(store, router, EngineConfig(**{"workers": 8, "urgent": URGENT, **config}), client)
        async with asyncio.TaskGroup() as group:
            rig.inbox.start(group)
            rig.outbox.start(group)
            yield rig
            now = loop.time()
            await rig.inbox.drain(now)
            await rig.outbox.drain(now)
    finally:
        await store.close()


def text(text: str | None, **more: Any) -> dict[str, Any]:
    """Alice writes in her private chat."""
    return {"message": message(text, **more)}


def checkout(query: str = "pay-1", payload: str = "p") -> dict[str, Any]:
    """Alice presses Pay."""
    return {
        "pre_checkout_query": {
            "id": query, "from": ALICE, "currency": "XTR", "total_amount": 1, "invoice_payload": payload,
        }
    }  # fmt: skip


def typed(query: str, name: str, **more: Any) -> dict[str, Any]:
    """Alice types an inline query."""
    return {"inline_query": {"id": name, "from": ALICE, "query": query, "offset": "", **more}}
