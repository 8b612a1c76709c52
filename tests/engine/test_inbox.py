"""The door for updates: room, and durability."""

import asyncio

import pytest
import structlog

from engine import Effects, Envelope, Inbox, Post, Queue, RightLost, StoreUnavailable
from engine.stores.memory import MemoryStore
from tests.kit.virtual import run_virtual


def test_room_shrinks_with_what_is_pending_and_comes_back():
    async def main() -> None:
        store = MemoryStore()
        inbox = Inbox(store, pending_max=3)
        assert await inbox.room() == 3
        await inbox.accept(await inbox.right(), [Envelope(id_, "chat:1", "", b"") for id_ in range(3)])
        waiting = asyncio.create_task(inbox.room())
        await asyncio.sleep(5)
        assert not waiting.done()
        await store.commit(await store.claim(Queue.INBOX), Effects(), more=False)
        assert await waiting == 1

    with structlog.testing.capture_logs() as logs:
        run_virtual(main())
    assert [entry["event"] for entry in logs] == ["inbox full: polling waits"]


async def test_an_alias_is_the_stores():
    store = MemoryStore()
    inbox = Inbox(store)
    await inbox.accept(await inbox.right(), [Envelope(1, "chat:new", "", b"")], [("chat:new", "chat:old")])
    assert (await store.claim(Queue.INBOX)).envelope.key == "chat:old"


async def test_the_right_is_the_stores_and_is_given_up():
    store = MemoryStore()
    inbox, peer = Inbox(store), Inbox(store.peer())
    mine = await inbox.right()
    assert await inbox.right() == mine
    waiting = asyncio.create_task(peer.right())
    await asyncio.sleep(0)
    assert not waiting.done()
    await inbox.resign(mine)
    theirs = await waiting
    await peer.accept(theirs, [Envelope(1, "chat:1", "", b"")])
    with pytest.raises(RightLost):
        await inbox.accept(mine, [Envelope(2, "chat:1", "", b"")])


async def test_who_does_not_append_posts():
    store = MemoryStore()
    inbox, peer = Inbox(store), Inbox(store.peer())
    await inbox.right()
    await peer.post([Post("chat:1", "", b"a")])
    assert (await store.claim(Queue.INBOX)).envelope.body == b"a"


async def test_a_full_inbox_takes_no_post():
    store = MemoryStore()
    inbox = Inbox(store, pending_max=1)
    await inbox.post([Post("chat:1", "", b"a")])
    with pytest.raises(StoreUnavailable, match="the inbox is full"):
        await inbox.post([Post("chat:2", "", b"b")])
    await store.commit(await store.claim(Queue.INBOX), Effects(), more=False)
    await inbox.post([Post("chat:2", "", b"b")])
