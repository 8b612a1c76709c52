"""A whole bot in this process, against the fake server over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import structlog

from engine import Delivery, Envelope, Lease, Park, Queue, StoreUnavailable, Work
from engine.sharing import Alone
from engine.stores import open_store
from engine.stores.memory import MemoryStore
from telegram.botapi.calls import encode_call
from telegram.botapi.errors import Unauthorized
from telegram.botapi.intake import RawUpdate
from telegram.botapi.types import User
from telegram.client import TgClient
from telegram.dialogue import MessageContext, Router, command, text
from telegram.fake import FakeServer, Fault
from telegram.service.bot import Bot, BotConfig
from tests.kit.deliveries import message
from tests.kit.virtual import run_virtual


@asynccontextmanager
async def a_bot(fake: FakeServer, router: Router, store_url: str = "memory:", **config) -> AsyncIterator[Bot]:
    store = await open_store(store_url, "1")
    async with TgClient(fake.token, base_url=fake.url) as client:
        bot = Bot(client, store, router, BotConfig(**{"drain_timeout_s": 10, **config}))
        try:
            yield bot
        finally:
            await bot.stop()
            await store.close()


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with FakeServer(seed=1, strict=True) as server:
        yield server


class Gate:
    """A handler that says when it runs, and goes on when it may."""

    def __init__(self, replies: int = 1) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.router = Router()

        @self.router.message(text)
        async def handler(ctx: MessageContext) -> None:
            self.entered.set()
            await self.open.wait()
            for _ in range(replies):
                ctx.reply(ctx.text)


def echo_router() -> Router:
    gate = Gate()
    gate.open.set()
    return gate.router


async def test_a_process_with_a_part_of_the_chats_sends_at_that_part_of_the_rate(fake, monkeypatch):
    async with a_bot(fake, echo_router(), messages_per_s=30) as bot:
        monkeypatch.setattr(type(bot._store.sharing), "part_of_lanes", 0.5)
        assert bot._parts.tools.pace.per_s == 15


class StoodStill(Alone):
    """The sharing of a process that was stopped for long: others may have its lanes."""

    def is_in_time(self) -> bool:
        return False


async def test_a_process_that_stood_still_sends_none_of_its_calls(fake, monkeypatch):
    monkeypatch.setattr(MemoryStore, "sharing", StoodStill())
    call = Envelope(1, "chat:7", "", encode_call("sendMessage", {"chat_id": 7, "text": "hi"}))
    async with a_bot(fake, echo_router()) as bot:
        with pytest.raises(Park, match="other processes may have taken over"):
            await bot._parts.sending._handler(Work(Delivery(Lease(Queue.OUTBOX, call.key, 1), call, 1, None)))


async def test_texts_come_back_in_order_each_once(fake, tmp_path):
    async with a_bot(fake, echo_router(), f"sqlite:{tmp_path / 'bot.db'}") as bot:
        await bot.start()
        for number in range(30):
            fake.world.send_message(number % 3 + 1, number % 3 + 1, f"text {number}")
        calls = await fake.wait_for_calls(30, method="sendMessage")
    assert sorted(call.text for call in calls) == sorted(f"text {number}" for number in range(30))
    for chat in (1, 2, 3):
        numbers = [int(call.text.split()[1]) for call in calls if call.chat_id == chat]
        assert numbers == sorted(numbers)


async def test_it_has_its_own_user_after_the_start(fake):
    async with a_bot(fake, echo_router()) as bot:
        await bot.start()
        assert bot.me is not None
        assert bot.me.username == "chatlane_bot"


async def test_a_command_for_another_bot_is_not_ours(fake):
    router = Router()

    @router.message(command("start"))
    async def start(ctx: MessageContext) -> None:
        ctx.reply(ctx.text)

    async with a_bot(fake, router) as bot:
        await bot.start()
        for text_ in ("/start@other_bot", "/start@chatlane_bot"):
            fake.world.send_message(1, 1, text_)
        (call,) = await fake.wait_for_calls(1, method="sendMessage")
    assert call.text == "/start@chatlane_bot"


async def test_a_stop_lets_the_handler_finish_and_its_reply_go_out_and_starts_nothing_new(fake, tmp_path):
    gate = Gate()
    url = f"sqlite:{tmp_path / 'bot.db'}"
    async with a_bot(fake, gate.router, url, workers=1) as bot:
        await bot.start()
        fake.world.send_message(1, 1, "first")
        await gate.entered.wait()
        fake.world.send_message(1, 1, "second")
        await fake.wait_for_long_poll()
        stopping = asyncio.create_task(bot.stop())
        await asyncio.sleep(0)
        gate.open.set()
        await stopping
        assert [call.text for call in fake.calls if call.method == "sendMessage"] == ["first"]
    async with a_bot(fake, echo_router(), url) as bot:
        await bot.start()
        await fake.wait_for_calls(2, method="sendMessage")
    assert [call.text for call in fake.calls if call.method == "sendMessage"] == ["first", "second"]


@pytest.mark.parametrize("trouble", [None, StoreUnavailable("away")])
async def test_a_stop_lets_other_processes_have_idle_chats_while_its_handlers_finish(
    fake, monkeypatch, trouble
):
    gate = Gate()
    async with a_bot(fake, gate.router) as bot:
        left = asyncio.Event()

        async def leave() -> None:
            left.set()
            if trouble is not None:
                raise trouble

        monkeypatch.setattr(bot._store, "leave", leave)
        await bot.start()
        fake.world.send_message(1, 1, "first")
        await gate.entered.wait()
        stopping = asyncio.create_task(bot.stop())
        await left.wait()
        assert not stopping.done()
        gate.open.set()
        await stopping
        assert [call.text for call in fake.calls if call.method == "sendMessage"] == ["first"]


async def test_a_stop_sends_everything_that_the_last_handlers_replied(fake):
    gate = Gate(replies=20)
    async with a_bot(fake, gate.router, messages_per_s=0) as bot:
        await bot.start()
        fake.world.send_message(1, 1, "first")
        await gate.entered.wait()
        stopping = asyncio.create_task(bot.stop())
        await asyncio.sleep(0)
        gate.open.set()
        await stopping
        assert len([call for call in fake.calls if call.method == "sendMessage"]) == 20


class SlowClient:
    """As much of a TgClient as a bot needs, on virtual time: one update, and 3 s for each call."""

    def __init__(self) -> None:
        fields = {"update_id": 1, "message": message()}
        self._updates = [RawUpdate(1, json.dumps(fields).encode(), fields)]
        self.begun = self.ended = 0

    def time(self) -> float:
        return 0.0

    async def get_me(self) -> User:
        return User(id=1, is_bot=True, first_name="Bot")

    async def get_updates(self, *_, **__) -> list[RawUpdate]:
        updates, self._updates = self._updates, []
        if not updates:
            await asyncio.Event().wait()
        return updates

    async def post(self, *_) -> None:
        self.begun += 1
        await asyncio.sleep(3)
        self.ended += 1


@pytest.mark.parametrize(("finishes_after_s", "replies"), [(18, 1), (23, 0)])
def test_a_stop_leaves_time_for_the_replies_so_that_none_is_cut_in_the_middle(finishes_after_s, replies):
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        await asyncio.sleep(1 + finishes_after_s)
        ctx.reply("done")

    async def main() -> None:
        client = SlowClient()
        bot = Bot(cast("TgClient", client), MemoryStore(), router, BotConfig(drain_timeout_s=25))
        await bot.start()
        await asyncio.sleep(1)
        async with asyncio.timeout(60):
            await bot.stop()
        assert client.begun == client.ended == replies

    run_virtual(main())


async def test_what_does_not_finish_in_time_is_handed_back_and_comes_again(fake, tmp_path):
    gate = Gate()
    url = f"sqlite:{tmp_path / 'bot.db'}"
    async with a_bot(fake, gate.router, url, drain_timeout_s=2) as bot:
        await bot.start()
        fake.world.send_message(1, 1, "first")
        await gate.entered.wait()
    assert not [call for call in fake.calls if call.method == "sendMessage"]
    async with a_bot(fake, echo_router(), url) as bot:
        await bot.start()
        (call,) = await fake.wait_for_calls(1, method="sendMessage")
    assert call.text == "first"


async def test_a_token_that_is_refused_at_the_start_is_fatal(fake):
    store = await open_store("memory:", "1")
    async with TgClient("1:wrong", base_url=fake.url) as client:
        bot = Bot(client, store, echo_router())
        with pytest.raises(Unauthorized):
            await bot.start()
        await bot.stop()  # harmless


async def test_a_token_that_is_revoked_ends_the_bot_but_not_its_running_handlers(fake):
    gate = Gate()
    store = await open_store("memory:", "1")
    async with TgClient(fake.token, base_url=fake.url) as client:
        bot = Bot(client, store, gate.router)
        await bot.start()
        fake.world.send_message(1, 1, "first")
        await gate.entered.wait()
        revoked = fake.faults.add(Fault("status", code=401, description="Unauthorized", method="getUpdates"))
        fake.world.send_message(2, 2, "wakes the poll")
        while not revoked.hits:
            await asyncio.sleep(0.01)
        gate.open.set()
        with pytest.raises(Unauthorized):
            await bot.wait()
        assert "first" in [call.text for call in fake.calls if call.method == "sendMessage"]


async def test_a_server_that_is_away_at_the_start_is_waited_for(fake):
    await fake.down()
    async with a_bot(fake, echo_router()) as bot:
        with structlog.testing.capture_logs() as logs:
            starting = asyncio.create_task(bot.start())
            while not logs:
                assert not starting.done()
                await asyncio.sleep(0.01)
            await fake.up()
            await starting
        assert "cannot be reached" in logs[0]["event"]
        fake.world.send_message(1, 1, "hello")
        await fake.wait_for_calls(1, method="sendMessage")


async def test_running_returns_what_is_being_handled(fake):
    gate = Gate()
    async with a_bot(fake, gate.router) as bot:
        await bot.start()
        fake.world.send_message(5, 5, "first")
        await gate.entered.wait()
        (handling,), sending = bot.running()
        assert (handling.delivery.envelope.key, sending) == ("chat:5", [])
        gate.open.set()
        await fake.wait_for_calls(1, method="sendMessage")


# -- groups that become supergroups, people who block the bot -------------------------------------------------


class CountingGate(Gate):
    """Counts in the state of the conversation."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router()

        @self.router.message(text)
        async def count(ctx: MessageContext) -> None:
            self.entered.set()
            await self.open.wait()
            ctx.data["count"] = ctx.data.get("count", 0) + 1
            ctx.reply(f"{ctx.text}: {ctx.data['count']}")


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_group_that_becomes_a_supergroup_keeps_its_state_its_order_and_its_pending_work(
    fake, tmp_path, restarted
):
    url = f"sqlite:{tmp_path / 'bot.db'}"
    gate = CountingGate()
    old = fake.world.add_group("Group", [1, 2], kind="group")["id"]
    async with a_bot(fake, gate.router, url, drain_timeout_s=2) as bot:
        await bot.start()
        for name in "ab":
            fake.world.send_message(old, 1, name)
        new = fake.world.migrate(old)["id"]
        for name in "cd":
            fake.world.send_message(new, 1, name)
        await fake.wait_for_long_poll()
        await gate.entered.wait()
        (handling,) = bot.running()[0]  # one lane, so one handler
        assert handling.delivery.envelope.key == f"chat:{old}"
        if not restarted:
            gate.open.set()
            await fake.wait_for_calls(5, method="sendMessage")
    if restarted:
        gate.open.set()
        async with a_bot(fake, gate.router, url) as bot:
            await bot.start()
            fake.world.send_message(new, 1, "e")
            await fake.wait_for_calls(6, method="sendMessage")
    sent = [message["text"] for message in fake.world.messages(new) if message["from"]["is_bot"]]
    assert sent == ["a: 1", "b: 2", "c: 3", "d: 4", "e: 5"][: 5 if restarted else 4]
    calls = [call.chat_id for call in fake.calls if call.method == "sendMessage"]
    assert calls == [old] + [new] * len(sent)  # Telegram said once that the group has moved


