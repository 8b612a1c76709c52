"""A store on a disk that is full: what was committed can be checkpointed, and the next process can start."""

import errno
import os
import random
import sqlite3
import subprocess
import sys
from functools import partial
from typing import Any

import apsw
import pytest

from engine import Effects, Envelope, Queue, StoreError, StoreUnavailable
from engine.stores.contract import append
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite.space import LOG_BYTES_MIN, allocate
from tests.kit.apsw_connection import ApswConnection
from tests.kit.bounds import WITHIN_S
from tests.kit.disk import Disk
from tests.kit.loop_thread import LoopThread
from tests.kit.virtual import run_virtual

PAGE = 4096


def update(id_, key="chat:1", size=1000):
    return Envelope(id_, key, "", b"x" * size)


class Allocating:
    """Allocates, unless there is no room; `asked` has the sizes."""

    def __init__(self):
        self.error = None
        self.asked = []
        self.room = 1 << 40

    def __call__(self, fd, offset, size):
        self.asked.append(size)
        if self.error is not None:
            raise self.error
        if size > self.room:
            raise OSError(errno.ENOSPC, "no space left")
        allocate(fd, offset, size)
        self.room -= size


@pytest.fixture
def allocating():
    return Allocating()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bot.db"


@pytest.fixture
async def store(path, allocating):
    store = await open_sqlite(path, "1", allocate=allocating, look_every_s=None)
    yield store
    await store.close()


class FullDisk:
    """A disk in memory on which nothing grows while `is_full`; beside it there is no reserve."""

    def __init__(self, monkeypatch, path):
        self.path = path
        self.is_full = False
        self.disk = Disk(random.Random(1))
        self.disk.fault = lambda _, grows: apsw.SQLITE_FULL if grows and self.is_full else None
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((PAGE, PAGE, *[0] * 8)))

    async def open(self):
        connect: Any = partial(ApswConnection, self.disk)
        return await open_sqlite(
            self.path,
            "1",
            connect=connect,
            renew=self.disk.renew,
            look=self.disk.look,
            allocate=lambda _, offset, size: self.disk.allocate(self.path, offset, size),
            thread=LoopThread,
            look_every_s=None,
        )

    async def kill(self, store):
        """All of the store that is not on the disk is lost."""
        self.disk.cut_after(0)
        await store.close()
        self.disk.restart()


@pytest.fixture
def full_disk(monkeypatch, path):
    disk = FullDisk(monkeypatch, path)
    yield disk
    disk.disk.close()


async def append_until_full(store):
    """Return how many were stored."""
    for id_ in range(1000):
        try:
            await append(store, [update(id_, f"chat:{id_ % 7}")])
        except StoreUnavailable as error:
            assert "disk is full: make room on it" in str(error)
            return id_
    raise AssertionError("the disk does not become full")


@pytest.mark.parametrize("before", [1, 30, 200])
def test_every_start_succeeds_on_a_disk_that_became_full(full_disk, before):
    async def lives():
        store = await full_disk.open()
        for id_ in range(1000, 1000 + before):
            await append(store, [update(id_)])
        full_disk.is_full = True
        stored = await append_until_full(store)
        for _ in range(20):
            await full_disk.kill(store)
            store = await full_disk.open()
        assert (await store.stats()).inbox.pending == before + stored
        for _ in range(before + stored):
            assert await store.commit(await store.claim(Queue.INBOX), Effects(), more=False) is None
        await store.close()

    run_virtual(lives())


def test_after_each_commit_all_pages_can_be_checkpointed_without_more_space(full_disk):
    async def life():
        store = await full_disk.open()
        for id_ in range(60):
            await append(store, [update(id_, size=100 * id_)])
            full_disk.is_full = True
            busy, frames, folded = store._ledger.file.connection.execute(
                "PRAGMA wal_checkpoint(PASSIVE)"
            ).fetchone()
            full_disk.is_full = False
            store._ledger.file.watch.written()
            assert (busy, frames) == (0, folded)
        await store.close()

    run_virtual(life())


