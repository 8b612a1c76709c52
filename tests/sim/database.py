"""A PostgreSQL server for the simulation of the real PostgreSQL store; its statements are in database_statements.py.

A statement is executed at one moment, and its locks and writes stay its transaction's until that is committed: a statement by
itself, or what is between BEGIN and COMMIT. A commit takes as long as the disk does: meanwhile others do not see what it
writes, and wait for its locks, or skip them. So what others see first may have been executed last, with a higher number.
A statement whose client is gone is executed to its end; a transaction that a client leaves open is rolled back.

What goes wrong: connections end before a statement arrives, or after it was executed, or it arrives later, or never has an
answer; the server crashes, which empties the canary, and what was being committed is there or not; a standby takes its
place, which may lack the last seconds.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Any, Final, NamedTuple

import asyncpg

from engine.stores.owned.shares import SHARES
from engine.stores.postgres.connection import COMMAND_S

IDLE_S: Final = 10.0
_LOCK_S: Final = 5.0
_DEADLOCK_S: Final = 1.0
_ANSWER_S: Final = COMMAND_S  # then the driver waits no more (asyncpg, command_timeout)
NO_LIMIT: Final = "SET LOCAL statement_timeout = 0"
"""It needs no snapshot."""

_STANDBY_EVERY_S: Final = 0.5
_KEPT: Final = 12  # standbys, by how much they are behind
_CONFLICTS: Final = {
    "key share": {"update"},
    "share": {"no key update", "update"},
    "no key update": {"share", "no key update", "update"},
    "update": {"key share", "share", "no key update", "update"},
}
"""PostgreSQL documentation, 13.3.2, Conflicting Row-Level Locks."""


class Faults(NamedTuple):
    """How often a statement meets what."""

    before: float = 0.0
    after: float = 0.0
    late: float = 0.0
    slow: float = 0.0
    never: float = 0.0
    cancelled: float = 0.0


class Tables:
    """What is kept. `copied` is as of one moment: rows are never changed, only replaced."""

    def __init__(self) -> None:
        self.session: dict[int, dict[str, Any]] = {}
        self.owner: int | None = None  # who has the right to append
        self.epoch = 0
        self.share: dict[int, int | None] = dict.fromkeys(range(SHARES))
        self.rows: dict[str, dict[Any, tuple[Any, ...]]] = {
            name: {}
            for name in (
                "inbox", "outbox", "timer", "dead", "mail", "state", "seen", "parked", "alias", "mark",
                "own", "total", "desk", "asked", "answered",
            )
        }  # fmt: skip
        self.mails = self.asked = 0  # the last ones of two sequences

    def copied(self) -> "Tables":
        """Return a copy."""
        copy = Tables.__new__(Tables)
        copy.__dict__.update(self.__dict__)
        copy.session = {id_: dict(row) for id_, row in self.session.items()}
        copy.share = dict(self.share)
        copy.rows = {name: dict(rows) for name, rows in self.rows.items()}
        return copy


class Backend:
    """The server's end of a connection."""

    def __init__(self, application: str) -> None:
        self.application = application
        self.is_alive = True
        self.is_orphan = False  # its client is gone
        self.is_busy = False
        self.channel: str | None = None
        self.heard: Callable[..., Any] | None = None
        self.context: Context | None = None
        self.idle_s = IDLE_S
        self.idle: asyncio.TimerHandle | None = None
        # Of its transaction:
        self.is_open = False  # begun by BEGIN
        self.is_repeatable = False
        self.has_failed = False
        self.is_committing = False
        self.tables: Tables | None = None  # its snapshot, if that is of its first statement
        self.changes: list[Callable[[Tables], object]] = []
        self.locks: dict[tuple[str, Any], set[str]] = {}
        self.waits_for: list[Backend] = []
        self.vouched: set[tuple[int, int]] = set()  # sessions and stints that must be in force at its commit


