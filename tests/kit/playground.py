"""A whole bot around a sandbox, in this process: fake server, client, memory store, and a router that tries it all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from engine import Reject
from engine.store import FullStore
from engine.stores import open_store
from telegram.botapi.types import Contact, InlineQuery, Location, Message, MessageReactionUpdated, PhotoSize
from telegram.client import TgClient
from telegram.dialogue import (
    CallbackContext,
    ChatContext,
    Context,
    MessageContext,
    Router,
    TimerContext,
    command,
    contact,
    data,
    location,
    photo,
    text,
)
from telegram.fake import FakeServer
from telegram.sandbox.lanes import LaneBoard
from telegram.sandbox.server import Sandbox
from telegram.service.bot import Bot, BotConfig

# "Evil" passes the fake, which looks for a full stop in the host; the page has to stop it by itself.
KEYBOARD: Final[Any] = {
    "inline_keyboard": [
        [{"text": "Toast", "callback_data": "toast"}, {"text": "Alert", "callback_data": "alert"}],
        [{"text": "Edit", "callback_data": "edit"}, {"text": "Slow <b>", "callback_data": "slow"}],
        [{"text": "Site", "url": "https://example.org/"}, {"text": "Evil", "url": "javascript:alert(1.5)"}],
    ]
}
SHARE: Final[Any] = {
    "keyboard": [
        [{"text": "My number", "request_contact": True}],
        [{"text": "I am here", "request_location": True}, {"text": "Neither"}],
    ]
}
MENU: Final[Any] = {"keyboard": [[{"text": "Tea"}, {"text": "Coffee"}]], "one_time_keyboard": True}


@dataclass(frozen=True, slots=True)
class Playground:
    """The parts; `gate` lets the slow job go on."""

    fake: FakeServer
    bot: Bot
    store: FullStore
    lanes: LaneBoard
    sandbox: Sandbox
    gate: asyncio.Event


@asynccontextmanager
async def playground(*, port: int = 0, router: Router | None = None) -> AsyncIterator[Playground]:
    """Run it all; `port` is the page's, `router` the bot's, if it is not the one that tries everything."""
    gate = asyncio.Event()
    async with (
        FakeServer(seed=1, strict=True) as fake,
        TgClient(fake.token, base_url=fake.url, connections=8, wall=fake.clock) as client,
    ):
        store = await open_store("memory:", str(client.bot_id), wall=fake.clock)
        router = router or _router(gate)
        lanes = LaneBoard(fake, store)
        bot = Bot(client, store, router, BotConfig(messages_per_s=0), observe=lanes.observe)
        async with Sandbox(
            fake, bot, store, lanes, port=port, answer_after_s=0, commands=router.commands()
        ) as sandbox:
            await bot.start()
            try:
                yield Playground(fake, bot, store, lanes, sandbox, gate)
            finally:
                gate.set()
                await bot.stop()
                await store.close()


CALENDAR: Final[Any] = {
    "inline_keyboard": [
        [{"text": day, "callback_data": "toast"} for day in ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")],
        *(
            [{"text": str(day), "callback_data": "toast"} for day in range(first, first + 7)]
            for first in (1, 8, 15, 22)
        ),
        [{"text": "<", "callback_data": "toast"}, {"text": ">", "callback_data": "toast"}],
    ]
}


def _beside_text(router: Router) -> None:
    @router.message(command("calendar"))
    async def calendar(ctx: MessageContext) -> None:
        ctx.reply("Which day?", reply_markup=CALENDAR)

    @router.message(command("wrong"))
    async def wrong(ctx: MessageContext) -> None:
        button = {"text": "in red", "callback_data": "toast", "colour": "red"}
        ctx.call_newer(
            "sendMessage", chat_id=ctx.chat_id, text="Press it.", reply_markup={"inline_keyboard": [[button]]}
        )

    @router.message(command("tea"))
    async def tea(ctx: MessageContext) -> None:
        ctx.reply("In an hour.")
        ctx.set_timer("tea", after=3600)

    @router.timer("tea")
    async def ready(ctx: TimerContext) -> None:
        ctx.reply("Your tea is ready.")

    @router.album()
    async def album(ctx: MessageContext, parts: list[Message]) -> None:
        ctx.reply(f"An album of {len(parts)}.")

    @router.message(photo)
    async def picture(ctx: MessageContext, sizes: list[PhotoSize]) -> None:
        ctx.call("sendPhoto", chat_id=ctx.chat_id, photo=sizes[-1].file_id, caption="Nice!")

    @router.edited_message(text)
    async def edited(ctx: MessageContext) -> None:
        ctx.reply(f"You mean: {ctx.text}")

    @router.message_reaction()
    async def reaction(ctx: ChatContext[MessageReactionUpdated]) -> None:
        ctx.send(ctx.chat_id or 0, f"{len(ctx.event.new_reaction)} reactions")

    @router.inline_query()
    async def search(ctx: Context[InlineQuery]) -> None:
        found = ctx.event.query or "nothing"
        results = [
            {
                "type": "article",
                "id": str(number),
                "title": f"{found} {number}",
                "description": f"Result {number}",
                "input_message_content": {"message_text": f"I choose {found} {number}."},
                "reply_markup": {"inline_keyboard": [[{"text": "Vote", "callback_data": "vote"}]]},
            }
            for number in (1, 2)
        ]
        ctx.call("answerInlineQuery", inline_query_id=ctx.event.id, results=results)

    @router.callback_query(data("vote"))
    async def vote(ctx: CallbackContext) -> None:
        ctx.answer("Voted")
        ctx.edit("One vote.")


def _router(gate: asyncio.Event) -> Router:
    router = Router()

    @router.message(command("start"))
    async def start(ctx: MessageContext) -> None:
        ctx.reply("Press one.", reply_markup=KEYBOARD)

    @router.message(command("menu"))
    async def menu(ctx: MessageContext) -> None:
        ctx.reply("Tea or coffee?", reply_markup=MENU)

    @router.message(command("share"))
    async def share(ctx: MessageContext) -> None:
        ctx.reply("Who, and where?", reply_markup=SHARE)

    @router.message(contact)
    async def number(ctx: MessageContext, found: Contact) -> None:
        is_own = found.user_id == ctx.user_id
        ctx.reply(f"{found.first_name} {found.phone_number} {'own' if is_own else 'not own'}")

    @router.message(location)
    async def place(ctx: MessageContext, found: Location) -> None:
        ctx.reply(f"at {found.latitude:.0f}, {found.longitude:.0f}")

    @router.message(command("typing"))
    async def typing(ctx: MessageContext) -> None:
        ctx.call("sendChatAction", chat_id=ctx.chat_id, action="typing")

    @router.message(command("stream"))
    async def stream(ctx: MessageContext) -> None:
        async with ctx.stream() as out:
            out.write("It grows")
            await gate.wait()
            out.write(", and is sent.")

    @router.message(command("html"))
    async def html(ctx: MessageContext) -> None:
        ctx.reply("<b>bold</b> &lt;i&gt; <a href='https://example.org/x'>link</a>", parse_mode="HTML")

    @router.message(command("delete"))
    async def delete(ctx: MessageContext) -> None:
        ctx.call("deleteMessage", chat_id=ctx.chat_id, message_id=1)

    @router.message(command("bury"))
    async def bury(ctx: MessageContext) -> None:
        if not gate.is_set():
            raise Reject("<b>no</b> way")
        ctx.reply("dug out")

    _beside_text(router)

    @router.message(text)
    async def echo(ctx: MessageContext) -> None:
        ctx.reply(ctx.text)

    @router.callback_query(data("toast"))
    async def toast(ctx: CallbackContext) -> None:
        ctx.answer("a <i>toast</i>")

    @router.callback_query(data("alert"))
    async def alert(ctx: CallbackContext) -> None:
        ctx.answer("an <i>alert</i>", show_alert=True)

    @router.callback_query(data("edit"))
    async def edit(ctx: CallbackContext) -> None:
        ctx.data["edits"] = ctx.data.get("edits", 0) + 1
        ctx.edit(f"Edited {ctx.data['edits']}", reply_markup=KEYBOARD)
        ctx.answer()

    @router.callback_query(data("slow"))
    async def slow(ctx: CallbackContext) -> None:
        await gate.wait()
        ctx.answer()
        ctx.reply("The slow job is done.")

    return router
