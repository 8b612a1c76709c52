"""A dump is made while processes work, and put back when all have stopped: the bot is what it was then, and goes on."""

import asyncio
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.stores import open_store
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, NOTHING, update
from tests.kit.database import Server, binaries
from tests.stores.random_bot import RandomBot, drained, everything
from tests.stores.test_shares import an_old_server

__all__ = ["an_old_server"]


async def run(database: Server, *command: str | Path) -> None:
    home = binaries()
    assert home is not None
    where = ("-h", "127.0.0.1", "-p", str(database.port), "-U", "chatlane", "-d", "postgres")
    program, *rest = map(str, command)
    done = await asyncio.to_thread(
        subprocess.run, [str(home / program), *where, *rest], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


async def dump(database: Server, schema: str, file: Path) -> None:
    await run(database, "pg_dump", "-Fc", "-n", schema, "-f", file)


async def put_back(database: Server, file: Path) -> None:
    await run(database, "pg_restore", "--clean", "--if-exists", "--single-transaction", file)


async def test_what_is_put_back_is_of_one_moment_and_goes_on(
    database: Server, new_bot: Callable[[], str], tmp_path: Path
):
    schema, bot = f"backup_{new_bot()}", new_bot()
    url = database.url(schema)
    store: Any = await open_store(url, bot, shared=True)
    await RandomBot(store, random.Random(0)).work(150)
    await store._file_mail()
    before = await everything(url, bot)
    await dump(database, schema, tmp_path / "dump")  # with a session that is alive
    await RandomBot(store, random.Random(2)).work(100)
    await store.close()
    assert await everything(url, bot) != before
    await put_back(database, tmp_path / "dump")
    assert await everything(url, bot) == before
    lanes = await drained_when_free(url, bot)
    assert sum(len(found) for key, found in lanes.items() if key.startswith("Queue.INBOX")) >= len(
        before["inbox"]
    )
    assert len(lanes["dead"]) == len(before["dead"])


async def drained_when_free(url: str, bot: str) -> dict[str, list[Any]]:
    """The dump has the session of the process that ran then: another one takes its chats within seconds."""
    store: Any = await open_store(url, bot, shared=True)
    async with asyncio.timeout(60):
        while len(store._shares) < 1024:
            await asyncio.sleep(0.01)
    await store.close()
    return await drained(url, bot)


async def test_a_dump_in_the_middle_of_work_is_whole(
    database: Server, new_bot: Callable[[], str], tmp_path: Path
):
    """Each counted state agrees with the updates that are left: no transaction is in it by half."""
    schema, bot = f"backup_{new_bot()}", new_bot()
    url = database.url(schema)
    store: Any = await open_store(url, bot, shared=True)
    total = 2_000
    await append(store, [update(n, f"chat:{n % 20}", "7") for n in range(1, total + 1)])

    async def work() -> None:
        while store.mine(INBOX).ready:
            delivery = await store.claim(INBOX)
            count = int(delivery.state or b"0") + 1
            await store.commit(delivery, NOTHING._replace(state=b"%d" % count), more=False)

    working = asyncio.create_task(work())
    while store.mine(INBOX).committed < 50:
        await asyncio.sleep(0)
    await dump(database, schema, tmp_path / "dump")
    is_in_the_middle = not working.done()
    await working
    await store.close()
    await put_back(database, tmp_path / "dump")
    found = await everything(url, bot)
    handled = sum(int(state) for _, _, state in found["state"])
    assert handled + len(found["inbox"]) == total
    assert is_in_the_middle or handled == total
    assert handled >= 50


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.stores.postgres.session._SILENT_S", 0.5)
