import pytest

from telegram.fake.methods import run
from telegram.fake.protocol.answers import ApiError
from telegram.fake.world import World
from telegram.fake.world.queue import UpdateQueue

BOT = {"id": 7, "is_bot": True, "first_name": "Bot", "username": "bot"}
BUTTONS = {"inline_keyboard": [[{"text": "a", "callback_data": "x"}]]}


@pytest.fixture
def world():
    world = World(BOT, UpdateQueue(), clock=lambda: 1_700_000_000)
    world.add_user("Ann", user_id=5)
    world.add_user("Bob", user_id=6)
    return world


def refusal(world, method, **params):
    with pytest.raises(ApiError) as caught:
        run(world, method, params)
    assert caught.value.code == 400
    return caught.value.description.removeprefix("Bad Request: ")


def send(world, text="hi", **params):
    return run(world, "sendmessage", {"chat_id": 5, "text": text, **params})


def test_send(world):
    message = send(world, reply_markup=BUTTONS, message_thread_id="", unheard_of=1)
    assert message == {
        "message_id": 1,
        "from": BOT,
        "chat": {"id": 5, "type": "private", "first_name": "Ann"},
        "date": 1_700_000_000,
        "text": "hi",
        "reply_markup": BUTTONS,
    }
    assert world.messages(5) == [message]


async def test_only_listeners_get_an_event_for_a_reply_keyboard(world):
    keyboard = {"keyboard": [["yes", "no"]]}
    with world.listen() as events:
        assert "reply_markup" not in send(world, reply_markup=keyboard)
        assert (await anext(events))["keyboard"] == keyboard


def test_length_is_counted_in_utf16_units_after_the_markup(world):
    send(world, "x" * 4096)
    send(world, "😀" * 2048)
    send(world, f"<b>{'x' * 4096}</b>", parse_mode="HTML")
    assert refusal(world, "sendmessage", chat_id=5, text="x" * 4097) == "message is too long"
    assert refusal(world, "sendmessage", chat_id=5, text="😀" * 2048 + "x") == "message is too long"


def test_texts_that_are_refused(world):
    assert refusal(world, "sendmessage", chat_id=5) == "message text is empty"
    assert refusal(world, "sendmessage", chat_id=5, text="") == "message text is empty"
    assert refusal(world, "sendmessage", chat_id=5, text=" \n") == "text must be non-empty"
    assert refusal(world, "sendmessage", chat_id=5, text="x", parse_mode="BBCode") == "unsupported parse_mode"
    assert "can't parse entities" in refusal(world, "sendmessage", chat_id=5, text="<b>", parse_mode="html")
    assert refusal(world, "sendmessage", chat_id=404, text="x") == "chat not found"
    assert world.messages(5) == []


def test_entities(world):
    assert send(world, "<b>a</b> b", parse_mode="HTML")["entities"] == [
        {"type": "bold", "offset": 0, "length": 1}
    ]
    assert send(world, "/help")["entities"] == [{"type": "bot_command", "offset": 0, "length": 5}]
    given = '[{"type":"bold","offset":1,"length":3},{"type":"mention","offset":"0","length":1}]'
    trimmed = send(world, " ab ", entities=given)
    assert (trimmed["text"], trimmed["entities"]) == ("ab", [{"type": "bold", "offset": 0, "length": 2}])
    assert "entities" not in send(world, "x", entities="nonsense")


@pytest.mark.parametrize(
    ("entity", "reason"),
    [
        ({}, "can't parse MessageEntity: Can't find field \"offset\""),
        (5, "can't parse MessageEntity: expected an Object"),
        ({"offset": 0, "length": 1, "type": "big"}, "can't parse MessageEntity: Unsupported type specified"),
        (
            {"offset": 0, "length": [], "type": "bold"},
            'can\'t parse MessageEntity: Field "length" must be of type Number',
        ),
        (
            {"offset": 0, "length": 1, "type": "text_link"},
            "can't parse MessageEntity: Can't find field \"url\"",
        ),
        ({"offset": -1, "length": 1, "type": "bold"}, "receive an entity with incorrect offset -1"),
        (
            {"offset": 1, "length": 9, "type": "bold"},
            "entity beginning at UTF-16 offset 1 ends after the end of the text at UTF-16 offset 10",
        ),
        (
            {"offset": 3, "length": 1, "type": "bold"},
            "entity begins after the end of the text at UTF-16 offset 3",
        ),
    ],
)
def test_entities_that_are_refused(world, entity, reason):
    """telegram-bot-api, Client.cpp, get_text_entity; tdlib/td, MessageEntity.cpp, clean_input_string_with_entities."""
    assert refusal(world, "sendmessage", chat_id=5, text="ab", entities=[entity]) == reason


def test_mentions(world):
    (mention,) = send(world, '<a href="tg://user?id=5">x</a>', parse_mode="HTML")["entities"]
    assert (mention["type"], mention["user"]["first_name"]) == ("text_mention", "Ann")
    assert "entities" not in send(world, '<a href="tg://user?id=77">x</a>', parse_mode="HTML")
    edit = {"chat_id": 5, "message_id": 1, "parse_mode": "HTML", "text": '<a href="tg://user?id=6">y</a>'}
    assert run(world, "editmessagetext", edit)["entities"][0]["user"]["first_name"] == "Bob"


