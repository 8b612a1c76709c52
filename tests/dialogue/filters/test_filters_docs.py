"""The example of docs/filters.md, and that the page has every filter."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

import telegram.dialogue as api
from telegram.dialogue import Condition, Extract
from telegram.testing import Conversations
from tests.kit.docs import DOCS, modules


@pytest.fixture
def bot(monkeypatch: pytest.MonkeyPatch) -> Any:
    with modules("filters.md") as made, Conversations(made["gallery"].router) as bot:
        statuses: dict[int, str] = {}
        bot.statuses = statuses  # type: ignore[attr-defined]

        async def member(**params: Any) -> Any:
            return SimpleNamespace(status=statuses.get(params["user_id"], "left"))

        monkeypatch.setattr(bot._client, "get_chat_member", member, raising=False)
        yield bot


def test_commands_texts_and_patterns(bot: Any):
    alice = bot.chat("Alice")
    for said, answer in (("/add x", "add x"), ("!new y z", "add y z"), ("3 x 4", "12 pixels")):
        alice.says(said)
        assert alice.text == answer


def test_photos_of_members_and_of_others(bot: Any):
    alice, bob = bot.chat("Alice"), bot.chat("Bob")
    bot.statuses[alice.user_id] = "member"
    alice.sends(photo=True)
    assert "a member's photo" in alice.text
    for _ in range(3):
        bob.sends(photo=True)
    texts = [each["text"] for each in bob.messages if each["from"]["is_bot"]]
    assert texts == ["a photo", "a photo", "Two photos a minute, please"]


def test_alternatives_and_negations(bot: Any):
    alice = bot.chat("Alice")
    origin = {"type": "hidden_user", "sender_user_name": "X", "date": 1}
    alice.sends(document=True, forward_origin=origin)
    assert alice.text == "forwarded document"
    alice.sends(sticker=True)
    assert alice.text == "A photo, please"
    team = bot.group("Team").member("Alice")
    team.says("hello")
    assert team.text == "Write to me in private"


def test_the_page_has_every_filter():
    page = (DOCS / "filters.md").read_text()
    former = {"data", "data_prefix", "carries"}
    others = {
        "any_of",
        "no",
        "throttle",
        "regex",
        "button_prefix",
        "chat_type",
        "content",
        "kind",
        "button",
        "command",
    }
    filters = {name for name in api.__all__ if isinstance(getattr(api, name), Condition | Extract)}
    for name in (filters | others) - former:
        assert re.search(rf"\b{name}\b", page), name
