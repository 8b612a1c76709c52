"""A bot is stopped in the middle of its work, or killed; its work goes to PostgreSQL and back, and it goes on each time."""

import asyncio
import re
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from engine.stores import open_store
from telegram.fake import FakeServer
from telegram.fake.server.faults import Fault
from telegram.load.bot.service import Service
from tests.stores.random_bot import everything

pytestmark = pytest.mark.processes


class Chats:
    """A bot's process, one after another, and what it says to its users."""

    def __init__(self, server: FakeServer, folder: Path, stack: AsyncExitStack, first: str) -> None:
        self.server = server
        self.folder = folder
        self.url = first
        self._stack = stack
        self.bot: Service

    async def start(self, handlers: str, **settings: str) -> None:
        self.bot = Service(
            self.folder,
            self.server.url,
            self.server.token,
            STORE_URL=self.url,
            HANDLERS=f"tests.stores.copied_bot:{handlers}",
            **settings,
        )
        await self._stack.enter_async_context(self.bot)
        await self.bot.start()

    async def copy(self, to: str) -> None:
        """Copy with the command, and start nowhere but there."""
        before = await everything(self.url, self.server.token.partition(":")[0])
        while True:
            done = await self.bot.command("copy", self.url, to)
            if "is in use by process" not in done.err:
                break  # the session of a killed process ends by itself
            await asyncio.sleep(0.2)
        assert (done.code, done.out.count("equal in both")) == (0, 1), done.err
        assert await everything(to, self.server.token.partition(":")[0]) == before
        refused = await self.bot.command()
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "was moved to" in refused.err
        assert "Traceback" not in refused.out
        self.url = to

    async def does(self, *command: str) -> None:
        done = await self.bot.command(*command)
        assert done.code == 0, (command, done.out, done.err)

    def texts(self, chat_id: int) -> list[str]:
        return [
            call.text
            for call in self.server.calls
            if call.method == "sendMessage" and call.delivered and call.chat_id == chat_id
        ]

    async def said(self, chat_id: int, *texts: str) -> None:
        """Wait until the bot has said this to a chat, all in all."""
        give_up = time.monotonic() + 60.0
        while self.texts(chat_id) != [*texts]:
            assert time.monotonic() < give_up, (self.texts(chat_id), texts)
            await asyncio.sleep(0.02)

    async def has_noted(self, pending: int, parked: int) -> None:
        """Wait until the bot has only so much to do, and so many chats wait.

        What was said is noted a little later, and said again if it is killed before; so is what has failed.
        """
        while True:
            done = await self.bot.command("stats")
            found = (re.findall(rf"{what} (\d+)", done.out) for what in ("pending", "parked"))
            if [sum(map(int, each)) for each in found] == [pending, parked]:
                return

    async def ends(self, how: signal.Signals) -> None:
        """Stop or kill it."""
        await (self.bot.stop(how) if how is signal.SIGTERM else self.bot.kill())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_bot_goes_on_after_each_copy(tmp_path: Path, database: Any, how: signal.Signals):
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FakeServer())
        pending, parked = 9, 2  # of the chats 7, 8 and 10; 7 and 10
        briefly = {"DRAIN_TIMEOUT_S": "2"}  # a handler hangs
        chats = Chats(server, tmp_path, stack, f"sqlite:{tmp_path / 'bot.db'}")
        world, number = server.world, server.token.partition(":")[0]
        await chats.start("closed", **briefly)
        world.send_message(1, 1, "/pizza")
        for text in ("/count", "/count"):
            world.send_message(4, 4, text)
        world.send_message(5, 5, "/remind")
        world.send_message(6, 6, "/bad")
        full = server.faults.add(
            Fault("status", code=429, retry_after=3600, method="sendMessage", chat_id=10)
        )
        for chat in (7, 8, 10):
            for text in ({7: "/later", 8: "/hang"}.get(chat, "/count"), "/count", "/count"):
                world.send_message(chat, chat, text)
        await chats.said(1, "Which size?")
        await chats.said(4, "count 1", "count 2")
        await chats.said(5, "later")
        while full.hits < 1 or len(chats.texts(6)) < 1 or server.queue.pending:
            await asyncio.sleep(0.02)
        await chats.has_noted(pending, parked)
        await chats.ends(how)
        store = await open_store(chats.url, number)
        stats = await store.stats()
        assert stats.inbox.pending + stats.outbox.pending == pending
        assert stats.inbox.parked
        assert stats.outbox.parked == await store.dead_count() == 1
        await store.close()

        await chats.copy(str(database.url(f"copied_{how.name}".lower())))
        await chats.start("closed", **briefly)
        world.send_message(4, 4, "/count")
        await chats.said(4, "count 1", "count 2", "count 3")
        question, _ = world.shown(1)
        assert question is not None
        button = question["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        world.press(1, 1, question["message_id"], button)
        await chats.said(1, "Which size?", "For whom?")
        await chats.does("audit")
        await chats.has_noted(pending, parked)
        await chats.ends(how)

        await chats.copy(f"sqlite:{tmp_path / 'back.db'}")
        server.faults.remove(full)
        await chats.start("opened")
        world.send_message(1, 1, "Ann")
        await chats.said(1, "Which size?", "For whom?", "pizza: small for Ann")
        await chats.does("replay", "1")
        await chats.said(6, chats.texts(6)[0], "good now")
        await chats.does("release", "chat:7")
        await chats.said(7, "attempt 2", "count 1", "count 2")
        await chats.said(8, "no longer", "count 1", "count 2")
        await chats.does("release", "chat:10", "--queue=outbox")
        await chats.said(10, "count 1", "count 2", "count 3")
        await chats.does("audit")
        assert (await chats.bot.stop()).code == 0
        assert [row[3] for row in (await everything(chats.url, number))["timer"]] == ["tea"]
