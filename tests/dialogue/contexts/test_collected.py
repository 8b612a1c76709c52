"""The shortcuts of contexts and messages: what they fill in, what they return, and how a wrong one is reported."""

from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from telegram.botapi import collected
from telegram.botapi.collecting import WrongCall
from telegram.botapi.decoding import decode
from telegram.botapi.parameters import methods, spec_of
from telegram.botapi.types import InputMediaPhoto
from telegram.client import TgClient
from telegram.dialogue import (
    CallbackContext,
    ChatContext,
    Conduct,
    Context,
    Flow,
    MessageContext,
    Reject,
    Retry,
    Router,
    button,
    button_prefix,
    data,
    data_prefix,
    inline,
    text,
)
from telegram.dialogue.contexts.queries import context_of
from telegram.dialogue.contexts.tools import Tools
from telegram.testing import Conversations
from tests.kit import updates
from tests.kit.deliveries import GROUP, Direct, context, delivery, message, press, sent

TOPIC = message("hi", chat=GROUP, is_topic_message=True, message_thread_id=3)
IN_BUSINESS = {"business_message": message("hi", business_connection_id="b1")}
PHOTO: dict[str, Any] = {
    "photo": [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}],
    "caption": "old",
}


class Nothing(BaseModel): ...


class Step(Enum):
    ONE = "one"


SAMPLE: dict[type, Any] = {str: "x", int: 5, float: 1.5, bool: True}


def calls_of(ctx: Context) -> list[tuple[str, dict[str, Any]]]:
    return [(method, params) for _, method, params in sent(ctx.effects())]


def sample_of(method: str, name: str) -> Any:
    spec = spec_of(method)
    assert spec is not None
    shape = spec.shapes[name]
    return next((SAMPLE[each] for each in SAMPLE if each in shape.classes), {} if shape.models else [])


REPLIES = [name for name in vars(collected.Replies) if name.startswith("reply")]


@pytest.mark.parametrize("name", REPLIES)
def test_every_reply_goes_to_the_topic_of_its_message(name):
    method = (
        "sendMessage" if name == "reply" else "send" + name.removeprefix("reply").title().replace("_", "")
    )
    spec = spec_of(method)
    assert spec is not None
    required = {each: sample_of(method, each) for each in spec.required if each != "chat_id"}
    if name in {"reply_checklist", "reply_rich_message", "reply_rich_message_draft"}:
        pytest.skip("their objects have no empty form")
    ctx = context({"message": TOPIC})
    assert isinstance(ctx, MessageContext)
    getattr(ctx, name)(*required.values())
    assert calls_of(ctx) == [(method, {"chat_id": -100, "message_thread_id": 3, **required})]


async def test_a_message_has_the_same_replies():
    assert set(REPLIES) <= set(vars(collected.MessageCalls))
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        ctx.message.reply_photo("file-id", caption="x", quote=True)

    effects = await Direct(router)(delivery({"message": TOPIC}))
    reply = {"message_id": 11, "allow_sending_without_reply": True}
    place = {"chat_id": -100, "message_thread_id": 3}
    assert [each[1:] for each in sent(effects)] == [
        ("sendPhoto", {**place, "photo": "file-id", "caption": "x", "reply_parameters": reply})
    ]


def test_every_method_can_be_collected_with_its_signature():
    calls = {name for name in vars(collected.Calls) if not name.startswith("_")}
    assert calls == set(methods())
    ctx = context({"message": message()})
    ctx.calls.ban_chat_member(chat_id=-5, user_id=7)
    ctx.calls.close_bot()
    assert calls_of(ctx) == [("banChatMember", {"chat_id": -5, "user_id": 7}), ("close", {})]


def test_the_own_place_can_be_overridden():
    ctx = context({"message": TOPIC})
    ctx.reply("x", message_thread_id=9)
    assert calls_of(ctx) == [("sendMessage", {"chat_id": -100, "message_thread_id": 9, "text": "x"})]


def test_a_call_that_a_business_account_does_not_have_is_not_sent_elsewhere():
    ctx = context(IN_BUSINESS)
    ctx.reply_photo("file-id")
    with pytest.raises(
        WrongCall, match=r"reply_invoice\(\): Telegram has no such call on behalf of a business"
    ):
        ctx.reply_invoice("t", "d", "p", "XTR", [])
    assert calls_of(ctx) == [
        ("sendPhoto", {"chat_id": 7, "business_connection_id": "b1", "photo": "file-id"})
    ]


def test_a_direct_messages_topic_is_given_to_the_methods_that_have_it():
    ctx = context({"message": message("hi", direct_messages_topic={"topic_id": 4})})
    ctx.reply_dice()
    ctx.reply_chat_action("typing")
    assert [params for _, params in calls_of(ctx)] == [
        {"chat_id": 7, "direct_messages_topic_id": 4},
        {"chat_id": 7, "action": "typing"},
    ]


