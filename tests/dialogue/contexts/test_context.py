from typing import Any

import pytest

from engine.errors import Reject
from engine.model import KEEP, Effects
from telegram.dialogue import Context
from tests.kit import updates
from tests.kit.deliveries import GROUP, PRIVATE, context, message, press, sent


def of_kind(kind: str) -> dict[str, Any]:
    return {kind: updates.KINDS[kind]}


def only_call(ctx: Context) -> tuple[str, str, dict[str, Any]]:
    (call,) = sent(ctx.effects())
    return call


# ---- what came


def test_a_message_in_a_group():
    ctx = context({"message": message("hi", chat=GROUP)}, attempt=3)
    assert (ctx.kind, ctx.update_id, ctx.attempt) == ("message", 5, 3)
    assert (ctx.chat_id, ctx.user_id, ctx.text, ctx.button) == (-100, 7, "hi", None)
    assert ctx.message is ctx.event is ctx.update.message
    assert ctx.user is not None
    assert ctx.user.first_name == "Alice"


@pytest.mark.parametrize(
    "kind_",
    [
        "edited_message",
        "channel_post",
        "edited_channel_post",
        "guest_message",
        "business_message",
        "edited_business_message",
    ],
)
def test_every_kind_of_message_is_the_message(kind_):
    ctx = context({kind_: message("hi", business_connection_id="b")})
    assert (ctx.kind, ctx.chat_id, ctx.user_id, ctx.text) == (kind_, 7, 7, "hi")
    assert ctx.message is getattr(ctx.update, kind_)


def test_a_pressed_button_has_the_message_but_not_its_text():
    ctx = context({"callback_query": press("buy:3")})
    assert (ctx.chat_id, ctx.user_id, ctx.text, ctx.button) == (7, 7, "", "buy:3")
    assert ctx.message is not None
    assert ctx.message.message_id == 11


def test_a_button_under_a_message_too_old_to_see():
    ctx = context({"callback_query": press("x", message={"chat": GROUP, "message_id": 9, "date": 0})})
    assert (ctx.chat_id, ctx.text) == (-100, "")
    ctx.edit("new")
    assert only_call(ctx)[2] == {"chat_id": -100, "message_id": 9, "text": "new"}


def test_a_button_of_an_inline_message():
    ctx = context({"callback_query": press("x", message=None, inline_message_id="inline-1")})
    assert (ctx.message, ctx.chat_id, ctx.user_id) == (None, None, 7)
    ctx.edit("new")
    assert only_call(ctx) == (
        "inline:inline-1",
        "editMessageText",
        {"inline_message_id": "inline-1", "text": "new"},
    )


@pytest.mark.parametrize(
    ("update", "chat_id", "user_id"),
    [
        (of_kind("my_chat_member"), 7, 7),
        (of_kind("message_reaction"), -1001234567890, 7),
        (of_kind("message_reaction_count"), -1009876543210, None),
        (of_kind("inline_query"), None, 7),
        (of_kind("poll"), None, None),
        (of_kind("chat_boost"), -1009876543210, None),
        ({"channel_post": {**message(None), "from": None}}, 7, None),
        ({}, None, None),
    ],
)
def test_chat_and_user_of_other_kinds(update, chat_id, user_id):
    ctx = context(update)
    assert (ctx.chat_id, ctx.user_id, ctx.text, ctx.button, ctx.command) == (chat_id, user_id, "", None, None)


# ---- commands


@pytest.mark.parametrize(
    ("said", "name", "args"),
    [
        ("/start", "start", ""),
        ("/start  deep link \n", "start", "deep link"),
        ("/start\nline 1\nline 2", "start", "line 1\nline 2"),
        ("/Start@My_Bot a", "start", "a"),
        ("/start@my_bot", "start", ""),
        ("/start@other_bot a", None, ""),
        ("/start!", "start", ""),
        ("/start.", "start", ""),
        ("/START@My_Bot. now", "start", "now"),
        ("/start, please", "start", "please"),
        ("/start -5", "start", "-5"),
        ("/start(1+2)", "start", "(1+2)"),
        ("/start\u00a0x", "start", "x"),
        ("/старт", None, ""),
        ("/startё", None, ""),
        ("/start@bo", None, ""),
        ("/start<b>", None, ""),
        ("/" + "a" * 65, None, ""),
        ("/ start", None, ""),
        ("/", None, ""),
        ("/@my_bot", None, ""),
        ("start", None, ""),
        (" /start", None, ""),
        ("/path/to/file", None, ""),
    ],
)
def test_commands(said, name, args):
    """What Telegram's server marks as a command (tdlib/td, MessageEntity.cpp, match_bot_commands), as people write it."""
    ctx = context({"message": message(said)}, username="my_BOT")
    assert (ctx.command, ctx.args) == (name, args)


def test_without_a_known_username_every_addressee_may_be_us():
    assert context({"message": message("/start@some_bot x")}).command == "start"


