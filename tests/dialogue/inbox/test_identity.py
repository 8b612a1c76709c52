"""Who is who: accounts that stand in for a chat are shared by strangers, and are nobody's identity."""

from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine import Delivery, Envelope
from telegram.dialogue import END, USER, End, Flow, MessageContext, Router, command, text
from tests.kit.deliveries import GROUP, Direct, context, delivery, message, press, sent

GROUP_ANONYMOUS_BOT = {
    "id": 1087968824,
    "is_bot": True,
    "first_name": "Group",
    "username": "GroupAnonymousBot",
}
CHANNEL_BOT = {"id": 136817688, "is_bot": True, "first_name": "Channel", "username": "Channel_Bot"}
TELEGRAM = {"id": 777000, "is_bot": False, "first_name": "Telegram"}
CHANNEL = {"id": -1009, "type": "channel", "title": "News"}
OTHER_GROUP = {"id": -200, "type": "supergroup", "title": "Other"}


def by(user: dict[str, Any]) -> dict[str, Any]:
    return {"from": user}


@pytest.mark.parametrize(
    ("update", "user_id", "sender_id"),
    [
        ({"message": message()}, 7, 7),
        # Telegram Bot API, Message.sender_chat; InsanusMokrassar/ktgbotapi#183, Syfaro/foxbot#88: anonymous admins
        ({"message": message(chat=GROUP, sender_chat=GROUP, **by(GROUP_ANONYMOUS_BOT))}, None, -100),
        ({"message": message(chat=GROUP, sender_chat=CHANNEL, **by(CHANNEL_BOT))}, None, -1009),
        ({"message": message(chat=GROUP, sender_chat=CHANNEL, **by(TELEGRAM))}, None, -1009),
        ({"message": message(chat=GROUP, **by(TELEGRAM))}, None, None),
        ({"channel_post": message(chat=CHANNEL, sender_chat=CHANNEL, **by(CHANNEL_BOT))}, None, -1009),
        (
            {"edited_message": message(chat=GROUP, sender_chat=GROUP, **by(GROUP_ANONYMOUS_BOT))},
            None,
            -100,
        ),
        # an anonymous admin presses under his own id, and the message with the button is the bot's
        ({"callback_query": press("x", message=message(chat=GROUP))}, 7, 7),
        (
            {
                "message_reaction": {
                    "chat": GROUP,
                    "message_id": 1,
                    "actor_chat": GROUP,
                    "date": 1,
                    "old_reaction": [],
                    "new_reaction": [],
                }
            },
            None,
            -100,
        ),
        (
            {
                "poll_answer": {
                    "poll_id": "1",
                    "voter_chat": CHANNEL,
                    "user": CHANNEL_BOT,
                    "option_ids": [0],
                    "option_persistent_ids": ["a"],
                }
            },
            None,
            -1009,
        ),
    ],
)
def test_who_an_update_is_of(update: dict[str, Any], user_id: int | None, sender_id: int | None) -> None:
    ctx = context(update)
    assert (ctx.user_id, ctx.sender_id) == (user_id, sender_id)


class S(Enum):
    ASKED = "asked"


class Data(BaseModel):
    secret: str = ""


async def test_anonymous_admins_of_two_groups_share_no_conversation() -> None:
    flow = Flow("f", S, Data, scope=USER)
    router = Router()
    router.include(flow)
    flow.at(S.ASKED).ask("Your word?")

    @flow.entry.message(command("set"))
    async def start(ctx: MessageContext, data: Data) -> Literal[S.ASKED]:
        data.secret = ctx.args
        return S.ASKED

    @flow.at(S.ASKED).message(text)
    async def show(ctx: MessageContext, data: Data) -> End[None]:
        ctx.reply(data.secret)
        return END

    store: dict[tuple[str, str], bytes | None] = {}

    class States:
        async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
            return []

        async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
            return []

        async def state(self, key: str, scope: str) -> bytes | None:
            return store.get((key, scope))

    handle = Direct(router, behind=States())

    async def says(chat: dict[str, Any], words: str) -> list[str]:
        given = delivery({"message": message(words, chat=chat, sender_chat=chat, **by(GROUP_ANONYMOUS_BOT))})
        effects = await handle(given)
        store.update({(change.key, change.scope): change.state for change in effects.states})
        return [params["text"] for _, _, params in sent(effects)]

    assert await says(GROUP, "/set of the first group") == ["Your word?"]
    assert await says(OTHER_GROUP, "what is it?") == []
    assert await says(GROUP, "what is it?") == ["of the first group"]
