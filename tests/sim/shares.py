"""Simulated runs of the real PostgreSQL store in several processes: what their chats do and say.

    python -m tests.sim.shares --seeds 1000

Each chat's handler counts its updates, answers its own chat, calls another one, and more (share_work.py). A process crashes, is
frozen longer than its session lasts, is stopped and started, one after the other, or has its session ended by an operator, also
directly before and after a statement; shares move with each of these; the server crashes, commits slowly, and standbys take
its place. In the end every update was handled once, and what came of it is there in its order. After a failover that rolls
back, what is judged is what it left, and what is lost is counted.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, Final, NamedTuple, TypeVar

import structlog

from engine import (
    Effects,
    Envelope,
    LeaseLost,
    Queue,
    RightLost,
    SqlFailed,
    StateChanged,
    StoreError,
    StoreUnavailable,
    TransactionFailed,
)
from engine.embedded.seen import SEGMENT_BYTES
from engine.store import ALL_LANES, Limits
from engine.stores.owned.shares import HOLD
from engine.stores.postgres.address import Address
from engine.stores.postgres.ledger import PostgresLedger
from engine.stores.postgres.session import Session
from engine.stores.postgres.store import PostgresStore
from engine.stores.postgres.tools.desk import Answered, Operators, ProcessDesk
from tests.sim.__main__ import be_quiet, stamp
from tests.sim.database import Connection, Faults, Server
from tests.sim.database_statements import SCHEMA, in_place_of_postgres
from tests.sim.loop import Process, SimLoop, running_process
from tests.sim.share_work import CHATS, SCOPE, Buried, Parked, Work

T = TypeVar("T")

DESK_URL: Final = "postgres://sim@localhost/sim?schema=sim"

TTL_S: Final = 4.0
COMES_RIGHT_WITHIN_S: Final = 600.0
_TROUBLE: Final = (
    StoreError,
    StoreUnavailable,
    LeaseLost,
    RightLost,
    StateChanged,
    TransactionFailed,
    SqlFailed,
)
_BATCH_MAX: Final = 5
_DRAIN_S: Final = 5.0


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
        self.said: dict[str, list[int]] = defaultdict(list)
        self.sent: dict[str, list[str]] = defaultdict(list)
        self._next_id = 1
        self._fail = fail

    def say(self, key: str) -> None:
        self.pending.append(Envelope(self._next_id, key, SCOPE, b"x"))
        self.said[key].append(self._next_id)
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
        self.is_over = False
        self._is_leaving = self._is_retired = False

    def start(self) -> None:
        """Start one, if none runs."""
        if self.process is not None or self.is_over or self._is_retired:
            return
        self._is_leaving = False
        self.process = process = Process(self._number, self._run.loop)
        process.spawn(self._live(process))

    def crash(self, again_after_s: float) -> None:
        """End it as kill -9 does."""
        if self.process is None:
            return
        self.process.crash()
        self.process = None
        self._run.server.later(again_after_s, self.start)

    def stop(self) -> None:
        """Let it end as after SIGTERM; another one is started after it."""
        self._is_leaving = True

    def retire(self) -> None:
        """Let it end as after SIGTERM, for ever."""
        self._is_leaving = self._is_retired = True

    async def _live(self, process: Process) -> None:
        while not self.is_over and not self._is_leaving:
            store = None
            try:
                store = new_store(self._run.wall)
                await store.open()
                await self._work(store)
            except (StoreError, StoreUnavailable):
                await asyncio.sleep(1.0)
            finally:
                if store is not None:
                    await store.close()
        if self.process is process and not self.is_over:
            self.crash(self._run.rng.random())

    async def _work(self, store: Any) -> None:
        poll = asyncio.create_task(self._poll(store))
        handlers = [asyncio.create_task(self._handle(store)) for _ in range(3)]
        senders = [asyncio.create_task(self._send(store)) for _ in range(3)]
        others = [asyncio.create_task(self._operate(store)), asyncio.create_task(self._answer(store))]
        if self._run.work.does.posts:
            others.append(asyncio.create_task(self._post(store)))
        try:
            while store._ended is None and not self.is_over and not self._is_leaving:
                await asyncio.sleep(0.1)
            if self._is_leaving:
                await self._leave(store, [poll, *others], [*handlers, *senders])
        finally:
            tasks = [poll, *handlers, *senders, *others]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _leave(
        self, store: Any, first: list["asyncio.Task[None]"], then: list["asyncio.Task[None]"]
    ) -> None:
        """Stop as telegram/service/bot.py does: let the others have what is idle, and finish what runs."""
        self._run.server.count("stop")
        for task in first:
            task.cancel()
        await asyncio.wait(first)
        with suppress(*_TROUBLE, TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await store.leave()
        until = asyncio.get_running_loop().time() + _DRAIN_S * self._run.rng.random()
        with suppress(*_TROUBLE, TimeoutError):
            async with asyncio.timeout_at(until):
                await store.settled(Queue.INBOX)
                await store.settled(Queue.OUTBOX)
        for task in then:
            task.cancel()

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Repeat a request while the store is unavailable."""
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(0.1)

    async def _poll(self, store: Any) -> None:
        right, offset = None, 0
        try:
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
                    elif right is not None and self._run.rng.random() < self._run.resigns:
                        await store.resign(right)
                await asyncio.sleep(0.05)
        finally:
            if right is not None and self._is_leaving:
                with suppress(*_TROUBLE):
                    await store.resign(right)

    async def _handle(self, store: Any) -> None:
        while True:
            with suppress(*_TROUBLE):
                delivery = await store.claim(Queue.INBOX)
                while delivery is not None:
                    await asyncio.sleep(self._run.handler_s())
                    delivery = await self._handled(store, delivery)
                    if self._is_leaving:
                        break
            await asyncio.sleep(0.05)

    async def _handled(self, store: Any, delivery: Any) -> Any:
        outcome: Any = Effects()
        try:
            outcome = await self._run.work.outcome(store, delivery)
            match outcome:
                case Parked():
                    delay_s, counted = outcome
                    await self._insist(
                        lambda: store.park(delivery, delay_s, counted=counted, reason="simulated")
                    )
                case Buried():
                    await self._insist(lambda: store.bury(delivery, "simulated"))
                case _:
                    more = not self._is_leaving
                    return await self._insist(lambda: store.commit(delivery, outcome, more=more))
        except (StateChanged, TransactionFailed, SqlFailed, StoreUnavailable) as error:
            self._run.server.count(type(error).__name__)
            await self._insist(lambda: store.release(delivery))
        except asyncio.CancelledError:
            with suppress(*_TROUBLE):
                await store.release(delivery)
            raise
        finally:
            if isinstance(outcome, Effects) and outcome.within is not None:
                outcome.within.abandon()
        return None

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
                    delivery = await self._sent(store, delivery)
            await asyncio.sleep(0.05)

    async def _sent(self, store: Any, delivery: Any) -> Any:
        more = not self._is_leaving
        return await self._insist(lambda: store.commit(delivery, Effects(), more=more))

    async def _post(self, store: Any) -> None:
        number, source = 0, f"source:{self._run.rng.getrandbits(30)}"
        while not self._run.is_calm:
            await asyncio.sleep(3.0 * self._run.rng.random())
            number += 1
            post, token = self._run.work.outside_post(source, number)
            self._run.work.posted[token] = False
            with suppress(*_TROUBLE):
                await store.post([post])
                self._run.work.posted[token] = True

    async def _operate(self, store: Any) -> None:
        """Replay and discard dead letters, hold lanes and let them go, and audit."""
        run, work = self._run, self._run.work
        while True:
            await asyncio.sleep(4.0 * run.rng.random())
            with suppress(*_TROUBLE):
                for letter in await store.dead_letters(20):
                    await getattr(store, work.decide(letter.envelope.id))(letter.number)
                await self._hold(store)
                for problem in (await store.audit()).problems:
                    run.fail(f"audit: {problem}")

    async def _answer(self, store: Any) -> None:
        """Do what operators ask through the database."""

        async def answer(name: str, params: str, _: str) -> Answered:
            self._run.done_at_desk[params] += 1
            with suppress(*_TROUBLE):
                return Answered(200 if await getattr(store, name)(int(params.split()[1])) else 404, params)
            return Answered(503, params)

        async with ProcessDesk(DESK_URL, "1", f"{self._number}", answer):
            await asyncio.Event().wait()

    async def _hold(self, store: Any) -> None:
        run = self._run
        for queue, key in list(run.server.tables.rows["parked"]):
            if key.startswith(HOLD) and (run.is_calm or run.rng.random() < 0.5):
                await store.unhold(Queue(queue), key.removeprefix(HOLD))
        if run.work.does.parks and not run.is_calm and run.rng.random() < 0.3:
            run.server.count("hold")
            key = run.rng.choice([*CHATS, ALL_LANES])
            await store.hold(run.rng.choice(list(Queue)), key, "an operator")


