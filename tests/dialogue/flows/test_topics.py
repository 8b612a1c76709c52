"""In forums the topic is part of whose conversation it is; conversations of before go on where they change first.

The stories: Peiiii/nextclaw#11 (conversations of different topics run into each other), aiogram/aiogram#1161 and #1186
(topics in the state's key, and only real ones: message_thread_id alone is a chain of replies).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import KEEP, Delivery, Effects, Envelope, Queue, StateChange
from engine.stores import open_store
from engine.stores.contract import append
from telegram.botapi.calls import encode_json
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import envelope, route, scope_without_topic
from telegram.dialogue import InboxHandler, MessageContext, Router, command, text
from telegram.testing import Conversations
from tests.dialogue.flows.test_buttons import survey
from tests.kit.deliveries import Direct, message, press

FORUM = {"id": -100, "type": "supergroup", "title": "Forum", "is_forum": True}
PRIVATE = {"id": 7, "type": "private", "first_name": "Alice"}


def topic(number: int) -> dict[str, Any]:
    return {"is_topic_message": True, "message_thread_id": number}


@pytest.mark.parametrize(
    ("item", "scope"),
    [
        (message(chat=FORUM), "7/0"),
        (message(chat=FORUM, **topic(3)), "7/3"),
        (message(chat=FORUM, message_thread_id=3), "7/0"),  # a chain of replies in the general topic
        (message(chat={**FORUM, "is_forum": None}, message_thread_id=3), "7"),
        (message(chat={"id": -100, "type": "supergroup", "title": "x"}, **topic(3)), "7/3"),
        (message(chat=FORUM, sender_chat=FORUM, **topic(3)), "-100/3"),
        (message(chat=PRIVATE, **topic(3)), "7"),
        (message(chat=FORUM, is_topic_message=True, message_thread_id="x"), "7/0"),
        (message(chat=FORUM, is_topic_message=True), "7/0"),
        ({"chat": FORUM, "message_id": 1, "date": 0, "from": {"id": 7}}, "7"),
    ],
)
def test_the_scope_of_a_message_in_a_forum(item, scope):
    assert route({"update_id": 1, "message": item}, 1) == (f"chat:{item['chat']['id']}", scope)
    pressed = press("x", message={**item, "from": {"id": 1}})
    if "sender_chat" not in item:
        assert route({"update_id": 1, "callback_query": pressed}, 1).scope == scope


def test_what_a_scope_was_before():
    assert [scope_without_topic(each) for each in ("7/3", "7/0", "/3", "7", "", "~chat")] == [
        "7",
        "7",
        "",
        None,
        None,
        None,
    ]


def test_flows_of_one_person_in_two_topics_are_two():
    with Conversations(survey()) as bot:
        group = bot.group("Forum", is_forum=True)
        alice = group.member("Alice")
        bot.scene._chats[group.id].about.topics.update({3: {"closed": False}, 4: {"closed": False}})
        for number in (3, 4):
            alice.says("/go", **topic(number))
        prompts = [each for each in alice.messages if each.get("text") == "One?"]
        assert [each["message_thread_id"] for each in prompts] == [3, 4]
        for prompt in prompts:  # each goes on by itself
            carried = prompt["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
            bot.scene.press(alice.id, alice.user_id, prompt["message_id"], carried)
            bot.happens()
            assert alice.toast == ""
        assert [call.params["message_thread_id"] for call in bot.calls("sendMessage")][-2:] == [3, 4]


# ---- conversations of before, in both stores


def remembering() -> Router:
    router = Router()

    @router.message(command("look"))
    async def looks(ctx: MessageContext) -> None:
        ctx.reply(str(ctx.data))

    @router.message(text)
    async def counts(ctx: MessageContext) -> None:
        ctx.data["count"] = ctx.data.get("count", 0) + 1

    return router


async def turn(store: Any, handler: InboxHandler, update_id: int, said: str, **fields: Any) -> Effects:
    update = {"update_id": update_id, "message": message(said, chat=FORUM, **fields)}
    await append(store, [envelope(RawUpdate(update_id, json.dumps(update).encode(), update))])
    delivery = await store.claim(Queue.INBOX)
    effects = await handler(delivery)
    await store.commit(delivery, effects, more=False)
    return effects


async def put(store: Any, scope: str, state: bytes) -> None:
    """A state as an earlier program has left it."""
    await append(store, [Envelope(1, "chat:-100", scope, b"{}")])
    await store.commit(await store.claim(Queue.INBOX), Effects(state=state), more=False)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_was_remembered_before_goes_on_in_the_topic_where_it_changes(kind, tmp_path: Path):
    store = await open_store("memory:" if kind == "memory" else f"sqlite:{tmp_path / 'x.db'}", "1")
    try:
        await put(store, "7", b'{"count":4}')
        handler = Direct(remembering(), behind=store)
        effects = await turn(store, handler, 2, "/look", **topic(3))
        assert b"{'count': 4}" in effects.calls[0].body
        assert (effects.state, effects.states) == (KEEP, ())  # whoever only looks moves nothing
        await turn(store, handler, 3, "x", **topic(4))
        assert await store.state("chat:-100", "7") is None
        assert await store.state("chat:-100", "7/4") == b'{"count":5}'
        effects = await turn(store, handler, 4, "/look", **topic(3))
        assert b"{}" in effects.calls[0].body
        await turn(store, handler, 5, "x")
        assert await store.state("chat:-100", "7/0") == b'{"count":1}'
    finally:
        await store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_flow_of_before_goes_on_and_is_over_everywhere_when_it_ends(kind, tmp_path: Path):
    store = await open_store("memory:" if kind == "memory" else f"sqlite:{tmp_path / 'x.db'}", "1")
    try:
        frame = {"flow": "survey", "version": 1, "state": "name", "data": {"given": ["old"]}, "history": []}
        await put(store, "7", encode_json({"~flow": {"stack": [frame], "timer": False}}))
        handler = Direct(survey(), behind=store)
        effects = await turn(store, handler, 2, "Alice", **topic(3))
        assert b'"text":"old"' in effects.calls[0].body
        assert await store.state("chat:-100", "7") is None
        assert await store.state("chat:-100", "7/3") is None
    finally:
        await store.close()


async def test_what_lies_in_the_topic_comes_before_what_lay_outside():
    handler = Direct(remembering(), behind=Before(b'{"count":4}'))
    update = {"update_id": 5, "message": message("x", chat=FORUM, **topic(3))}
    head = envelope(RawUpdate(5, json.dumps(update).encode(), update))
    given = Delivery(None, head, 1, None)  # type: ignore[arg-type] # not looked at
    effects = await handler(given)
    assert effects.state == b'{"count":5}'
    assert effects.states == (StateChange("chat:-100", "7", b'{"count":4}', None),)
    again = await handler(given._replace(state=b'{"count":9}'))  # there is one in the topic: that is it
    assert (again.state, again.states) == (b'{"count":10}', ())


class Before:
    """A store in which one state lies."""

    def __init__(self, state: bytes) -> None:
        self.kept = state

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        return []

    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        return []

    async def state(self, key: str, scope: str) -> bytes | None:
        return self.kept if (key, scope) == ("chat:-100", "7") else None
