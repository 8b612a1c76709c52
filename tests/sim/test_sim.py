"""A fixed share of the simulation; `make sim SEEDS=n` runs more."""

import asyncio
import random
from functools import partial
from typing import Any

import pytest
import structlog

from engine.embedded.forward import ForwardClock
from engine.embedded.lanes import LaneTable
from engine.embedded.seen import SeenIds
from engine.leases import Keeper
from engine.stores.memory import MemoryStore
from engine.stores.memory_data import Data
from telegram.dialogue import EventContext
from telegram.service.accepting import Accepting
from telegram.service.poller import Poller
from tests.sim.__main__ import be_quiet
from tests.sim.loop import Process, SimLoop
from tests.sim.posts import Event, judge_events, judge_posts
from tests.sim.scenario import Scenario, simulate, simulate_hard
from tests.sim.timers import judge, misplaced
from tests.sim.trouble import Perils

SEEDS = range(60)


@pytest.fixture(autouse=True)
def _quiet():
    be_quiet()
    yield
    structlog.reset_defaults()


def test_every_promise_is_kept_in_every_run():
    outcomes = [simulate(seed) for seed in SEEDS]
    assert [(outcome.seed, outcome.failures) for outcome in outcomes if outcome.failures] == []
    faults = sum((outcome.faults for outcome in outcomes), start=type(outcomes[0].faults)())
    assert {outcome.store for outcome in outcomes} == {"shared", "file"}
    assert len(faults) == 17, "some kind of trouble never happens"


def test_every_promise_is_kept_with_a_webhook_that_takes_turns_with_polling():
    outcomes = [simulate_hard(seed, "webhook") for seed in range(25)]
    assert [(outcome.seed, outcome.failures) for outcome in outcomes if outcome.failures] == []


@pytest.mark.parametrize("seed", [3, 4, 5, 6])
def test_a_seed_replays_its_run(seed):
    first, again = simulate(seed), simulate(seed)
    assert first == again


def found(likely=0):
    """A seed that finds something wrong; `likely` is tried first, which saves time and decides nothing."""
    return next((seed for seed in (likely, *range(200)) if simulate(seed).failures), None)


def found_with(peril, what):
    """The first seed of a run with this peril that says so."""
    runs = ((seed, simulate_hard(seed, peril)) for seed in range(400))
    return next((seed for seed, outcome in runs if what in str(outcome.failures)), None)


