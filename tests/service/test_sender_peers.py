"""Chats that cannot be reached, and groups that go on under another id.

Elsewhere each author writes this: a user who has blocked the bot ends the loop of a broadcast (irazasyed/telegram-bot-sdk#422,
TelegramBot/Api#94), is called again and again (GameFeeder/GameFeeder#201), or floods the log (Achaak/toogoodtogo-bot#27).
"""

import asyncio
import json
from typing import Any

import pytest
import structlog

from engine import Delivery, Effects, Envelope, Lease, Queue, Reject, Retry, Work
from telegram.botapi.calls import Files, encode_call
from telegram.botapi.errors import Refused
from telegram.botapi.files import InputFile
from telegram.botapi.routing import lane_for
from telegram.client.peers import ASK_AGAIN_S, Peers
from telegram.dialogue import Router
from telegram.service.sender import Sender
from tests.kit import deliveries
from tests.kit.deliveries import ALICE, Direct, message
from tests.kit.virtual import run_virtual

GROUP, SUPERGROUP = -4_000_000_001, -1_001_000_000_001
BLOCKED = Refused("sendMessage", 403, "Forbidden: bot was blocked by the user")


class Telegram:
    """Refuses calls to those who have blocked the bot, and to groups that moved."""

    def __init__(self, *blocked: int | str | None, moved: dict[int, int] | None = None) -> None:
        self.blocked: set[int | str | None] = set(blocked)
        self.moved = moved or {}
        self.asked: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.uploads: list[Files] = []
        self.takes_s = 0.0
        self.reason = BLOCKED

    async def post(self, method: str, body: bytes) -> None:
        call = json.loads(body)
        self.asked.append(call)
        refused = str(call.get("chat_id")) in map(str, self.blocked)
        await asyncio.sleep(self.takes_s)
        if refused:
            raise self.reason
        reply = call.get("reply_parameters") or {}
        for chat_id in (call.get("chat_id"), call.get("from_chat_id"), reply.get("chat_id")):
            for old, new in self.moved.items():
                if str(chat_id) == str(old):
                    raise Refused("x", 400, "x", {"migrate_to_chat_id": new})
        self.sent.append(call)

    async def upload(self, method: str, body: bytes, files: Files) -> None:
        self.uploads.append(files)
        await self.post(method, body)


class Bot:
    """The two that share what is known about peers, without a store between them."""

    def __init__(self, telegram: Telegram, **settings: Any) -> None:
        self.peers = Peers(**settings)
        self._sender = Sender(telegram, peers=self.peers, jitter=lambda: 0.0)
        self._handler = Direct(Router(), peers=self.peers)

    async def send(self, chat_id: int | str | None = 7, method: str = "sendMessage", **params: Any) -> str:
        given = {"text": "hi", **params} if chat_id is None else {"chat_id": chat_id, "text": "hi", **params}
        here = (
            f"business:{params['business_connection_id']}:7"
            if "business_connection_id" in params
            else "chat:1"
        )
        lane = here if here.startswith("business:") else lane_for(chat_id, None, here)
        head = Envelope(1, lane, "", encode_call(method, given))
        try:
            effects = await self._sender(Work(Delivery(Lease(Queue.OUTBOX, head.key, 1), head, 1, None)))
        except (Reject, Retry) as verdict:
            return f"{type(verdict).__name__}: {verdict}"
        assert effects == Effects()
        return "done"

    async def sees(self, **update: Any) -> None:
        effects = await self._handler(deliveries.delivery(update))
        assert {call.body.partition(b"\n")[0] for call in effects.calls} <= {b"answerCallbackQuery"}


async def test_calls_to_who_has_blocked_the_bot_are_dropped_and_counted():
    telegram = Telegram(7)
    bot = Bot(telegram)
    for _ in range(4):
        assert await bot.send(7) == "done"
    assert await bot.send("7") == "done"
    assert await bot.send(8) == "done"
    assert [call["chat_id"] for call in telegram.asked] == [7, 8]
    assert (bot.peers.gone, bot.peers.dropped) == (1, 5)
    assert bot.peers.unreachable() == {7: ("Forbidden: bot was blocked by the user", 5)}


