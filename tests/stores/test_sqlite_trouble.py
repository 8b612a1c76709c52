"""What the SQLite store does when its file cannot be read or written, beyond one error."""

import asyncio
import sqlite3

import pytest

from engine import Call, Effects, Envelope, LeaseLost, Queue, StoreError, StoreUnavailable, Timer
from engine.stores.contract import append
from engine.stores.owned.reads import Read
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite import writer as sqlite_writer
from engine.stores.sqlite.disk import renew
from engine.stores.sqlite.writer import Writer
from tests.kit.bounds import WITHIN_S


def update(id_, key="chat:1"):
    return Envelope(id_, key, "", b"x" * 100)


def io_error():
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    return error


@pytest.fixture
async def store(tmp_path):
    store = await open_sqlite(tmp_path / "bot.db", "1", look_every_s=None)
    yield store
    await store.close()


@pytest.fixture
def pauses(monkeypatch):
    """How long the store pauses; here it does not."""
    pauses = []
    sleep = asyncio.sleep

    async def note(delay_s, result=None):
        if delay_s:
            pauses.append(delay_s)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    return pauses


async def break_once(store, monkeypatch, id_):
    """One append that ends with an I/O error."""
    write = Writer._write

    def broken(self, group):
        monkeypatch.setattr(Writer, "_write", write)
        raise io_error()

    monkeypatch.setattr(Writer, "_write", broken)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await append(store, [update(id_)])


async def fail_once(store, monkeypatch, id_):
    """The same, then once more, which reads the file anew."""
    await break_once(store, monkeypatch, id_)
    assert await append(store, [update(id_)]) == 1


async def test_a_file_that_fails_again_and_again_is_read_less_and_less_often(store, pauses, monkeypatch):
    """Each reading voids the leases, so that replies which went out go out again: that must not become a storm."""
    for id_ in range(8):
        await fail_once(store, monkeypatch, id_)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


async def test_after_a_calm_time_a_file_is_read_at_once_again(store, pauses, monkeypatch):
    await fail_once(store, monkeypatch, 1)
    await fail_once(store, monkeypatch, 2)
    store._read_anew_at -= 60
    await fail_once(store, monkeypatch, 3)
    await fail_once(store, monkeypatch, 4)
    assert pauses == [1, 1]


async def test_all_who_ask_after_an_io_error_read_the_file_anew_once(store, monkeypatch):
    await append(store, [update(1)])
    await break_once(store, monkeypatch, 2)
    before = store._ledger.file.owner_epoch
    await asyncio.gather(store.claim(Queue.INBOX), *(store.dead_letters() for _ in range(3)))
    assert store._ledger.file.owner_epoch == before + 1


async def test_a_lease_from_before_an_io_error_is_void_though_the_lane_is_held_again(store, monkeypatch):
    await append(store, [update(1)])
    stale = await store.claim(Queue.INBOX)
    await fail_once(store, monkeypatch, 2)
    holder = await store.claim(Queue.INBOX)
    assert holder.envelope == stale.envelope
    with pytest.raises(LeaseLost):
        await store.commit(stale, Effects(), more=True)
    assert (await store.commit(holder, Effects(), more=True)).envelope.id == 2


@pytest.mark.parametrize("table", ["outbox", "state", "timer"])  # one after another
async def test_a_group_that_fails_in_the_middle_leaves_nothing(tmp_path, table):
    path = tmp_path / "other.db"
    store = await open_sqlite(path, "1")
    await append(store, [update(1)])
    connection = store._ledger.file.connection
    connection.execute(
        f"CREATE TRIGGER no BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'simulated'); END"
    )
    effects = Effects((Call("chat:1", b"a"),), b"state", timers=(Timer("t", 0.0),))
    with pytest.raises(sqlite3.IntegrityError, match="simulated"):
        await store.commit(await store.claim(Queue.INBOX), effects, more=True)
    connection.execute("DROP TRIGGER no")
    await store.close()
    store = await open_sqlite(path, "1")
    stats = await store.stats()
    assert (stats.inbox.pending, stats.outbox.pending) == (1, 0)
    assert (await store.claim(Queue.INBOX)).state is None
    await store.close()


async def test_who_watches_is_not_told_of_what_the_file_refuses(store, monkeypatch):
    notified: list[int] = []
    store.watch(Queue.INBOX, print, lambda batch: notified.extend(each.id for each in batch))

    def broken(self, group):
        raise io_error()

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_write", broken)
        with pytest.raises(StoreUnavailable):
            await append(store, [update(1)])
    assert notified == []
    await append(store, [update(1)])
    assert notified == [1]


