"""The stores as the stateful tests drive and observe them: sessions that crash, and everything that is in there.

What a store has in memory and what stands in its file are compared on the way.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import asyncpg

from engine import Limits, Queue, StoreUnavailable
from engine.embedded.lanes import LaneTable
from engine.model import Envelope
from engine.store import ID_MASK
from engine.stores.memory import MemoryStore
from engine.stores.owned.group import Steps
from engine.stores.owned.store import OwnedStore
from engine.stores.postgres import PostgresStore, open_postgres
from engine.stores.sqlite import SqliteStore, open_sqlite
from engine.stores.sqlite.writer import Writer
from tests.kit.loop_thread import LoopThread
from tests.kit.patient import Awaited, PatientLoop
from tests.kit.view import LaneSeen, TimerSeen, View, plain

WALL_S: Final = 1_700_000_000.0
TTL_S: Final = 7200.0
_ALL: Final = 1_000


def wall() -> float:
    return WALL_S + asyncio.get_running_loop().time()


class Memory:
    """Two sessions over the same data; one that crashes is replaced by a new one."""

    reopens = False

    def __init__(self, limits: Limits, _: Path) -> None:
        self._first = MemoryStore(limits=limits, lease_ttl_s=TTL_S, wall=wall)
        self.sessions: list[Any] = [self._first, self._first.peer()]
        self.names = [0, 1]  # of the sessions, never used again

    async def open(self) -> None:
        await self.pass_time(0)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; whoever lives renews by itself."""
        await asyncio.sleep(seconds)

    def abandon(self, index: int) -> None:
        """A process dies: nobody renews for it any more."""
        self.sessions[index].hang()
        self._replace(index)

    async def recover(self) -> None:
        """Time enough that what it held may be taken over."""
        await self.pass_time(TTL_S + 1)

    async def settle(self) -> None:
        """Everything happens at its moment."""

    def fill_disk(self, full: bool) -> None:
        """It has none."""

    async def close(self, index: int) -> None:
        await self.sessions[index].close()
        self._replace(index)
        await self.pass_time(0)

    async def end(self) -> None:
        for session in self.sessions:
            await session.close()

    async def view(self) -> View:
        data = self._first._data
        lanes: dict[tuple[Queue, str], LaneSeen] = {}
        for queue, part in data.queues.items():
            lanes |= await _lanes(self._first, part.lanes, queue, part.envelopes)
        timers = [TimerSeen(*name, timer.at, timer.body) for name, timer in data.timers.items()]
        assert all(data.timers[name].id == place for place, name in data.due.items())
        return await _view(self._first, lanes, dict(data.states), timers)

    def ready(self, queue: Queue) -> list[str]:
        return _ready(self._first._data.queues[queue].lanes)

    def _replace(self, index: int) -> None:
        self.sessions[index] = self._first.peer()
        self.names[index] = max(self.names) + 1


class Sqlite:
    """One session; after a crash the file is opened again."""

    reopens = True

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._path = folder / "bot.db"
        self.sessions: list[Any] = []
        self.names = [0]

    @property
    def _store(self) -> SqliteStore:
        store: SqliteStore = self.sessions[0]
        return store

    async def open(self) -> None:
        self.sessions = [
            await open_sqlite(
                self._path, "1", limits=self._limits, wall=wall, thread=LoopThread, look_every_s=None
            )
        ]

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def abandon(self, _: int) -> None:
        """The process dies: its connection, its lock and its alarms go with it, whatever is under way."""
        self._store._timers.close()  # else it would look for timers each second, in vain, for days
        self._store._ended = StoreUnavailable("its process is dead")  # else it would read the file anew
        if self._store._recovery is not None:
            self._store._recovery.cancel()
        self._store._ledger.file.connection.close()
        self._store._ledger.file._space.close()
        os.close(self._store._ledger.file._lock or -1)
        os.close(self._store._ledger.file.running._fd)

    async def recover(self) -> None:
        await self.open()

    async def settle(self) -> None:
        """Let it find what is due now."""
        await asyncio.sleep(0)
        while self._store._timers._looking:
            await asyncio.sleep(0)

    def fill_disk(self, full: bool) -> None:
        """Let every transaction fail, or no longer."""
        writer = self._store._writer
        writer.__dict__.pop("_transact", None)
        if full:
            writer._transact = partial(_transact_on_full_disk, writer)  # type: ignore[method-assign]

    async def close(self, _: int) -> None:
        await self._store.close()
        await self.open()

    async def end(self) -> None:
        await self._store.close()

    async def view(self) -> View:
        query = self._store._ledger.file.connection.execute
        tables = {
            table: query(f"SELECT {columns} FROM {table}").fetchall() for table, columns in _COLUMNS.items()
        }
        return await _compared(self._store, tables)

    def ready(self, queue: Queue) -> list[str]:
        return _ready(self._store._queues[queue].lanes)


