"""Whatever escapes a handler is one delivery's failure; only a shutdown is a shutdown."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

import pytest
import structlog

from engine import Delivery, Effects, Park, Reject, Retry, StoreError, StoreUnavailable
from engine.asking import Asking
from engine.leases import Keeper
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from tests.kit.house import NOTHING, House, begins, dead, in_house, now, update
from tests.kit.virtual import run_virtual


class PanicException(BaseException):
    """What libraries in Rust raise (PyO3, `panic::PanicException`)."""


class Silent(BaseException):
    def __str__(self) -> str:
        raise KeyboardInterrupt


def current() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


def test_after_an_unexpected_error_an_outage_is_waited_for():
    """The unexpected one may be that of another delivery in the same transaction."""
    told: list[BaseException] = [StoreUnavailable("x"), StoreUnavailable("x"), StoreUnavailable("x")]

    async def ask() -> str:
        if told:
            raise told.pop()
        return "done"

    async def play() -> str:
        return await Asking("inbox", lambda _: 1.0).insist(ask, ValueError("of another one"))

    assert run_virtual(play()) == "done"


def test_once_a_pool_has_ended_a_cancellation_is_meant():
    told: list[BaseException] = [asyncio.CancelledError()]

    async def ask() -> str:
        if told:
            raise told.pop()
        return "done"

    async def play(*, is_over: bool) -> str:
        asking = Asking("inbox", lambda _: 1.0)
        asking.is_over = is_over
        return await asking.insist(ask)

    with pytest.raises(asyncio.CancelledError):
        run_virtual(play(is_over=True))
    told.append(asyncio.CancelledError())
    assert run_virtual(play(is_over=False)) == "done"


def test_a_delay_that_was_set_to_anything_is_a_failure_that_names_it():
    async def fail(_: House, __: Delivery) -> None:
        wish: Any = Park("x", delay_s=1.0)
        wish.delay_s = "soon"
        raise wish

    house = House(fail, attempts_max=2)
    in_house(house, update(1))
    ((id_, attempts, reason),) = dead(house)
    assert (id_, attempts) == (1, 2)
    assert reason.startswith("Park: ValueError: a delay is a number of seconds")


def test_the_delay_of_what_was_raised_is_checked_before_the_store_is_asked():
    """A store that refuses it would be asked again and again."""
    wish: Any = Park("x", delay_s=1.0)
    wish.delay_s = "soon"
    delivery: Any = None  # not needed for a Park
    assert type(House(raising(wish)).engine._failed(delivery, wish)) is Retry


def only_the_first(act: Callable[[Delivery], Any]) -> Any:
    async def handler(_: House, delivery: Delivery) -> Any:
        if delivery.envelope.id == 1:
            await asyncio.sleep(1)
            return await act(delivery)
        assert current().cancelling() == 0
        await asyncio.sleep(10)
        return NOTHING

    return handler


def raising(error: BaseException) -> Any:
    async def act(_: Delivery) -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PanicException("index out of bounds"), "PanicException: index out of bounds"),
        (GeneratorExit(), "RuntimeError: GeneratorExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (SystemExit(2), "SystemExit: 2"),
        (StopIteration(), "RuntimeError: coroutine raised StopIteration"),
        (StopAsyncIteration(), "StopAsyncIteration: "),
        (RecursionError("deep"), "RecursionError: deep"),
        (MemoryError(), "MemoryError: "),
        (Silent(), "Silent"),
        (
            BaseExceptionGroup("x", [PanicException(), SystemExit()]),
            "BaseExceptionGroup: x (2 sub-exceptions)",
        ),
        (BaseExceptionGroup("x", [asyncio.CancelledError()]), "BaseExceptionGroup: x (1 sub-exception)"),
    ],
)
def test_a_base_exception_is_a_failure_of_its_delivery_alone(error, reason):
    house = House(only_the_first(raising(error)), attempts_max=2)
    in_house(house, update(1), update(2), update(3, "chat:2"))
    assert dead(house) == [(1, 2, reason)]
    assert begins(house, 1) == [0, 2]
    assert (begins(house, 2), begins(house, 3)) == ([3], [0])


async def nothing(_: Delivery) -> Effects:
    return NOTHING


def cancel_itself(*, times: int = 1, swallow: bool, wait: bool) -> Any:
    async def act(_: Delivery) -> Effects:
        for _each in range(times):
            current().cancel()
        if wait:
            with contextlib.suppress(asyncio.CancelledError) if swallow else contextlib.nullcontext():
                await asyncio.sleep(1)
        return Effects(state=b"done")

    return act


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(("swallow", "wait"), [(True, True), (False, False)])
def test_a_handler_that_has_cancelled_its_own_task_and_goes_on_leaves_nothing_behind(times, swallow, wait):
    house = House(only_the_first(cancel_itself(times=times, swallow=swallow, wait=wait)), workers=1)
    in_house(house, update(1), update(2))
    assert dead(house) == []
    assert [len(begins(house, id_)) for id_ in (1, 2)] == [1, 1]
    assert house.store._data.states == {("chat:1", ""): b"done"}


def test_a_handler_that_cancels_its_own_task_fails():
    house = House(only_the_first(cancel_itself(swallow=False, wait=True)), workers=1, attempts_max=2)
    in_house(house, update(1), update(2))
    assert dead(house) == [(1, 2, "the handler raised CancelledError")]
    assert len(begins(house, 2)) == 1


@pytest.mark.parametrize("after_s", [0.0, 0.5, 5.0])
def test_a_cancellation_that_comes_after_its_handler_ends_no_worker(after_s):
    async def act(_: Delivery) -> Effects:
        asyncio.get_running_loop().call_later(after_s, current().cancel)
        return NOTHING

    house = House(only_the_first(act), workers=1)

    async def then() -> None:
        await asyncio.sleep(2)
        await append(house.store, [update(2)])
        await house.until_idle()

    in_house(house, update(1), then=then)
    assert (await_count(house, 2), dead(house)) == ((1 if after_s != 5.0 else 2), [])


def await_count(house: House, id_: int) -> int:
    return len(begins(house, id_))


class Slow(MemoryStore):
    """Takes its time for everything that settles a delivery."""

    async def commit(self, *args: Any, **kwargs: Any) -> Delivery | None:
        await asyncio.sleep(1)
        return await super().commit(*args, **kwargs)

    async def park(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(1)
        await super().park(*args, **kwargs)

    async def bury(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.sleep(1)
        await super().bury(*args, **kwargs)


@pytest.mark.parametrize("error", [None, Retry("x"), Park("x", delay_s=1), Reject("x")])
def test_a_cancellation_that_meets_the_settling_loses_no_outcome(error):
    seen: list[int] = []

    async def handler(_: House, delivery: Delivery) -> Effects:
        seen.append(delivery.envelope.id)
        if delivery.envelope.id == 1 and seen.count(1) == 1:
            asyncio.get_running_loop().call_later(0.5, current().cancel)
            if error:
                raise error
        return NOTHING

    house = House(handler, workers=1, store=Slow())
    in_house(house, update(1), update(2))
    numbers = run_virtual(house.store.stats()).inbox
    assert (numbers.committed, numbers.dead) == ((1, 1) if isinstance(error, Reject) else (2, 0))
    assert seen.count(1) == (2 if isinstance(error, Retry | Park) else 1)


def test_a_handler_that_is_no_coroutine_function_or_returns_one_fails():
    async def coroutine() -> None:
        raise AssertionError

    def plain(_: Delivery) -> Any:
        raise StopIteration

    for handler in (plain, lambda _: NOTHING, lambda _: None):
        house = House(None, attempts_max=1)  # type: ignore[arg-type] # replaced
        house.engine._handler = cast("Any", handler)
        in_house(house, update(1))
        assert [letter[0] for letter in dead(house)] == [1]

    async def returns(_: House, __: Delivery) -> Any:
        never_awaited = coroutine()
        never_awaited.close()
        return never_awaited

    house = House(returns, attempts_max=1)
    in_house(house, update(1))
    assert dead(house) == [(1, 1, "the handler returned coroutine, not Effects")]


def test_a_future_of_another_loop_fails_its_handler():
    other = asyncio.new_event_loop()

    async def act(_: Delivery) -> None:
        await other.create_future()

    house = House(only_the_first(act), attempts_max=1)
    in_house(house, update(1), update(2))
    other.close()
    ((id_, _, reason),) = dead(house)
    assert (id_, "different loop" in reason) == (1, True)


# -- the store ---------------------------------------------------------------------------------------------------------


class Odd(MemoryStore):
    """Raises `error` from methods, for the delivery with id 1, `times` times each."""

    def __init__(self, error: BaseException, *names: str, times: int = 10**9) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, self._odd(getattr(self, name), error, times))

    @staticmethod
    def _odd(method: Any, error: BaseException, times: int) -> Any:
        left = [times]

        async def act(*args: Any, **kwargs: Any) -> Any:
            is_first = not args or getattr(getattr(args[0], "envelope", None), "id", 1) == 1
            if is_first and left[0]:
                left[0] -= 1
                raise error
            return await method(*args, **kwargs)

        return act


@pytest.mark.parametrize("error", [ZeroDivisionError("odd"), PanicException("odd"), OverflowError("odd")])
def test_what_a_store_raises_for_one_commit_fails_that_delivery(error):
    async def handler(_: House, __: Delivery) -> None:
        await asyncio.sleep(1)

    house = House(handler, store=Odd(error, "commit"), attempts_max=2)
    in_house(house, update(1), update(2), update(3, "chat:2"), within_s=30.0)
    assert dead(house) == [(1, 2, f"not committed: {type(error).__name__}: odd")]
    assert [len(begins(house, id_)) for id_ in (1, 2, 3)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("method", "outcome"),
    [
        ("commit", None),
        ("park", Retry("x")),
        ("bury", Reject("x")),
        ("release", None),
        ("claim", None),
    ],
)
def test_an_odd_error_that_comes_once_changes_nothing(method, outcome):
    async def handler(house: House, delivery: Delivery) -> None:
        await asyncio.sleep(1)
        if outcome and len(begins(house, delivery.envelope.id)) == 1:
            raise outcome

    house = House(handler, store=Odd(ZeroDivisionError("odd"), method, times=1))
    with structlog.testing.capture_logs() as logs:
        in_house(house, update(1), update(2))
    stats = run_virtual(house.store.stats()).inbox
    assert stats.pending == 0
    assert len(begins(house, 1)) == (2 if isinstance(outcome, Retry) else 1)
    assert any("unexpected error" in entry["event"] for entry in logs) == (method != "release")


@pytest.mark.parametrize("outcome", [Retry("x"), Reject("x")])
def test_a_delivery_that_cannot_be_settled_is_tried_again_after_a_pause_and_never_in_a_hot_loop(outcome):
    async def handler(_: House, delivery: Delivery) -> None:
        if delivery.envelope.id == 1:
            raise outcome

    house = House(handler, store=Odd(ZeroDivisionError("odd"), "park", "bury", "commit", times=6))
    with structlog.testing.capture_logs() as logs:
        in_house(house, update(1), update(2), update(3, "chat:2"), then=lambda: asyncio.sleep(60))
    assert begins(house, 1)[:4] == [0, 5, 10, 15]
    assert (begins(house, 3), house.store._data.queues[update_queue()].lanes.leased) == ([0], 0)
    assert "a delivery could not be settled" in [entry["event"] for entry in logs]


def update_queue() -> Any:
    from engine import Queue

    return Queue.INBOX


def test_a_claim_that_always_raises_is_asked_again_and_again_and_ends_nothing():
    house = House(
        only_the_first(raising(ValueError())), store=Odd(ZeroDivisionError("odd"), "claim", times=40)
    )
    with structlog.testing.capture_logs() as logs:
        in_house(house, update(1), update(2))
    assert len(begins(house, 2)) == 1
    assert [entry["event"] for entry in logs].count("unexpected error of the store") == 40


def test_deadlines_are_watched_after_an_odd_error_too():
    async def stay(_: House, __: Delivery) -> None:
        await asyncio.sleep(1000)

    house = House(stay, attempts_max=1)
    cut_overdue = house.engine._keeper._cut_overdue
    failures = [ZeroDivisionError(), KeyError()]

    def odd(now: float) -> float:
        if failures:
            raise failures.pop()
        return cut_overdue(now)

    house.engine._keeper._cut_overdue = odd  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as logs:
        in_house(house, update(1))
    assert dead(house) == [(1, 1, "the handler ran longer than 60 s")]
    assert [entry["event"] for entry in logs].count("unexpected error at the watch over deadlines") == 2


@pytest.mark.parametrize("method", ["claim", "commit", "park"])
def test_a_store_in_doubt_ends_the_pool_with_its_reason(method):
    store = Odd(StoreError("the file was replaced"), method)
    house = House(only_the_first(nothing if method == "commit" else raising(ValueError())), store=store)

    async def for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        in_house(house, update(1), update(2, "chat:2"), then=for_ever)
    assert caught.group_contains(StoreError, match="the file was replaced")


def test_an_error_of_the_log_ends_nothing(monkeypatch):
    house = House(only_the_first(raising(ValueError("x"))), attempts_max=1)

    class Broken:
        def error(self, *_: Any, exc_info: object = None, **__: Any) -> None:
            if exc_info:
                raise UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates")

        def __getattr__(self, _: str) -> Any:
            return lambda *_, **__: None

    monkeypatch.setattr("engine.failures.log", Broken())
    in_house(house, update(1), update(2))
    assert [letter[0] for letter in dead(house)] == [1]


# -- shutdown ----------------------------------------------------------------------------------------------------------


def test_the_end_of_the_group_waits_for_no_handler_that_ignores_it_and_hands_its_delivery_back():
    async def stubborn(_: House, __: Delivery) -> None:
        while now() < 1000:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(100)

    house = House(stubborn, handler_timeout_s=5000)

    async def main() -> None:
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                house.engine.start(group)
                await append(house.store, [update(1)])
                await asyncio.sleep(1)
                raise ZeroDivisionError  # something else of the house dies
        assert now() < 3
        assert (await house.store.claim(update_queue())).attempt == 1

    run_virtual(main())


@pytest.mark.parametrize("error", [ValueError("cleanup"), PanicException("cleanup")])
def test_what_a_handler_raises_when_its_house_comes_down_is_no_failure(error):
    async def unclean(_: House, __: Delivery) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise error from None

    house = House(unclean, handler_timeout_s=5000, attempts_max=1)

    async def main() -> None:
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                house.engine.start(group)
                await append(house.store, [update(1)])
                await asyncio.sleep(1)
                raise ZeroDivisionError
        assert (await house.store.claim(update_queue())).attempt == 1

    run_virtual(main())
    assert dead(house) == []


def test_a_pool_that_was_cancelled_before_its_first_step_leaves_no_worker_behind():
    async def main() -> None:
        house = House(only_the_first(raising(ValueError())))
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                house.engine.start(group)
                raise ZeroDivisionError
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {current()}

    run_virtual(main())


def test_an_unavailable_store_at_the_end_of_the_pool_delays_no_stop():
    house = House(only_the_first(raising(ValueError())), store=Odd(StoreUnavailable("away"), "claim", "park"))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            house.engine.start(group)
            await asyncio.sleep(30)
            await house.engine.drain(now() + 5)
        assert now() < 37

    run_virtual(main())


# -- stalls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("idle_s", "first_s"), [(0, 0), (0, 1), (10, 0), (10, 1)])
def test_time_in_which_the_loop_was_blocked_counts_for_no_handler(idle_s, first_s):
    """Also if it is blocked by the first step of the first handler: the watch over deadlines was idle until then."""

    async def handler(house: House, delivery: Delivery) -> None:
        if first_s:
            await asyncio.sleep(first_s)
        if delivery.envelope.key == "blocks":
            asyncio.get_running_loop()._jumping.now += 100  # type: ignore[attr-defined] # as time.sleep(100)
        await asyncio.sleep(40)
        house.note("through", delivery)
        await asyncio.sleep(1000)

    async def updates() -> None:
        await asyncio.sleep(idle_s)
        await append(house.store, [update(1, "blocks"), update(2, "a"), update(3, "b")])
        await house.until_idle()

    house = House(handler, attempts_max=1, handler_timeout_s=60)
    in_house(house, then=updates)
    assert [what for _, what, _ in house.diary].count("through") == 3
    assert sorted(letter[2] for letter in dead(house)) == ["the handler ran longer than 60 s"] * 3
    assert 160 <= max(at for at, _, _ in house.diary) - idle_s + 60 <= 262


async def test_a_bot_without_running_handlers_is_not_woken_by_the_watch_over_deadlines():
    keeper = Keeper(MemoryStore(), handler_timeout_s=60)
    watch = asyncio.create_task(keeper.watch_deadlines())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.get_running_loop()._scheduled == []  # type: ignore[attr-defined]
    watch.cancel()


def test_after_a_stall_a_handler_that_began_later_has_the_usual_time():
    async def handler(house: House, delivery: Delivery) -> None:
        if delivery.envelope.key == "blocks":
            await asyncio.sleep(1)
            asyncio.get_running_loop()._jumping.now += 100  # type: ignore[attr-defined]
            await append(house.store, [update(2, "late")])
            return
        try:
            await asyncio.sleep(1000)
        finally:
            house.note("cut", delivery)

    house = House(handler, attempts_max=1, handler_timeout_s=60)
    in_house(house, update(1, "blocks"))
    assert [(what, id_) for at, what, id_ in house.diary if at == 161] == [("cut", 2)]
