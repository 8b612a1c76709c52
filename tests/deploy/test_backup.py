"""A backup that is made while the bot writes is whole, disturbs nothing, and a bot continues from it (docs/deploying.md)."""

import asyncio
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from telegram.fake import FakeServer
from telegram.load.bot.service import Service

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


async def run_python(code: str, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=folder)
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
                    asyncio.create_task(run_python(code.replace("backup", f"backup-{n}"), tmp_path))
                )
            if n % 10 == 0:  # the copies are made while this goes on
                await fake.wait_for_calls(n - 5, "sendMessage")
        await asyncio.gather(*copying)
        calls = await fake.wait_for_calls(300, "sendMessage")
        assert [call.text for call in calls] == [f"hello {n}" for n in range(1, 301)]
        assert (await bot.stop()).code == 0
        assert {line["level"] for line in bot.log() if "level" in line} == {"info"}

        for n in (100, 200, 300):
            with closing(sqlite3.connect(tmp_path / f"backup-{n}.db")) as copy:
                assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        await bot.start(STORE_URL=f"sqlite:{tmp_path / 'backup-100.db'}")
        fake.world.send_message(7, 7, "again")
        count = 300
        while not (fake.calls[-1].text or "").startswith(
            "again"
        ):  # calls of the copy's outbox are sent again
            count += 1
            await fake.wait_for_calls(count, "sendMessage")
        await bot.stop()
        assert 86 <= int((fake.calls[-1].text or "").removeprefix("again ")) <= 301
