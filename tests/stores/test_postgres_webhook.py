"""Two processes of run.py with webhooks over one database, behind a proxy that asks the first upstream that listens, as nginx does."""

import asyncio
import signal
from contextlib import AsyncExitStack, suppress

import pytest

from telegram.fake import FakeServer
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import Service, held_port

pytestmark = pytest.mark.processes
CHATS = range(5, 13)


class Proxy:
    def __init__(self):
        self.upstreams = []
        self._tasks = set()

    async def serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        with suppress(OSError, asyncio.CancelledError):
            for port in self.upstreams:
                with suppress(ConnectionRefusedError):
                    there, here = await asyncio.open_connection("127.0.0.1", port)
                    await asyncio.gather(_copy(reader, here), _copy(there, writer))
                    break
        writer.close()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


class Play:
    def __init__(self, fake, proxy, first, second):
        self.fake = fake
        self.proxy = proxy
        self.first = first
        self.second = second
        self.said = dict.fromkeys(CHATS, 0)

    def say(self, count):
        for _ in range(count):
            for chat in CHATS:
                self.said[chat] += 1
                self.fake.world.send_message(chat, chat, str(self.said[chat]))

    def answered(self):
        replies = [
            (call.chat_id, Evidence.parse(call.text))
            for call in self.fake.calls
            if call.method == "sendMessage" and call.delivered
        ]
        return {
            chat: list(dict.fromkeys((each.text, each.counted) for of, each in replies if of == chat))
            for chat in CHATS
        }

    async def all_answered(self):
        """Each text was committed once and in order."""
        async with asyncio.timeout(90):
            while sum(map(len, self.answered().values())) < sum(self.said.values()):
                await asyncio.sleep(0.05)
        for chat, found in self.answered().items():
            assert found == [(str(n), n) for n in range(1, self.said[chat] + 1)]


@pytest.fixture
async def play(tmp_path, database):
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeServer(seed=1, local=True))
        proxy = await stack.enter_async_context(Proxy())
        url = database.url(f"webhook_{tmp_path.name}".lower().replace("-", "_")[:50])
        bots = []
        for name in ("first", "second"):
            port = stack.enter_context(held_port())
            proxy.upstreams.append(port)
            folder = tmp_path / name
            folder.mkdir()
            bot = Service(
                folder,
                fake.url,
                fake.token,
                BotPlan(handler_ms=5, journal=None),
                STORE_URL=url,
                WEBHOOK_URL=f"http://127.0.0.1:{proxy.port}/updates",
                WEBHOOK_LISTEN=f"127.0.0.1:{port}",
            )
            bots.append(await stack.enter_async_context(bot))
        made = Play(fake, proxy, *bots)
        await made.first.start()
        await made.second.spawn()
        await made.second.logged("another process takes updates in: this one handles its part")
        made.say(5)
        await made.all_answered()
        yield made


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_the_other_process_takes_the_webhook_over(play, how):
    play.say(20)  # what the first is in the middle of
    play.first.send_signal(how)
    await play.first.ended()
    play.say(5)
    await play.second.logged("webhook")
    play.say(5)
    await play.all_answered()
    assert not play.fake.polls
    assert (await play.second.stop()).code == 0


async def test_a_process_that_was_stopped_and_goes_on_after_a_takeover_closes_its_port(play):
    """The proxy asks it first: with an open port it would keep all updates from the process that may append."""
    play.first.send_signal(signal.SIGSTOP)
    await play.second.logged("webhook", timeout_s=60)
    play.say(5)
    play.first.send_signal(signal.SIGCONT)
    await play.first.logged("another process may append: this one does not listen until it may again")
    play.say(5)
    await play.all_answered()
    assert (await play.second.stop()).code == 0
    play.say(5)
    await play.all_answered()
    assert (await play.first.stop()).code == 0
