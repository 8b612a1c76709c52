"""Two kinds of store for the simulation.

shared   the memory store as several processes would share it over a network: each process has a session of its own,
         and a connection on which requests and answers get lost. The model of a store like Redis.
file     the SQLite store: a real file, a thread that takes its time, and a disk that fails.
"""

import asyncio
import errno
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

from engine import Call, Delivery, Effects, Envelope, LeaseLost, Queue, StoreError, StoreUnavailable
from engine.model import DeadLetter, LaneView, Lease, Post, QueueStats, Right, Stats
from engine.store import Arrived, FullStore, Limits, Lost, NoNotes
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore, open_sqlite
from engine.stores.sqlite.disk import connect, renew
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.space import allocate
from tests.kit.loop_thread import LoopThread
from tests.sim.loop import Process
from tests.sim.telegram_side import TelegramSide
from tests.sim.trouble import STORE, Trouble

T = TypeVar("T")

LEASE_TTL_S: Final = 15.0
_RENEW_EVERY_S: Final = 5.0
_LOOK_EVERY_S: Final = 10.0


class Stores(Protocol):
    """How the processes of one simulation get at their store."""

    processes_max: int

    async def open(self, process: Process) -> FullStore:
        """Open it for one process."""

    def unmount(self) -> None:
        """The file's folder goes away."""

    def mount(self) -> None:
        """It is back, if it was away."""

    async def inspect(self) -> FullStore:
        """Return it as it is, when no process works on it any more."""


class SharedStores:
    """Sessions over the same data, each behind a bad connection."""

    processes_max = 3

    def __init__(self, side: TelegramSide, limits: Limits, wall: Callable[[], float]) -> None:
        self._side = side
        self._first = MemoryStore(limits=limits, lease_ttl_s=LEASE_TTL_S, wall=wall)

    async def open(self, process: Process) -> FullStore:
        connection = Connection(self._first.peer(), self._side, process)
        await connection.renew()
        connection.renewing = asyncio.create_task(connection.renew_often(), name="renewals")
        return cast("FullStore", connection)

    def unmount(self) -> None:
        pass

    def mount(self) -> None:
        pass

    async def inspect(self) -> FullStore:
        return self._first