def test_the_text_of_the_bots_own_message_is_no_command():
    assert context({"callback_query": press("x", message=message("/start"))}).command is None


# ---- what shall happen


def test_a_reply_goes_to_the_chat_of_the_update():
    ctx = context({"message": message("hi", chat=GROUP)})
    ctx.reply("grüß", parse_mode="HTML", reply_markup=None)
    assert only_call(ctx) == (
        "chat:-100",
        "sendMessage",
        {"chat_id": -100, "text": "grüß", "parse_mode": "HTML"},
    )


def test_a_reply_goes_into_the_topic():
    ctx = context({"message": message("hi", chat=GROUP, message_thread_id=3, is_topic_message=True)})
    ctx.reply("a")
    assert only_call(ctx)[2] == {"chat_id": -100, "text": "a", "message_thread_id": 3}


def test_a_chain_of_replies_is_no_topic():  # openclaw took message_thread_id for one
    ctx = context({"message": message("hi", chat=GROUP, message_thread_id=3)})
    ctx.reply("a")
    assert "message_thread_id" not in only_call(ctx)[2]


def test_a_reply_goes_into_the_topic_of_a_channels_direct_messages():
    ctx = context({"message": message("hi", chat=GROUP, direct_messages_topic={"topic_id": 4})})
    ctx.reply("a")
    assert only_call(ctx)[2] == {"chat_id": -100, "text": "a", "direct_messages_topic_id": 4}


@pytest.mark.parametrize(
    "update",
    [
        {"business_message": message("hi", business_connection_id="b1")},
        {"callback_query": press("x", message=message("hi", business_connection_id="b1"))},
        {"deleted_business_messages": {"business_connection_id": "b1", "chat": PRIVATE, "message_ids": [1]}},
    ],
)
def test_a_reply_through_a_business_connection_stays_in_its_lane(update):
    ctx = context(update)
    ctx.reply("a")
    assert only_call(ctx) == (
        "business:b1:7",
        "sendMessage",
        {"chat_id": 7, "text": "a", "business_connection_id": "b1"},
    )


def test_an_edit_through_a_business_connection():
    ctx = context({"callback_query": press("x", message=message("hi", business_connection_id="b1"))})
    ctx.edit("a")
    params = {"chat_id": 7, "message_id": 11, "business_connection_id": "b1", "text": "a"}
    assert only_call(ctx) == ("business:b1:7", "editMessageText", params)


def test_answers_to_a_pressed_button_keep_their_order_and_wait_for_no_message_of_the_chat():
    ctx = context({"callback_query": press("x")})
    ctx.edit("new", reply_markup={"inline_keyboard": []})
    ctx.answer()
    ctx.answer("done", show_alert=True)
    assert sent(ctx.effects()) == [
        (
            "chat:7",
            "editMessageText",
            {"chat_id": 7, "message_id": 11, "text": "new", "reply_markup": {"inline_keyboard": []}},
        ),
        ("query:query-1", "answerCallbackQuery", {"callback_query_id": "query-1"}),
        (
            "query:query-1",
            "answerCallbackQuery",
            {"callback_query_id": "query-1", "text": "done", "show_alert": True},
        ),
    ]


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({}, "chat:7"),
        ({"chat_id": None}, "chat:7"),
        ({"chat_id": 7}, "chat:7"),
        ({"chat_id": -200}, "post:-200"),
        ({"chat_id": "@channel"}, "post:@channel"),
    ],
)
def test_a_call_travels_in_the_lane_of_its_chat(params, key):
    ctx = context({"message": message()})
    ctx.call_newer("sendDice", **params)  # `call` refuses one without its chat_id
    assert only_call(ctx)[0] == key


@pytest.mark.parametrize("chat_id", [7, "7"])
def test_a_call_for_the_own_chat_travels_in_the_own_lane(chat_id):
    ctx = context({"business_message": message(business_connection_id="b1")})
    ctx.call("sendDice", chat_id=chat_id)
    assert only_call(ctx)[0] == "business:b1:7"


def test_without_an_own_chat_a_call_travels_in_the_lane_of_its_chat():
    ctx = context(of_kind("poll"))
    ctx.call("sendDice", chat_id=7)
    ctx.call("getMe")
    assert [key for key, _, _ in sent(ctx.effects())] == ["chat:7", "poll:555"]


def test_params_may_have_any_name():
    ctx = context({"message": message()})
    ctx.call_newer("setX", method="m", self="s", text="t")
    assert only_call(ctx)[2] == {"method": "m", "self": "s", "text": "t"}


