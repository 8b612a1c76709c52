"""`run.py load` from end to end: real processes, exit codes, and no leftovers."""

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys

import psutil
import pytest

from telegram.load.bot import service
from telegram.load.bot.service import ROOT, Finished, command, environment
from tests.kit.bounds import WITHIN_S
from tests.kit.chosen import chosen

pytestmark = pytest.mark.processes

LONG_S = 4 * WITHIN_S
"""For what runs several processes one after the other."""

SMALL = ("load", "--chats=20", "--updates=300", "--rate=150", "--json=load.json")

MY_BOT = """
import os
from telegram.dialogue import Context, Reject, Router, photo, text

router = Router()


@router.message(text)
async def picky(ctx: Context) -> None:
    assert os.environ["MY_KEY"] == "mine" and "WORKERS" in os.environ
    if ctx.text == "12:30" and ctx.chat_id % 2:  # of half of the chats: a test that gives up most updates is no success
        raise Reject("that is lunch time")
    ctx.reply("fine")


deaf = Router()


@deaf.message(photo)
async def see() -> None:
    pass


dying = Router()


@dying.message(text)
async def end(ctx: Context) -> None:
    os._exit(3)
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A load test waits for its own clock, too: for ten seconds where all faults are asked for."""
    monkeypatch.setattr(service, "ENDED_WITHIN_S", LONG_S)


def kept(folder):
    """The recording."""
    return json.loads((folder / "load.json").read_text())


