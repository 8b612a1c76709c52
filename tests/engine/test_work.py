"""The boundary of a handler: what a Work answers, when it does not, and the hooks of a handler."""

import asyncio
import contextlib
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import (
    Call,
    Delivery,
    Effects,
    Engine,
    EngineConfig,
    Envelope,
    Lease,
    LeaseLost,
    Queue,
    Reject,
    Work,
)
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import open_sqlite
from tests.kit.house import INBOX, NOTHING, House, dead, in_house, now, update
from tests.kit.virtual import run_virtual


async def test_without_a_runner_nothing_is_pending_and_no_state_exists():
    given = Delivery(Lease(INBOX, "chat:1", 1), update(1), 2, b"state")
    work = Work(given)
    assert (work.envelope, work.attempt, work.state, work.lease) == (given.envelope, 2, b"state", given.lease)
    assert work.store is None
    assert (await work.peek(5), await work.look(5), await work.state_of("chat:1", "")) == ([], [], None)
    work.extend(5)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, "5", None])
def test_a_wrong_time_out_fails_its_handler_and_the_deadlines_of_others_hold(seconds: Any):
    async def handler(house: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1:
            with pytest.raises(ValueError, match="number of seconds"):
                house.works[1].extend(seconds)
        await asyncio.sleep(5000)

    house = House(handler, handler_timeout_s=60, attempts_max=1)
    in_house(house, update(1), update(2, "chat:2"))
    assert sorted(letter[0] for letter in dead(house)) == [1, 2]
    assert all(reason == "the handler ran longer than 60 s" for *_, reason in dead(house))


def test_a_work_that_is_kept_after_its_handler_has_no_effect_on_the_next_one():
    async def handler(house: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1:
            return
        house.works[1].extend(5000)
        for question in (house.works[1].peek(5), house.works[1].look(5)):
            with pytest.raises(LeaseLost):
                await question
        await asyncio.sleep(5000)

    house = House(handler, handler_timeout_s=60, attempts_max=1)
    in_house(house, update(1), update(2), update(3))
    assert [reason for _, _, reason in dead(house)] == ["the handler ran longer than 60 s"] * 2


class SlowPeek(MemoryStore):
    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        await asyncio.sleep(5)
        return await super().peek(delivery, limit)


def last_words(_: Delivery, given_up: bool) -> tuple[Call, ...]:
    return (Call("chat:1", b"given up" if given_up else b"failed"),)


def test_a_lease_lost_while_a_handler_peeks_sends_nothing_and_counts_nothing():
    peeks: list[int] = []

    async def handler(house: House, delivery: Delivery) -> None:
        peeks.append(round(now()))
        if len(peeks) == 1:
            await asyncio.sleep(1)
            await house.store.release(delivery)  # as another process would take it over
        await house.works[1].peek(5)

    house = House(handler, store=SlowPeek(), failed=last_words, attempts_max=1, workers=1)
    in_house(house, update(1))
    assert peeks == [0, 6]
    assert dead(house) == []
    assert run_virtual(house.store.stats()).outbox.pending == 0


def test_a_stop_while_a_handler_peeks_hands_it_back_and_sends_nothing():
    async def handler(house: House, _: Delivery) -> None:
        await house.works[1].peek(5)

    house = House(handler, store=SlowPeek(), failed=last_words, attempts_max=1)

    async def stop() -> None:
        await asyncio.sleep(1)
        await house.engine.drain(now() + 1)

    in_house(house, update(1), then=stop)
    assert dead(house) == []
    stats = run_virtual(house.store.stats())
    assert (stats.inbox.pending, stats.outbox.pending) == (1, 0)


def test_a_handler_that_raises_before_it_returns_an_awaitable_has_failed():
    def handler(_: Work) -> Any:
        raise OSError("x")

    async def main() -> list[tuple[int, str]]:
        store = MemoryStore()
        engine = Engine(store, INBOX, handler, EngineConfig(attempts_max=1))
        async with asyncio.TaskGroup() as group:
            engine.start(group)
            await append(store, [update(1)])
            await engine.settle(now() + 10)
            await engine.drain(now())
        return [(letter.envelope.id, letter.reason) for letter in await store.dead_letters()]

    assert run_virtual(main()) == [(1, "OSError: x")]


# -- arrived ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(), asyncio.CancelledError()])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_hook_for_arrivals_that_raises_fails_no_append(tmp_path, kind, error):
    def arrived(_: Any) -> None:
        raise error

    async def handler(_: House, __: Delivery) -> None: ...

    store: Any = MemoryStore() if kind == "memory" else await open_sqlite(tmp_path / "bot.db", "1")
    with capture_logs() as logs:
        House(handler, store=store, arrived=arrived)
        assert await append(store, [update(1)]) == 1
        assert await append(store, [update(2)]) == 1
    assert [line["event"] for line in logs] == ["the handler's hook for arriving updates failed"] * 2
    assert (await store.claim(INBOX)).envelope.id == 1
    await store.close()


async def test_the_hook_of_an_outbox_handler_does_not_replace_that_of_the_inbox():
    class Handler:
        def __init__(self) -> None:
            self.ids: list[int] = []

        async def __call__(self, _: Work) -> Effects:
            return NOTHING

        def arrived(self, batch: Any) -> None:
            self.ids += [each.id for each in batch]

    store, updates, calls = MemoryStore(), Handler(), Handler()
    Engine(store, INBOX, updates)
    Engine(store, Queue.OUTBOX, calls)
    await append(store, [update(1)])
    assert (updates.ids, calls.ids) == ([1], [])


def test_each_hook_is_optional():
    ids: list[int] = []

    async def reject(_: House, __: Delivery) -> None:
        raise OSError

    told = House(reject, arrived=lambda batch: ids.extend(each.id for each in batch), attempts_max=1)
    in_house(told, update(1))
    silent = House(reject, failed=last_words, attempts_max=1)
    in_house(silent, update(2))
    assert ids == [1]
    assert run_virtual(told.store.stats()).outbox.pending == 0
    assert run_virtual(silent.store.stats()).outbox.pending == 1


# -- after a time-out --------------------------------------------------------------------------------------------------


def taking_over(then: Any, seconds: float = 10.0) -> Any:
    """Return a handler that overruns, takes over, and then does something else."""

    async def handler(house: House, delivery: Delivery) -> Effects:
        try:
            await asyncio.sleep(5000)
        except asyncio.CancelledError:
            error = house.works[delivery.envelope.id].go_on(seconds)
            if error is None:
                raise
            assert str(error) == "the handler ran longer than 60 s"
            await then(house)
        return NOTHING

    return handler


def test_a_handler_that_takes_over_after_its_time_out_decides_about_its_outcome():
    async def then(house: House) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0  # asyncio.timeout of Python 3.11.0 goes by it
        await asyncio.sleep(9)

    house = House(taking_over(then), handler_timeout_s=60, attempts_max=1, workers=1)
    in_house(house, update(1), update(2))
    assert dead(house) == []
    assert [at for at, what, _ in house.diary if what == "end"] == [69, 138]


def test_it_may_fail_and_its_time_is_limited_again():
    async def fails(house: House) -> None:
        raise Reject("as it decides")

    async def hangs(house: House) -> None:
        await asyncio.sleep(5000)

    for then, reason in [(fails, "as it decides"), (hangs, "the handler ran longer than 70 s")]:
        house = House(taking_over(then), handler_timeout_s=60, attempts_max=1)
        in_house(house, update(1))
        assert dead(house) == [(1, 1, reason)]


def test_without_a_time_out_there_is_nothing_to_take_over():
    given = Delivery(Lease(INBOX, "chat:1", 1), update(1), 1, None)
    assert Work(given).go_on(5) is None

    async def handler(house: House, delivery: Delivery) -> None:
        assert house.works[1].go_on(5) is None

    house = House(handler, attempts_max=1)
    in_house(house, update(1))
    assert dead(house) == []


def test_a_lost_lease_is_not_taken_over():
    """Neither before the time-out, nor when it is lost while the overrunning handler cleans up."""
    asked: list[Any] = []

    async def handler(house: House, delivery: Delivery) -> None:
        keeper = house.engine._keeper
        try:
            await asyncio.sleep(5000)
        except asyncio.CancelledError:
            keeper.lost([delivery.lease])
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            asked.append(house.works[1].go_on(5))
            raise

    house = House(handler, handler_timeout_s=60, attempts_max=1)
    in_house(house, update(1))
    assert asked == [None]


def test_a_worker_that_has_lost_a_lease_may_take_over_later():
    async def handler(house: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1 and not house.diary[1:]:
            house.engine._keeper.lost([delivery.lease])
        try:
            await asyncio.sleep(5000)
        except asyncio.CancelledError:
            if house.works[delivery.envelope.id].go_on(5) is None:
                raise

    house = House(handler, handler_timeout_s=60, attempts_max=1, workers=1)
    in_house(house, update(1), update(2, "chat:2"), then=lambda: asyncio.sleep(150))
    assert ("end", 2) in [(what, id_) for _, what, id_ in house.diary]
    assert dead(house) == []
