"""Simulated runs of the real PostgreSQL store in several processes: the order of what their chats do and say.

    python -m tests.sim.shares --seeds 1000

Each chat's handler counts its updates, answers its own chat, and calls another one, with a number of its own for each pair. A
process crashes, is frozen longer than its session lasts, or has its session ended by an operator; shares move with each
of these; the server crashes, and standbys take its place. In the end every update was handled once, and the calls of each
chat to each other one were sent in their order. After a failover that rolls back, what is judged is what it left.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, Final, NamedTuple
from zlib import crc32

import structlog

from engine import (
    Call,
    Effects,
    Envelope,
    LeaseLost,
    Queue,
    RightLost,
    StateChanged,
    StoreError,
    StoreUnavailable,
)
from engine.embedded.seen import SEGMENT_BYTES
from engine.store import Limits
from engine.stores.postgres.address import Address
from engine.stores.postgres.ledger import PostgresLedger
from engine.stores.postgres.session import Session
from engine.stores.postgres.store import PostgresStore
from tests.sim.database import SCHEMA, Faults, Server, in_place_of_postgres
from tests.sim.loop import Process, SimLoop

TTL_S: Final = 4.0
CHATS: Final = [f"chat:{number}" for number in range(9)]
COMES_RIGHT_WITHIN_S: Final = 600.0
_TROUBLE: Final = (StoreError, StoreUnavailable, LeaseLost, RightLost, StateChanged)
_BATCH_MAX: Final = 5
_QUIET: Final = 50


class Outcome(NamedTuple):
    """What became of a run; `failures` is empty if every promise was kept."""

    seed: int
    updates: int
    counts: Counter[str]
    failures: tuple[str, ...]


class Telegram:
    """Updates that are not confirmed, and the calls that were made."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self.pending: list[Envelope] = []
        self.said: dict[str, int] = defaultdict(int)
        self.sent: dict[str, list[str]] = defaultdict(list)
        self._next_id = 1
        self._fail = fail

    def say(self, key: str) -> None:
        self.pending.append(Envelope(self._next_id, key, "7", b"x"))
        self.said[key] += 1
        self._next_id += 1

    def poll(self, offset: int, is_durable: Callable[[int], bool]) -> list[Envelope]:
        """Forget what is below the offset, and return what is next."""
        for envelope in self.pending:
            if envelope.id < offset and not is_durable(envelope.id):
                self._fail(f"update {envelope.id} was confirmed, and is not durable")
        self.pending = [envelope for envelope in self.pending if envelope.id >= offset]
        return self.pending[:_BATCH_MAX]


class Member:
    """A process, and the one after it."""

    def __init__(self, run: "Run", number: int) -> None:
        self._run = run
        self._number = number
        self.process: Process | None = None
        self.store: Any = None
        self.is_over = False

    def start(self) -> None:
        """Start one, if none runs."""
        if self.process is not None or self.is_over:
            return
        self.process = process = Process(self._number, self._run.loop)
        process.spawn(self._live(process))

    def crash(self, again_after_s: float) -> None:
        """End it as kill -9 does."""
        if self.process is None:
            return
        connections = [] if self.store is None else list(self.store._ledger._connections.made)
        self.process.crash()
        for connection in connections:
            self._run.server.end(connection._backend)
        self.process = self.store = None
        self._run.loop.call_later(again_after_s, self.start)

    async def _live(self, process: Process) -> None:
        while not self.is_over:
            store = None
            try:
                store = self._run.new_store()
                await store.open()
                self.store = store
                await self._work(process, store)
            except (StoreError, StoreUnavailable):
                await asyncio.sleep(1.0)
            finally:
                if store is not None:
                    await store.close()

    async def _work(self, process: Process, store: Any) -> None:
        works = [self._handle(store) for _ in range(3)] + [self._send(store) for _ in range(3)]
        ended = asyncio.create_task(self._ends(store))
        tasks = [asyncio.create_task(work) for work in (*works, self._poll(store))]
        try:
            await ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _ends(self, store: Any) -> None:
        while store._ended is None and not self.is_over:
            await asyncio.sleep(0.1)

    async def _poll(self, store: Any) -> None:
        right, offset = None, 0
        while True:
            with suppress(*_TROUBLE):
                now = await store.right()
                if now != right:
                    right, offset = now, 0
                updates = self._run.poll(offset)
                await asyncio.sleep(self._run.short_s())
                if updates:
                    await store.append(right, updates)
                    offset = updates[-1].id + 1
            await asyncio.sleep(0.05)

    async def _handle(self, store: Any) -> None:
        while True:
            with suppress(*_TROUBLE):
                delivery = await store.claim(Queue.INBOX)
                while delivery is not None:
                    await asyncio.sleep(self._run.handler_s())
                    effects = self._run.handled(delivery)
                    delivery = await store.commit(delivery, effects, more=True)
            await asyncio.sleep(0.01)

    async def _send(self, store: Any) -> None:
        while True:
            with suppress(*_TROUBLE):
                delivery = await store.claim(Queue.OUTBOX)
                while delivery is not None:
                    await asyncio.sleep(self._run.call_s())
                    if not store.sharing.is_in_time():
                        break
                    self._run.telegram.sent[delivery.lease.key].append(delivery.envelope.body.decode())
                    await asyncio.sleep(self._run.call_s())
                    delivery = await store.commit(delivery, Effects(), more=True)
            await asyncio.sleep(0.01)


