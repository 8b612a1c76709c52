"""What ran when the process died: counted at the next start, blamed alone where it can be, and no one else."""

import asyncio
import os
import shutil
import struct

from engine import Effects, EngineConfig, Envelope, Queue, Timer
from engine.dispatcher import Engine
from engine.model import TIMER_IDS
from engine.store import DIED, DIED_WITH_OTHERS
from engine.stores import open_store
from engine.stores.contract import append
from engine.stores.sqlite import open_sqlite
from tests.kit.bounds import WITHIN_S

ATTEMPTS_MAX = 3


def update(id_):
    return Envelope(id_, f"chat:{id_}", "", b"x")


class Lives:
    """The lives of one store. A death leaves the files as they are: the next life has a copy of them."""

    def __init__(self, folder):
        self.folder = folder
        self.number = 0
        self.store = None

    @property
    def path(self):
        return self.folder / str(self.number) / "bot.db"

    async def begin(self):
        self.path.parent.mkdir(exist_ok=True)
        self.store = await open_store(f"sqlite:{self.path}", "1")
        return self.store

    async def die(self, meanwhile=lambda _: None):
        """End this life, and begin the next; `meanwhile` gets the path of the notes."""
        dead, before = self.store, self.path.parent
        self.number += 1
        shutil.copytree(before, self.path.parent)
        await dead.close()
        meanwhile(self.path.with_name("bot.db-running"))
        return await self.begin()

    async def pending(self):
        """Return {id: (attempt, death)} of all that can be claimed."""
        found = {}
        for _ in range((await self.store.stats()).inbox.pending):
            delivery = await self.store.claim(Queue.INBOX)
            id_ = delivery.envelope.id
            found[id_] = (delivery.attempt, self.store.notes.death(id_))
        return found


def living(test):
    """Run a test that is handed its lives."""

    def run(tmp_path):
        async def live():
            lives = Lives(tmp_path)
            await lives.begin()
            await append(lives.store, [update(id_) for id_ in (1, 2, 3)])
            try:
                await test(lives)
            finally:
                await lives.store.close()

        asyncio.run(live())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@living
async def test_what_ran_alone_has_had_an_attempt(lives):
    lives.store.notes.begin(1, 2)
    await lives.die()
    assert await lives.pending() == {1: (1, None), 2: (2, DIED), 3: (1, None)}


@living
async def test_of_several_that_ran_none_is_certain_to_be_the_cause(lives):
    lives.store.notes.begin(1, 1)
    lives.store.notes.begin(2, 3)
    await lives.die()
    assert await lives.pending() == {1: (2, DIED_WITH_OTHERS), 2: (1, None), 3: (2, DIED_WITH_OTHERS)}


@living
async def test_a_suspect_that_ran_beside_others_is_the_cause(lives):
    lives.store.notes.begin(1, 1)
    lives.store.notes.begin(2, 3)
    await lives.die()
    lives.store.notes.begin(5, 3)
    lives.store.notes.begin(6, 2)
    await lives.die()
    assert await lives.pending() == {1: (2, DIED_WITH_OTHERS), 2: (1, None), 3: (3, DIED)}


@living
async def test_a_death_is_counted_once(lives):
    lives.store.notes.begin(1, 1)
    await lives.die()
    await lives.die()  # the note of the first life is still in its place
    assert (await lives.pending())[1] == (2, DIED)


@living
async def test_a_handler_that_has_ended_has_died_of_nothing(lives):
    lives.store.notes.begin(1, 1)
    lives.store.notes.end(1)
    await lives.die()
    assert (await lives.pending())[1] == (1, None)


@living
async def test_a_stop_counts_nothing(lives):
    lives.store.notes.begin(1, 1)
    await lives.store.close()
    await lives.begin()
    assert (await lives.pending())[1] == (1, None)
    lives.store.notes.begin(1, 1)
    lives.store.notes.clear()  # as before a forced stop
    await lives.die()
    assert (await lives.pending())[1] == (1, None)


