"""What is done to a store between two cuts: a source of updates, workers of both queues, and an operator."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from itertools import count
from typing import Any, Final, TypeVar

from engine import (
    Call,
    DeadLetter,
    Delivery,
    Effects,
    Envelope,
    LeaseLost,
    Queue,
    StoreUnavailable,
    Timer,
)
from engine.store import FullStore
from engine.stores.contract import append
from tests.power.history import Finding, History, Name, Update

T = TypeVar("T")
ASK_AGAIN_S: Final = 0.2
TIMERS: Final = "timers"  # the scope in which they are handled
_TIMER_AFTER_S: Final = {"due": 0.0, "far": 1_000_000.0}
_SIZES: Final = (0, 40, 40, 200, 200, 600, 3000, 9000)
_PAUSES_S: Final = (0.0, 0.0, 0.001, 0.003, 0.01)
_BATCH_MAX: Final = 12
_PENDING_MAX: Final = 60
_ID_STEP: Final = 5_000_000  # from one numbering to the next; a fall by so much is a new numbering


class PowerCutError(Exception):
    """Whoever asked the store is as dead as the store."""


class Work:
    """The tasks around one store. `is_off` tells whether the power has failed; `plain` commits and does no more."""

    def __init__(
        self,
        store: FullStore,
        history: History,
        rng: random.Random,
        is_off: Callable[[], bool],
        *,
        plain: bool = False,
    ) -> None:
        self.findings: list[Finding] = []
        self._store = store
        self._history = history
        self._rng = rng
        self._is_off = is_off
        self._plain = plain
        self._asked: set[int] = set()  # to append these, at least once

    async def run(self, for_s: float) -> None:
        """Work until the power fails, and at most so long."""
        work = [self.poll(), self.operate(), *(self.work(queue) for queue in [*Queue, *Queue, Queue.INBOX])]
        await self.during(work, asyncio.sleep(for_s))

    async def during(self, work: Iterable[Coroutine[Any, Any, None]], until: Awaitable[Any]) -> None:
        """Work until that is done, or the power fails."""
        tasks = [asyncio.ensure_future(until), *(asyncio.create_task(part) for part in work)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, PowerCutError):
                raise result

    async def ask(self, act: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """Ask until the store does it, as the engine does; return also whether the first answer was the one."""
        for tries in count():
            try:
                return await act(), not tries
            except Exception as error:
                if self._is_off():
                    raise PowerCutError from None
                if not isinstance(error, StoreUnavailable):
                    raise
                await asyncio.sleep(ASK_AGAIN_S)
        raise AssertionError

    # -- Telegram ---------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Append what Telegram has not forgotten, then new updates, and with them some that were confirmed."""
        await self.append_the_rest()
        while True:
            await asyncio.sleep(self._rng.choice(_PAUSES_S))
            if (await self._store.stats()).inbox.pending < _PENDING_MAX:
                again = [id_ for id_ in self._history.updates if self._rng.random() < 0.02]
                await self.append([*again, *self.new_batch()])

    async def append_the_rest(self) -> None:
        """Append what was never confirmed."""
        for batch in self._history.batches:
            if not self._history.confirmed.issuperset(batch):
                await self.append(batch)

    def new_batch(self) -> list[int]:
        """Let users write; one batch in a hundred or so begins a new numbering."""
        rng, updates = self._rng, self._history.updates
        last = next(reversed(updates), _ID_STEP * 1000)
        if rng.random() < 0.01:  # not used before: each numbering has a step of its own
            last = (min(updates, default=last) // _ID_STEP - 1) * _ID_STEP
        batch = []
        for _ in range(rng.randint(1, _BATCH_MAX)):
            last += rng.choice((1, 1, 1, 2, 50))
            key = f"chat:{rng.choice((1, 1, 1, 2, 2, 3, 4, 5))}"
            calls = tuple(rng.choice((key, key, "chat:1")) for _ in range(rng.randrange(3)))
            updates[last] = Update(last, key, rng.choice("ab"), calls, rng.choice(("", "", "due", "far")))
            batch.append(last)
        self._history.batches.append(batch)
        return batch

    async def append(self, ids: list[int]) -> None:
        history = self._history
        envelopes = [Envelope(id_, *history.updates[id_][1:3], self._padding()) for id_ in ids]
        before = frozenset(history.committed), frozenset(history.done), frozenset(history.came)
        expected = set(ids) - history.confirmed
        is_first = self._asked.isdisjoint(expected)
        self._asked |= expected
        new, at_once = await self.ask(lambda: append(self._store, envelopes))
        if new != len(expected) and (new or (is_first and at_once)):
            self.findings.append(Finding("seen", f"append said {new} of {ids} were new, not {len(expected)}"))
        history.confirmed.update(ids)
        history.synced(*before)

    # -- the bot ----------------------------------------------------------------------------------------------

    async def work(self, queue: Queue) -> None:
        """Handle what comes; now and then in ways that a store has to be ready for."""
        while True:
            delivery: Delivery | None
            delivery, _ = await self.ask(lambda: self._store.claim(queue))
            if (queue, delivery.lease.fence) in self._history.fences:
                self.findings.append(Finding("fence", f"{delivery.lease} was given out before"))
            self._history.fences.add((queue, delivery.lease.fence))
            while delivery is not None:
                await asyncio.sleep(self._rng.choice(_PAUSES_S))
                try:
                    delivery = await self.settle(delivery)
                except LeaseLost:
                    delivery = None

    async def settle(self, delivery: Delivery) -> Delivery | None:
        rng, store, id_ = self._rng, self._store, delivery.envelope.id
        if delivery.envelope.is_timer:
            return await self.come(delivery)
        is_update = delivery.lease.queue is Queue.INBOX
        name = name_of(delivery.envelope.body) if not is_update else (id_, 0)
        chance = 1.0 if self._plain else rng.random()
        if chance < 0.04:
            await self.ask(lambda: store.release(delivery))
        elif chance < 0.09:
            if is_update:
                self._history.buried.add(id_)
            else:
                self._history.buried_calls.add(name)
            await self.ask(lambda: store.bury(delivery, "buried"))
        elif chance < 0.17:
            delay_s, reason = rng.choice((0.0, 0.01, 0.05, 2.0)), str(id_ if is_update else name)
            counted = rng.random() < 0.5
            await self.ask(lambda: store.park(delivery, delay_s, counted=counted, reason=reason))
        elif is_update:
            return await self.commit(delivery, self.effects(delivery), self._history.committed, id_)
        else:
            self._history.sent.add(name)
            return await self.commit(delivery, Effects(), self._history.done, name)
        return None

    async def come(self, delivery: Delivery) -> Delivery | None:
        """Handle a timer: the state tells which came, and how often."""
        id_, ids = int(delivery.envelope.body), ids_of(delivery.state)
        if id_ in ids:
            self.findings.append(Finding("twice", f"the timer of {id_} comes again, after its effects"))
        effects = Effects(state=f"{','.join(map(str, [*ids, id_]))}|".encode())
        return await self.commit(delivery, effects, self._history.came, id_)

    def effects(self, delivery: Delivery) -> Effects:
        """The new state is the old one and this id, so that a state tells what was handled, and how often."""
        update = self._history.updates[delivery.envelope.id]
        ids = ids_of(delivery.state)
        if update.id in ids:
            self.findings.append(Finding("twice", f"update {update.id} comes again, after its effects"))
        state = f"{','.join(map(str, [*ids, update.id]))}|".encode() + self._padding()
        calls = (
            Call(key, b"%d.%d|" % name + self._padding())
            for name, key in zip(update.names(), update.calls, strict=True)
        )
        after_s = _TIMER_AFTER_S.get(update.timer)
        timer = Timer(str(update.id), after_s, b"%d" % update.id, TIMERS)
        return Effects(tuple(calls), state, () if after_s is None else (timer,))

    async def commit(self, delivery: Delivery, effects: Effects, said: set[T], name: T) -> Delivery | None:
        """Commit, at times with a first try whose answer is lost."""
        more = self._rng.random() < 0.7
        if self._rng.random() < 0.08:
            first = asyncio.create_task(self._store.commit(delivery, effects, more=more))
            first.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody hears it
            for _ in range(self._rng.randrange(6)):
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
        following, _ = await self.ask(lambda: self._store.commit(delivery, effects, more=more))
        said.add(name)
        return following

    # -- the operator -----------------------------------------------------------------------------------------

    async def operate(self) -> None:
        """Look at the dead letters, and replay one of them."""
        while True:
            await asyncio.sleep(0.02)
            letters, _ = await self.ask(lambda: self._store.dead_letters(10))
            if letters:
                await self.replay(self._rng.choice(letters))

    async def replay_all(self) -> None:
        while letters := (await self.ask(lambda: self._store.dead_letters(10)))[0]:
            for letter in letters:
                await self.replay(letter)

    async def replay(self, letter: DeadLetter) -> None:
        if letter.queue is Queue.INBOX:
            self._history.buried.add(letter.envelope.id)  # also what found its lane full
        await self.ask(lambda: self._store.replay(letter.number))

    def _padding(self) -> bytes:
        return self._rng.randbytes(self._rng.choice(_SIZES))


def ids_of(state: bytes | None) -> list[int]:
    """The ids that went into a state."""
    return [int(id_) for id_ in state.split(b"|", 1)[0].split(b",")] if state else []


def name_of(body: bytes) -> Name:
    """The name of a call."""
    id_, number = body.split(b"|", 1)[0].split(b".")
    return int(id_), int(number)