class Server:
    """One server after the other, at the same address."""

    def __init__(self, rng: random.Random, outside: Context) -> None:
        self.rng = rng
        self.faults = Faults()
        self.tables = Tables()
        self.nonce: int | None = None
        self.is_up = True
        self.rolled_back = 0
        self.slow_commit_s = 0.0
        self.slow_commits = 0.0  # which part of the commits is so slow
        self.rings = 0.9  # which part of the bells is heard
        self.unknown: set[str] = set()
        """Statements that it should know."""

        self.broken: list[str] = []
        """What it should never have committed."""

        self.counts: dict[str, int] = {}
        self.peril: Callable[[Connection, str], object] = lambda *_: None
        """Called before a statement is sent, and when it was executed and its answer is under way."""

        self._outside = outside
        self._started_at = -1e9
        self._backends: dict[Backend, None] = {}  # in order, so that a seed is a run
        self._locks: dict[tuple[str, Any], dict[Backend, None]] = defaultdict(dict)
        self._standbys: list[Tables] = []
        self._changed = asyncio.Event()

    @property
    def now(self) -> float:
        """The server's clock."""
        return asyncio.get_running_loop().time()

    def count(self, what: str) -> None:
        """Count what has happened."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def run(self, work: Awaitable[Any]) -> "asyncio.Task[Any]":
        """Let the server do something, whatever becomes of who asked."""
        return asyncio.get_running_loop().create_task(work, context=self._outside.copy())  # type: ignore[arg-type]

    def later(self, delay_s: float, act: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Let the server do something in a while."""
        return asyncio.get_running_loop().call_later(delay_s, act, *args, context=self._outside.copy())

    async def follow(self) -> None:
        """Keep standbys that are behind by different times, until cancelled."""
        while True:
            await asyncio.sleep(_STANDBY_EVERY_S)
            self._standbys = [self.tables.copied(), *self._standbys[: _KEPT - 1]]

    def crash(self) -> None:
        """End all connections; what was committed stays."""
        self.count("crash")
        self._new_server(may_commit=True)
        self._started_at = self.now

    def fail_over(self, *, behind: bool) -> None:
        """Let a standby take over: one that has all, or one that lacks the last seconds."""
        if behind and self._standbys:
            self.count("failover that rolls back")
            self.rolled_back += 1
            self._new_server(may_commit=False)
            self.tables = self.rng.choice(self._standbys)
            self._standbys = [self.tables.copied()]
        else:
            self.count("failover")
            self._new_server(may_commit=True)

    def _new_server(self, *, may_commit: bool) -> None:
        self.nonce = None
        for backend in list(self._backends):
            if backend.is_committing and may_commit and self.rng.random() < 0.5:
                self.count("crash after a commit")
                self._apply(backend)
            backend.is_committing = False
            self._remove(backend)

    # -- connections ---------------------------------------------------------------------------------------------------

    def join(self, backend: Backend) -> None:
        """Take a connection."""
        self._backends[backend] = None

    def end(self, backend: Backend) -> None:
        """Note that its client is gone: what is under way is executed to its end."""
        backend.is_orphan = True
        backend.channel = None
        if not backend.is_busy:
            self._remove(backend)

    def terminate(self, backend: Backend) -> None:
        """End a connection as pg_terminate_backend does; a commit that has begun is finished."""
        if backend.is_committing:
            self.end(backend)
        else:
            self._remove(backend)

    def _remove(self, backend: Backend) -> None:
        backend.is_alive = False
        self._backends.pop(backend, None)
        self.finish(backend)

    def running(self) -> list[Backend]:
        """Return the connections whose transactions have a number: those that have locked or written a row."""
        return [each for each in self._backends if each.locks or each.changes]

    def backends_of(self, session_id: int) -> list[Backend]:
        """Return the connections of a session."""
        return [each for each in self._backends if each.application == f"chatlane {session_id}"]

    # -- transactions --------------------------------------------------------------------------------------------------

    def begin(self, backend: Backend, *, is_repeatable: bool = False) -> None:
        """Begin one that ends with COMMIT or ROLLBACK."""
        backend.is_open, backend.is_repeatable = True, is_repeatable

    async def commit(self, backend: Backend) -> None:
        """Make durable what it has written, which takes a while, and end the transaction."""
        if backend.changes:
            backend.is_committing = True
            drawn = self.rng.random()
            await asyncio.sleep(
                self.slow_commit_s * self.rng.random() if drawn < self.slow_commits else 0.001
            )
            if not backend.is_committing:
                raise asyncpg.ConnectionDoesNotExistError("simulated")
            backend.is_committing = False
            self._apply(backend)
        self.finish(backend)

    def _apply(self, backend: Backend) -> None:
        for id_, stint in backend.vouched:
            row = self.tables.session.get(id_)
            if row is None or row["stint"] != stint:
                self.broken.append(f"a session that was over has committed, at {self.now:.3f}")
        for change in backend.changes:
            change(self.tables)

    def finish(self, backend: Backend) -> None:
        """End its transaction; what is not committed by now is rolled back."""
        backend.is_open = backend.is_repeatable = backend.has_failed = False
        self.forget(backend)

    def forget(self, backend: Backend) -> None:
        """Drop what it has written, and its locks."""
        backend.tables = None
        backend.changes.clear()
        backend.vouched.clear()
        backend.waits_for = []
        for row in backend.locks:
            self._locks[row].pop(backend, None)
            if not self._locks[row]:
                del self._locks[row]
        if backend.idle is not None:
            backend.idle.cancel()
            backend.idle = None
        if backend.locks:
            backend.locks.clear()
            self._changed.set()
            self._changed = asyncio.Event()

    def holders(self, kind: str, row: Any, how: str, backend: Backend | None = None) -> list[Backend]:
        """Return who has a lock that conflicts with this one."""
        if (kind, row) not in self._locks:
            return []
        others = _CONFLICTS[how]
        return [
            each for each in self._locks[kind, row] if each is not backend and each.locks[kind, row] & others
        ]

    async def lock(self, backend: Backend, kind: str, row: Any, how: str) -> None:
        """Wait for a row, and keep it locked until the end of the transaction."""
        began = self.now
        while holders := self.holders(kind, row, how, backend):
            backend.waits_for = holders
            if self.now >= began + _LOCK_S:
                raise asyncpg.LockNotAvailableError("simulated")
            if self.now >= began + _DEADLOCK_S and _waits_for_itself(backend):
                self.count("deadlock")
                raise asyncpg.DeadlockDetectedError("simulated")
            changed = self._changed
            with suppress(TimeoutError):
                async with asyncio.timeout(_DEADLOCK_S):
                    await changed.wait()
            if not backend.is_alive:
                raise asyncpg.ConnectionDoesNotExistError("simulated")
        backend.waits_for = []
        backend.locks.setdefault((kind, row), set()).add(how)
        self._locks[kind, row][backend] = None

    # -- bells ---------------------------------------------------------------------------------------------------------

    def notify(self, channel: str, payload: str) -> None:
        """Ring; a bell may be lost."""
        for backend in list(self._backends):
            if backend.channel == channel and backend.heard is not None and self.rng.random() < self.rings:
                self.later(0.01 * self.rng.random(), self._heard, backend, channel, payload)

    def _heard(self, backend: Backend, channel: str, payload: str) -> None:
        if backend.channel is not None and backend.heard is not None and backend.context is not None:
            asyncio.get_running_loop().call_soon(
                backend.heard, None, 0, channel, payload, context=backend.context.copy()
            )


