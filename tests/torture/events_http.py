"""1,000 events over HTTP (POST /events/CHAT) while the bot is killed: each is handled once, in the order of its chat.

A sender for each chat posts the numbers in order, and repeats each until it is answered with 200, as a payment provider does;
every fifth is posted once more after that. The judge is that of the events campaign.
"""

import asyncio
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

import aiohttp

from telegram.fake import FakeServer
from telegram.load.bot.service import Service, held_port
from telegram.load.checkers.checker import Verdict
from tests.torture.events import Reply, judge, kill_often
from tests.torture.events_bot import AGAIN, CHATS, POSTS
from tests.torture.report import Plan, Result, Tell

TOKEN: Final = "made-up-token-of-the-campaign"
_PATIENCE_S: Final = 120.0
_PAUSE_S: Final = 0.08


class Senders:
    """Those who post; `answers` counts what they were answered, 0 for nothing."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self.answers: Counter[int] = Counter()
        self.stored = 0

    async def post_all(self) -> None:
        """Post the events of all chats."""
        async with asyncio.TaskGroup() as group:
            for place, chat in enumerate(CHATS):
                group.create_task(self._post_chat(chat, range(place, POSTS, len(CHATS))))

    async def _post_chat(self, chat: int, numbers: range) -> None:
        for number in numbers:
            for _ in range(2 if number % AGAIN == 0 else 1):
                while await self._post(chat, number) != 200:
                    await asyncio.sleep(_PAUSE_S)
            self.stored += 1
            await asyncio.sleep(_PAUSE_S)

    async def _post(self, chat: int, number: int) -> int:
        event = {"event": "numbered", "id": f"event-{number}", "payload": {"number": number}}
        try:
            async with self._http.post(f"{self._url}/events/{chat}", json=event) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError):
            status = 0
        self.answers[status] += 1
        return status


async def run(plan: Plan, tell: Tell) -> Result:
    """Kill the bot `plan.rounds` times while events are posted, then let it finish."""
    with held_port() as port:
        return await _run(plan, tell, port)


async def _run(plan: Plan, tell: Tell, port: int) -> Result:
    began = time.monotonic()
    rng = random.Random(plan.seed)
    replies: list[Reply] = []
    with tempfile.TemporaryDirectory() as folder:
        async with (
            FakeServer(seed=plan.seed) as fake,
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
        ):
            for chat in CHATS:
                fake.world.send_message(chat, chat, "hello")
            bot = Service(
                Path(folder),
                fake.url,
                fake.token,
                EVENTS_LISTEN=f"127.0.0.1:{port}",
                EVENTS_TOKEN=TOKEN,
                HANDLERS="tests.torture.events_http_bot:router",
            )
            async with bot, asyncio.TaskGroup() as group:
                senders = Senders(f"http://127.0.0.1:{port}", http)
                posting = group.create_task(senders.post_all())
                await kill_often(
                    bot, plan.rounds, rng, lambda n: tell(f"{n} kills, {senders.stored} of {POSTS} stored")
                )
                await bot.start()
                await posting
                give_up = time.monotonic() + _PATIENCE_S
                while len(set(replies)) < POSTS and time.monotonic() < give_up:
                    await asyncio.sleep(0.2)
                    sent = [call for call in fake.calls if call.method == "sendMessage"]
                    replies = [(int(call.params["chat_id"]), call.text) for call in sent]
                    tell(f"{len(set(replies))} of {POSTS} answered")
                ended = await bot.stop()
        failures, repeated = judge(replies)
        if ended.code:
            failures.append(f"exit code {ended.code} at the stop")
    verdict = Verdict(POSTS, len(replies), repeated, 0, ())
    answered = ", ".join(f"{n} x {status or 'none'}" for status, n in sorted(senders.answers.items()))
    facts = {"kills": plan.rounds, "events": POSTS, "answers": answered}
    return Result("events-http", verdict, time.monotonic() - began, facts, failures)
