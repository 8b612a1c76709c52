"""/cancel and stop buttons reach a running handler at once: the real Bot on virtual time."""

import asyncio
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine import Delivery, Envelope
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from telegram.dialogue import (
    CHAT,
    END,
    OWN,
    TOPIC,
    USER,
    CallbackContext,
    Context,
    End,
    Flow,
    MessageContext,
    Router,
    command,
    data,
    text,
)
from telegram.dialogue.routes.stopping import Stoppable, Stopped
from tests.kit.bounds import WITHIN_S
from tests.kit.deliveries import delivery
from tests.kit.offline import ALICE, BOB, Scene, now, play, pressed, said
from tests.kit.steals import Steals
from tests.kit.virtual import run_virtual

GROUP = -100


class Work:
    """A handler of texts that takes a minute, and can be stopped; a diary of what happened when."""

    def __init__(self, takes_s: float = 60, **options: Any) -> None:
        self.diary: list[tuple[float, str]] = []
        self.router = Router()
        options = {"stop": command("cancel"), **options}

        @self.router.message(command("cancel"))
        async def cancel(ctx: MessageContext) -> None:
            self.note("cancel handled")
            ctx.reply(f"Nothing happened: {ctx.data}")

        @self.router.message(text, **options)
        async def work(ctx: MessageContext) -> None:
            self.note(f"begins {ctx.text}")
            ctx.data["worked"] = True
            ctx.reply("must not go out")
            try:
                await self.work(takes_s)
            except asyncio.CancelledError:
                self.note("cut")
                raise
            self.note("done")

    def note(self, what: str) -> None:
        self.diary.append((round(now(), 1), what))

    async def work(self, takes_s: float) -> None:
        await asyncio.sleep(takes_s)


def test_cancel_stops_a_running_handler_at_once_and_nothing_of_it_happens():
    work = Work()

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(10)
        scene.telegram.push(said("/cancel"), said("again"))
        await asyncio.sleep(100)
        return scene.telegram.texts(), await scene.reasons(), await scene.state()

    logs: list[Any] = []
    sent, dead, state = play(work.router, scenario, logs=logs, handler_timeout_s=600)
    assert work.diary == [
        (0, "begins go"),
        (10, "cut"),
        (10, "cancel handled"),
        (10, "begins again"),
        (70, "done"),
    ]
    assert sent == ["Nothing happened: {}", "must not go out"]  # the second one is of "again"
    assert (dead, state) == ([], {"worked": True})
    assert not [line for line in logs if line["log_level"] not in {"info", "debug"}]


def test_a_stopped_handler_counts_no_attempt_and_its_state_stays_as_it_was():
    work = Work()

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(1)
        scene.telegram.say("/cancel")
        await scene.idle()
        stats = (await scene.store.stats()).inbox
        return round(now(), 1), stats.committed, stats.dead, await scene.state()

    assert play(work.router, scenario, attempts_max=1) == (1, 2, 0, None)


def test_a_stop_that_comes_with_the_same_poll_ends_what_has_not_begun():
    work = Work()

    async def scenario(scene: Scene) -> None:
        scene.telegram.push(said("go"), said("/cancel"))
        await scene.idle()

    play(work.router, scenario)
    assert work.diary == [(0, "cancel handled")]


def test_a_stop_that_waits_behind_two_of_them_ends_both():
    work = Work()

    async def scenario(scene: Scene) -> None:
        scene.telegram.say("one")
        await asyncio.sleep(1)
        scene.telegram.say("two")
        await asyncio.sleep(1)
        scene.telegram.say("/cancel")
        await scene.idle()

    play(work.router, scenario)
    assert work.diary == [(0, "begins one"), (2, "cut"), (2, "cancel handled")]


def test_a_stop_button():
    work = Work(stop=data("stop"))

    @work.router.callback_query(data("stop"))
    async def stop(ctx: CallbackContext) -> None:
        work.note("button handled")
        ctx.edit("Stopped.")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(5)
        scene.telegram.push(pressed("other"))
        await asyncio.sleep(5)
        scene.telegram.push(pressed("stop"))
        await scene.idle()
        return [(sent.at, sent.method) for sent in scene.telegram.sent]

    sent = play(work.router, scenario)
    assert work.diary == [(0, "begins go"), (10, "cut"), (10, "button handled")]
    assert [method for _, method in sent] == ["answerCallbackQuery", "editMessageText", "answerCallbackQuery"]
    assert {at for at, _ in sent} == {10}


