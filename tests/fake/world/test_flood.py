"""Flood control; the sources of the limits are in telegram/fake/world/flood.py."""

import json

import aiohttp
import pytest

from telegram.fake import FakeServer, FloodLimits
from telegram.fake.protocol.answers import ApiError
from telegram.fake.server.control import Control
from telegram.fake.world.flood import FloodControl, messages_of

NO_LIMIT = {"overall_per_s": 0, "chat_per_s": 0, "group_per_min": 0}


class Bot:
    """Sends to a FloodControl with its own clock."""

    def __init__(self, **limits):
        self.flood = FloodControl(FloodLimits(**NO_LIMIT | limits))
        self.now = 1_700_000_000.0

    def send(self, chat_id=1, method="sendmessage", **params):
        """Return 0 for an accepted call, else retry_after."""
        params |= {"chat_id": chat_id}
        try:
            self.flood.check(method, params, self.now)
        except ApiError as error:
            assert error.code == 429
            assert error.description == f"Too Many Requests: retry after {error.parameters['retry_after']}"
            return error.parameters["retry_after"]
        self.flood.count(method, params, self.now)
        return 0

    def sent_in(self, seconds, *chat_ids, every=0.05, **call):
        """Return how many calls are accepted in continuous sending that respects retry_after."""
        end, taken, not_before = self.now + seconds, 0, dict.fromkeys(chat_ids, 0.0)
        while self.now < end:
            for chat_id in chat_ids:
                if self.now < not_before[chat_id]:
                    continue
                retry_after = self.send(chat_id, **call)
                not_before[chat_id] = self.now + retry_after
                taken += not retry_after
            self.now += every
        return taken