class TestItFinds:
    """What a simulation finds when the engine is wrong; `make mutants` tries many more."""

    def test_no_fence(self, monkeypatch):
        monkeypatch.setattr(
            LaneTable, "held", lambda self, lease: self._lanes.get(lease.key) or self.missing()
        )
        assert found(likely=173) is not None

    def test_a_webhook_that_answers_before_the_append(self, monkeypatch):
        append = Accepting._append

        async def begun(self: Accepting, right: Any, batch: Any) -> None:
            appending = asyncio.ensure_future(append(self, right, batch))
            appending.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.sleep(0)

        monkeypatch.setattr(Accepting, "_append", begun)
        assert found_with("webhook", "lost") is not None

    def test_confirm_before_append(self, monkeypatch):
        step = Poller._step
        background = []

        async def eager(self):
            insist = self._insist

            async def later(ask):
                if isinstance(ask, partial):  # take_in
                    background.append(asyncio.create_task(insist(ask)))
                    return None
                return await insist(ask)

            self._insist = later
            try:
                await step(self)
            finally:
                self._insist = insist

        monkeypatch.setattr(Poller, "_step", eager)
        assert found() is not None

    def test_timers_by_the_wall_clock(self, monkeypatch):
        monkeypatch.setattr(ForwardClock, "__call__", lambda self: self.wall())
        assert found_with("leaps", "never came") is not None

    def test_ids_that_age_by_the_wall_clock(self, monkeypatch):
        class ByTheWall(SeenIds):
            def __init__(self, wall):
                super().__init__()
                self.wall = wall

            def apply(self, planned, now):
                super().apply(planned, self.wall())

            def old(self, now, in_use):
                return super().old(self.wall(), in_use)

            def drop(self, old, now):
                super().drop(old, self.wall())

        begin = Data.__init__

        def begin_by_the_wall(self, limits, wall):
            begin(self, limits, wall)
            self.seen = ByTheWall(wall)

        def leap(self):
            self.trouble.note("clock jump", self.loop.time())
            self.wall_offset_s += 30 * 3600

        monkeypatch.setattr(Data, "__init__", begin_by_the_wall)
        monkeypatch.setattr(Scenario, "_look", leap)  # often: few seeds find it with the leaps of a hard run
        assert found_with("leaps,looks", "committed twice") is not None

    def test_time_outs_that_count_a_stall(self, monkeypatch):
        monkeypatch.setattr(Keeper, "_note_stall", lambda *_: None)
        assert found_with("stalls", "the handler ran longer") is not None

    def test_no_memory_of_ids(self, monkeypatch):
        append = MemoryStore.append

        async def forgetful(self, right, batch, aliases=(), posts=()):
            self._data.seen = type(self._data.seen)()
            return await append(self, right, batch, aliases, posts)

        monkeypatch.setattr(MemoryStore, "append", forgetful)
        assert found(likely=13) is not None

    def test_events_whose_ids_are_not_kept(self, monkeypatch):
        monkeypatch.setattr(EventContext, "is_repeated", False)
        assert any("was handled" in str(outcome.failures) for outcome in map(simulate, range(200)))

    def test_posts_out_of_order(self, monkeypatch):
        async def late(self, posts):
            asyncio.get_running_loop().call_later(
                random.Random(len(self._data.timers)).random() * 60,
                lambda: [self._data.post(each) for each in posts],
            )

        monkeypatch.setattr(MemoryStore, "post", late)
        assert any("came after event" in str(outcome.failures) for outcome in map(simulate, range(200)))

    def test_posts_of_a_commit_that_are_lost(self, monkeypatch):
        commit = MemoryStore.commit

        async def forgetful(self, delivery, effects, *, more):
            return await commit(self, delivery, effects._replace(posts=effects.posts[1:]), more=more)

        monkeypatch.setattr(MemoryStore, "commit", forgetful)
        assert "never came to" in str(simulate(found()).failures)


def on_sim_loop(scenario):
    loop = SimLoop(random.Random(1))
    try:
        return loop.run_until_complete(scenario(loop))
    finally:
        loop.close()


def test_a_process_that_crashed_runs_no_finally_until_all_is_over():
    steps = []

    async def main():
        try:
            await asyncio.sleep(1)
            steps.append("woke up")
        finally:
            steps.append("finally")

    async def scenario(loop):
        process = Process(1, loop)
        process.spawn(main())
        await asyncio.sleep(0.5)
        process.crash()
        await asyncio.sleep(10)
        return list(steps)

    assert on_sim_loop(scenario) == []
    assert steps == ["finally"]


def test_a_frozen_process_sees_its_timers_when_it_wakes_up():
    async def scenario(loop):
        seen: list[Any] = []
        process = Process(1, loop)

        async def main():
            loop.call_later(3, seen.append, "as due as the other, and it only needs one step")
            loop.call_later(4, seen.append, "cancelled").cancel()
            await asyncio.sleep(2)
            seen.append(loop.time())

        process.spawn(main())
        await asyncio.sleep(1)
        process.freeze()
        await asyncio.sleep(59)
        assert seen == []
        process.thaw()
        await asyncio.sleep(1)
        return seen

    assert on_sim_loop(scenario)[1:] == [60]


SET_1, CAME_1 = ["set", "a", 1, 110.0], ["came", 1, 110.0, 111.0]


