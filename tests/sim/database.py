"""A PostgreSQL server for the simulation of the real PostgreSQL store: it knows the store's statements, and its promises.

A statement is executed at one moment, between the time that it takes there and the time that its answer takes. A transaction
reads as of its first statement; what it writes is there at its end. Rows of sessions and shares are locked as in the server:
who wants them waits, or skips them. A client that is frozen inside a transaction is cut off after IDLE_S.

What goes wrong: connections end before a statement arrives, or after it was executed, or it arrives later; the server
crashes, which empties the canary; a standby takes its place, which may lack the last seconds.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from types import SimpleNamespace
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import asyncpg

from engine.stores.owned.group import DELETED, Combined
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import SHARES, share_of
from engine.stores.postgres import blocks, connection, keeper, ledger, session, source, statements, writer
from engine.stores.postgres.statements import Statement

SCHEMA: Final = "sim"
IDLE_S: Final = 10.0
_LOCK_S: Final = 5.0
_STANDBY_EVERY_S: Final = 0.5
_KEPT: Final = 12  # standbys, by how much they are behind


class Faults(NamedTuple):
    """How often a statement meets what."""

    before: float = 0.0
    after: float = 0.0
    late: float = 0.0
    slow: float = 0.0


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
            )
        }  # fmt: skip
        self.mails = 0

    def copied(self) -> "Tables":
        """Return a copy."""
        copy = Tables()
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
        self.channel: str | None = None
        self.heard: Callable[..., Any] | None = None
        self.context: Context | None = None
        self.tables: Tables | None = None  # of its transaction
        self.writes: list[Callable[[Tables], object]] = []
        self.locks: set[tuple[str, int, str]] = set()
        self.idle: asyncio.TimerHandle | None = None


class Server:
    """One server after the other, at the same address."""

    def __init__(self, rng: random.Random, outside: Context) -> None:
        self.rng = rng
        self.faults = Faults()
        self.tables = Tables()
        self.nonce: int | None = None
        self.is_up = True
        self.rolled_back = 0
        self.unknown: set[str] = set()
        """Statements that it should know."""

        self.counts: dict[str, int] = {}
        self._outside = outside
        self._started_at = -1e9
        self._backends: dict[Backend, None] = {}  # in order, so that a seed is a run
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

    async def follow(self) -> None:
        """Keep standbys that are behind by different times, until cancelled."""
        while True:
            await asyncio.sleep(_STANDBY_EVERY_S)
            self._standbys = [self.tables.copied(), *self._standbys[: _KEPT - 1]]

    def crash(self) -> None:
        """End all connections; what was committed stays."""
        self.count("crash")
        self._new_server()
        self._started_at = self.now

    def fail_over(self, *, behind: bool) -> None:
        """Let a standby take over: one that has all, or one that lacks the last seconds."""
        if behind and self._standbys:
            self.count("failover that rolls back")
            self.rolled_back += 1
            self.tables = self.rng.choice(self._standbys)
            self._standbys = [self.tables.copied()]
        else:
            self.count("failover")
        self._new_server()

    def _new_server(self) -> None:
        self.nonce = None
        for backend in list(self._backends):
            self.end(backend)

    def join(self, backend: Backend) -> None:
        """Take a connection."""
        self._backends[backend] = None

    def end(self, backend: Backend) -> None:
        """End a connection: its transaction leaves nothing."""
        backend.is_alive = False
        self._backends.pop(backend, None)
        self.finish(backend)

    def finish(self, backend: Backend) -> None:
        """End its transaction."""
        backend.tables = None
        backend.writes.clear()
        backend.locks.clear()
        if backend.idle is not None:
            backend.idle.cancel()
            backend.idle = None
        self._changed.set()
        self._changed = asyncio.Event()

    def notify(self, channel: str, payload: str) -> None:
        """Ring; a bell may be lost."""
        loop = asyncio.get_running_loop()
        for backend in list(self._backends):
            if backend.channel == channel and backend.heard is not None and self.rng.random() < 0.9:
                delay_s = 0.01 * self.rng.random()
                loop.call_later(delay_s, self._heard, backend, channel, payload, context=self._outside.copy())

    def _heard(self, backend: Backend, channel: str, payload: str) -> None:
        if backend.is_alive and backend.heard is not None and backend.context is not None:
            asyncio.get_running_loop().call_soon(
                backend.heard, None, 0, channel, payload, context=backend.context.copy()
            )

    def is_locked(self, kind: str, row: int, how: str, backend: Backend | None = None) -> bool:
        """Return whether another one's lock conflicts with this one."""
        return any(
            (kind, row, other) in each.locks
            for each in self._backends
            if each is not backend
            for other in ("share", "update")
            if "update" in (other, how)
        )

    async def lock(self, backend: Backend, kind: str, row: int, how: str) -> None:
        """Wait for a row, and keep it locked until the end of the transaction, if there is one."""
        give_up = self.now + _LOCK_S
        while self.is_locked(kind, row, how, backend):
            if self.now >= give_up:
                raise asyncpg.LockNotAvailableError("simulated")
            changed = self._changed
            with suppress(TimeoutError):
                async with asyncio.timeout_at(give_up):
                    await changed.wait()
            if not backend.is_alive:
                raise asyncpg.ConnectionDoesNotExistError("simulated")
        if backend.tables is not None:
            backend.locks.add((kind, row, how))

    def running(self) -> list[Backend]:
        """Return the connections inside a transaction that has written."""
        return [each for each in self._backends if each.writes]

    def backends_of(self, session_id: int) -> list[Backend]:
        """Return the connections of a session."""
        return [each for each in self._backends if each.application == f"chatlane {session_id}"]