def test_one_a_second_in_a_chat_after_a_burst():
    bot = Bot(chat_per_s=1, chat_burst=5)
    assert [bot.send() for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert 57 <= bot.sent_in(60, 1) <= 61  # retry_after is in whole seconds
    assert bot.send(2) == 0  # another chat


def test_a_pause_gives_the_burst_back_and_no_more():
    bot = Bot(chat_per_s=1, chat_burst=3)
    assert [bot.send() for _ in range(3)] == [0, 0, 0]
    bot.now += 3600
    assert [bot.send() for _ in range(4)] == [0, 0, 0, 1]


def test_twenty_a_minute_in_a_group():
    bot = Bot(group_per_min=20)
    assert [bot.send(-1001) for _ in range(20)] == [0] * 20
    assert bot.send(-1001) == 60
    bot.now += 59
    assert bot.send(-1001) == 1
    bot.now += 1
    assert [bot.send(-1001) for _ in range(21)] == [0] * 20 + [60]
    assert [bot.send("@tea_room") for _ in range(21)] == [0] * 20 + [60]
    assert not any(bot.send(7) for _ in range(100))  # a private chat has no such limit


def test_thirty_a_second_over_all_chats():
    bot = Bot(overall_per_s=30, overall_burst=30)
    assert [bot.send(n) for n in range(30)] == [0] * 30
    assert bot.send(31) == 1
    assert bot.send(32) == 1  # all chats
    taken = bot.sent_in(10, *range(40), every=0.01)
    assert 0.9 * 300 <= taken <= 300 + 30


def test_who_does_not_wait_stays_refused_until_retry_after_has_passed():
    bot = Bot(chat_per_s=0.1, chat_burst=1)
    assert bot.send() == 0
    assert bot.send() == 10
    bot.now += 9.5
    assert bot.send() == 1
    bot.now += 0.5
    assert bot.send() == 0


def test_what_was_refused_is_not_counted():
    bot = Bot(group_per_min=1)
    assert bot.send(-5) == 0
    for _ in range(50):
        bot.now += 1
        bot.send(-5)
    assert bot.flood.refused == 50
    bot.now += 10
    assert bot.send(-5) == 0


@pytest.mark.parametrize(
    ("method", "params", "n"),
    [
        ("sendmessage", {}, 1),
        ("sendmediagroup", {"media": [{}, {}, {}]}, 3),
        ("sendmediagroup", {"media": "[{},{}]"}, 2),
        ("sendmediagroup", {"media": "["}, 1),
        ("forwardmessages", {"message_ids": [1, 2]}, 2),
        ("copymessages", {"message_ids": json.dumps([1, 2, 3])}, 3),
        ("copymessage", {}, 1),
        ("editmessagetext", {}, 1),  # tdlib/td#3034: limits of editing and sending are shared
        ("answercallbackquery", {}, 0),  # tdlib/telegram-bot-api#648: without any limits
        ("answerprecheckoutquery", {}, 0),
        ("sendchataction", {}, 0),
        ("getme", {}, 0),
        ("deletemessage", {}, 0),
    ],
)
def test_what_counts(method, params, n):
    assert messages_of(method, params) == n


def test_an_album_counts_for_each_of_its_files():
    bot = Bot(chat_per_s=1, chat_burst=5)
    album = {"method": "sendmediagroup", "media": [{}, {}, {}]}
    assert [bot.send(**album), bot.send(**album)] == [0, 1]
    assert [bot.send(), bot.send(), bot.send()] == [1, 1, 1]  # the chat waits for retry_after
    bot.now += 1
    assert [bot.send(), bot.send(), bot.send(), bot.send()] == [0, 0, 0, 1]


def test_an_album_larger_than_the_burst_goes_out_after_a_pause():
    bot = Bot(chat_per_s=1, chat_burst=5, group_per_min=6)
    album = {"method": "sendmediagroup", "media": [{}] * 10}
    assert bot.send(-3, **album) == 0
    assert bot.send(-3) == 60
    bot.now += 60
    assert bot.send(-3, **album) == 0


def test_an_edit_in_an_inline_message_has_a_limit_of_its_own():
    bot = Bot(chat_per_s=1, chat_burst=1)
    edit = {"method": "editmessagetext", "chat_id": ""}
    assert bot.send(**edit, inline_message_id="a") == 0
    assert bot.send(**edit, inline_message_id="a") == 1
    assert bot.send(**edit, inline_message_id="b") == 0


def test_idle_chats_are_forgotten(monkeypatch):
    monkeypatch.setattr("telegram.fake.world.flood._CHATS_MAX", 10)
    bot = Bot(chat_per_s=1, chat_burst=1)
    for n in range(100):
        bot.now += 0.2
        assert bot.send(n) == 0
    assert len(bot.flood._chats) <= 11
    assert bot.send(99) == 1


@pytest.mark.parametrize(
    "wrong", [{"chat_per_s": -1}, {"group_per_min": "20"}, {"overall_burst": float("nan")}]
)
def test_limits_that_are_none(wrong):
    with pytest.raises(ValueError, match="must be a finite number"):
        FloodLimits(**wrong)


async def ask(http, server, method, **params):
    async with http.post(f"{server.url}/bot{server.token}/{method}", json=params) as answer:
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


async def test_the_server_without_limits_and_with_them():
    async with FakeServer() as server, aiohttp.ClientSession() as http:
        server.world.add_user("Ann", user_id=7)
        for _ in range(10):
            assert (await ask(http, server, "sendMessage", chat_id=7, text="a"))[0] == 200
        server.world.limit(FloodLimits(chat_per_s=0.01, chat_burst=2))
        for text in ("b", "", "c"):  # an empty text is refused for what it is, and does not count
            await ask(http, server, "sendMessage", chat_id=7, text=text)
        status, body, header = await ask(http, server, "sendMessage", chat_id=7, text="d")
        assert (status, body["error_code"], header) == (429, 429, str(body["parameters"]["retry_after"]))
        assert [(call.text, call.delivered) for call in server.calls[-4:]] == [
            ("b", True),
            ("", False),
            ("c", True),
            ("d", False),
        ]
        assert server.stats().flooded == 1
        server.world.limit(None)
        assert (await ask(http, server, "sendMessage", chat_id=7, text="e"))[0] == 200


async def test_the_control_port_sets_and_lifts_the_limits():
    async with FakeServer() as server, aiohttp.ClientSession() as http:
        control = Control(server)
        await control.start()
        http.headers["Authorization"] = f"Bearer {control.key}"
        async with http.post(f"{control.url}/flood", json={"chat_burst": 3}) as answer:
            assert answer.status == 200
        assert server.world.flood is not None
        assert server.world.flood.limits == FloodLimits(chat_burst=3)
        async with http.post(f"{control.url}/flood", json={"chat_burts": 3}) as answer:
            assert answer.status == 400
        async with http.delete(f"{control.url}/flood") as answer:
            assert answer.status == 200
        assert server.world.flood is None
        await control.stop()
