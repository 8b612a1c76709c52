"""A store as a bot leaves it: random work in each of its tables. And what is in the tables, read without the store's code."""

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import asyncpg

from engine import KEEP, Call, Delivery, Effects, Post, Queue, StateChange, Timer
from engine.model import TIMER_IDS
from engine.stores import open_store
from engine.stores.contract import append
from engine.stores.contract.store import update

KEYS: Final = ["chat:1", "chat:-2", "chat:3", "user:4", "poll:x", "chat:é\U0001f600"]
SCOPES: Final = ["", "1", "~user:4"]
COLUMNS: Final = {
    "alias": "name, key",
    "seen": "segment, bits, touched",
    "inbox": "place, key, scope, body, at",
    "outbox": "place, key, scope, body, at",
    "timer": "place, key, scope, name, at, body",
    "parked": "queue, key, attempts, until, reason, delay_s, place",
    "dead": "number, queue, id, key, scope, body, attempts, reason, at",
    "state": "key, scope, state",
}


class RandomBot:
    """Does `steps` random things to a store: no handler runs at the end."""

    def __init__(self, store: Any, rng: random.Random) -> None:
        self.store = store
        self.rng = rng
        self.next_id = rng.choice([1, 4_000, 2**40])
        self.leased: list[Delivery] = []

    async def work(self, steps: int) -> None:
        acts = [
            self.append,
            self.claim,
            self.commit,
            self.park,
            self.bury,
            self.hold,
            self.replay,
            self.alias,
        ]
        for _ in range(steps):
            await self.rng.choices(acts, [5, 8, 6, 2, 2, 1, 1, 1])[0]()
        while self.leased:
            await self.store.release(self.leased.pop())

    async def append(self) -> None:
        count = self.rng.randint(1, 4)
        batch = [
            update(self.next_id + n, self.rng.choice(KEYS), self.rng.choice(SCOPES), self.body())
            for n in range(count)
        ]
        self.next_id += count
        if self.rng.random() < 0.05:  # Telegram's numbering restarts
            self.next_id = self.rng.randint(1, 2**31)
        posts = [Post(self.rng.choice(KEYS), "", self.body(), self.rng.choice([0.0, 3600.0]))] * (count == 1)
        await append(self.store, batch, posts=posts)

    async def alias(self) -> None:
        old, new = self.rng.sample(KEYS, 2)
        await append(self.store, [], aliases=[(old, new)])

    async def claim(self) -> None:
        queue = self.rng.choice([*Queue])
        if self.store.mine(queue).ready:
            self.leased.append(await self.store.claim(queue))

    async def commit(self) -> None:
        if (delivery := self.taken()) is None:
            return
        calls = tuple(Call(self.rng.choice(KEYS), self.body()) for _ in range(self.rng.randint(0, 3)))
        if delivery.lease.queue is Queue.OUTBOX:
            await self.store.commit(delivery, Effects(), more=False)
            return
        name = ("chat:common", self.rng.choice(["~chat", "~bot"]))
        was = await self.store.state(*name)
        timers = tuple(
            Timer(self.rng.choice("abc"), self.rng.choice([None, 0.0, 60.0, 86_400.0]), self.body())
            for _ in range(self.rng.randint(0, 2))
        )
        effects = Effects(
            calls=calls,
            state=self.rng.choice([None, b"", self.body()]),
            timers=timers,
            states=(StateChange(*name, was, self.body()),),
            posts=(Post(self.rng.choice(KEYS), "2", self.body(), 60.0),) * self.rng.randint(0, 1),
        )
        await self.store.commit(delivery, effects, more=False)

    async def park(self) -> None:
        if (delivery := self.taken()) is not None:
            counted = self.rng.random() < 0.7
            await self.store.park(delivery, self.rng.choice([0.0, 3600.0]), counted=counted, reason="é later")

    async def bury(self) -> None:
        if (delivery := self.taken()) is not None:
            await self.store.bury(delivery, "because", calls=(Call("chat:1", self.body()),))

    async def hold(self) -> None:
        queue, key = self.rng.choice([*Queue]), self.rng.choice(KEYS)
        if self.rng.random() < 0.5:
            await self.store.hold(queue, key, "held by a person")
        else:
            await self.store.unhold(queue, key)

    async def replay(self) -> None:
        if letters := await self.store.dead_letters(50):
            number = self.rng.choice(letters).number
            await (self.store.replay(number) if self.rng.random() < 0.5 else self.store.discard(number))

    def taken(self) -> Delivery | None:
        return self.leased.pop(self.rng.randrange(len(self.leased))) if self.leased else None

    def body(self) -> bytes:
        sizes = [0, 1, 40, 2_000, 70_000]
        return self.rng.randbytes(self.rng.choices(sizes, [1, 3, 20, 3, 1])[0])


async def drained(url: str, bot: str) -> dict[str, list[Any]]:
    """Handle all that a store has, a day later, and return what happened in each lane; ids of new calls are left out."""
    store = await open_store(url, bot, wall=lambda: time.time() + 100_000.0)
    lanes: dict[str, list[Any]] = {}
    for queue in Queue:
        for key, reason in (await store.holds(queue)).items():
            lanes.setdefault(f"{queue} {key}", []).append(reason)
            await store.unhold(queue, key)
        while store.mine(queue).ready:
            delivery = await store.claim(queue)
            lease, envelope, *rest = delivery
            seen = (envelope.id if envelope.body != b"new" else "", envelope.scope, envelope.body, *rest)
            lanes.setdefault(f"{queue} {lease.key}", []).append(seen)
            calls = (Call(lease.key, b"new"),) if queue is Queue.INBOX else ()
            state = b"%r" % envelope.id if queue is Queue.INBOX else KEEP
            await store.commit(delivery, Effects(calls=calls, state=state), more=False)
    lanes["dead"] = [letter._replace(at=0.0) for letter in await store.dead_letters(10_000)]
    handled = [each[0] for each in lanes.get("Queue.INBOX chat:1", ()) if isinstance(each, tuple)]
    again = [update(id_, "chat:1") for id_ in handled if id_ < TIMER_IDS]
    assert await append(store, again) == 0  # they were seen
    assert (await store.audit()).problems == []
    await store.close()
    return lanes


async def everything(url: str, bot: str) -> dict[str, list[Any]]:
    """Return all rows of the bot, sorted, by table; and the ids that were used."""
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        return _of_file(Path(rest))
    address, _, schema = url.partition("?schema=")
    connection = await asyncpg.connect(address)
    try:
        found = {
            table: sorted(
                tuple(row)
                for row in await connection.fetch(
                    f"SELECT {columns} FROM {schema}.{table} WHERE bot = $1", int(bot)
                )
            )
            for table, columns in COLUMNS.items()
        }
        assert await connection.fetchval(f"SELECT count(*) FROM {schema}.mail WHERE bot = $1", int(bot)) == 0
        return found
    finally:
        await connection.close()


def _of_file(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {
            table: sorted(connection.execute(f"SELECT {columns} FROM {table}"))
            for table, columns in COLUMNS.items()
        }