async def test_who_watches_is_told_also_if_the_caller_of_the_append_was_cut_off(store):
    notified: list[int] = []
    store.watch(Queue.INBOX, print, lambda batch: notified.extend(each.id for each in batch))
    appending = asyncio.create_task(append(store, [update(1)]))
    await asyncio.sleep(0)
    appending.cancel()
    assert (await store.claim(Queue.INBOX)).envelope.id == 1
    assert notified == [1]


async def test_who_was_cut_off_does_not_keep_a_failure_from_the_others(store, monkeypatch):
    await append(store, [update(1), update(2, "chat:2")])
    deliveries = [await store.claim(Queue.INBOX) for _ in range(2)]

    def broken(self, group):
        raise io_error()

    monkeypatch.setattr(Writer, "_write", broken)
    first, second = (asyncio.create_task(store.commit(each, Effects(), more=True)) for each in deliveries)
    await asyncio.sleep(0)  # both are in one group now
    first.cancel()
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(StoreUnavailable):
            await second
    monkeypatch.undo()


async def test_what_happened_after_its_caller_was_cut_off_happened_once_in_the_file_too(tmp_path):
    path = tmp_path / "other.db"
    for moment in range(6):
        store = await open_sqlite(path, "1")
        await append(store, [update(2 * moment), update(2 * moment + 1)])
        first = await store.claim(Queue.INBOX)
        asking = asyncio.create_task(store.commit(first, Effects((Call("chat:1", b"a"),)), more=True))
        for _ in range(moment):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        second = await store.commit(first, Effects((Call("chat:1", b"a"),)), more=True)
        assert second is not None
        await store.commit(second, Effects(), more=True)
        await store.close()
    store = await open_sqlite(path, "1")
    stats = await store.stats()
    assert (stats.inbox.pending, stats.outbox.pending) == (0, 6)
    await store.close()


async def test_what_is_claimed_after_an_io_error_is_not_taken_back(store, monkeypatch):
    await append(store, [update(1)])
    await break_once(store, monkeypatch, 2)
    delivery = await store.claim(Queue.INBOX)
    assert await append(store, [update(2)]) == 1
    assert (await store.commit(delivery, Effects(), more=True)).envelope.id == 2


async def test_a_commit_is_done_though_the_next_head_cannot_be_read(store, monkeypatch):
    async def unreadable(*_):
        raise StoreUnavailable("simulated")

    await append(store, [update(1), update(2)])
    first = await store.claim(Queue.INBOX)
    monkeypatch.setattr(store, "_at_hand", lambda *_: None)
    monkeypatch.setattr(store, "_delivery", unreadable)
    assert await store.commit(first, Effects(), more=True) is None
    monkeypatch.undo()
    assert (await store.stats()).inbox[1:] == (1, 0, 1, 1, 0, 0)  # nobody holds the lane
    assert (await store.claim(Queue.INBOX)).envelope.id == 2


async def test_who_asks_while_the_writer_closes_is_not_left_waiting_for_ever(store):
    writer = store._writer

    async def ask_twice():
        await writer.read(Read.NOTHING, ())
        return await writer.read(Read.NOTHING, ())  # by now the closing waits for the first

    asking = asyncio.create_task(ask_twice())
    await asyncio.sleep(0)
    async with asyncio.timeout(WITHIN_S):
        await writer.close()
        assert await asking == (1,)


async def test_who_asks_a_closed_writer_is_told(tmp_path):
    store = await open_sqlite(tmp_path / "other.db", "1")
    await append(store, [update(1)])
    delivery = await store.claim(Queue.INBOX)
    await store.close()
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.commit(delivery, Effects(), more=True)
        with pytest.raises(StoreUnavailable, match="closed"):
            await append(store, [update(2)])


async def test_a_closed_writer_writes_nothing(store):
    writer = store._writer
    await writer.close()
    writer.group().insert("alias", ("a", "b"))
    asking = writer.done(lambda: None), writer.read(Read.NOTHING, ())
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in told] == [StoreUnavailable] * 2
    assert store._ledger.file.connection.execute("SELECT * FROM alias").fetchall() == []


async def test_trouble_at_the_close_begins_no_reading(store, monkeypatch):
    """A reading that pauses would outlive the store, and find its thread gone."""
    await append(store, [update(1)])
    store._read_anew_at = asyncio.get_running_loop().time()  # so that it would pause

    def broken(self, group):
        raise io_error()

    monkeypatch.setattr(Writer, "_write", broken)
    appending = asyncio.create_task(append(store, [update(2)]))
    while not store._writer._busy:
        await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await appending
    assert [task for task in asyncio.all_tasks() if task.get_name() == "reading the store anew"] == []


