"""Three processes that share a bot over PostgreSQL: the commands and the page see all of them."""

import asyncio
import re
from contextlib import AsyncExitStack

import aiohttp
import pytest

from telegram.fake import FakeServer
from telegram.load.bot.service import Service
from telegram.operating.reaching import reached
from tests.operating.test_commands import BOT, out

pytestmark = pytest.mark.processes

SECRET = "a secret of some length"
CHATS = range(5, 17)


async def test_the_commands_and_the_page_see_all_of_them(tmp_path, database):
    url = database.url(f"three_{tmp_path.name}".lower().replace("-", "_")[:50])
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FakeServer())
        bots = []
        for name in ("one", "two", "three"):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "poisoned.py").write_text(BOT)
            settings = {"HANDLERS": "poisoned:router", "APOLOGY": "none", "STORE_URL": url}
            bots.append(
                await stack.enter_async_context(
                    Service(
                        folder,
                        server.url,
                        server.token,
                        **settings,
                        ADMIN_LISTEN="127.0.0.1:0",
                        ADMIN_TOKEN=SECRET,
                    )
                )
            )
            await bots[-1].start()
        commands = Service(tmp_path, server.url, server.token, STORE_URL=url)
        while len(re.findall(r"^process \d+ on ", await out(commands, "stats"), re.MULTILINE)) < 3:
            pass
        for chat in CHATS:
            server.world.send_message(chat, chat, "slow")
        while len(running := re.findall(r"running .*(chat:\d+) ", await out(commands, "stats"))) < len(CHATS):
            pass
        assert sorted(running) == sorted(f"chat:{chat}" for chat in CHATS)
        async with reached(url, server.token, None) as asked:  # at once, as `top`
            stats, found = await asyncio.gather(asked.ask("stats", {}), asked.ask("running", {}))
        assert (len(stats["processes"]), found["total"]) == (3, len(CHATS))
        lanes = await out(commands, "lanes")
        assert sorted(re.findall(r"chat:\d+", lanes)) == sorted(running)
        assert (
            await out(commands, "audit")
            == f"no problem in {len(CHATS)} lanes, {len(CHATS)} pending entries looked up\n"
        )

        assert await out(commands, "park", "chat:99") == "parked, until: run.py release\n"
        server.world.send_message(99, 99, "waits")
        while not re.search(r" 1 .*chat:99  parked \(parked by", await out(commands, "lanes")):
            pass

        headers = {"Authorization": f"Bearer {SECRET}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for bot in bots:  # each page shows all
                address = (await bot.logged("the operator's page is served"))["address"]
                async with session.get(f"http://{address}/api/live") as answer:
                    live = await answer.json()
                assert {process["pid"] for process in live["stats"]["processes"]} == {
                    each.pid for each in bots
                }
                assert live["running"]["total"] == len(CHATS)
                assert len(live["lanes"]["lanes"]) == len(CHATS) + 1
            lane = {"queue": "inbox", "key": "chat:99"}
            async with session.post(f"http://{address}/api/release", json=lane) as answer:
                assert (await answer.json())["result"] == "done"
        await server.wait_for_calls(1, "sendMessage", delivered=True)

        poisoned = range(30, 36)  # lanes of all processes
        for chat in poisoned:
            server.world.send_message(chat, chat, "poison")
        while (
            len(
                numbers := re.findall(
                    r"^ +(\d+)  inbox   chat:3\d ", await out(commands, "dead"), re.MULTILINE
                )
            )
            < 6
        ):
            pass
        while "dead letters 6 " not in await out(commands, "stats"):
            pass
        for bot in bots:
            (bot.folder / "mended").touch()
        shown = await out(commands, "dead", f"--show={numbers[0]}")
        (named,) = re.findall(rf"^({numbers[0]}:[0-9a-f]{{16}})  inbox", shown)
        assert await out(commands, "pause") == "paused, until: run.py resume\n"
        assert await out(commands, "discard", named) == "1 deleted\n"
        assert "dead letters 5 " in await out(commands, "stats")
        put_back = await out(commands, "replay", *numbers[1:])
        assert put_back == "5 put back; the bot handles them now\n"
        while not re.search(r"outbox  pending 5 ", stats := await out(commands, "stats")):
            pass
        assert "paused by command line" in stats
        assert len([call for call in server.calls if call.text]) == 1  # nothing was sent meanwhile
        assert await out(commands, "resume") == "it goes on\n"
        await server.wait_for_calls(6, "sendMessage", delivered=True)
        assert await out(commands, "dead") == "no dead letters\n"
        assert "dead letters 0 " in await out(commands, "stats")
        for bot in bots:
            await bot.kill()  # handlers that wait for an hour