def test_a_thousand_calls_to_who_has_blocked_the_bot_are_one_line_in_the_log():
    async def main() -> None:
        bot = Bot(Telegram(7, 8))
        for _ in range(500):
            assert [await bot.send(7), await bot.send(8)] == ["done", "done"]
        await asyncio.sleep(ASK_AGAIN_S)
        assert await bot.send(7) == "done"

    with structlog.testing.capture_logs() as logs:
        run_virtual(main())
    text = "a chat cannot be reached: calls to it are dropped"
    assert [(log["event"], log["chat_id"], log["reason"]) for log in logs] == [
        (text, chat_id, "Forbidden: bot was blocked by the user") for chat_id in (7, 8)
    ]


async def test_by_the_setting_each_call_is_sent_and_is_a_dead_letter():
    telegram = Telegram(7)
    bot = Bot(telegram, drops=False)
    assert [await bot.send(7) for _ in range(3)] == [f"Reject: {BLOCKED}"] * 3
    assert (len(telegram.asked), bot.peers.gone, bot.peers.dropped) == (3, 0, 0)


@pytest.mark.parametrize(
    "update",
    [
        {"message": message()},
        {
            "callback_query": {
                "id": "1",
                "from": ALICE,
                "chat_instance": "1",
                "message": message(),
                "data": "x",
            }
        },
        *(
            {
                "my_chat_member": {
                    "chat": message()["chat"],
                    "from": ALICE,
                    "date": 1,
                    "old_chat_member": {"status": "left", "user": ALICE},
                    "new_chat_member": {"status": status, "user": ALICE},
                }
            }
            for status in ("member", "administrator", "a status of the future")
        ),
    ],
    ids=str,
)
async def test_a_chat_that_comes_back_gets_calls_again_and_the_number_of_dropped_ones_is_logged_once(update):
    telegram = Telegram(7)
    bot = Bot(telegram)
    for _ in range(3):
        await bot.send(7)
    telegram.blocked.clear()
    with structlog.testing.capture_logs() as logs:
        await bot.sees(**update)
        await bot.sees(**update)
        assert await bot.send(7) == "done"
    assert len(telegram.sent) == 1
    assert [(log["event"], log["chat_id"], log["calls_dropped"]) for log in logs] == [
        ("a chat can be reached again", 7, 3)
    ]
    assert bot.peers.gone == 0


@pytest.mark.parametrize(
    "update",
    [
        {"message": message(chat={"id": 8, "type": "private"})},
        {"inline_query": {"id": "1", "from": ALICE, "query": "x", "offset": ""}},
        {"business_message": message(business_connection_id="c")},
        {"guest_message": message(guest_query_id="q")},
        *(
            {
                "my_chat_member": {
                    "chat": message()["chat"],
                    "from": ALICE,
                    "date": 1,
                    "old_chat_member": {"status": "member", "user": ALICE},
                    "new_chat_member": {"status": status, "user": ALICE, "until_date": 0},
                }
            }
            for status in ("left", "kicked")
        ),
    ],
    ids=str,
)
async def test_what_does_not_say_that_the_chat_can_be_reached_changes_nothing(update):
    telegram = Telegram(7)
    bot = Bot(telegram)
    await bot.send(7)
    await bot.sees(**update)
    await bot.send(7)
    assert len(telegram.asked) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"chat_id": 7, "business_connection_id": "c"},  # another account's chat
        {"chat_id": None},
        {"chat_id": "@seven"},
    ],
    ids=str,
)
async def test_only_calls_to_that_chat_are_dropped(params):
    telegram = Telegram(7)
    bot = Bot(telegram)
    await bot.send(7)
    telegram.blocked.clear()
    await bot.send(**params)
    assert len(telegram.sent) == 1
    assert bot.peers.gone == 1


DEACTIVATED = "Forbidden: user is deactivated"
NEVER_STARTED = "Forbidden: bot can't initiate conversation with a user"
KICKED = "Forbidden: bot was kicked from the {}"
NO_MEMBER = "Forbidden: bot is not a member of the {}"
CHANNEL = -1_001_000_000_002


