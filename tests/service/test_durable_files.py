"""A file in the outbox is a reference: what becomes of it from the handler to the server."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from engine import Call, Effects, Engine, EngineConfig, Envelope, Queue
from engine.stores import open_store
from engine.stores.contract import append
from telegram.botapi.calls import Files, encode_call
from telegram.botapi.files import InputFile
from telegram.botapi.types import InputMediaDocument
from telegram.client.multipart import multipart
from telegram.service.sender import Sender
from tests.kit.deliveries import context, message


class Reading:
    """Stands for a client: reads the files of a call as an upload does."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def post(self, method: str, body: bytes) -> None:
        self.bodies.append(body)

    async def upload(self, method: str, body: bytes, files: Files) -> None:
        form = await multipart(json.loads(body), files)
        self.bodies.append(b"".join([piece async for piece in form.pieces()]))


async def sent(store: Any, client: Reading) -> None:
    """Run an outbox until nothing waits in it."""
    outbox = Engine(store, Queue.OUTBOX, Sender(client), EngineConfig(workers=2))
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        outbox.start(group)
        await outbox.settle(loop.time() + 10)
        await outbox.drain(loop.time() + 10)
    assert (await store.stats()).outbox.pending == 0


async def commit(store: Any, calls: Iterable[Call]) -> None:
    await append(store, [Envelope(1, "chat:5", "", b"{}")])
    await store.commit(await store.claim(Queue.INBOX), Effects(tuple(calls)), more=False)


async def test_what_is_missing_goes_to_the_dead_letters_and_can_be_replayed(tmp_path: Path) -> None:
    url, path, client = f"sqlite:{tmp_path / 'x.db'}", tmp_path / "later.pdf", Reading()
    store = await open_store(url, "1")
    calls = [
        Call("chat:5", encode_call("sendDocument", {"chat_id": 5, "document": InputFile(path)})),
        Call("chat:5", encode_call("sendMessage", {"chat_id": 5, "text": "next"})),
    ]
    await commit(store, calls)
    await sent(store, client)
    assert client.bodies == [b'{"chat_id":5,"text":"next"}']
    (letter,) = await store.dead_letters()
    assert letter.reason == f"sendDocument: file {path} is missing: put it there and replay"
    await store.close()

    path.write_bytes(b"now it is here")
    store = await open_store(url, "1")
    assert await store.replay(letter.number)
    await sent(store, client)
    assert b"\r\n\r\nnow it is here\r\n" in client.bodies[1]
    assert await store.dead_letters() == []
    await store.close()


def test_a_handler_sends_files_like_any_call(tmp_path: Path) -> None:
    ctx = context({"message": message()})
    path = tmp_path / "x.pdf"
    ctx.call("sendDocument", chat_id=5, document=InputFile(path), thumbnail=None)
    ctx.call("sendMediaGroup", chat_id=5, media=[InputMediaDocument(media=InputFile(path))])
    first, second = (call.body for call in ctx.effects().calls)
    assert first == encode_call("sendDocument", {"chat_id": 5, "document": InputFile(path)})
    assert path.as_uri().encode() in second


def test_content_that_cannot_wait_raises_in_the_handler() -> None:
    ctx = context({"message": message()})
    with pytest.raises(ValueError, match="write it to a file"):
        ctx.call("sendDocument", chat_id=5, document=InputFile(bytes(10**6), filename="x"))
