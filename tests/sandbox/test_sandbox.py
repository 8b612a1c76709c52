import asyncio
import errno
import re
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType

import telegram.fake.world.events
import telegram.sandbox.lanes
from telegram.fake import Fault
from telegram.sandbox.lanes import lane_name
from telegram.sandbox.server import Sandbox
from tests.kit.bounds import WITHIN_S
from tests.kit.playground import KEYBOARD, MENU, playground

FOLDER = Path(telegram.sandbox.lanes.__file__).parent
ADA, GRACE, LINUS, GROUP = 1001, 1002, 1003, -1_001_000_000_001


class Page:
    """A page: its WebSocket, and all messages received so far."""

    def __init__(self, socket):
        self.socket = socket
        self.heard = []

    async def action(self, do, **fields):
        await self.socket.send_json({"do": do, **fields})

    async def until(self, wanted):
        """Return the next message for which `wanted` is true; messages found before are skipped."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = await self.socket.receive_json()
                self.heard.append(message)
                if wanted(message):
                    return message

    async def until_type(self, kind):
        return await self.until(lambda message: message["type"] == kind)

    async def until_lanes(self, wanted):
        return await self.until(lambda message: message["type"] == "lanes" and wanted(message))

    async def until_said(self, chat, text):
        return (await self.until(lambda message: said(message) == (chat, text)))["message"]

    async def until_bot_said(self, chat, text):
        def wanted(message):
            return said(message) == (chat, text) and message["message"]["from"]["is_bot"]

        return (await self.until(wanted))["message"]


def said(event):
    if event["type"] not in ("message", "edit"):
        return None
    return event["message"]["chat"]["id"], event["message"]["text"]


def row(lanes, chat):
    return next((row for row in lanes["rows"] if row["key"] == f"chat:{chat}"), None)


@pytest.fixture
async def play(monkeypatch):
    monkeypatch.setattr(telegram.sandbox.lanes, "LINGER_S", 600.0)  # lanes stay, however late they are read
    async with playground() as play:
        yield play


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as http:
        yield http


@asynccontextmanager
async def open_page(http, sandbox):
    async with http.get(f"{sandbox.url}key") as answer:
        live = f"{sandbox.url}live?key={await answer.text()}"
    async with http.ws_connect(live, origin=sandbox.url.rstrip("/")) as socket:
        yield Page(socket)


@pytest.fixture
async def page(play, http):
    async with open_page(http, play.sandbox) as page:
        yield page


# -- the files of the page -------------------------------------------------------------------------------


async def test_every_file_of_the_page_is_served(play, http):
    names = ["", *(path.name for kind in ("html", "css", "js") for path in FOLDER.glob(f"*.{kind}"))]
    assert len(names) > 8
    types = {"": "text/html", "html": "text/html", "css": "text/css", "js": "text/javascript"}
    for name in names:
        async with http.get(play.sandbox.url + name) as answer:
            content_type = answer.content_type.replace(
                "application/java", "text/java"
            )  # Python 3.11 and older
            assert (answer.status, content_type) == (200, types[name.rpartition(".")[2]]), name
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"


def test_the_page_names_no_other_place():
    for path in [path for kind in ("html", "css", "js") for path in FOLDER.glob(f"*.{kind}")]:
        urls = re.findall(
            r"(?:https?:)?//[\w$]+[^\s'\"`)]*", re.sub(r"(?m)(^|\s)// .*$", "", path.read_text())
        )
        assert set(urls) <= {"http://www.w3.org/2000/svg", "//${location.host}/live?key=${key}"}, path


@pytest.mark.parametrize("path", ["sandbox.py", "..%2fsandbox.py", "%2e%2e/server.py", "page.html/"])
async def test_nothing_else_is_served(play, http, path):
    async with http.get(play.sandbox.url + path) as answer:
        assert answer.status == 404


# -- access control --------------------------------------------------------------------------------------


async def test_it_listens_on_loopback_only(play):
    assert [host for host, _ in play.sandbox._runner.addresses] == ["127.0.0.1"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", play.sandbox.url)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:80", 200),
        ("127.0.0.1", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost:1:2", 403),
        ("evil.example/127.0.0.1", 403),
    ],
)
async def test_only_our_own_names_are_answered(play, http, host, status):
    for name in ("", "page.js"):
        async with http.get(play.sandbox.url + name, headers={"Host": host}) as answer:
            assert answer.status == status


async def test_a_socket_for_another_name_is_refused_even_to_its_own_page(play, http):
    evil = {"Host": "evil.example", "Origin": "http://evil.example"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await http.ws_connect(f"{play.sandbox.url}live?key={await key_of(play, http)}", headers=evil)
    assert refusal.value.status == 403


async def key_of(play, http):
    async with http.get(f"{play.sandbox.url}key") as answer:
        return await answer.text()


@pytest.mark.parametrize("key", ["", "?key=", "?key=%FF", "?key=guess", "?yek={}", "?key={}x"])
async def test_a_socket_needs_the_key_of_this_start(play, http, key):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await http.ws_connect(
            f"{play.sandbox.url}live{key.format(await key_of(play, http))}",
            origin=play.sandbox.url.rstrip("/"),
        )
    assert refusal.value.status == 403


async def test_the_key_is_new_with_each_start(play, http):
    async with (
        Sandbox(play.fake, play.bot, play.store, play.lanes, port=0) as second,
        http.get(f"{second.url}key") as answer,
    ):
        assert await answer.text() != await key_of(play, http)


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://{host}", "http://{host}.x"]
)
async def test_only_our_own_page_may_open_the_socket(play, http, origin):
    host = play.sandbox.url.removeprefix("http://").rstrip("/")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await http.ws_connect(
            f"{play.sandbox.url}live?key={await key_of(play, http)}",
            origin=origin and origin.format(host=host),
        )
    assert refusal.value.status == 403


async def test_a_malformed_request_leaves_nothing_in_the_log(play, http, caplog):
    async with http.get(f"{play.sandbox.url}{'a' * 9000}") as answer:
        assert answer.status == 400
    assert [each for each in caplog.records if "request" in each.getMessage()] == []


async def test_a_taken_port_is_an_error_of_one_line(play):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = port + 2 if port < 65_000 else port - 2
        with pytest.raises(OSError, match="taken") as error:
            async with Sandbox(play.fake, play.bot, play.store, play.lanes, port=port):
                pass
    assert error.value.errno == errno.EADDRINUSE
    assert error.value.strerror == (
        f"port {port} is taken: choose another with SANDBOX_PORT={other}, or 0 for any free one"
    )
    assert error.value.__cause__ is None
    assert len(play.fake.world.users()) == 3  # it did not set up its people twice


# -- chatting --------------------------------------------------------------------------------------------


async def test_a_new_page_sees_three_people_and_their_group(page):
    world = await page.until_type("world")
    assert world["bot"]["is_bot"]
    assert [person["first_name"] for person in world["people"]] == ["Ada", "Grace", "Linus"]
    assert [(chat["id"], chat["type"]) for chat in world["chats"]] == [
        (ADA, "private"),
        (GRACE, "private"),
        (LINUS, "private"),
        (GROUP, "supergroup"),
    ]
    assert all((chat["messages"], chat["keyboard"]) == ([], None) for chat in world["chats"])


async def test_two_people_and_a_group_are_answered_each_in_their_chat(play, page):
    await page.action("say", chat=ADA, user=ADA, text="from Ada")
    await page.until_bot_said(ADA, "from Ada")
    await page.action("say", chat=GRACE, user=GRACE, text=" from Grace\n")
    await page.until_bot_said(GRACE, "from Grace")
    await page.action("say", chat=GROUP, user=LINUS, text="from Linus")
    asked = await page.until_said(GROUP, "from Linus")
    assert asked["from"]["first_name"] == "Linus"
    await page.until_bot_said(GROUP, "from Linus")
    assert [len(play.fake.world.messages(chat)) for chat in (ADA, GRACE, LINUS, GROUP)] == [2, 2, 0, 2]


async def test_a_later_page_shows_earlier_messages(play, page, http):
    await page.action("say", chat=ADA, user=ADA, text="before")
    await page.until_bot_said(ADA, "before")
    async with open_page(http, play.sandbox) as later:
        ada, *_ = (await later.until_type("world"))["chats"]
        assert [message["text"] for message in ada["messages"]] == ["before", "before"]
        await later.action("say", chat=ADA, user=ADA, text="after")
        await page.until_bot_said(ADA, "after")


async def test_a_button_waits_for_its_answer_and_edits_in_place(page):
    await page.action("say", chat=ADA, user=ADA, text="/start")
    message = await page.until_bot_said(ADA, "Press one.")
    assert message["reply_markup"] == KEYBOARD
    await page.action("press", chat=ADA, user=ADA, message=message["message_id"], data="edit")
    query = (await page.until_type("callback"))["callback_query"]
    assert (query["data"], query["message"]["message_id"]) == ("edit", message["message_id"])
    edit = (await page.until_type("edit"))["message"]
    assert (edit["message_id"], edit["text"]) == (message["message_id"], "Edited 1")
    assert (await page.until_type("answer"))["callback_query_id"] == query["id"]


async def test_the_text_of_an_answer_reaches_the_page(page):
    await page.action("press", chat=GROUP, user=GRACE, message=1, data="alert")
    answer = await page.until_type("answer")
    assert (answer["text"], answer["show_alert"], answer["user_id"]) == ("an <i>alert</i>", True, GRACE)
    lanes = await page.until_lanes(
        lambda lanes: len(lanes["rows"]) == 2 and lanes["outbox"]["committed"] == 1
    )
    (answered,) = [row for row in lanes["rows"] if row["key"].startswith("query:")]
    assert (answered["name"], answered["outbox"]["done"]) == ("Answer to a query", 1)


async def test_typing_and_deleting_reach_the_page(page):
    await page.action("say", chat=ADA, user=ADA, text="/typing")
    assert (await page.until_type("chat_action"))["chat_id"] == ADA
    await page.action("say", chat=ADA, user=ADA, text="/delete")
    assert (await page.until_type("delete"))["message_id"] == 1


async def test_a_reply_keyboard_outlives_the_page(play, page, http):
    await page.action("say", chat=LINUS, user=LINUS, text="/menu")
    event = await page.until(lambda message: "keyboard" in message)
    assert event["keyboard"] == MENU
    async with open_page(http, play.sandbox) as later:
        keyboards = {chat["id"]: chat["keyboard"] for chat in (await later.until_type("world"))["chats"]}
        assert keyboards == {ADA: None, GRACE: None, LINUS: MENU, GROUP: None}


async def test_every_page_shows_new_users(play, page, http):
    async with open_page(http, play.sandbox) as other:
        await other.until_type("world")
        await page.action("add_person", name=" Edsger ")
        edsger = await other.until_type("joined")
        assert edsger["user"]["first_name"] == edsger["chat"]["first_name"] == "Edsger"
        await other.action("say", chat=edsger["chat"]["id"], user=edsger["user"]["id"], text="hi")
        await page.until_bot_said(edsger["chat"]["id"], "hi")
        await page.action("add_group", title="Two")
        assert (await other.until_type("joined"))["chat"]["title"] == "Two"


async def test_an_action_that_cannot_be_is_refused_and_the_page_goes_on(page):
    await page.action("say", chat=ADA, user=GRACE, text="x")
    assert "no such person" in (await page.until_type("refused"))["reason"]
    await page.socket.send_str("{")
    assert "JSON" in (await page.until_type("refused"))["reason"]
    await page.action("say", chat=ADA, user=ADA, text="still here")
    await page.until_bot_said(ADA, "still here")


# -- the lanes -------------------------------------------------------------------------------------------


async def test_a_busy_lane_shows_its_worker_and_others_go_on(play, page):
    await page.action("press", chat=ADA, user=ADA, message=1, data="slow")
    for number in range(3):
        await page.action("say", chat=ADA, user=ADA, text=f"waits {number}")
    await page.action("say", chat=GRACE, user=GRACE, text="overtakes")
    await page.until_bot_said(GRACE, "overtakes")
    lanes = await page.until_lanes(lambda lanes: row(lanes, ADA)["inbox"]["pending"] == 4)
    ada = row(lanes, ADA)
    assert (ada["name"], ada["inbox"]["status"], ada["inbox"]["attempt"]) == ("Ada", "leased", 1)
    assert ada["inbox"]["worker"] == play.bot.running()[0][0].worker
    assert (lanes["inbox"]["pending"], lanes["inbox"]["appended"]) == (4, 5)
    lanes = await page.until_lanes(lambda lanes: row(lanes, GRACE)["outbox"]["done"] == 1)
    assert row(lanes, GRACE)["inbox"] == {
        "status": "idle",
        "pending": 0,
        "done": 1,
        "worker": None,
        "running_s": 0.0,
        "attempt": 0,
        "parked_s": 0.0,
        "reason": "",
    }
    play.gate.set()
    await page.until_bot_said(ADA, "waits 2")
    answers = [m["message"]["text"] for m in page.heard if said(m) and m["message"]["from"]["is_bot"]]
    assert answers == ["overtakes", "The slow job is done.", "waits 0", "waits 1", "waits 2"]


async def test_a_lane_that_is_done_stays_a_while_and_vanishes(page, monkeypatch):
    monkeypatch.setattr(telegram.sandbox.lanes, "LINGER_S", 0.3)
    await page.action("say", chat=LINUS, user=LINUS, text="hi")
    lanes = await page.until_lanes(lambda lanes: row(lanes, LINUS) and row(lanes, LINUS)["outbox"]["done"])
    assert row(lanes, LINUS)["inbox"]["done"] == 1
    assert (await page.until_lanes(lambda lanes: not lanes["rows"]))["outbox"]["committed"] == 1


async def test_a_burst_is_answered_in_order_in_every_chat(play, page):
    await page.action("burst")
    await play.fake.wait_for_calls(80, "sendMessage")
    for chat in (ADA, GRACE, LINUS, GROUP):
        said_there = play.fake.world.messages(chat)
        expected = [f"{number} of 20" for number in range(1, 21)]
        assert [message["text"] for message in said_there if message["from"]["is_bot"]] == expected
        assert [message["text"] for message in said_there if not message["from"]["is_bot"]] == expected
    speakers = {message["from"]["id"] for message in play.fake.world.messages(GROUP)}
    assert speakers >= {ADA, GRACE, LINUS}
    lanes = await page.until_lanes(lambda lanes: lanes["outbox"]["committed"] == 80)
    assert [each["outbox"]["done"] for each in lanes["rows"]] == [20] * 4


async def test_a_parked_lane_shows_the_reason_and_for_how_long(play, page):
    play.fake.faults.add(Fault("status", code=429, retry_after=900, method="sendMessage"))
    await page.action("say", chat=ADA, user=ADA, text="hi")
    lanes = await page.until_lanes(
        lambda lanes: row(lanes, ADA) and row(lanes, ADA)["outbox"]["status"] == "parked"
    )
    outbox = row(lanes, ADA)["outbox"]
    assert 600 < outbox["parked_s"] <= 901
    assert "retry after 900" in outbox["reason"].lower()
    assert outbox["pending"] == 1


async def test_dead_letters_are_listed_and_can_be_put_back(play, page):
    await page.action("say", chat=ADA, user=ADA, text="/bury")
    lanes = await page.until_lanes(lambda lanes: lanes["dead"])
    (letter,) = lanes["dead"]
    assert {name: letter[name] for name in ("queue", "key", "name", "attempts", "reason")} == {
        "queue": "inbox",
        "key": f"chat:{ADA}",
        "name": "Ada",
        "attempts": 1,
        "reason": "<b>no</b> way",
    }
    play.gate.set()
    await page.action("replay", number=letter["number"])
    await page.until_bot_said(ADA, "dug out")
    await page.until_lanes(lambda lanes: not lanes["dead"])
    await page.action("replay", number=letter["number"])
    assert "no dead letter" in (await page.until_type("refused"))["reason"]


async def test_the_played_telegram_takes_its_time_but_not_for_news(play):
    async with Sandbox(play.fake, play.bot, play.store, play.lanes, port=0, answer_after_s=0.5):
        assert play.fake.faults.pick("sendmessage", {}).seconds == 0.5
        assert play.fake.faults.pick("getupdates", {}) is None
        play.fake.faults.clear()


# -- connects and disconnects ----------------------------------------------------------------------------


async def test_a_page_that_fell_behind_gets_a_new_snapshot(play, http, monkeypatch):
    monkeypatch.setattr(telegram.fake.world.events, "EVENTS_MAX", 3)
    async with open_page(http, play.sandbox) as page:
        await page.until_type("world")
        for number in range(30):  # without a pause: the page cannot keep up
            play.fake.world.send_message(ADA, ADA, f"{number}")
        ada, *_ = (await page.until_type("world"))["chats"]
        assert "7" in [message["text"] for message in ada["messages"]]


async def test_the_end_of_the_sandbox_closes_its_pages(http, own_port):
    async def last_words(socket):
        while not socket.closed:
            await socket.receive()
        return socket.close_code

    async with playground(port=own_port) as play:
        url = play.sandbox.url
        live = f"{url}live?key={await (await http.get(f'{url}key')).text()}"
        pages = [await http.ws_connect(live, origin=url.rstrip("/")) for _ in range(2)]
        listening = [asyncio.create_task(last_words(page)) for page in pages]
    async with asyncio.timeout(WITHIN_S):
        assert await asyncio.gather(*listening) == [WSCloseCode.GOING_AWAY] * 2
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.get(url)


async def test_a_page_that_cannot_be_updated_is_closed_so_that_it_reconnects(play, page, monkeypatch):
    await page.until_type("world")

    async def broken():
        raise RuntimeError("no numbers today")

    with monkeypatch.context() as patch:
        patch.setattr(play.store, "stats", broken)
        async with asyncio.timeout(WITHIN_S):
            while (await page.socket.receive()).type is WSMsgType.TEXT:
                pass
    assert page.socket.closed


async def test_a_page_that_goes_leaves_nothing_behind(play, http):
    async with open_page(http, play.sandbox) as page:
        await page.until_type("world")
        assert len(play.sandbox._pages) == 1
    async with asyncio.timeout(WITHIN_S):
        while play.sandbox._pages or len(play.fake.world._listeners) > 1:  # one is the sandbox's own
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("chat:5", "Ada"),
        ("post:5", "Post to Ada"),
        ("post:@channel", "Post to @channel"),
        ("query:40001", "Answer to a query"),
        ("inline:AB:C", "Inline message"),
        ("payment:5", "Payments of Ada"),
        ("inline_query:5", "Inline queries of Ada"),
        ("join_request:5:7", "Requests to join Ada"),
        ("chat:6", ""),
        ("update:1", ""),
    ],
)
def test_each_kind_of_lane_has_a_name_on_the_board(key, name):
    assert lane_name(key, {"chat:5": "Ada"}) == name