@pytest.mark.parametrize(
    ("chat_id", "params", "reason"),
    [
        (7, {"from_chat_id": 9}, BLOCKED.description),  # a chat to copy from is only read
        (7, {"from_chat_id": CHANNEL}, BLOCKED.description),
        (7, {"from_chat_id": "@news"}, DEACTIVATED),
        (GROUP, {"user_id": 9}, KICKED.format("group chat")),
        (GROUP, {"from_chat_id": CHANNEL}, NO_MEMBER.format("group chat")),
        (GROUP, {}, "Forbidden: the group chat was deleted"),
        (SUPERGROUP, {"from_chat_id": 9}, KICKED.format("supergroup chat")),
        (SUPERGROUP, {"from_chat_id": GROUP}, NO_MEMBER.format("supergroup chat")),
        (SUPERGROUP, {"reply_parameters": {"chat_id": SUPERGROUP}}, KICKED.format("supergroup chat")),
        (CHANNEL, {}, KICKED.format("channel chat")),
        ("@News", {}, NO_MEMBER.format("channel chat")),
    ],
    ids=str,
)
async def test_the_text_of_a_refusal_says_whether_it_is_about_the_chat_of_the_call(chat_id, params, reason):
    """The texts and who is meant: telegram-bot-api, Client.cpp, check_chat_access; NEVER_STARTED: TelegramBotAPI/errors#2."""
    telegram = Telegram(chat_id)
    telegram.reason = Refused("x", 403, reason)
    bot = Bot(telegram)
    assert await bot.send(chat_id, **params) == "done"
    assert (bot.peers.gone, bot.peers.dropped) == (1, 1)


@pytest.mark.parametrize(
    ("chat_id", "params", "reason"),
    [
        (7, {"user_id": 9}, DEACTIVATED),
        (7, {"business_connection_id": "c"}, BLOCKED.description),
        (7, {"from_chat_id": CHANNEL}, NO_MEMBER.format("channel chat")),
        (SUPERGROUP, {"user_id": 9}, DEACTIVATED),
        (SUPERGROUP, {"from_chat_id": GROUP}, KICKED.format("group chat")),
        ("@seven", {"from_chat_id": 9}, BLOCKED.description),
        (SUPERGROUP, {"from_chat_id": CHANNEL}, KICKED.format("channel chat")),
        (SUPERGROUP, {"from_chat_id": "@news"}, KICKED.format("channel chat")),
        (SUPERGROUP, {"reply_parameters": {"chat_id": CHANNEL}}, NO_MEMBER.format("channel chat")),
        (None, {"user_id": 7}, BLOCKED.description),
    ],
    ids=str,
)
async def test_a_refusal_that_may_mean_another_peer_marks_no_chat(chat_id, params, reason):
    telegram = Telegram(chat_id)
    telegram.reason = Refused("x", 403, reason)
    bot = Bot(telegram)
    assert await bot.send(chat_id, **params) == f"Reject: x: 403 {reason}"
    assert bot.peers.gone == 0


async def test_the_first_call_to_who_has_never_started_the_bot_is_a_dead_letter():
    """A bot that writes to members of a group, who did not ask for it: obviyus/SuperSeriousBot#317, lnp2pBot/bot#159."""
    telegram = Telegram(7)
    telegram.reason = Refused("x", 403, NEVER_STARTED)
    bot = Bot(telegram)
    assert [await bot.send(7) for _ in range(3)] == [f"Reject: x: 403 {NEVER_STARTED}", "done", "done"]
    assert (len(telegram.asked), bot.peers.dropped) == (1, 2)


async def test_calls_to_a_username_are_all_sent_and_in_one_line_of_the_log():
    telegram = Telegram("@news", "@News")
    telegram.reason = Refused("x", 403, KICKED.format("channel chat"))
    bot = Bot(telegram)
    with structlog.testing.capture_logs() as logs:
        assert [await bot.send(each) for each in ("@news", "@News", "@news")] == ["done"] * 3
        assert (len(telegram.asked), bot.peers.dropped) == (3, 3)
        telegram.blocked.clear()
        assert await bot.send("@news") == "done"
    assert [log["event"][:25] for log in logs] == ["a chat cannot be reached:", "a chat can be reached aga"]
    assert bot.peers.gone == 0


async def test_other_refusals_mark_no_chat():
    class Refusing(Telegram):
        async def post(self, method: str, body: bytes) -> None:
            raise Refused(method, 403, "Forbidden: CHAT_WRITE_FORBIDDEN")

    bot = Bot(Refusing())
    for _ in range(2):
        assert await bot.send(7) == "Reject: sendMessage: 403 Forbidden: CHAT_WRITE_FORBIDDEN"
    assert bot.peers.gone == 0