@living
async def test_a_garbled_note_counts_nothing(lives):
    def garble(notes):
        with notes.open("r+b") as file:
            file.seek(24)
            file.write(struct.pack("<Q", 2))

    lives.store.notes.begin(1, 1)
    await lives.die(garble)
    assert await lives.pending() == {1: (1, None), 2: (1, None), 3: (1, None)}


@living
async def test_what_was_committed_meanwhile_is_not_counted(lives):
    delivery = await lives.store.claim(Queue.INBOX)
    lives.store.notes.begin(1, delivery.envelope.id)
    await lives.store.commit(delivery, Effects(), more=False)
    await lives.die()
    assert await lives.pending() == {2: (1, None), 3: (1, None)}


def test_the_notes_of_more_workers_than_a_page_holds(tmp_path):
    _notes_of_two_pages(tmp_path)


@living
async def test_a_timer_that_ran_has_had_an_attempt(lives):
    delivery = await lives.store.claim(Queue.INBOX)
    timer = Timer("t", 0.0, b"x")
    await lives.store.commit(delivery, Effects(timers=(timer,)), more=False)
    for _ in range(3):
        delivery = await lives.store.claim(Queue.INBOX)
        if delivery.envelope.id & TIMER_IDS:
            break
    lives.store.notes.begin(1, delivery.envelope.id)
    await lives.die()
    assert (await lives.pending())[delivery.envelope.id] == (2, DIED)


def test_notes_go_on_after_the_file_was_read_anew(tmp_path):
    async def live():
        lives = Lives(tmp_path)
        await lives.begin()
        await append(lives.store, [update(1)])
        lives.store.notes.begin(1, 1)
        lives.store._ledger.file.reopen()
        await lives.die()
        assert (await lives.pending())[1] == (2, DIED)
        await lives.store.close()

    asyncio.run(live())


def test_without_room_for_notes_the_store_opens_and_counts_nothing(tmp_path, monkeypatch):
    allocate = os.posix_fallocate

    def full(fd, offset, size):
        if offset == 0:  # the notes and the reserve; the database file becomes longer
            raise OSError(28, "No space left on device")
        allocate(fd, offset, size)

    async def live():
        lives = Lives(tmp_path)
        await lives.begin()
        await append(lives.store, [update(1)])
        lives.store.notes.begin(1, 1)
        lives.store.notes.end(1)
        lives.store.notes.begin(1, 1)
        await lives.die()
        assert await lives.pending() == {1: (1, None)}
        await lives.store.close()

    monkeypatch.setattr(os, "posix_fallocate", full)
    asyncio.run(live())


@living
async def _notes_of_two_pages(lives):
    lives.store.notes.begin(1, 1)
    lives.store.notes.begin(10_000, 2)
    await lives.die()
    assert await lives.pending() == {1: (2, DIED_WITH_OTHERS), 2: (2, DIED_WITH_OTHERS), 3: (1, None)}


async def test_a_file_of_notes_without_an_end_fills_neither_disk_nor_memory(tmp_path):
    path = tmp_path / "bot.db-running"
    path.touch()
    os.truncate(path, 8 << 20)
    store = await open_sqlite(tmp_path / "bot.db", "1", look_every_s=None)
    assert path.stat().st_size == 4096
    await store.close()