# -- statements ------------------------------------------------------------------------------------------------------------

Do = Callable[[Server, Backend, Tables, tuple[Any, ...]], Any]
_STATEMENTS: dict[str, Do] = {}


def statement(*texts: str) -> Callable[[Do], Do]:
    """Register what executes these statements."""

    def register(do: Do) -> Do:
        for text in texts:
            _STATEMENTS[text.format(SCHEMA)] = do
        return do

    return register


def write(server: Server, backend: Backend, change: Callable[[Tables], object]) -> None:
    """Change the tables now, or at the end of the transaction."""
    if backend.tables is None:
        change(server.tables)
    else:
        backend.writes.append(change)


def in_force(tables: Tables, id_: int, stint: int) -> bool:
    row = tables.session.get(id_)
    return row is not None and row["stint"] == stint


def forget_session(id_: int) -> Callable[[Tables], object]:
    def forget(tables: Tables) -> None:
        if tables.session.pop(id_, None) is None:
            return
        tables.owner = None if tables.owner == id_ else tables.owner
        tables.share = {no: None if owner == id_ else owner for no, owner in tables.share.items()}

    return forget


@statement(*session._ENSURE, session._MOVED, session._LOCK_JOINS, "SET LOCAL statement_timeout = 0")
def nothing(*_: Any) -> list[Any]:
    return []