@pytest.mark.parametrize(
    ("entries", "finding"),
    [
        ([SET_1], "timer 1 never came"),
        ([SET_1, CAME_1, CAME_1], "timer 1 came, and was not set"),
        ([SET_1, ["gone", "a"], CAME_1], "timer 1 came, and was not set"),
        ([SET_1, ["set", "a", 2, 150.0], CAME_1, ["came", 2, 150.0, 150.0]], "timer 1 came, and was not set"),
        ([SET_1, ["came", 1, 110.0, 109.0]], "timer 1 came at 109.0"),
        ([SET_1, ["came", 1, 105.0, 111.0]], "timer 1 came at 111.0 for 105.0"),
        ([SET_1, ["set", "b", 2, 150.0], ["came", 2, 150.0, 150.0], CAME_1], "timer 2 came before"),
    ],
)
def test_a_timer_that_is_lost_or_repeated_or_early_is_seen(entries, finding):
    (found,) = judge(entries, is_clock_steady=True)
    assert found.startswith(finding)


def test_a_good_log_is_good():
    entries: list[Any] = [
        ["update", 5],
        SET_1,
        ["set", "b", 2, 110.0],
        ["gone", "b"],
        ["update", 6],
        CAME_1,
        ["update", 7],
    ]
    assert judge(entries, is_clock_steady=True) == []
    assert misplaced(entries, there={5: 1.0, 6: 109.0, 7: 111.0}, sent={5: 1.0, 6: 109.0, 7: 111.0}) == []


MADE_1, MADE_2 = ["posted", "b", 1], ["posted", "b", 2]
POST_1, POST_2 = ["post", 1], ["post", 2]


@pytest.mark.parametrize(
    ("of_a", "of_b", "finding"),
    [
        ([MADE_1], [], "post 1 never came to b"),
        ([MADE_1], [POST_1, ["update", 3], POST_1], "post 1 came to b 2 times"),
        ([], [POST_1], "post 1 came to b, and was not made"),
        ([MADE_1, POST_1], [POST_1], "post 1 came to a, and was not made"),
        ([MADE_1, MADE_2], [POST_2, POST_1], "posts came to b out of order"),
    ],
)
def test_a_post_that_is_lost_or_repeated_or_out_of_order_is_seen(of_a, of_b, finding):
    logs = {"a": of_a, "b": of_b}
    assert judge_posts(logs, (), is_clock_steady=True) == [finding]
    assert judge_posts(logs, {1}, is_clock_steady=False) == [finding] * (
        "never" not in finding and "order" not in finding
    )


def test_good_posts_are_good():
    logs = {"a": [MADE_1, ["update", 5], MADE_2], "b": [POST_1, ["posted", "b", 3], POST_2, ["post", 3]]}
    assert judge_posts(logs, (), is_clock_steady=True) == []


@pytest.mark.parametrize(
    ("handled", "finding"),
    [
        ([7, 8, 9], None),
        ([9, 7, 8], None),  # of another payer
        ([7, 8], "event 9 was never handled in chat 5"),
        ([7, 8, 9, 7], "event 7 was handled 2 times in chat 5"),
        ([8, 7, 9], "event 7 came after event 8 in chat 5"),
    ],
)
def test_an_event_that_is_lost_or_repeated_or_out_of_order_is_seen(handled, finding):
    events = [Event(0, 5, 7), Event(1, 5, 9), Event(0, 5, 8), Event(0, 6, 1)]
    judged = partial(judge_events, events, {5: handled, 6: [1]})
    assert judged((), is_clock_steady=True, are_ids_kept=True) == ([] if finding is None else [finding])
    assert judged({7, 9}, is_clock_steady=False, are_ids_kept=False) == []


def test_a_timer_out_of_its_place_is_seen():
    early = misplaced([CAME_1, ["update", 7]], there={7: 109.0}, sent={7: 108.0})
    late = misplaced([["update", 7], CAME_1], there={7: 112.0}, sent={7: 111.0})
    assert early == ["timer 1 came before update 7"]
    assert late == ["timer 1 came after update 7"]


@pytest.mark.parametrize("peril", Perils._fields)
def test_a_hard_run_has_its_perils_and_replays(peril):
    first, again = simulate_hard(8, peril), simulate_hard(8, peril)
    assert first == again
    assert first.perils == peril


def test_a_seed_draws_its_perils():
    drawn = [Perils.drawn(seed) for seed in range(50)]
    assert all(any(each) and not all(each) for each in zip(*drawn, strict=True))
    assert drawn == [Perils.drawn(seed) for seed in range(50)]
