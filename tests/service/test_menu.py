"""The menus of commands are set at the start, where they differ, and never hinder the bot."""

import asyncio

import pytest
import structlog

from telegram.botapi.errors import RetryAfter
from telegram.client import TgClient
from telegram.dialogue import MessageContext, Router, command
from telegram.dialogue.router.menus import menu_lists
from telegram.fake import FakeServer, Fault
from telegram.service.menu import publish
from tests.kit.virtual import run_virtual
from tests.service.test_bot import a_bot, fake  # noqa: F401 - a fixture

SETTING = {"setmycommands", "deletemycommands"}


def a_router(*, text: str = "Begin", **shown) -> Router:
    router = Router()

    @router.message(command("start", help=text, **shown))
    async def start(ctx: MessageContext) -> None:
        ctx.reply("hello")

    return router


async def published(fake: FakeServer, router: Router) -> list[str]:  # noqa: F811
    before = len(fake.calls)
    async with TgClient(fake.token, base_url=fake.url) as client:
        await publish(client, menu_lists(router))
    return [call.method.lower() for call in fake.calls[before:] if call.method.lower() in SETTING]


async def test_the_lists_are_set_once(fake):  # noqa: F811
    assert await published(fake, a_router()) == ["setmycommands"]
    assert fake.world.commands == {
        ('{"type":"default"}', ""): [{"command": "start", "description": "Begin"}],
    }
    assert await published(fake, a_router()) == []
    assert await published(fake, a_router(text="Anew")) == ["setmycommands"]


async def test_a_list_of_an_earlier_program_does_not_hide_the_new_one(fake):  # noqa: F811
    """A stale list of all_private_chats, of BotFather or an earlier version, hid the default one (six-ddc/ccbot#99)."""
    assert await published(fake, a_router(shown="private")) == ["setmycommands"]
    assert await published(fake, a_router()) == ["setmycommands", "deletemycommands"]
    assert list(fake.world.commands) == [('{"type":"default"}', "")]


async def test_a_bot_sets_them_when_it_works(fake):  # noqa: F811
    async with a_bot(fake, a_router()) as bot:
        await bot.start()
        await fake.wait_for_calls(1, method="setMyCommands")


async def test_a_bot_without_help_texts_leaves_the_menus_alone(fake):  # noqa: F811
    router = Router()

    @router.message(command("start"))
    async def start(ctx: MessageContext) -> None:
        ctx.reply("hello")

    async with a_bot(fake, router) as bot:
        await bot.start()
        fake.world.send_message(7, 7, "/start")
        await fake.wait_for_calls(1, method="sendMessage")
    assert not [call for call in fake.calls if "commands" in call.method.lower()]


@pytest.mark.parametrize("method", ["getMyCommands", "setMyCommands"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "code": 400, "description": "Bad Request: BOT_COMMAND_INVALID"},
        {"kind": "status", "code": 500},
        {"kind": "garbage"},
        {"kind": "cut_before"},
    ],
)
async def test_an_error_is_one_warning(fake, method, fault):  # noqa: F811
    fake.faults.add(Fault(method=method, **fault))
    with structlog.testing.capture_logs() as logs:
        await published(fake, a_router())
    (line,) = [each for each in logs if each["log_level"] in {"warning", "error"}]
    assert line["event"] == "the menu of commands could not be set" and line["log_level"] == "warning"
    assert fake.token not in str(logs)


async def test_a_hanging_call_delays_neither_the_start_nor_the_stop(fake):  # noqa: F811
    fake.faults.add(Fault("hang", method="getMyCommands"))
    async with a_bot(fake, a_router(), drain_timeout_s=100) as bot:
        await bot.start()
        await fake.wait_for_calls(1, method="getMyCommands")
        fake.world.send_message(7, 7, "/start")
        await fake.wait_for_calls(1, method="sendMessage")
        async with asyncio.timeout(25):  # the call takes 30 s
            await bot.stop()


class Limited:
    """A client whose first calls are answered with 429."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.methods: list[str] = []

    async def call(self, method: str, **params):
        self.methods.append(method)
        if len(self.methods) <= self.refusals:
            raise RetryAfter(method, 429, "Too Many Requests: retry after 30", {"retry_after": 30})
        return []


def test_flood_control_is_waited_for():
    async def go(refusals: int) -> tuple[list[str], float]:
        client = Limited(refusals)
        started = asyncio.get_running_loop().time()
        await publish(client, menu_lists(a_router()))  # type: ignore[arg-type]
        return client.methods, asyncio.get_running_loop().time() - started

    methods, took_s = run_virtual(go(2))
    assert methods[:4] == ["getMyCommands"] * 3 + ["setMyCommands"] and 60 <= took_s < 61
    methods, took_s = run_virtual(go(99))
    assert methods == ["getMyCommands"] * 3 and took_s < 61
