"""The promises of the service, each proved in seconds with real processes; `make torture` proves them in minutes."""

import signal
import tempfile

import pytest

from telegram.fake import FakeServer, Fault, FloodLimits
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Service
from telegram.load.checkers.checker import Anomaly, BotReply, SentText, Verdict, check
from telegram.process import guard
from tests.kit.bounds import WITHIN_S
from tests.torture import (
    aims,
    kill,
    limits,
    payments,
    poison,
    server_faults,
    sigterm,
    storm,
    stubborn,
    throughput,
    trouble,
)
from tests.torture.report import Plan
from tests.torture.stage import open_stage
from tests.torture.window import Windows

pytestmark = pytest.mark.processes

SMALL = Plan(rounds=4, updates=1500, chats=50)
SLOW = BotPlan(handler_ms=50_000)


def silent(_, /, **__):
    """Nobody watches the progress of a test."""


def assert_kept(result):
    assert result.is_good, "\n".join(result.lines())


async def test_many_chats_at_full_speed():
    result = await throughput.run(SMALL, silent)
    assert_kept(result)
    assert result.verdict.updates == result.verdict.replies == SMALL.updates
    assert result.verdict.chats_at_once > 1


async def test_kill_9_loses_nothing_and_commits_nothing_twice():
    result = await kill.run(SMALL._replace(rounds=len(aims.ALL)), silent)
    assert_kept(result)
    assert result.facts["handlers cut off and run again"] > 0


async def test_a_storm_breaks_nothing_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = await storm.run(SMALL._replace(minutes=0.35, window_s=6.0, seed=5), silent)
    assert_kept(result)
    assert len(result.windows) > 1
    assert result.verdict.updates > 100
    assert not result.facts["kills"].startswith("0")
    assert list(tmp_path.iterdir()) == []


async def test_a_storm_with_findings_prints_the_seed_and_keeps_the_evidence(tmp_path, monkeypatch):
    lost = Verdict(1, 0, 0, 1, (Anomaly("lost", 5, "text 1"),))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Windows, "judge", lambda *_: lost)
    result = await storm.run(SMALL._replace(minutes=0.1, window_s=0.1, seed=7), silent)
    assert not result.is_good
    assert len(result.windows) == 1
    (folder,) = tmp_path.iterdir()
    assert {"bot.db", "journal", "log", "evidence.json"} <= {path.name for path in folder.iterdir()}
    assert result.failures[-1] == f"the seed was 7; what is left of the window: {folder}"


async def test_what_was_stored_but_not_confirmed_comes_again_and_is_ignored(tmp_path):
    async with FakeServer() as server, Service(tmp_path, server.url, server.token) as bot:
        await bot.start()
        await server.wait_for_long_poll()
        server.faults.add(Fault("cut_before", method="getUpdates"))  # the next poll, which would confirm
        sent = [SentText(5, server.world.send_message(5, 5, text), text) for text in "abc"]
        await server.wait_for_calls(3, "sendMessage")
        await bot.stop()
        assert server.queue.pending == 3
        server.faults.clear()
        await bot.start()
        sent.append(SentText(5, server.world.send_message(5, 5, "d"), "d"))
        calls = await server.wait_for_calls(4, "sendMessage")
        seen = [BotReply(5, Evidence.parse(call.text), call.at, call.status == 200) for call in calls]
        assert check(sent, seen).anomalies == ()


async def test_sigterm_loses_nothing_repeats_nothing_and_lets_handlers_finish():
    result = await sigterm.run(SMALL, silent)
    assert_kept(result)
    assert result.verdict.updates == result.verdict.replies == SMALL.updates


async def test_a_second_sigterm_stops_at_once_and_loses_nothing():
    async with open_stage(Plan(chats=2), silent) as stage:
        bot = stage.bot
        await bot.start(SLOW, DRAIN_TIMEOUT_S="50")
        (sent,) = await stage.say(1)
        await bot.noted("begin", sent.update_id)
        bot.send_signal(signal.SIGTERM)
        await bot.logged("stopping")
        ended = await bot.stop()
        # By itself, or on a busy machine by its guard; after the drain, which would have taken 39 s, it is 0.
        assert ended.code in {128 + signal.SIGTERM, -guard.TRACE_SIGNAL, -signal.SIGKILL}
        await stage.look()
        assert stage.replies() == []
        noted = [note.event for note in bot.journal() if note.update_id]
        assert noted in (["begin", "fail"], ["begin"])  # cut off, or with the process

        await bot.start()
        assert await stage.all_answered()
        assert stage.judge().anomalies == ()
        assert len({note.pid for note in bot.journal() if note.event == "begin"}) == 2


async def test_a_user_whose_messages_kill_the_process_or_its_tasks_harms_no_other_user():
    names = ("sys.exit in a child task", "cancels all tasks", "abort")
    result = await poison.run(SMALL, silent, names, served_within_s=WITHIN_S)
    assert_kept(result)
    assert result.facts["starts"] == "3, at most 3 for one"


async def test_handlers_that_will_not_stop_end_with_the_process_and_run_again():
    kinds = ("swallows everything", "a busy loop", "a native lock, with the interpreter's")
    result = await stubborn.run(SMALL, silent, kinds, allowed_s=WITHIN_S)
    assert_kept(result)
    assert result.verdict.updates > len(kinds)


