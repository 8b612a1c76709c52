"""The faults of a load test: their schedule, and how each is started and ended."""

import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from telegram.fake import Fault, RemoteFake
from telegram.load.bot.fleet import Fleet, Member
from telegram.load.checkers.checker import Interruption
from telegram.load.checkers.recording import FaultMark

_ROUNDS_MIN: Final = 2
_ROUND_S: Final = 60.0
_LULL: Final = 0.1  # share of the sending time without faults, at the start and at the end
_BETWEEN_S: Final = 0.5  # pause between two faults, in which the bot works
_LENGTH_MIN_S: Final = 0.5
_LENGTH_MAX_S: Final = 3.0  # less than IN_FLIGHT_MAX_S of telegram/load/checkers/checker.py

SERVER_FAULTS: Final[dict[str, Callable[[], Sequence[Fault]]]] = {
    "429": lambda: [Fault("status", code=429, retry_after=1, method="sendMessage", probability=0.5)],
    "5xx": lambda: [Fault("html", probability=0.2), Fault("status", code=500, probability=0.2)],
    "slow": lambda: [Fault("slow", seconds=0.5, probability=0.3)],
    "cut": lambda: [Fault(kind, probability=0.1) for kind in ("cut_before", "cut_after", "truncate")],
}
"""Faults of the server, for all methods; 429 for sendMessage only, since polls hardly ever get it."""

Sleep = Callable[[float], Awaitable[bool]]
"""Sleeps for a number of seconds; returns False if the test was ended early meanwhile."""


class Planned(NamedTuple):
    """A scheduled fault; `at_s`: seconds since the start of sending."""

    kind: str
    at_s: float
    length_s: float


def plan(kinds: Sequence[str], saying_s: float, rng: random.Random) -> list[Planned]:
    """Schedule each kind at least twice during the sending time, one fault at a time, in a random order."""
    rounds = max(_ROUNDS_MIN, round(saying_s / _ROUND_S))
    order = [kind for _ in range(rounds) for kind in rng.sample(kinds, len(kinds))]
    slot_s = saying_s * (1 - 2 * _LULL) / max(1, len(order))
    longest_s = min(_LENGTH_MAX_S, max(_LENGTH_MIN_S, slot_s * 0.6))
    return [
        Planned(
            kind,
            saying_s * _LULL + slot_s * (place + rng.uniform(0, 0.4)),
            rng.uniform(longest_s / 2, longest_s),
        )
        for place, kind in enumerate(order)
    ]


class FaultInjector:
    """Causes the faults. `killed` is called after a kill, `started` after the restart, `paused` with the lost seconds."""

    def __init__(
        self,
        fake: RemoteFake,
        bot: Fleet,
        sleep: Sleep,
        *,
        killed: Callable[[Member], None],
        started: Callable[[Member], None],
        paused: Callable[[float], None],
    ) -> None:
        self.began: list[tuple[str, float]] = []
        """Kind and monotonic time of each fault, the current one last."""

        self.marks: list[FaultMark] = []
        """The faults that have ended, in monotonic time."""

        self.interruptions: list[Interruption] = []
        self.kills = 0
        self.hits = 0
        """Number of requests that were hit by a fault of the server."""

        self._fake = fake
        self._bot = bot
        self._sleep = sleep
        self._killed = killed
        self._started = started
        self._paused = paused
        self._stopped_at = 0.0

    @property
    def now(self) -> str:
        """The kind of the current fault; "" for none."""
        return self.began[-1][0] if len(self.began) > len(self.marks) else ""

    async def run(self, planned: Sequence[Planned]) -> None:
        """Cause the faults as scheduled, until the test is ended. NotRunningError or TimeoutError if the bot has ended."""
        began = time.monotonic()
        for fault in planned:
            if not await self._sleep(max(_BETWEEN_S, began + fault.at_s - time.monotonic())):
                return
            self.began.append((fault.kind, time.monotonic()))
            match fault.kind:
                case "kill":
                    await self._kill()
                case "stop":
                    await self._stop(fault.length_s)
                case _:
                    await self._inject(SERVER_FAULTS[fault.kind](), fault.length_s)
            self.marks.append(FaultMark(*self.began[-1], time.monotonic()))

    async def _kill(self) -> None:
        began, at = time.monotonic(), time.time()
        if at - self._stopped_at < _LENGTH_MAX_S:
            at = self._stopped_at  # a call that was in flight then may still be
        victim = self._bot.victim()
        await victim.kill()
        self.kills += 1
        self._killed(victim)
        await victim.spawn()
        self._started(victim)
        await victim.working()
        self.interruptions.append(Interruption(at, time.time()))
        self._paused(time.monotonic() - began)

    async def _stop(self, length_s: float) -> None:
        began, self._stopped_at = time.monotonic(), time.time()
        victim = self._bot.victim()
        victim.send_signal(signal.SIGSTOP)
        try:
            await self._sleep(length_s)
        finally:
            victim.send_signal(signal.SIGCONT)
        self._paused(time.monotonic() - began)

    async def _inject(self, faults: Sequence[Fault], length_s: float) -> None:
        for fault in faults:
            await self._fake.add_fault(fault)
        await self._sleep(length_s)
        self.hits += sum(fault.hits for fault in await self._fake.faults())
        await self._fake.clear_faults()
