"""Button presses, inline queries and reply keyboards, and the time limits of answers."""

import json

import pytest

from telegram.fake.methods import run
from telegram.fake.protocol.answers import ApiError
from telegram.fake.world import World
from telegram.fake.world.queue import UpdateQueue

BOT = {"id": 7, "is_bot": True, "first_name": "Bot", "username": "bot"}
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same"
    " as a current content and reply markup of the message"
)


@pytest.fixture
def world(clock):
    world = World(BOT, UpdateQueue(), clock=clock)
    world.add_user("Ann", user_id=5)
    return world


def updates(world):
    return [json.loads(raw) for raw in world.queue.read(0, 100)]


def refusal(world, method, **params):
    with pytest.raises(ApiError) as caught:
        run(world, method, params)
    return caught.value.description.removeprefix("Bad Request: ")


# -- answers in time


ASKED = [
    # measured: gist d-Rickyy-b/f789c75228bf00f572eec4450ed0d7c9; nutgram/nutgram#725
    ("callback_query", {"data": "x"}, 15, "answerCallbackQuery", {}),
    # measured: eternnoir/pyTelegramBotAPI#270 and #1615
    ("inline_query", {"query": "x", "offset": ""}, 10, "answerInlineQuery", {"results": []}),
    # Telegram Bot API, answerPreCheckoutQuery
    (
        "pre_checkout_query",
        {"currency": "XTR", "total_amount": 1},
        10,
        "answerPreCheckoutQuery",
        {"ok": True},
    ),
]


@pytest.mark.parametrize(("kind", "fields", "seconds", "method", "answer"), ASKED)
def test_an_answer_that_comes_late_is_refused(world, clock, kind, fields, seconds, method, answer):
    for query in ("1", "2"):
        world.push(kind, {"id": query, "from": {"id": 5, "first_name": "Ann"}, **fields})
    clock.now += seconds
    assert run(world, method.lower(), {f"{kind}_id": "1", **answer}) is True
    clock.now += 0.1
    late = refusal(world, method.lower(), **{f"{kind}_id": "2"}, **answer)
    assert late == "query is too old and response timeout expired or query ID is invalid"


# -- messages that were sent via the bot


def press_inline(world, inline_message_id="i1"):
    world.push(
        "callback_query", {"id": "1", "from": {"id": 5}, "inline_message_id": inline_message_id, "data": "x"}
    )


def test_a_message_sent_via_the_bot_is_edited(world):
    """Telegram Bot API, editMessageText: "if the edited message is not an inline message ... otherwise True"."""
    press_inline(world)
    edit = {"inline_message_id": "i1", "text": "*new*", "parse_mode": "MarkdownV2"}
    assert run(world, "editmessagetext", edit) is True
    assert world.inline["i1"] == {"text": "new", "entities": [{"type": "bold", "offset": 0, "length": 3}]}
    assert refusal(world, "editmessagetext", **edit) == NOT_MODIFIED
    assert refusal(world, "editmessagetext", inline_message_id="i2", text="x") == "MESSAGE_ID_INVALID"
    assert refusal(world, "editmessagecaption", inline_message_id="i1", caption="x") == (
        "there is no caption in the message to edit"
    )


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("editMessageCaption", {"caption": "c"}),
        ("editMessageReplyMarkup", {"reply_markup": {"inline_keyboard": [[{"text": "a", "url": "t.me"}]]}}),
        ("editMessageMedia", {"media": {"type": "photo", "media": "https://e.org/a.jpg"}}),
    ],
)
def test_other_edits_of_a_message_sent_via_the_bot(world, method, params):
    press_inline(world)
    assert run(world, method.lower(), {"inline_message_id": "i1", **params}) is True
    assert refusal(world, method.lower(), inline_message_id="i9", **params) == "MESSAGE_ID_INVALID"


def test_a_result_that_a_user_chooses(world):
    """Telegram Bot API, ChosenInlineResult: the message is named only if it has an inline keyboard."""
    buttons = {"inline_keyboard": [[{"text": "a", "callback_data": "x"}]]}
    article = {"type": "article", "id": "r", "title": "T", "input_message_content": {"message_text": "hello"}}
    assert world.choose(5, article) == ""
    name = world.choose(5, article | {"reply_markup": buttons}, "q")
    world.press_inline(5, name, "x")
    silent, chosen, pressed = updates(world)
    assert "inline_message_id" not in silent["chosen_inline_result"]
    assert chosen["chosen_inline_result"]["inline_message_id"] == name
    query = pressed["callback_query"]
    assert (query["inline_message_id"], "message" in query) == (name, False)
    assert run(world, "answercallbackquery", {"callback_query_id": query["id"]}) is True
    same = {"inline_message_id": name, "text": "hello", "reply_markup": buttons}
    assert refusal(world, "editmessagetext", **same) == NOT_MODIFIED
    assert run(world, "editmessagetext", same | {"text": "bye"}) is True


def test_a_message_that_an_answer_has_sent_can_be_edited(world):
    """Telegram Bot API, SentWebAppMessage: inline_message_id."""
    result = {"type": "article", "id": "r", "title": "T", "input_message_content": {"message_text": "hello"}}
    sent = run(world, "answerwebappquery", {"web_app_query_id": "1", "result": result})
    assert run(world, "editmessagetext", sent | {"text": "bye"}) is True


# -- reply keyboards


def keyboard(world, *keys, **more):
    markup = {"keyboard": [list(keys)], **more}
    run(world, "sendmessage", {"chat_id": 5, "text": "?", "reply_markup": markup})


def test_a_key_sends_its_text_a_contact_or_a_place(world):
    """Telegram Bot API, KeyboardButton: request_contact, request_location."""
    keyboard(
        world, "Yes", {"text": "Me", "request_contact": True}, {"text": "Here", "request_location": True}
    )
    for key in ("Yes", "Me", "Here"):
        world.press_key(5, 5, key)
    said, contact, place = (update["message"] for update in updates(world))
    assert said["text"] == "Yes"
    assert contact["contact"] == {"phone_number": "+00000000005", "first_name": "Ann", "user_id": 5}
    assert {"latitude", "longitude"} == place["location"].keys()
    assert "text" not in contact
    assert "text" not in place


def test_keys_that_are_not_there(world):
    with pytest.raises(ValueError, match="no button 'Yes'"):
        world.press_key(5, 5, "Yes")
    keyboard(world, {"text": "Poll", "request_poll": {}})
    with pytest.raises(ValueError, match="opens a dialog \\(request_poll\\)"):
        world.press_key(5, 5, "Poll")
    run(world, "sendmessage", {"chat_id": 5, "text": ".", "reply_markup": {"remove_keyboard": True}})
    with pytest.raises(ValueError, match="no button 'Poll'"):
        world.press_key(5, 5, "Poll")


# -- pushed updates


def test_a_pushed_message_is_there(world):
    chat = {"id": 5, "type": "private", "first_name": "Ann"}
    world.push("message", {"message_id": 40, "date": 0, "chat": chat, "from": {"id": 5}, "text": "hi"})
    reply = {"chat_id": 5, "text": "x", "reply_parameters": {"message_id": 40}}
    sent = run(world, "sendmessage", reply)
    assert (sent["message_id"], sent["reply_to_message"]["text"]) == (41, "hi")