async def test_calls_from_elsewhere_go_to_the_lane_that_the_group_kept(fake):
    router = Router()
    old = fake.world.add_group("Group", [1], kind="group")["id"]
    new = 0

    @router.message(text)
    async def tell(ctx: MessageContext) -> None:
        for chat_id in (old, new, old):
            ctx.call("sendMessage", chat_id=chat_id, text=ctx.text)

    store = await open_store("memory:", "1")
    async with TgClient(fake.token, base_url=fake.url) as client:
        bot = Bot(client, store, router, BotConfig(drain_timeout_s=10))
        await bot.start()
        new = fake.world.migrate(old)["id"]
        await fake.wait_for_long_poll()
        fake.world.send_message(1, 1, "first")
        await fake.wait_for_calls(4, method="sendMessage")
        await bot.stop()
    assert [call.chat_id for call in fake.calls if call.method == "sendMessage"] == [old, new, new, new]
    assert await store.dead_letters() == []
    numbers = (await store.stats()).outbox
    assert (numbers.committed, numbers.pending) == (3, 0)


async def test_who_blocks_the_bot_is_left_alone_until_they_are_back(fake):
    router = Router()

    @router.message(text)
    async def tell(ctx: MessageContext) -> None:
        ctx.call("sendMessage", chat_id=5, text=ctx.text)

    store = await open_store("memory:", "1")
    async with TgClient(fake.token, base_url=fake.url) as client:
        bot = Bot(client, store, router, BotConfig(drain_timeout_s=10))
        await bot.start()
        fake.world.send_message(5, 5, "a")
        await fake.wait_for_calls(1, method="sendMessage")
        fake.world.block(5)
        await fake.wait_for_long_poll()
        for number in range(4):
            fake.world.send_message(1, 1, f"{number}")
        while (await store.stats()).outbox.committed < 5:
            await asyncio.sleep(0.01)
        assert await store.dead_letters() == []
        assert (bot.peers.gone, bot.peers.dropped) == (1, 4)
        fake.world.unblock(5)
        await fake.wait_for_long_poll()
        fake.world.send_message(1, 1, "back")
        await fake.wait_for_calls(3, method="sendMessage")
        await bot.stop()
    assert [call.text for call in fake.calls if call.method == "sendMessage"] == ["a", "0", "back"]


@pytest.mark.parametrize(("policy", "sent"), [("repeat", 2), ("give-up", 1)])
async def test_a_call_whose_outcome_is_unknown(fake, policy, sent):
    fake.faults.add(Fault("status", code=502, description="Bad Gateway", method="sendMessage", times=1))
    store = await open_store("memory:", "1")
    async with TgClient(fake.token, base_url=fake.url) as client:
        bot = Bot(client, store, echo_router(), BotConfig(unknown_outcome=policy))
        await bot.start()
        fake.world.send_message(1, 1, "hello")
        await fake.wait_for_calls(sent, method="sendMessage")
        await bot.stop()
    letters = [letter.reason for letter in await store.dead_letters()]
    gone = "outcome unknown, not tried again: sendMessage: 502 Bad Gateway"
    assert letters == ([] if policy == "repeat" else [gone])
