"""Sessions join, leave and die while chats write to each other: order and counts of everything, at the end.

Each chat's handler counts its updates in its state, answers its own chat, and calls another chat with a number of its own. So
a lost, repeated or swapped update shows in the state, and a swapped call in what was sent.
"""

import asyncio
import json
import random
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import Any
from zlib import crc32

import pytest

from engine import Call, Effects, LeaseLost, RightLost, StateChanged, StoreError, StoreUnavailable
from engine.stores.contract.store import INBOX, NOTHING, OUTBOX, update
from engine.stores.postgres import open_postgres, session
from tests.kit.waiting import insist
from tests.stores.test_shares import an_old_server, kill

CHATS = [f"chat:{number}" for number in range(16)]
WITHIN_S = 120.0
TROUBLE = (StoreUnavailable, LeaseLost, RightLost, StateChanged)

__all__ = ["an_old_server"]


class Storm:
    """The sessions, what was appended, and what was sent."""

    def __init__(self, url: str, bot: str, seed: int) -> None:
        self._url, self._bot = url, bot
        self.random = random.Random(seed)
        self.stores: list[Any] = []
        self.appended: dict[str, int] = defaultdict(int)
        self.sent: dict[str, list[str]] = defaultdict(list)
        self.commits = 0
        self.feeds = True
        self._next_id = 0
        self._unconfirmed: list[Any] = []
        self._tasks: dict[Any, list[asyncio.Task[None]]] = {}

    async def join(self) -> None:
        store = await open_postgres(self._url, self._bot, renew_every_s=0.02, ttl_s=1.0)
        self.stores.append(store)
        works = [self._handle(store) for _ in range(4)] + [self._send(store) for _ in range(4)]
        self._tasks[store] = [asyncio.create_task(work) for work in (*works, self._feed(store))]

    async def leave(self, *, killed: bool) -> None:
        store = self.stores.pop(self.random.randrange(len(self.stores)))
        if killed:
            kill(store)
        for task in self._tasks.pop(store):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if not killed:
            await store.close()

    async def end(self) -> None:
        while self.stores:
            await self.leave(killed=False)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                for task in [task for tasks in self._tasks.values() for task in tasks if task.done()]:
                    task.result()
                await asyncio.sleep(0.01)

    async def works_for(self, commits: int) -> None:
        """Wait until so many more are committed."""
        end = self.commits + commits
        await self.until(lambda: self.commits >= end)

    async def _feed(self, store: Any) -> None:
        """Append, as the poller does: what was not confirmed comes again, to whoever polls then."""
        while True:
            with suppress(StoreError, *TROUBLE):
                right = await store.right()
                while self.feeds or self._unconfirmed:
                    batch = self._unconfirmed = self._unconfirmed or self._batch()
                    await store.append(right, batch)
                    if self._unconfirmed is batch:  # else it was confirmed by who polls now, with another one
                        self._unconfirmed = []
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)

    def _batch(self) -> list[Any]:
        count = self.random.randrange(1, 11)
        batch = [update(self._next_id + n, self.random.choice(CHATS)) for n in range(1, count + 1)]
        self._next_id += count
        for envelope in batch:
            self.appended[envelope.key] += 1
        return batch

    async def _handle(self, store: Any) -> None:
        while True:
            with suppress(StoreError, *TROUBLE):
                delivery = await store.claim(INBOX)
                while delivery is not None:
                    await asyncio.sleep(self.random.random() * 0.004)
                    delivery = await store.commit(delivery, self._effects(delivery), more=True)
                    self.commits += 1
            await asyncio.sleep(0.001)

    def _effects(self, delivery: Any) -> Effects:
        key, id_ = delivery.lease.key, delivery.envelope.id
        state = json.loads(delivery.state or b'{"count": 0, "last": 0, "calls": {}}')
        assert id_ > state["last"], (key, id_, state)
        state["count"] += 1
        state["last"] = id_
        other = CHATS[crc32(f"{key} {id_}".encode()) % len(CHATS)]
        calls = [Call(key, f"{key} own {state['count']}".encode())]
        if other != key:
            state["calls"][other] = number = state["calls"].get(other, 0) + 1
            calls.append(Call(other, f"{key} to {other} {number}".encode()))
        return Effects(tuple(calls), json.dumps(state).encode())

    async def _send(self, store: Any) -> None:
        while True:
            with suppress(StoreError, *TROUBLE):
                delivery = await store.claim(OUTBOX)
                while delivery is not None:
                    self.sent[delivery.lease.key].append(delivery.envelope.body.decode())
                    delivery = await store.commit(delivery, NOTHING, more=True)
            await asyncio.sleep(0.001)

    def firsts(self) -> dict[tuple[str, str], list[int]]:
        """Return, for each chat and each source of its calls, the numbers of the calls by their first sending."""
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for key, bodies in self.sent.items():
            for body in dict.fromkeys(bodies):
                source, _, number = body.rpartition(" ")
                found[key, source].append(int(number))
        return found

    async def states(self) -> dict[str, Any]:
        found = {}
        for key in CHATS:
            state = await insist(partial(self.stores[0].state, key, "7"))
            found[key] = json.loads(state or b'{"count": 0, "calls": {}}')
        return found


@pytest.mark.processes
@pytest.mark.parametrize("seed", range(2))
async def test_order_and_counts_hold_while_sessions_come_and_go(database, new_bot, sql, monkeypatch, seed):
    monkeypatch.setattr(session, "_SILENT_S", 0.1)
    storm = Storm(database.url(), new_bot(), seed)
    await storm.join()
    await storm.join()
    for _ in range(12):
        await storm.works_for(40)
        if len(storm.stores) < 2 or (len(storm.stores) < 4 and storm.random.random() < 0.5):
            await storm.join()
        else:
            await storm.leave(killed=storm.random.random() < 0.5)
    if len(storm.stores) < 2:
        await storm.join()
    storm.feeds = False

    await storm.until(lambda: not storm._unconfirmed)
    # In one statement, which sees one moment: a call goes from the mail to the outbox.
    left = " + ".join(
        f"(SELECT count(*) FROM chatlane.{table} WHERE bot = $1)" for table in ("inbox", "outbox", "mail")
    )
    async with asyncio.timeout(WITHIN_S):
        while await sql.fetchval(f"SELECT {left}", int(storm._bot)):
            await asyncio.sleep(0.05)
    states = await storm.states()
    assert {key: state["count"] for key, state in states.items()} == {
        key: storm.appended[key] for key in CHATS
    }
    expected = {
        (to, f"{key} to {to}"): count for key, state in states.items() for to, count in state["calls"].items()
    }
    expected |= {(key, f"{key} own"): state["count"] for key, state in states.items() if state["count"]}
    assert storm.firsts() == {which: list(range(1, count + 1)) for which, count in expected.items()}
    await storm.end()
