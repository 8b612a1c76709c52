"""Timers at a moment: `ctx.set_timer(name, at=datetime)`."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from telegram.dialogue import MessageContext, Router, TimerContext, text
from telegram.testing import Conversations

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_a_timer_comes_at_its_moment_in_any_time_zone():
    router = Router()
    seen: list[datetime] = []

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        ctx.set_timer("t", at=datetime(2026, 1, 5, 15, 30, tzinfo=timezone(timedelta(hours=3))))

    @router.timer("t")
    async def fired() -> None:
        seen.append(bot.now)

    with Conversations(router, start=NOON) as bot:
        bot.chat("Alice").says("x")
        bot.passes(minutes=29)
        assert seen == []
        bot.passes(minutes=1)
        assert seen == [NOON + timedelta(minutes=30)]


def test_a_moment_that_has_passed_is_now():
    router = Router()
    seen: list[str] = []

    @router.timer("t")
    async def fired(ctx: TimerContext) -> None:
        seen.append(ctx.timer)

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        ctx.set_timer("t", at=NOON - timedelta(days=1))

    with Conversations(router, start=NOON) as bot:
        bot.chat("Alice").says("x")
        assert seen == ["t"]


@pytest.mark.parametrize(
    ("after", "at", "error", "message"),
    [
        (None, None, ValueError, "timer 't': "),
        (5, NOON, TypeError, "timer 't': give the seconds, or at=, not both"),
        (None, datetime(2026, 1, 6, 12), ValueError, "timer 't': at= has no time zone"),  # noqa: DTZ001
        (None, "2026-01-06", TypeError, "timer 't': at= is a datetime, not '2026-01-06'"),
        (None, NOON + timedelta(days=400), ValueError, "timer 't': "),
    ],
)
def test_a_wrong_moment_is_one_line(after, at, error, message):
    router = Router()
    found: list[Exception] = []

    @router.timer("t")
    async def fired() -> None: ...

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        try:
            ctx.set_timer("t", after, at=at)
        except Exception as raised:  # noqa: BLE001 - looked at below
            found.append(raised)

    with Conversations(router, start=NOON) as bot:
        bot.chat("Alice").says("x")
    assert [type(each) for each in found] == [error]
    assert str(found[0]).startswith(message)