class Postgres:
    """One session at a time; after a crash another one takes over. `url` is that of a server of our own."""

    reopens = True
    url: ClassVar[str]
    _bots = count(2_000_001)

    def __init__(self, limits: Limits, _: Path) -> None:
        self._limits = limits
        self._bot = next(self._bots)
        self.sessions: list[Any] = []
        self.names = [0]
        self._loop: PatientLoop
        self._person: Any

    @property
    def _store(self) -> PostgresStore:
        store: PostgresStore = self.sessions[0]
        return store

    async def open(self) -> None:
        self._loop = cast("PatientLoop", asyncio.get_running_loop())
        with self._loop.awaiting():
            self._person = await asyncpg.connect(self.url.partition("?")[0])
        await self._open()

    async def _open(self) -> None:
        with self._loop.awaiting():
            store = await open_postgres(
                self.url, str(self._bot), limits=self._limits, wall=wall, shared=False, renew_every_s=None
            )
            store._writer._connection = Awaited(store._writer._connection, self._loop)  # type: ignore[assignment]
            self.sessions = [store]

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def abandon(self, _: int) -> None:
        """The process dies: its connections and its alarms go with it, whatever is under way."""
        self._store._timers.close()
        self._store._ended = StoreUnavailable("its process is dead")
        if self._store._recovery is not None:
            self._store._recovery.cancel()
        if self._store._sharing is not None:
            self._store._sharing.cancel()
        self._store._ledger._let_go()

    async def recover(self) -> None:
        """Let its time be over, once the server has ended what was under way."""
        application = self._store._ledger._session.application
        with self._loop.awaiting():
            while await self._person.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", application
            ):
                time.sleep(0.001)
            await self._person.execute("DELETE FROM chatlane.session WHERE bot = $1", self._bot)
        await self._open()

    async def settle(self) -> None:
        """Let it find what is due now."""
        while self._store._timers._looking or self._store._writer._busy:
            await asyncio.sleep(0)

    def fill_disk(self, full: bool) -> None:
        """Let every transaction fail, or no longer."""
        writer = self._store._writer
        writer.__dict__.pop("_transact", None)
        if full:
            writer._transact = _fail_on_full_disk  # type: ignore[method-assign, assignment]

    async def close(self, _: int) -> None:
        with self._loop.awaiting():
            await self._store.close()
        await self._open()

    async def end(self) -> None:
        """Let go of the server."""
        with self._loop.awaiting():
            await self._store.close()
            await self._person.close()

    async def view(self) -> View:
        tables = {}
        with self._loop.awaiting():
            for table, columns in _COLUMNS.items():
                query = f"SELECT {columns} FROM chatlane.{table} WHERE bot = $1"
                tables[table] = [tuple(row) for row in await self._person.fetch(query, self._bot)]
        return await _compared(self._store, tables)

    def ready(self, queue: Queue) -> list[str]:
        return _ready(self._store._queues[queue].lanes)


_COLUMNS: Final = {
    "inbox": "place, key, scope, body, at",
    "outbox": "place, key, scope, body, at",
    "state": "key, scope, state",
    "timer": "place, key, scope, name, at, body",
}


async def _compared(store: OwnedStore, tables: Mapping[str, Sequence[Any]]) -> View:
    """Return what is in there; what the store has in memory is what the tables say."""
    lanes: dict[tuple[Queue, str], LaneSeen] = {}
    for queue, part in store._queues.items():
        kept = {place: Envelope(place & ID_MASK, *row) for place, *row in tables[queue.value]}
        if queue is Queue.INBOX:
            kept |= {
                place: Envelope(place & ID_MASK, key, scope, body, at)
                for place, key, scope, _, at, body in tables["timer"]
                if place in store._timers._due
            }
        assert part.envelopes.items() <= kept.items(), "at hand is what is kept"
        lanes |= await _lanes(store, part.lanes, queue, kept)
    states = {(key, scope): state for key, scope, state in tables["state"]}
    at_hand = store._states._states
    assert all(states.get(name) == state for name, state in at_hand.items()), "at hand is what is kept"
    timers = [TimerSeen(*row) for _, *row in tables["timer"]]
    due = {place: (key, scope, name) for place, key, scope, name, *_ in tables["timer"]}
    assert store._timers._due.items() <= due.items()
    assert store._timers._places == {name: place for place, name in store._timers._due.items()}
    return await _view(store, lanes, states, timers)


async def _fail_on_full_disk(_: Steps) -> None:
    raise asyncpg.DiskFullError("simulated")


def _transact_on_full_disk(writer: Writer, steps: Steps, *, durable: bool) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("simulated: the disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    file = writer._file
    file.commit = fail  # type: ignore[method-assign]
    try:
        Writer._transact(writer, steps, durable=durable)
    finally:
        del file.commit


async def _lanes(
    store: Any, table: LaneTable, queue: Queue, envelopes: dict[int, Envelope]
) -> dict[tuple[Queue, str], LaneSeen]:
    """Return the lanes of a queue as they are told to a person, and what is pending in them."""
    seen = {}
    places = []
    for _, key, status, depth, attempts, wait_s, reason, *_ in await store.lanes(queue, _ALL):
        lane = table._lanes[key]
        pending = lane.pending[lane.start :].tolist()
        assert depth == len(pending)
        places += pending
        mine = tuple(plain(queue, envelopes[place]) for place in pending)
        assert {envelope.key for envelope in mine} == {key}
        fence = lane.fence if status == "leased" else None
        seen[queue, key] = LaneSeen(status, attempts, wait_s, reason, fence, mine)
    assert sorted(places) == sorted(envelopes), "each place is in one lane, and each has something on it"
    return seen


async def _view(
    store: Any,
    lanes: dict[tuple[Queue, str], LaneSeen],
    states: dict[tuple[str, str], bytes],
    timers: list[TimerSeen],
) -> View:
    stats = await store.stats()
    for queue in Queue:
        numbers = stats.of(queue)
        assert numbers.appended == numbers.committed + numbers.pending + numbers.dead, "conservation"
        statuses = [lane.status for name, lane in lanes.items() if name[0] is queue]
        assert list(numbers[4:]) == [statuses.count(status) for status in ("ready", "leased", "parked")]
    dead = [
        letter._replace(envelope=plain(letter.queue, letter.envelope))
        for letter in await store.dead_letters(_ALL)
    ]
    return View(
        lanes,
        {queue: stats.of(queue) for queue in Queue},
        states,
        dead,
        sorted(timer.plain() for timer in timers),
    )


def _ready(table: LaneTable) -> list[str]:
    return [lane.key for lane in table._ready]