@statement(keeper.NOTIFY)
def notify(server: Server, _: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    server.notify(*values)
    return []


@statement("SELECT set_config('application_name', $1, false)")
def name(_: Server, backend: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    (backend.application,) = values
    return []


@statement(session._CLAMP)
def clamp(*_: Any) -> list[Any]:
    return []  # the clock is not set back


@statement(session._END_STUCK)
def end_stuck(server: Server, _: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, me, stuck_s = values
    for id_, row in tables.session.items():
        if id_ != me and row["until"] < server.now - stuck_s:
            for backend in server.backends_of(id_):
                server.count("stuck connection ended")
                server.end(backend)
    return []


@statement(session._REAP)
def reap(server: Server, _: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, me, ttl_s, silent_s, stint = values
    if (stint is not None and not in_force(tables, me, stint)) or server._started_at >= server.now - ttl_s:
        return []
    reaped = [
        id_
        for id_, row in tables.session.items()
        if id_ != me
        and not server.is_locked("session", id_, "update")
        and (
            row["until"] < server.now
            or (row["until"] < server.now + ttl_s - silent_s and not server.backends_of(id_))
        )
    ]
    for id_ in reaped:
        server.count("reaped")
        forget_session(id_)(tables)
    return [("a process",) for _ in reaped]


@statement(session._JOIN)
def join(server: Server, backend: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    id_, bot, ttl_s, holder, alone, leaving = values
    if any(row["alone"] or alone for row in tables.session.values()):
        return []
    row = {
        "bot": bot, "until": server.now + ttl_s, "beat": 0, "stint": 1, "holder": holder, "alone": alone,
        "leaving": leaving,
    }  # fmt: skip
    write(server, backend, lambda tables: tables.session.update({id_: row}))
    return [(1,)]


def _sessions(tables: Tables) -> list[int] | None:
    return [id_ for id_, row in tables.session.items() if not row["leaving"]] or None


@statement(session._LOOK)
def look(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [(_sessions(tables), None, tables.owner is not None)]


@statement(session._NEW_NONCE)
def new_nonce(server: Server, _: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    server.nonce = server.nonce if server.nonce is not None else values[0]
    return []


@statement(session._NONCE)
def nonce(server: Server, *_: Any) -> list[Any]:
    return [(server.nonce,)]


@statement(session._LOCK)
async def lock(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    await server.lock(backend, "session", values[0], "update")
    return []


@statement(session._RESUME)
def resume(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    id_, ttl_s, beat = values
    row = server.tables.session.get(id_)  # read committed, and locked before
    if row is None or row["beat"] < beat:
        return []
    stint, until = row["stint"] + 1, server.now + ttl_s
    write(server, backend, lambda tables: tables.session[id_].update(stint=stint, until=until))
    return [(stint,)]


@statement(session._RENEW)
async def renew(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, id_, stint, ttl_s, _ = values
    await server.lock(
        backend, "session", id_, "share"
    )  # an update without the key does not wait for KEY SHARE
    if not in_force(server.tables, id_, stint):
        return []
    row = server.tables.session[id_]
    row.update(until=server.now + ttl_s, beat=row["beat"] + 1)
    running = [f"{id(each)}" for each in server.running()] or None
    tables = server.tables
    seen = (_sessions(tables), None, tables.owner is not None)
    return [(row["beat"], server.nonce, tables.mails, running, *seen, server.now)]


@statement(session._STEP_BACK)
def step_back(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    if (row := tables.session.get(values[0])) is not None:
        row["leaving"] = True
    return []


@statement(session._LEAVE)
async def leave(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    await server.lock(backend, "session", values[0], "update")
    forget_session(values[0])(server.tables)
    return []


@statement(session._OTHER, session._POLLER)
def poller(*_: Any) -> list[Any]:
    return [("another process",)]


@statement(session._GRANT)
async def grant(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, id_, stint = values
    await server.lock(backend, "session", id_, "share")
    tables = server.tables
    if not in_force(tables, id_, stint) or tables.owner not in {None, id_}:
        return []
    tables.owner, tables.epoch = id_, tables.epoch + 1
    return [(tables.epoch,)]


@statement(session._ALIVE)
def is_alive(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [()] if in_force(tables, *values) else []


@statement(session._GRANTED)
def granted(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [(tables.epoch,)] if tables.owner == values[1] else []


@statement(session._RESIGN)
def resign(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, id_, epoch = values
    tables.owner = None if (tables.owner, tables.epoch) == (id_, epoch) else tables.owner
    return []


@statement(session._LAST)
def last(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [(max(tables.rows["inbox"], default=0),)]


@statement(session._SEEN)
def seen(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [*tables.rows["seen"].values()]


@statement(source._ALIVE)
async def alive(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    await server.lock(backend, "session", values[0], "share")
    backend.tables = server.tables.copied()  # the snapshot is that of its first statement
    return [()] if in_force(server.tables, *values) else []


@statement(source._OWNED)
def owned(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [(no,) for no, owner in tables.share.items() if owner == values[0]]


@statement(source._TAKE)
async def take(server: Server, backend: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, id_, wanted = values
    free = [
        no
        for no in sorted(wanted)
        if tables.share[no] is None and not server.is_locked("share", no, "update", backend)
    ]
    if any(server.tables.share[no] is not None for no in free):
        raise asyncpg.SerializationError("simulated")
    for no in free:
        await server.lock(backend, "share", no, "update")
    write(server, backend, lambda tables: tables.share.update(dict.fromkeys(free, id_)))
    return [(no,) for no in free]


@statement(source._ARRIVED)
def arrived(server: Server, backend: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    shares = set(values[1])
    gone = [n for n, row in tables.rows["mail"].items() if row[0] == "arrived" and share_of(row[1]) in shares]
    write(server, backend, lambda tables: [tables.rows["mail"].pop(n, None) for n in gone])
    return []


@statement(source._LANES["inbox"])
def inbox(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return _lanes(tables, "inbox", values)


@statement(source._LANES["outbox"])
def outbox(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return _lanes(tables, "outbox", values)


def _lanes(tables: Tables, queue: str, values: tuple[Any, ...]) -> list[Any]:
    shares = set(values[1])
    return [row[:2] for _, row in sorted(tables.rows[queue].items()) if share_of(row[1]) in shares]


@statement(source._LANES["parked"], source._LANES["dead"])
def no_rows(*_: Any) -> list[Any]:
    return []


@statement(source._ALIASES)
def aliases(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [*tables.rows["alias"].values()]


@statement(blocks._RESERVE)
def reserve(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, kind, size = values
    value = tables.rows["mark"].get(kind, (0,))[0] + size
    tables.rows["mark"][kind] = (value,)
    return [(value,)]


@statement(blocks._GIVE_BACK)
def give_back(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, kind, used, last_ = values
    if tables.rows["mark"].get(kind) == (last_,):
        tables.rows["mark"][kind] = (used,)
    return []


@statement(ledger._LETTERS)
def letters(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [(len(tables.rows["dead"]),)]


@statement(ledger._PENDING)
def pending(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [(len(tables.rows["inbox"]),)]


def read(_: Server, __: Backend, tables: Tables, what: Read, values: tuple[Any, ...]) -> list[Any]:
    rows = tables.rows
    match what:
        case Read.INBOX_AT | Read.OUTBOX_AT | Read.TIMER_AT:
            table = rows[what.value.partition(" ")[0]]
            return [
                (place, row[2], row[3], row[4])
                for place in values[1]
                if (row := table.get(place)) is not None
            ]
        case Read.STATE:
            found = rows["state"].get(values[1:])
            return [] if found is None else [(found[2],)]
        case Read.MAIL:
            return _mail(tables, *values[1:])
        case _:  # there are no timers here
            return []


def _mail(tables: Tables, most: int, behind: int, bits: bytes) -> list[Any]:
    shares = int.from_bytes(bits, "little")
    found = []
    for n, (kind, key, scope, place, at, body) in tables.rows["mail"].items():
        if n > behind and shares >> share_of(key) & 1:
            update = tables.rows["inbox"].get(place) if kind == "arrived" else None
            scope, at, body = (scope, at, body) if update is None else (update[2], update[4], update[3])  # noqa: PLW2901
            found.append((n, kind, key, scope, place, at, body))
    is_ordered = "DESC" not in statements.QUERIES[Read.MAIL]
    return sorted(found, reverse=not is_ordered)[:most]


async def commit_group(server: Server, backend: Backend, parts: Combined, values: tuple[Any, ...]) -> Any:
    """Execute a group as its statement does (statements.py)."""
    _, id_, stint, nonce_ = values
    await server.lock(backend, "session", id_, "share")
    tables = server.tables
    rows = tables.rows
    is_alive_ = in_force(tables, id_, stint)
    is_same = is_alive_ and server.nonce == nonce_
    has_right = parts.right is None or (tables.owner, tables.epoch) == (id_, parts.right)
    wrong = [
        key
        for (key, scope), was in parts.states.items()
        if (row[2] if (row := rows["state"].get((key, scope))) else None) != was
    ]
    if not is_same or not has_right or wrong:
        return int(is_alive_), int(is_same), int(has_right), wrong[0] if is_same and wrong else None, None
    for table in ("inbox", "outbox", "mail"):
        if any(place not in rows[table] for place in parts.gone.get(table, ())):
            raise asyncpg.DivisionByZeroError("simulated")
    for no in parts.given:
        tables.share[no] = None if tables.share[no] == id_ else tables.share[no]
    for table, places in parts.gone.items():
        for place in places:
            rows[table].pop(place, None)
    for table, changes in parts.keyed.items():
        for key, row in changes.items():
            at = key if len(key) > 1 else key[0]
            if row is DELETED:
                rows[table].pop(at, None)
            else:
                rows[table][at] = row
    for table, inserted in parts.new.items():
        for row in inserted:
            if table == "mail":
                tables.mails += 1
                rows["mail"][tables.mails] = row
            elif row[0] in rows[table]:
                raise asyncpg.UniqueViolationError(f"simulated: {table} {row}")
            else:
                rows[table][row[0]] = row
    for kind, value in parts.marks.items():
        rows["mark"][kind] = (max(value, rows["mark"].get(kind, (0,))[0]),)
    return 1, 1, 1, None, None


# -- the client's end ------------------------------------------------------------------------------------------------------


class Asked(str):
    """The text of a statement that carries what it does."""

    __slots__ = ("do",)
    do: Any


class Questions(dict[Any, Any]):
    """QUERIES, of which each can be executed."""

    def __missing__(self, what: Read) -> Any:
        def formatted(_: str) -> Asked:
            asked = Asked(what.value)
            asked.do = lambda server, backend, tables, values: read(server, backend, tables, what, values)
            return asked

        return SimpleNamespace(format=formatted)


def group_statement(_: str, parts: Combined) -> Statement:
    """Stand in for statements.py, `group_statement`."""
    asked = Asked("group")

    async def do(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
        return [await commit_group(server, backend, parts, values)]

    asked.do = do
    return Statement(asked, [])


class Connection:
    """See engine/stores/postgres/connection.py."""

    def __init__(self, server: Server, application: str, context: Context) -> None:
        self._server = server
        self._backend = Backend(application)
        self._backend.context = context
        self._is_closed = False
        server.join(self._backend)

    async def execute(self, query: str, *values: Any) -> str:
        """See Connection."""
        await self._ask(query, values)
        return "OK"

    async def fetch(self, query: str, *values: Any, timeout: float | None = None) -> list[Any]:
        """See Connection."""
        found: list[Any] = await self._ask(query, values)
        return found

    async def fetchrow(self, query: str, *values: Any) -> Any:
        """See Connection."""
        rows = await self._ask(query, values)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *values: Any) -> Any:
        """See Connection."""
        rows = await self._ask(query, values)
        return rows[0][0] if rows else None

    def transaction(self, *, isolation: str | None = None) -> "Transaction":
        """See Connection."""
        return Transaction(self)

    async def add_listener(self, channel: str, callback: Any) -> None:
        """See Connection."""
        await self._ask("", ())
        self._backend.channel, self._backend.heard = channel, callback

    def add_log_listener(self, callback: Any) -> None:
        """See Connection."""

    def is_closed(self) -> bool:
        """See Connection."""
        return self._is_closed

    async def close(self) -> None:
        """See Connection."""
        self.terminate()

    def terminate(self) -> None:
        """See Connection. The server learns of it a little later."""
        if not self._is_closed:
            self._is_closed = True
            asyncio.get_running_loop().call_later(
                0.01, self._server.end, self._backend, context=self._server._outside.copy()
            )

    async def _ask(self, query: str, values: tuple[Any, ...]) -> Any:
        server, rng = self._server, self._server.rng
        if self._is_closed or not self._backend.is_alive:
            self._is_closed = True
            raise asyncpg.InterfaceError("connection is closed")
        fault = self._fault()
        await asyncio.sleep(0.002 * rng.random())
        if fault == "before":
            self._lose()
        serving = server.run(self._serve(query, values, late=fault == "late"))
        if fault == "late":
            self._lose()
        result, error = await asyncio.shield(serving)
        await asyncio.sleep(1.0 * rng.random() if fault == "slow" else 0.002 * rng.random())
        if fault == "after" or isinstance(error, asyncpg.ConnectionDoesNotExistError):
            self._lose()
        if error is not None:
            raise error
        return result

    def _fault(self) -> str | None:
        drawn = self._server.rng.random()
        for name_, odds in zip(Faults._fields, self._server.faults, strict=True):
            if (drawn := drawn - odds) < 0:
                self._server.count(name_)
                return name_
        return None

    def _lose(self) -> None:
        self._is_closed = True
        asyncio.get_running_loop().call_later(
            2.0 * self._server.rng.random(),
            self._server.end,
            self._backend,
            context=self._server._outside.copy(),
        )
        raise asyncpg.ConnectionDoesNotExistError("simulated")

    async def _serve(
        self, query: str, values: tuple[Any, ...], *, late: bool
    ) -> tuple[Any, Exception | None]:
        """Execute a statement: an answer, or an error."""
        server, backend = self._server, self._backend
        if late:
            await asyncio.sleep(2.0 * server.rng.random())
        if not backend.is_alive or not server.is_up:
            return None, asyncpg.ConnectionDoesNotExistError("simulated")
        if backend.idle is not None:
            backend.idle.cancel()
        try:
            do = (
                query.do
                if isinstance(query, Asked)
                else _STATEMENTS.get(query, nothing if not query else None)
            )
            if do is None:
                server.unknown.add(query)
                raise asyncpg.PostgresSyntaxError("the simulated server does not know this statement")
            result = do(server, backend, backend.tables or server.tables, values)
            if asyncio.iscoroutine(result):
                result = await result
        except asyncpg.PostgresError as error:
            return None, error
        if not backend.is_alive:
            return None, asyncpg.ConnectionDoesNotExistError("simulated")
        if backend.tables is not None:
            backend.idle = asyncio.get_running_loop().call_later(IDLE_S, server.end, backend)
        return result, None


class Transaction:
    """What `transaction` returns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        asked = Asked("BEGIN")

        def begin(server: Server, backend: Backend, _: Tables, __: Any) -> list[Any]:
            backend.tables = server.tables.copied()
            return []

        asked.do = begin
        await self._connection._ask(asked, ())

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        asked = Asked("END")

        def end(server: Server, backend: Backend, _: Tables, __: Any) -> list[Any]:
            writes = backend.writes[:] if kind is None else []
            server.finish(backend)
            for change in writes:
                change(server.tables)
            return []

        asked.do = end
        if kind is None or not self._connection.is_closed():
            await self._connection._ask(asked, ())


@contextmanager
def in_place_of_postgres(server: Server, context: Callable[[], Context]) -> Iterator[None]:
    """Let the real store work on the simulated server meanwhile."""

    async def connect(_: Any, application: str) -> Connection:
        await asyncio.sleep(0.01 * server.rng.random())
        if not server.is_up:
            raise ConnectionRefusedError("simulated")
        return Connection(server, application, context())

    async def prepare(*_: Any) -> None:
        pass

    numbers = SimpleNamespace(randbits=server.rng.getrandbits)
    with (
        patch.object(connection, "connect", connect),
        patch.object(ledger, "connect", connect),
        patch.object(ledger, "prepare", prepare),
        patch.object(session, "secrets", numbers),
        patch.object(source, "QUERIES", Questions()),
        patch.object(writer, "QUERIES", Questions()),
        patch.object(writer, "group_statement", group_statement),
    ):
        yield
