"""The actions of an operator, on the store of one bot and on the process that runs it. Plain data in and out.

What lasts is in the store: a lane that was parked, and a queue that was paused, stay so after a new start of the bot, until
they are released. Draining ends one process, as SIGTERM does.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from engine import LaneView, Oldest, Queue, Running
from engine.isolate import frames_of
from engine.store import ALL_LANES, FullStore, LaneOrder
from telegram.botapi.calls import decode_call
from telegram.botapi.errors import redact
from telegram.operating.letters import Json, hash_of, summary, whole, with_start
from telegram.operating.rates import Rates
from telegram.process.blocking import place_among

RUNNING_MAX: Final = 200
RANKED_S: Final = 0.8
"""The order of all lanes is looked up once within this time, however many look."""

_REASON_MAX: Final = 300


class RunningBot(Protocol):
    """What is needed of a Bot."""

    @property
    def is_started(self) -> bool:
        """Whether it handles updates."""
        ...

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        ...

    def running(self) -> tuple[list[Running], list[Running]]:
        """Return the running handlers of the inbox and the running calls of the outbox."""
        ...


class Operating:
    """`bot` is None while none runs; `drain` starts a graceful stop of this process."""

    def __init__(
        self,
        store: FullStore,
        bot: RunningBot | None = None,
        *,
        token: str = "",
        name: Callable[[], str] = lambda: "",
        wall: Callable[[], float] = time.time,
        rates: Rates | None = None,
        drain: Callable[[], object] | None = None,
    ) -> None:
        """`token` is left out of all texts; `name` returns the bot's, for display; `wall` is the clock of updates."""
        self._store = store
        self._bot = bot
        self._token = token
        self._name = name
        self._wall = wall
        self._rates = rates
        self._drain = drain
        self._started = wall()
        self._ranked: dict[tuple[Queue, str, int], list[LaneView]] = {}
        self._ranked_until = 0.0

    # -- what there is -------------------------------------------------------------------------------------------

    async def stats(self) -> Json:
        """Return the counts of both queues, what waits longest, what is held, and what this process does."""
        store = self._store
        stats, oldest = await store.stats(), await store.oldest()
        queues = {}
        for queue in Queue:
            overflow = await store.overflow(queue)
            holds = await store.holds(queue)
            paused = holds.pop(ALL_LANES, None)
            queues[queue.value] = {
                **stats.of(queue)._asdict(),
                "oldest_s": self._age(_oldest_of(queue, oldest)),
                "lane_full": overflow.lane_full,
                "dropped": overflow.dropped,
                "paused": paused,
                "held": len(holds),
            }
        return {
            "bot": self._name(),
            "queues": queues,
            "timers_due": oldest.timers,
            "dead": await store.dead_count(),
            "process": self._process(),
        }

    async def lanes(self, queue: Queue, by: LaneOrder, limit: int) -> Json:
        """Return the lanes with pending work that come first, and all that are held."""
        views = await self._first(queue, by, limit)
        holds = await self._store.holds(queue)
        holds.pop(ALL_LANES, None)
        running = {each.delivery.lease.key: each for each in self._running(queue)}
        shown = {view.key for view in views}
        idle = [
            {"key": key, "held": _cut(why)} for key, why in list(holds.items())[:limit] if key not in shown
        ]
        return {
            "queue": queue.value,
            "by": by,
            "lanes": [self._lane(view, running.get(view.key)) for view in views],
            "held": idle,
        }

    async def running(self) -> Json:
        """Return what runs now, longest running first: the lane, where it waits, and for how long."""
        runs = [self._run(queue, each) for queue in Queue for each in self._running(queue)]
        runs.sort(key=lambda run: -float(run["running_s"]))
        return {"running": runs[:RUNNING_MAX], "total": len(runs)}

    async def dead(self, limit: int, below: int | None, *, texts: bool = False) -> Json:
        """Return dead letters, newest first, without what they contain unless `texts`; `below`: with lower numbers."""
        letters = await self._store.dead_letters(limit, below)
        show = with_start if texts else summary
        return {
            "letters": [show(each, self._token) for each in letters],
            "total": await self._store.dead_count(),
        }

    async def letter(self, number: int) -> Json:
        """Return all of one dead letter, its traceback and raw text included; `letter` is None if it is gone."""
        letter = await self._store.dead_letter(number)
        return {"letter": None if letter is None else whole(letter, self._token)}

    async def invariants(self) -> Json:
        """Check the lanes and what is pending, and return the problems."""
        audited = await self._store.audit()
        problems = [redact(each, self._token) for each in audited.problems]
        result = f"{len(problems)} problems" if problems else "no problem"
        return {"result": result, **audited._asdict(), "problems": problems}

    def samples(self, since: int) -> Json:
        """Return the samples of rates and latencies after this one."""
        return {"samples": [] if self._rates is None else self._rates.since(since)}

    # -- what is done --------------------------------------------------------------------------------------------

    async def replay(self, number: int, digest: str | None) -> str:
        """Put a dead letter back into its lane: "done", "gone", "other" (another hash), "pending" (its id is again)."""
        letter = await self._store.dead_letter(number)
        if letter is None:
            return "gone"
        if digest is not None and digest != hash_of(letter.envelope.body):
            return "other"
        # A number is never used again: until here and now it names the same letter, or none.
        if await self._store.replay(number):
            return "done"
        return "gone" if await self._store.dead_letter(number) is None else "pending"

    async def discard(self, number: int, digest: str) -> str:
        """Delete a dead letter: "done", "gone", "other" (another hash)."""
        letter = await self._store.dead_letter(number)
        if letter is not None and digest != hash_of(letter.envelope.body):
            return "other"
        # Also if it is gone: another process may have deleted it, and this one still counts it.
        return "done" if await self._store.discard(number) else "gone"

    async def park(self, queue: Queue, key: str, why: str) -> str:
        """Park a lane until `release`: "done"; "already"."""
        if key in await self._store.holds(queue):
            return "already"
        await self._store.hold(queue, key, why)
        self._changed()
        return "done"

    async def release(self, queue: Queue, key: str) -> str:
        """Release a lane that was parked, by an operator or after a failure: "done"; "not parked"."""
        is_done = await self._store.unhold(queue, key)
        self._changed()
        return "done" if is_done else "not parked"

    async def pause(self, queue: Queue, why: str) -> str:
        """Give no lane of the queue to a worker until `resume`: "done"; "already"."""
        return await self.park(queue, ALL_LANES, why)

    async def resume(self, queue: Queue) -> str:
        """End a pause: "done"; "not paused"."""
        return "done" if await self._store.unhold(queue, ALL_LANES) else "not paused"

    async def drain(self) -> str:
        """Start the graceful stop of the process: "done"; "already"; "not running"."""
        if self._bot is None or self._drain is None:
            return "not running"
        if self._bot.is_stopping:
            return "already"
        # The answer goes out before the stop begins.
        asyncio.get_running_loop().call_later(0.2, self._drain)
        return "done"

    # -- parts of the above --------------------------------------------------------------------------------------

    async def _first(self, queue: Queue, by: LaneOrder, limit: int) -> list[LaneView]:
        """Return the lanes that come first; of the last RANKED_S, if they were looked up since and nothing was done."""
        now = asyncio.get_running_loop().time()
        if self._ranked_until <= now:
            self._ranked.clear()
            self._ranked_until = now + RANKED_S
        name = (queue, by, limit)
        if name not in self._ranked:
            ranked, views = self._ranked, await self._store.lanes(queue, limit, by=by)
            ranked[name] = (
                views  # of the moment when it was asked for: an action meanwhile has begun another dict
            )
            return views
        return self._ranked[name]

    def _changed(self) -> None:
        self._ranked = {}

    def _process(self) -> Json | None:
        bot = self._bot
        if bot is None:
            return None
        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "up_s": round(self._wall() - self._started, 1),
            "state": "draining" if bot.is_stopping else "running" if bot.is_started else "starting",
            "running": {queue.value: len(self._running(queue)) for queue in Queue},
        }

    def _running(self, queue: Queue) -> list[Running]:
        return [] if self._bot is None else self._bot.running()[queue is Queue.OUTBOX]

    def _lane(self, view: LaneView, running: Running | None) -> Json:
        return {
            "key": view.key,
            "status": view.status,
            "depth": view.depth,
            "attempts": view.attempts,
            "wait_s": round(view.wait_s, 1),
            "reason": redact(_cut(view.reason), self._token),
            "age_s": self._age(view.at),
            "held": _cut(view.held),
            **({} if running is None else {"worker": running.worker, "running_s": self._since(running)}),
        }

    def _run(self, queue: Queue, running: Running) -> Json:
        delivery = running.delivery
        return {
            "queue": queue.value,
            "worker": running.worker,
            "key": delivery.lease.key,
            "id": delivery.envelope.id,
            "attempt": delivery.attempt,
            "running_s": self._since(running),
            "where": _where(queue, running),
        }

    def _since(self, running: Running) -> float:
        return round(asyncio.get_running_loop().time() - running.since, 1)

    def _age(self, at: float | None) -> float | None:
        return None if not at else round(max(0.0, self._wall() - at), 1)


def _oldest_of(queue: Queue, oldest: Oldest) -> float | None:
    if queue is Queue.OUTBOX:
        return oldest.outbox
    known = [at for at in (oldest.inbox, oldest.timer) if at]
    return min(known, default=None)


def _where(queue: Queue, running: Running) -> str:
    """Return the line of the author's code where a handler waits; of a call its method."""
    if queue is Queue.OUTBOX:
        try:
            return decode_call(running.delivery.envelope.body)[0]
        except ValueError:
            return ""
    place = None if running.task is None else place_among(frames_of(running.task))
    return "" if place is None else str(place)


def _cut(text: str) -> str:
    return text if len(text) <= _REASON_MAX else f"{text[:_REASON_MAX]} ..."
