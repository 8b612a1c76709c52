import json
import random

import pytest

from telegram.fake.protocol.answers import ApiError
from telegram.fake.world import World
from telegram.fake.world.messaging import CALLBACKS_MAX
from telegram.fake.world.queue import UpdateQueue

BOT = {"id": 7, "is_bot": True, "first_name": "Bot", "username": "bot"}


@pytest.fixture
def world():
    world = World(BOT, UpdateQueue(rng=random.Random(1)), clock=lambda: 1_700_000_000.5)
    world.queue.restart_ids(100)
    return world


def updates(world):
    return [json.loads(raw) for raw in world.queue.read(0, 100)]


def test_a_person_has_a_private_chat_of_the_same_id(world):
    ann = world.add_user("Ann")
    bob = world.add_user("Bob", user_id=55)
    assert ann["id"] != bob["id"] == 55
    assert world.users() == [ann, bob]
    assert world.chats() == [
        {"id": ann["id"], "type": "private", "first_name": "Ann"},
        {"id": 55, "type": "private", "first_name": "Bob"},
    ]


def test_a_group_has_a_supergroup_id(world):
    ann = world.add_user("Ann")
    group = world.add_group("Us", [ann["id"]])
    assert str(group["id"]).startswith("-100")
    assert group == {"id": group["id"], "type": "supergroup", "title": "Us"}
    assert world.add_group("Them", [], chat_id=-100_5)["id"] == -100_5


def test_say_is_the_former_name_of_send_message(world):
    with pytest.deprecated_call(match="World.say is now World.send_message"):
        assert world.say(5, 5, "hello", via_bot=BOT) == 100
    (update,) = updates(world)
    assert update["message"].items() >= {"text": "hello", "via_bot": BOT}.items()


def test_a_message_of_a_user_becomes_an_update_and_history(world):
    ann = world.add_user("Ann", user_id=5)
    assert world.send_message(5, 5, "/start now") == 100
    (update,) = updates(world)
    assert update == {
        "update_id": 100,
        "message": {
            "message_id": 1,
            "from": ann,
            "chat": {"id": 5, "type": "private", "first_name": "Ann"},
            "date": 1_700_000_000,
            "text": "/start now",
            "entities": [{"type": "bot_command", "offset": 0, "length": 6}],
        },
    }
    assert world.messages(5) == [update["message"]]


def test_message_fields_are_added_and_no_text_is_no_text(world):
    world.send_message(5, 5, "", dice={"emoji": "x", "value": 3})
    message = updates(world)[0]["message"]
    assert message["dice"]["value"] == 3
    assert "text" not in message


def test_strangers_and_strange_groups_come_into_being(world):
    world.send_message(5, 5, "hi")
    world.send_message(-1001, 6, "hi")
    world.send_message(-1001, 6, "again")
    assert [person["id"] for person in world.users()] == [5, 6]
    assert [chat["id"] for chat in world.chats()] == [5, -1001]
    assert [message["message_id"] for message in world.messages(-1001)] == [1, 2]


def test_no_user_writes_in_another_users_private_chat(world):
    with pytest.raises(ValueError, match="private chat 5"):
        world.send_message(5, 6, "hi")


def test_history_can_be_switched_off():
    world = World(BOT, UpdateQueue(), history=0)
    world.send_message(5, 5, "hi")
    assert world.messages(5) == []


def test_a_press_carries_the_message(world):
    world.send_message(5, 5, "hi")
    assert world.press(5, 5, 1, "yes") == 101
    query = updates(world)[1]["callback_query"]
    assert query["data"] == "yes"
    assert query["message"] == world.messages(5)[0]
    assert query["from"]["id"] == 5
    assert query["chat_instance"]


def test_a_press_below_a_forgotten_message_is_inaccessible(world):
    world.press(5, 5, 99, "yes")
    assert updates(world)[0]["callback_query"]["message"] == {
        "chat": {"id": 5, "type": "private", "first_name": "User 5"},
        "message_id": 99,
        "date": 0,
    }


def test_a_callback_is_taken_once(world):
    world.press(5, 5, 1, "yes")
    world.push("callback_query", {"id": "77", "from": {"id": 5}, "data": "x"})
    pressed = updates(world)[0]["callback_query"]["id"]
    assert world.take_callback(pressed)["data"] == "yes"
    assert world.take_callback(pressed) is None
    assert world.take_callback("77")["data"] == "x"
    assert world.take_callback("78") is None


def test_unanswered_callbacks_are_bounded(world):
    for n in range(CALLBACKS_MAX + 1):
        world.push("callback_query", {"id": str(n)})
    assert world.take_callback("0") is None
    assert world.take_callback("1") is not None