# -- whose conversation it is ----------------------------------------------------------------------------------


def test_another_person_in_the_group_stops_nothing():
    work = Work()

    async def scenario(scene: Scene) -> None:
        scene.telegram.say("go", chat=GROUP)
        await asyncio.sleep(5)
        scene.telegram.say("/cancel", chat=GROUP, user=BOB)
        await scene.idle()

    play(work.router, scenario, handler_timeout_s=100)
    assert work.diary == [(0, "begins go"), (60, "done"), (60, "cancel handled")]


def test_a_stop_that_waits_behind_another_person_reaches_a_handler_that_has_not_begun():
    work = Work(takes_s=30)

    async def scenario(scene: Scene) -> None:
        scene.telegram.push(
            said("first", chat=GROUP, user=BOB),
            said("go", chat=GROUP),
            said("hi", chat=GROUP, user=BOB),
            said("/cancel", chat=GROUP),
        )
        await scene.idle()

    play(work.router, scenario)
    begun = [what for _, what in work.diary if what.startswith("begins")]
    assert begun == ["begins first", "begins hi"]


class Step(Enum):
    ONE = "one"


class Nothing(BaseModel):
    count: int = 0


def flow_that_works(scope: Any, diary: list[tuple[float, str]]) -> Router:
    """Begun by /begin; a text works for a minute; /cancel stops that, and ends the flow."""
    flow = Flow("works", Step, Nothing, scope=scope)

    @flow.entry.message(command("begin"))
    async def begin(ctx: MessageContext) -> Literal[Step.ONE]:
        return Step.ONE

    @flow.at(Step.ONE).message(command("cancel"))
    async def cancel(ctx: MessageContext) -> End[None]:
        diary.append((round(now(), 1), "cancel handled"))
        return END

    @flow.at(Step.ONE).message(text, stop=command("cancel"), timeout_s=600)
    async def work(ctx: MessageContext, data: Nothing) -> None:
        diary.append((round(now(), 1), "begins"))
        data.count += 1
        await asyncio.sleep(60)
        diary.append((round(now(), 1), "done"))

    router = Router()
    router.include(flow)
    return router


BOBS = {"chat": GROUP, "user": BOB}
TOPIC_3 = {"is_topic_message": True, "message_thread_id": 3}
TOPIC_4 = {"is_topic_message": True, "message_thread_id": 4}


@pytest.mark.parametrize(
    ("scope", "begun", "stops", "is_stopped"),
    [
        (OWN, {"chat": GROUP}, {"chat": GROUP}, True),
        (OWN, {"chat": GROUP}, BOBS, False),
        (CHAT, {"chat": GROUP}, BOBS, True),
        (TOPIC, {"chat": GROUP, **TOPIC_3}, {**BOBS, **TOPIC_3}, True),
        (TOPIC, {"chat": GROUP, **TOPIC_3}, {"chat": GROUP, **TOPIC_4}, False),
        (USER, {"chat": GROUP}, {"chat": GROUP}, True),
        (USER, {"chat": GROUP}, BOBS, False),
    ],
)
def test_who_can_stop_a_step_of_a_flow(scope, begun, stops, is_stopped):
    diary: list[tuple[float, str]] = []

    async def scenario(scene: Scene) -> None:
        scene.telegram.push(said("/begin", **begun), said("go", **begun))
        await asyncio.sleep(5)
        scene.telegram.say("/cancel", **stops)
        await scene.idle()

    play(flow_that_works(scope, diary), scenario)
    if is_stopped:
        assert diary == [(0, "begins"), (5, "cancel handled")]
    else:
        assert diary[:2] == [(0, "begins"), (60, "done")]


def test_the_flows_cancel_decides_what_becomes_of_its_state():
    diary: list[tuple[float, str]] = []
    states = []

    async def scenario(scene: Scene) -> None:
        scene.telegram.push(said("/begin"), said("go"))
        await asyncio.sleep(5)
        states.append((await scene.state())["~flow"]["stack"][0]["data"])
        scene.telegram.say("/cancel")
        await scene.idle()
        states.append(await scene.state())

    play(flow_that_works(OWN, diary), scenario)
    assert states == [{"count": 0}, None]