class Run:
    """One run. Use `simulate`."""

    def __init__(self, seed: int, loop: SimLoop, rng: random.Random, server: Server) -> None:
        self.seed, self.loop, self.rng, self.server = seed, loop, rng, server
        self.failures: list[str] = []
        self.telegram = Telegram(self._fail)
        self.is_calm = False
        self.slow = rng.choice((0.0, 0.05, 0.2))
        self.slow_calls = rng.choice((0.0, 0.3, 1.0))
        self.rolls_back = rng.random() < 0.25
        self.members = [Member(self, number) for number in range(1, rng.randint(2, 4) + 1)]

    def _fail(self, why: str) -> None:
        if not self.server.rolled_back:
            self.failures.append(why)

    def new_store(self) -> PostgresStore:
        """Return a store of the running process, not opened."""

        def new_session() -> Session:
            return Session(SCHEMA, 1, ttl_s=TTL_S, holder="a process")

        ledger = PostgresLedger(
            Address("postgres://sim", SCHEMA, {}), new_session, self.wall, alone=False, renew_every_s=1.0
        )
        return PostgresStore(ledger, Limits(), self.wall)

    def wall(self) -> float:
        """Unix time."""
        return self.loop.time() + 1e9

    def short_s(self) -> float:
        """How long something takes that is usually quick."""
        return self.rng.choice((0.0, 0.001, 0.02)) * self.rng.random()

    def handler_s(self) -> float:
        """How long a handler runs: some longer than a session lasts."""
        return self.rng.random() * (2 * TTL_S if self.rng.random() < self.slow else 0.05)

    def call_s(self) -> float:
        """How long Telegram takes: in some runs so long that calls pile up."""
        return self.rng.random() * self.slow_calls if self.slow_calls else self.short_s()

    def poll(self, offset: int) -> list[Envelope]:
        """Poll as the process does that has the right to."""
        return self.telegram.poll(offset, self._is_durable)

    def _is_durable(self, id_: int) -> bool:
        row = self.server.tables.rows["seen"].get(id_ >> 12)
        return row is not None and bool(row[1][(id_ >> 3) % SEGMENT_BYTES] & (1 << (id_ & 7)))

    def handled(self, delivery: Any) -> Effects:
        """Return the effects of a handling: its chat's log, an answer, and a call to another chat."""
        key, id_ = delivery.lease.key, delivery.envelope.id
        state = json.loads(delivery.state or b'{"ids": [], "calls": {}}')
        state["ids"].append(id_)
        calls = []
        for to in sorted({key, CHATS[crc32(f"{key} {id_}".encode()) % len(CHATS)]}):
            mine = state["calls"].setdefault(to, [])
            mine.append(f"{key} {len(mine) + 1} {id_} {self.rng.getrandbits(32)}")
            calls.append(Call(to, mine[-1].encode()))
        calls.sort()
        return Effects(tuple(calls), json.dumps(state).encode())

    # -- the run -------------------------------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Let it happen, and judge."""
        following = asyncio.create_task(self.server.follow())
        for member in self.members:
            member.start()
        lasts_s = self.rng.uniform(20, 60)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._people(lasts_s))
            group.create_task(self._misfortunes(lasts_s))
        self.server.faults = Faults()
        self.is_calm = True
        self.slow = self.slow_calls = 0.0
        for member in self.members:
            if member.process is not None:
                member.process.thaw()
            member.start()
        if not await self._settled():
            rows = {name: list(rows.items())[:3] for name, rows in self.server.tables.rows.items()}
            left = [f"{name}: {rows[name]}" for name in ("inbox", "outbox", "mail") if rows[name]]
            self.failures.append(f"stuck: {len(self.telegram.pending)} not appended, {left}")
        for member in self.members:
            member.is_over = True
        await asyncio.sleep(10.0)
        following.cancel()
        self.failures += [f"the simulated server does not know {query!r}" for query in self.server.unknown]
        if not self.failures:
            self._judge()
        said = sum(self.telegram.said.values())
        return Outcome(self.seed, said, Counter(self.server.counts), tuple(self.failures))

    async def _people(self, lasts_s: float) -> None:
        while self.loop.time() < lasts_s:
            await asyncio.sleep(self.rng.expovariate(8.0))
            self.telegram.say(self.rng.choice(CHATS))

    async def _misfortunes(self, lasts_s: float) -> None:
        deeds: list[Callable[[], None]] = [self._crash, self._freeze, self._freeze, self._revoke, self._storm]
        deeds += [self.server.crash, self._outage, lambda: self.server.fail_over(behind=False)]
        if self.rolls_back:
            deeds += [lambda: self.server.fail_over(behind=True)] * 2
        while self.loop.time() < lasts_s:
            await asyncio.sleep(self.rng.expovariate(1 / 4))
            self.rng.choice(deeds)()

    def _crash(self) -> None:
        self.server.count("kill")
        self.rng.choice(self.members).crash(5.0 * self.rng.random())

    def _freeze(self) -> None:
        member = self.rng.choice(self.members)
        if (process := member.process) is not None and not process.is_frozen:
            self.server.count("freeze")
            process.freeze()
            self.loop.call_later(self.rng.choice((0.5, 2 * TTL_S)) * self.rng.random(), process.thaw)

    def _revoke(self) -> None:
        """An operator ends a session, whatever its process does."""
        if sessions := list(self.server.tables.session):
            self.server.count("revoked")
            id_ = self.rng.choice(sessions)
            if not self.server.is_locked("session", id_, "update"):
                tables = self.server.tables
                del tables.session[id_]
                tables.owner = None if tables.owner == id_ else tables.owner
                tables.share = {no: None if of == id_ else of for no, of in tables.share.items()}

    def _storm(self) -> None:
        self.server.faults = Faults(*(self.rng.choice((0.0, 0.02)) for _ in Faults._fields))
        self.loop.call_later(5.0 * self.rng.random(), self._calm)

    def _calm(self) -> None:
        self.server.faults = Faults()

    def _outage(self) -> None:
        self.server.crash()
        self.server.is_up = False
        self.loop.call_later(self.rng.choice((1.0, 2 * TTL_S)) * self.rng.random(), self._is_back)

    def _is_back(self) -> None:
        self.server.is_up = True

    async def _settled(self) -> bool:
        give_up = self.loop.time() + COMES_RIGHT_WITHIN_S
        while self.loop.time() < give_up:
            await asyncio.sleep(1.0)
            rows = self.server.tables.rows
            if not (self.telegram.pending or rows["inbox"] or rows["outbox"] or rows["mail"]):
                return True
        return False

    def _judge(self) -> None:
        found = self.server.tables.rows["state"]
        for key in CHATS:
            state = json.loads(found[key, "7"][2]) if (key, "7") in found else {"ids": [], "calls": {}}
            ids = state["ids"]
            if ids != sorted(set(ids)):
                self.failures.append(f"{key}: handled twice, or out of order: {ids}")
            if not self.server.rolled_back and len(ids) != self.telegram.said[key]:
                self.failures.append(f"{key}: {self.telegram.said[key]} written, {len(ids)} handled")
            for to, calls in state["calls"].items():
                wanted = set(calls)
                firsts = [body for body in dict.fromkeys(self.telegram.sent[to]) if body in wanted]
                if firsts != calls:
                    self.failures.append(f"{key} to {to}: sent {firsts} instead of {calls}")


