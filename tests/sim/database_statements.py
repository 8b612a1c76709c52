"""The statements of the PostgreSQL store, as the simulated server (database.py) executes them.

Each is known by its text, so one that is changed has to be changed here. Locks are those that the text takes: a statement that
does not say FOR SHARE any more does not wait here, either.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import asyncpg

from engine.stores.owned.group import DELETED, Combined
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import HOLD, share_of
from engine.stores.postgres import (
    blocks,
    connection,
    keeper,
    ledger,
    own_sql,
    session,
    source,
    statements,
    transactions,
    within,
    writer,
)
from engine.stores.postgres.statements import Statement
from engine.stores.postgres.tools import desk
from tests.sim.database import (
    NO_LIMIT,
    STATEMENTS,
    Asked,
    Backend,
    Connection,
    Do,
    Server,
    Tables,
    asked,
    nothing,
)

SCHEMA: Final = '"sim"'
OWN: Final = "INSERT INTO own (key, id, how) VALUES ($1, $2, $3)"
TOTAL: Final = "UPDATE total SET n = n + 1 WHERE key = $1"
"""The author's own statements."""


def statement(*texts: str) -> Callable[[Do], Do]:
    """Register what executes these statements."""

    def register(do: Do) -> Do:
        for text in texts:
            STATEMENTS[text.format(SCHEMA)] = do
        return do

    return register


def write(backend: Backend, change: Callable[[Tables], object]) -> None:
    """Change the tables at the end of the transaction."""
    backend.changes.append(change)


def mode(text: str) -> str:
    """Return the lock that a statement takes, by its text; "" if it takes none."""
    for each in ("FOR KEY SHARE", "FOR NO KEY UPDATE", "FOR UPDATE", "FOR SHARE"):
        if each in text:
            return each.removeprefix("FOR ").lower()
    return ""


async def lock(server: Server, backend: Backend, kind: str, row: Any, how: str) -> None:
    """Lock a row, unless `how` is empty."""
    if how:
        await server.lock(backend, kind, row, how)


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


async def delete_session(server: Server, backend: Backend, id_: int) -> None:
    """Delete a row, and what refers to it (ON DELETE SET NULL). Its shares need no lock: other sessions take only free ones."""
    if server.tables.owner == id_:
        await server.lock(backend, "bot", 0, "no key update")
    write(backend, forget_session(id_))


STATEMENTS.update(
    dict.fromkeys(
        [
            *(each.format(SCHEMA) for each in (*session._ENSURE, session._MOVED)),
            NO_LIMIT,
            within._RELEASE,
            own_sql.LIMITS,
            transactions._RESET,
        ],
        nothing,
    )
)


@statement(transactions._BEGIN, own_sql._BEGIN)
def begin(server: Server, backend: Backend, _: Tables, __: tuple[Any, ...]) -> list[Any]:
    server.begin(backend)
    return []


@statement(own_sql._CHECK)
def check(*_: Any) -> list[Any]:
    return [(True, False)]