def _waits_for_itself(backend: Backend) -> bool:
    found, look_at = set(), [backend]
    while look_at:
        for other in look_at.pop().waits_for:
            if other is backend:
                return True
            if other not in found:
                found.add(other)
                look_at.append(other)
    return False


# -- statements ------------------------------------------------------------------------------------------------------------

Do = Callable[[Server, Backend, Tables, tuple[Any, ...]], Any]
STATEMENTS: dict[str, Do] = {}


class Asked(str):
    """The text of a statement that carries what it does."""

    __slots__ = ("do",)
    do: Do


def asked(text: str, do: Do) -> Asked:
    """Return a statement that does this."""
    statement = Asked(text)
    statement.do = do
    return statement


def nothing(*_: Any) -> list[Any]:
    """Do nothing."""
    return []


async def commit(server: Server, backend: Backend, _: Tables, __: tuple[Any, ...]) -> str:
    """COMMIT, which rolls back what has failed."""
    if not backend.is_open:
        return "COMMIT"  # with a warning
    if backend.has_failed:
        server.finish(backend)
        return "ROLLBACK"
    await server.commit(backend)
    return "COMMIT"


def roll_back(server: Server, backend: Backend, _: Tables, __: tuple[Any, ...]) -> str:
    """ROLLBACK."""
    server.finish(backend)
    return "ROLLBACK"


