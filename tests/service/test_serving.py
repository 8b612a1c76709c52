"""The first signal drains the bot, a second one ends it at once, and one before the start ends the start."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from telegram.service.serving import run_until_signal, unless_signalled
from tests.kit.virtual import run_virtual

STOP_S = 20.0


class Signals:
    """Stands for the watchdog: signals come when the test says so."""

    def __init__(self) -> None:
        self.notify: Callable[[signal.Signals], object]
        self.is_serving = False

    def watch(self, notify: Callable[[signal.Signals], object]) -> None:
        self.notify = notify

    def serve(self) -> None:
        self.is_serving = True


class SlowBot:
    """Starts within `start_s` seconds and stops within STOP_S; notes what happened to it."""

    def __init__(self, start_s: float) -> None:
        self.me: object | None = None
        self.events: list[str] = []
        self._start_s = start_s
        self._ended = asyncio.Event()

    async def start(self) -> None:
        await asyncio.sleep(self._start_s)
        self.me = object()

    async def wait(self) -> None:
        await self._ended.wait()

    async def stop(self) -> None:
        self.events.append("stop")
        try:
            await asyncio.sleep(STOP_S)
        except asyncio.CancelledError:
            self.events.append("cut off")
            raise
        self.events.append("stopped")
        self._ended.set()


@pytest.mark.parametrize(
    ("start_s", "signals_s", "code", "events", "took_s"),
    [
        (1.0, [5.0], 0, ["stop", "stopped"], 5.0 + STOP_S),
        (1.0, [5.0, 8.0], 128 + signal.SIGTERM, ["stop", "cut off"], 8.0),
        (9.0, [5.0], 0, [], 5.0),
    ],
    ids=["one", "two", "before the start"],
)
def test_signals(start_s: float, signals_s: list[float], code: int, events: list[str], took_s: float) -> None:
    async def main() -> tuple[int, list[str], float]:
        loop = asyncio.get_running_loop()
        bot: Any = SlowBot(start_s)
        watchdog: Any = Signals()
        running = asyncio.create_task(run_until_signal(bot, watchdog))
        for at in signals_s:
            loop.call_at(at, lambda: watchdog.notify(signal.SIGTERM))
        ended = await running
        assert watchdog.is_serving == (bot.me is not None)
        return ended, bot.events, loop.time()

    assert run_virtual(main()) == (code, events, took_s)


def test_what_comes_before_the_bot_is_cancelled_by_a_signal() -> None:
    ended: list[str] = []

    async def work(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        finally:
            ended.append(f"at {asyncio.get_running_loop().time()}")
        return "done"

    async def main() -> None:
        watchdog: Any = Signals()
        assert await unless_signalled(work(5.0), watchdog) == "done"
        working = asyncio.create_task(unless_signalled(work(60.0), watchdog))
        await asyncio.sleep(1.0)
        watchdog.notify(signal.SIGTERM)
        assert await working is None
        with pytest.raises(ZeroDivisionError):
            await unless_signalled(fail(), watchdog)

    async def fail() -> None:
        raise ZeroDivisionError

    run_virtual(main())
    assert ended == ["at 5.0", "at 6.0"]