async def test_it_starts_when_telegram_can_be_reached_and_can_be_stopped_before():
    async with open_stage(Plan(chats=1), silent) as stage:
        await stage.fake.down()
        await stage.bot.spawn()
        await stage.bot.logged("Telegram cannot be reached: trying again")
        assert (await stage.bot.stop()).code == 0
        await stage.bot.spawn()
        await stage.bot.logged("Telegram cannot be reached: trying again")
        await stage.say(1)
        await stage.fake.up()
        assert await stage.all_answered()
        assert stage.judge().anomalies == ()


UNHURRIED = "import sys; from telegram.process import watchdog; watchdog.SPARE_S = 60.0; from telegram.command import console; console()"


async def test_a_handler_that_overruns_the_drain_is_handed_back():
    """In order, where nothing forces the stop of a busy machine."""
    async with open_stage(Plan(chats=1), silent, None, "", ("-P", "-c", UNHURRIED)) as stage:
        bot = stage.bot
        await bot.start(SLOW, DRAIN_TIMEOUT_S="2")
        (sent,) = await stage.say(1)
        await bot.noted("begin", sent.update_id)
        assert (await bot.stop()).code == 0
        assert bot.log()[-1]["updates_kept"] == 1
        await bot.start()
        assert await stage.all_answered()
        assert stage.judge().anomalies == ()


async def test_bad_updates_go_to_the_dead_letters_and_the_good_ones_beside_them_are_answered():
    async with open_stage(Plan(chats=2), silent) as stage:
        await trouble.say_bad_batch(stage)
        await stage.bot.start()
        assert await stage.all_answered()
        await stage.say(20)
        assert await stage.all_answered()
        assert (await stage.bot.stop()).code == 0
        assert trouble.not_buried(await stage.bot.command("dead")) == []
        assert stage.judge().anomalies == ()


@pytest.mark.parametrize(
    "fault",
    [
        server_faults.down,
        server_faults.bad_gateway_for_sends,
        server_faults.rival,
        server_faults.flood_control_of_one_chat,
        server_faults.cut_sends,
    ],
    ids=lambda fault: fault.__name__,
)
async def test_it_recovers_from_trouble_by_itself_without_a_storm(fault):
    async with open_stage(Plan(chats=200), silent) as stage:
        await stage.bot.start()
        failures: list[str] = []
        async with stage.trickle(trouble.TRICKLE_PER_S):
            await trouble.cause(stage, fault, 1.0, failures)
        await stage.all_answered()
        assert failures == []
        assert stage.judge().anomalies == ()


async def test_the_token_shows_up_nowhere(tmp_path):
    """Not in the log at its most talkative, in the store or in the journal, whatever the server does."""
    async with open_stage(Plan(chats=5), silent, LOG_LEVEL="debug") as stage:
        bot = stage.bot
        await bot.start()
        await stage.say(20)
        await stage.fake.down()
        await bot.logged("polling fails")
        await stage.fake.up()
        assert await stage.all_answered()
        await bot.stop()
        secret = stage.fake.token.partition(":")[2].encode()
        files = [path for path in bot.folder.iterdir() if path.is_file()]
        assert {"log", "bot.db"} <= {path.name for path in files}
        assert [path.name for path in files if secret in path.read_bytes()] == []


BLOCKING = """
import time
from telegram.dialogue import MessageContext, Router, text
router = Router()
@router.message(text)
async def handle(ctx: MessageContext) -> None:
    if ctx.text == "block":
        time.sleep(3600)
    ctx.reply("1|1|1|1|1|1")
"""
IMPATIENT = "import sys; from telegram.command import main as run; run.BLOCKED_MAX_MIN_S = 1.0; w = run.Watchdog(); sys.exit(w.leave(run.main([], w)))"


async def test_a_handler_that_blocks_the_loop_for_ever_ends_the_process_and_then_as_a_dead_letter(tmp_path):
    (tmp_path / "blocking.py").write_text(BLOCKING)
    settings = {
        "HANDLERS": "blocking:router",
        "HANDLER_TIMEOUT_S": "1",
        "ATTEMPTS_MAX": "2",
        "APOLOGY": "none",
    }
    program = ("-c", IMPATIENT)
    async with (
        FakeServer() as server,
        Service(tmp_path, server.url, server.token, None, program, **settings) as bot,
    ):
        await bot.start()
        server.world.send_message(5, 5, "block")
        for _ in range(2):
            line = await bot.logged("the event loop is blocked for longer than a handler may take")
            assert line["at"].endswith("handle")
            assert await bot.ended() == 1
            await bot.start()
        server.world.send_message(5, 5, "behind it")
        server.world.send_message(6, 6, "another")
        calls = await server.wait_for_calls(2, "sendMessage")
        assert {call.chat_id for call in calls} == {5, 6}
        assert (await bot.stop()).code == 0
        assert "the process died while it was handled" in (await bot.command("dead")).out


async def test_queries_are_answered_while_chats_have_a_429_and_handlers_at_work():
    size = payments.Size(parked=20, busy=5, rounds=1, retry_after_s=4, slow_s=50)
    assert_kept(await payments.run(SMALL, silent, size, paces=("30",), p99_max_s=WITHIN_S))


async def test_nothing_is_refused_under_telegrams_limits():
    """How much of them is used shows only in minutes: `make torture ARGS="--campaign limits"`.

    On a busy machine calls arrive together that were sent one after another: more than a burst of Telegram's, but not nearly all.
    """
    patient = FloodLimits(overall_burst=150)
    result = await limits.run(SMALL._replace(chats=100, minutes=0.1), silent, patient, share_min=0)
    assert_kept(result)
    assert result.facts["refused"] == "0 of 180 calls (429)"
