"""sendMessageDraft of the fake server, with Telegram's rules.

* Private chats only: "TEXTDRAFT_PEER_INVALID" elsewhere (openclaw/openclaw#32469, fastagent-sh/fastagent#96).
* `draft_id` is not 0, a text of at most 4,096 characters, none shows "Thinking...", 30 s (Telegram Bot API, sendMessageDraft).
* An empty text passes the server's checks (tdlib/telegram-bot-api, Client.cpp, process_send_message_draft_query).
* A message of the bot takes the draft's place (grammyjs/stream#2, tdlib/td#3597).
"""

from typing import Any

import pytest

from telegram.fake.methods import run
from telegram.fake.protocol.answers import ApiError
from telegram.fake.world import World
from telegram.fake.world.queue import UpdateQueue

ALICE = 7


@pytest.fixture
def world(clock: Any) -> World:
    bot = {"id": 99, "is_bot": True, "first_name": "Bot", "username": "my_bot"}
    world = World(bot, UpdateQueue(), clock=clock)
    world.add_user("Alice", user_id=ALICE)
    return world


def draft(world: World, text: str | None = "a", chat_id: int = ALICE, draft_id: int = 5) -> None:
    given = {} if text is None else {"text": text}
    params = {"chat_id": chat_id, "draft_id": draft_id, **given}
    assert run(world, "sendmessagedraft", params, strict=True) is True


def test_a_draft_grows_and_is_no_message(world: World):
    events: list[Any] = []
    world.emit = lambda kind, **_: events.append(kind)  # type: ignore[method-assign]
    draft(world, None)
    assert world.draft(ALICE) == {"draft_id": 5, "text": ""}
    draft(world, "Hello")
    assert world.draft(ALICE) == {"draft_id": 5, "text": "Hello"}
    assert world.messages(ALICE) == []
    assert events == ["draft", "draft"]


def test_a_draft_is_gone_after_30_s_or_with_the_message(world: World, clock: Any):
    draft(world)
    clock.now += 29
    assert world.draft(ALICE) is not None
    clock.now += 1
    assert world.draft(ALICE) is None
    draft(world)
    run(world, "sendmessage", {"chat_id": ALICE, "text": "a"}, strict=True)
    assert world.draft(ALICE) is None


def test_what_telegram_refuses(world: World):
    group = world.add_group("Team", [ALICE])["id"]
    with pytest.raises(ApiError, match="TEXTDRAFT_PEER_INVALID"):
        draft(world, chat_id=group)
    with pytest.raises(ApiError, match="DRAFT_ID_INVALID"):
        draft(world, draft_id=0)
    with pytest.raises(ApiError, match="message is too long"):
        draft(world, "x" * 4097)
    with pytest.raises(ApiError, match="chat not found"):
        draft(world, chat_id=12345)
