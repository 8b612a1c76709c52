"""`--reload`: new code answers after a change; an error of it is waited out; one signal ends both processes."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from telegram.fake import FakeServer
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import PROGRAM, Service
from telegram.process import reloading
from telegram.process.reloading import Reloading, command_without_reload, source_files
from tests.kit.bounds import WITHIN_S

pytestmark = pytest.mark.processes

ANSWERING = """
from telegram.dialogue import MessageContext, Router
router = Router()

@router.message()
async def answer(ctx: MessageContext) -> None:
    ctx.reply("{}")
"""


async def answered(fake: FakeServer, text: str) -> None:
    """Write until this is the answer."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            fake.world.send_message(7, 7, "hello")
            count = len([call for call in fake.calls if call.method == "sendMessage"])
            calls = await fake.wait_for_calls(count + 1, "sendMessage", timeout_s=WITHIN_S)
            if calls[-1].text == text:
                return


def write(module: Path, code: str) -> None:
    """Change it at once: a look at a file that is only half written would see two changes."""
    beside = module.with_suffix(".new")
    beside.write_text(code)
    beside.replace(module)


async def test_new_code_answers(tmp_path: Path):
    module = tmp_path / "mine.py"
    module.write_text(ANSWERING.format("one"))
    async with (
        FakeServer() as fake,
        Service(
            tmp_path, fake.url, fake.token, BotPlan(), (*PROGRAM, "--reload"), HANDLERS="mine:router"
        ) as bot,
    ):
        await bot.start()
        await answered(fake, "one")
        write(module, ANSWERING.format("two, which is longer"))
        await answered(fake, "two, which is longer")
        write(module, "this is no Python")
        await bot.logged("it ended with exit code 2: waiting for a change")
        write(module, ANSWERING.format("three"))
        await answered(fake, "three")
        assert (await bot.stop(signal.SIGTERM)).code == 0
        assert [line for line in bot.log() if line["event"] == "stopped"]
        changes = [line["event"] for line in bot.log() if "has changed" in line["event"]]
        assert changes == ["mine.py has changed: starting again"] * 3
        lock = await bot.command("stats")  # nobody has the file any more
        assert lock.code == 0


CHILD = """
import os, signal, sys, time
def stop(*_):
    print("stopped", flush=True)
    sys.exit(5)
signal.signal(signal.SIGTERM, stop)
os.kill(os.getppid(), signal.SIGHUP)
os.kill(os.getppid(), signal.SIGHUP)
while sys.argv[1] == "waits":
    time.sleep(0.02)  # not pause(2): the signal may come just before it
"""


def not_handled(*_: object) -> None:
    """Stand for the end of this process."""
    raise AssertionError("SIGHUP")


@pytest.mark.parametrize(
    ("before", "does", "code"), [(not_handled, "waits", 5), (signal.SIG_IGN, "ends", 0)], ids=["", "nohup"]
)
def test_a_terminal_that_is_closed_ends_the_bot_too(tmp_path, monkeypatch, before, does, code):
    """gunicorn #2576 (`--reload` in an editor's terminal): the bot of a closed terminal would poll on, and hold the file."""
    monkeypatch.setattr(reloading, "LOOK_EVERY_S", 0.01)
    kept = signal.signal(signal.SIGHUP, before)
    try:
        assert Reloading([sys.executable, "-S", "-c", CHILD, does], tmp_path, {}, print).run() == code
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_the_command_of_the_child_has_no_such_flag():
    given = ["run.py", "run", "mine", "--reload", "--workers=3", "--reload=true"]
    assert command_without_reload(given)[1:] == ["run.py", "run", "mine", "--workers=3"]


def test_sources_are_those_of_the_developer(tmp_path: Path):
    for name in (
        "a.py",
        "b/c.po",
        ".env",
        "b/d.txt",
        ".git/e.py",
        "venv/f.py",
        "venv/pyvenv.cfg",
        "b/__pycache__/g.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = {os.path.relpath(path, tmp_path) for path in source_files(tmp_path)}
    assert found == {"a.py", "b/c.po", ".env"}
    before = source_files(tmp_path)
    (tmp_path / "a.py").write_text("xy")
    assert source_files(tmp_path) != before
