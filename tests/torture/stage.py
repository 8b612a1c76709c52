"""The stage of a campaign: a fake Telegram, a bot, people who write to it, and a record of what is seen."""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from telegram.fake import Call, RemoteFake
from telegram.load.checker import Evidence, Interruption, Said, Seen, Verdict, check
from telegram.load.plan import BotPlan
from telegram.load.service import Service
from tests.torture.report import Plan, Tell

WORKERS: Final = 64
SENDERS: Final = 64  # telegram/bot.py
PATIENCE_S: Final = 90.0
"""Without any new reply for this long, what is missing counts as lost; the longest backoff is 30 s."""

_FIRST_CHAT: Final = 1001
_LOOK_EVERY_S: Final = 0.1
_TICK_S: Final = 0.1


class Stage:
    """Made by `open_stage`. What is said, seen and interrupted is kept here for the judge."""

    def __init__(self, fake: RemoteFake, bot: Service, plan: Plan, tell: Tell) -> None:
        self.fake = fake
        self.bot = bot
        self.rng = random.Random(plan.seed)
        self.chats = range(_FIRST_CHAT, _FIRST_CHAT + plan.chats)
        self.said: list[Said] = []
        self.calls: list[Call] = []
        self.interruptions: list[Interruption] = []
        self._answered: set[int] = set()
        self._saying = asyncio.Lock()  # `said` is in the order in which the server took it
        self._tell = tell

    async def say(self, count: int, chats: Iterable[int] = ()) -> list[Said]:
        """`count` texts are written, each in a random one of `chats` (default: all); return them."""
        among = list(chats) or self.chats
        async with self._saying:
            start = len(self.said)
            lines = [(chat, f"text {start + n}") for n, chat in enumerate(self.rng.choices(among, k=count))]
            ids = await self.fake.say((chat, chat, text) for chat, text in lines)
            said = [Said(chat, id_, text) for (chat, text), id_ in zip(lines, ids, strict=True)]
            self.said += said
        return said

    async def say_evenly(self, count: int, over_s: float) -> None:
        """`count` texts are written, spread over a time."""
        ticks = max(1, round(over_s / _TICK_S))
        for n in range(ticks):
            await self.say(count * (n + 1) // ticks - count * n // ticks)
            await asyncio.sleep(over_s / ticks)

    @asynccontextmanager
    async def trickle(self, per_s: float) -> AsyncIterator[None]:
        """Somebody writes all the time, about `per_s` texts a second."""
        enough = asyncio.Event()

        async def write() -> None:
            while not enough.is_set():
                await self.say(max(1, round(per_s * _TICK_S)))
                await asyncio.sleep(_TICK_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            try:
                yield
            finally:
                enough.set()  # not cancelled: what the server has taken must be known here

    async def look(self) -> None:
        """Take notice of the calls that were made since the last look."""
        for call in await self.fake.calls(len(self.calls)):
            self.calls.append(call)
            if _is_reply(call):
                self._answered.add(Evidence.parse(call.text).update_id)
        self._tell(f"{len(self.said)} said, {len(self._answered)} answered")

    async def all_answered(self, said: Iterable[Said] | None = None) -> bool:
        """Wait until all that was said up to now is answered; False if nothing came for PATIENCE_S."""
        waiting = {line.update_id for line in (self.said if said is None else said)}
        give_up = time.monotonic() + PATIENCE_S
        while True:
            before = len(self._answered)
            await self.look()
            waiting -= self._answered
            if not waiting:
                return True
            if len(self._answered) > before:
                give_up = time.monotonic() + PATIENCE_S
            elif time.monotonic() > give_up:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)

    def seen(self) -> list[Seen]:
        """The replies that were executed, in order."""
        return [
            Seen(call.chat_id or 0, Evidence.parse(call.text), call.at, call.status == 200)
            for call in self.calls
            if _is_reply(call)
        ]

    def judge(self) -> Verdict:
        """What the checker says."""
        return check(self.said, self.seen(), self.interruptions)


def _is_reply(call: Call) -> bool:
    return call.delivered and call.method == "sendMessage"


@asynccontextmanager
async def open_stage(
    plan: Plan, tell: Tell, bot_plan: BotPlan | None = None, **settings: str
) -> AsyncIterator[Stage]:
    """Set everything up, with the bot not yet started; afterwards no process is left."""
    with tempfile.TemporaryDirectory(prefix="chatlane-") as folder:
        async with await RemoteFake.spawn(history=0, seed=plan.seed) as fake:
            given = {"WORKERS": str(WORKERS), **settings}
            async with Service(Path(folder), fake.url, fake.token, bot_plan, **given) as bot:
                yield Stage(fake, bot, plan, tell)
