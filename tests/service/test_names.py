"""What the sender keeps of named messages, and what a repeated, corrected or incomplete send does to a name."""

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import Call, Effects, Envelope, Park, Queue, StoreUnavailable, Work
from engine.stores.memory import MemoryStore
from telegram.botapi.calls import Files, encode_call, encode_forget
from telegram.botapi.errors import Refused
from telegram.botapi.named import NamedId, naming_of
from telegram.service.names import NAMES
from telegram.service.sender import Sender
from tests.kit.deliveries import Beside

CHAT = -5
LANE = f"chat:{CHAT}"
MOVED = Refused(
    "x", 400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": -1005}
)


class Telegram:
    """Gives each message the next id; `errors` are raised one after the other."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.next_id = 10

    async def post(self, method: str, body: bytes) -> None:
        await self.upload(method, body, ())

    async def upload(self, method: str, body: bytes, files: Files) -> object:
        params = json.loads(body)
        self.calls.append((method, params))
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.next_id += 1
        chat = {"id": params.get("chat_id")}
        if method == "copyMessage":
            return {"message_id": self.next_id}
        return {"message_id": self.next_id, "chat": chat, "text": "x"} if method[:4] == "send" else True


MENU = (
    Call(LANE, encode_forget("menu")),
    Call(LANE, encode_call("sendMessage", {"chat_id": CHAT, "text": "x"}, "menu")),
)
ABOUT = {"chat_id": CHAT, "message_id": NamedId("menu")}
EDIT = Call(LANE, encode_call("editMessageText", {**ABOUT, "text": "y"}))
DELETE = Call(LANE, encode_call("deleteMessage", ABOUT))


class Lane:
    """A store with an outbox lane, and the sender of its calls."""

    def __init__(self, telegram: Telegram) -> None:
        self.store = MemoryStore()
        self.sender = Sender(telegram, jitter=lambda: 0.0)

    async def add(self, *calls: Call) -> None:
        right = await self.store.right()
        update = 1 + (await self.store.stats()).inbox.appended
        await self.store.append(right, [Envelope(update, LANE, "", b"")])
        await self.store.commit(await self.store.claim(Queue.INBOX), Effects(calls), more=False)

    async def send(self, *, dies: bool = False) -> Effects:
        """Send the next call; with `dies`, the process is killed before the commit."""
        delivery = await self.store.claim(Queue.OUTBOX)
        effects = await self.sender(Work(delivery, Beside(self.store)))
        if dies:
            await self.store.release(delivery)
        else:
            await self.store.commit(delivery, effects, more=False)
        return effects

    async def names(self) -> Any:
        return json.loads(await self.store.state(LANE, NAMES) or b"{}")


async def test_a_message_sent_twice_has_the_name_with_its_last_id():
    telegram = Telegram()
    lane = Lane(telegram)
    await lane.add(*MENU, EDIT)
    await lane.send()
    await lane.send(dies=True)
    await lane.send(dies=True)
    await lane.send()
    await lane.send()
    assert [method for method, _ in telegram.calls] == ["sendMessage"] * 3 + ["editMessageText"]
    assert telegram.calls[-1][1]["message_id"] == 13


async def test_an_edit_repeated_after_a_kill_reaches_the_same_message():
    telegram = Telegram()
    lane = Lane(telegram)
    await lane.add(*MENU, EDIT)
    for dies in (False, False, True, False):
        await lane.send(dies=dies)
    assert [params["message_id"] for _, params in telegram.calls[1:]] == [11, 11]


async def test_the_name_is_taken_from_the_older_message_before_the_new_one_is_sent():
    lane = Lane(Telegram())
    await lane.add(*MENU, *MENU)
    await lane.send()
    await lane.send()
    assert await lane.names() == {"menu": [CHAT, [11], False]}
    await lane.send()
    assert await lane.names() == {}


async def test_a_copy_has_a_name_though_its_result_has_no_chat():
    telegram = Telegram()
    lane = Lane(telegram)
    copy = encode_call("copyMessage", {"chat_id": CHAT, "from_chat_id": 9, "message_id": 1}, "menu")
    await lane.add(Call(LANE, copy), EDIT)
    await lane.send()
    await lane.send()
    assert telegram.calls[1] == ("editMessageText", {"chat_id": CHAT, "message_id": 11, "text": "y"})


async def test_a_result_without_an_id_is_logged_and_gives_no_name():
    class Odd(Telegram):
        async def upload(self, method: str, body: bytes, files: Files) -> object:
            return True

    lane = Lane(Odd())
    await lane.add(*MENU)
    with capture_logs() as logs:
        await lane.send()
        await lane.send()
    assert await lane.names() == {}
    assert [(each["event"], each["name"]) for each in logs] == [
        ("a named message was sent, but its id is not known", "menu")
    ]


async def test_a_message_that_is_sent_to_the_supergroup_has_its_id_there():
    telegram = Telegram(MOVED)
    lane = Lane(telegram)
    await lane.add(*MENU, EDIT)
    for _ in range(3):
        await lane.send()
    assert telegram.calls[-1] == ("editMessageText", {"chat_id": -1005, "message_id": 11, "text": "y"})


@pytest.mark.parametrize("call", [EDIT, DELETE])
async def test_a_call_about_a_message_of_the_former_group_is_not_sent_to_the_supergroup(call: Call):
    telegram = Telegram(None, MOVED, MOVED)
    lane = Lane(telegram)
    await lane.add(*MENU, call, call)
    for _ in range(4):
        await lane.send()
    assert [params["chat_id"] for _, params in telegram.calls] == [CHAT, CHAT, CHAT]


async def test_a_reply_to_a_message_of_the_former_group_is_sent_without_it():
    telegram = Telegram(None, MOVED)
    lane = Lane(telegram)
    reply = {"chat_id": CHAT, "text": "y", "reply_parameters": {"message_id": NamedId("menu")}}
    await lane.add(*MENU, Call(LANE, encode_call("sendMessage", reply)))
    for _ in range(3):
        await lane.send()
    assert telegram.calls[-1] == ("sendMessage", {"chat_id": -1005, "text": "y"})


async def test_a_store_that_cannot_be_read_parks_the_lane():
    class Down(MemoryStore):
        async def state(self, key: str, scope: str) -> bytes | None:
            raise StoreUnavailable("disk")

    telegram = Telegram()
    lane = Lane(telegram)
    await lane.add(*MENU)
    delivery = await lane.store.claim(Queue.OUTBOX)
    with pytest.raises(Park):
        await lane.sender(Work(delivery, Beside(Down())))
    assert telegram.calls == []


@pytest.mark.parametrize("names", [b"{", b"5", b'["a"]', b'["a",[1]]'])
def test_broken_names_are_an_error(names: bytes):
    with pytest.raises(ValueError, match="broken"):
        naming_of(b"sendMessage\t[]\t" + names + b"\n{}")


def test_no_text_of_a_user_is_taken_for_a_name():
    assert naming_of(encode_call("sendMessage", {"text": 'x\t[]\t["a",[]]\n'})) is None


def test_the_sender_needs_no_store_for_calls_without_names():
    telegram = Telegram()

    async def run() -> None:
        body = encode_call("sendMessage", {"chat_id": 1, "text": "x"})
        store = MemoryStore()
        lane = Lane(telegram)
        await lane.add(Call(LANE, body))
        delivery = await lane.store.claim(Queue.OUTBOX)
        store.state = None  # type: ignore[method-assign,assignment]
        assert await lane.sender(Work(delivery, Beside(store))) == Effects()

    asyncio.run(run())