@pytest.mark.parametrize(
    ("method", "params", "said"),
    [
        ("sendMesage", {"text": "x"}, "the Bot API has no method 'sendMesage': did you mean 'sendMessage'?"),
        (
            "sendMessage",
            {"text": "x", "reply_markpu": {}},
            "sendMessage has no parameter 'reply_markpu': did you mean 'reply_markup'?",
        ),
        (
            "sendMessage",
            {"text": "x", "reply_to_message_id": 5},
            "sendMessage has no parameter 'reply_to_message_id': it is 'reply_parameters' now",
        ),
        (
            "sendMessage",
            {"text": "x", "disable_web_page_preview": True},
            "sendMessage has no parameter 'disable_web_page_preview': it is 'link_preview_options' now",
        ),
        ("sendVideo", {"thumb": "x"}, "sendVideo has no parameter 'thumb': it is 'thumbnail' now"),
        ("getMe", {"thumb": "x"}, "getMe has no parameter 'thumb'"),
        ("sendPhoto", {"zzz": 1}, "sendPhoto has no parameter 'zzz'"),
        ("sendPhoto", {"zzz": None}, "sendPhoto has no parameter 'zzz'"),
        ("getUpdates", {}, "the Bot API has no method 'getUpdates'"),
    ],
)
def test_a_misspelt_name_is_found_where_it_is_written(method, params, said):
    ctx = context({"message": message()})
    with pytest.raises(TypeError) as caught:
        ctx.call(method, **params)
    assert str(caught.value).startswith(said)
    assert not ctx.effects().calls


def test_a_method_may_be_written_in_any_case():
    """tdlib/telegram-bot-api, Client.cpp: names of methods are compared in lower case."""
    ctx = context({"message": message()})
    ctx.call("SENDMESSAGE", chat_id=1, text="x")
    assert only_call(ctx)[1] == "SENDMESSAGE"


@pytest.mark.parametrize(
    ("method", "name", "value", "error"),
    [
        ("sendMessage", "link_preview_options", object(), TypeError),
        ("sendMessage", "entities", {1, 2}, TypeError),
        ("sendLocation", "latitude", float("nan"), ValueError),
        ("sendMessage", "text", "half of a smile: \ud83d", UnicodeEncodeError),
    ],
)
def test_what_cannot_be_sent_is_named_by_method_and_parameter(method, name, value, error):
    ctx = context({"message": message()})
    others: dict[str, Any] = {"sendMessage": {"text": "x"}, "sendLocation": {"longitude": 1}}
    with pytest.raises(error, match=f"{name} of {method}"):
        ctx.call(method, **{"chat_id": 1, **others[method], name: value})


POLL = {
    "id": "1", "question": "?", "options": [], "total_voter_count": 0, "is_closed": False, "is_anonymous": True,
    "type": "regular", "allows_multiple_answers": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("update", "act"),
    [
        ({"guest_message": message()}, lambda ctx: ctx.reply("x")),
        ({"poll": POLL}, lambda ctx: ctx.reply("x")),
    ],
)
def test_what_cannot_reach_anybody_is_refused(update, act):
    ctx = context(update)
    with pytest.raises(ValueError, match=r"needs|guest"):
        act(ctx)
    assert ctx.effects() == Effects()


def test_a_call_after_the_effects_were_taken_is_refused():
    ctx = context({"message": message()})
    ctx.effects()
    with pytest.raises(RuntimeError, match="sendMessage"):
        ctx.reply("too late")


# ---- the conversation state


def test_state_that_was_not_read_is_kept():
    assert context({"message": message()}, state=b"not even JSON").effects().state is KEEP


@pytest.mark.parametrize("state", [None, b'{"a":1,"b":"\xc3\xbc"}'])
def test_state_that_did_not_change_is_kept(state):
    ctx = context({"message": message()}, state=state)
    assert ctx.data == ({} if state is None else {"a": 1, "b": "ü"})
    assert ctx.effects().state is KEEP


def test_changed_state_is_saved_as_compact_json():
    ctx = context({"message": message()}, state=b'{"a": [1]}')
    ctx.data["a"].append("ü")
    assert ctx.effects().state == '{"a":[1,"ü"]}'.encode()


def test_an_emptied_state_is_deleted():
    ctx = context({"message": message()}, state=b'{"a":1}')
    ctx.data.clear()
    assert ctx.effects().state is None


@pytest.mark.parametrize("state", [b"", b"[]", b"null", b"1", b"{", b'{"a":"\xff"}', b"[" * 100_000])
def test_state_that_is_no_object_is_rejected(state):
    ctx = context({"message": message()}, state=state)
    with pytest.raises(Reject, match=r"^the conversation state is not readable$"):
        _ = ctx.data


@pytest.mark.parametrize(
    ("value", "error"), [("\ud83d", ValueError), (object(), TypeError), (float("nan"), ValueError)]
)
def test_state_that_json_cannot_hold_is_an_error(value, error):
    ctx = context({"message": message()})
    ctx.data["a"] = value
    with pytest.raises(error):
        ctx.effects()


def test_the_flows_name_is_no_name_for_a_handlers_data():
    ctx = context({"message": message()}, state=b'{"~flow":{"stack":[]},"a":1}')
    assert ctx.data == {"a": 1}
    ctx.data["~flow"] = {}
    with pytest.raises(ValueError, match="'~flow' is not a name for your data"):
        ctx.effects()