async def test_order_and_loss_under_kills(tmp_path):
    done = await command(*SMALL, "--faults=kill", folder=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "all promises kept\nreport: out/load.html\n" in done.out
    assert (tmp_path / "out/load.html").stat().st_size > 100_000
    found = kept(tmp_path)
    assert found["good"] is True
    assert not any(found["anomaly_kinds"].values())
    assert found["counts"]["updates"] == found["counts"]["handled"] == 300
    assert found["counts"]["replies"] >= 300
    assert found["counts"]["kills"] == 2
    assert [mark["kind"] for mark in found["faults"]] == ["kill", "kill"]
    assert all(0 < mark["began_s"] < mark["ended_s"] < found["took_s"] for mark in found["faults"])
    assert [(each["chats"], len(each["latencies_ms"])) for each in found["classes"]] == [(20, 300)]
    assert found["samples"][-1]["handled"] == 300
    assert found["samples"][-1]["backlog"] == found["samples"][-1]["active_lanes"] == 0
    processes = {handling["process"] for lane in found["lanes"] for handling in lane["handlings"]}
    # One that was killed soon may have handled nothing in the lanes that are shown.
    assert set() < processes <= {1, 2, 3}
    assert "load --chats=20" in found["command"]


async def test_updates_by_webhook_under_kills(tmp_path):
    done = await command(*SMALL, "--source=webhook", "--faults=kill", folder=tmp_path)
    assert (done.code, done.err) == (0, "")
    found = kept(tmp_path)
    assert not any(found["anomaly_kinds"].values())
    assert found["counts"]["updates"] == found["counts"]["handled"] == 300


async def test_every_other_fault(tmp_path):
    done = await command(*SMALL, "--faults=stop,429,5xx,slow,cut", "--store=memory", folder=tmp_path)
    assert done.code == 0, done.out
    found = kept(tmp_path)
    assert {mark["kind"] for mark in found["faults"]} == {"stop", "429", "5xx", "slow", "cut"}
    assert found["counts"]["requests that were hit by faults"] > 0


async def test_the_tutorials_engine_is_found_out(tmp_path):
    small = ("load", "--chats=5", "--updates=300", "--rate=150", "--json=load.json")
    arguments = ("--faults=kill", "--engine=tutorial", "--handler-ms=60", "--workers=4", "--patience-s=2")
    done = await command(*small, *arguments, folder=tmp_path)
    assert done.code == 1
    assert re.search(r"BROKEN: .* lost, .* overlapping", done.out)
    found = kept(tmp_path)
    assert found["good"] is False
    kinds = found["anomaly_kinds"]
    assert kinds["lost"] > 10
    assert kinds["overlapping"] > 0  # how many depends on the machine
    assert kinds["forgotten"] > 0
    assert {anomaly["kind"] for anomaly in found["anomalies"]} >= {"lost", "overlapping"}


async def test_a_users_own_handlers(tmp_path):
    """They get the user's environment, but not the settings of the user's bot."""
    (tmp_path / "my_bot.py").write_text(MY_BOT)
    (tmp_path / ".env").write_text("STORE_URL=sqlite:mine.db\n")
    settings = {"MY_KEY": "mine", "BOT_TOKEN": "1:real", "TELEGRAM_API_URL": "http://127.0.0.1:1"}
    arguments = ("--faults=kill", "--handlers=my_bot:router")
    done = await command(*SMALL, *arguments, folder=tmp_path, **settings)
    assert (done.code, done.err) == (0, ""), done.out
    counts = kept(tmp_path)["counts"]
    failed = counts["updates given up: that is lunch time"]
    assert 0 < failed <= counts["handlings that failed"]  # one that a kill cuts off fails again
    assert (counts["updates"], counts["handled"]) == (300, 300 - failed)
    assert counts["updates that no handler took"] == 0
    assert counts["calls"] >= 300 - failed
    assert set(kept(tmp_path)["anomaly_kinds"]) == {
        *("lost", "stray", "swapped", "overlapping", "handled again", "starved", "untaken", "exit"),
    }
    assert not (tmp_path / "mine.db").exists()


async def test_a_conversation_is_played_to_its_end(tmp_path):
    arguments = ("--faults=kill", "--handlers=handlers.survey:router")
    done = await command(*SMALL, *arguments, folder=tmp_path)
    assert (done.code, done.err) == (0, ""), done.out
    counts = kept(tmp_path)["counts"]
    # How many depends on the machine: 30 of about 35 where it is not busy, since users wait for answers.
    began, ended = counts["conversations that began"], counts["conversations played to their end"]
    assert began >= ended > 0
    assert counts["of a hundred conversations to their end"] == round(100 * ended / began)
    assert "conversations played to their end" in (tmp_path / "out/load.html").read_text()


async def test_a_script_is_played(tmp_path):
    (tmp_path / "script").write_text("/survey\nBob\n33\npress Events\npress Yes\n")
    arguments = ("--faults=none", "--handlers=handlers.survey:router", "--script=script")
    done = await command(*SMALL, *arguments, folder=tmp_path)
    assert (done.code, done.err) == (0, ""), done.out
    counts = kept(tmp_path)["counts"]
    assert counts["scripts played to their end"] > 0  # 60 on a machine that is not busy
    assert counts["conversations ended by a command"] == 0


async def test_handlers_that_take_nothing_are_no_success(tmp_path):
    (tmp_path / "my_bot.py").write_text(MY_BOT)
    few = ("load", "--chats=20", "--updates=60", "--rate=150", "--json=load.json")  # users wait for an answer
    done = await command(*few, "--faults=none", "--handlers=my_bot:deaf", folder=tmp_path)
    assert done.code == 1
    assert "60 of 60 matched no handler: that tests nothing" in " ".join(done.out.split())


async def test_a_bot_that_ends_by_itself(tmp_path):
    (tmp_path / "my_bot.py").write_text(MY_BOT)
    done = await command(*SMALL, "--faults=none", "--handlers=my_bot:dying", folder=tmp_path)
    assert done.code == 1
    assert "the bot ended by itself" in done.out
    assert kept(tmp_path)["anomaly_kinds"]["exit"] == 1


@pytest.fixture(scope="module")
def finished(request, tmp_path_factory):
    """The cases of the tests that were chosen: arguments -> how it went."""
    chosen_ones = chosen(request, test_each_error_is_one_line, "arguments")
    folder = str(tmp_path_factory.mktemp("errors"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.kit.forks"],
        input=json.dumps([(["load", *arguments], folder, {}) for arguments in chosen_ones]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=LONG_S,
        check=True,
    )
    found = itertools.starmap(Finished, json.loads(done.stdout))
    return dict(zip(map(tuple, chosen_ones), found, strict=True))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--faults=kill,fire"], "LOAD.FAULTS: there is no 'fire'"),
        (["--processes=2"], "LOAD: a file belongs to one process: use --processes 1"),
        (["--store=memory"], "LOAD: a store in memory forgets at a kill"),
        (["--source=webhook", "--engine=tutorial"], "LOAD: --engine tutorial polls: use --source polling"),
        (
            ["--store=redis://x"],
            "STORE_URL 'redis:...' is not known: use sqlite:FILE, postgres://... or memory:",
        ),
        (["--store=sqlite:no/where/bot.db"], "the folder .*no/where does not exist"),
        (["--handlers=nowhere:router"], "there is no module 'nowhere'"),
        (["--updates=many"], "LOAD.UPDATES: Input should be a valid integer"),
        (["--nonsense"], "--nonsense"),
    ],
    ids=str,
)
def test_each_error_is_one_line(finished, arguments, says):
    done = finished[tuple(arguments)]
    assert re.fullmatch(rf"run\.py: .*{says}.*\n", done.err), done.err
    assert done.code == 2


async def test_help_lists_every_option(tmp_path):
    done = await command("load", "--help", folder=tmp_path)
    assert done.code == 0
    for name in (
        "chats",
        "updates",
        "rate",
        "skew",
        "handler-ms",
        "handlers",
        "faults",
        "source",
        "store",
        "json",
        "engine",
    ):
        assert f"--{name}" in done.out


async def test_ctrl_c_ends_it_cleanly(tmp_path):
    loading, family = await started(tmp_path)
    os.killpg(loading.pid, signal.SIGINT)  # as a terminal does: everything that was started from it
    out, err = await asyncio.to_thread(loading.communicate, timeout=60)
    assert (loading.returncode, err) == (130, "")
    assert "The test was interrupted" in out
    assert "all promises kept" in out
    assert kept(tmp_path)["counts"]["updates"] < 100_000
    assert_gone(family)


async def test_a_test_that_is_killed_leaves_no_process_behind(tmp_path):
    loading, family = await started(tmp_path)
    loading.kill()
    await asyncio.to_thread(loading.communicate, timeout=60)
    assert_gone(family)


async def started(folder):
    """A test that would take minutes, at a time when everything runs; and its processes."""
    run = (ROOT / "run.py", "load", "--updates=100000", "--rate=100", "--faults=none", "--json=load.json")
    loading = subprocess.Popen(
        [sys.executable, *map(str, run)],
        cwd=folder,
        env=environment({"TMPDIR": str(folder)}),  # a killed test cannot clean up
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not re.search(r"[1-9]\d* handled", line := await asyncio.to_thread(loading.stdout.readline)):
            assert line, loading.stderr.read()
        family = psutil.Process(loading.pid).children(recursive=True)
        assert len(family) == 3  # the fake server, the bot, and what ends the bot if it does not stop
    except BaseException:
        loading.kill()  # the others end with it
        raise
    return loading, family


def assert_gone(family):
    _, alive = psutil.wait_procs(family, timeout=WITHIN_S)
    assert not alive
