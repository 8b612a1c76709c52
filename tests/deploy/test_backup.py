"""A backup that is made while the bot writes is whole, disturbs nothing, and a bot continues from it (docs/deploying.md)."""

import asyncio
import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from telegram.fake import FakeServer
from telegram.load.bot.service import Finished, Service
from tests.kit.database import WHERE_FROM, Server, binaries
from tests.kit.waiting import until

pytestmark = pytest.mark.processes

GUIDE = (Path(__file__).parents[2] / "docs/deploying.md").read_text()
COUNTING = """
from telegram.dialogue import MessageContext, Router
router = Router()

@router.message()
async def count(ctx: MessageContext) -> None:
    ctx.data["n"] = ctx.data.get("n", 0) + 1
    ctx.reply(f"{ctx.text} {ctx.data['n']}")
"""


def statement() -> str:
    """The guide's own line of Python."""
    (found,) = re.findall(r"^python -c '(import sqlite3; .*)'$", GUIDE, re.MULTILINE)
    return str(found)


async def answered(fake: FakeServer, text: str) -> str:
    """Wait for the answer to this text; what the copy of the outbox still had is sent again before it."""
    while True:
        said = [call.text or "" for call in fake.calls if call.method == "sendMessage"]
        if found := [each for each in said if each.startswith(text)]:
            return found[0]
        await fake.wait_for_calls(len(said) + 1, "sendMessage")


async def run(*command: str, folder: Path | None = None) -> None:
    process = await asyncio.create_subprocess_exec(*command, cwd=folder)
    assert await process.wait() == 0


async def test_a_backup_of_a_running_bot(tmp_path: Path):
    (tmp_path / "counting.py").write_text(COUNTING)
    code = statement().replace("chatlane.db", "bot.db")
    async with (
        FakeServer() as fake,
        Service(tmp_path, fake.url, fake.token, HANDLERS="counting:router") as bot,
    ):
        await bot.start()
        copying = []
        for n in range(1, 301):
            fake.world.send_message(7, 7, "hello")
            if n % 100 == 0:
                copying.append(
                    asyncio.create_task(
                        run(sys.executable, "-c", code.replace("backup", f"backup-{n}"), folder=tmp_path)
                    )
                )
            if n % 10 == 0:  # the copies are made while this goes on
                await fake.wait_for_calls(n - 5, "sendMessage")
        await asyncio.gather(*copying)
        calls = await fake.wait_for_calls(300, "sendMessage")
        assert [call.text for call in calls] == [f"hello {n}" for n in range(1, 301)]
        assert (await bot.stop()).code == 0
        # A machine that is busy with other work, too, blocks the loop.
        warnings = {line["event"] for line in bot.log() if line.get("level", "info") != "info"}
        late = (
            "the event loop is blocked",
            "a handler blocks the event loop",
            "the event loop takes steps again",
        )
        assert warnings <= {*late}

        for n in (100, 200, 300):
            with closing(sqlite3.connect(tmp_path / f"backup-{n}.db")) as copy:
                assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        await bot.start(STORE_URL=f"sqlite:{tmp_path / 'backup-100.db'}")
        fake.world.send_message(7, 7, "again")
        counted = (await answered(fake, "again")).removeprefix("again ")
        await bot.stop()
        assert 86 <= int(counted) <= 301


async def test_a_dump_of_a_running_bots_database(tmp_path: Path):
    programs = binaries()
    if programs is None:
        pytest.skip(WHERE_FROM)
    (tmp_path / "counting.py").write_text(COUNTING)
    server = Server()
    url = server.url()
    try:
        async with (
            FakeServer() as fake,
            Service(tmp_path, fake.url, fake.token, HANDLERS="counting:router", STORE_URL=url) as bot,
        ):
            await bot.start()
            for _ in range(20):
                fake.world.send_message(7, 7, "hello")
            await fake.wait_for_calls(20, "sendMessage")
            await run(str(programs / "pg_dump"), "-Fc", "-f", str(tmp_path / "dump"), url.partition("?")[0])
            fake.world.send_message(7, 7, "later")
            await fake.wait_for_calls(21, "sendMessage")
            await until(lambda: not fake.queue.pending)  # else "later" comes again, to the state of the dump
            await bot.stop()
            restore = ("--clean", "--if-exists", "-d", url.partition("?")[0], str(tmp_path / "dump"))
            await run(str(programs / "pg_restore"), *restore)
            await bot.start()  # waits until the holder of that time cannot be there any more
            fake.world.send_message(7, 7, "again")
            assert await answered(fake, "again") == "again 21"
            await bot.stop()
    finally:
        server.remove()


async def test_one_users_data_by_the_command_line(tmp_path: Path):
    (tmp_path / "counting.py").write_text(COUNTING)
    async with (
        FakeServer() as fake,
        Service(tmp_path, fake.url, fake.token, HANDLERS="counting:router") as bot,
    ):
        await bot.start()
        for user in (7, 8):
            fake.world.send_message(user, user, "hello")
        await fake.wait_for_calls(2, "sendMessage")
        refused = await bot.command("erase", "7", "--yes")
        assert refused.code == 2
        assert f"is in use by process {bot.pid}" in refused.err
        await bot.stop()
        exported = json.loads((await bot.command("export", "7")).out)
        assert exported == {
            "id": 7,
            "records": [{"table": "state", "key": "chat:7", "scope": "7", "state": {"n": 1}}],
        }
        assert await bot.command("erase", "7") == Finished(
            2, "", "7 has 1 records; nothing is erased without --yes\n"
        )
        assert await bot.command("erase", "7", "--yes") == Finished(0, "1 records erased\n", "")
        assert await bot.command("erase", "-100", "--yes") == Finished(0, "0 records erased\n", "")
        assert json.loads((await bot.command("export", "8")).out)["records"]
        assert not json.loads((await bot.command("export", "7")).out)["records"]
