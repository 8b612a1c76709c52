"""Typical mistakes in handlers, of which `mypy --strict` rejects each at the line with `# error` (test_handler_types.py)."""

HEAD = """
from telegram.botapi.files import InputFile
from telegram.botapi.types import InputMediaPhoto, InputPollOption, LinkPreviewOptions, MessageEntity, ReplyParameters
from collections.abc import AsyncIterator
from telegram.client import TgClient
from telegram.dialogue import ChatAction, DiceEmoji, ParseMode, Post, drop, inline, keyboard
from telegram.dialogue import HANDLED, EventContext, EveryContext, Handled, NamedMessage, RefusedContext, given, in_thread
"""


def _message(line: str, what: str = "text", kind: str = "MessageContext", args: str = "") -> str:
    return f"\n@router.message({what})\nasync def handler(ctx: {kind}{args}) -> None:\n    {line}  # error\n"


def _press(line: str) -> str:
    return (
        f"\n@router.callback_query()\nasync def handler(ctx: CallbackContext) -> None:\n    {line}  # error\n"
    )


MISTAKES = {
    "a misspelled parameter of reply": _message('ctx.reply("x", reply_markpu=inline([("a", "a")]))'),
    "a parameter of a former version": _message('ctx.reply("x", reply_to_message_id=5)'),
    "a parse mode that is a number": _message('ctx.reply("x", parse_mode=5)'),
    "a parse mode that Telegram does not know": _message('ctx.reply("x", parse_mode="htlm")'),
    "a fallback that does not exist": _message('ctx.reply("x", parse_mode="HTML", fallback="text")'),
    "a fallback of what has no text": _message('ctx.reply_dice(fallback="plain")'),
    "a reply without its text": _message("ctx.reply()"),
    "a number in the place of the text": _message("ctx.reply(5)"),
    "a dict in the place of the text": _message('ctx.reply({"text": "x"})'),
    "a user in the place of the text": _message("ctx.reply(ctx.user)"),
    "a text in the place of the markup": _message('ctx.reply("x", reply_markup="yes")'),
    "rows in the place of the markup": _message('ctx.reply("x", reply_markup=[["yes"]])'),
    "another chat in reply": _message('ctx.reply("x", chat_id=5)'),
    "reply is awaited": _message('await ctx.reply("x")'),
    "the result of a reply": _message('sent = ctx.reply("x")'),
    "an attribute of the result": _message('print(ctx.reply("x").message_id)'),
    "send without the chat": _message('ctx.send("x")'),
    "send to a chat that may be missing": _message('ctx.send(ctx.user_id, "x")'),
    "a method that the Bot API does not have": _message("ctx.calls.send_mesage(chat_id=1, text='x')"),
    "a call without a required parameter": _message("ctx.calls.ban_chat_member(chat_id=1)"),
    "a call with a text in the place of a number": _message("ctx.calls.ban_chat_member(chat_id=1, user_id='5')"),
    "a call's parameters without their names": _message("ctx.calls.ban_chat_member(1, 5)"),
    "the content of a file": _message('ctx.reply_photo(b"...")'),
    "a caption without its name": _message('ctx.reply_photo("file-id", "caption")'),
    "one file in the place of an album": _message('ctx.reply_media_group("file-id")'),
    "a location of texts": _message('ctx.reply_location("52.5", "13.4")'),
    "a poll of numbers": _message('ctx.reply_poll("How many?", [1, 2])'),
    "an emoji that is no dice": _message('ctx.reply_dice(emoji="🍕")'),
    "an action that Telegram does not have": _message("async with ctx.typing('writing'): pass"),
    "link previews as a bool": _message('ctx.reply("x", link_preview_options=False)'),
    "entities that are one entity": _message(
        'ctx.reply("x", entities=MessageEntity(type="bold", offset=0, length=1))'
    ),
    "a message's own shortcut with a misspelled parameter": _message(
        'ctx.message.reply("x", disable_notificaton=True)'
    ),
    "a message that is edited without a text": _message("ctx.message.edit_text(5)"),
    "an answer that is awaited": _press('await ctx.answer("x")'),
    "a misspelled parameter of an answer": _press('ctx.answer("x", show_alret=True)'),
    "an alert that is a text": _press('ctx.answer("x", show_alert="yes")'),
    "a misspelled parameter of an immediate answer": _press('await ctx.answer_now("x", show_alret=True)'),
    "an immediate answer that is not awaited": _press('ctx.answer_now("x")'),
    "a reply keyboard under an edited message": _press('ctx.edit("x", reply_markup=keyboard(["a"]))'),
    "a caption that is a number": _press("ctx.edit_caption(5)"),
    "media that is only a file": _press('ctx.edit_media("file-id")'),
    "the text of a message that may be inaccessible": _press("ctx.reply(ctx.message.text)"),
    "a policy that does not exist": _message("pass", 'text, on_new="cancel"').replace("  # error", "").replace('"cancel")', '"cancel")  # error'),
    "a policy's text without drop": _message("pass", 'text, on_new="One moment"').replace("  # error", "").replace('moment")', 'moment")  # error'),
    "a text of drop that is a number": _message("pass", "text, on_new=drop(5)").replace("  # error", "").replace("(5))", "(5))  # error"),
    "the texts in the place of one": _message("ctx.reply(ctx.texts)"),
    "a stream that is not entered": _message("ctx.stream().write(5)"),
    "a misspelled parameter of a stream": _message('ctx.stream(parse_mdoe="HTML")'),
    "a stream that is awaited": _message("await ctx.stream()"),
    "a button without data": _message('ctx.reply("x", reply_markup=inline(["a"]))'),
    "a client's call that is not awaited": _message("ctx.client.send_message(chat_id=1, text='x')"),
    "a client's call with a misspelled parse mode": _message(
        "await ctx.client.send_message(chat_id=1, text='x', parse_mode='HTLM')"
    ),
    # hooks
    "an error hook for another error": """
@router.error(OSError)  # error
async def hook(ctx: ChatContext, error: ValueError) -> None: ...
""",
    "an error hook for what is no error": """
@router.error("OSError")  # error
async def hook(ctx: ChatContext) -> None: ...
""",
    "an error hook that decides by a bool": """
@router.error(OSError)  # error
async def hook(ctx: ChatContext, error: OSError) -> bool:
    return True
""",
    "an error hook that is not async": """
@router.error(OSError)  # error
def hook(ctx: ChatContext, error: OSError) -> None: ...
""",
    "a hook before that returns a text": """
@router.before  # error
async def hook(ctx: ChatContext) -> str:
    return "no"
""",
    "attempts that are a text": """
named = Router(attempts="3")  # error
""",
    "errors that are never retried without a tuple": """
named = Router(never_retry=KeyError)  # error
""",
    "a provider that does not yield": """
@router.provide  # error
async def session(ctx: Context) -> int:
    return 5
""",
    "a resource that is asked for as another type": """
@router.resource
async def pool() -> AsyncIterator[int]:
    yield 5

@router.message(text)
async def handler(ctx: MessageContext) -> None:
    taken: str = ctx.use(pool)  # error
""",
    "a resource with a parameter that it does not get": """
@router.resource  # error
async def pool(ctx: Context) -> AsyncIterator[int]:
    yield 5
""",
    "a function in a thread for another context": """
@router.message(text)  # error
@in_thread
def handler(ctx: CallbackContext) -> None: ...
""",
    # named messages, refused calls, events
    "a name that is a number": _message('ctx.reply("x", name=5)'),
    "a named message that is edited without a text": _message('ctx.named("menu").edit()'),
    "a named message that is deleted and awaited": _message('await ctx.named("menu").delete()'),
    "a quote of a name": _message('ctx.reply("x", quote="menu")'),
    "a handler of refusals as a handler of messages": """
@router.refused("blocked")  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "a method of refusals that is a number": """
@router.refused(method=5)  # error
async def handler(ctx: RefusedContext) -> None: ...
""",
    "a reason that is changed": """
@router.refused()
async def handler(ctx: RefusedContext) -> None:
    ctx.reason = "other"  # error
""",
    "an event without its name": """
@router.event()  # error
async def handler(ctx: EventContext) -> None: ...
""",
    "an event's handler as a timer's": """
@router.event("paid")  # error
async def handler(ctx: TimerContext) -> None: ...
""",
    "an event that is posted without await": """
@router.resource
async def shop(post: Post) -> AsyncIterator[None]:
    post(5, "paid", {})  # error
    yield
""",
    "an event with a payload that is a text": """
@router.resource
async def shop(post: Post) -> AsyncIterator[None]:
    await post(5, "paid", "12")  # error
    yield
""",
}  # fmt: skip

MISTAKES |= {
    "a job without a time zone": """
@router.every("0 9 * * *")  # error
async def job(ctx: EveryContext) -> None: ...
""",
    "a job with the context of a message": """
@router.every("0 9 * * *", tz="UTC")  # error
async def job(ctx: MessageContext) -> None: ...
""",
    "a policy for missed runs that does not exist": """
@router.every("0 9 * * *", tz="UTC", missed="twice")  # error
async def job(ctx: EveryContext) -> None: ...
""",
    "a reply of a job, which has no chat": """
@router.every("0 9 * * *", tz="UTC")
async def job(ctx: EveryContext) -> None:
    ctx.reply("x")  # error
""",
}

FINE = """
@router.every("0 9 * * mon-fri", tz="Europe/Moscow", name="digest", missed="skip", timeout_s=600)
async def digest(ctx: EveryContext) -> None:
    ctx.send(5, f"{ctx.due:%d.%m.} {ctx.missed}")

@router.message(text, on_new="restart", timeout_s=120)
async def merged(ctx: MessageContext) -> None:
    async with ctx.stream(parse_mode="HTML", fallback=None, can_stop=True, quote=True) as out:
        out.write("<b>x</b>")
    ctx.reply(", ".join(ctx.texts) + str(ctx.messages[0].message_id))

@router.callback_query(on_new=drop("One moment, please."))
async def once(ctx: CallbackContext) -> None:
    ctx.answer("x")

@router.message(text)
async def all_of_it(ctx: MessageContext) -> None:
    ctx.reply("x", parse_mode=ParseMode.HTML, reply_markup=inline([("a", "a")]), quote=True)
    ctx.reply("x", parse_mode="HTML", fallback="plain")
    ctx.reply_photo("file-id", caption="x", parse_mode="HTML", fallback="plain")
    ctx.named("menu").edit("x", parse_mode="HTML", fallback="plain")
    ctx.reply("x", parse_mode=None, link_preview_options=LinkPreviewOptions(is_disabled=True))
    ctx.reply("x", reply_parameters=ReplyParameters(message_id=5), entities=[])
    ctx.send(5, "x", reply_markup=keyboard(["a"]))
    ctx.calls.ban_chat_member(chat_id=1, user_id=5, revoke_messages=True)
    ctx.reply_photo(InputFile("a.png"), caption="x", has_spoiler=True)
    photos = [InputMediaPhoto(media="file-id", parse_mode="MarkdownV2")]
    ctx.reply_media_group(photos)
    ctx.reply_location(52.5, 13)
    ctx.reply_poll("How many?", ["1", InputPollOption(text="2")], type="quiz", correct_option_ids=[0])
    ctx.reply_dice(emoji=DiceEmoji.DARTS)
    ctx.message.reply("x", quote=True)
    ctx.message.answer("x")
    ctx.message.delete()
    ctx.message.forward_to(5)
    async with ctx.typing(ChatAction.UPLOAD_PHOTO):
        progress = await ctx.progress("x", disable_notification=True)
        progress.done("y", parse_mode="HTML")
    sent = await ctx.client.send_message(chat_id=1, text="x", parse_mode="HTML")
    ctx.calls.edit_message_text(chat_id=1, message_id=sent.message_id, text="y")

@router.callback_query()
async def pressed(ctx: CallbackContext) -> None:
    ctx.answer("x", show_alert=True)
    ctx.answer(text="x")
    await ctx.answer_now("x", show_alert=True)
    ctx.edit("x", parse_mode="HTML", reply_markup=inline([("a", "a")]))
    ctx.edit(InputMediaPhoto(media="file-id"))
    ctx.edit_caption("x")
    ctx.edit_media(InputMediaPhoto(media="file-id"))
    ctx.edit_reply_markup(inline([("a", "a")]))

hooked = Router(attempts=3, backoff_s=10, never_retry=(KeyError, OSError))

@hooked.error(OSError, ValueError)
async def decides(ctx: ChatContext, error: OSError | ValueError) -> Handled | None:
    ctx.reply(str(error))
    return HANDLED

@hooked.error()
async def reports(error: Exception) -> None:
    print(error)

@hooked.before
async def before(ctx: ChatContext) -> Handled | None:
    return HANDLED if ctx.data.get("banned") else None

@hooked.after
async def after(ctx: ChatContext) -> None:
    ctx.data["seen"] = True

@hooked.resource
async def pool(client: TgClient, post: Post) -> AsyncIterator[int]:
    await post(5, "paid", {"amount": 5}, id="inv-17")
    await client.get_me()
    yield 5

@hooked.provide
async def session(ctx: Context) -> AsyncIterator[str]:
    yield str(ctx.use(pool))

@hooked.message(command("book"), attempts=5, backoff_s=1)
async def booked(ctx: MessageContext, session: str = given) -> None:
    ctx.reply(session, name="menu")

@hooked.message(text)
@in_thread
def blocking(ctx: MessageContext) -> None:
    named: NamedMessage = ctx.named("menu")
    named.edit("x", reply_markup=inline([("a", "a")]))
    named.pin()
    ctx.named("sale", chat_id=5).delete()
    ctx.reply("x", quote=ctx.named("menu"))

@hooked.refused("blocked", method=("sendMessage", "sendPhoto"))
async def refused(ctx: RefusedContext) -> None:
    ctx.reply(f"{ctx.reason} {ctx.method} {ctx.params} {ctx.code + 1} {ctx.description}")

@hooked.event("paid")
async def paid(ctx: EventContext) -> None:
    ctx.reply(f"{ctx.event_name} {ctx.payload['amount']}")
"""
