"""`kill -9` between the sending of a named message and the commit that keeps its id: the edit reaches the right message.

The fake server executes each message and withholds the answer, for longer than the bot lives or until about the moment of
the kill. The next process sends the message again, and its edit must reach that copy, and no other.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from telegram.fake import FakeServer, Fault
from telegram.load.bot.service import Service
from telegram.load.checkers.checker import Verdict
from tests.torture.named_bot import EDITED, MENU
from tests.torture.report import Plan, Result, Tell

CHATS: Final = range(1001, 1006)
_PATIENCE_S: Final = 90.0
_LOOK_EVERY_S: Final = 0.01
_ANSWERS_AFTER_S: Final = (0.05, 3600.0)


def judge(shown: Sequence[str], number: int) -> list[str]:
    """Return what is wrong with the bot's messages of a chat, in the order of their ids, after the round `number`."""
    wrong = []
    for each in range(number + 1):
        copies = [text for text in shown if text.split()[1] == str(each)]
        if copies != [f"{MENU} {each}"] * (len(copies) - 1) + [f"{EDITED} {each}"]:
            wrong.append(f"round {each}: {copies}")
    return wrong


def _shown(fake: FakeServer, chat: int) -> list[str]:
    return [each["text"] for each in fake.world.messages(chat) if each["from"]["is_bot"]]


async def _until_sent(fake: FakeServer, number: int) -> None:
    """Wait until Telegram has executed the message of each chat."""
    async with asyncio.timeout(_PATIENCE_S):
        while not all(f"{MENU} {number}" in _shown(fake, chat) for chat in CHATS):
            await asyncio.sleep(_LOOK_EVERY_S)


async def _until_edited(fake: FakeServer, number: int) -> bool:
    give_up = time.monotonic() + _PATIENCE_S
    while not all(f"{EDITED} {number}" in _shown(fake, chat) for chat in CHATS):
        if time.monotonic() > give_up:
            return False
        await asyncio.sleep(_LOOK_EVERY_S)
    return True


async def run(plan: Plan, tell: Tell) -> Result:
    """Kill the bot `plan.rounds` times between the sending of a named message and its commit."""
    began = time.monotonic()
    rng = random.Random(plan.seed)
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        async with FakeServer(seed=plan.seed) as fake:
            bot = Service(Path(name), fake.url, fake.token, HANDLERS="tests.torture.named_bot:router")
            async with bot:
                await bot.start()
                for number in range(plan.rounds):
                    late_s = rng.choice(_ANSWERS_AFTER_S)
                    fault = fake.faults.add(Fault("slow", method="sendMessage", seconds=late_s))
                    for chat in CHATS:
                        fake.world.send_message(chat, chat, str(number))
                    await _until_sent(fake, number)
                    await asyncio.sleep(rng.uniform(0.0, 0.08))
                    await bot.kill()
                    fake.faults.remove(fault)
                    await bot.start()
                    if not await _until_edited(fake, number):
                        failures.append(f"round {number}: not all edits arrived")
                        break
                    tell(f"{number + 1} kills")
                ended = await bot.stop()
            if ended.code:
                failures.append(f"exit code {ended.code} at the stop")
            shown = {chat: _shown(fake, chat) for chat in CHATS}
    for chat, texts in shown.items():
        failures += [f"chat {chat}: {each}" for each in judge(texts, plan.rounds - 1)]
    sent = sum(map(len, shown.values()))
    texts_sent = plan.rounds * len(CHATS)
    facts = {"kills": plan.rounds, "named messages": texts_sent, "sent again after a kill": sent - texts_sent}
    verdict = Verdict(texts_sent, sent, sent - texts_sent, 0, ())
    return Result("named", verdict, time.monotonic() - began, facts, failures)
