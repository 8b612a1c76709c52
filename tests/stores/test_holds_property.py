"""Whatever is held and released in whatever order: nobody gets what is held, and in the end all is handled once, in order."""

import asyncio
import random
from collections import defaultdict
from functools import partial
from typing import Any

import pytest

from engine import Delivery, LeaseLost
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, NOTHING, conserved, update
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import open_sqlite

KEYS = ["chat:1", "chat:2", "chat:3"]
STEPS = 60


class Run:
    """One random history. `held` are the keys that are held; "" stands for all."""

    def __init__(self, store: Any, rng: random.Random, reopen: Any) -> None:
        self.store = store
        self.rng = rng
        self._reopen = reopen
        self.held: set[str] = set()
        self.leased: list[Delivery] = []
        self.appended: dict[str, list[int]] = defaultdict(list)
        self.handled: dict[str, list[int]] = defaultdict(list)
        self.next_id = 1

    async def step(self) -> None:
        acts = [
            self.append,
            self.claim,
            self.claim,
            self.settle,
            self.settle,
            self.hold,
            self.unhold,
            self.reopen,
        ]
        await self.rng.choices(acts, [4, 4, 4, 4, 4, 3, 3, 1])[0]()
        await self.check()

    async def append(self) -> None:
        key = self.rng.choice(KEYS)
        count = self.rng.randint(1, 3)
        batch = [update(self.next_id + n, key) for n in range(count)]
        self.next_id += count
        self.appended[key] += [each.id for each in batch]
        await append(self.store, batch)

    async def claim(self) -> None:
        claim = asyncio.create_task(self.store.claim(INBOX))
        for _ in range(3):
            await self.store.oldest()
            await asyncio.sleep(0)
        if not claim.done():
            claim.cancel()
            await asyncio.gather(claim, return_exceptions=True)
            return
        delivery = claim.result()
        assert not self.held & {"", delivery.lease.key}, "what is held was claimed"
        assert delivery.lease.key not in {each.lease.key for each in self.leased}
        self.leased.append(delivery)

    async def settle(self) -> None:
        if not self.leased:
            return
        delivery = self.leased.pop(self.rng.randrange(len(self.leased)))
        key, how = delivery.lease.key, self.rng.choice(["commit", "more", "park", "release"])
        if how in {"commit", "more"}:
            following = await self.store.commit(delivery, NOTHING, more=how == "more")
            self.handled[key].append(delivery.envelope.id)
            if following is not None:
                assert not self.held & {"", key}, "what is held was kept"
                self.leased.append(following)
        elif how == "park":
            await self.store.park(delivery, self.rng.choice([0.0, 3600.0]), counted=True, reason="x")
        else:
            await self.store.release(delivery)

    async def hold(self) -> None:
        key = self.rng.choice([*KEYS, ""])
        self.held.add(key)
        await self.store.hold(INBOX, key, "by a test")

    async def unhold(self) -> None:
        key = self.rng.choice([*KEYS, ""])
        was_held = key in self.held
        self.held.discard(key)
        assert await self.store.unhold(INBOX, key) or not was_held

    async def reopen(self) -> None:
        store = await self._reopen(self.store)
        if store is not self.store:
            old, self.store = self.leased, store
            self.leased = []
            for delivery in old:
                with pytest.raises(LeaseLost):
                    await self.store.commit(delivery, NOTHING, more=False)

    async def check(self) -> None:
        views = await self.store.lanes(INBOX)
        stats = (await self.store.stats()).inbox
        statuses = [view.status for view in views]
        assert [stats.ready, stats.leased, stats.parked] == [
            statuses.count(each) for each in ("ready", "leased", "parked")
        ]
        assert stats.pending == sum(view.depth for view in views)
        assert not [view for view in views if view.key in self.held and view.status == "ready"]
        assert {view.key for view in views if view.held} == {view.key for view in views} & self.held
        assert set(await self.store.holds(INBOX)) == self.held
        assert stats.leased == len(self.leased)
        await conserved(self.store)
        if not self.rng.randrange(10):
            audited = await self.store.audit()
            assert audited == ([], len(views), stats.pending)

    async def end(self) -> None:
        """Release all: what is left is handled, in order."""
        for delivery in self.leased:
            await self.store.release(delivery)
        self.leased = []
        for key in ["", *KEYS]:
            await self.store.unhold(INBOX, key)
        while (await self.store.stats()).inbox.pending:
            delivery = await self.store.claim(INBOX)
            self.handled[delivery.lease.key].append(delivery.envelope.id)
            await self.store.commit(delivery, NOTHING, more=False)
        assert self.handled == {key: ids for key, ids in self.appended.items() if ids}


async def play(seed: int, store: Any, reopen: Any) -> None:
    rng = random.Random(seed)
    run = Run(store, rng, reopen)
    for _ in range(STEPS):
        await run.step()
    await run.end()


async def test_in_memory():
    async def same(store):
        return store

    for seed in range(150):
        await play(seed, MemoryStore(), same)


@pytest.mark.parametrize("part", range(3))
async def test_in_a_file_that_is_opened_again(tmp_path, part):
    async def again(path, store):
        await store.close()
        return await open_sqlite(path, "1")

    for seed in range(part * 8, part * 8 + 8):
        path = tmp_path / f"{seed}.db"
        store = await open_sqlite(path, "1")
        opened = [store]

        async def reopen(old, path=path, opened=opened):
            opened[0] = await again(path, old)
            return opened[0]

        try:
            await play(seed, store, partial(reopen))
        finally:
            await opened[0].close()