def test_notes_are_kept_where_room_cannot_be_reserved(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    _notes_of_two_pages(tmp_path)


# -- the pool over such a store ----------------------------------------------------------------------------------------


class Pool:
    """An engine; its handlers wait until the test lets them go, and are noted in the order of their begin."""

    def __init__(self, store):
        self.store = store
        self.begun = []
        self.at_once = 0
        self.at_once_max = 0
        self.go = asyncio.Event()
        config = EngineConfig(workers=8, attempts_max=ATTEMPTS_MAX)
        self.engine = Engine(store, Queue.INBOX, self.handle, config)

    async def handle(self, delivery):
        self.begun.append(delivery.envelope.id)
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            await self.go.wait()
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        return Effects()

    async def __aenter__(self):
        self.group = asyncio.TaskGroup()
        await self.group.__aenter__()
        self.engine.start(self.group)
        return self

    async def __aexit__(self, *_):
        await self.engine.drain(asyncio.get_running_loop().time())
        await self.group.__aexit__(None, None, None)

    async def until(self, is_so):
        async with asyncio.timeout(WITHIN_S):
            while not await is_so():
                await asyncio.sleep(0.005)


@living
async def test_what_kills_alone_is_a_dead_letter_after_all_attempts_without_another_run(lives):
    lives.store.notes.begin(1, 2)
    for _ in range(ATTEMPTS_MAX - 1):
        await lives.die()
        lives.store.notes.begin(1, 2)
    await lives.die()
    async with Pool(lives.store) as pool:
        pool.go.set()

        async def is_done():
            return not (await lives.store.stats()).inbox.pending

        await pool.until(is_done)
    assert sorted(pool.begun) == [1, 3]
    (letter,) = await lives.store.dead_letters(10)
    assert (letter.envelope.id, letter.attempts) == (2, ATTEMPTS_MAX)
    assert letter.reason == f"{DIED}; that was attempt 3 of 3"


@living
async def test_who_only_ran_beside_what_killed_is_handled_however_many_attempts_were_counted(lives):
    """Before the one that is certain to kill is found, each death counts for all that ran: here suspects at once."""
    for _ in range(ATTEMPTS_MAX):
        for id_ in (1, 2, 3):
            lives.store.notes.begin(id_, id_)
        await lives.die()
    assert (await lives.pending())[1] == (ATTEMPTS_MAX + 1, DIED_WITH_OTHERS)
    await lives.die()
    async with Pool(lives.store) as pool:
        pool.go.set()

        async def is_done():
            return not (await lives.store.stats()).inbox.pending

        await pool.until(is_done)
    assert sorted(pool.begun) == [1, 2, 3]
    assert await lives.store.dead_letters(10) == []


async def _died_together(lives, *deaths):
    """Return the pool that handles what ran at each of these deaths, and two others that came later."""
    for ids in deaths:
        for id_ in ids:
            lives.store.notes.begin(id_, id_)
        await lives.die()
    await append(lives.store, [update(4), update(5)])
    return Pool(lives.store)


@living
async def test_what_ran_at_one_death_runs_after_the_others_and_side_by_side(lives):
    async with await _died_together(lives, (1, 2, 3)) as pool:

        async def all_run():
            return sorted(pool.begun) == [1, 2, 3, 4, 5]

        await pool.until(all_run)
        assert sorted(pool.begun[:2]) == [4, 5]
        assert pool.at_once == 5


@living
async def test_once_something_ran_at_two_deaths_suspects_run_one_at_a_time(lives):
    async with await _died_together(lives, (1, 2, 3), (1, 2)) as pool:

        async def one_runs():
            return len(pool.begun) == 3 and (await lives.store.stats()).inbox.parked == 2

        await pool.until(one_runs)
        assert sorted(pool.begun[:2]) == [4, 5]
        pool.go.set()

        async def is_done():
            return not (await lives.store.stats()).inbox.pending

        await pool.until(is_done)
    assert sorted(pool.begun) == [1, 2, 3, 4, 5]


@living
async def test_a_drain_that_cuts_a_handler_off_leaves_no_note(lives):
    async with Pool(lives.store) as pool:

        async def have_begun():
            return len(pool.begun) == 3

        await pool.until(have_begun)
    await lives.die()
    assert await lives.pending() == {1: (1, None), 2: (1, None), 3: (1, None)}


@living
async def test_a_handler_that_runs_is_noted(lives):
    async with Pool(lives.store) as pool:

        async def have_begun():
            return len(pool.begun) == 3

        await pool.until(have_begun)
        copy = lives.path.parent.with_name("copy")
        shutil.copytree(lives.path.parent, copy)
    store = await open_store(f"sqlite:{copy / 'bot.db'}", "1")
    try:
        assert [store.notes.death(id_) for id_ in (1, 2, 3)] == [DIED_WITH_OTHERS] * 3
    finally:
        await store.close()
