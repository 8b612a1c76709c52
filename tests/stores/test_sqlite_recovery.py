"""A SQLite file in doubt: read anew by the store itself, once, into the same file or none."""

import asyncio
import errno
import os
import shutil
import sqlite3
import threading
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Call, Effects, Envelope, Lease, LeaseLost, Queue, StoreError, StoreUnavailable, Timer
from engine.stores.contract import append
from engine.stores.owned.group import Group
from engine.stores.owned.reads import Read
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite import schema as sqlite_schema
from engine.stores.sqlite.apply import apply
from engine.stores.sqlite.disk import connect, renew
from engine.stores.sqlite.space import Reserve
from tests.kit.bounds import WITHIN_S


def update(id_, key="chat:1"):
    return Envelope(id_, key, "", b"x" * 100)


def io_error(code=sqlite3.SQLITE_IOERR_WRITE):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


class Faulty:
    """Makes statements fail, by how they begin; `codes` gives SQLite's error for each time."""

    def __init__(self):
        self.codes: dict[str, list[int]] = {}
        self.statements: list[str] = []
        self.connections: list[Any] = []
        self.blocked: threading.Event | None = None
        self.entered = threading.Event()
        self.threads: set[int] = set()

    def fail(self, begin, *codes):
        self.codes.setdefault(begin, []).extend(codes or [sqlite3.SQLITE_IOERR_WRITE])

    def block(self):
        """Let the next renewal of the log, which begins a reading, wait."""
        self.blocked = threading.Event()
        self.entered.clear()

    def connect(self, path):
        connection = FaultyConnection(connect(path), self)
        self.connections.append(connection)
        return connection

    def renew(self, log):
        blocked, self.blocked = self.blocked, None
        if blocked is not None:
            self.let_go = blocked
            self.entered.set()
            blocked.wait(WITHIN_S)
        renew(log)


class FaultyConnection:
    def __init__(self, real, faults):
        self.real = real
        self.faults = faults

    def __getattr__(self, name):
        return getattr(self.real, name)

    def execute(self, statement, *values):
        self.faults.statements.append(statement)
        self.faults.threads.add(threading.get_ident())
        for begin, codes in self.faults.codes.items():
            if codes and statement.startswith(begin):
                raise io_error(codes.pop(0))
        return self.real.execute(statement, *values)


@pytest.fixture
def faults():
    return Faulty()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bot.db"


@pytest.fixture
async def store(path, faults):
    store = await open_sqlite(path, "1", connect=faults.connect, renew=faults.renew, look_every_s=None)
    yield store
    await store.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """The recovery does not pause; whoever sleeps gives way."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda delay_s, result=None: sleep(min(delay_s, 0.001), result))


async def append_one(store, id_, key="chat:1"):
    """As a source of updates does: ask again until it is stored."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await append(store, [update(id_, key)])
            except StoreUnavailable:
                await asyncio.sleep(0)


def readings():
    return [task for task in asyncio.all_tasks() if task.get_name() == "reading the store anew"]


async def entered(faults):
    async with asyncio.timeout(WITHIN_S):
        while not faults.entered.is_set():
            await asyncio.sleep(0)


# -- once, by itself ---------------------------------------------------------------------------------------------------


async def test_who_waits_for_a_lane_is_served_after_trouble_on_trouble(store, faults):
    waiting = [asyncio.create_task(store.claim(Queue.INBOX)) for _ in range(8)]
    await asyncio.sleep(0)
    faults.fail("BEGIN IMMEDIATE", *[sqlite3.SQLITE_IOERR_FSYNC] * 2)
    faults.fail("SELECT place, key FROM", sqlite3.SQLITE_IOERR_READ)
    faults.fail("SELECT segment, bits", sqlite3.SQLITE_IOERR_READ)
    for id_ in range(8):
        await append_one(store, id_, f"chat:{id_}")
    async with asyncio.timeout(WITHIN_S):
        deliveries = await asyncio.gather(*waiting)
    assert [delivery.envelope.id for delivery in deliveries] == list(range(8))