def test_a_reply_quotes(world):
    world.send_message(5, 5, "first")
    second = send(world, "second", reply_parameters={"message_id": 1})
    assert second["reply_to_message"]["text"] == "first"
    third = send(world, "third", reply_to_message_id="2")
    assert "reply_to_message" not in third["reply_to_message"]


def test_a_reply_to_nothing(world):
    missing = {"message_id": 9}
    assert refusal(world, "sendmessage", chat_id=5, text="x", reply_parameters=missing) == (
        "message to be replied not found"
    )
    lenient = missing | {"allow_sending_without_reply": True}
    assert "reply_to_message" not in send(world, reply_parameters=lenient)
    assert refusal(world, "sendmessage", chat_id=5, text="x", reply_parameters="{") == (
        "can't parse reply parameters JSON object"
    )
    assert refusal(world, "sendmessage", chat_id=5, text="x", reply_parameters="[1]") == (
        "object expected as reply parameters"
    )


def test_a_reply_to_a_message_that_its_author_has_deleted(world):
    world.send_message(5, 5, "first")
    assert world.delete_message(5, 1)
    assert not world.delete_message(5, 1)
    reply = {"message_id": 1}
    assert refusal(world, "sendmessage", chat_id=5, text="x", reply_parameters=reply) == (
        "message to be replied not found"
    )
    assert "reply_to_message" not in send(
        world, reply_parameters=reply | {"allow_sending_without_reply": True}
    )


def test_a_reply_in_another_chat(world):
    """Telegram Bot API, ReplyParameters: allow_sending_without_reply is always False there."""
    world.send_message(6, 6, "hers")
    reply = {"message_id": 1, "chat_id": 6, "allow_sending_without_reply": True}
    shown = send(world, reply_parameters=reply)["external_reply"]
    assert (shown["chat"]["id"], shown["message_id"], shown["origin"]["type"]) == (6, 1, "user")
    world.delete_message(6, 1)
    gone = refusal(world, "sendmessage", chat_id=5, text="x", reply_parameters=reply)
    assert gone == "message to be replied not found"


def test_a_quote_is_a_part_of_the_message(world):
    """Telegram Bot API, ReplyParameters: the message is not sent if the quote is not found."""
    world.send_message(5, 5, "😀 one two")
    quote = {"message_id": 1, "quote": "<b>one</b>", "quote_parse_mode": "HTML"}
    assert send(world, reply_parameters=quote)["quote"] == {
        "text": "one",
        "position": 3,
        "is_manual": True,
        "entities": [{"type": "bold", "offset": 0, "length": 3}],
    }
    wrong = refusal(world, "sendmessage", chat_id=5, text="x", reply_parameters=quote | {"quote": "three"})
    assert wrong == "QUOTE_TEXT_INVALID"


def thread(world, chat_id, thread_id, method="sendmessage", **params):
    return refusal(world, method, chat_id=chat_id, message_thread_id=thread_id, **params)


def test_where_there_are_no_topics_none_can_be_named(world):
    """telegram-bot-api, Client.cpp, check_message_topic; tucnak/telebot#762; westacks/telebot#135 (a chain of replies)."""
    world.add_group("Us", [5], chat_id=-100)
    world.send_message(-100, 5, "a reply", message_thread_id=1)
    for chat_id in (5, -100):
        assert thread(world, chat_id, 1, text="x") == "message thread not found"
        assert thread(world, chat_id, 1, "sendchataction", action="typing") == "message thread not found"


def test_topics(world):
    """python-telegram-bot/python-telegram-bot#4739: the general topic has no id that a call may name."""
    world.add_group("Forum", [5], chat_id=-100, is_forum=True)
    world.send_message(-100, 5, "hi", message_thread_id=7, is_topic_message=True)
    place = {"chat_id": -100, "message_thread_id": 7}
    sent = run(world, "sendmessage", {**place, "text": "x"})
    assert (sent["message_thread_id"], sent["is_topic_message"]) == (7, True)
    assert run(world, "sendchataction", {**place, "action": "typing"}) is True
    assert thread(world, -100, 1, text="x") == "message thread not found"
    assert thread(world, -100, 8, text="x") == "message thread not found"
    world.close_topic(-100, 7)
    assert thread(world, -100, 7, text="x") == "TOPIC_CLOSED"
    world.close_topic(-100, 7, closed=False)
    run(world, "sendmessage", {**place, "text": "x"})
    world.delete_topic(-100, 7)
    assert thread(world, -100, 7, text="x") == "message thread not found"
    assert [message for message in world.messages(-100) if message.get("message_thread_id") == 7] == []


def test_a_bot_that_may_not_write_any_more(world):
    world.add_group("Us", [5], chat_id=-100)
    world.mute(-100)
    refused = refusal(world, "sendmessage", chat_id=-100, text="x")
    assert refused == "not enough rights to send text messages to the chat"