async def test_a_file_that_cannot_be_read_at_the_start_is_named_in_one_line(tmp_path):
    path = tmp_path / "bot.db"
    store = await open_sqlite(path, "1")
    await append(store, [update(id_, f"chat:{id_}") for id_ in range(2000)])
    await store.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xaa" * (len(content) - 8192))
    with pytest.raises(StoreError, match=r"damaged .*: restore it from a backup"):
        await open_sqlite(path, "1")
    path.write_bytes(content)
    restored = await open_sqlite(path, "1")  # the lock was let go
    assert (await restored.stats()).inbox.pending == 2000
    await restored.close()


class WithoutLog(sqlite3.Connection):
    """Says that it uses a log, and does not.

    Found with a simulated disk: the rollback journal of the switch could not be deleted, which SQLite does not tell.
    """

    def execute(self, statement, *values):
        if statement == "PRAGMA journal_mode=WAL":
            return super().execute("SELECT 'wal'")
        return super().execute(statement, *values)


def connect_without_log(path):
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=WithoutLog)


async def test_a_file_beside_which_sqlite_keeps_no_log_is_not_taken(tmp_path):
    with pytest.raises(StoreError, match="keeps no log"):
        await open_sqlite(tmp_path / "bot.db", "1", connect=connect_without_log)
    await (await open_sqlite(tmp_path / "bot.db", "1")).close()


# -- SQLite's log ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", ["appends", "commits"])
async def test_the_log_stays_within_its_bound_on_the_disk_whatever_is_written(store, monkeypatch, work):
    log = store._ledger.file.path.with_name("bot.db-wal")
    await append(store, [update(id_) for id_ in range(500)])
    bound, one_group = 65_536, 40_000
    monkeypatch.setattr(sqlite_writer, "LOG_BYTES_MAX", bound)
    delivery = await store.claim(Queue.INBOX)
    for id_ in range(500, 600):
        if work == "appends":
            await append(store, [update(id_)])
        else:
            delivery = await store.commit(delivery, Effects(), more=True)
        if id_ > 503:
            assert log.stat().st_size <= bound + one_group


async def test_a_log_that_a_kill_left_is_folded_at_the_start(tmp_path):
    """Else a bot that is killed again and again before its log is long never folds it, and it grows with each life."""
    path, log = tmp_path / "other.db", tmp_path / "other.db-wal"
    store = await open_sqlite(path, "1")
    await append(store, [update(id_) for id_ in range(2000)])
    left, file = log.read_bytes(), path.read_bytes()
    await store.close()
    path.write_bytes(file)  # as a kill leaves them
    log.write_bytes(left)
    store = await open_sqlite(path, "1")
    assert path.stat().st_size > 200_000
    assert (await store.stats()).inbox.pending == 2000
    await store.close()


async def test_a_log_that_cannot_be_folded_casts_doubt_on_the_file(store, monkeypatch):
    class Unfoldable:
        def __init__(self, connection):
            self.connection = connection

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def execute(self, statement, *values):
            if "wal_checkpoint" in statement:
                raise io_error()
            return self.connection.execute(statement, *values)

    monkeypatch.setattr(sqlite_writer, "LOG_BYTES_MAX", 1)
    store._ledger.file.connection = Unfoldable(store._ledger.file.connection)
    before = store._ledger.file.owner_epoch
    assert await append(store, [update(1)]) == 1  # it is durable, whatever became of the folding
    assert await append(store, [update(2)]) == 1
    assert store._ledger.file.owner_epoch == before + 1


async def test_a_log_that_another_program_has_put_in_place_survives_the_close(tmp_path):
    """SQLite deletes the log by its name when it closes, although it had opened another one."""
    store = await open_sqlite(tmp_path / "other.db", "1", look_every_s=None)
    await append(store, [update(1)])
    log = tmp_path / "other.db-wal"
    log.with_name("new").write_bytes(b"new")
    log.with_name("new").replace(log)
    await store.close()
    assert log.read_bytes() == b"new"


async def test_the_log_is_written_anew_at_the_start_and_after_an_io_error(tmp_path, monkeypatch):
    renewed: list[object] = []
    path = tmp_path / "other.db"
    store = await open_sqlite(path, "1", renew=renewed.append)
    assert renewed == [tmp_path / "other.db-wal"]
    await fail_once(store, monkeypatch, 1)
    assert renewed == [tmp_path / "other.db-wal"] * 2
    await store.close()


def test_a_log_that_is_written_anew_says_the_same(tmp_path):
    log = tmp_path / "bot.db-wal"
    renew(log)
    assert not log.exists()
    content = bytes(range(256)) * 10_000
    log.write_bytes(content)
    renew(log)
    assert log.read_bytes() == content
