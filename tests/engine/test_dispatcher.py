"""The pool of workers, on virtual time over the memory store."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, cast

import pytest
import structlog

from engine import (
    Call,
    Delivery,
    Effects,
    LeaseLost,
    Limits,
    Park,
    Queue,
    Reject,
    Retry,
    StateChange,
    StoreError,
    StoreUnavailable,
    Timer,
    current_delivery,
)
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from tests.kit.house import INBOX, NOTHING, House, begins, dead, in_house, now, update
from tests.kit.virtual import run_virtual


async def slow(house: House, delivery: Delivery) -> None:
    await asyncio.sleep(1)


async def nothing(house: House, delivery: Delivery) -> None:
    pass


# -- order and concurrency -----------------------------------------------------------------------------------


def test_one_lane_is_strictly_serial_and_lanes_run_side_by_side():
    house = House(slow)
    in_house(house, update(1), update(2), update(3, "chat:2"), update(4, "chat:3"))
    times = {(what, id_): at for at, what, id_ in house.diary}
    assert times["begin", 2] == times["end", 1] == 1
    assert times["begin", 3] == times["begin", 4] == 0
    assert len(house.diary) == 8


def test_no_more_handlers_run_than_there_are_workers():
    house = House(slow, workers=2)
    in_house(house, *(update(id_, f"chat:{id_}") for id_ in range(6)))
    assert [at for at, what, _ in house.diary if what == "begin"] == [0, 0, 1, 1, 2, 2]


def test_a_flooding_lane_gets_its_quantum_and_then_others_have_their_turn():
    house = House(slow, workers=1, quantum=3)
    in_house(house, *(update(id_) for id_ in range(1, 8)), update(8, "chat:2"))
    assert [id_ for _, what, id_ in house.diary if what == "begin"] == [1, 2, 3, 8, 4, 5, 6, 7]


def test_a_worker_keeps_its_lane_within_the_quantum():
    fences = []

    async def handler(house: House, delivery: Delivery) -> None:
        fences.append(delivery.lease.fence)

    in_house(House(handler, quantum=3), *(update(id_) for id_ in range(5)))
    assert [fences.count(fence) for fence in sorted(set(fences))] == [3, 2]


def test_handlers_that_never_wait_do_not_starve_the_loop():
    async def main() -> None:
        house = House(nothing, workers=1)
        ticks = 0
        async with asyncio.TaskGroup() as group:
            house.engine.start(group)
            await append(house.store, [update(id_) for id_ in range(1000)])
            while (await house.store.stats()).inbox.pending:
                ticks += 1
                await asyncio.sleep(0)
            await house.engine.drain(now())
        assert ticks >= 100

    run_virtual(main())


def test_state_goes_from_delivery_to_delivery():
    async def counting(house: House, delivery: Delivery) -> Effects:
        return Effects((Call("chat:1", delivery.state or b""),), (delivery.state or b"") + b"x")

    house = House(counting)
    in_house(house, update(1), update(2), update(3))

    async def sent() -> list[bytes]:
        deliveries = []
        delivery = await house.store.claim(Queue.OUTBOX)
        while delivery:
            deliveries.append(delivery.envelope.body)
            delivery = await house.store.commit(delivery, NOTHING, more=True)
        return deliveries

    assert run_virtual(sent()) == [b"", b"x", b"xx"]


# -- failures ------------------------------------------------------------------------------------------------


def failing(times: int, error: Callable[[], BaseException]) -> Any:
    left = [times]

    async def handler(house: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1 and left[0]:
            left[0] -= 1
            raise error()

    return handler


@pytest.mark.parametrize("error", [lambda: ValueError("x"), lambda: Retry("x"), lambda: SystemExit(3)])
def test_a_failure_parks_only_its_lane_with_a_backoff_that_doubles(error):
    house = House(failing(3, error))
    in_house(house, update(1), update(2), update(3, "chat:2"))
    assert begins(house, 1) == [0, 1, 3, 7]
    assert begins(house, 2) == [7]
    assert begins(house, 3) == [0]


def test_backoff_has_a_ceiling():
    house = House(failing(4, lambda: ValueError("x")), backoff_max_s=3)
    in_house(house, update(1))
    assert begins(house, 1) == [0, 1, 3, 6, 9]


@pytest.mark.parametrize(("jitter", "at"), [(0.0, 0.5), (0.5, 0.75)])
def test_backoff_is_spread_so_that_not_all_lanes_come_back_in_one_moment(jitter, at):
    house = House(failing(1, lambda: ValueError("x")), jitter=jitter)
    in_house(house, update(1))
    assert begins(house, 1) == [0, at]


def test_retry_after_says_when():
    house = House(failing(1, lambda: Retry("x", after_s=42)))
    in_house(house, update(1))
    assert begins(house, 1) == [0, 42]


def test_parking_counts_no_attempt():
    attempts = []

    async def handler(house: House, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) < 9:
            raise Park("slow down", delay_s=30)

    house = House(handler, attempts_max=2)
    in_house(house, update(1))
    assert attempts == [1] * 9
    assert begins(house, 1) == [30 * n for n in range(9)]


def test_after_attempts_max_the_update_is_a_dead_letter_and_the_lane_goes_on():
    house = House(failing(99, lambda: ValueError("always")), attempts_max=3)
    in_house(house, update(1), update(2))
    assert dead(house) == [(1, 3, "ValueError: always")]
    assert begins(house, 2) == [3]


def test_reject_is_a_dead_letter_at_once():
    house = House(failing(99, lambda: Reject("no good")))
    in_house(house, update(1), update(2))
    assert dead(house) == [(1, 1, "no good")]
    assert begins(house, 2) == [0]


def test_a_handler_that_overruns_is_cancelled_exactly_at_its_deadline():
    async def handler(house: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1:
            try:
                await asyncio.sleep(1000)
            finally:
                house.note("cancelled", delivery)

    house = House(handler, handler_timeout_s=60, attempts_max=2)
    in_house(house, update(1), update(2), update(3, "chat:2"))
    assert [at for at, what, _ in house.diary if what == "cancelled"] == [60, 121]
    assert dead(house) == [(1, 2, "the handler ran longer than 60 s")]
    assert (begins(house, 2), begins(house, 3)) == ([121], [0])


def test_a_deadline_counts_from_each_handlers_own_start():
    async def handler(house: House, delivery: Delivery) -> None:
        await asyncio.sleep(50 if delivery.envelope.id == 1 else 70)

    house = House(handler, workers=1, handler_timeout_s=60, attempts_max=1)
    in_house(house, update(1), update(2))
    assert [letter[0] for letter in dead(house)] == [2]
    assert house.diary[-1] == (50, "begin", 2)


@pytest.mark.parametrize("allowed_s", [600.0, 3.0, 1.3])  # the last one: between two looks
def test_a_handler_may_be_allowed_more_time_or_less_than_the_others(allowed_s):
    async def handler(house: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1:
            await asyncio.sleep(1.1)  # the watch over the deadlines sleeps until 2
            house.works[1].extend(allowed_s)
        try:
            await asyncio.sleep(5000)
        except asyncio.CancelledError:
            house.note("cut", delivery)
            raise

    house = House(handler, handler_timeout_s=60, attempts_max=1)
    in_house(house, update(1), update(2), update(3, "chat:2"), within_s=1000.0)
    cut = {id_: at for at, what, id_ in house.diary if what == "cut"}
    assert cut == {1: allowed_s, 2: allowed_s + 60, 3: 60}  # the next handler of the lane has the usual time
    assert (1, 1, f"the handler ran longer than {allowed_s:g} s") in dead(house)


def test_what_a_handler_returns_after_its_deadline_does_not_count():
    async def handler(house: House, delivery: Delivery) -> Effects:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        return Effects(state=b"too late")

    house = House(handler, handler_timeout_s=60, attempts_max=1)
    in_house(house, update(1), update(2))
    assert [letter[0] for letter in dead(house)] == [2, 1]


def test_a_handler_that_ignores_its_cancellation_is_cancelled_again_and_again():
    async def handler(house: House, delivery: Delivery) -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                house.note("ignored", delivery)

    house = House(handler, handler_timeout_s=60, attempts_max=1)
    with structlog.testing.capture_logs() as logs:
        in_house(house, update(1))
    assert [at for at, what, _ in house.diary if what == "ignored"] == [60, 65, 70]
    assert [entry["event"] for entry in logs].count("handler ignores its cancellation") == 2


def test_after_a_cut_the_worker_is_as_good_as_new():
    """No cancellation is left over for the next delivery, or for a time-out of its own."""

    async def handler(house: House, delivery: Delivery) -> None:
        assert asyncio.current_task().cancelling() == 0
        if delivery.envelope.id == 1:
            await asyncio.sleep(1000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(5)

    house = House(handler, workers=1, handler_timeout_s=60, attempts_max=1)
    in_house(house, update(1), update(2))
    assert [id_ for _, what, id_ in house.diary if what == "end"] == [2]


def test_a_handler_that_raises_cancelled_error_by_itself_fails_like_any_other():
    house = House(failing(99, asyncio.CancelledError), attempts_max=1)
    in_house(house, update(1), update(2))
    assert dead(house) == [(1, 1, "the handler raised CancelledError")]


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class SilentRetry(Retry):
    def __init__(self) -> None:
        pass  # without super().__init__(reason)


class SilentReject(Reject):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "reason"), [(UnreadableError, "UnreadableError"), (SilentRetry, ""), (SilentReject, "")]
)
def test_an_exception_that_is_not_as_it_should_be_fails_like_any_other(error, reason):
    house = House(failing(99, error), attempts_max=1)
    in_house(house, update(1), update(2))
    assert dead(house) == [(1, 1, reason)]


def test_lease_lost_that_a_handler_invents_is_a_failure_and_one_that_is_true_ends_it():
    async def invent(_: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1:
            raise LeaseLost("chat:1")

    house = House(invent, attempts_max=2)
    in_house(house, update(1), update(2))
    assert dead(house) == [(1, 2, "LeaseLost: chat:1")]

    async def lose(house: House, delivery: Delivery) -> None:
        if len(house.diary) == 1:
            await house.store.release(delivery)
            await house.store.peek(delivery, 1)

    house = House(lose, attempts_max=1)
    in_house(house, update(1))
    assert [what for _, what, _ in house.diary] == ["begin", "begin", "end"]
    assert dead(house) == []


def test_a_handler_that_returns_something_else_is_a_dead_letter_in_the_end():
    async def handler(house: House, delivery: Delivery) -> Any:
        return "effects"

    house = House(handler, attempts_max=1)
    in_house(house, update(1))
    assert dead(house) == [(1, 1, "the handler returned str, not Effects")]


@pytest.mark.parametrize(
    ("effects", "reason"),
    [
        (Effects(state="text"), "TypeError: a state is bytes, not str"),  # type: ignore[arg-type]
        (Effects((Call("chat:1", "text"),)), "TypeError: the body of a call is bytes, not str"),  # type: ignore[arg-type]
        (Effects((Call("chat:\ud800", b""),)), "UnicodeEncodeError: 'utf-8' codec can't encode"),
    ],
)
def test_effects_that_no_store_can_keep_hurt_only_their_update(effects, reason):
    async def handler(house: House, delivery: Delivery) -> Effects:
        return effects if delivery.envelope.id == 1 else NOTHING

    house = House(handler, attempts_max=1)
    in_house(house, update(1), update(2))
    ((id_, _, given),) = dead(house)
    assert id_ == 1
    assert given.startswith(reason)


@pytest.mark.parametrize(
    "error", [Reject("bad \ud800" + "x" * 10_000), ValueError("bad \ud800" + "x" * 10_000)]
)
def test_a_reason_is_kept_in_a_form_that_every_store_takes(error):
    house = House(failing(99, lambda: error), attempts_max=1)
    in_house(house, update(1))
    ((_, _, reason),) = dead(house)
    assert reason.encode().endswith(b"xxx")
    assert "bad \\ud800" in reason
    assert len(reason) < 1100


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 1e300])
def test_a_wish_for_an_impossible_delay_is_told_where_it_is_made(seconds):
    for wish in (lambda: Park("x", delay_s=seconds), lambda: Retry("x", after_s=seconds)):
        with pytest.raises(ValueError, match="a delay is a number of seconds from 0"):
            wish()


@pytest.mark.parametrize("wish", [Reject, Retry])
def test_an_exception_as_the_reason_is_its_text(wish):
    house = House(failing(99, lambda: wish(ValueError("why"))), attempts_max=1)
    in_house(house, update(1), update(2))
    assert dead(house) == [(1, 1, "why")]


def test_context_variables_do_not_leak_from_one_delivery_to_the_next():
    secret: ContextVar[int | None] = ContextVar("secret", default=None)
    seen = []

    async def handler(house: House, delivery: Delivery) -> None:
        seen.append(secret.get())
        secret.set(delivery.envelope.id)
        await asyncio.sleep(1)
        assert secret.get() == delivery.envelope.id
        assert current_delivery.get() == delivery

    in_house(House(handler, workers=2), *(update(id_, f"chat:{id_ % 4}") for id_ in range(12)))
    assert seen == [None] * 12


# -- leases --------------------------------------------------------------------------------------------------


def test_a_handler_whose_lease_is_lost_is_cancelled_and_commits_nothing():
    async def handler(house: House, delivery: Delivery) -> Effects:
        try:
            await asyncio.sleep(130)
        except asyncio.CancelledError:
            house.note("cut", delivery)
            raise
        return Effects(state=b"from the grave")

    house = House(handler, store=MemoryStore(lease_ttl_s=15), handler_timeout_s=1000, workers=1)

    async def then() -> None:
        peer = house.store.peer()
        await asyncio.sleep(1)
        house.store.hang()
        taken = await peer.claim(INBOX)
        assert now() == 16
        await asyncio.sleep(200)
        assert await peer.commit(taken, NOTHING, more=True) is None

    with structlog.testing.capture_logs() as logs:
        in_house(house, update(1), then=then)
    assert house.diary == [(0, "begin", 1), (16, "cut", 1)]
    assert "lease lost" in [entry["event"] for entry in logs]
    assert house.store._data.states == {}


def test_a_handler_of_a_lost_lease_that_swallows_its_cancellation_is_cancelled_again():
    async def handler(house: House, delivery: Delivery) -> Effects:
        for _ in range(3):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                house.note("cut", delivery)
        return Effects(state=b"from the grave")

    house = House(handler, store=MemoryStore(lease_ttl_s=15), handler_timeout_s=500)

    async def then() -> None:
        house.store.hang()
        await asyncio.sleep(15)
        taken = await house.store.peer().claim(INBOX)
        await asyncio.sleep(100)
        await house.store.peer().close()
        assert not house.store._data.states
        assert taken.envelope.id == 1

    in_house(house, update(1), then=then)
    assert [at for at, what, _ in house.diary if what == "cut"] == [15, 20, 25]


def test_a_lost_lease_cuts_its_handler_only():
    async def handler(house: House, delivery: Delivery) -> None:
        await asyncio.sleep(10)

    house = House(handler)

    async def then() -> None:
        await asyncio.sleep(1)
        (one, other) = house.engine.running()
        house.engine._keeper.lost([one.delivery.lease, other.delivery.lease._replace(fence=7)])
        await asyncio.sleep(20)

    in_house(house, update(1), update(2, "chat:2"), then=then)
    assert (10, "end", 1) not in house.diary
    assert (10, "end", 2) in house.diary


def test_a_long_handler_keeps_its_lease():
    house = House(slow, store=MemoryStore(lease_ttl_s=15), handler_timeout_s=1000)

    async def handler(house: House, delivery: Delivery) -> None:
        await asyncio.sleep(100)

    house._handler = handler

    async def then() -> None:
        peer = house.store.peer()
        waiting = asyncio.create_task(peer.claim(INBOX))
        await house.until_idle()
        assert not waiting.done()
        waiting.cancel()

    in_house(house, update(1), then=then)
    assert house.diary == [(0, "begin", 1), (100, "end", 1)]


# -- an unavailable store ------------------------------------------------------------------------------------


class Unsteady(MemoryStore):
    """Fails the next `failures` calls of the methods named."""

    def __init__(self, *names: str, failures: int, after: bool = False) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, self._failing(getattr(self, name), after))
        self.failures = failures

    def _failing(self, method: Any, after: bool) -> Any:
        async def unsteady(*args: Any, **kwargs: Any) -> Any:
            if self.failures:
                self.failures -= 1
                if after:
                    await method(*args, **kwargs)
                raise StoreUnavailable("the disk is full")
            return await method(*args, **kwargs)

        return unsteady


@pytest.mark.parametrize("after", [False, True])
def test_effects_wait_for_the_store_and_nothing_is_handled_twice(after):
    async def handler(house: House, delivery: Delivery) -> Effects:
        return Effects((Call("chat:1", b"a"),))

    house = House(handler, store=Unsteady("commit", failures=3, after=after))
    in_house(house, update(1), update(2))
    assert [id_ for _, what, id_ in house.diary if what == "begin"] == [1, 2]
    assert run_virtual(house.store.stats()).outbox.appended == 2


@pytest.mark.parametrize(
    ("method", "error"),
    [("park", Retry("x")), ("park", Park("x", delay_s=1)), ("bury", Reject("x")), ("claim", None)],
)
def test_an_unavailable_store_is_asked_again(method, error):
    house = House(failing(1, lambda: error) if error else nothing, store=Unsteady(method, failures=5))
    in_house(house, update(1), update(2))
    stats = run_virtual(house.store.stats()).inbox
    assert (stats.pending, stats.committed + stats.dead) == (0, 2)


def test_a_store_that_is_away_for_hours_is_asked_every_ten_seconds():
    house = House(nothing, store=Unsteady("commit", failures=1200))
    back_at = 1 + 2 + 4 + 8 + 1195 * 10

    async def then() -> None:
        await asyncio.sleep(back_at - 1)
        assert (await house.store.stats()).inbox.pending == 1
        await asyncio.sleep(2)
        assert (await house.store.stats()).inbox.pending == 0

    in_house(house, update(1), then=then, within_s=back_at + 10)
    assert begins(house, 1) == [0]


def test_an_unavailable_store_is_one_line_in_the_log_and_one_when_it_is_back():
    house = House(nothing, store=Unsteady("commit", failures=30))
    with structlog.testing.capture_logs() as logs:
        in_house(house, *(update(id_, f"chat:{id_}") for id_ in range(4)))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("store unavailable", "error"),
        ("store available again", "info"),
    ]


async def for_ever() -> None:
    await asyncio.Event().wait()


class Doubtful(MemoryStore):
    """In doubt: the process has to stop."""

    async def commit(self, *args: Any, **kwargs: Any) -> None:
        raise StoreError("the file is not the one that was opened")


def test_a_store_in_doubt_brings_the_house_down():
    house = House(nothing, store=Doubtful())
    with pytest.raises(ExceptionGroup) as caught:
        in_house(house, update(1), then=for_ever)
    assert caught.group_contains(StoreError)


def test_a_store_in_doubt_ends_the_handlers_of_the_others():
    async def handler(house: House, delivery: Delivery) -> None:
        await asyncio.sleep(1000 if delivery.envelope.id == 1 else 1)

    house = House(handler, store=Doubtful())
    with pytest.raises(ExceptionGroup) as caught:
        in_house(house, update(1), update(2, "chat:2"), then=for_ever)
    assert caught.group_contains(StoreError)
    assert house.diary == [(0, "begin", 1), (0, "begin", 2), (1, "end", 2)]


# -- drain ---------------------------------------------------------------------------------------------------


def test_a_drain_lets_running_handlers_finish_and_claims_nothing_new():
    house = House(slow, workers=2)

    async def then() -> None:
        await asyncio.sleep(0.5)

    in_house(house, update(1), update(2), update(3, "chat:2"), update(4, "chat:3"), then=then)
    assert sorted((what, id_) for _, what, id_ in house.diary) == [
        ("begin", 1),
        ("begin", 3),
        ("end", 1),
        ("end", 3),
    ]
    stats = run_virtual(house.store.stats()).inbox
    assert (stats.pending, stats.leased) == (2, 0)


def test_a_drain_hands_back_what_does_not_finish_in_time_uncounted():
    async def handler(house: House, delivery: Delivery) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            house.note("cancelled", delivery)

    house = House(handler, handler_timeout_s=5000)

    async def then() -> None:
        await asyncio.sleep(0)

    in_house(house, update(1), then=then)
    assert house.diary == [(0, "begin", 1), (10, "cancelled", 1)]
    again = run_virtual(house.store.claim(INBOX))
    assert (again.envelope.id, again.attempt) == (1, 1)


class _NotNoting(MemoryStore):
    """A store that cannot park now."""

    def __init__(self, raises: BaseException) -> None:
        super().__init__()
        self.raises = raises

    async def park(self, *_: Any, **__: Any) -> None:
        raise self.raises


@pytest.mark.parametrize("raises", [None, StoreUnavailable("away"), OSError("odd"), asyncio.CancelledError()])
def test_what_a_drain_has_cut_off_was_begun_if_the_store_can_note_it(raises):
    async def handler(_house: House, _delivery: Delivery) -> None:
        await asyncio.sleep(100)

    async def main() -> Delivery:
        async with asyncio.TaskGroup() as group:
            house.engine.start(group)
            await append(store, [update(1)])
            await asyncio.sleep(1)
            await house.engine.drain(now() + 10)
            assert now() == 11
        return await asyncio.wait_for(store.peer().claim(INBOX), 1)

    store = MemoryStore() if raises is None else _NotNoting(raises)
    house = House(handler, store=store, handler_timeout_s=1000)
    found = run_virtual(main())
    assert (found.attempt, found.begun) == (1, raises is None)


def test_a_drain_lets_a_commit_end_that_takes_a_moment_longer():
    commits = []

    class Slow(MemoryStore):
        async def commit(self, *args: Any, **kwargs: Any) -> Delivery | None:
            commits.append(args)
            await asyncio.sleep(0.3)
            return await super().commit(*args, **kwargs)

    async def handler(house: House, delivery: Delivery) -> None:
        await asyncio.sleep(9.9)  # the drain's deadline is at 10

    async def then() -> None:
        await asyncio.sleep(0)

    house = House(handler, store=Slow())
    in_house(house, update(1), then=then)
    assert run_virtual(house.store.stats()).inbox.committed == 1
    assert len(commits) == 1  # it was not cut off and done again


def test_an_idle_house_drains_at_once():
    async def main() -> None:
        house = House(nothing)
        async with asyncio.TaskGroup() as group:
            house.engine.start(group)
            await asyncio.sleep(1)
            await house.engine.drain(now() + 100)
        assert now() == 1

    run_virtual(main())


def test_a_handler_that_will_not_stop_does_not_stop_the_drain():
    async def handler(house: House, delivery: Delivery) -> None:
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)

    house = House(handler, handler_timeout_s=5000)

    async def main() -> None:
        with structlog.testing.capture_logs() as logs:
            async with asyncio.TaskGroup() as group:
                house.engine.start(group)
                await append(house.store, [update(1)])
                await asyncio.sleep(1)
                await house.engine.drain(now() + 10)
                drained_at = now()
        assert drained_at < 15
        assert any("would not stop" in entry["event"] for entry in logs)
        assert (await house.store.stats()).inbox.pending == 1

    run_virtual(main())


def test_a_drain_does_not_wait_for_a_store_that_stays_away():
    house = House(nothing, store=Unsteady("commit", failures=10**9))

    async def then() -> None:
        await asyncio.sleep(1)

    in_house(house, update(1), then=then)
    assert run_virtual(house.store.stats()).inbox.pending == 1


def test_settle_goes_on_until_nothing_is_ready_but_not_for_what_is_parked():
    async def handler(house: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1:
            raise Park("x", delay_s=1000)
        await asyncio.sleep(1)

    house = House(handler, workers=1)

    async def then() -> None:
        await house.engine.settle(now() + 100)
        assert now() == 2

    in_house(house, update(1), update(2, "chat:2"), update(3, "chat:3"), then=then)


def test_settle_has_an_end():
    house = House(slow, workers=1)

    async def then() -> None:
        await house.engine.settle(now() + 3)
        assert now() == 3

    in_house(house, *(update(id_) for id_ in range(100)), then=then)


def test_running_tells_who_does_what_since_when():
    house = House(slow, workers=2)

    async def then() -> None:
        await asyncio.sleep(0.5)
        (running,) = house.engine.running()
        assert (running.delivery.envelope.id, running.since) == (1, 0)
        await house.until_idle()
        assert house.engine.running() == []

    in_house(house, update(1), then=then)


# -- states of other scopes, batches and calls that go out with a failure ---------------------------------------------


def sent(house: House) -> list[bytes]:
    outbox = house.store._data.queues[Queue.OUTBOX]
    return [call.body for call in outbox.envelopes.values()]


def test_a_handler_runs_again_when_a_state_was_changed_meanwhile_and_that_is_no_failure():
    async def add(house: House, delivery: Delivery) -> Effects:
        was = await house.store.state("user:5", "")
        await asyncio.sleep(1)
        attempts.append(delivery.attempt)
        return Effects(states=(StateChange("user:5", "", was, (was or b"") + b"x"),))

    attempts: list[int] = []
    house = House(add, attempts_max=1)
    in_house(house, update(1, "chat:1"), update(2, "chat:2"), update(3, "chat:3"))
    assert run_virtual(house.store.state("user:5", "")) == b"xxx"
    assert attempts == [1] * 5  # the third waits with its commit for the second, which goes first
    assert house.store._data.dead_number == 0


def test_a_handler_that_never_knows_what_a_state_was_fails_in_the_end_and_does_not_spin():
    async def wrong(house: House, delivery: Delivery) -> Effects:
        if delivery.envelope.id == 2 or len(house.diary) > 1000:
            return NOTHING
        return Effects(states=(StateChange("user:5", "", b"never", b"x"),))

    house = House(wrong, workers=1, attempts_max=3)
    in_house(house, update(1), update(2))
    begun = [at for at, what, id_ in house.diary if (what, id_) == ("begin", 1)]
    assert begun == [0.0] * 11 + [1.0] * 11 + [3.0] * 11
    assert dead(house) == [(1, 3, "StateChanged, 11 times in a row")]
    assert house.engine._settling.changed == {}


def test_states_that_change_now_and_then_are_no_failure_however_often():
    async def unlucky(house: House, delivery: Delivery) -> Effects:
        tried.append(delivery.envelope.id)
        is_wrong = tried.count(delivery.envelope.id) <= 10
        return Effects(states=(StateChange("user:5", "", b"never" if is_wrong else None, None),))

    tried: list[int] = []
    house = House(unlucky, attempts_max=1)
    in_house(house, update(1), update(2), update(3))
    assert dead(house) == []


def adds(took_s: dict[str, float]) -> Callable[[House, Delivery], Coroutine[Any, Any, Effects]]:
    """Handlers that add a letter to a state of user 5, in the time that their lane takes."""

    async def add(house: House, delivery: Delivery) -> Effects:
        was = await house.store.state("user:5", "")
        await asyncio.sleep(took_s[delivery.lease.key])
        return Effects(states=(StateChange("user:5", "", was, (was or b"") + b"x"),))

    return add


def test_a_slow_handler_gets_through_a_lane_that_writes_its_state_all_the_time():
    """It loses once; when it runs again, the others commit after it. None of it counts as an attempt."""
    house = House(adds({"chat:1": 0.1, "chat:2": 1.0}), attempts_max=1)
    in_house(house, *(update(n, "chat:1") for n in range(1, 100)), update(100, "chat:2"))
    assert [entry for entry in house.diary if entry[2] == 100] == [
        (0.0, "begin", 100), (1.0, "end", 100), (1.0, "begin", 100), (2.0, "end", 100),
    ]  # fmt: skip
    assert run_virtual(house.store.state("user:5", "")) == b"x" * 100
    assert dead(house) == []


def test_who_goes_first_holds_up_the_others_for_five_seconds_only():
    house = House(adds({"chat:1": 2.0, "chat:2": 9.0}), attempts_max=1)
    in_house(house, *(update(n, "chat:1") for n in range(1, 9)), update(100, "chat:2"))
    ended = [at for at, what, id_ in house.diary if (what, id_) == ("begin", 6)]
    # Four commits before 9 s; then the fifth waits until 14 s, five seconds from the second run's begin.
    assert ended[0] == 14.0
    assert run_virtual(house.store.state("user:5", "")) == b"x" * 9


def test_after_three_lost_comparisons_a_long_handler_goes_first_until_it_is_done():
    house = House(adds({"chat:1": 2.0, "chat:2": 9.0}), attempts_max=1)
    in_house(house, *(update(n, "chat:1") for n in range(1, 40)), update(100, "chat:2"))
    begun = [at for at, what, id_ in house.diary if (what, id_) == ("begin", 100)]
    assert begun == [0.0, 9.0, 18.0, 27.0]
    assert run_virtual(house.store.state("user:5", "")) == b"x" * 40


def test_an_urgent_lane_never_waits_longer_than_five_seconds():
    house = House(adds({"chat:1": 9.0, "fast:2": 2.0}), attempts_max=1, urgent=("fast:",))
    in_house(house, update(100, "chat:1"), *(update(n, "fast:2") for n in range(1, 21)))
    ends = [at for at, what, id_ in house.diary if what == "end" and id_ < 100]
    assert max(after - before for before, after in itertools.pairwise(ends)) <= 2 + 5
    assert run_virtual(house.store.state("user:5", "")) == b"x" * 21
    assert dead(house) == []


def test_who_goes_first_holds_up_no_one_else():
    async def handle(house: House, delivery: Delivery) -> Effects:
        if delivery.lease.key == "chat:3":
            await asyncio.sleep(0.1)
            return Effects(state=b"own")
        return await adds({"chat:1": 0.5, "chat:2": 1.0})(house, delivery)

    house = House(handle)
    in_house(
        house,
        *(update(n, "chat:1") for n in (1, 2, 3)),
        update(4, "chat:2"),
        *(update(n, "chat:3") for n in range(5, 25)),
    )
    assert max(at for at, _, id_ in house.diary if id_ >= 5) == 2.0  # twenty times 0.1 s


def test_who_goes_first_and_fails_holds_up_nobody():
    async def handle(house: House, delivery: Delivery) -> Effects:
        if delivery.lease.key == "chat:2" and tried.count(2):
            raise Retry("not now", after_s=100)
        tried.append(delivery.envelope.id)
        return await adds({"chat:1": 1.0, "chat:2": 1.5})(house, delivery)

    tried: list[int] = []
    house = House(handle, attempts_max=1)
    in_house(house, update(1, "chat:1"), update(2, "chat:2"), *(update(n, "chat:1") for n in (3, 4, 5)))
    assert [at for at, what, id_ in house.diary if (what, id_) == ("end", 5)] == [4.0]
    assert dead(house) == [(2, 1, "not now")]


def test_to_ack_more_than_was_peeked_is_a_failure_of_the_handler():
    async def greedy(house: House, delivery: Delivery) -> Effects:
        if delivery.attempt == 1:
            return Effects((Call("chat:1", b"no"),), also=1)
        run = await house.store.peek(delivery, 5)
        return Effects(also=len(run))

    house = House(greedy)
    in_house(house, update(1), update(2), update(3))
    assert [entry for entry in house.diary if entry[1] == "begin"] == [(0.0, "begin", 1), (1.0, "begin", 1)]
    assert sent(house) == []


def test_to_set_more_timers_than_a_lane_may_have_is_a_failure_of_the_handler():
    async def greedy(_: House, delivery: Delivery) -> Effects:
        return Effects(timers=tuple(Timer(f"{delivery.envelope.id}-{n}", 3600.0) for n in range(2)))

    store = MemoryStore(limits=Limits(lane_timers_max=3))
    house = House(greedy, attempts_max=2, store=store)

    async def until_tried() -> None:
        await asyncio.sleep(10)

    in_house(house, update(1), update(2), update(3, "chat:2"), then=until_tried)
    assert [begins(house, id_) for id_ in (1, 2, 3)] == [[0.0], [0.0, 1.0], [0.0]]
    assert dead(house) == [(2, 2, "TooManyTimers: the lane chat:1 would have more than 3 timers")]


def last_words(delivery: Delivery, given_up: bool) -> tuple[Call, ...]:
    return (Call("chat:1", b"given up" if given_up else b"failed %d" % delivery.attempt),)


def test_calls_go_out_with_each_failure_and_other_ones_with_the_last():
    async def fail(_: House, __: Delivery) -> Effects:
        raise Retry("x")

    house = House(fail, failed=last_words, attempts_max=3)
    in_house(house, update(1))
    assert sent(house) == [b"failed 1", b"failed 2", b"given up"]


def test_calls_go_out_with_a_rejection():
    async def fail(_: House, __: Delivery) -> Effects:
        raise Reject("x")

    house = House(fail, failed=last_words)
    in_house(house, update(1))
    assert sent(house) == [b"given up"]


def test_no_calls_go_out_when_a_handler_only_waits():
    waited: list[bool] = []

    async def wait(_: House, __: Delivery) -> Effects:
        if waited:
            return Effects()
        waited.append(True)
        raise Park("not now", delay_s=60.0)

    house = House(wait, failed=last_words)
    in_house(house, update(1))
    assert sent(house) == []


def test_calls_go_out_when_a_handler_overruns():
    async def stay(_: House, __: Delivery) -> Effects:
        await asyncio.sleep(3600.0)
        return Effects()

    house = House(stay, failed=last_words, attempts_max=1, handler_timeout_s=5.0)
    in_house(house, update(1))
    assert sent(house) == [b"given up"]


@pytest.mark.parametrize("wrong", [ZeroDivisionError(), (Call("\ud800", b""),), (Call("chat:1", "text"),)])  # type: ignore[arg-type]
def test_calls_at_a_failure_that_cannot_be_made_fail_nothing_else(wrong: Any):
    def fail(_: Delivery, __: bool) -> tuple[Call, ...]:
        if isinstance(wrong, Exception):
            raise wrong
        return cast("tuple[Call, ...]", wrong)

    async def reject(_: House, __: Delivery) -> Effects:
        raise Reject("x")

    house = House(reject, failed=fail)
    in_house(house, update(1))
    assert sent(house) == []
    assert house.store._data.dead_number == 1