def test_keys_that_only_private_chats_have(world):
    """tdlib/td, ReplyMarkup.cpp."""
    world.add_group("Us", [5], chat_id=-100)
    for name, what in (("request_contact", "phone number"), ("request_location", "location")):
        markup = {"keyboard": [[{"text": "a", name: True}]]}
        assert refusal(world, "sendmessage", chat_id=-100, text="x", reply_markup=markup) == (
            f"{what} can be requested in private chats only"
        )
        send(world, reply_markup=markup)


def test_an_edit_takes_inline_keyboards_only(world):
    """tdlib/td, ReplyMarkup.cpp."""
    send(world)
    markup = {"keyboard": [["a"]]}
    assert refusal(world, "editmessagetext", chat_id=5, message_id=1, text="x", reply_markup=markup) == (
        "inline keyboard expected"
    )


def test_a_button_carries_64_bytes(world):
    """Telegram Bot API, InlineKeyboardButton: 1-64 bytes, not characters."""
    for data, fits in (("x" * 64, True), ("x" * 65, False), ("é" * 32, True), ("é" * 33, False)):
        markup = {"inline_keyboard": [[{"text": "a", "callback_data": data}]]}
        if fits:
            send(world, reply_markup=markup)
        else:
            assert (
                refusal(world, "sendmessage", chat_id=5, text="x", reply_markup=markup)
                == "BUTTON_DATA_INVALID"
            )


def test_edit_text(world):
    send(world, reply_markup=BUTTONS)
    edited = run(world, "editmessagetext", {"chat_id": 5, "message_id": "1", "text": "ho"})
    assert (edited["text"], edited["edit_date"]) == ("ho", 1_700_000_000)
    assert "reply_markup" not in edited
    assert world.messages(5) == [edited]


def test_an_edit_that_changes_nothing(world):
    send(world, reply_markup=BUTTONS)
    same = {"chat_id": 5, "message_id": 1, "text": "hi", "reply_markup": BUTTONS}
    assert refusal(world, "editmessagetext", **same).startswith(
        "message is not modified: specified new message"
    )
    run(world, "editmessagetext", same | {"text": "ho"})
    assert refusal(world, "editmessagetext", **same | {"text": "ho"}).startswith("message is not modified")
    run(world, "editmessagereplymarkup", {"chat_id": 5, "message_id": 1})
    assert refusal(world, "editmessagereplymarkup", chat_id=5, message_id=1).startswith(
        "message is not modified"
    )


def test_edit_markup(world):
    send(world)
    edited = run(world, "editmessagereplymarkup", {"chat_id": 5, "message_id": 1, "reply_markup": BUTTONS})
    assert (edited["text"], edited["reply_markup"]) == ("hi", BUTTONS)


def test_edits_that_are_refused(world):
    world.send_message(5, 5, "hers")
    world.post(world.chat_for_bot({"chat_id": 5}), {"dice": {}})
    refusals = [
        refusal(world, "editmessagetext", text="x", **params)
        for params in (
            {"chat_id": 5, "message_id": 9},
            {"chat_id": 5, "message_id": 1},
            {"chat_id": 5, "message_id": 2},
            {"inline_message_id": "9"},
            {},
        )
    ]
    assert refusals == [
        "message to edit not found",
        "message can't be edited",
        "there is no text in the message to edit",
        "MESSAGE_ID_INVALID",
        "message identifier is not specified",
    ]
    send(world)
    assert (
        refusal(world, "editmessagetext", chat_id=5, message_id=3, text="x" * 4097) == "message is too long"
    )


def test_delete(world):
    send(world)
    assert run(world, "deletemessage", {"chat_id": 5, "message_id": 1}) is True
    assert world.messages(5) == []
    assert refusal(world, "deletemessage", chat_id=5, message_id=1) == "message to delete not found"
    assert refusal(world, "deletemessage", message_id=1) == "chat identifier is not specified"
    assert refusal(world, "deletemessage", chat_id=5) == "message identifier is not specified"


def test_forward_names_the_origin(world):
    world.send_message(5, 5, "/hers")
    forward = run(world, "forwardmessage", {"chat_id": 6, "from_chat_id": 5, "message_id": 1})
    assert (forward["text"], forward["chat"]["id"], forward["from"]) == ("/hers", 6, BOT)
    assert forward["forward_origin"]["sender_user"]["id"] == 5
    again = run(world, "forwardmessage", {"chat_id": 5, "from_chat_id": 6, "message_id": 1})
    assert again["forward_origin"] == forward["forward_origin"]
    assert (
        refusal(world, "forwardmessage", chat_id=6, from_chat_id=5, message_id=99)
        == "message to forward not found"
    )


def test_a_copy_does_not_name_the_origin(world):
    world.send_message(5, 5, "hers")
    params = {"chat_id": 6, "from_chat_id": 5, "message_id": 1, "reply_markup": BUTTONS}
    assert run(world, "copymessage", params) == {"message_id": 1}
    (copy,) = world.messages(6)
    assert (copy["text"], copy["reply_markup"]) == ("hers", BUTTONS)
    assert "forward_origin" not in copy
    assert (
        refusal(world, "copymessage", chat_id=6, from_chat_id=5, message_id=99) == "message to copy not found"
    )
