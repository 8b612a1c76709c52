"""Calls that a message invites, as they lie in the outbox afterwards."""

import json
from datetime import UTC, datetime

import pytest

from telegram.botapi.types import CallbackQuery, Message
from telegram.dialogue import Context, Router
from tests.kit.deliveries import GROUP, Direct, delivery, message, press, sent


async def calls(update, act):
    """What the handler `act` of any update leaves in the outbox."""
    router = Router()

    @router.update()
    async def handler(ctx: Context) -> None:
        act(ctx)

    return sent(await Direct(router)(delivery(update)))


async def test_answer_and_reply_are_the_same_and_quote_only_where_it_is_said():
    """`ctx.reply` and `message.reply` mean the same: python-telegram-bot has `do_quote`, aiogram two methods."""

    def act(ctx):
        ctx.message.answer("a")
        ctx.message.reply("a")
        ctx.reply("a")
        ctx.reply("a", quote=False)
        ctx.message.reply("b", reply_markup={"inline_keyboard": []}, quote=True)
        ctx.reply("b", reply_markup={"inline_keyboard": []}, quote=True)

    *plain, first, second = await calls({"message": message("hi")}, act)
    assert plain == [("chat:7", "sendMessage", {"chat_id": 7, "text": "a"})] * 4
    assert first == second
    assert [first] == [
        (
            "chat:7",
            "sendMessage",
            {
                "chat_id": 7,
                "text": "b",
                "reply_parameters": {"message_id": 11, "allow_sending_without_reply": True},
                "reply_markup": {"inline_keyboard": []},
            },
        ),
    ]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"message_thread_id": 3, "is_topic_message": True}, {"message_thread_id": 3}),
        ({"message_thread_id": 3}, {}),
        ({"business_connection_id": "b"}, {"business_connection_id": "b"}),
        ({"direct_messages_topic": {"topic_id": 9}}, {"direct_messages_topic_id": 9}),
    ],
)
async def test_an_answer_goes_where_the_message_is(fields, place):
    found = await calls({"message": message("hi", chat=GROUP, **fields)}, lambda ctx: ctx.message.answer("a"))
    assert [params for _, _, params in found] == [{"chat_id": -100, "text": "a", **place}]


async def test_the_message_that_is_replied_to_can_be_answered_too():
    update = {"message": message("hi", reply_to_message=message("before", message_id=5))}
    found = await calls(update, lambda ctx: ctx.message.reply_to_message.reply("b", quote=True))
    assert found[0][2]["reply_parameters"] == {"message_id": 5, "allow_sending_without_reply": True}


async def test_a_pressed_button_and_its_message():
    def act(ctx):
        ctx.event.answer("ok")
        ctx.message.edit_text("new")
        ctx.message.edit_reply_markup()
        ctx.message.delete()

    place = {"chat_id": 7, "message_id": 11}
    assert [call[1:] for call in await calls({"callback_query": press("x")}, act)] == [
        ("answerCallbackQuery", {"callback_query_id": "query-1", "text": "ok"}),
        ("editMessageText", {**place, "text": "new"}),
        ("editMessageReplyMarkup", place),
        ("deleteMessage", place),
    ]


async def test_outside_of_a_handler_nothing_is_collected():
    taken = []
    await calls({"message": message("hi")}, lambda ctx: taken.append(ctx.message))
    with pytest.raises(RuntimeError, match="sendMessage"):
        taken[0].answer("too late")


def test_the_times_of_a_message_and_its_user_have_names_for_people():
    found = Message.model_validate(message("hi", edit_date=1_700_000_060))
    assert found.sent_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert found.edited_at == datetime(2023, 11, 14, 22, 14, 20, tzinfo=UTC)
    assert found.from_user is found.from_ is not None
    assert Message.model_validate(message("hi")).edited_at is None
    query = CallbackQuery.model_validate(press("x"))
    assert query.from_user is query.from_
    assert "from_user" not in Message.model_fields
    assert json.loads(found.model_dump_json(exclude_none=True)).keys().isdisjoint({"from_user", "sent_at"})
