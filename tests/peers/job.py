"""The job: texts are written to a bot, and what it replies is measured."""

import asyncio
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from telegram.fake import RemoteFake
from telegram.load.checkers.checker import BotReply, SentText
from tests.peers.contenders import BotProcess, Contender
from tests.peers.figures import Disorder, Figures, Losses, Speed, disorder, losses, replies, speed

NO_WORK: Final = (0.0, 0.0)
SHORT_WORK: Final = (5.0, 20.0)
LONG_WORK: Final = (200.0, 800.0)
"""Between how many milliseconds a handler works."""

BURST: Final = 5
SIGNAL_AFTER: Final = 4  # when one in so many is answered
PATIENCE_S: Final = 3.0
"""A bot that works, and for this long answers nothing more, has lost the rest; a handler takes less than a second."""

_UP_WITHIN_S: Final = 45.0
_WARM_UP: Final = 300
_SPEED_FOR_S: Final = 4.0
_PART_WITHIN_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.1
_LOOK_CLOSELY_EVERY_S: Final = 0.01
_FIRST_CHAT: Final = 1001
_PROBE_CHAT: Final = 1000


class Size(NamedTuple):
    """How many updates each part of the job takes."""

    speed: int = 3000
    order: int = 300
    kill: int = 600
    sigterm: int = 30

    def times(self, scale: float) -> "Size":
        """So many times as many."""
        return Size(*(max(BURST, int(count * scale)) for count in self))


class Job:
    """A bot and its server; a probe finds out whether the bot works after a start, and does not count."""

    def __init__(self, fake: RemoteFake, bot: BotProcess, rng: random.Random) -> None:
        self._fake = fake
        self._bot = bot
        self._rng = rng
        self._ids: dict[str, int] = {}  # of all updates, by their texts
        self._answered_ids: set[int] = set()
        self._seen: list[BotReply] = []
        self._calls = 0

    async def start(self) -> None:
        """Start the bot, and return when it answers."""
        await self._bot.start()
        probe = await self._say([_PROBE_CHAT], NO_WORK)
        if await self._answered(probe, 1, within_s=_UP_WITHIN_S, patience_s=_UP_WITHIN_S) < 1:
            raise TimeoutError(f"no answer after a start; the bot's log ends:\n{self._bot.log_tail()}")

    async def at_full_speed(self, most: int) -> Speed:
        """`most` updates at once; fewer for a bot that, by its first _WARM_UP, takes longer than _SPEED_FOR_S for them."""
        first = await self._at_once(min(_WARM_UP, most))
        return await self._at_once(min(most, max(_WARM_UP, int(first.updates_per_s * _SPEED_FOR_S))))

    async def _at_once(self, count: int) -> Speed:
        began, cpu_began = time.time(), self._bot.cpu_s()
        sent = await self._say_in_bursts(count, NO_WORK)
        await self._answered(sent, count)
        return speed(sent, self._replies_to(sent), began, self._bot.cpu_s() - cpu_began)

    async def in_bursts(self, count: int) -> Disorder:
        """Handlers that take a moment, and nobody disturbs them."""
        sent = await self._say_in_bursts(count, SHORT_WORK)
        await self._answered(sent, count)
        return disorder(sent, self._replies_to(sent))

    async def with_signal(self, count: int, number: signal.Signals, work_ms: tuple[float, float]) -> Losses:
        """The signal comes in the middle of the work; then a supervisor starts the bot again."""
        sent = await self._say_in_bursts(count, work_ms)
        await self._answered(sent, count // SIGNAL_AFTER, look_every_s=_LOOK_CLOSELY_EVERY_S)
        stop_s = await self._bot.end(number)
        await self.start()
        await self._answered(sent, count)
        return losses(sent, self._replies_to(sent), stop_s)

    async def _say_in_bursts(self, count: int, work_ms: tuple[float, float]) -> list[SentText]:
        """`count` texts are written at once, BURST in each chat."""
        return await self._say([_FIRST_CHAT + n // BURST for n in range(count)], work_ms)

    async def _say(self, chats: list[int], work_ms: tuple[float, float]) -> list[SentText]:
        first = len(self._ids)
        lines = [(chat, f"{n} {self._rng.uniform(*work_ms):.1f}") for n, chat in enumerate(chats, first)]
        ids = await self._fake.send_messages((chat, chat, text) for chat, text in lines)
        sent = [SentText(chat, id_, text) for (chat, text), id_ in zip(lines, ids, strict=True)]
        self._ids.update((line.text, line.update_id) for line in sent)
        return sent

    async def _answered(
        self,
        sent: list[SentText],
        enough: int,
        *,
        within_s: float = _PART_WITHIN_S,
        patience_s: float = PATIENCE_S,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> int:
        """Return how many are answered, as soon as there are enough or nothing more is to come."""
        wanted = {line.update_id for line in sent}
        began = quiet_since = time.monotonic()
        done = 0
        while True:
            await self._look()
            now, before = time.monotonic(), done
            done = len(wanted & self._answered_ids)
            if done > before:
                quiet_since = now
            if done >= enough or now > min(began + within_s, quiet_since + patience_s):
                return done
            await asyncio.sleep(look_every_s)

    async def _look(self) -> None:
        calls = await self._fake.calls(self._calls)
        self._calls += len(calls)
        seen = replies(calls, self._ids)
        self._seen += seen
        self._answered_ids.update(reply.evidence.update_id for reply in seen)

    def _replies_to(self, sent: list[SentText]) -> list[BotReply]:
        wanted = {line.update_id for line in sent}
        return [reply for reply in self._seen if reply.evidence.update_id in wanted]


async def one_round(contender: Contender, size: Size) -> Figures:
    """The whole job, with a server and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="chatlane-peers-") as folder:
        async with (
            await RemoteFake.spawn(history=0, seed=1) as fake,
            BotProcess(contender, Path(folder), fake.url, fake.token) as bot,
        ):
            job = Job(fake, bot, random.Random(1))
            await job.start()
            return Figures(
                await job.at_full_speed(size.speed),
                await job.in_bursts(size.order),
                await job.with_signal(size.kill, signal.SIGKILL, SHORT_WORK),
                await job.with_signal(size.sigterm, signal.SIGTERM, LONG_WORK),
            )