async def test_the_file_is_read_anew_though_nobody_asks(store, faults):
    """Idle workers wait, timers come due: they must not depend on the next message."""
    await append(store, [update(1)])
    await store.commit(await store.claim(Queue.INBOX), Effects(timers=(Timer("t", 0.05, b"t"),)), more=False)
    waiting = asyncio.create_task(store.claim(Queue.INBOX))
    await asyncio.sleep(0)
    faults.fail("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(2)])
    async with asyncio.timeout(WITHIN_S):
        assert (await waiting).envelope.body == b"t"


async def test_the_file_is_read_again_until_it_can_be_though_nobody_asks(store, faults):
    faults.fail("BEGIN IMMEDIATE")
    faults.fail("SELECT segment, bits", *[sqlite3.SQLITE_IOERR_READ] * 2)
    with pytest.raises(StoreUnavailable):
        await append(store, [update(1)])
    await asyncio.wait([store._recovery])
    assert not store._writer.suspect
    assert await append(store, [update(1)]) == 1


async def test_the_leases_of_before_are_lost_once_the_file_was_read_anew(store, faults):
    lost: dict[Queue, list[Lease]] = {Queue.INBOX: [], Queue.OUTBOX: []}
    for queue in Queue:
        store.watch(queue, lost[queue].extend)
    await append(store, [update(id_, f"chat:{id_}") for id_ in range(1, 4)])
    await store.commit(await store.claim(Queue.INBOX), Effects((Call("chat:1", b"x"),)), more=False)
    await store.release(await store.claim(Queue.INBOX))
    held, call = await store.claim(Queue.INBOX), await store.claim(Queue.OUTBOX)
    right = await store.right()
    faults.fail("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(4)])
    assert not lost[Queue.INBOX]
    await asyncio.wait([store._recovery])
    assert lost == {Queue.INBOX: [held.lease], Queue.OUTBOX: [call.lease]}
    with pytest.raises(LeaseLost):
        await store.commit(held, Effects(), more=True)
    assert await store.append(right, [update(4)]) == 1  # the process is the same


async def test_what_is_there_after_the_file_was_read_anew_is_waited_for(store, faults):
    await append(store, [update(1)])
    await store.claim(Queue.INBOX)
    settled = asyncio.create_task(store.settled(Queue.INBOX))
    faults.fail("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(2)])
    await asyncio.wait([store._recovery])
    for _ in range(5):
        await asyncio.sleep(0)
    assert not settled.done()
    await store.commit(await store.claim(Queue.INBOX), Effects(), more=False)
    async with asyncio.timeout(WITHIN_S):
        await settled


async def test_nothing_is_waited_for_in_a_closed_store(store):
    await append(store, [update(1)])
    settled = asyncio.create_task(store.settled(Queue.INBOX))
    await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(WITHIN_S):
        await settled


@pytest.mark.parametrize("asks", ["claim", "dead_letters", "state", "append"])
async def test_nobodys_cancellation_reaches_into_the_reading(store, faults, asks):
    await append(store, [update(id_, f"chat:{id_}") for id_ in range(1, 4)])
    idle = asyncio.create_task(store.claim(Queue.OUTBOX))
    faults.block()
    faults.fail("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(4)])
    calls = {
        "claim": lambda: store.claim(Queue.INBOX),
        "dead_letters": store.dead_letters,
        "state": lambda: store.state("chat:1", ""),
        "append": lambda: append(store, [update(5)]),
    }
    asking = asyncio.create_task(calls[asks]())
    await entered(faults)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    faults.let_go.set()
    assert await append_one(store, 6) == 1
    assert len(faults.connections) == 2
    assert store._ledger.file.owner_epoch == 2
    assert len(faults.threads) == 1  # never two at one connection
    idle.cancel()
    await asyncio.gather(idle, return_exceptions=True)


async def test_nothing_is_written_or_confirmed_between_the_error_and_the_reading(store, faults):
    """After a failed sync the next one says yes and lies; so does whatever was asked before the failure was known."""
    faults.fail("COMMIT", sqlite3.SQLITE_IOERR_FSYNC)
    first = asyncio.create_task(append(store, [update(1)]))
    writer = store._writer
    while writer._sent is writer._next or not writer._sent.waiting:  # until it is with the thread
        await asyncio.sleep(0)
    writer.group().insert("alias", ("a", "b"))
    late = writer.done(lambda: None)
    read = writer.read(Read.NOTHING, ())
    results = await asyncio.gather(first, late, read, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    await append_one(store, 2)
    assert store.lane("a") == "a"


@pytest.mark.parametrize("later", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY])
async def test_a_later_failure_of_another_kind_does_not_clear_the_doubt(store, faults, later):
    writer = store._writer
    writer.doubt(io_error())
    error = io_error(later)
    group = writer.group()
    writer._failed(group, error, suspect=False)
    assert writer.suspect


async def test_a_connection_that_somebody_closed_does_not_end_in_silence(store, faults):
    """SQLite has folded the log then, which looks like another program's writing."""
    store._ledger.file.connection.close()
    with pytest.raises(StoreUnavailable, match="closed database"):
        await append(store, [update(1)])
    with pytest.raises(StoreError, match="written by another program"):
        await append(store, [update(1)])


async def test_an_append_under_a_right_from_before_waits_until_the_file_is_read_anew(store, faults):
    right = await store.right()
    faults.fail("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await store.append(right, [update(1)])
    assert await store.append(right, [update(1)]) == 1


async def test_a_table_that_is_missing_ends_the_store_with_the_reason(store):
    store._ledger.file.connection.execute("DROP TABLE timer")
    with pytest.raises(StoreUnavailable, match="no such table"):
        store._writer.group().forget("timer", "a", "b", "c")
        await store._writer.done(lambda: None)
    with pytest.raises(StoreError, match="no such table: timer"):
        await store.claim(Queue.INBOX)


@pytest.mark.parametrize("moment", ["pause", "thread"])
async def test_closing_while_the_file_is_read_anew(store, path, faults, moment, monkeypatch):
    waiting = asyncio.create_task(store.claim(Queue.INBOX))
    await asyncio.sleep(0)
    if moment == "pause":
        forever = asyncio.Event()
        monkeypatch.setattr(asyncio, "sleep", lambda *_: forever.wait())
        store._read_anew_at = asyncio.get_running_loop().time()
    else:
        faults.block()
    faults.fail("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(1)])
    if moment == "thread":
        await entered(faults)
        closing = asyncio.create_task(store.close())
        for _ in range(3):
            await asyncio.sleep(0)
        closing.cancel()  # its caller may go: it is closed all the same
        await asyncio.gather(closing, return_exceptions=True)
        faults.let_go.set()
    async with asyncio.timeout(WITHIN_S):
        await store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await waiting
        with pytest.raises(StoreUnavailable, match="closed"):
            await append(store, [update(1)])
    assert readings() == []
    again = await open_sqlite(path, "1")  # the lock is free
    await again.close()


async def test_opening_that_is_cut_off_leaves_nothing_open(path, faults):
    faults.block()
    opening = asyncio.create_task(open_sqlite(path, "1", connect=faults.connect, renew=faults.renew))
    await entered(faults)
    opening.cancel()
    await asyncio.sleep(0)
    faults.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    store = await open_sqlite(path, "1")
    await store.close()


async def test_what_was_set_before_the_reading_rings_no_alarm_after_it(store, faults):
    await append(store, [update(1)])
    await store.commit(await store.claim(Queue.INBOX), Effects(timers=(Timer("t", 1000.0),)), more=False)
    old = store._timers
    faults.fail("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(2)])
    await append_one(store, 2)
    assert store._timers is not old
    loop: Any = asyncio.get_running_loop()
    alarms = [
        handle
        for handle in loop._scheduled
        if not handle.cancelled() and handle._callback.__name__ == "_wake"
    ]
    assert len(alarms) == 1


async def test_a_look_at_the_timers_that_fails_for_a_full_disk_is_made_again(store, faults, monkeypatch):
    monkeypatch.setattr("engine.stores.owned.timers._AFTER_TROUBLE_S", 0.001)
    await append(store, [update(1)])
    await store.commit(await store.claim(Queue.INBOX), Effects(timers=(Timer("t", 0.001, b"t"),)), more=False)
    faults.fail("SELECT at, place, key", sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY)
    async with asyncio.timeout(WITHIN_S):
        assert (await store.claim(Queue.INBOX)).envelope.body == b"t"


@pytest.mark.parametrize("error", [StoreError("simulated"), StoreUnavailable("simulated")])
async def test_a_look_at_the_timers_that_fails_after_their_end_is_nobodys(store, monkeypatch, error):
    reading: Any = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(store._writer, "read_rows", lambda *_: reading)
    timers = store._timers
    timers._look()
    timers.close()
    reading.set_exception(error)
    await asyncio.sleep(0)
    assert timers._alarm is None
    assert not store._writer.suspect


async def test_timers_are_looked_at_by_one_at_a_time(store, monkeypatch):
    """The clock is set forward, and while the file is read the alarm that was set before rings."""
    reads: list[str] = []

    def read(query, *_):
        reads.append(query)
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(store._writer, "read_rows", read)
    timers = store._timers
    timers._next_at = 0.0
    for moved in (store.clock_moved, timers._wake, store.clock_moved):
        moved()
    assert len(reads) == 1


async def test_what_is_pending_but_not_in_the_file_means_to_read_it_anew(store):
    await append(store, [update(1), update(2)])
    store._queues[Queue.INBOX].envelopes.clear()
    store._ledger.file.connection.execute("DELETE FROM inbox WHERE place = 1")
    async with asyncio.timeout(WITHIN_S):
        assert (await store.claim(Queue.INBOX)).envelope.id == 2
    assert store._ledger.file.owner_epoch == 2


# -- into the same file, or none ---------------------------------------------------------------------------------------


async def lost(store, match):
    """The store ends with this reason, also for a claim that waits for a lane or for the file."""
    # As if the cache had dropped a state: a claim has to read the state of a new chat from the file.
    store._states._elsewhere = 1
    waiting = asyncio.create_task(store.claim(Queue.INBOX))
    await asyncio.sleep(0)
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(StoreError, match=match):
            while True:
                try:
                    await append(store, [update(99)])
                except StoreUnavailable:
                    await asyncio.sleep(0)
                else:
                    raise AssertionError("an update was confirmed")
        for asked in (waiting, store.claim(Queue.INBOX), store.state("chat:1", "")):
            with pytest.raises(StoreError, match=match):
                await asked


async def test_a_file_that_is_gone_confirms_nothing_until_it_is_back(store, path, tmp_path):
    """Deleted, renamed, or its volume unmounted: an empty folder must not become a new file."""
    await append(store, [update(1)])
    (tmp_path / "aside").mkdir()
    for name in ("bot.db", "bot.db-wal", "bot.db-shm"):
        path.with_name(name).rename(tmp_path / "aside" / name)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"is gone \(deleted, renamed or unmounted\)"):
            await append(store, [update(2)])
        assert not path.exists()
    for name in ("bot.db", "bot.db-wal", "bot.db-shm"):
        (tmp_path / "aside" / name).rename(path.with_name(name))
    assert await append_one(store, 3) == 1
    assert (await store.claim(Queue.INBOX)).envelope.id == 1
    assert (await store.stats()).inbox.pending == 3 - (
        await append(store, [update(2)]) == 1
    )  # as asked, or not


async def test_a_folder_that_is_renamed_is_noticed(tmp_path):
    (tmp_path / "a").mkdir()
    store = await open_sqlite(tmp_path / "a" / "bot.db", "1", look_every_s=None)
    await append(store, [update(1)])
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    with pytest.raises(StoreUnavailable, match="is gone"):
        await append(store, [update(2)])
    assert list((tmp_path / "a").iterdir()) == []
    await store.close()


async def test_a_log_that_is_deleted_loses_nothing(store, path):
    await append(store, [update(1)])
    path.with_name("bot.db-wal").unlink()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        await append(store, [update(2)])
    await append_one(store, 3)
    copy = sqlite3.connect(path)  # it is where the next start looks for it
    assert copy.execute("SELECT count(*) FROM inbox").fetchone() == (3,)
    copy.close()


def other_file(path):
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def overwritten(path):
    content = path.read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


def cut_off(path):
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("befalls", "match"),
    [(other_file, "was replaced"), (overwritten, "by another program"), (cut_off, "by another program")],
)
async def test_a_file_that_is_another_one_now_ends_the_store(store, path, befalls, match):
    await append(store, [update(1)])
    befalls(path)
    await lost(store, match)


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("UPDATE meta SET value = 'x' WHERE name = 'owner'", "was replaced"),
        ("UPDATE meta SET value = 0 WHERE name = 'owner_epoch'", "an older copy"),
        ("UPDATE meta SET value = 9, value = 9 WHERE name = 'owner_epoch'", "another process"),
        ("DELETE FROM seen", "has lost updates"),
        ("DROP TABLE meta", "was replaced"),
    ],
)
async def test_the_file_that_is_read_anew_is_the_one_that_was_opened(store, faults, statement, match):
    await append(store, [update(1)])
    faults.block()
    faults.fail("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await append(store, [update(2)])
    await entered(faults)
    other = sqlite3.connect(store._ledger.file.path)
    other.execute(statement.replace("value = 9, value = 9", "value = 9"))
    if "value = 9" in statement:
        other.execute("UPDATE meta SET value = 'x' WHERE name = 'owner'")
    other.commit()
    other.close()
    faults.let_go.set()
    await lost(store, match)


def test_a_connection_creates_no_file(path):
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connect(path)
    assert not path.exists()


async def test_the_log_of_a_file_that_was_put_in_place_is_left_alone(store, path):
    """SQLite deletes the log by its name when it closes: here that is another's, with what its owner confirmed."""
    await append(store, [update(1)])
    backup, log = path.with_name("backup"), path.with_name("bot.db-wal")
    shutil.copyfile(path, backup)
    shutil.copyfile(log, backup.with_name("backup-wal"))
    backup.replace(path)
    backup.with_name("backup-wal").replace(log)
    content = log.read_bytes()
    await lost(store, "was replaced")
    await store.close()
    assert log.read_bytes() == content


async def test_an_idle_store_notices_within_the_time_between_two_looks(path):
    store = await open_sqlite(path, "1", look_every_s=0.001)
    waiting = asyncio.create_task(store.claim(Queue.INBOX))
    await asyncio.sleep(0)
    other_file(path)
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(StoreError, match="was replaced"):
            await waiting
    await store.close()


async def test_a_file_that_can_only_be_read_is_noticed_by_a_look(store, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreUnavailable, match=r"cannot be written \(any more\)"):
        store._ledger.file.look()


async def test_a_lock_that_somebody_deletes_is_taken_again(store, path):
    path.with_name("bot.db-lock").unlink()
    store._ledger.file.look()
    with pytest.raises(StoreError, match="in use by process"):
        await open_sqlite(path, "1")


async def test_another_process_that_took_a_deleted_lock_owns_the_file(store, path):
    path.with_name("bot.db-lock").unlink()
    other = await open_sqlite(path, "1")
    await lost(store, "only one may own it")
    assert await append(other, [update(1)]) == 1
    await other.close()


# -- each who asks has an outcome of its own ---------------------------------------------------------------------------

BAD_VALUES = {
    "lone surrogate": "\ud800",
    "unknown type": object(),
    "no value": None,
}


@pytest.mark.parametrize("bad", BAD_VALUES)
async def test_a_value_that_cannot_be_stored_fails_its_own_commit_alone(store, path, bad):
    await append(store, [update(id_, f"chat:{id_}") for id_ in range(5)])
    deliveries = [await store.claim(Queue.INBOX) for _ in range(5)]
    commits = [store.commit(delivery, Effects(state=b"s"), more=False) for delivery in deliveries[:4]]
    asking = [asyncio.ensure_future(commit) for commit in commits]
    await asyncio.sleep(0)
    store._writer.group().insert("outbox", (1, "chat:4", "", BAD_VALUES[bad], 0.0))
    broken = store._writer.done(lambda: None)
    asking.append(asyncio.ensure_future(store.commit(deliveries[4], Effects(state=b"s"), more=False)))
    with pytest.raises((sqlite3.Error, ValueError)):
        await broken
    assert await asyncio.gather(*asking) == [None] * 5
    assert (await store.stats()).inbox.committed == 5
    assert store._ledger.file.owner_epoch == 1  # no doubt about the file


async def test_what_a_caller_left_half_done_is_in_nobodys_commit(store):
    store._writer.group().insert("alias", ("half", "done"))  # and then it failed
    assert await append(store, [update(1)]) == 1
    assert store._ledger.file.connection.execute("SELECT * FROM alias").fetchall() == []
    whole = store._writer.done(lambda: "whole")
    store._writer.group().insert("alias", ("half", "done"))
    assert await whole == "whole"
    assert await store._writer.read(Read.NOTHING, ()) == (1,)
    assert store._ledger.file.connection.execute("SELECT * FROM alias").fetchall() == []


async def test_a_read_that_fails_fails_nothing_that_is_committed(store):
    await append(store, [update(1)])
    delivery = await store.claim(Queue.INBOX)
    commit = asyncio.ensure_future(store.commit(delivery, Effects(), more=False))
    await asyncio.sleep(0)
    bad = store._writer.read(Read.LETTER, (object(),))
    good = store._writer.read(Read.NOTHING, ())
    with pytest.raises((sqlite3.Error, StoreUnavailable)):
        await bad
    assert await commit is None
    await asyncio.gather(good, return_exceptions=True)
    assert (await store.stats()).inbox.committed == 1


async def test_what_fails_after_a_commit_fails_its_own_caller_and_the_file_is_read_anew(store):
    await append(store, [update(1)])
    held = await store.claim(Queue.INBOX)
    store._writer.group()
    broken = store._writer.done(lambda: 1 / 0)
    good = asyncio.ensure_future(store._writer.done(lambda: "good"))
    with pytest.raises(ZeroDivisionError):
        await broken
    assert await good == "good"
    assert await append_one(store, 2) == 1
    with pytest.raises(LeaseLost):
        await store.commit(held, Effects(), more=False)


async def test_two_failures_in_one_group_begin_one_reading(store, faults):
    broken = [asyncio.ensure_future(store._writer.done(lambda: 1 / 0)) for _ in range(2)]
    told = await asyncio.gather(*broken, return_exceptions=True)
    assert [type(each) for each in told] == [ZeroDivisionError] * 2
    assert len(readings()) == 1
    await asyncio.wait(readings())
    assert len(faults.connections) == 2


async def test_a_thread_that_breaks_leaves_nobody_waiting(store, monkeypatch):
    monkeypatch.setattr(store._writer, "_work", lambda _: 1 / 0)
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(StoreError, match="thread failed: ZeroDivisionError"):
            await append(store, [update(1)])
        with pytest.raises(StoreError, match="thread failed"):
            await store.claim(Queue.INBOX)


# -- a group's steps end as asked --------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b"])
CHANGES = st.one_of(
    st.tuples(st.just("state"), KEYS, KEYS, st.none() | st.binary(max_size=2)),
    st.tuples(st.just("parked"), KEYS, st.none() | st.integers(0, 9)),
    st.tuples(st.just("timer"), KEYS, st.none() | st.integers(0, 9)),
    st.tuples(st.just("seen"), st.integers(0, 1), st.none() | st.binary(max_size=2)),
    st.tuples(st.just("place"), st.integers(0, 3)),
    st.tuples(st.just("mark"), KEYS, st.integers(0, 9)),
)


def fill(group, number, change):
    match change:
        case "state", key, scope, state:
            group.set_state(key, scope, state)
        case "parked", key, None:
            group.forget("parked", "inbox", key)
        case "parked", key, attempts:
            group.insert("parked", ("inbox", key, attempts, 0.0, "", 0.0, number))
        case "timer", key, None:
            group.forget("timer", key, "", "t")
        case "timer", key, at:
            group.insert("timer", (number, key, "", "t", float(at), b""))
        case "seen", segment, None:
            group.forget("seen", segment)
        case "seen", segment, bits:
            group.see({segment: bytearray(bits)}, 1.0)
        case "place", place:
            group.delete("inbox", place)
            group.insert("inbox", (10 + number, str(number), "", b"", 0.0))
        case "mark", kind, last:
            group.raise_mark(kind, last)


def everything(connection):
    tables = ("inbox", "state", "parked", "timer", "seen", "meta")
    return [sorted(connection.execute(f"SELECT * FROM {table}")) for table in tables]


@given(st.lists(CHANGES, max_size=12))
def test_what_is_put_together_is_what_was_asked_one_after_another(changes):
    together, one_by_one = (sqlite3.connect(":memory:") for _ in range(2))
    for connection in (together, one_by_one):
        connection.executescript(sqlite_schema.SCHEMA)
        connection.execute("INSERT INTO meta VALUES ('a', 3), ('b', 5)")
        for place in range(4):
            connection.execute("INSERT INTO inbox VALUES (?, '', '', '', 0)", (place,))
    group = Group()
    for number, change in enumerate(changes):
        fill(group, number, change)
        alone = Group()
        fill(alone, number, change)
        apply(one_by_one, alone.steps)
    apply(together, group.steps)
    assert everything(together) == everything(one_by_one)


def test_steps_are_taken_in_few_statements():
    connection = sqlite3.connect(":memory:")
    connection.executescript(sqlite_schema.SCHEMA)
    group = Group()
    for number in range(100):
        group.delete("inbox", number)
        group.insert("outbox", (number, "", "", b"", 0.0))
        group.set_state(str(number), "", b"s")
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    apply(connection, group.steps)
    assert len([each for each in statements if not each.startswith("BEGIN")]) < 10


# -- a full disk -------------------------------------------------------------------------------------------------------


class Room(NamedTuple):
    f_bavail: int
    f_frsize: int = 1


@pytest.fixture
def room(monkeypatch):
    """How many bytes are free; a reserve takes them, as long as there are so many."""
    free = [0]
    allocate = os.posix_fallocate

    def take(fd, offset, size):
        if size > free[0]:
            raise OSError(errno.ENOSPC, "no room")
        allocate(fd, offset, size)

    monkeypatch.setattr(os, "statvfs", lambda _: Room(free[0]))
    monkeypatch.setattr(os, "posix_fallocate", take)
    return free


def test_a_reserve_is_as_large_as_the_disk_has_room_for(tmp_path, room):
    reserve = Reserve(tmp_path / "reserve")
    assert not reserve.keep()
    assert not (tmp_path / "reserve").exists()
    room[0] = 8 << 20
    assert reserve.keep()
    assert (reserve.size, (tmp_path / "reserve").stat().st_size) == (1 << 20, 1 << 20)
    assert Reserve(tmp_path / "reserve").size == 1 << 20  # of an earlier life
    assert reserve.give_up()
    assert not (tmp_path / "reserve").exists()
    assert not reserve.give_up()
    room[0] = 1 << 40
    assert reserve.keep()
    assert reserve.size == 16 << 20


async def test_on_a_full_disk_what_only_deletes_goes_on_and_then_everything(store, faults, room):
    room[0] = 8 << 20
    await append(store, [update(1), update(2, "chat:2")])
    assert store._ledger.file.reserve.keep()
    room[0] = 0
    full = [sqlite3.SQLITE_FULL]
    faults.fail("INSERT", *full)
    faults.fail("PRAGMA wal_checkpoint", *full)  # the log could not be folded without the reserve
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await append(store, [update(3)])
    assert not store._ledger.file.path.with_name("bot.db-reserve").exists()
    delivery = await store.claim(Queue.INBOX)
    second = await store.claim(Queue.INBOX)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await store.commit(second, Effects(state=b"s"), more=False)
    assert await store.commit(delivery, Effects(), more=False) is None
    assert (await store.stats()).inbox[:4] == (2, 1, 0, 1)
    room[0] = 8 << 20
    assert await append(store, [update(3)]) == 1
    assert await store.commit(second, Effects(state=b"s"), more=False) is None


async def test_the_log_is_folded_before_anything_is_refused(store, faults):
    faults.fail("INSERT", sqlite3.SQLITE_FULL)
    assert await append(store, [update(1)]) == 1
    assert "PRAGMA wal_checkpoint(PASSIVE)" in faults.statements[-12:]
    assert store._ledger.file.reserve.size > 0


@pytest.mark.parametrize("begin", ["PRAGMA wal_checkpoint", "BEGIN IMMEDIATE", "UPDATE meta", "COMMIT"])
async def test_a_start_gives_up_the_reserve_rather_than_fail(path, faults, begin):
    store = await open_sqlite(path, "1")
    await append(store, [update(1)])
    await store.close()
    faults.fail(begin, sqlite3.SQLITE_FULL)
    store = await open_sqlite(path, "1", connect=faults.connect)
    assert (await store.stats()).inbox.pending == 1
    assert store._ledger.file.reserve.size > 0  # there is room again: it was taken anew
    await store.close()
