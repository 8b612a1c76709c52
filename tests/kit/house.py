"""An engine on a memory store with a diary of what its handler did, on virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from engine import Call, Delivery, Effects, Engine, EngineConfig, Envelope, Handler, Queue, Work
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from tests.kit.virtual import run_virtual

NOTHING = Effects()
INBOX = Queue.INBOX


def update(id_: int, key: str = "chat:1") -> Envelope:
    return Envelope(id_, key, "", b"")


def now() -> float:
    return asyncio.get_running_loop().time()


class House:
    """An engine on a memory store, with a diary of what its handler did."""

    def __init__(
        self, handler: Callable[["House", Delivery], Coroutine[Any, Any, Effects | None]], **config: Any
    ):
        self.store: Any = config.pop("store", None) or MemoryStore()
        self.diary: list[tuple[float, str, int]] = []
        self._handler = handler
        jitter = config.pop("jitter", 1.0)
        failed, arrived = config.pop("failed", None), config.pop("arrived", None)
        self.works: dict[int, Work] = {}  # by id, the last of each
        self.engine = Engine(
            self.store,
            INBOX,
            Hooked(self._handle, failed, arrived),
            EngineConfig(**{"workers": 4, **config}),
            jitter=lambda: jitter,
        )

    async def _handle(self, work: Work) -> Effects:
        delivery = work.delivery
        self.works[delivery.envelope.id] = work
        self.note("begin", delivery)
        effects = await self._handler(self, delivery)
        self.note("end", delivery)
        return NOTHING if effects is None else effects

    def note(self, what: str, delivery: Delivery) -> None:
        self.diary.append((round(now(), 3), what, delivery.envelope.id))

    async def until_idle(self) -> None:
        while (await self.store.stats()).inbox.pending:
            await asyncio.sleep(0.01)


class Hooked:
    """A handler with hooks; None: without that one."""

    def __init__(
        self,
        handle: Handler,
        failed: Callable[[Delivery, bool], tuple[Call, ...]] | None,
        arrived: Callable[[Sequence[Envelope]], object] | None,
    ) -> None:
        self._handle = handle
        self.failed = failed
        self.arrived = arrived

    async def __call__(self, work: Work) -> Effects:
        return await self._handle(work)


def in_house(
    house: House,
    *updates: Envelope,
    then: Callable[[], Coroutine[Any, Any, None]] | None = None,
    within_s: float = 300.0,
) -> None:
    """Start the house, give it updates, wait until it is idle (or do `then`), drain it.

    TimeoutError if that takes more than `within_s` seconds of virtual time: a delivery is never settled.
    """

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            house.engine.start(group)
            await append(house.store, updates)
            async with asyncio.timeout(within_s):
                await (then or house.until_idle)()
            await house.engine.drain(now() + 10)

    run_virtual(main())


def dead(house: House) -> list[tuple[int, int, str]]:
    """Return (id, attempts, reason) of the dead letters, newest first."""
    letters = run_virtual(house.store.dead_letters())
    return [(letter.envelope.id, letter.attempts, letter.reason) for letter in letters]


def begins(house: House, id_: int) -> list[float]:
    """Return when the handler of an update began."""
    return [at for at, what, seen in house.diary if what == "begin" and seen == id_]