def new_store(wall: Callable[[], float]) -> PostgresStore:
    """Return a store of the running process, not opened. `wall` is Unix time."""

    def new_session() -> Session:
        return Session(SCHEMA, 1, ttl_s=TTL_S, holder="a process")

    address = Address("postgres://sim", SCHEMA, {})
    ledger = PostgresLedger(address, new_session, wall, alone=False, renew_every_s=1.0)
    return PostgresStore(ledger, Limits(), wall)


class Run:
    """One run. Use `simulate`."""

    def __init__(self, seed: int, loop: SimLoop, rng: random.Random, server: Server) -> None:
        self.seed, self.loop, self.rng, self.server = seed, loop, rng, server
        self.failures: list[str] = []
        self.telegram = Telegram(self._fail)
        self.work = Work(rng, self.wall, self.fail)
        self.done_at_desk: Counter[str] = Counter()
        self.is_calm = False
        self.slow = rng.choice((0.0, 0.05, 0.2))
        self.slow_calls = rng.choice((0.0, 0.3, 1.0))
        self.rolls_back = rng.random() < 0.25
        self.resigns = rng.choice((0.0, 0.0, 0.2))
        self.at_awaits = rng.choice((0.0, 0.0, 0.001, 0.003))
        server.slow_commits, server.slow_commit_s = rng.choice(
            ((0.0, 0.0), (0.5, 0.05), (0.1, 1.0), (0.03, 4.0))
        )
        server.rings = rng.choice((0.0, 0.9, 0.9, 1.0))
        self.members = [Member(self, number) for number in range(1, rng.randint(2, 4) + 1)]

    def fail(self, why: str) -> None:
        """Note that a promise is broken."""
        if len(self.failures) < 10:
            self.failures.append(why)

    def _fail(self, why: str) -> None:
        if not self.server.rolled_back:
            self.fail(why)

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

    # -- the run -------------------------------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Let it happen, and judge."""
        following = asyncio.create_task(self.server.follow())
        self.server.peril = self._peril
        for member in self.members:
            member.start()
        lasts_s = self.rng.uniform(8, 25)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._people(lasts_s))
            group.create_task(self._misfortunes(lasts_s))
            operators = asyncio.create_task(self._operators())
        operators.cancel()
        await self._calm_down()
        if not await self._settled():
            rows = {name: list(rows.items())[:3] for name, rows in self.server.tables.rows.items()}
            left = [
                f"{name}: {rows[name]}" for name in ("inbox", "outbox", "mail", "timer", "dead") if rows[name]
            ]
            self.failures.append(f"stuck: {len(self.telegram.pending)} not appended, {left}")
        for member in self.members:
            member.is_over = True
        await asyncio.sleep(10.0)
        following.cancel()
        self.failures += [f"the simulated server does not know {query!r}" for query in self.server.unknown]
        self.failures += self.server.broken[:3]
        self.failures += [f"done {n} times: {asked}" for asked, n in self.done_at_desk.items() if n > 1]
        said, tables = self.telegram.said, self.server.tables
        if not self.failures:
            is_whole = not self.server.rolled_back
            self.failures += self.work.judge(tables, said, self.telegram.sent, is_whole=is_whole)
            if not is_whole:
                self.server.counts["lost by a rollback"] = self.work.lost(tables, said)
        updates = sum(map(len, said.values()))
        return Outcome(self.seed, updates, Counter(self.server.counts), tuple(self.failures))

    async def _calm_down(self) -> None:
        """End all trouble."""
        self.server.faults = Faults()
        self.server.slow_commit_s = 0.0
        self.server.is_up = True
        self.is_calm = self.work.is_calm = True
        self.slow = self.slow_calls = self.resigns = 0.0
        for member in self.members:
            if member.process is not None:
                member.process.thaw()
            member.start()

    async def _people(self, lasts_s: float) -> None:
        while self.loop.time() < lasts_s:
            await asyncio.sleep(self.rng.expovariate(8.0))
            self.telegram.say(self.rng.choice(CHATS))

    async def _misfortunes(self, lasts_s: float) -> None:
        deeds: list[Callable[[], None]] = [self._crash, self._freeze, self._freeze, self._revoke, self._storm]
        deeds += [
            self.server.crash,
            self._outage,
            lambda: self.server.fail_over(behind=False),
            self._stop,
            self._roll,
        ]
        if self.rolls_back:
            deeds += [lambda: self.server.fail_over(behind=True)] * 2
        while self.loop.time() < lasts_s:
            await asyncio.sleep(self.rng.expovariate(1 / 2.5))
            self.rng.choice(deeds)()

    async def _operators(self) -> None:
        """Ask processes through the database to replay and discard dead letters."""
        number = 0
        while not self.is_calm:
            await asyncio.sleep(4.0 * self.rng.random())
            with suppress(*_TROUBLE):
                async with Operators(DESK_URL, "1") as operators:
                    processes = await operators.processes()
                    letters = list(self.server.tables.rows["dead"].values())
                    if not processes or not letters:
                        continue
                    letter, number = self.rng.choice(letters), number + 1
                    name = self.work.decide(letter[2])
                    to = [self.rng.choice(processes)]
                    answers = await operators.ask(to, name, f"{number} {letter[0]}", "an operator", 5.0)
                    for answered in answers.values():
                        self.server.count(f"answered {answered.status}")
                        if answered.body != f"{number} {letter[0]}":
                            self.fail(f"another answer: {answered}")

    def _peril(self, connection: Connection, when: str) -> None:
        """Let something happen to a process while it waits for the answer to a statement."""
        if self.is_calm or self.rng.random() >= self.at_awaits or connection._backend.context is None:
            return
        process = running_process(connection._backend.context)
        member = next((each for each in self.members if each.process is process), None)
        if member is None:
            return
        match self.rng.choice(("freeze", "freeze", "kill", "end", "revoke")):
            case "freeze":
                self._freeze(member)
            case "kill":
                self._crash(member)
            case "end":
                self.server.count(f"connection ended {when} a statement")
                self.server.later(0.0, self.server.terminate, connection._backend)
            case _:
                application = connection._backend.application.partition(" ")[2]
                self._revoke(int(application) if application.isdecimal() else None)

    def _crash(self, member: Member | None = None) -> None:
        self.server.count("kill")
        (member or self.rng.choice(self.members)).crash(5.0 * self.rng.random())

    def _freeze(self, member: Member | None = None) -> None:
        member = member or self.rng.choice(self.members)
        if (process := member.process) is not None and not process.is_frozen:
            self.server.count("freeze")
            process.freeze()
            self.server.later(self.rng.choice((0.5, 2 * TTL_S)) * self.rng.random(), process.thaw)

    def _stop(self) -> None:
        self.rng.choice(self.members).stop()

    def _roll(self) -> None:
        """Restart all, one after the other: each new one beside the old one."""
        self.server.count("rolling restart")
        after_s = 0.0
        for member in list(self.members):
            new = Member(self, len(self.members) + 1)
            after_s += 3.0 * self.rng.random()
            self.members.append(new)
            self.server.later(after_s, new.start)
            after_s += 3.0 * self.rng.random()
            self.server.later(after_s, member.retire)

    def _revoke(self, id_: int | None = None) -> None:
        """An operator ends a session, whatever its process does."""
        sessions = list(self.server.tables.session)
        if id_ is None and sessions:
            id_ = self.rng.choice(sessions)
        if id_ in self.server.tables.session and not self.server.holders("session", id_, "update"):
            self.server.count("revoked")
            tables = self.server.tables
            del tables.session[id_]
            tables.owner = None if tables.owner == id_ else tables.owner
            tables.share = {no: None if of == id_ else of for no, of in tables.share.items()}

    def _storm(self) -> None:
        self.server.faults = Faults(*(self.rng.choice((0.0, 0.02)) for _ in Faults._fields))
        self.server.later(5.0 * self.rng.random(), self._calm)

    def _calm(self) -> None:
        self.server.faults = Faults()

    def _outage(self) -> None:
        self.server.crash()
        self.server.is_up = False
        self.server.later(self.rng.choice((1.0, 2 * TTL_S)) * self.rng.random(), self._is_back)

    def _is_back(self) -> None:
        self.server.is_up = True

    async def _settled(self) -> bool:
        give_up = self.loop.time() + COMES_RIGHT_WITHIN_S
        while self.loop.time() < give_up:
            await asyncio.sleep(1.0)
            rows = self.server.tables.rows
            left = any(rows[name] for name in ("inbox", "outbox", "mail", "timer", "dead"))
            if not self.telegram.pending and not left:
                return True
        return False