@pytest.mark.parametrize("kind", ["inline_query", "my_chat_member"])
def test_nothing_to_quote_is_an_error_that_says_so(kind):
    ctx = context({kind: updates.KINDS[kind]})
    assert isinstance(ctx, ChatContext)
    with pytest.raises(ValueError, match=rf"reply\(quote=True\) needs a message, and this {kind} has none"):
        ctx.reply("x", quote=True)


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (lambda ctx: ctx.reply(), "sendMessage needs text"),
        (lambda ctx: ctx.reply("a", "b"), "reply() takes only text without a name, and got 2 such values"),
        (lambda ctx: ctx.reply("a", text="b"), "reply() got text twice"),
        (lambda ctx: ctx.reply("a", quote=1), "quote of reply() is of type int, and must be bool"),
        (lambda ctx: ctx.reply_photo("a", "b"), "reply_photo() takes only photo without a name"),
        (lambda ctx: ctx.calls.ban_chat_member(1, 2), "ban_chat_member() takes nothing without a name"),
        (lambda ctx: ctx.reply(None), "sendMessage needs text, and it is None"),
        (lambda ctx: ctx.send(None, "a"), "sendMessage needs chat_id, and it is None"),
        (lambda ctx: ctx.reply("a").message_id, "reply(): nothing to read as .message_id, it takes effect with the commit"),
    ],
)  # fmt: skip
def test_a_wrong_use_is_named(act, named):
    with pytest.raises(WrongCall) as caught:
        act(context({"message": message()}))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("act", "advice"),
    [
        (lambda ctx: ctx.reply("x"), "; `await ctx.client.send_message(...)` calls at once"),
        (lambda ctx: ctx.reply_photo("x"), "; `await ctx.client.send_photo(...)` calls at once"),
        (lambda ctx: ctx.send(5, "x"), "; `await ctx.client.send_message(...)` calls at once"),
        (lambda ctx: ctx.calls.close_bot(), "; `await ctx.client.close_bot(...)` calls at once"),
        (lambda ctx: ctx.call("sendDice", chat_id=1), ""),
        (lambda ctx: ctx.call_newer("sendNewer"), ""),
        (lambda ctx: ctx.set_timer("t", 5), ""),
        (lambda ctx: ctx.cancel_timer("t"), ""),
    ],
)
async def test_a_collected_call_explains_that_there_is_nothing_to_await(act, advice):
    """aiogram and python-telegram-bot have coroutines here: `await message.answer(...)`."""
    ctx = context({"message": message()})
    returned = act(ctx)
    with pytest.raises(WrongCall) as caught:
        await returned
    assert str(caught.value).endswith(f"nothing to await, it takes effect with the commit{advice}")
    assert not returned


def pressed(**fields: Any) -> CallbackContext:
    ctx = context({"callback_query": press("x", **fields)})
    assert isinstance(ctx, CallbackContext)
    return ctx


BUTTON = {"inline_keyboard": [[{"text": "a", "callback_data": "a"}]]}
PLACE = {"chat_id": 7, "message_id": 11}


@pytest.mark.parametrize(
    ("shown", "place"),
    [
        ({"message": message("old")}, PLACE),
        ({"message": {"chat": GROUP, "message_id": 9, "date": 0}}, {"chat_id": -100, "message_id": 9}),
        ({"message": None, "inline_message_id": "i"}, {"inline_message_id": "i"}),
    ],
)
def test_edit_replaces_a_text(shown, place):
    ctx = pressed(**shown)
    ctx.edit("new", parse_mode="HTML", reply_markup=inline([("a", "a")]), show_caption_above_media=True)
    params = {**place, "text": "new", "parse_mode": "HTML", "reply_markup": BUTTON}
    assert calls_of(ctx) == [("editMessageText", params)]


@pytest.mark.parametrize("field", ["photo", "video", "animation", "document", "audio", "voice"])
def test_edit_replaces_the_caption_of_media(field):
    file: dict[str, Any] = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1, "duration": 1}
    value: Any = [file] if field == "photo" else file
    ctx = pressed(message=message(None, **{field: value}))
    ctx.edit("new", entities=[], link_preview_options=None)
    assert calls_of(ctx) == [("editMessageCaption", {**PLACE, "caption": "new", "caption_entities": []})]


def test_edit_replaces_media():
    ctx = pressed(message=message(None, **PHOTO))
    ctx.edit(InputMediaPhoto(media="file-id", caption="new"))
    media = {"type": "photo", "media": "file-id", "caption": "new"}
    assert calls_of(ctx) == [("editMessageMedia", {**PLACE, "media": media})]