async def test_the_space_is_there_before_the_commit_and_asked_for_in_larger_pieces(store, path, allocating):
    pages = 0
    for id_ in range(100):
        await append(store, [update(id_)])
        (pages,) = store._ledger.file.connection.execute("PRAGMA page_count").fetchone()
        assert path.stat().st_size >= pages * PAGE
    assert pages > 30
    assert len(allocating.asked) < 6


async def test_if_there_is_no_large_piece_the_last_pages_are_taken(store, path, allocating):
    allocating.room = 10 * PAGE
    before = path.stat().st_size
    stored = await append_until_full(store)
    assert stored > 0
    assert 0 < path.stat().st_size - before <= 10 * PAGE
    assert (await store.stats()).inbox.pending == stored


async def test_what_does_not_fit_is_refused_and_the_file_stays_as_it_was(store, allocating):
    await append(store, [update(1)])
    allocating.room = 0
    with pytest.raises(StoreUnavailable, match="disk is full: make room"):
        await append(store, [update(2, size=100_000)])
    assert not store._writer.suspect
    delivery = await store.claim(Queue.INBOX)
    assert await store.commit(delivery, Effects(), more=False) is None
    allocating.room = 1 << 30
    assert await append(store, [update(2, size=100_000)]) == 1


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.EIO, errno.EFBIG])
async def test_where_space_cannot_be_allocated_the_store_works(store, allocating, number):
    allocating.error = OSError(number, os.strerror(number))
    assert await append(store, [update(1, size=100_000)]) == 1
    assert not store._writer.suspect


async def test_a_file_that_was_replaced_is_not_taken_for_ours_when_space_is_needed(store, path):
    await append(store, [update(1)])
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    with pytest.raises(StoreError, match="replaced while the bot ran"):
        await append(store, [update(2, size=100_000)])


async def test_what_another_program_has_written_is_not_taken_for_ours_when_space_is_needed(store, path):
    await append(store, [update(1)])
    os.utime(path, ns=(1, 1))
    with pytest.raises(StoreError, match="written by another program"):
        await append(store, [update(2, size=100_000)])


async def test_a_file_that_is_replaced_while_space_is_allocated_is_not_recorded(store, path, allocating):
    await append(store, [update(1)])
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())

    class Replacing:
        def __call__(self, fd, offset, size):
            allocate(fd, offset, size)
            copy.replace(path)

    store._ledger.file._space._allocate = Replacing()
    with pytest.raises(StoreError, match="replaced while the bot ran"):
        await append(store, [update(2, size=100_000)])


async def test_another_program_that_reads_the_file_does_not_delete_the_log(store, path):
    """SQLite deletes the WAL when nothing else has a lock on the file; see "How To Corrupt", 2.2."""
    await append(store, [update(1, size=100_000)])  # space was allocated
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(*c.execute('SELECT count(*) FROM inbox'))"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, timeout=WITHIN_S)
    assert store._ledger.file.watch.has_log()
    assert await append(store, [update(2)]) == 1


async def test_the_log_has_space_from_the_start_on(store, path):
    await store.close()  # SQLite deletes the log
    store = await open_sqlite(path, "1")
    log = path.with_name("bot.db-wal")
    assert log.stat().st_size == LOG_BYTES_MIN
    await append(store, [update(1)])
    assert log.stat().st_size == LOG_BYTES_MIN
    await store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM inbox").fetchone() == (1,)
    connection.close()


async def test_a_deletion_that_needs_space_takes_the_reserve(store, path, monkeypatch):
    for id_ in range(3):
        await append(store, [update(id_)])
    assert store._ledger.file.reserve.size > 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((PAGE, PAGE, *[0] * 8)))
    transact, tried = store._writer._transact, []

    def full_while_there_is_a_reserve(steps, *, durable):
        tried.append(store._ledger.file.reserve.size)
        if store._ledger.file.reserve.size:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        transact(steps, durable=durable)

    store._writer._transact = full_while_there_is_a_reserve
    delivery = await store.claim(Queue.INBOX)
    assert await store.commit(delivery, Effects(), more=False) is None
    assert [size > 0 for size in tried] == [True, True, False]
    with pytest.raises(StoreUnavailable, match="disk is full"):  # what is left is for deletions
        await append(store, [update(9)])
