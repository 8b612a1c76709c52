"""The operator's commands, beside a bot that runs and on its file while it does not."""

import asyncio
import os
import re
import signal
import sys
from typing import Any

import pytest

from telegram.fake import FakeServer
from telegram.load.bot.service import PROGRAM, Service, environment
from telegram.operating.commands import lane_lines, stats_lines
from telegram.process.signals import send

pytestmark = pytest.mark.processes

BOT = """
import asyncio
from pathlib import Path
from telegram.dialogue import MessageContext, Router

router = Router()

@router.message()
async def handle(ctx: MessageContext) -> None:
    if ctx.text == "slow":
        await asyncio.sleep(3600)
    if ctx.text == "poison" and not Path("mended").exists():
        raise TypeError("bad code")
    ctx.reply(f"got {ctx.text}")
"""


@pytest.fixture
async def server():
    async with FakeServer() as server:
        yield server


@pytest.fixture
async def bot(server, tmp_path):
    (tmp_path / "poisoned.py").write_text(BOT)
    async with Service(tmp_path, server.url, server.token, HANDLERS="poisoned:router", APOLOGY="none") as bot:
        yield bot


async def out(bot, *arguments, code=0, err=""):
    done = await bot.command(*arguments)
    assert (done.code, done.err) == (code, err), done
    return done.out


async def dead_letters(bot, count):
    """Wait until the store has so many, which the log says a moment earlier; return what `dead` shows."""
    while len(re.findall(r"^ +\d+  inbox ", shown := await out(bot, "dead"), re.MULTILINE)) < count:
        pass
    return shown


async def test_everything_beside_the_running_bot(server, bot, tmp_path):
    await bot.start()
    assert await out(bot, "dead") == "no dead letters\n"
    server.world.send_message(5, 5, "poison")
    listed = await dead_letters(bot, 1)
    assert re.match(r" +1  inbox   chat:5  id \d+  attempts 1  TypeError: bad code\n", listed)
    shown = await out(bot, "dead", "--show=1")
    (digest,) = re.findall(r"^1:([0-9a-f]{16})  inbox  chat:5 ", shown)
    assert 'raise TypeError("bad code")' in shown
    assert '"text": "poison"' in shown

    assert await out(bot, "park", "chat:6") == "parked, until: run.py release\n"
    server.world.send_message(6, 6, "waits")
    server.world.send_message(7, 7, "slow")
    while not re.search(r" 1 .*chat:6  parked \(parked by", await out(bot, "lanes")):
        pass
    while "\nrunning " not in (stats := await out(bot, "stats")):
        pass
    assert f"process {bot.pid} on " in stats
    assert re.search(r"inbox   pending 2  ready 0  leased 1  parked 1 ", stats)
    assert re.search(rf"running +\d+\.\d s  inbox   chat:7 .*{tmp_path}/poisoned.py:11 handle\n", stats)

    assert await out(bot, "audit") == "no problem in 2 lanes, 2 pending entries looked up\n"
    assert await out(bot, "release", "chat:6") == "released\n"
    await server.wait_for_calls(1, "sendMessage", delivered=True)
    assert await out(bot, "pause") == "paused, until: run.py resume\n"
    (tmp_path / "mended").touch()
    assert await out(bot, "replay", "1") == "1 put back; the bot handles them now\n"
    assert await out(bot, "resume") == "it goes on\n"
    await server.wait_for_calls(2, "sendMessage", delivered=True)
    assert [call.text for call in server.calls if call.delivered and call.text] == ["got waits", "got poison"]
    gone = await bot.command("discard", f"1:{digest}")
    assert (gone.code, gone.out) == (0, "0 deleted\n")
    assert gone.err == "1: there is none of that number\n"
    assert "handlers" in await out(bot, "drain")
    assert await bot.ended() == 0
    assert not (tmp_path / "bot.db-operator").exists()
    assert "the same" not in await out(bot, "dead")
    who = (tmp_path / "bot.db-audit.jsonl").read_text()
    assert '"what": "discard"' in who and server.token not in who