def test_pushed_updates_make_people_and_chats_known(world):
    world.push("message", {"chat": {"id": 5, "type": "private"}, "from": {"id": 5, "first_name": "Ann"}})
    world.push(
        "callback_query", {"id": "1", "from": {"id": 6}, "message": {"chat": {"id": -1001, "title": "Us"}}}
    )
    world.push("poll", {"id": "1"})
    world.push("message", {"chat": "nonsense", "from": 5})
    assert [person["first_name"] for person in world.users()] == ["Ann", "User 6"]
    assert [chat.get("title") for chat in world.chats()] == [None, "Us"]
    assert len(updates(world)) == 4


def test_raw_bytes_travel_untouched_and_what_is_readable_becomes_known(world):
    rest = b'"callback_query":{"id":"9","from":{"id":5},"message":{"chat":{"id":5}},"data":"\xff"}'
    assert world.push_raw(rest) == 100
    assert world.queue.read(0, 1) == [b'{"update_id":100,' + rest + b"}"]
    assert [chat["id"] for chat in world.chats()] == [5]
    assert world.take_callback("9")


def test_raw_bytes_need_not_be_json(world):
    assert world.push_raw(b"nonsense") == 100
    assert world.queue.read(0, 1) == [b'{"update_id":100,nonsense}']


def test_a_raw_update_has_its_kind(world):
    assert world.push_raw(b' "chat_member": {}') == 0  # not in the default set


def test_the_bot_gets_an_update_when_a_user_blocks_it(world):
    world.send_message(5, 5, "hi")
    world.block(5)
    world.unblock(5)
    _, blocked, unblocked = (update.get("my_chat_member") for update in updates(world))
    assert [blocked["old_chat_member"]["status"], blocked["new_chat_member"]["status"]] == [
        "member",
        "kicked",
    ]
    assert unblocked["new_chat_member"] == {"user": BOT, "status": "member"}


def test_whom_the_bot_may_write_to(world):
    world.send_message(5, 5, "hi")
    world.send_message(-1001, 6, "hi")
    assert world.chat_for_bot({"chat_id": 5}).id == world.chat_for_bot({"chat_id": "5"}).id == 5
    assert world.chat_for_bot({"from_chat_id": -1001}, "from_chat_id").id == -1001
    world.block(5)
    refusals = []
    for params in ({"chat_id": 5}, {"chat_id": 6}, {"chat_id": 404}, {"chat_id": "@nobody"}, {}):
        with pytest.raises(ApiError) as refusal:
            world.chat_for_bot(params)
        refusals.append((refusal.value.code, refusal.value.description))
    assert refusals == [
        (403, "Forbidden: bot was blocked by the user"),
        (403, "Forbidden: bot can't initiate conversation with a user"),
        (400, "Bad Request: chat not found"),
        (400, "Bad Request: chat not found"),
        (400, "Bad Request: chat_id is empty"),
    ]
    world.unblock(5)
    assert world.chat_for_bot({"chat_id": 5})


async def test_listeners_hear_everything(world):
    with world.listen() as first, world.listen() as second:
        world.send_message(5, 5, "hi")
        chat = world.chat_for_bot({"chat_id": 5})
        sent = world.post(chat, {"text": "yes?"}, {"force_reply": True})
        world.replace(chat, {**sent, "text": "yes!"})
        world.press(5, 5, sent["message_id"], "x")
        world.delete(chat, sent["message_id"])
        world.block(5)
        events = [await anext(first) for _ in range(6)]
        assert [await anext(second) for _ in range(6)] == events
    said, posted, edited, pressed, deleted, blocked = events
    assert (said["type"], said["message"]["text"]) == ("message", "hi")
    assert (posted["message"]["from"], posted["keyboard"]) == (BOT, {"force_reply": True})
    assert (edited["type"], edited["message"]["text"]) == ("edit", "yes!")
    assert edited["message"]["edit_date"] == 1_700_000_000
    assert (pressed["type"], pressed["callback_query"]["data"]) == ("callback", "x")
    assert deleted == {"type": "delete", "chat_id": 5, "message_id": 2}
    assert blocked == {"type": "block", "user_id": 5, "blocked": True}


def test_deleting_twice(world):
    world.send_message(5, 5, "hi")
    chat = world.chat_for_bot({"chat_id": 5})
    assert world.delete(chat, 1)
    assert not world.delete(chat, 1)


def test_former_names_work_with_a_warning(world):
    with pytest.deprecated_call(match="add_user"):
        ann = world.person("Ann", user_id=5)
    with pytest.deprecated_call(match="add_group"):
        assert world.group("Us", [5], chat_id=-5)["id"] == -5
    with pytest.deprecated_call(match="users"):
        assert world.people() == world.users() == [ann]
