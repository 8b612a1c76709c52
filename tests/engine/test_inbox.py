"""The door for updates: room, and durability."""

import asyncio

import structlog

from engine import Effects, Envelope, Inbox, Queue
from engine.stores.memory import MemoryStore
from tests.kit.virtual import run_virtual


def test_room_shrinks_with_what_is_pending_and_comes_back():
    async def main() -> None:
        store = MemoryStore()
        inbox = Inbox(store, pending_max=3)
        assert await inbox.room() == 3
        await inbox.accept([Envelope(id_, "chat:1", "", b"") for id_ in range(3)])
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
    await inbox.alias("chat:new", "chat:old")
    await inbox.accept([Envelope(1, "chat:new", "", b"")])
    assert (await store.claim(Queue.INBOX)).envelope.key == "chat:old"
