"""Where a kill -9 hits: moments in a bot's life, each brought about on purpose.

A bot that does things in the wrong order is caught at some of them every time, not only when luck helps:

| it ...                                                  | is caught while | because                            |
|---------------------------------------------------------|-----------------|------------------------------------|
| confirms updates to Telegram before they are stored     | storing         | they are nowhere: lost             |
| sends a reply before the commit that made it is durable | committing      | handled again: committed twice     |
| handles what Telegram delivers again                    | committing      | the batch was not confirmed        |
| takes a call off the outbox before Telegram has done it | sending         | the call is nowhere: lost          |
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

from telegram.fake import Fault
from tests.torture.stage import Stage

BURST: Final = 100
"""Updates that are on their way when the kill comes: a full batch."""

_BATCHES: Final = 3  # a tenth of a second of work, which is enough to meet it
_STARTING_S: Final = 0.8
_DRAINING_S: Final = 0.25
_FROZEN_S: Final = 1.0
_STALLED_S: Final = 0.2  # far more than it takes to confirm, to handle (20 ms) and to send
_UNDER_WAY_S: Final = 0.05
_WITHIN_S: Final = 1.0
_LOOK_EVERY_S: Final = 0.002

Aim = Callable[[Stage], Awaitable[None]]
"""Takes the stage with a running bot, which has ended when it returns."""


async def whenever(stage: Stage) -> None:
    """At any moment."""
    await stage.kill()


async def storing(stage: Stage) -> None:
    """While updates are stored: they have come from Telegram, and for a moment the file takes nothing in."""
    async with stage.stalled_store():
        await stage.say(BURST)
        await asyncio.sleep(_STALLED_S)
        await stage.kill()


async def handling(stage: Stage) -> None:
    """While handlers are at work."""
    await _stored_unconfirmed(stage)
    await stage.kill()
    await stage.clear_faults()


async def committing(stage: Stage) -> None:
    """While handlers commit, and for a moment the file takes nothing in; their updates are not yet confirmed."""
    await _stored_unconfirmed(stage)
    async with stage.stalled_store():
        await asyncio.sleep(_STALLED_S)
        await stage.kill()
    await stage.clear_faults()


async def sending(stage: Stage) -> None:
    """While calls are on their way to Telegram, which never executes them."""
    await stage.fake.add_fault(Fault("hang", method="sendMessage"))
    await stage.say(BURST)
    await _hung(stage)
    await asyncio.sleep(stage.rng.uniform(0, _UNDER_WAY_S))
    await stage.kill()
    await stage.clear_faults()


async def _stored_unconfirmed(stage: Stage) -> None:
    """Return when batches have just been stored: the poll that would confirm the last one hangs, handlers are at work."""
    polls = (await stage.fake.stats()).polls
    await stage.say(_BATCHES * BURST)

    async def answered() -> bool:
        return (await stage.fake.stats()).polls >= polls + _BATCHES

    await _soon(answered)
    await stage.fake.add_fault(Fault("hang", method="getUpdates"))
    await _hung(stage)


async def _hung(stage: Stage) -> None:
    """Return when a call hangs."""

    async def hit() -> bool:
        return any(fault.kind == "hang" and fault.hits for fault in await stage.fake.faults())

    await _soon(hit)


async def _soon(has_come: Callable[[], Awaitable[bool]]) -> None:
    """Return when it has come, or after a while: other trouble may keep it from coming."""
    give_up = time.monotonic() + _WITHIN_S
    while not await has_come() and time.monotonic() < give_up:
        await asyncio.sleep(_LOOK_EVERY_S)


async def draining(stage: Stage) -> None:
    """While it stops gracefully, which slow answers make last; it may still be faster than the kill."""
    slow = Fault("slow", seconds=_DRAINING_S, method="sendMessage", probability=0.2)
    await stage.fake.add_fault(slow)
    await stage.say(BURST)
    await asyncio.sleep(stage.rng.uniform(0, _UNDER_WAY_S))
    stage.bot.send_signal(signal.SIGTERM)
    await asyncio.sleep(stage.rng.uniform(0, _DRAINING_S))
    await stage.kill(may_have_ended=True)
    await stage.clear_faults()


async def frozen(stage: Stage) -> None:
    """While it stands still."""
    await stage.freeze(stage.rng.uniform(0, _FROZEN_S), thaw=False)
    await stage.kill()


async def starting(stage: Stage) -> None:
    """While it starts anew, after another kill: the file is opened and read back."""
    await stage.kill()
    await stage.bot.spawn()
    await asyncio.sleep(stage.rng.uniform(0, _STARTING_S))
    await stage.kill()


ALL: Final[tuple[Aim, ...]] = (storing, handling, committing, sending, whenever, draining, starting)
