import asyncio
import gc
import subprocess
import sys
import threading
from contextvars import ContextVar
from functools import partial
from pathlib import Path

import pytest

from engine import Envelope
from engine.stores.contract import append
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.thread import OwnThread, Then
from tests.kit.bounds import WITHIN_S
from tests.kit.loop_thread import LoopThread

REPO = Path(__file__).parents[2]


@pytest.fixture(params=[OwnThread, LoopThread])
async def thread(request):
    thread = request.param()
    yield thread
    thread.end()
    thread.join()


async def finished(thread):
    """Wait until all that was submitted before is done, and its outcome delivered."""
    done = asyncio.get_running_loop().create_future()
    thread.submit(lambda: partial(done.set_result, None), done.set_exception)
    await asyncio.wait_for(done, WITHIN_S)


def unexpected(error: BaseException) -> None:
    raise error


def nothing() -> None:
    pass


def note(ran: list[int]) -> Then:
    ran.append(1)
    return nothing


def wait_for(event: threading.Event) -> Then:
    assert event.wait(WITHIN_S)
    return nothing


def writers():
    return [thread for thread in threading.enumerate() if thread.name == "sqlite writer"]


async def test_jobs_run_in_order_and_their_outcomes_come_in_order_on_the_event_loop(thread):
    begun, delivered = [], []

    def job(number):
        begun.append(number)
        return lambda: delivered.append((number, threading.current_thread()))

    for number in range(100):
        thread.submit(partial(job, number), unexpected)
    await finished(thread)
    assert begun == list(range(100))
    assert delivered == [(number, threading.main_thread()) for number in range(100)]


@pytest.mark.parametrize("error", [ZeroDivisionError(), StopIteration(), SystemExit(3), KeyboardInterrupt()])
async def test_a_job_that_raises_reports_it_and_the_next_one_runs(thread, error):
    found: list[BaseException] = []

    def job():
        raise error

    thread.submit(job, found.append)
    await finished(thread)
    assert found == [error]


async def test_an_outcome_runs_in_the_context_of_the_opening_not_of_a_caller():
    caller = ContextVar("caller", default="none")
    thread, seen = OwnThread(), []
    caller.set("the first caller")
    thread.submit(lambda: lambda: seen.append(caller.get()), unexpected)
    await finished(thread)
    thread.end()
    assert seen == ["none"]


async def test_jobs_submitted_before_the_end_are_run():
    thread = OwnThread()
    ran: list[int] = []
    begin = threading.Event()
    thread.submit(partial(wait_for, begin), unexpected)
    thread.submit(partial(note, ran), unexpected)
    thread.end()
    thread.end()
    begin.set()
    thread.join()
    assert ran == [1]


def test_the_thread_goes_on_after_its_loop_was_closed():
    ran: list[int] = []
    begin = threading.Event()

    async def main():
        thread = OwnThread()
        thread.submit(partial(wait_for, begin), unexpected)
        thread.submit(partial(note, ran), unexpected)
        thread.end()
        return thread

    thread = asyncio.run(main())
    begin.set()
    thread.join()
    assert ran == [1]


def test_a_store_that_is_dropped_leaves_no_thread(tmp_path):
    async def main():
        store = await open_sqlite(tmp_path / "bot.db", "1", look_every_s=None)
        await append(store, [Envelope(1, "chat:1", "", b"x")])
        return writers()

    (thread,) = asyncio.run(main())
    while thread.is_alive():  # it may still be dropping its last job
        gc.collect()
        thread.join(0.001)


async def test_a_store_whose_opening_was_cancelled_is_closed_and_leaves_no_thread(tmp_path, monkeypatch):
    opens, go_on, opened = threading.Event(), threading.Event(), StoreFile.open

    def open_slowly(file):
        opens.set()
        assert go_on.wait(WITHIN_S)
        opened(file)

    monkeypatch.setattr(StoreFile, "open", open_slowly)
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    opening = asyncio.create_task(open_sqlite(tmp_path / "bot.db", "1", look_every_s=None))
    while not opens.is_set():
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert (writers(), errors) == ([], [])  # what was read is not a result for the caller any more
    await (await open_sqlite(tmp_path / "bot.db", "1")).close()


async def test_a_thread_ends_though_the_file_cannot_be_closed(tmp_path, monkeypatch):
    store = await open_sqlite(tmp_path / "bot.db", "1", look_every_s=None)
    (thread,), closes = writers(), store._ledger.file.close

    def close_badly():
        closes()
        raise OSError

    monkeypatch.setattr(store._ledger.file, "close", close_badly)
    with pytest.raises(OSError):
        await store.close()
    thread.join(WITHIN_S)
    assert not thread.is_alive()


def test_a_loop_that_ends_while_the_disk_hangs_does_not_wait_for_it(tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    threads, closing = [], []

    async def main():
        store = await open_sqlite(tmp_path / "bot.db", "1", look_every_s=None)
        threads.extend(writers())
        closes = store._ledger.file.close

        def close_slowly():
            begun.set()
            assert go_on.wait(WITHIN_S)
            closes()

        monkeypatch.setattr(store._ledger.file, "close", close_slowly)
        closing.append(asyncio.ensure_future(store.close()))
        while not begun.is_set():
            await asyncio.sleep(0)

    asyncio.run(main())  # cancels what is left: `close`, and the task that closes
    (thread,) = threads
    assert thread.is_alive()
    go_on.set()
    thread.join(WITHIN_S)
    assert not thread.is_alive()
    asyncio.run(_open_and_close(tmp_path))


async def _open_and_close(folder):
    await (await open_sqlite(folder / "bot.db", "1", look_every_s=None)).close()


HANGS = """
import asyncio, sys, threading
from pathlib import Path
from engine.stores.sqlite import open_sqlite

async def main():
    global store
    store = await open_sqlite(Path(sys.argv[1]), "1", look_every_s=None)
    if sys.argv[2] == "hangs":
        store._ledger.thread.submit(threading.Event().wait, print)

asyncio.run(main())
"""


@pytest.mark.processes
@pytest.mark.parametrize("how", ["hangs", "idle"])
def test_neither_a_job_that_hangs_nor_a_store_left_open_delays_the_exit(tmp_path, how):
    """An executor's thread is joined at the exit, and a non-daemon thread is, too."""
    command = [sys.executable, "-c", HANGS, str(tmp_path / "bot.db"), how]
    ended = subprocess.run(command, cwd=REPO, timeout=100, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
