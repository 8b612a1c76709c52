"""What the SQLite store does when its file cannot be read or written, beyond one error."""

import asyncio
import sqlite3

import pytest

from engine import Effects, Envelope, Queue, StoreError, StoreUnavailable
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite_writer import Writer


def update(id_, key="chat:1"):
    return Envelope(id_, key, "", b"x" * 100)


def io_error():
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    return error


@pytest.fixture
async def store(tmp_path):
    store = await open_sqlite(tmp_path / "bot.db", "1")
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


async def fail_once(store, monkeypatch, id_):
    """One append that ends with an I/O error, then the same again, which reads the file anew."""
    write = Writer._write

    def broken(self, group):
        monkeypatch.setattr(Writer, "_write", write)
        raise io_error()

    monkeypatch.setattr(Writer, "_write", broken)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await store.append([update(id_)])
    assert await store.append([update(id_)]) == 1


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


async def test_who_asks_while_the_writer_closes_is_not_left_waiting_for_ever(store):
    writer = store._writer

    async def ask_twice():
        await writer.read("SELECT 1", ())
        return await writer.read("SELECT 2", ())  # by now the closing waits for the first

    asking = asyncio.create_task(ask_twice())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await writer.close()
        assert await asking == (2,)


async def test_who_asks_a_closed_writer_is_told(tmp_path):
    store = await open_sqlite(tmp_path / "other.db", "1")
    await store.append([update(1)])
    delivery = await store.claim(Queue.INBOX)
    await store.close()
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.commit(delivery, Effects(), more=True)
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.append([update(2)])


async def test_a_file_that_cannot_be_read_at_the_start_is_named_in_one_line(tmp_path):
    path = tmp_path / "bot.db"
    store = await open_sqlite(path, "1")
    await store.append([update(id_, f"chat:{id_}") for id_ in range(2000)])
    await store.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xaa" * (len(content) - 8192))
    with pytest.raises(StoreError, match=r"damaged .*: restore it from a backup"):
        await open_sqlite(path, "1")
    path.write_bytes(content)
    restored = await open_sqlite(path, "1")  # the lock was let go
    assert (await restored.stats()).inbox.pending == 2000
    await restored.close()