def simulate(seed: int) -> Outcome:
    """Run one seed."""
    rng = random.Random(seed)
    loop = SimLoop(rng)
    loop.shuffled = rng.random() < 0.3
    outside = copy_context()
    server = Server(rng, outside)

    def context() -> Context:
        return copy_context()

    async def run() -> Outcome:
        return await Run(seed, loop, rng, server).run()

    loop.set_exception_handler(lambda *_: None)  # of processes that are no more
    try:
        with in_place_of_postgres(server, context):
            return loop.run_until_complete(run())
    finally:
        loop.close()


def main() -> int:
    """Return 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.shares", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--replay", type=int)
    given = parser.parse_args()
    if given.replay is None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_QUIET))
        seeds = range(given.first, given.first + given.seeds)
    else:
        seeds = range(given.replay, given.replay + 1)
    began = time.monotonic()
    counts: Counter[str] = Counter()
    updates = failed = 0
    for seed in seeds:
        outcome = simulate(seed)
        counts.update(outcome.counts)
        updates += outcome.updates
        failed += bool(outcome.failures)
        for failure in outcome.failures[:3]:
            print(f"seed {seed}: {failure[:400]}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in counts.most_common()))
    print(f"{len(seeds)} seeds, {updates} updates in {time.monotonic() - began:.0f} s: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