def test_a_stop_reaches_the_lane_of_a_group_that_has_become_a_supergroup():
    work = Work()
    old, new = -5, -1_000_000_000_005

    async def scenario(scene: Scene) -> None:
        scene.telegram.say("go", chat=old)
        await asyncio.sleep(5)
        scene.telegram.push(said(None, chat=old, migrate_to_chat_id=new), said("/cancel", chat=new))
        await scene.idle()

    play(work.router, scenario)
    assert work.diary == [(0, "begins go"), (5, "cut"), (5, "cancel handled")]


# -- races and bad manners ---------------------------------------------------------------------------------------


class Swallows(Work):
    async def work(self, takes_s: float) -> None:
        try:
            await asyncio.sleep(takes_s)
        except asyncio.CancelledError:
            self.note("swallowed")
            await asyncio.sleep(3)


def test_a_handler_that_swallows_the_stop_was_stopped_all_the_same():
    work = Swallows()

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(5)
        scene.telegram.say("/cancel")
        await scene.idle()
        return scene.telegram.texts(), await scene.reasons()

    assert play(work.router, scenario, attempts_max=1) == (["Nothing happened: {}"], [])
    assert work.diary == [(0, "begins go"), (5, "swallowed"), (8, "done"), (8, "cancel handled")]


class Breaks(Work):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def work(self, takes_s: float) -> None:
        try:
            await asyncio.sleep(takes_s)
        finally:
            raise self.error


@pytest.mark.parametrize("error", [OSError("no connection"), asyncio.CancelledError("my own")], ids=repr)
def test_a_handler_that_fails_while_it_is_being_stopped_is_not_retried(error):
    work = Breaks(error)
    logs: list[Any] = []

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(5)
        scene.telegram.say("/cancel")
        await scene.idle()
        return round(now(), 1), scene.telegram.texts(), await scene.reasons()

    sent = play(work.router, scenario, logs=logs, attempts_max=1)
    assert sent == (5, ["Nothing happened: {}"], [])
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == (
        ["a handler failed while it was being stopped"] if isinstance(error, OSError) else []
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (asyncio.CancelledError(), "the handler raised CancelledError"),
        (OSError("no connection"), "OSError: no connection"),
    ],
    ids=repr,
)
def test_a_handler_that_raises_by_itself_was_not_stopped(error, reason):
    work = Breaks(error)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await scene.idle()
        return await scene.reasons()

    assert play(work.router, scenario, attempts_max=1) == [(reason, 1)]


def test_a_stop_that_comes_in_the_last_step_finds_it_either_stopped_or_finished():
    """All ways in which the end of the handler, the stop and the turns of the loop can meet."""
    ends = set()
    for turns in range(-12, 12):  # before the end of the handler, or after it
        gate = asyncio.Event()
        work = Work()
        work.work = lambda _, gate=gate: gate.wait()  # type: ignore[method-assign, misc]

        async def scenario(scene: Scene, turns: int = turns, gate: asyncio.Event = gate) -> Any:
            scene.telegram.say("go")
            await asyncio.sleep(5)
            if turns < 0:
                gate.set()
            else:
                scene.telegram.say("/cancel")
            for _ in range(abs(turns)):
                await asyncio.sleep(0)
            if turns < 0:
                scene.telegram.say("/cancel")
            else:
                gate.set()
            await scene.idle()
            stats = (await scene.store.stats()).inbox
            assert (stats.committed, stats.dead) == (2, 0)
            return scene.telegram.texts()

        sent = play(work.router, scenario)
        what = [what for _, what in work.diary]
        assert what[0] == "begins go"
        assert what[-1] == "cancel handled"
        ends.add(what[1])
        if what[1] == "done":
            assert sent == ["must not go out", "Nothing happened: {'worked': True}"]
        else:
            assert sent == ["Nothing happened: {}"]
    assert ends == {"done", "cut"}


@pytest.mark.parametrize("turns", range(8))
def test_a_stop_and_the_end_of_a_drain_at_once(turns):
    """Whoever is first: the update is either stopped, or handed back and stopped by what waits behind it."""
    work = Work()
    store = MemoryStore()
    states = []

    async def scenario(scene: Scene) -> None:
        scene.telegram.say("go")
        await asyncio.sleep(5)
        stopping = asyncio.create_task(scene.bot.stop())
        scene.telegram.say("/cancel")
        for _ in range(turns):
            await asyncio.sleep(0)
        scene.bot._parts.handler.arrived([delivery(said("/cancel"), update_id=2).envelope])
        await stopping
        states.append(await scene.state())

    play(work.router, scenario, store=store, drain_timeout_s=2)
    assert work.diary[:2] == [(0, "begins go"), (5, "cut")]
    assert "done" not in {what for _, what in work.diary}
    assert states == [None]