def test_now_and_then_a_call_finds_out_whether_a_chat_has_come_back_without_a_word():
    async def main() -> None:
        telegram = Telegram(7)
        bot = Bot(telegram)
        await bot.send(7)
        for _ in range(2):
            await asyncio.sleep(ASK_AGAIN_S)
            assert [await bot.send(7) for _ in range(3)] == ["done"] * 3  # one asks, and is no dead letter
        assert (len(telegram.asked), bot.peers.dropped) == (3, 7)
        telegram.takes_s = 1.0
        await asyncio.sleep(ASK_AGAIN_S)
        assert list(await asyncio.gather(bot.send(7), bot.send(7))) == ["done"] * 2
        assert (len(telegram.asked), bot.peers.dropped) == (4, 9)
        telegram.blocked.clear()
        assert await bot.send(7) == "done"
        assert telegram.sent == []
        await asyncio.sleep(ASK_AGAIN_S)
        assert [await bot.send(7) for _ in range(3)] == ["done"] * 3
        assert (len(telegram.sent), bot.peers.gone) == (3, 0)

    run_virtual(main())


def test_a_call_that_was_in_flight_when_the_chat_came_back_is_sent_again():
    async def main() -> None:
        telegram = Telegram(7)
        telegram.takes_s = 1.0
        bot = Bot(telegram)
        early = asyncio.create_task(bot.send(7))
        await asyncio.sleep(0.5)
        telegram.blocked.clear()
        await bot.sees(message=message("/start"))
        assert await early == f"Retry: {BLOCKED}"
        assert (bot.peers.gone, bot.peers.dropped) == (0, 0)
        assert await bot.send(7) == "done"
        assert len(telegram.sent) == 1

    run_virtual(main())


async def test_what_is_remembered_is_bounded_and_the_least_recently_called_goes():
    telegram = Telegram(*range(1, 10))
    bot = Bot(telegram, kept_max=3)
    for chat_id in (1, 2, 3, 1, 4):
        await bot.send(chat_id)
    assert bot.peers.gone == 3
    telegram.asked.clear()
    for chat_id in (1, 3, 4, 2):
        await bot.send(chat_id)
    assert [call["chat_id"] for call in telegram.asked] == [2]


# ---- groups that moved


async def test_a_call_to_a_group_that_moved_goes_to_its_new_id_at_once_and_the_next_one_directly():
    telegram = Telegram(moved={GROUP: SUPERGROUP})
    bot = Bot(telegram)
    assert await bot.send(GROUP) == "done"
    assert await bot.send(str(GROUP), text='ж <&> \\ "chat_id":1') == "done"
    assert [call["chat_id"] for call in telegram.asked] == [GROUP, SUPERGROUP, SUPERGROUP]
    assert [call["text"] for call in telegram.sent] == ["hi", 'ж <&> \\ "chat_id":1']


async def test_every_place_where_the_group_stands_gets_the_new_id():
    telegram = Telegram(moved={GROUP: SUPERGROUP})
    bot = Bot(telegram)
    await bot.send(7, "forwardMessage", from_chat_id=GROUP, message_id=3)
    await bot.send(7, reply_parameters={"chat_id": GROUP, "message_id": 3})
    assert telegram.sent[0]["chat_id"] == telegram.sent[1]["chat_id"] == 7
    assert telegram.sent[0]["from_chat_id"] == SUPERGROUP
    assert telegram.sent[1]["reply_parameters"] == {"chat_id": SUPERGROUP, "message_id": 3}


async def test_files_go_to_the_new_id_too():
    telegram = Telegram(moved={GROUP: SUPERGROUP})
    document = InputFile("/some/where.pdf")
    assert await Bot(telegram).send(GROUP, "sendDocument", document=document) == "done"
    assert telegram.sent == [{"chat_id": SUPERGROUP, "text": "hi", "document": None}]
    assert [files[0].file for files in telegram.uploads] == [document, document]


async def test_with_two_groups_it_is_unknown_which_one_moved_until_a_call_names_only_one():
    telegram = Telegram(moved={GROUP: SUPERGROUP})
    bot = Bot(telegram)
    other = GROUP - 1
    assert "Reject: x: 400 x" in await bot.send(other, "forwardMessage", from_chat_id=GROUP)
    assert telegram.sent == []
    await bot.send(GROUP)
    assert await bot.send(other, "forwardMessage", from_chat_id=GROUP) == "done"
    assert (telegram.sent[1]["chat_id"], telegram.sent[1]["from_chat_id"]) == (other, SUPERGROUP)


