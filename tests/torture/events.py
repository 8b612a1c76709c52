"""1,000 events, posted by the bot's own process with repeated ids while it is killed: each is handled once, in order.

The bot (events_bot.py) posts an event, notes that the post has returned, and goes on; what a kill cuts off between the two
is posted again by the next process, with the same id, and so are the last five and every fifth. Each handling counts in its
chat's state, and the reply has the count and the number: the pairs tell a second handling from a second sending.
"""

import asyncio
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from telegram.fake import FakeServer
from telegram.load.bot.service import Service
from telegram.load.checkers.checker import Verdict
from tests.torture.events_bot import CHATS, POSTS
from tests.torture.report import Plan, Result, Tell

_PATIENCE_S: Final = 120.0
_RUNS_S: Final = (0.05, 0.7)
"""How long a bot runs after its start until it is killed; some are killed before that, in their start."""

Reply = tuple[int, str]
"""Chat and text."""


def judge(replies: Iterable[Reply], posts: int = POSTS) -> tuple[list[str], int]:
    """Return what is wrong with the replies, in the order of sending, and how many were sent again."""
    failures = []
    seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
    repeated = 0
    for chat, text in replies:
        count, number = map(int, text.split())
        if (count, number) in seen[chat]:
            repeated += 1
        else:
            seen[chat].append((count, number))
    for place, chat in enumerate(CHATS):
        wanted = [(n + 1, number) for n, number in enumerate(range(place, posts, len(CHATS)))]
        if seen[chat] != wanted:
            numbers = [number for _, number in seen[chat]]
            lost = sorted({number for _, number in wanted} - set(numbers))
            twice = sorted({number for number in numbers if numbers.count(number) > 1})
            failures.append(f"chat {chat}: lost {lost[:5]}, handled twice {twice[:5]}, or out of order")
    return failures, repeated


async def run(plan: Plan, tell: Tell) -> Result:
    """Kill the bot `plan.rounds` times while it posts, then let it finish."""
    began = time.monotonic()
    rng = random.Random(plan.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noted = folder / "posted"
        async with FakeServer(seed=plan.seed) as fake:
            for chat in CHATS:
                fake.world.send_message(chat, chat, "hello")
            bot = Service(
                folder,
                fake.url,
                fake.token,
                EVENTS_FILE=str(noted),
                HANDLERS="tests.torture.events_bot:router",
            )
            async with bot:
                await kill_often(
                    bot, plan.rounds, rng, lambda n: tell(f"{n} kills, {_posted(noted)} posts returned")
                )
                await bot.start()
                give_up = time.monotonic() + _PATIENCE_S
                replies: list[Reply] = []
                while len(set(replies)) < POSTS and time.monotonic() < give_up:
                    await asyncio.sleep(0.2)
                    sent = [call for call in fake.calls if call.method == "sendMessage"]
                    replies = [(int(call.params["chat_id"]), call.text or "") for call in sent]
                    tell(f"{_posted(noted)} posts returned, {len(set(replies))} of {POSTS} answered")
                ended = await bot.stop()
        failures, repeated = judge(replies)
        if ended.code:
            failures.append(f"exit code {ended.code} at the stop")
    verdict = Verdict(POSTS, len(replies), repeated, 0, ())
    return Result(
        "events", verdict, time.monotonic() - began, {"kills": plan.rounds, "posts": POSTS}, failures
    )


async def kill_often(bot: Service, times: int, rng: random.Random, tell: Callable[[int], object]) -> None:
    """Start and kill the bot so many times, now and then before it works; it does not run afterwards."""
    for count in range(1, times + 1):
        await bot.spawn()
        if rng.random() < 0.9:
            await bot.working()
        await asyncio.sleep(rng.uniform(*_RUNS_S))
        await bot.kill()
        tell(count)


def _posted(noted: Path) -> int:
    return len(noted.read_text().split()) if noted.exists() else 0