def test_what_was_handed_back_by_a_drain_is_stopped_after_the_restart():
    work = Work()
    store = MemoryStore()

    async def first(scene: Scene) -> None:
        scene.telegram.say("go")
        await asyncio.sleep(5)

    async def second(scene: Scene) -> Any:
        await asyncio.sleep(1)
        return scene.telegram.texts()

    play(work.router, first, store=store, drain_timeout_s=2)
    run_virtual(_append(store, delivery(said("/cancel"), update_id=2).envelope))
    assert play(work.router, second, store=store) == ["Nothing happened: {}"]
    assert [what for _, what in work.diary] == ["begins go", "cut", "cancel handled"]


async def _append(store: MemoryStore, update: Envelope) -> None:
    await append(store, [update])


def test_a_stop_and_a_lost_lease_at_once():
    """The lease is what counts: the new owner handles the update, and we commit nothing."""
    work = Work()
    store = Steals()
    cuts = []

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(4.99)
        (running,) = scene.bot.running()[0]
        worker = next(iter(scene.bot._parts.handling._keeper._running))
        scene.telegram.say("/cancel")
        while not worker.task.cancelling():
            await asyncio.sleep(0)
        store.steal()
        cuts.append(worker.task.cancelling())
        await asyncio.sleep(0.1)
        return (await scene.store.stats()).inbox.committed, running.delivery.envelope.id

    logs: list[Any] = []
    assert play(work.router, scenario, store=store, logs=logs) == (0, 1)
    assert cuts == [2]
    assert "lease lost" in {line["event"] for line in logs}


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit()])
def test_a_stop_filter_that_fails_hurts_neither_the_handler_nor_the_poller(error: BaseException):
    def broken(ctx: Context) -> bool:
        raise error

    work = Work(stop=broken)
    logs: list[Any] = []

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(5)
        scene.telegram.say("/cancel")
        await scene.idle()
        return scene.telegram.texts()

    sent = play(work.router, scenario, logs=logs)
    assert sent == ["must not go out", "Nothing happened: {'worked': True}"]
    assert "a stop filter failed" in {line["event"] for line in logs}


class SlowLook(MemoryStore):
    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        seen = await super().look(delivery, limit)
        await asyncio.sleep(1)  # as from a disk: what comes now is not in it
        return seen


def test_a_stop_that_comes_while_the_store_is_asked_what_waits_is_not_missed():
    work = Work()

    async def scenario(scene: Scene) -> None:
        scene.telegram.say("go")
        await asyncio.sleep(0.5)
        scene.telegram.say("/cancel")
        await scene.idle()

    play(work.router, scenario, store=SlowLook())
    assert work.diary == [(0.5, "cancel handled")]


async def test_the_workers_task_is_as_good_as_new_after_a_stop():
    stoppable = Stoppable()
    task = asyncio.current_task()
    assert task is not None
    update = Envelope(1, "chat:1", "", b"")

    async def stops_itself_twice() -> None:
        asyncio.get_running_loop().call_soon(stoppable.arrived, [update, update])
        try:
            await asyncio.sleep(10)
        finally:
            assert task.cancelling() == 2

    with pytest.raises(Stopped):
        await stoppable.run("chat:1", stops_itself_twice(), lambda _: True)
    assert task.cancelling() == 0
    stoppable.arrived([update])  # nothing runs: nothing happens
    await asyncio.sleep(0)
    async with asyncio.timeout(WITHIN_S):
        await asyncio.sleep(0)


async def test_a_worker_that_is_cancelled_for_good_is_not_kept_alive_by_a_stop():
    stoppable = Stoppable()
    update = Envelope(1, "chat:1", "", b"")

    async def worker() -> None:
        await stoppable.run("chat:1", asyncio.sleep(10), lambda _: True)

    task = asyncio.create_task(worker())
    await asyncio.sleep(0)
    stoppable.arrived([update])
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


def test_a_step_in_a_private_chat_is_not_stopped_by_the_same_person_elsewhere():
    work = Work()

    async def scenario(scene: Scene) -> None:
        scene.telegram.say("go")
        await asyncio.sleep(5)
        scene.telegram.say("/cancel", chat=GROUP, user=ALICE)
        await scene.idle()

    play(work.router, scenario, handler_timeout_s=100)
    assert work.diary == [(0, "begins go"), (5, "cancel handled"), (60, "done")]