@statement(OWN)
def own(_: Server, backend: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    write(backend, lambda tables: tables.rows["own"].update({len(tables.rows["own"]): values}))
    return []


@statement(TOTAL)
async def total(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    (key,) = values
    await server.lock(backend, "total", key, "no key update")

    def add(tables: Tables) -> None:
        tables.rows["total"][key] = (tables.rows["total"].get(key, (0,))[0] + 1,)

    write(backend, add)
    return []


@statement(session._LOCK_JOINS)
async def lock_joins(server: Server, backend: Backend, _: Tables, __: tuple[Any, ...]) -> list[Any]:
    await server.lock(backend, "joins", 0, "update")
    return []


@statement(keeper.NOTIFY)
def notify(server: Server, _: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    server.notify(*values)
    return []


@statement("SELECT set_config('application_name', $1, false)")
def name(_: Server, backend: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    (backend.application,) = values
    return []


# -- sessions ----------------------------------------------------------------------------------------------------------------


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
                server.terminate(backend)
    return []


@statement(session._REAP)
async def reap(server: Server, backend: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, me, ttl_s, silent_s, stint = values
    if (stint is not None and not in_force(tables, me, stint)) or server._started_at >= server.now - ttl_s:
        return []
    reaped = [
        id_
        for id_, row in tables.session.items()
        if id_ != me
        and not server.holders("session", id_, mode(session._REAP))
        and (
            row["until"] < server.now
            or (row["until"] < server.now + ttl_s - silent_s and not server.backends_of(id_))
        )
    ]
    for id_ in reaped:
        server.count("reaped")
        await server.lock(backend, "session", id_, "update")
        await delete_session(server, backend, id_)
    return [("a process",) for _ in reaped]


@statement(session._JOIN)
def join(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    id_, bot, ttl_s, holder, alone, leaving = values
    if any(row["alone"] or alone for row in server.tables.session.values()):
        return []
    row = {
        "bot": bot, "until": server.now + ttl_s, "beat": 0, "stint": 1, "holder": holder, "alone": alone,
        "leaving": leaving,
    }  # fmt: skip
    write(backend, lambda tables: tables.session.update({id_: row}))
    return [(1,)]


def _sessions(tables: Tables) -> list[int] | None:
    return [id_ for id_, row in tables.session.items() if not row["leaving"]] or None


def _held(tables: Tables) -> list[Any] | None:
    return [(queue, row[4]) for (queue, key), row in tables.rows["parked"].items() if key == HOLD] or None


@statement(session._LOOK)
def look(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [(_sessions(tables), _held(tables), tables.owner is not None)]


@statement(session._NEW_NONCE)
def new_nonce(server: Server, _: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    server.nonce = server.nonce if server.nonce is not None else values[0]
    return []


@statement(session._NONCE)
def nonce(server: Server, *_: Any) -> list[Any]:
    return [(server.nonce,)]


@statement(session._LOCK)
async def lock_session(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    await lock(server, backend, "session", values[0], mode(session._LOCK))
    return []


def _update(id_: int, **values: Any) -> Callable[[Tables], object]:
    def update(tables: Tables) -> None:
        if (row := tables.session.get(id_)) is not None:
            row.update(values)

    return update


@statement(session._RESUME)
async def resume(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    id_, ttl_s, beat = values
    await server.lock(backend, "session", id_, "no key update")
    row = server.tables.session.get(id_)
    if row is None or ("beat >= $3" in session._RESUME and row["beat"] < beat):
        return []
    stint, until = row["stint"] + 1, server.now + ttl_s
    write(backend, _update(id_, stint=stint, until=until))
    return [(stint,)]


@statement(session._RENEW)
async def renew(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, id_, stint, ttl_s, _ = values
    await server.lock(backend, "session", id_, "no key update")
    tables = server.tables
    if not in_force(tables, id_, stint):
        return []
    beat = tables.session[id_]["beat"] + 1
    write(backend, _update(id_, until=server.now + ttl_s, beat=beat))
    running = [f"{id(each)}" for each in server.running() if each is not backend] or None
    return [
        (
            beat,
            server.nonce,
            tables.mails,
            running,
            _sessions(tables),
            _held(tables),
            tables.owner is not None,
            server.now,
        )
    ]


@statement(session._STEP_BACK)
async def step_back(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    await server.lock(backend, "session", values[0], "no key update")
    write(backend, _update(values[0], leaving=True))
    return []


@statement(session._LEAVE)
async def leave(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    await server.lock(backend, "session", values[0], "update")
    await delete_session(server, backend, values[0])
    return []


@statement(session._OTHER, session._POLLER)
def poller(*_: Any) -> list[Any]:
    return [("another process",)]


@statement(session._GRANT)
async def grant(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, id_, stint = values
    await lock(server, backend, "session", id_, mode(session._GRANT))
    if not in_force(server.tables, id_, stint) or server.tables.owner not in {None, id_}:
        return []
    await server.lock(backend, "bot", 0, "no key update")
    tables = server.tables
    if tables.owner not in {None, id_}:
        return []
    epoch = tables.epoch + 1

    def granted(tables: Tables) -> None:
        tables.owner, tables.epoch = id_, epoch

    write(backend, granted)
    return [(epoch,)]


@statement(session._ALIVE)
def is_alive(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [()] if in_force(tables, *values) else []


@statement(session._GRANTED)
def granted(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [(tables.epoch,)] if tables.owner == values[1] else []


@statement(session._RESIGN)
async def resign(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, id_, epoch = values
    await server.lock(backend, "bot", 0, "no key update")

    def resigned(tables: Tables) -> None:
        tables.owner = None if (tables.owner, tables.epoch) == (id_, epoch) else tables.owner

    write(backend, resigned)
    return []


@statement(session._LAST)
def last(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [(max(tables.rows["inbox"], default=0),)]


@statement(session._SEEN)
def seen(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [*tables.rows["seen"].values()]


# -- operators ---------------------------------------------------------------------------------------------------------------


@statement(desk._IS_THERE)
def is_there(*_: Any) -> list[Any]:
    return [(True,)]


@statement(desk._RING)
def ring(server: Server, _: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    server.notify(*values)
    return []


@statement(desk._SEEN)
def seen_at_desk(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    row = (server.now,)
    write(backend, lambda tables: tables.rows["desk"].update({values[0]: row}))
    return []


STATEMENTS.update(dict.fromkeys([each.format(SCHEMA) for each in desk._SWEEP], nothing))


@statement(desk._GONE)
def gone_from_desk(_: Server, backend: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    write(backend, lambda tables: tables.rows["desk"].pop(values[0], None))
    return []


@statement(desk._PROCESSES)
def processes(server: Server, _: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [(name,) for name, row in sorted(tables.rows["desk"].items()) if row[0] > server.now - values[1]]


@statement(desk._ASK)
def ask(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    server.tables.asked = n = server.tables.asked + 1
    write(backend, lambda tables: tables.rows["asked"].update({n: values}))
    return [(n,)]


@statement(desk._TAKE)
async def take_asked(server: Server, backend: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    process, bot = values
    found = [(n, *row[2:]) for n, row in tables.rows["asked"].items() if row[:2] == (bot, process)]
    for n, *_ in found:
        await server.lock(backend, "asked", n, "update")
    write(backend, lambda tables: [tables.rows["asked"].pop(n, None) for n, *_ in found])
    return found


@statement(desk._ANSWER)
def answer(_: Server, backend: Backend, __: Tables, values: tuple[Any, ...]) -> list[Any]:
    write(backend, lambda tables: tables.rows["answered"].update({values[0]: values}))
    return []


@statement(desk._ANSWERS)
def answers(_: Server, backend: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    found = [row for n, row in tables.rows["answered"].items() if n in values[0]]
    write(backend, lambda tables: [tables.rows["answered"].pop(n, None) for n, *_ in found])
    return found


# -- what a session owns -----------------------------------------------------------------------------------------------------


@statement(source._ALIVE)
async def alive(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    await lock(server, backend, "session", values[0], mode(source._ALIVE))
    if not in_force(server.tables, *values):
        return []
    backend.vouched.add((values[0], values[1]))
    return [()]


@statement(source._OWNED)
def owned(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [(no,) for no, owner in tables.share.items() if owner == values[0]]


@statement(source._TAKE)
async def take(server: Server, backend: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, id_, wanted = values
    free = [
        no
        for no in sorted(wanted)
        if tables.share[no] is None and not server.holders("share", no, "update", backend)
    ]
    if any(server.tables.share[no] is not None for no in free):
        raise asyncpg.SerializationError("simulated")
    for no in free:
        await server.lock(backend, "share", no, "update")
    write(backend, lambda tables: tables.share.update(dict.fromkeys(free, id_)))
    return [(no,) for no in free]


@statement(source._ARRIVED)
def arrived(_: Server, backend: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    shares = set(values[1])
    gone = [n for n, row in tables.rows["mail"].items() if row[0] == "arrived" and share_of(row[1]) in shares]
    write(backend, lambda tables: [tables.rows["mail"].pop(n, None) for n in gone])
    return []


@statement(source._LANES["inbox"])
def inbox(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [row[:2] for row in _of_shares(tables, "inbox", 1, values)]


@statement(source._LANES["outbox"])
def outbox(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [row[:2] for row in _of_shares(tables, "outbox", 1, values)]


@statement(source._LANES["parked"])
def parked(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [
        (queue, key, place, until, delay_s, attempts, reason)
        for queue, key, attempts, until, reason, delay_s, place in _of_shares(tables, "parked", 1, values)
    ]


@statement(source._LANES["dead"])
def dead(_: Server, __: Backend, tables: Tables, values: tuple[Any, ...]) -> list[Any]:
    return [(row[0], row[1], row[3]) for row in _of_shares(tables, "dead", 3, values)]


def _of_shares(tables: Tables, table: str, key: int, values: tuple[Any, ...]) -> list[Any]:
    shares = set(values[1])
    return [row for _, row in sorted(tables.rows[table].items()) if share_of(row[key]) in shares]


@statement(source._ALIASES)
def aliases(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [*tables.rows["alias"].values()]


@statement(blocks._RESERVE)
async def reserve(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, kind, size = values
    await server.lock(backend, "mark", kind, "no key update")
    value = server.tables.rows["mark"].get(kind, (0,))[0] + size
    write(backend, lambda tables: tables.rows["mark"].update({kind: (value,)}))
    return [(value,)]


@statement(blocks._GIVE_BACK)
async def give_back(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
    _, kind, used, last_ = values
    await server.lock(backend, "mark", kind, "no key update")
    if server.tables.rows["mark"].get(kind) == (last_,):
        write(backend, lambda tables: tables.rows["mark"].update({kind: (used,)}))
    return []


@statement(ledger._LETTERS)
def letters(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [(len(tables.rows["dead"]),)]


@statement(ledger._PENDING)
def pending(_: Server, __: Backend, tables: Tables, ___: tuple[Any, ...]) -> list[Any]:
    return [(len(tables.rows["inbox"]),)]


# -- what is read after a group ----------------------------------------------------------------------------------------------


def read(tables: Tables, what: Read, values: tuple[Any, ...]) -> list[Any]:
    """Answer a question; `values` are without the bot."""
    rows = tables.rows
    match what:
        case Read.INBOX_AT | Read.OUTBOX_AT:
            found = ((place, rows[what.value.partition(" ")[0]].get(place)) for place in values[0])
            return [(place, row[2], row[3], row[4]) for place, row in found if row is not None]
        case Read.TIMER_AT:
            return [(row[0], row[2], row[5], row[4]) for row in rows["timer"].values() if row[0] in values[0]]
        case Read.INBOX_THERE | Read.OUTBOX_THERE:
            return [(place,) for place in values[0] if place in rows[what.value.partition(" ")[0]]]
        case Read.TIMER_THERE:
            return [(row[0],) for row in rows["timer"].values() if row[0] in values[0]]
        case Read.STATE:
            row = rows["state"].get(values)
            return [] if row is None else [(row[2],)]
        case Read.MAIL:
            return _mail(tables, *values)
        case Read.DUE:
            at, place, from_, until, most, bits = values
            due = [row[:5] for row in _behind(tables, at, place, from_, bits) if row[0] <= until]
            return due if most is None else due[:most]
        case Read.NEXT_DUE:
            at, place, from_, bits = values
            return [row[:1] for row in _behind(tables, at, place, from_, bits)[:1]]
        case Read.LETTER:
            return [row for row in [rows["dead"].get(values[0])] if row is not None]
        case Read.NEWEST_LETTER:
            return [rows["dead"][number] for number in sorted(rows["dead"]) if number < values[0]][-1:]
        case _:
            raise asyncpg.PostgresSyntaxError(f"the simulated server cannot read {what}")


def _behind(tables: Tables, at: float, place: int, from_: float, bits: bytes) -> list[Any]:
    """Return timers as (at, place, key, scope, name)."""
    shares = int.from_bytes(bits, "little")
    rows = [(row[4], row[0], row[1], row[2], row[3]) for row in tables.rows["timer"].values()]
    if "get_bit({1}::bytea, share) = 1" in statements._BEHIND:
        rows = [row for row in rows if shares >> share_of(row[2]) & 1]
    return sorted(row for row in rows if row[:2] > (at, place) and row[0] >= from_)


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


# -- a group -----------------------------------------------------------------------------------------------------------------


async def commit_group(server: Server, backend: Backend, parts: Combined, values: tuple[Any, ...]) -> Any:
    """Execute a group as its statement does (statements.py)."""
    _, id_, stint, nonce_ = values
    gone, new = parts.gone, parts.new
    is_nonce = server.nonce == nonce_  # of its snapshot
    await lock(server, backend, "session", id_, mode(statements._FENCE))
    if not in_force(server.tables, id_, stint):
        return 0, 0, 1, None, None
    has_right = True
    if is_nonce and parts.right is not None:
        await lock(server, backend, "bot", 0, mode(statements._RIGHT))
        has_right = (server.tables.owner, server.tables.epoch) == (id_, parts.right)
    wrong = None
    for (key, scope), was in sorted(parts.states.items(), key=lambda item: item[0]):
        if is_nonce and was is not None:
            await lock(server, backend, "state", (key, scope), mode(statements._WRONG))
        if (row[2] if (row := server.tables.rows["state"].get((key, scope))) else None) != was:
            wrong = wrong or key
    if not is_nonce or not has_right or wrong:
        return 1, int(is_nonce), int(has_right), wrong if is_nonce and has_right else None, None
    backend.vouched.add((id_, stint))
    for no in parts.given:
        await server.lock(backend, "share", no, "no key update")
    await _lock_rows(server, backend, parts)
    rows = server.tables.rows
    for table in ("inbox", "outbox", "mail"):
        places = gone.get(table, [])
        if len(rows[table].keys() & set(places)) < len(places):
            raise asyncpg.DivisionByZeroError("simulated")
    numbered = [(server.tables.mails + n, row) for n, row in enumerate(new.get("mail", ()), 1)]
    server.tables.mails += len(numbered)  # as of a sequence: at once, whatever becomes of the transaction
    write(backend, lambda tables: _apply(server, tables, id_, parts, numbered))
    return 1, 1, 1, None, None


async def _lock_rows(server: Server, backend: Backend, parts: Combined) -> None:
    gone, new, keyed = parts.gone, parts.new, parts.keyed
    for table, places in gone.items():
        for place in places:
            await server.lock(backend, table, place, "update")
    for table in ("inbox", "outbox", "dead"):
        for row in new.get(table, ()):
            await server.lock(backend, table, row[0], "update")
            if row[0] in server.tables.rows[table]:
                raise asyncpg.UniqueViolationError(f"simulated: {table} {row}")
    for key, state in keyed.get("state", {}).items():
        await server.lock(backend, "state", key, "update")
        is_fresh = state is not DELETED and parts.states.get((key[0], key[1]), b"") is None
        if is_fresh and key in server.tables.rows["state"]:
            error = asyncpg.UniqueViolationError("simulated")
            error.table_name = "state"
            raise error
    for kind in parts.marks:
        await server.lock(backend, "mark", kind, "no key update")


def _apply(
    server: Server, tables: Tables, id_: int, parts: Combined, mail: Iterable[tuple[int, Any]]
) -> None:
    gone, new, keyed = parts.gone, parts.new, parts.keyed
    rows = tables.rows
    if parts.right is not None and (tables.owner, tables.epoch) != (id_, parts.right):
        server.broken.append(f"appended without the right, at {server.now:.3f}")
    for table, places in gone.items():
        if table == "timer":
            names = [key for key, row in rows["timer"].items() if row[0] in places]
            for key in names:
                _check_owner(server, tables, id_, table, key[0])
                del rows["timer"][key]
            continue
        for place in places:
            row = rows[table].pop(place, None)
            if row is not None and table != "mail":
                _check_owner(server, tables, id_, table, row[3 if table == "dead" else 1])
    for table, changes in keyed.items():
        for key, row in changes.items():
            at = key if len(key) > 1 else key[0]
            if row is DELETED:
                rows[table].pop(at, None)
            else:
                rows[table][at] = row
    for table, inserted in new.items():
        if table != "mail":
            rows[table].update({row[0]: row for row in inserted})
    rows["mail"].update(mail)
    for kind, value in parts.marks.items():
        rows["mark"][kind] = (max(value, rows["mark"].get(kind, (0,))[0]),)
    for no in parts.given:
        tables.share[no] = None if tables.share[no] == id_ else tables.share[no]


def _check_owner(server: Server, tables: Tables, id_: int, table: str, key: str) -> None:
    if tables.share[share_of(key)] != id_:
        server.broken.append(
            f"{table} of {key} changed by another session than its owner, at {server.now:.3f}"
        )


class Questions(dict[Any, Any]):
    """QUERIES, of which each can be executed."""

    def __missing__(self, what: Read) -> Any:
        def formatted(_: str) -> Asked:
            return asked(what.value, lambda _, __, tables, values: read(tables, what, values[1:]))

        return SimpleNamespace(format=formatted)


def group_statement(_: str, parts: Combined) -> Statement:
    """Stand in for statements.py, `group_statement`."""

    async def do(server: Server, backend: Backend, _: Tables, values: tuple[Any, ...]) -> list[Any]:
        return [await commit_group(server, backend, parts, values)]

    return Statement(asked("group", do), [])


@contextmanager
def in_place_of_postgres(
    server: Server, context: Callable[[], Context], at_crash: Callable[[Callable[[], object]], object]
) -> Iterator[None]:
    """Let the real store work on the simulated server meanwhile. `at_crash`: what is called when the running process dies."""

    async def connect(_: Any, application: str, settings: Any = None) -> Connection:
        await asyncio.sleep(0.01 * server.rng.random())
        if not server.is_up:
            raise ConnectionRefusedError("simulated")
        made = Connection(server, application, context())
        at_crash(made.drop)
        if settings:
            made._backend.idle_s = float(settings["idle_in_transaction_session_timeout"].rstrip("s"))
        return made

    async def prepare(*_: Any) -> None:
        pass

    questions = Questions()
    with (
        patch.object(connection, "connect", connect),
        patch.object(ledger, "connect", connect),
        patch.object(desk, "connect", connect),
        patch.object(ledger, "prepare", prepare),
        patch.object(session, "secrets", SimpleNamespace(randbits=server.rng.getrandbits)),
        patch.object(source, "QUERIES", questions),
        patch.object(writer, "QUERIES", questions),
        patch.object(writer, "group_statement", group_statement),
        patch.object(keeper, "_since_boot", lambda: server.now),
    ):
        yield
