import json

import pytest

from telegram.fake.methods import METHODS, run
from telegram.fake.protocol.answers import ApiError
from telegram.fake.world import World
from telegram.fake.world.queue import UpdateQueue

BOT = {"id": 7, "is_bot": True, "first_name": "Bot", "username": "bot"}


@pytest.fixture
def world():
    world = World(BOT, UpdateQueue())
    world.add_user("Ann", user_id=5)
    return world


def refusal(world, method, **params):
    with pytest.raises(ApiError) as caught:
        run(world, method, params)
    return caught.value.code, caught.value.description


def test_unknown_methods_are_404(world):
    assert refusal(world, "sendgremlin") == (404, "Not Found: method not found")
    assert all(name == method.name.lower() for name, method in METHODS.items())


def test_get_me(world):
    me = run(world, "getme", {})
    assert me["id"] == 7
    assert me["can_join_groups"] is True


def test_a_callback_is_answered_once(world):
    world.press(5, 5, 1, "x")
    query_id = json.loads(world.queue.read(0, 1)[0])["callback_query"]["id"]
    assert run(world, "answercallbackquery", {"callback_query_id": query_id}) is True
    too_old = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    assert refusal(world, "answercallbackquery", callback_query_id=query_id) == (400, too_old)
    assert refusal(world, "answercallbackquery", callback_query_id="1") == (400, too_old)


async def test_listeners_get_an_event_for_an_answer(world):
    world.push("callback_query", {"id": "9", "from": {"id": 5}})
    assert refusal(world, "answercallbackquery", callback_query_id="9", text="x" * 201)[0] == 400
    with world.listen() as events:
        run(world, "answercallbackquery", {"callback_query_id": 9, "text": "done", "show_alert": "True"})
        assert await anext(events) == {
            "type": "answer",
            "callback_query_id": "9",
            "user_id": 5,
            "text": "done",
            "show_alert": True,
        }


async def test_chat_actions(world):
    with world.listen() as events:
        assert run(world, "sendchataction", {"chat_id": 5, "action": "typing"}) is True
        assert await anext(events) == {"type": "chat_action", "chat_id": 5, "action": "typing"}
    wrong = (400, "Bad Request: wrong parameter action in request")
    assert refusal(world, "sendchataction", chat_id=5, action="juggling") == wrong
    assert refusal(world, "sendchataction", chat_id=9, action="typing") == (
        400,
        "Bad Request: chat not found",
    )


def test_get_chat_has_the_fields_that_the_bot_api_requires(world):
    chat = run(world, "getchat", {"chat_id": 5})
    assert chat["first_name"] == "Ann"
    assert chat.keys() >= {"id", "type", "accent_color_id", "max_reaction_count", "accepted_gift_types"}


def test_get_chat_member(world):
    group = world.add_group("Us", [6])["id"]

    def status(chat_id, user_id):
        return run(world, "getchatmember", {"chat_id": chat_id, "user_id": user_id})["status"]

    assert [status(group, user_id) for user_id in (6, 5, 7)] == ["member", "left", "member"]
    world.send_message(group, 5, "hello, I am new here")
    assert status(group, 5) == "member"
    assert [status(5, user_id) for user_id in (5, 6)] == ["member", "left"]
    assert refusal(world, "getchatmember", chat_id=group, user_id=404) == (400, "Bad Request: user not found")
    assert refusal(world, "getchatmember", chat_id=group) == (400, "Bad Request: invalid user_id specified")


def test_commands_by_scope_and_language(world):
    start = [{"command": "start", "description": "Begin"}]
    scope = {"type": "all_private_chats"}
    assert run(world, "getmycommands", {}) == []
    assert run(world, "setmycommands", {"commands": json.dumps(start)}) is True
    run(world, "setmycommands", {"commands": [], "scope": scope})
    run(
        world,
        "setmycommands",
        {"commands": [{"command": "/los", "description": "Los"}], "language_code": "de"},
    )
    assert run(world, "getmycommands", {"scope": '{"type":"default"}'}) == start
    assert run(world, "getmycommands", {"scope": scope}) == []
    assert run(world, "getmycommands", {"language_code": "de"}) == [{"command": "los", "description": "Los"}]
    assert run(world, "deletemycommands", {}) is True
    assert run(world, "getmycommands", {}) == []
    assert len(run(world, "getmycommands", {"language_code": "de"})) == 1


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ("{", "can't parse commands JSON object"),
        ({"a": 1}, "expected an Array of BotCommand"),
        (["start"], "can't parse BotCommand: expected an Object"),
        ([{"command": "Start", "description": "x"}], "BOT_COMMAND_INVALID"),
        ([{"command": "start"}], "BOT_COMMAND_DESCRIPTION_INVALID"),
        ([{"command": "start", "description": "x"}] * 101, "BOT_COMMANDS_TOO_MUCH"),
    ],
)
def test_commands_that_are_refused(world, commands, reason):
    assert refusal(world, "setmycommands", commands=commands) == (400, f"Bad Request: {reason}")


def test_a_command_scope_has_to_be_json(world):
    assert refusal(world, "getmycommands", scope="{")[0] == 400


def test_after_logout_everything_is_refused(world):
    assert run(world, "close", {}) is True
    assert run(world, "getme", {})
    assert run(world, "logout", {}) is True
    assert refusal(world, "getme") == (400, "Logged out")
