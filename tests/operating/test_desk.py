"""What an operator asks for, at a bot that runs and at a store."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from engine import Call, Effects, Queue, StoreUnavailable
from engine.stores.contract import append
from engine.stores.contract.store import update
from telegram.dialogue import MessageContext, Router
from telegram.metrics.counts import Counts
from telegram.operating import operating
from telegram.operating.audit import Audit, AuditFailed, Who
from telegram.operating.desk import LETTERS_MAX, Desk, NotAllowed
from telegram.operating.letters import hash_of
from telegram.operating.operating import Operating
from telegram.operating.rates import Rates, quantile
from tests.kit.stage import Stage
from tests.operating.poisoned import router_that

WRITER = Who("writer", may_write=True, where="test")
READER = Who("reader", may_write=False, where="test")
CHANGES = {"replay", "replay-numbers", "discard", "park", "release", "pause", "resume", "drain"}


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path / "audit.jsonl", lambda: 5.0)


@pytest.fixture(autouse=True)
def looked_up_each_time(monkeypatch):
    monkeypatch.setattr(operating, "RANKED_S", 0.0)


def desk_of(stage: Stage, audit: Audit, bot=None, **options) -> Desk:
    return Desk(Operating(stage.store, bot, token=stage.fake.token, wall=stage.fake.clock, **options), audit)


def recorded(audit: Audit) -> list[tuple[str, str, str]]:
    lines = audit.path.read_text().splitlines() if audit.path.exists() else []
    return [(entry["who"], entry["what"], entry["result"]) for entry in map(json.loads, lines)]


async def buried(stage: Stage, *ids: int, reason="ValueError: no good") -> list[dict[str, Any]]:
    for id_ in ids:
        await append(stage.store, [update(id_, f"chat:{id_}")])
        await stage.store.bury(await stage.store.claim(Queue.INBOX), reason)
    return [
        {"number": letter.number, "hash": hash_of(letter.envelope.body)}
        for letter in await stage.store.dead_letters()
    ]


# -- a bot that runs -------------------------------------------------------------------------------------------------


async def test_what_runs_is_named_by_the_line_where_it_waits(stage, audit):
    router, entered, go = Router(), asyncio.Event(), asyncio.Event()

    async def inside() -> None:
        entered.set()
        await asyncio.shield(go.wait())  # the line

    @router.message()
    async def slow(ctx: MessageContext) -> None:
        async with asyncio.TaskGroup():
            await inside()

    async with stage.bot(router) as bot:
        desk = desk_of(stage, audit, bot, name=lambda: "the bot")
        stage.fake.world.send_message(5, 5, "secret text")
        await entered.wait()
        answer = await desk.ask("running", {}, READER)
        (run,) = answer["running"]
        line = next(
            n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "# the line" in text
        )
        assert run["where"] == f"{__file__}:{line} inside"
        assert (run["key"], run["queue"], run["attempt"]) == ("chat:5", "inbox", 1)
        stats = await desk.ask("stats", {}, READER)
        assert stats["process"]["running"] == {"inbox": 1, "outbox": 0}
        assert (stats["bot"], stats["process"]["state"]) == ("the bot", "running")
        (lane,) = (await desk.ask("lanes", {}, READER))["lanes"]
        assert (lane["status"], lane["depth"], lane["worker"]) == ("leased", 1, run["worker"])
        assert lane["running_s"] >= 0.0
        assert "secret text" not in json.dumps([answer, stats, lane])
        go.set()
        await stage.idle()


async def test_a_poisoned_update_is_found_read_and_handled_after_the_repair(stage, audit):
    async with stage.bot(router_that(works=False), apology="") as bot:
        stage.fake.world.send_message(5, 5, "poison")
        await stage.idle()
        desk = desk_of(stage, audit, bot)
        (found,) = (await desk.ask("dead", {}, READER))["letters"]
        assert found["reason"] == "TypeError: bad code"
        assert "poison" not in json.dumps(found)
        letter = (await desk.ask("letter", {"number": found["number"]}, READER))["letter"]
        assert 'raise TypeError("bad code")' in letter["trace"]
        assert json.loads(letter["body"])["message"]["text"] == "poison"
    named = {"number": found["number"], "hash": found["hash"]}
    async with stage.bot(router_that(works=True)) as bot:
        desk = desk_of(stage, audit, bot)
        assert (await desk.ask("replay", {"letters": [named]}, WRITER))["result"] == "1 done"
        await stage.idle()
        assert stage.texts() == ["got poison"]
        again = await desk.ask("replay", {"letters": [named]}, WRITER)
        assert again["letters"] == {str(found["number"]): "gone"}
    assert recorded(audit) == [
        ("reader", "letter", "begun"),
        ("reader", "letter", "shown"),
        *(("writer", "replay", result) for result in ("begun", "1 done", "begun", "1 gone")),
    ]


async def test_sending_is_paused_and_goes_on_and_a_stop_does_not_wait_for_it(stage, audit):
    router = Router()

    @router.message()
    async def echo(ctx: MessageContext) -> None:
        ctx.reply(str(ctx.text))

    async with stage.bot(router) as bot:
        desk = desk_of(stage, audit, bot)
        assert (await desk.ask("pause", {}, WRITER))["result"] == "done"
        assert (await desk.ask("pause", {}, WRITER))["result"] == "already"
        stage.fake.world.send_message(5, 5, "hello")
        while not (await stage.store.stats()).outbox.pending:
            await asyncio.sleep(0.01)
        assert "writer" in (await desk.ask("stats", {}, READER))["queues"]["outbox"]["paused"]
    assert stage.sent() == []
    async with stage.bot(router) as bot:  # a new start does not end it
        desk = desk_of(stage, audit, bot)
        assert stage.sent() == []
        assert (await desk.ask("resume", {}, WRITER))["result"] == "done"
        await stage.idle()
    assert stage.texts() == ["hello"]
    assert (await desk.ask("resume", {}, WRITER))["result"] == "not paused"


async def test_a_lane_is_parked_and_released(stage, audit):
    router = Router()

    @router.message()
    async def echo(ctx: MessageContext) -> None:
        ctx.reply(str(ctx.text))

    async with stage.bot(router) as bot:
        desk = desk_of(stage, audit, bot)
        lane = {"queue": "inbox", "key": "chat:5"}
        assert (await desk.ask("park", lane, WRITER))["result"] == "done"
        assert (await desk.ask("park", lane, WRITER))["result"] == "already"
        assert (await desk.ask("lanes", {}, READER))["held"] == [
            {"key": "chat:5", "held": "parked by writer"}
        ]
        stage.fake.world.send_message(5, 5, "held")
        stage.fake.world.send_message(6, 6, "free")
        while stage.texts() != ["free"]:
            await asyncio.sleep(0.01)
        (seen,) = (await desk.ask("lanes", {}, READER))["lanes"]
        assert (seen["key"], seen["status"], seen["held"]) == ("chat:5", "parked", "parked by writer")
        assert (await desk.ask("lanes", {}, READER))["held"] == []
        assert (await desk.ask("release", lane, WRITER))["result"] == "done"
        await stage.idle()
        assert stage.texts() == ["free", "held"]
        assert (await desk.ask("release", lane, WRITER))["result"] == "not parked"


async def test_a_drain_is_a_stop_of_the_process(stage, audit):
    asked = asyncio.Event()
    async with stage.bot(Router()) as bot:
        desk = desk_of(stage, audit, bot, drain=asked.set)
        assert (await desk.ask("drain", {}, WRITER))["result"] == "done"
        await asked.wait()
    assert (await desk.ask("drain", {}, WRITER))["result"] == "already"
    assert (await desk_of(stage, audit).ask("drain", {}, WRITER))["result"] == "not running"


async def test_lanes_are_ranked_once_for_all_who_look_at_a_time_and_anew_after_an_action(
    stage, audit, monkeypatch
):
    monkeypatch.setattr(operating, "RANKED_S", 3600.0)
    desk = desk_of(stage, audit)
    assert (await desk.ask("lanes", {}, READER))["lanes"] == []
    await append(stage.store, [update(1), update(2, "chat:2"), update(3, "chat:2")])
    assert (await desk.ask("lanes", {}, READER))["lanes"] == []
    assert len((await desk.ask("lanes", {"by": "depth"}, READER))["lanes"]) == 2  # another question
    await desk.ask("park", {"key": "chat:1"}, WRITER)
    assert [lane["status"] for lane in (await desk.ask("lanes", {}, READER))["lanes"]] == ["parked", "ready"]
    await desk.ask("release", {"key": "chat:1"}, WRITER)
    assert [lane["status"] for lane in (await desk.ask("lanes", {}, READER))["lanes"]] == ["ready", "ready"]


# -- dead letters by number and hash ---------------------------------------------------------------------------------


async def test_another_hash_changes_nothing(stage, audit):
    (letter,) = await buried(stage, 1)
    other = {**letter, "hash": hash_of(b"other")}
    desk = desk_of(stage, audit)
    for name in ("replay", "discard"):
        assert (await desk.ask(name, {"letters": [other]}, WRITER))["result"] == "1 other"
    assert (await desk.ask("dead", {}, READER))["total"] == 1
    assert (await desk.ask("discard", {"letters": [letter]}, WRITER))["result"] == "1 done"
    assert (await desk.ask("discard", {"letters": [letter]}, WRITER))["result"] == "1 gone"
    assert (await desk.ask("letter", {"number": letter["number"]}, READER))["letter"] is None


async def test_several_letters_need_their_number_as_a_confirmation(stage, audit):
    letters = await buried(stage, 1, 2, 3)
    desk = desk_of(stage, audit)
    for confirm in (None, 0, 2, 4):
        with pytest.raises(NotAllowed, match="confirm 3 letters"):
            await desk.ask("discard", {"letters": letters, "confirm": confirm}, WRITER)
    assert await stage.store.dead_count() == 3
    assert recorded(audit) == []
    assert (await desk.ask("discard", {"letters": letters, "confirm": 3}, WRITER))["result"] == "3 done"
    assert await stage.store.dead_count() == 0


async def test_a_letter_whose_id_is_pending_again_waits(stage, audit):
    await append(stage.store, [update(1)])
    await stage.store.commit(
        await stage.store.claim(Queue.INBOX), Effects(calls=(Call("chat:1", b"a"),)), more=False
    )
    await stage.store.bury(await stage.store.claim(Queue.OUTBOX), "403")
    (letter,) = await stage.store.dead_letters()
    is_pending = stage.store.replay

    async def replay(number):
        return number != letter.number and await is_pending(number)

    stage.store.replay = replay  # as if the id was pending again
    answer = await desk_of(stage, audit).ask("replay-numbers", {"numbers": [letter.number, 77]}, WRITER)
    assert answer["letters"] == {str(letter.number): "pending", "77": "gone"}


async def test_the_token_is_in_no_answer(stage, audit):
    token = stage.fake.token
    await buried(stage, 1, reason=f"ConnectionError: https://api.telegram.org/bot{token}/sendMessage")
    desk = desk_of(stage, audit)
    answers = [
        await desk.ask(name, params, READER)
        for name, params in (("dead", {}), ("texts", {}), ("letter", {"number": 1}))
    ]
    assert token.partition(":")[2] not in json.dumps(answers)


# -- roles, parameters, the log --------------------------------------------------------------------------------------


async def test_a_reader_changes_nothing_and_the_try_is_recorded(stage, audit):
    (letter,) = await buried(stage, 1)
    desk = desk_of(stage, audit, drain=lambda: pytest.fail("drained"))
    params: dict[str, Any] = {
        "replay": {"letters": [letter]},
        "discard": {"letters": [letter]},
        "replay-numbers": {"numbers": [1]},
        "park": {"key": "chat:1"},
        "release": {"key": "chat:1"},
    }
    for name, action in desk.actions.items():
        assert action.changes == (name in CHANGES)
        if action.changes:
            with pytest.raises(NotAllowed):
                await desk.ask(name, params.get(name, {}), READER)
    assert {result for _, _, result in recorded(audit)} == {"refused: this role may only look"}
    assert await stage.store.dead_count() == 1
    assert (await stage.store.holds(Queue.INBOX), await stage.store.holds(Queue.OUTBOX)) == ({}, {})


WRONG = [
    ("lanes", {"limit": 0}),
    ("lanes", {"limit": 10_000}),
    ("lanes", {"by": "name"}),
    ("lanes", {"queue": "x"}),
    ("lanes", {"more": 1}),
    ("dead", {"limit": 100_000}),
    ("dead", {"below": 2**63}),
    ("letter", {"number": 0}),
    ("letter", {}),
    ("discard", {"letters": []}),
    ("discard", {"letters": [{"number": 1}]}),
    ("discard", {"letters": [{"number": 1, "hash": "../../etc/passwd"}]}),
    ("discard", {"letters": [{"number": 1, "hash": "0" * 16}] * (LETTERS_MAX + 1)}),
    ("park", {"key": ""}),
    ("park", {"key": "chat:\n1"}),
    ("park", {"key": "x" * 300}),
    ("pause", {"queue": "all"}),
]


@pytest.mark.parametrize(("name", "params"), WRONG)
async def test_wrong_parameters_are_one_line_and_nothing_happens(stage, audit, name, params):
    with pytest.raises(ValueError) as wrong:
        await desk_of(stage, audit).ask(name, params, WRITER)
    assert "\n" not in str(wrong.value)
    assert recorded(audit) == []


async def test_what_cannot_be_recorded_is_not_done(stage, tmp_path):
    (letter,) = await buried(stage, 1)
    desk = desk_of(stage, Audit(tmp_path / "no" / "such" / "folder"))
    for name, params in (
        ("discard", {"letters": [letter]}),
        ("park", {"key": "chat:1"}),
        ("letter", {"number": 1}),
    ):
        with pytest.raises(AuditFailed, match="nothing was done"):
            await desk.ask(name, params, WRITER)
    assert await stage.store.dead_count() == 1
    assert await stage.store.holds(Queue.INBOX) == {}
    assert (await desk.ask("dead", {}, READER))["total"] == 1  # looking goes on


async def test_a_failure_of_the_store_is_recorded(stage, audit, monkeypatch):
    async def fails(*_):
        raise StoreUnavailable("disk")

    monkeypatch.setattr(stage.store, "hold", fails)
    with pytest.raises(StoreUnavailable):
        await desk_of(stage, audit).ask("park", {"key": "chat:1"}, WRITER)
    assert recorded(audit)[-1] == ("writer", "park", "failed: disk")


# -- rates -----------------------------------------------------------------------------------------------------------


async def test_rates_are_differences_of_counts(stage):
    now = 0.0
    rates = Rates(stage.store, None, lambda: now)
    await rates.sample()
    assert rates.since(0) == []  # one look is no difference
    await append(stage.store, [update(1), update(2)])
    await stage.store.commit(await stage.store.claim(Queue.INBOX), Effects(), more=False)
    now = 2.0
    await rates.sample()
    (sample,) = rates.since(0)
    assert (sample["received"], sample["handled"], sample["inbox"]) == (1.0, 0.5, 1)
    assert (sample["reply_p50"], sample["failed"]) == (None, None)
    assert rates.since(sample["number"]) == []


async def test_with_the_meter_of_the_metrics_there_are_latencies_and_failures(stage):
    router, counts = Router(), Counts(stage.fake.clock, asyncio.get_running_loop().time)

    @router.message()
    async def handle(ctx: MessageContext) -> None:
        if ctx.text == "bad":
            raise TypeError("bad code")
        ctx.reply("hello")

    now = 0.0
    rates = Rates(stage.store, counts, lambda: now)
    async with stage.bot(router, meter=counts, apology=""):
        await rates.sample()
        for text in ("good", "bad"):
            stage.fake.world.send_message(5, 5, text)
        await stage.idle()
        now = 1.0
        await rates.sample()
    (sample,) = rates.since(0)
    assert (sample["received"], sample["handled"], sample["sent"], sample["dead"]) == (2.0, 1.0, 1.0, 1.0)
    assert sample["failed"] == 1.0
    assert 0 < sample["handler_p50"] <= sample["handler_p95"]
    assert 0 < sample["reply_p50"] <= sample["reply_p95"]


async def test_samples_are_taken_while_somebody_asks(stage):
    now = 0.0
    rates = Rates(stage.store, None, lambda: now)
    async with rates:
        assert rates._task is None  # nobody has asked
        rates.since(0)
        task = rates._task
        assert task is not None
    assert task.done()


def test_a_quantile_is_the_bound_of_its_bucket():
    bounds = ["0.1", "1.0", "+Inf"]
    zero = [(bound, 0.0) for bound in bounds]
    assert quantile(zero, zero, 0.5) is None
    seen = list(zip(bounds, [5.0, 9.0, 10.0], strict=True))
    assert [quantile(seen, zero, part) for part in (0.5, 0.9, 0.95)] == [0.1, 1.0, 1.0]