def test_the_explicit_edits():
    ctx = pressed(message=message(None, **PHOTO))
    ctx.edit_caption("new")
    ctx.edit_caption()
    ctx.edit_media(InputMediaPhoto(media="file-id"))
    ctx.edit_reply_markup(inline([("a", "a")]))
    ctx.edit_reply_markup()
    assert calls_of(ctx) == [
        ("editMessageCaption", {**PLACE, "caption": "new"}),
        ("editMessageCaption", PLACE),
        ("editMessageMedia", {**PLACE, "media": {"type": "photo", "media": "file-id"}}),
        ("editMessageReplyMarkup", {**PLACE, "reply_markup": BUTTON}),
        ("editMessageReplyMarkup", PLACE),
    ]


def test_what_is_no_text_and_no_media_is_named():
    with pytest.raises(WrongCall, match="media of editMessageMedia is 5 of type int"):
        pressed(message=message("old")).edit(5)  # type: ignore[arg-type]


async def test_what_a_message_can_be_asked_to_do():
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        ctx.message.pin(disable_notification=True)
        ctx.message.unpin()
        ctx.message.react([{"type": "emoji", "emoji": "👍"}])  # type: ignore[list-item]
        ctx.message.forward_to(5)
        ctx.message.copy_to("@channel", caption="x")

    place = {"chat_id": 7, "message_id": 11}
    source = {"from_chat_id": 7, "message_id": 11}
    assert [each[1:] for each in sent(await Direct(router)(delivery({"message": message("hi")})))] == [
        ("pinChatMessage", {**place, "disable_notification": True}),
        ("unpinChatMessage", place),
        ("setMessageReaction", {**place, "reaction": [{"type": "emoji", "emoji": "👍"}]}),
        ("forwardMessage", {**source, "chat_id": 5}),
        ("copyMessage", {**source, "chat_id": "@channel", "caption": "x"}),
    ]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda ctx: ctx.reply("x", parse_mode=5), "parse_mode of sendMessage is 5 of type int, and must be str"),
        (lambda ctx: ctx.reply("x", reply_markpu=1), "sendMessage has no parameter 'reply_markpu': did you mean 'reply_markup'?"),
    ],
)  # fmt: skip
async def test_a_wrong_call_is_rejected_at_once_with_its_place_and_without_a_traceback(act, reason):
    """The engine logs the traceback of what a handler raises, but not that of a Reject (engine/dispatcher.py)."""
    router = Router()

    @router.message(text)
    async def handler(ctx: MessageContext) -> None:
        act(ctx)

    with capture_logs() as logs, pytest.raises(Reject) as caught:
        await Direct(router)(delivery({"message": message("hi")}))
    assert caught.value.reason.startswith(f"WrongCall: {reason} (test_collected.py:")
    assert caught.value.reason.endswith(", in <lambda>)")
    assert "\n" not in caught.value.reason
    assert logs == []
    with pytest.raises(Retry, match="WrongCall"):
        await Direct(router, conduct=Conduct(programming_errors=()))(delivery({"message": message("hi")}))


def test_the_former_name_of_the_client_still_works():
    given = delivery({"message": message()})
    client = TgClient("1:a")
    ctx = context_of(decode(given.envelope.body), given, Tools(client=client))
    with pytest.warns(DeprecationWarning, match=r"ctx.now: write ctx.client"):
        assert ctx.now is client


def test_a_wrong_prompt_is_an_error_when_the_flow_is_built():
    flow = Flow("flow", Step, Nothing)
    with pytest.raises(
        WrongCall, match="sendMessage has no parameter 'reply_markpu': did you mean 'reply_markup'"
    ):
        flow.at(Step.ONE).ask("?", reply_markpu=1)  # type: ignore[call-arg]


async def test_a_wrong_progress_is_no_optional_feedback():
    """What Telegram refuses of a progress message is only logged, so that a misspelled parameter would never be seen."""
    ctx = context({"message": message()})
    with pytest.raises(WrongCall, match="parse_mode of sendMessage is 5 of type int"):
        await ctx.progress("Loading", parse_mode=5)


def test_the_time_is_virtual_in_tests():
    router = Router()
    times: list[datetime] = []

    @router.message(text)
    async def handler(ctx: MessageContext) -> None:
        times.append(ctx.time())

    with Conversations(router, start=datetime(2026, 1, 31, 12, tzinfo=UTC)) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        bot.passes(hours=1)
        alice.says("x")
    assert times == [datetime(2026, 1, 31, hour, tzinfo=UTC) for hour in (12, 13)]


def test_the_former_names_of_the_filters_of_buttons_still_work():
    assert data is button
    assert data_prefix is button_prefix
