"""The sandbox's chats survive a restart of the bot, with its store; after a kill, too."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from engine.stores import open_store
from telegram.client import TgClient
from telegram.dialogue import MessageContext, Router, TimerContext, command, text
from telegram.fake import FakeServer
from telegram.sandbox.lanes import LaneBoard
from telegram.sandbox.samples import contents
from telegram.sandbox.saved_chats import SavedChats
from telegram.sandbox.server import Sandbox
from telegram.service.bot import Bot, BotConfig
from tests.kit.bounds import WITHIN_S

ADA, GROUP = 1001, -1_001_000_000_001


def survey() -> Router:
    router = Router()

    @router.message(command("name"))
    async def asks(ctx: MessageContext) -> None:
        ctx.data["asked"] = True
        ctx.reply("Your name?")
        ctx.set_timer("name", after=3600)

    @router.timer("name")
    async def late(ctx: TimerContext) -> None:
        ctx.reply("Too late.")

    @router.message(text)
    async def answers(ctx: MessageContext) -> None:
        ctx.reply("Hello!" if ctx.data.pop("asked", False) else "Who asked?")

    return router


@pytest.fixture(params=["memory:", "sqlite:"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    url = "memory:" if request.param == "memory:" else f"sqlite:{tmp_path / 'bot.db'}"
    return url, tmp_path / "bot.db-chats"


@asynccontextmanager
async def sandbox(url: str, chats_file: Path, store: Any = None):
    async with FakeServer(strict=True) as fake, TgClient(fake.token, base_url=fake.url) as client:
        opened = store or await open_store(url, str(client.bot_id), wall=fake.clock)
        lanes = LaneBoard(fake, opened)
        bot = Bot(client, opened, survey(), BotConfig(messages_per_s=0), observe=lanes.observe)
        async with Sandbox(fake, bot, opened, lanes, port=0, answer_after_s=0, chats_file=chats_file):
            await bot.start()
            try:
                yield fake, opened
            finally:
                await bot.stop()
                if url != "memory:":
                    await opened.close()


def texts(fake: FakeServer, chat_id: int) -> list[str]:
    return [message["text"] for message in fake.world.messages(chat_id)]


async def test_a_flow_goes_on_after_a_restart(place):
    url, chats_file = place
    async with sandbox(url, chats_file) as (fake, store):
        fake.world.send_message(ADA, ADA, "/name")
        await fake.wait_for_calls(1, "sendMessage")
    store = store if url == "memory:" else None
    async with sandbox(url, chats_file, store) as (fake, _):
        assert texts(fake, ADA) == ["/name", "Your name?"]
        assert [person["first_name"] for person in fake.world.users()] == ["Ada", "Grace", "Linus"]
        fake.world.send_message(ADA, ADA, "Ada")
        await fake.wait_for_calls(1, "sendMessage")
        assert texts(fake, ADA) == ["/name", "Your name?", "Ada", "Hello!"]
        assert len({message["message_id"] for message in fake.world.messages(ADA)}) == 4


async def test_the_hours_that_passed_have_passed(tmp_path):
    url, chats_file = f"sqlite:{tmp_path / 'bot.db'}", tmp_path / "chats"
    async with sandbox(url, chats_file) as (fake, _):
        fake.clock.advance(10 * 3600)
        fake.world.send_message(ADA, ADA, "/name")
        await fake.wait_for_calls(1, "sendMessage")
    async with sandbox(url, chats_file) as (fake, store):
        assert fake.clock.ahead_s == 36_000
        fake.clock.advance(3600)
        store.clock_moved()
        await fake.wait_for_calls(1, "sendMessage")
        assert texts(fake, ADA)[-1] == "Too late."


async def save(fake: FakeServer, path: Path) -> None:
    """Save the chats as a killed process leaves them: without the final save."""
    saved_chats = SavedChats(fake, path)
    running = asyncio.create_task(saved_chats.run())
    saved_chats.changed()
    async with asyncio.timeout(WITHIN_S):
        while not path.exists():
            await asyncio.sleep(0.01)
    content = path.read_bytes()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    path.write_bytes(content)


async def test_after_a_kill_no_id_is_given_twice(tmp_path):
    path = tmp_path / "chats"
    fake = FakeServer(seed=1)
    fake.world.add_group("Us", [fake.world.add_user("Ada")["id"]])
    fake.world.send_message(ADA, ADA, "written")
    await save(fake, path)
    lost_update = fake.world.send_message(ADA, ADA, "handled, and not written")
    lost = fake.world.messages(ADA)[-1]["message_id"]
    again = FakeServer(seed=2)
    assert SavedChats(again, path).read()
    assert again.world.send_message(ADA, ADA, "new") > lost_update
    assert again.world.messages(ADA)[-1]["message_id"] > lost
    (waiting, new) = (json.loads(raw)["message"]["text"] for raw in again.queue.read(0, 100))
    assert (waiting, new) == ("written", "new")
    assert again.world.add_user("Cleo")["id"] == 1002
    assert again.world.add_group("Them", [])["id"] == GROUP - 1


async def test_everything_that_people_see_is_kept(tmp_path):
    path = tmp_path / "chats"
    fake = FakeServer(seed=1)
    world = fake.world
    world.add_group("Us", [world.add_user("Ada")["id"]])
    for content in contents(world, ADA, "album", "Look"):
        world.send_message(ADA, ADA, "", **content)
    world.promote(GROUP, by=ADA)
    world.react(ADA, ADA, 1, "👍")
    world.block(ADA)
    world.keyboards[GROUP] = {"keyboard": [[{"text": "Tea"}]]}
    world.commands["default", ""] = [{"command": "tea", "description": "Tea"}]
    markup = {"inline_keyboard": [[{"text": "More", "callback_data": "more"}]]}
    result = {"type": "article", "id": "1", "title": "T", "reply_markup": markup}
    world.choose_in(GROUP, ADA, {**result, "input_message_content": {"message_text": "Tea"}})
    world.push("callback_query", {"id": "77", "from": {"id": ADA}, "data": "x"})
    await save(fake, path)
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    again = FakeServer(seed=2)
    assert SavedChats(again, path).read()
    assert again.world.messages(ADA) == world.messages(ADA)
    assert again.world.messages(GROUP) == world.messages(GROUP)
    assert again.world.chats() == world.chats()
    assert again.world.is_administrator(GROUP)
    assert again.world.is_blocked(ADA)
    for name in ("reactions", "keyboards", "commands", "inline", "inline_places"):
        assert getattr(again.world, name) == getattr(world, name), name
    assert again.world.take_query("callback_query", "77") is not None
    for message in world.messages(ADA):
        file = world.files.find(message["photo"][0]["file_id"])
        assert again.world.files.find(file.file_id) == file
        assert again.world.files.download(file.path) == world.files.download(file.path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 1}',
        b'{"version": 2}',
        b"\xff",
        b'{"version": 1, "clean": 1, "chats": 3}',
    ],
)
async def test_a_damaged_file_is_one_warning_and_a_new_start(tmp_path, content):
    path = tmp_path / "chats"
    path.write_bytes(content)
    fake = FakeServer(seed=1)
    with structlog.testing.capture_logs() as logs:
        assert not SavedChats(fake, path).read()
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert fake.world.chats() == []


async def test_what_is_damaged_at_its_end_is_not_taken_over_in_part(tmp_path):
    path = tmp_path / "chats"
    fake = FakeServer(seed=1)
    fake.world.add_user("Ada")
    await save(fake, path)
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "queue": {"next_id": "x", "pending": []}}))
    again = FakeServer(seed=2)
    assert not SavedChats(again, path).read()
    assert again.world.users() == again.world.chats() == []


async def test_a_file_that_cannot_be_written_is_one_warning(tmp_path):
    path = tmp_path / "missing" / "chats"
    saved_chats = SavedChats(FakeServer(seed=1), path)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(saved_chats.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [entry["event"] for entry in logs] == ["cannot save the sandbox's chats"]
    assert not path.exists()
