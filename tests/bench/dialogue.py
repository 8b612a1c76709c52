"""What a step of a conversation costs on top of a no-op update: decode, route, state, transition, one reply."""

import asyncio
import time
from enum import Enum
from typing import Literal

import uvloop
from pydantic import BaseModel

from engine import Effects, Engine, EngineConfig, Handler, Inbox, Queue, Work
from telegram.dialogue import (
    Flow,
    InboxHandler,
    MessageContext,
    Router,
    chat_type,
    command,
    content,
    data,
    text,
)
from tests.bench.material import a_store, batches
from tests.bench.report import Row

CHATS = 1000
HANDLERS = 200


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


class Count(BaseModel):
    steps: int = 0
    name: str = ""


def conversation() -> Flow[Side, Count]:
    """Two states that lead to each other; each takes any text, and replies."""
    flow = Flow("bench", Side, Count)

    @flow.entry.message(text)
    async def begin(ctx: MessageContext, count: Count) -> Literal[Side.LEFT]:
        return Side.LEFT

    @flow.at(Side.LEFT).message(text)
    async def left(ctx: MessageContext, count: Count) -> Literal[Side.RIGHT]:
        count.steps += 1
        ctx.reply("to the right")
        return Side.RIGHT

    @flow.at(Side.RIGHT).message(text)
    async def right(ctx: MessageContext, count: Count) -> Literal[Side.LEFT]:
        count.steps += 1
        ctx.reply("to the left")
        return Side.LEFT

    return flow


def crowded(flow: Flow[Side, Count]) -> Router:
    """The flow, asked last, behind 200 other handlers in ten nested routers."""
    outer = Router()
    for number in range(10):
        inner = Router(chat_type("private"))
        for each in range(HANDLERS // 10):
            name = f"name{number}x{each}"

            async def handler() -> None: ...

            match each % 4:
                case 0 | 1:
                    inner.message(command(name))(handler)
                case 2:
                    inner.callback_query(data(name))(handler)
                case _:
                    inner.message(content("photo"))(handler)
        outer.include(inner)
    outer.include(flow)
    return outer


async def cpu_us(handler: Handler, updates: int) -> float:
    """CPU of the whole engine for one update, in us; the calls stay in the outbox."""
    left = updates
    all_handled = asyncio.Event()

    async def counted(work: Work) -> Effects:
        nonlocal left
        left -= 1
        if not left:
            all_handled.set()
        return await handler(work)

    work = batches(updates, CHATS)
    async with a_store("memory") as store, asyncio.TaskGroup() as group:
        engine = Engine(store, Queue.INBOX, counted, EngineConfig(workers=64))
        inbox = Inbox(store)
        engine.start(group)
        started = time.process_time()
        for batch in work:
            await inbox.accept(await inbox.right(), batch)
            await asyncio.sleep(0)
        await all_handled.wait()
        while (await store.stats()).inbox.pending:
            await asyncio.sleep(0)
        took = time.process_time() - started
        await engine.drain(asyncio.get_running_loop().time() + 5)
    return took / updates * 1e6


async def _no_op(_: Work) -> Effects:
    return Effects()


def run(rounds: int, scale: float) -> list[Row]:
    nothing, step, many = [], [], []
    updates = int(30_000 * scale)
    for _ in range(rounds):
        alone = Router()
        alone.include(conversation())
        nothing.append(uvloop.run(cpu_us(_no_op, updates)))
        step.append(uvloop.run(cpu_us(InboxHandler(alone), updates)))
        many.append(uvloop.run(cpu_us(InboxHandler(crowded(conversation())), updates)))
    added = [a - b for a, b in zip(step, nothing, strict=True)]
    crowd = [a - b for a, b in zip(many, nothing, strict=True)]
    return [
        Row("no-op update, CPU", "us", nothing),
        Row("decode, route, state, transition, one reply: on top of it", "us", added).at_most(100),
        Row(f"the same behind {HANDLERS} handlers in nested routers", "us", crowd),
        Row("the second over the first", "ratio", [a / b for a, b in zip(crowd, added, strict=True)]).at_most(
            1.5
        ),
    ]
