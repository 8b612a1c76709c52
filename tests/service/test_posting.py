"""The command `post`: what it stores, and what it says if that is not possible."""

from typing import Any

import pytest

from engine import Limits, Queue
from engine.stores import open_store
from engine.stores.memory import MemoryStore
from telegram.dialogue import EventContext, Router
from telegram.service.posting import PostEvent, post_event


def paying() -> Router:
    router = Router()

    @router.event("paid")
    async def paid(ctx: EventContext) -> None: ...

    return router


def command(**fields: Any) -> PostEvent:
    return PostEvent(**{"chat": "42", "event": "paid", **fields})


async def test_an_event_is_stored_as_the_bot_stores_it(tmp_path, capsys):
    store = await open_store(f"sqlite:{tmp_path / 'x.db'}", "1")
    given = command(chat="-1007", payload='{"sum": [1, {"a": "b"}]}', id="inv-17", user_id=5, topic=3)
    assert await post_event(store, paying(), given) == 0
    assert capsys.readouterr().out == "posted; the bot handles it at its next start\n"
    await store.close()
    store = await open_store(f"sqlite:{tmp_path / 'x.db'}", "1")  # durable
    delivery = await store.claim(Queue.INBOX)
    assert (delivery.envelope.key, delivery.envelope.scope) == ("chat:-1007", "5/3")
    assert delivery.envelope.body == (
        b'{"event":"paid","chat_id":-1007,"user_id":5,"place":{"message_thread_id":3},"payload":{"sum":[1,{"a":"b"}]},'
        b'"id":"inv-17"}'
    )
    await store.close()


async def test_a_lane_that_has_too_many_is_an_exit_code_that_says_again_later(tmp_path, capsys):
    store = await open_store(f"sqlite:{tmp_path / 'x.db'}", "1", limits=Limits(lane_timers_max=1))
    assert await post_event(store, paying(), command()) == 0
    assert await post_event(store, paying(), command()) == 1
    assert capsys.readouterr().err == (
        "run.py: post: not stored, post it again later: the lane chat:42 would have more than 1 timers\n"
    )
    await store.close()


async def test_a_store_in_memory_is_refused():
    with pytest.raises(ValueError, match="STORE_URL is memory:, which would forget the event"):
        await post_event(MemoryStore(), paying(), command())


async def test_an_event_without_a_handler_is_refused(tmp_path):
    store = await open_store(f"sqlite:{tmp_path / 'x.db'}", "1")
    with pytest.raises(ValueError, match=r"^post: no handler takes the event 'piad': did you mean 'paid'"):
        await post_event(store, paying(), command(event="piad"))
    await store.close()


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ("", "CHAT is the id of a chat"),
        ("4_2", "CHAT is the id of a chat"),
        ("+42", "CHAT is the id of a chat"),
        ("\u0664", "CHAT is the id of a chat"),
        ("4.0", "CHAT is the id of a chat"),
        ("9" * 19, "a 64-bit number"),
        ("9" * 5000, "CHAT is the id of a chat"),
    ],
)
async def test_what_is_no_chat_is_one_line(tmp_path, chat, message):
    store = await open_store(f"sqlite:{tmp_path / 'x.db'}", "1")
    with pytest.raises(ValueError, match=message) as raised:
        await post_event(store, paying(), command(chat=chat))
    assert len(str(raised.value)) < 200
    await store.close()
