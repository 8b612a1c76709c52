"""Unit tests of the parts of a load test: options, distribution, faults, replies, journal, view, recording."""

import io
import json
import random
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from telegram.fake import Call
from telegram.load import command
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.journal import Tail
from telegram.load.checkers import handlings
from telegram.load.checkers.checker import Anomaly
from telegram.load.checkers.ledger import Ledger
from telegram.load.checkers.recording import ChatClass, FaultMark, Handling, Lane, Recording, Sample
from telegram.load.checkers.replies import Replies, text_of
from telegram.load.results import outcome, view
from telegram.load.workload.distribution import FIRST_CHAT, FLOOD_SHARE, Distribution
from telegram.load.workload.faults import SERVER_FAULTS, plan
from telegram.load.workload.load_test import Now
from telegram.settings.load_test import FAULTS, Load

# -- options -----------------------------------------------------------------------------------------------------------


def test_the_defaults_fit_together():
    assert Load().fault_kinds == FAULTS
    assert Load().updates / Load().rate <= 60


@pytest.mark.parametrize(
    ("given", "expected"),
    [("none", ()), ("all", FAULTS), ("cut,kill", ("kill", "cut")), (" Kill, 429 ", ("kill", "429"))],
)
def test_faults(given, expected):
    assert Load(faults=given).fault_kinds == expected


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown faults": ({"faults": "kill,fire,hail"}, "there is no 'fire', 'hail': use all, none, or some of"),
    "all and more": ({"faults": "all,kill"}, "there is no 'all'"),
    "no faults": ({"faults": ""}, "there is no ''"),
    "processes": ({"processes": 2}, "a file belongs to one process: use --processes 1"),
    "no process": ({"processes": 0}, "greater than or equal to 1"),
    "memory and kill": ({"store": "memory"}, "--store sqlite, or --faults stop,429,5xx,slow,cut"),
    "memory and only kill": ({"store": "memory:", "faults": "kill"}, "--store sqlite, or --faults none"),
    "file that exists": ({"store": f"sqlite:{__file__}"}, "exists: a load test wants a new file"),
    "handler_ms of others": ({"handlers": "a:b", "handler_ms": 5}, "--handler-ms is for the built-in"),
    "flood in one chat": ({"skew": "flood", "chats": 1}, "--skew flood needs at least two chats"),
    "no chats": ({"chats": 0}, "greater than or equal to 1"),
    "no rate": ({"rate": 0}, "greater than 0"),
    "unknown skew": ({"skew": "odd"}, "'uniform', 'zipf' or 'flood'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_options_that_do_not_fit(name):
    given, says = WRONG[name]
    with pytest.raises(ValidationError, match=says):
        Load(**given)


def test_memory_without_kill_and_the_wrong_engine_with_it_are_allowed():
    assert Load(store="memory", faults="stop").store == "memory"
    assert "kill" in Load(store="memory", engine="tutorial").fault_kinds


def test_patience_is_short_for_an_engine_that_tries_nothing_again():
    assert Load(engine="tutorial").longest_pause_s < Load().longest_pause_s
    assert Load(engine="tutorial", patience_s=30).longest_pause_s == 30


async def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setattr(command, "_NEEDED", ("rich", "a_library_that_nobody_has"))
    with pytest.raises(ValueError, match=r"needs rich and plotly: run `make load` once, or pip install -r"):
        await command.run_load(Load(), {}, "")


async def test_a_report_that_is_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder: name a file"):
        await command.run_load(Load(report=tmp_path), {}, "")


# -- distribution ------------------------------------------------------------------------------------------------------


def wrote(skew, chats=200, updates=20_000):
    distribution = Distribution(chats, skew, random.Random(1))
    sent = Counter(distribution.choose(updates))
    return distribution.groups(sent), sent


def of(group, sent):
    return sum(sent[chat] for chat in group.chats) / sent.total()


def test_everybody_writes_as_much():
    groups, sent = wrote("uniform")
    assert [group.name for group in groups] == ["all 200 chats"]
    assert max(sent.values()) < 2 * min(sent.values())


def test_some_write_most():
    groups, sent = wrote("zipf")
    assert [group.name for group in groups] == [
        "the busiest 2 chats",
        "the middle 98 chats",
        "the quiet half, 100 chats",
    ]
    assert 0.2 < of(groups[0], sent) < 0.3
    assert of(groups[2], sent) < 0.15


def test_one_floods():
    groups, sent = wrote("flood")
    assert [group.name for group in groups] == ["the flooding chat", "the other 199 chats"]
    assert groups[0].chats == {FIRST_CHAT}
    assert of(groups[0], sent) == pytest.approx(FLOOD_SHARE, abs=0.02)


@pytest.mark.parametrize(
    ("skew", "chats"), [("uniform", 1), ("zipf", 1), ("zipf", 2), ("zipf", 3), ("flood", 2)]
)
def test_a_few_chats_are_each_in_one_group(skew, chats):
    groups, _ = wrote(skew, chats)
    everybody = [chat for group in groups for chat in group.chats]
    assert sorted(everybody) == list(range(FIRST_CHAT, FIRST_CHAT + chats))


# -- faults ------------------------------------------------------------------------------------------------------------


def test_each_fault_happens_twice_one_after_another_while_people_write():
    planned = plan(FAULTS, 40.0, random.Random(1))
    assert Counter(fault.kind for fault in planned) == dict.fromkeys(FAULTS, 2)
    for earlier, later in pairwise(planned):
        assert earlier.at_s + earlier.length_s < later.at_s + 0.5  # it may be late by _BETWEEN_S
    assert planned[0].at_s >= 4
    assert planned[-1].at_s + planned[-1].length_s < 40


def test_a_long_test_has_more_of_them_and_none_is_none():
    assert len(plan(FAULTS, 600.0, random.Random(1))) == 10 * len(FAULTS)
    assert plan((), 40.0, random.Random(1)) == []


def test_a_seed_repeats_the_faults():
    one, same, other = (plan(FAULTS, 40.0, random.Random(seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_every_fault_that_has_a_flag_can_be_made():
    assert set(FAULTS) - {"kill", "stop"} == set(SERVER_FAULTS)
    assert all(make() for make in SERVER_FAULTS.values())


# -- replies -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger():
    """Six updates, from id 11 on, in three chats."""
    ledger = Ledger()
    for place in range(6):
        ledger.add_update(FIRST_CHAT + place % 3, 11 + place, 0)
    return ledger


def reply(ledger, place, count, *, delivered=True, text=None):
    update = ledger.update(place)
    evidence = Evidence(text or text_of(place), update.update_id, count, place * 10, place * 10 + 5, 7)
    params = {"chat_id": update.chat_id, "text": str(evidence)}
    return Call(place + 1, 100.0 + place, "sendMessage", params, 200 if delivered else 429, delivered)


@pytest.mark.parametrize("updates", [6, 240_000], ids=["one file", "three files"])
def test_replies_are_judged_whatever_the_file(tmp_path, ledger, updates):
    with Replies(tmp_path, updates) as replies:
        replies.see((reply(ledger, place, 1 + place // 3) for place in range(6)), ledger)
        replies.judge(ledger, [])
    assert (replies.total, replies.answered, dict(replies.counts)) == (6, 6, {})


def test_what_is_wrong_with_replies(tmp_path, ledger):
    with Replies(tmp_path, 6) as replies:
        replies.see([reply(ledger, 0, 1), reply(ledger, 1, 1, delivered=False)], ledger)
        replies.see([reply(ledger, 2, 1, text="not sent"), reply(ledger, 3, 3)], ledger)
        replies.judge(ledger, [])
    assert replies.total == 3
    assert dict(replies.counts) == {"lost": 4, "skipped": 1, "stray": 1}
    assert replies.anomalies_by_chat[FIRST_CHAT + 1] == 2


def test_what_has_no_reply_for_a_reason_is_not_lost(tmp_path, ledger):
    for given_up, complete, lost in [((), True, 5), ({12, 13, 14}, True, 2), ((), False, 0)]:
        with Replies(tmp_path, 6) as replies:
            replies.see([reply(ledger, 0, 1)], ledger)
            replies.judge(ledger, [], given_up, complete=complete)
        assert replies.counts["lost"] == lost


# -- the journal -------------------------------------------------------------------------------------------------------


def test_a_journal_is_read_line_by_line_while_it_grows(tmp_path):
    path = tmp_path / "journal"
    tail = Tail(path)
    assert tail.read() == []
    path.write_text("begin 1 10 7 chat:5\nend 1 2")
    assert [note.event for note in tail.read()] == ["begin"]
    assert tail.read() == []
    with path.open("a") as file:
        file.write("0 7 chat:5\n")
    (note,) = tail.read()
    assert note == ("end", 1, 20, 7, "chat:5")


# -- view and recording ------------------------------------------------------------------------------------------------


def now(at_s, handled, fault="", anomalies=0):
    return Now(
        Sample(at_s, 100, handled, 100 - handled, 3, 12.5, anomalies), "people write", fault, 1, handled
    )


def test_a_line_a_second_without_a_terminal():
    out = io.StringIO()
    with view.watching(Load(), out) as show:
        for at_s, handled in [(0.2, 5), (0.7, 20), (1.2, 50), (1.4, 60), (2.1, 90)]:
            show(now(at_s, handled, fault="kill"))
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert "90 handled" in lines[-1]
    assert lines[-1].endswith("kill")


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self):
        return True


def test_a_live_view_in_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with view.watching(Load(), out) as show:
        show(now(1.0, 50, fault="429", anomalies=77))
    shown = out.getvalue()
    for part in ("50 of 20,000", "anomalies", "77", "Telegram answers: too many requests"):
        assert part in shown


def recording(**changes):
    one = Recording(
        command="run.py load",
        began_at=0.0,
        settings={},
        versions={},
        took_s=2.0,
        samples=(Sample(2.0, 100, 100, 0, 0, 12.5, 0),),
        faults=(FaultMark("kill", 0.5, 1.0),),
        classes=(ChatClass("all 20 chats", 20, tuple(map(float, range(1, 101)))),),
        lanes=(Lane("chat:5", (0.1,), (Handling(1, 0.2, 0.3, "end", 1),)),),
        counts={"updates": 100, "handled": 100},
        anomaly_kinds={"lost": 0, "swapped": 0},
        anomalies=(),
    )
    return one._replace(**changes)


def verdict(recorded, *, complete=True):
    out = io.StringIO()
    view.conclude(recorded, Load(), out, complete=complete)
    return out.getvalue()


def test_a_good_verdict():
    shown = verdict(recording())
    assert "all promises kept" in shown
    assert "BROKEN" not in shown
    assert "interrupted" not in shown
    assert all(
        part in shown for part in ("all 20 chats", "50 ms", "99 ms", "100 ms", "report: out/load.html")
    )


def test_a_bad_verdict():
    bad = recording(anomaly_kinds={"lost": 0, "swapped": 3}, anomalies=(Anomaly("swapped", 5, "2 after 3"),))
    shown = verdict(bad, complete=False)
    assert "BROKEN: 3 swapped" in shown
    assert "chat 5: 2 after 3" in shown
    assert "interrupted" in shown
    assert "all promises kept" not in shown


def test_every_kind_of_anomaly_is_shown_as_a_guarantee():
    kinds = [*handlings.KINDS, *outcome.BY_REPLIES, "given up", "untaken", "exit"]
    assert set(kinds) == set(view.PROMISES)


@pytest.mark.parametrize(
    ("users", "untaken", "given_up", "kinds"),
    [
        (True, 5, 0, []),
        (True, 6, 0, ["untaken"]),
        (False, 10, 0, []),
        (True, 2, 3, []),
        (True, 2, 4, ["untaken"]),
        (True, 0, 10, ["untaken"]),
    ],
)
def test_a_test_whose_updates_mostly_match_no_handler_or_are_given_up_is_no_success(
    users, untaken, given_up, kinds
):
    test: Any = SimpleNamespace(
        died="",
        handler_events={"untaken": range(untaken)},
        judge=SimpleNamespace(ledger=SimpleNamespace(updates=10)),
        users=object() if users else None,
        replies=None,
        exit_code=0,
    )
    letters = {99: "lane full", **dict.fromkeys(range(given_up), "no")}
    assert [anomaly.kind for anomaly in outcome._of_the_bot(test, letters)] == kinds


def test_the_introduction_lists_what_the_test_does():
    out = io.StringIO()
    view.introduce(Load(handlers="my_bot:router", faults="kill"), out)
    assert "my_bot:router" in out.getvalue()
    assert "Faults: kill." in out.getvalue()


def test_the_introduction_shows_no_password():
    out = io.StringIO()
    view.introduce(Load(store="postgres://user:se/cr@t@host/db"), out)
    assert "//***@host/db" in out.getvalue()
    assert not any(each in out.getvalue() for each in ("user", "se/cr", "cr@t"))


def test_a_recording_as_json(tmp_path):
    path = tmp_path / "new" / "load.json"
    outcome.save_json(recording(), path)
    kept = json.loads(path.read_text())
    assert kept["good"] is True
    assert kept["samples"][0]["handled"] == 100
    assert kept["lanes"][0]["handlings"][0]["outcome"] == "end"
    assert kept["classes"][0]["latencies_ms"][:2] == [1.0, 2.0]
    assert set(kept) == {*Recording._fields, "good"}


def test_sparks_have_the_height_of_their_values():
    assert view.sparks([0, 5, 10]) == "▁▅█"
    assert view.sparks([0, 0]) == ""