class Connection:
    """One session, over a network that loses requests and answers; it keeps what engine/store.py promises.

    The session renews itself, as the process does that opened it: not while it is frozen, and not when that fails.
    """

    def __init__(self, session: MemoryStore, side: TelegramSide, process: Process) -> None:
        self._session = session
        self._side = side
        self._trouble = side.trouble
        process.at_crash.append(self._drop)
        self._waits: set[asyncio.Task[Any]] = set()
        self.renewing: asyncio.Task[None]
        self.notes = NoNotes()
        self.sharing = session.sharing
        self.database = session.database

    async def right(self) -> Right:
        trouble = self._trouble
        fault = self._pick()
        await asyncio.sleep(trouble.short_s())
        if fault in {"before", "after", "late"}:
            raise StoreUnavailable("simulated")
        waiting = self._wait_for(self._session.right())
        try:
            right = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            waiting.cancel()
            raise
        await asyncio.sleep(trouble.long_s() if fault == "slow" else trouble.short_s())
        return right

    async def resign(self, right: Right) -> None:
        await self._ask(lambda: self._session.resign(right))

    async def append(
        self,
        right: Right,
        batch: Sequence[Envelope],
        aliases: Sequence[tuple[str, str]] = (),
        posts: Sequence[Post] = (),
    ) -> int:
        return await self._ask(lambda: self._session.append(right, batch, aliases, posts))

    async def post(self, posts: Sequence[Post]) -> None:
        await self._ask(lambda: self._session.post(posts))

    async def leave(self) -> None:
        await self._ask(self._session.leave)

    def watch(self, queue: Queue, lost: Lost, arrived: Arrived | None = None) -> None:
        loop, process = asyncio.get_running_loop(), copy_context()

        def learn(leases: Collection[Lease]) -> None:
            loop.call_later(self._trouble.short_s(), lost, leases, context=process.copy())

        self._session.watch(queue, learn, arrived)

    def lane(self, key: str) -> str:
        return self._session.lane(key)

    async def claim(self, queue: Queue) -> Delivery:
        trouble = self._trouble
        fault = self._pick()
        await asyncio.sleep(trouble.short_s())
        if fault in {"before", "after", "late"}:
            raise StoreUnavailable("simulated")  # whichever it was: no lease may be left
        claiming = self._wait_for(self._session.claim(queue))
        try:
            delivery = await asyncio.shield(claiming)
            await asyncio.sleep(trouble.long_s() if fault == "slow" else trouble.short_s())
        except asyncio.CancelledError:
            if claiming.done() and not claiming.cancelled():
                with suppress(LeaseLost):
                    await self._session.release(claiming.result())  # at once: it has no await inside
            claiming.cancel()
            raise
        return delivery

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        return await self._ask(lambda: self._session.commit(delivery, effects, more=more))

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        return await self._ask(lambda: self._session.peek(delivery, limit))

    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        return await self._ask(lambda: self._session.look(delivery, limit))

    async def state(self, key: str, scope: str) -> bytes | None:
        return await self._ask(lambda: self._session.state(key, scope))

    async def park(
        self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str, calls: tuple[Call, ...] = ()
    ) -> None:
        await self._ask(
            lambda: self._session.park(delivery, delay_s, counted=counted, reason=reason, calls=calls)
        )

    async def bury(self, delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> None:
        await self._ask(lambda: self._session.bury(delivery, reason, calls))

    async def release(self, delivery: Delivery) -> None:
        return await self._ask(lambda: self._session.release(delivery))

    async def renew(self) -> None:
        """Keep what the session holds for LEASE_TTL_S from when this reaches the store."""

        async def count_anew() -> None:
            self._session.hang()

        await self._ask(count_anew)

    async def renew_often(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            with suppress(StoreUnavailable):
                await self.renew()

    async def room(self, pending_max: int) -> int:
        return await self._ask(lambda: self._session.room(pending_max))

    def mine(self, queue: Queue) -> QueueStats:
        return self._session.mine(queue)

    async def settled(self, queue: Queue) -> None:
        await self._session.settled(queue)

    async def stats(self) -> Stats:
        return await self._session.stats()

    async def close(self) -> None:
        self.renewing.cancel()
        await self._session.close()

    async def lanes(self, queue: Queue, limit: int = 100) -> list[LaneView]:
        return await self._session.lanes(queue, limit)

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        return await self._session.dead_letters(limit)

    async def replay(self, number: int) -> bool:
        return await self._ask(lambda: self._session.replay(number))

    def _pick(self) -> str | None:
        return self._trouble.pick("store", STORE, asyncio.get_running_loop().time())

    def _wait_for(self, asked: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Let the store's side wait for something, for as long as the process lives."""
        waiting = self._side.run(asked)
        self._waits.add(waiting)
        waiting.add_done_callback(self._waits.discard)
        return waiting

    def _drop(self) -> None:
        for waiting in self._waits:
            waiting.cancel()

    async def _ask(self, act: Callable[[], Awaitable[T]]) -> T:
        """One request: it acts on the store's side, whatever becomes of who asked."""
        trouble = self._trouble
        fault = self._pick()
        await asyncio.sleep(trouble.short_s())
        if fault == "before":
            raise StoreUnavailable("simulated: not sent")

        async def serve() -> T:
            if fault == "late":
                await asyncio.sleep(trouble.long_s())
            return await act()

        asked = self._side.run(serve())
        if fault == "late":
            raise StoreUnavailable("simulated: no answer in time")
        result = await asyncio.shield(asked)
        await asyncio.sleep(trouble.long_s() if fault == "slow" else trouble.short_s())
        if fault == "after":
            raise StoreUnavailable("simulated: the answer was lost")
        return result


class FileStores:
    """One file, owned by one process at a time."""

    processes_max = 1

    def __init__(self, path: Path, trouble: Trouble, limits: Limits, wall: Callable[[], float]) -> None:
        self._volume = path.parent / "volume"
        self._away = path.parent / "away"
        self._volume.mkdir()
        self._path = self._volume / path.name
        self._space = Space(trouble.rng.randint(20, 100) if trouble.perils.own_log else None)
        self._trouble = trouble
        self._limits = limits
        self._wall = wall

    async def open(self, process: Process) -> FullStore:
        if self._away.exists():
            raise StoreError("simulated: the volume is not mounted")
        trouble = self._trouble
        connections: list[BadDisk] = []
        opened: list[SqliteStore] = []

        def connect_badly(path: Path, *more: Any, **named: Any) -> sqlite3.Connection:
            if self._fails("open"):
                raise _error(sqlite3.SQLITE_CANTOPEN)
            connections.append(BadDisk(connect(path, *more, **named), self._trouble, self._space))
            return cast("sqlite3.Connection", connections[-1])

        def renew_badly(log: Path) -> None:
            if self._fails("renew"):
                raise OSError(errno.EIO, "simulated")
            renew(log)

        def allocate_badly(fd: int, offset: int, size: int) -> None:
            if self._fails("allocate"):
                raise OSError(trouble.rng.choice((errno.ENOSPC, errno.EIO)), "simulated")
            allocate(fd, offset, size)

        def some_time_later(act: Callable[[], object]) -> None:
            asyncio.get_running_loop().call_later(trouble.short_s(), act)

        def let_go() -> None:
            for connection in connections:
                connection.die()
            for store in opened:
                _let_go(store._ledger.file)
            self._unlock()

        process.at_crash.append(let_go)
        store = await open_sqlite(
            self._path,
            "1",
            limits=self._limits,
            wall=self._wall,
            connect=connect_badly,
            renew=renew_badly,
            allocate=allocate_badly,
            thread=lambda: LoopThread(some_time_later),
            look_every_s=_LOOK_EVERY_S,
        )
        opened.append(store)
        return store

    def _fails(self, what: str) -> bool:
        trouble = self._trouble
        now = asyncio.get_running_loop().time()
        return trouble.perils.reads and trouble.pick("store", (what,), now) is not None

    def unmount(self) -> None:
        if not self._away.exists():
            self._volume.rename(self._away)
            self._volume.mkdir()

    def mount(self) -> None:
        if self._away.exists():
            shutil.rmtree(self._volume)
            self._away.rename(self._volume)

    def _unlock(self) -> None:
        """As the kernel does for a dead process, whoever in it held the lock."""
        locks = {str(folder / f"{self._path.name}-lock") for folder in (self._volume, self._away)}
        for fd in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if str(fd.readlink()) in locks:
                    os.close(int(fd.name))

    async def inspect(self) -> FullStore:
        return await open_sqlite(
            self._path, "1", limits=self._limits, wall=self._wall, thread=LoopThread, look_every_s=None
        )


def _let_go(file: StoreFile) -> None:
    """As the kernel does for a dead process."""
    file._space.close()
    running = file.running
    if running._fd >= 0:
        os.close(running._fd)
        running._fd = -1


class Space:
    """Room for `commits_max` transactions in SQLite's log (None: for any number), until it is folded into the file."""

    def __init__(self, commits_max: int | None) -> None:
        self._commits_max = commits_max
        self._commits = 0

    @property
    def is_full(self) -> bool:
        return self._commits_max is not None and self._commits >= self._commits_max

    def grow(self) -> None:
        self._commits += 1

    def fold(self) -> None:
        self._commits = 0


class BadDisk:
    """A connection whose calls fail: before they act, or after a commit has acted."""

    _BEFORE: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_WRITE)

    def __init__(self, connection: sqlite3.Connection, trouble: Trouble, space: Space) -> None:
        self._connection = connection
        self._trouble = trouble
        self._space = space

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        word = statement.partition(" ")[0]
        fault = None
        if word in {"BEGIN", "INSERT", "COMMIT"}:
            fault = self._trouble.pick("store", ("before", "after"), asyncio.get_running_loop().time())
        elif self._trouble.perils.reads and word != "ROLLBACK":
            fault = self._trouble.pick("store", ("read",), asyncio.get_running_loop().time())
        if fault == "before":
            raise _error(self._trouble.rng.choice(self._BEFORE))
        if fault == "read":
            raise _error(sqlite3.SQLITE_IOERR_READ)
        if self._space.is_full and word in {"INSERT", "UPDATE", "DELETE", "COMMIT"}:
            raise _error(sqlite3.SQLITE_FULL)
        cursor = self._connection.execute(statement, values)
        if word == "COMMIT":
            self._space.grow()
        if "wal_checkpoint" in statement:
            self._space.fold()
        if fault == "after" and word == "COMMIT":
            raise _error(sqlite3.SQLITE_IOERR_FSYNC)
        return cursor

    def executemany(self, statement: str, values: Iterable[Sequence[Any]]) -> sqlite3.Cursor:
        return self._connection.executemany(statement, values)

    def close(self) -> None:
        self._space.fold()  # the last connection does it
        self._connection.close()

    def die(self) -> None:
        """Its process has died."""
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("simulated")
    error.sqlite_errorcode = code
    return error
