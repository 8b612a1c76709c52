"""Files that older code has written go on with today's: conversations, buttons, timers, what waited (tests/stores/older)."""

import asyncio
import gzip
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from engine.stores import open_store
from telegram.client import TgClient
from telegram.fake import FakeServer
from telegram.service.bot import Bot, BotConfig
from tests.kit.bounds import WITHIN_S
from tests.stores.older.bot import router

OLDER = Path(__file__).with_name("older")
UNPARKED = "UPDATE parked SET until = 0"
"""The hour that a parked update waits is over."""

LATER = "UPDATE timer SET at = 0; UPDATE parked SET until = 0"
SOON = f"UPDATE timer SET at = {time.time() + 7000}; UPDATE parked SET until = 0"


class Running:
    """Today's bot on an older file, and its fake Telegram."""

    def __init__(self, fake: FakeServer, store: Any) -> None:
        self.fake = fake
        self.store = store

    async def idle(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                await asyncio.sleep(0.01)
                # Looked at first: what is confirmed after it may be in the inbox after `stats`.
                if self.fake.queue.pending:
                    continue
                stats = await self.store.stats()
                if not (stats.inbox.pending or stats.outbox.pending):
                    return

    def texts(self, chat_id: int) -> list[str]:
        return [
            str(call.params["text"])
            for call in self.fake.calls
            if call.method == "sendMessage" and int(call.params["chat_id"]) == chat_id
        ]

    async def says(self, chat_id: int, user_id: int, words: str) -> None:
        self.fake.world.send_message(chat_id, user_id, words)
        await self.idle()

    async def presses(self, chat_id: int, user_id: int, data: str) -> None:
        """Press a button of a message that the older code has sent: its data carries no mark."""
        person = {"id": user_id, "is_bot": False, "first_name": f"User {user_id}"}
        kind = {"type": "private", "first_name": "x"} if chat_id > 0 else {"type": "supergroup", "title": "x"}
        shown = {
            "message_id": 2,
            "date": 1_790_000_000,
            "chat": {"id": chat_id, **kind},
            "text": "Which size?",
        }
        query = {"id": f"{chat_id}{user_id}{data}", "from": person, "chat_instance": "1", "data": data}
        self.fake.world.push("callback_query", {**query, "message": shown})
        await self.idle()


@asynccontextmanager
async def running(
    folder: Path, file: str, change: str, replay: tuple[int, ...] = ()
) -> AsyncIterator[Running]:
    path = folder / "bot.db"
    path.write_bytes(gzip.decompress((OLDER / file).read_bytes()))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(change)
    store = await open_store(f"sqlite:{path}", "1")
    try:
        for number in replay:
            assert await store.replay(number)
        async with FakeServer(seed=7) as fake, TgClient(fake.token, base_url=fake.url) as client:
            for chat_id, user_id in ((-200, 2), (-100, 3), *((number, number) for number in range(1, 10))):
                fake.world._get_or_add_chat(chat_id, user_id)
                fake.world._get_or_add_person(user_id)
            bot = Bot(client, store, router(is_open=True), BotConfig(drain_timeout_s=5, messages_per_s=0))
            await bot.start()
            found = Running(fake, store)
            try:
                await found.idle()
                yield found
                assert await store.dead_letters() == []
            finally:
                await bot.stop()
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("file", "change"), [(f"format{n}.db.gz", UNPARKED if n < 4 else SOON) for n in (1, 2, 3, 4)]
)
async def test_what_waited_is_handled_in_its_order_and_what_was_remembered_is_there(tmp_path, file, change):
    async with running(tmp_path, file, change, replay=(1,)) as bot:
        assert bot.texts(8) == ["no longer", "count 1", "count 2", "count 3"]
        assert bot.texts(7) == ["attempt 2", "count 1", "count 2", "count 3"]
        assert bot.texts(6) == ["good now"]
        assert {int(call.params["chat_id"]) for call in bot.fake.calls if call.method == "sendMessage"} == {
            6,
            7,
            8,
        }
        await bot.says(4, 4, "/count")
        assert bot.texts(4) == ["count 3"]


async def test_the_conversations_of_a_file_of_format_4_go_on_by_their_old_buttons(tmp_path):
    async with running(tmp_path, "format4.db.gz", SOON, replay=(1,)) as bot:
        await bot.presses(1, 1, "small")
        await bot.says(1, 1, "Ann")
        assert bot.texts(1) == ["For whom?", "pizza: small for Ann"]
        await bot.says(9, 9, "Zoe")
        assert bot.texts(9) == ["pizza: large for Zoe"]
        await bot.presses(-100, 3, "large")
        await bot.says(-100, 4, "all")  # the table is the group's
        assert bot.texts(-100) == ["For whom?", "table: large for all"]
        await bot.presses(2, 2, "small")
        await bot.says(-200, 2, "me")  # the account is the person's, in all chats
        assert (bot.texts(2), bot.texts(-200)) == (["For whom?"], ["account: small for me"])
        await bot.says(4, 4, "/count")
        await bot.says(5, 5, "/count")
        assert (bot.texts(4), bot.texts(5)) == (["count 3"], ["count 2"])
        answers = [call for call in bot.fake.calls if call.method == "answerCallbackQuery"]
        assert len(answers) == 3


async def test_the_timers_of_a_file_of_format_4_fire_each_once(tmp_path):
    async with running(tmp_path, "format4.db.gz", LATER, replay=(1,)) as bot:
        assert bot.texts(5) == ["tea 11"]
        late = {chat: bot.texts(chat) for chat in (1, 2, 9, -100)}
        assert late == {
            1: ["pizza: too late"], 2: ["account: too late"], 9: ["pizza: too late"], -100: ["table: too late"],
        }  # fmt: skip
        await bot.presses(1, 1, "small")  # it is over
        assert bot.texts(1) == ["pizza: too late"]
        await bot.says(1, 1, "/pizza")
        await bot.says(5, 5, "/count")
        assert (bot.texts(1)[1:], bot.texts(5)[1:]) == (["Which size?"], ["count 12"])