def simulate(seed: int) -> Outcome:
    """Run one seed."""
    rng = random.Random(seed)
    loop = SimLoop(rng)
    loop.shuffled = rng.random() < 0.3
    outside = copy_context()
    server = Server(rng, outside)

    def context() -> Context:
        return copy_context()

    def at_crash(act: Callable[[], object]) -> None:
        if (process := running_process(copy_context())) is not None:
            process.at_crash.append(act)

    async def run() -> Outcome:
        return await Run(seed, loop, rng, server).run()

    loop.set_exception_handler(lambda *_: None)  # of processes that are no more
    try:
        with in_place_of_postgres(server, context, at_crash):
            return loop.run_until_complete(run())
    finally:
        loop.close()


def main() -> int:
    """Return 0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.shares", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--replay", type=int)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--stop-at-first", action="store_true", help="end with the first failure")
    given = parser.parse_args()
    if given.replay is not None:
        renderer = structlog.dev.ConsoleRenderer(colors=False, sort_keys=False)
        structlog.configure(processors=[stamp, structlog.processors.format_exc_info, renderer])
        outcome = simulate(given.replay)
        print(*outcome.failures, sep="\n")
        return 1 if outcome.failures else 0
    began = time.monotonic()
    counts: Counter[str] = Counter()
    updates = failed = done = 0
    with multiprocessing.get_context("forkserver").Pool(given.processes, initializer=be_quiet) as pool:
        for outcome in pool.imap_unordered(simulate, range(given.first, given.first + given.seeds)):
            done += 1
            counts.update(outcome.counts)
            updates += outcome.updates
            failed += bool(outcome.failures)
            for failure in outcome.failures[:3]:
                print(f"seed {outcome.seed}: {failure[:400]}", flush=True)
            if failed and given.stop_at_first:
                break
    print(", ".join(f"{count} {what}" for what, count in counts.most_common()))
    print(f"{done} seeds, {updates} updates in {time.monotonic() - began:.0f} s: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
