"""Error hooks of handlers that overrun their time limit: the error is a TimeoutError, whatever the handler makes of its end.

Where a time limit only cancels, no error handler sees it: "except Exception" does not catch a CancelledError
(ray-project/ray#29079), and one that comes as a TimeoutError from elsewhere ends the whole bot (apify/crawlee-python#1602).
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import Park, Reject, Retry
from telegram.dialogue import (
    HANDLED,
    ChatContext,
    Handled,
    MessageContext,
    Router,
    command,
    given,
    text,
)
from telegram.dialogue.routes.hooks import HOOK_TIMEOUT_S
from telegram.testing import Conversations
from tests.dialogue.routes.test_hooks import Broken, play
from tests.kit.rig import text as typed

LONG_S = 1_000.0


def overrunning(wait: Any = None, **options: Any) -> tuple[Router, list[int]]:
    router, ran = Router(**options), list[int]()

    @router.message(timeout_s=3)
    async def handler(ctx: MessageContext) -> None:
        ran.append(ctx.attempt)
        ctx.reply("not to be sent")
        ctx.data["failed"] = True
        await (asyncio.sleep(LONG_S) if wait is None else wait())

    return router, ran


async def swallow() -> None:
    try:
        await asyncio.sleep(LONG_S)
    except asyncio.CancelledError:
        await asyncio.sleep(1)


async def fail_instead() -> None:
    try:
        await asyncio.sleep(LONG_S)
    except asyncio.CancelledError:
        raise KeyError("clean-up") from None


async def swallow_again_and_again() -> None:
    for _ in range(3):
        await swallow()


async def in_a_group() -> None:
    async def fails() -> None:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            raise KeyError("clean-up")

    async with asyncio.TaskGroup() as group:
        group.create_task(fails())
        await asyncio.sleep(LONG_S)


async def with_a_limit_of_its_own() -> None:
    async with asyncio.timeout(LONG_S):
        await asyncio.sleep(LONG_S)


@pytest.mark.parametrize(
    "wait", [None, swallow, fail_instead, swallow_again_and_again, in_a_group, with_a_limit_of_its_own]
)
@pytest.mark.parametrize("types", [(TimeoutError,), (OSError,), ()])
def test_a_hook_handles_a_time_out(wait, types):
    router, ran = overrunning(wait)
    errors: list[str] = []

    @router.error(*types)
    async def hook(ctx: ChatContext, error: Exception) -> Handled:
        errors.append(f"{type(error).__name__}: {error}")
        await asyncio.sleep(HOOK_TIMEOUT_S - 1)  # it has time of its own
        ctx.data["late"] = True
        ctx.reply("that took too long")
        return HANDLED

    sent, dead, data = play(router, typed("a"))
    assert (ran, errors) == ([1], ["TimeoutError: the handler ran longer than 3 s"])
    assert (sent, dead) == ([(7, "that took too long")], [])
    assert data == {"late": True}


def test_the_worker_is_as_good_as_new_after_it():
    router, ran = overrunning()
    texts: list[str] = []

    @router.error(TimeoutError)
    async def hook() -> Handled:
        return HANDLED

    quick = Router()

    @quick.message(command("quick"))
    async def handle(ctx: MessageContext) -> None:
        await asyncio.sleep(20)
        texts.append(ctx.text)

    both = Router()
    both.include(quick)
    both.include(router)
    play(both, typed("a"), typed("/quick"), typed("b"), typed("/quick"), workers=1)
    assert (ran, texts) == ([1, 1], ["/quick", "/quick"])


@pytest.mark.parametrize(
    ("outcome", "attempts", "texts"),
    [
        (None, [1, 2], ["reported"]),
        (Retry("later"), [1, 2], ["reported"]),
        (Reject("no"), [1], ["reported"]),
    ],
)
def test_a_hook_decides_about_a_time_out(outcome, attempts, texts):
    router, ran = overrunning(attempts=2)

    @router.error(TimeoutError)
    async def hook(ctx: ChatContext) -> None:
        ctx.reply("reported")
        if outcome is not None:
            raise outcome

    sent, dead, _ = play(router)
    assert ran == attempts
    assert [each for _, each in sent] == texts
    reason = "TimeoutError: the handler ran longer than 3 s" if outcome is None else outcome.reason
    assert [letter.reason for letter in dead] == [reason]


def test_a_parked_time_out_is_no_attempt():
    router, ran = overrunning(attempts=1)

    @router.error(TimeoutError)
    async def hook() -> Handled:
        if len(ran) < 3:
            raise Park("later", delay_s=1)
        return HANDLED

    _, dead, _ = play(router)
    assert (ran, dead) == ([1, 1, 1], [])


def test_a_time_out_that_is_not_worth_retrying():
    router, ran = overrunning(never_retry=(TimeoutError,))
    _, dead, _ = play(router)
    assert ran == [1]
    assert [letter.reason for letter in dead] == ["TimeoutError: the handler ran longer than 3 s"]


@pytest.mark.parametrize("wait", [None, swallow, fail_instead])
def test_without_a_hook_that_fits_a_time_out_is_as_before(wait):
    router, ran = overrunning(wait, attempts=2)

    @router.error(Broken)
    async def hook() -> Handled:
        return HANDLED

    _, dead, _ = play(router)
    assert ran == [1, 2]
    assert [letter.reason for letter in dead] == ["the handler ran longer than 3 s"]


async def fails() -> None:
    raise Broken


async def fails_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fails())
        await asyncio.sleep(LONG_S)


async def hangs() -> None:
    await asyncio.sleep(LONG_S)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (fails, "TimeoutError: the handler ran longer than 3 s"),
        (fails_in_a_group, "TimeoutError: the handler ran longer than 3 s"),
        (hangs, "TimeoutError: the handler ran longer than 3 s"),
        (swallow, "the handler ran longer than 18 s"),
        (swallow_again_and_again, "the handler ran longer than 18 s"),
    ],
)
def test_a_hook_that_fails_or_hangs_at_a_time_out(how, reason):
    router, ran = overrunning(attempts=1)

    @router.error(TimeoutError)
    async def hook(ctx: ChatContext) -> Handled:
        ctx.reply("not to be sent")
        for _ in range(3 if how is swallow else 1):
            await how()
        return HANDLED

    sent, dead, _ = play(router)
    assert ran == [1]
    assert [letter.reason for letter in dead] == [reason]
    assert "not to be sent" not in [each for _, each in sent]


def test_what_was_opened_for_the_handler_is_closed_before_the_hook():
    router = Router()
    steps: list[str] = []

    @router.provide
    async def session() -> AsyncIterator[str]:
        try:
            yield "session"
        finally:
            steps.append("closed")

    @router.message(timeout_s=3)
    async def handler(session: str = given) -> None:
        steps.append(session)
        await asyncio.sleep(LONG_S)

    @router.error(TimeoutError)
    async def hook() -> Handled:
        steps.append("hook")
        return HANDLED

    play(router)
    assert steps == ["session", "closed", "hook"]


def test_a_burst_that_overruns_is_split_before_its_hook_runs():
    router = Router()
    seen: list[str] = []

    @router.message(command("wait"))
    async def slow() -> None:
        await asyncio.sleep(5)

    @router.burst(text, timeout_s=3)
    async def handler(ctx: MessageContext, messages: list[Any]) -> None:
        if any(each.text == "bad" for each in messages):
            await asyncio.sleep(LONG_S)

    @router.error(TimeoutError)
    async def hook(ctx: ChatContext) -> Handled:
        seen.append(ctx.text)
        return HANDLED

    _, dead, _ = play(router, typed("/wait"), typed("a"), typed("bad"), typed("c"))
    assert (dead, seen) == ([], ["bad"])


def test_an_update_that_stops_a_handler_is_no_time_out():
    router = Router()
    asked: list[str] = []

    @router.message(command("work"), stop=command("cancel"), timeout_s=30)
    async def handler() -> None:
        await asyncio.sleep(LONG_S)

    @router.error()
    async def hook() -> Handled:
        asked.append("hook")
        return HANDLED

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/work", wait=False)
        bot.passes(seconds=5)
        alice.says("/cancel")
    assert asked == []


def test_the_kit_does_not_raise_a_time_out_that_a_hook_has_handled():
    router, _ = overrunning()

    @router.error(TimeoutError)
    async def hook(ctx: ChatContext) -> Handled:
        ctx.reply("too long")
        return HANDLED

    with capture_logs() as lines, Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("hello")
        assert alice.sees("too long")
    (line,) = [line for line in lines if line["event"] == "handler failed"]
    assert isinstance(line["exc_info"], TimeoutError)