ENDS: Final = {"COMMIT": commit, "ROLLBACK": roll_back}


# -- the client's end ------------------------------------------------------------------------------------------------------


def _give_up(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class Connection:
    """See engine/stores/postgres/connection.py."""

    def __init__(self, server: Server, application: str, context: Context) -> None:
        self._server = server
        self._backend = Backend(application)
        self._backend.context = context
        self._is_closed = False
        self._is_in_transaction = False
        self._answer: asyncio.Future[Any] | None = None
        self._serving: asyncio.Task[None] | None = None
        server.join(self._backend)

    async def execute(self, query: str, *values: Any) -> str:
        """See Connection."""
        result = await self._ask(query, values)
        return result if isinstance(result, str) else "OK"

    async def fetch(self, query: str, *values: Any, timeout: float | None = None) -> list[Any]:
        """See Connection."""
        found: list[Any] = await self._ask(query, values)
        return found

    async def fetchrow(self, query: str, *values: Any, timeout: float | None = None) -> Any:
        """See Connection."""
        rows = await self._ask(query, values)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *values: Any) -> Any:
        """See Connection."""
        rows = await self._ask(query, values)
        return rows[0][0] if rows else None

    def transaction(self, *, isolation: str | None = None) -> "Transaction":
        """See Connection."""
        return Transaction(self, is_repeatable=isolation is not None)

    async def prepare(self, query: str) -> "Prepared":
        """See Connection."""
        await self._ask("", ())
        return Prepared(self, query)

    async def add_listener(self, channel: str, callback: Any) -> None:
        """See Connection."""
        await self._ask("", ())
        self._backend.channel, self._backend.heard = channel, callback

    def add_log_listener(self, callback: Any) -> None:
        """See Connection."""

    def is_closed(self) -> bool:
        """See Connection."""
        return self._is_closed

    def is_in_transaction(self) -> bool:
        """See Connection."""
        return self._is_in_transaction

    async def close(self) -> None:
        """See Connection."""
        self.terminate()

    def terminate(self) -> None:
        """See Connection. The server learns of it a little later."""
        if not self._is_closed:
            self._cut(0.01)

    def drop(self) -> None:
        """End with the process."""
        self._server.end(self._backend)

    def _cut(self, after_s: float) -> None:
        self._is_closed = True
        self._is_in_transaction = False
        self._server.later(after_s, self._server.end, self._backend)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(asyncpg.ConnectionDoesNotExistError("simulated"))

    async def _ask(self, query: str, values: tuple[Any, ...]) -> Any:
        server, rng = self._server, self._server.rng
        if self._is_closed or not self._backend.is_alive:
            self._is_closed, self._is_in_transaction = True, False
            raise asyncpg.InterfaceError("connection is closed")
        if self._answer is not None and not self._answer.done():
            raise asyncpg.InterfaceError("another operation is in progress")
        if self._serving is not None and not self._serving.done():
            await asyncio.wait([self._serving])  # of a caller that was cancelled
        server.peril(self, "before")
        fault = self._fault()
        self._answer = answer = asyncio.get_running_loop().create_future()
        if fault == "before":
            server.later(0.002 * rng.random(), self._cut_off)
        elif fault != "never":
            self._serving = server.run(self._serve(query, values, fault))
            if fault == "late":
                server.later(0.002 * rng.random(), self._cut_off)
        late = asyncio.get_running_loop().call_later(_ANSWER_S, _give_up, answer)
        try:
            return await answer
        finally:
            late.cancel()

    def _cut_off(self) -> None:
        if not self._is_closed:
            self._cut(2.0 * self._server.rng.random())

    def _fault(self) -> str | None:
        drawn = self._server.rng.random()
        for name_, odds in zip(Faults._fields, self._server.faults, strict=True):
            if (drawn := drawn - odds) < 0:
                self._server.count(name_)
                return name_
        return None

    async def _serve(self, query: str, values: tuple[Any, ...], fault: str | None) -> None:
        """Execute a statement, and answer."""
        server, rng = self._server, self._server.rng
        await asyncio.sleep((2.0 if fault == "late" else 0.002) * rng.random())
        result, error = await self._execute(query, values, fault)
        server.peril(self, "after")
        if fault == "after" or isinstance(error, asyncpg.ConnectionDoesNotExistError):
            self._cut_off()
            return
        delay_s = (1.0 if fault == "slow" else 0.002) * rng.random()
        server.later(delay_s, self._answered, result, error, self._backend.is_open)

    def _answered(self, result: Any, error: Exception | None, is_open: bool) -> None:
        if self._answer is None or self._answer.done():
            return
        self._is_in_transaction = is_open
        if error is None:
            self._answer.set_result(result)
        else:
            self._answer.set_exception(error)

    async def _execute(
        self, query: str, values: tuple[Any, ...], fault: str | None
    ) -> tuple[Any, Exception | None]:
        server, backend = self._server, self._backend
        if not backend.is_alive or not server.is_up:
            return None, asyncpg.ConnectionDoesNotExistError("simulated")
        if backend.idle is not None:
            backend.idle.cancel()
        backend.is_busy = True
        try:
            if fault == "cancelled" and query not in ENDS:
                raise asyncpg.QueryCanceledError("simulated")
            return await self._done(query, values), None
        except asyncpg.PostgresError as error:
            if backend.is_open:
                backend.has_failed = True
                server.forget(backend)
            else:
                server.finish(backend)
            return None, error
        finally:
            backend.is_busy = False
            if backend.is_orphan:
                server.end(backend)
            elif backend.is_open and backend.is_alive:
                backend.idle = server.later(backend.idle_s, server.terminate, backend)

    async def _done(self, query: str, values: tuple[Any, ...]) -> Any:
        server, backend = self._server, self._backend
        if (end := ENDS.get(query)) is not None:
            ended = end(server, backend, server.tables, values)
            return await ended if asyncio.iscoroutine(ended) else ended
        if backend.has_failed:
            raise asyncpg.InFailedSQLTransactionError("simulated")
        do = query.do if isinstance(query, Asked) else STATEMENTS.get(query, nothing if not query else None)
        if do is None:
            server.unknown.add(query)
            raise asyncpg.PostgresSyntaxError("the simulated server does not know this statement")
        if backend.is_repeatable and backend.tables is None and query not in {"BEGIN", NO_LIMIT}:
            backend.tables = server.tables.copied()
        result = do(server, backend, backend.tables or server.tables, values)
        if asyncio.iscoroutine(result):
            result = await result
        if not backend.is_open:
            await server.commit(backend)
        if not backend.is_alive:
            raise asyncpg.ConnectionDoesNotExistError("simulated")
        return result


class Prepared:
    """What `prepare` returns."""

    def __init__(self, connection: Connection, query: str) -> None:
        self._connection = connection
        self._query = query
        self._count = 0

    async def fetch(self, *values: Any) -> list[Any]:
        """Execute it."""
        rows: list[Any] = await self._connection.fetch(self._query, *values)
        self._count = 1
        return rows

    def get_statusmsg(self) -> str:
        """Return the tag."""
        return f"INSERT 0 {self._count}"


class Transaction:
    """What `transaction` returns."""

    def __init__(self, connection: Connection, *, is_repeatable: bool) -> None:
        self._connection = connection
        self._is_repeatable = is_repeatable

    async def __aenter__(self) -> None:
        def begin(server: Server, backend: Backend, _: Tables, __: Any) -> list[Any]:
            server.begin(backend, is_repeatable=self._is_repeatable)
            return []

        await self._connection._ask(asked("BEGIN", begin), ())

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self._connection.execute("COMMIT")
        elif not self._connection.is_closed():
            await self._connection.execute("ROLLBACK")
