"""Events over HTTP at several processes over one database: each takes them, whoever has the chat handles them, once."""

from contextlib import AsyncExitStack

import aiohttp
import pytest

from telegram.fake import FakeServer
from telegram.load.bot.service import Service, held_port

pytestmark = pytest.mark.processes
TOKEN = "made-up-token-of-a-test"
CHATS = range(1001, 1009)


async def test_each_process_takes_events_for_any_chat(tmp_path, database):
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeServer(seed=1))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})
        )
        url = database.url(f"events_{tmp_path.name}".lower().replace("-", "_")[:50])
        ports = []
        for chat in CHATS:
            fake.world.add_user("Ann", user_id=chat)
        for name in ("first", "second"):
            ports.append(stack.enter_context(held_port()))
            folder = tmp_path / name
            folder.mkdir()
            bot = Service(
                folder,
                fake.url,
                fake.token,
                STORE_URL=url,
                EVENTS_LISTEN=f"127.0.0.1:{ports[-1]}",
                EVENTS_TOKEN=TOKEN,
                HANDLERS="tests.torture.events_http_bot:router",
            )
            await stack.enter_async_context(bot)
            await bot.start()
        for number in range(3):
            for port in ports:  # the same id at both: once
                for chat in CHATS:
                    event = {"event": "numbered", "id": number, "payload": {"number": number}}
                    async with http.post(f"http://127.0.0.1:{port}/events/{chat}", json=event) as answer:
                        assert answer.status == 200, await answer.text()
            await fake.wait_for_calls((number + 1) * len(CHATS), "sendMessage", timeout_s=60)
        texts = {
            chat: list(dict.fromkeys(call.text for call in fake.calls if call.chat_id == chat))
            for chat in CHATS
        }
    assert texts == {chat: ["1 0", "2 1", "3 2"] for chat in CHATS}