async def test_top_shows_the_bot_until_a_person_ends_it(server, bot, tmp_path):
    await bot.start()
    server.world.send_message(7, 7, "slow")
    while "\nrunning " not in await out(bot, "stats"):
        pass
    ours, theirs = os.openpty()
    loop = asyncio.get_running_loop()
    try:
        top = await asyncio.create_subprocess_exec(
            *(sys.executable, *PROGRAM, "top"),
            cwd=tmp_path,
            env=environment(
                {"BOT_TOKEN": server.token, "STORE_URL": f"sqlite:{tmp_path / 'bot.db'}", "TERM": "xterm"}
            ),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # A shell that starts the tests in the background ignores SIGINT for them, and so for what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(theirs)
        shown, is_asked = b"", False
        while True:
            try:
                shown += await loop.run_in_executor(None, os.read, ours, 65_536)
            except OSError:  # it has ended
                break
            if b"chat:7" in shown and not is_asked:
                is_asked = True
                send(top, signal.SIGINT)
        assert await top.wait() == 0
        assert b"Traceback" not in shown
        assert f"process {bot.pid} on ".encode() in shown
    finally:
        os.close(ours)


async def test_letters_of_a_stopped_bot_are_deleted_by_number_and_hash(server, bot):
    await bot.start()
    for chat in (5, 6):
        server.world.send_message(chat, chat, "poison")
    await dead_letters(bot, 2)
    await bot.kill()  # leaves the socket
    asked = await bot.command("discard", "1", "2", "3")
    assert asked.code == 2
    hashes = re.findall(
        r"^([12]:[0-9a-f]{16})  inbox  chat:[56]  TypeError: bad code$", asked.out, re.MULTILINE
    )
    assert len(hashes) == 2
    assert asked.err.splitlines() == [
        "no dead letter has the number 3",
        f"nothing was deleted; to delete: run.py discard {' '.join(hashes)} --confirm=2",
    ]
    unconfirmed = await bot.command("discard", *hashes)
    assert (unconfirmed.code, unconfirmed.out) == (2, "")
    assert unconfirmed.err == "run.py: confirm 2 letters: nothing was done\n"
    other = await bot.command("discard", "1:0123456789abcdef")
    assert (other.code, other.out, other.err) == (2, "0 deleted\n", "1: the hash is that of another letter\n")
    assert await out(bot, "discard", *hashes, "--confirm=2") == "2 deleted\n"
    assert await out(bot, "dead") == "no dead letters\n"
    assert await out(bot, "drain", code=2, err="no bot runs on this store\n") == ""
    assert "no bot runs" in (await bot.command("top")).err


async def test_a_lane_that_was_parked_while_the_bot_was_stopped_waits(server, bot):
    assert await out(bot, "park", "chat:5") == "parked, until: run.py release\n"
    await bot.start()
    server.world.send_message(5, 5, "waits")
    server.world.send_message(6, 6, "hello")
    await server.wait_for_calls(1, "sendMessage", delivered=True)
    assert re.search(r" 1  .* chat:5  parked \(parked by command line", await out(bot, "lanes", "--by=depth"))
    await out(bot, "release", "chat:5")
    await server.wait_for_calls(2, "sendMessage", delivered=True)
    assert [call.text for call in server.calls if call.delivered and call.text] == ["got hello", "got waits"]


def test_a_strangers_text_does_not_reach_the_terminal():
    evil = "\x1b[31m\u202e"
    lane = {
        "depth": 1,
        "age_s": 90.0,
        "key": evil,
        "status": "parked",
        "held": evil,
        "attempts": 1,
        "reason": evil,
    }
    lines = lane_lines({"lanes": [lane], "held": [{"key": evil, "held": evil}]})
    queue = dict.fromkeys(("pending", "ready", "leased", "parked", "held"), 1) | {
        "paused": evil,
        "oldest_s": 1e6,
    }
    run = {"running_s": 1.0, "queue": "inbox", "key": evil, "id": 1, "attempt": 1, "where": evil}
    stats = {"process": None, "queues": {"inbox": queue}, "dead": 0, "timers_due": 0}
    lines += stats_lines(stats, {"running": [run]})
    assert not any(set(line) & set(evil[0] + evil[-1]) for line in lines)
    assert "1.5 min" in lines[0] and "11.6 d" in "".join(lines)


def test_top_needs_its_library_and_says_so(monkeypatch):
    from telegram.operating.asked import Asked
    from telegram.operating.top import watch
    from tests.kit.virtual import run_virtual

    async def nothing(name, params):
        return {}

    monkeypatch.setitem(sys.modules, "rich.live", None)
    with pytest.raises(ValueError, match="top needs rich"):
        run_virtual(watch(Asked(nothing, is_running=True)))


def test_the_live_view_shows_a_moment():
    from rich.console import Console

    from telegram.operating.rates import _NONE
    from telegram.operating.top import view

    queue = dict.fromkeys(("pending", "ready", "leased", "parked"), 3) | {"paused": "by me", "oldest_s": 4.5}
    process = {"pid": 7, "host": "h", "state": "running", "up_s": 61.0}
    processes = [process, {**process, "pid": 8}]
    stats: dict[str, Any] = {"bot": "my_bot", "process": process, "processes": processes}
    stats |= {"queues": {"inbox": queue, "outbox": queue}, "dead": 2}
    run = {"key": "chat:5", "running_s": 1.5, "attempt": 2, "where": "bot.py:7 handle"}
    lane = {"key": "chat:\x1b", "depth": 9, "age_s": None, "status": "parked", "held": "by me", "reason": ""}
    rates = dict.fromkeys(("received", "handled", "sent", "dead"), 1.5)
    samples: list[dict[str, Any]] = [
        {**_NONE, **rates, "number": 1},
        {**_NONE, **rates, "number": 2, "reply_p50": 0.25, "failed": 0.0},
    ]
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(view(stats, [run], [lane], samples))
    console.file.close()
    shown = console.export_text()
    for text in (
        "process 7 on h  running  up 61 s",
        "process 8 on h  running  up 61 s",
        "1.5/s",
        "<= 0.25 s",
        "paused",
        "bot.py:7 handle",
        "dead letters 2",
    ):
        assert text in shown
    assert "\x1b" not in shown
    assert r"chat:\x1b" in shown