async def test_a_group_that_seems_to_move_for_ever_is_a_dead_letter():
    telegram = Telegram(moved={GROUP: SUPERGROUP, SUPERGROUP: GROUP})
    assert "Reject: x: 400 x" in await Bot(telegram).send(GROUP)
    assert len(telegram.asked) == 2


async def test_what_happens_at_the_new_id_counts_as_at_any():
    telegram = Telegram(SUPERGROUP, moved={GROUP: SUPERGROUP})
    bot = Bot(telegram)
    telegram.reason = Refused("x", 403, KICKED.format("supergroup chat"))
    assert await bot.send(GROUP) == "done"
    telegram.asked.clear()
    assert [await bot.send(GROUP), await bot.send(SUPERGROUP)] == ["done", "done"]
    assert telegram.asked == []


async def test_a_call_of_a_chats_lane_on_behalf_of_a_business_account_is_not_dropped():
    bot = Bot(Telegram(7))
    await bot.send(7)
    head = Envelope(
        1,
        "chat:7",
        "",
        encode_call("sendMessage", {"chat_id": 7, "business_connection_id": "b", "text": "x"}),
    )
    assert not bot.peers.drops(head.key, head.body.partition(b"\n")[2])
    assert bot.peers.drops(head.key, b'{"chat_id":7}')


def test_the_params_of_calls_to_chats_that_can_be_reached_are_not_parsed(monkeypatch):
    peers = Peers()
    run_virtual(_lose(peers))
    monkeypatch.setattr(json, "loads", None)
    for lane in ("chat:8", "post:8", "chat:@name", "query:7", "business:b:7", "inline:7"):
        assert not peers.drops(lane, b"{}")
        peers.reached(lane, b"{}")
    assert peers.gone == 1


async def _lose(peers: Peers) -> None:
    assert peers.lost(BLOCKED, b'{"chat_id":7}', 0.0) == "first"


def test_which_refusals_say_that_a_chat_is_out_of_reach():
    assert BLOCKED.unreachable
    assert not Refused("x", 400, "Bad Request: bot was blocked by the user").unreachable
    assert not Refused("x", 403, "Forbidden: can't parse: bot was blocked by the user").unreachable


@pytest.mark.parametrize("chat_id", ["9" * 5000, "-", "1.0", "name", [1], {}, True, 1.0, None])
def test_what_is_no_chats_number_is_no_chat(chat_id):
    async def play() -> None:
        peers = Peers()
        assert peers.lost(BLOCKED, b'{"chat_id":1}', 0.0) == "first"
        params = json.dumps({"chat_id": chat_id}).encode()
        assert not peers.drops(f"chat:{chat_id}", params)
        assert peers.lost(BLOCKED, params, 0.0) is None
        assert peers.moved(Refused("x", 400, "x", {"migrate_to_chat_id": SUPERGROUP}), params) is None
        peers.reached(f"chat:{chat_id}", params)
        assert peers.gone == 1

    run_virtual(play())


def test_a_refusal_that_names_no_new_id_moves_no_group():
    peers = Peers()
    params = b'{"chat_id":%d}' % GROUP
    assert peers.moved(Refused("x", 400, "Bad Request"), params) is None
    assert peers.readdressed(params) is params


def test_a_supergroup_and_a_person_move_nowhere():
    """Only a group becomes a supergroup (Telegram Bot API, ResponseParameters.migrate_to_chat_id)."""
    peers = Peers()
    for chat_id in (SUPERGROUP, 7):
        params = b'{"chat_id":%d}' % chat_id
        assert peers.moved(Refused("x", 400, "x", {"migrate_to_chat_id": SUPERGROUP - 1}), params) is None
        assert peers.readdressed(params) is params


def test_a_chat_that_wrote_when_the_call_began_is_there():
    async def play() -> None:
        peers = Peers()
        peers.seen(7)
        now = asyncio.get_running_loop().time()
        assert peers.lost(BLOCKED, b'{"chat_id":7}', now) == "back"
        assert peers.gone == 0
        assert peers.lost(BLOCKED, b'{"chat_id":7}', now + 0.1) == "first"
        assert peers.gone == 1

    run_virtual(play())
