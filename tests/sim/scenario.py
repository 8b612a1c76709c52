"""One simulated run, all of it decided by a seed: the production Bot in one or more processes, and what befalls them.

People write; requests, answers and writes get lost; processes crash, freeze beyond their lease and wake up, stop and
start again; the wall clock jumps; Telegram's ids restart. Then the trouble ends, and everything must come right by itself.
"""

import asyncio
import json
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from contextvars import copy_context
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

from engine import Call, Delivery, Effects, Envelope, Handler, Park, Queue, Reject, Retry, Right, Work
from engine.model import Stats
from engine.store import DIED, ID_FALL_MAX, WALL_LOOK_S, FullStore, Limits
from telegram.botapi.calls import decode_call
from telegram.dialogue import EventContext, MessageContext, Router, text
from telegram.dialogue.routes.events import SEEN_S
from telegram.dialogue.routes.hooks import HOOK_TIMEOUT_S
from telegram.dialogue.state.conversation import Conversation
from telegram.load.bot.evidence import Evidence
from telegram.load.checkers.checker import Interruption, check
from telegram.settings.bot_config import SEND_ATTEMPTS_MAX, BotConfig
from tests.sim.loop import Process, SimLoop
from tests.sim.posts import EVENT, Payers, judge_events, judge_posts, number_of
from tests.sim.stores import FileStores, SharedStores, Stores
from tests.sim.supervisor import Supervisor
from tests.sim.telegram_side import TelegramSide
from tests.sim.timers import LASTS_MAX_S, TimerPlay, judge, log_name, misplaced
from tests.sim.trouble import NO_PERILS, Perils, Trouble

COMES_RIGHT_WITHIN_S: Final = 3600.0
"""After the trouble: far above every backoff; virtual time costs nothing."""

_ALL_LASTS_S: Final = 6 * 3600.0  # far above what a run takes
_ALL_RUN_AGAIN_S: Final = 60.0  # far above the pause before a restart
_REPEAT_WINDOW_S: Final = (
    120.0  # from a trouble to its last repeat of a reply: an answer that comes late, a lease
)
_HANDLER_TIMEOUT_S: Final = 20.0
_STALL_UNSEEN_S: Final = 5.0  # the keeper sees stalls to the second, and there may be some
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made there


class Outcome(NamedTuple):
    """What became of one run; `failures` is empty if every promise was kept."""

    seed: int
    store: str
    updates: int
    faults: Counter[str]
    virtual_s: float
    failures: tuple[str, ...]
    digest: int
    """Of all replies and when they came: two runs of one seed are the same run."""
    perils: str = ""


class Scenario:
    """Use `simulate`."""

    def __init__(self, seed: int, loop: SimLoop, rng: random.Random, folder: Path, perils: Perils) -> None:
        self.seed = seed
        self.perils = perils
        self.loop = loop
        self.outside = copy_context()
        """The context of what is no process."""

        self.rng = rng
        self.trouble = Trouble(
            rng, store=rng.choice((0.0, 0.03, 0.2)), network=rng.choice((0.0, 0.1, 0.3)), perils=perils
        )
        self.side = TelegramSide(self.trouble)
        self.wall_offset_s = 1.7e9
        limits = Limits()
        self.kind = rng.choice(("shared", "shared", "file"))
        self.stores: Stores = (
            SharedStores(self.side, limits, self.wall)
            if self.kind == "shared"
            else FileStores(folder / "bot.db", self.trouble, limits, self.wall)
        )
        self.chats = range(1, 1 + rng.choice((1, 3, 6)))
        self.updates = rng.randint(5, 30)
        self.lasts_s = rng.uniform(20, 200)
        self.slow_handlers = rng.random() < 0.3
        self.bad_handlers = rng.choice((0.0, 0.1))
        self.hooks_of_time_outs = rng.random() < 0.5
        self.slow_handlers |= perils.stalls
        if perils.base_exceptions:
            self.bad_handlers = 0.1
        self.config = BotConfig(
            workers=rng.randint(1, 4),
            senders=rng.randint(1, 4),
            messages_per_s=0,
            handler_timeout_s=_HANDLER_TIMEOUT_S,
            attempts_max=rng.choice((2, 5, 1000)),
            drain_timeout_s=rng.choice((2.0, 25.0)),
            apology="",
        )
        self.supervisors = [Supervisor(self) for _ in range(rng.randint(1, self.stores.processes_max))]
        self.side.hook.accept = self._accept
        self.process_numbers = 0
        self.timer_numbers = count(1)
        self.wall_offset_max_s = self.wall_offset_min_s = self.wall_offset_s
        self.opened_after_jump = False
        """A store that was opened after the clock was set goes by that; what sessions share was opened before."""

        self.sent_at: dict[int, float] = {}
        """By update id: the wall's time when somebody wrote it."""

        self.there_at: dict[int, float] = {}
        """When it was in the store, as far as the bot knew."""

        self.ran_s: dict[tuple[int, Delivery], float] = {}
        """By number of the process and delivery: how long its handler ran, without what its process stood still."""

        self.failures: list[str] = []

    def wall(self) -> float:
        """Unix time, as far as the bot knows."""
        return self.loop.time() + self.wall_offset_s

    def router(self, process: Process) -> Router:
        """The handlers of one process: they count, and leave evidence."""
        router = Router()

        @router.message(text)
        async def answer(ctx: MessageContext) -> None:
            begin = self.loop.time()
            if self.rng.random() < 0.7:
                await asyncio.sleep(self.rng.random() * (8.0 if self.slow_handlers else 0.1))
            await self._misbehave()
            ctx.data["count"] = ctx.data.get("count", 0) + 1
            end = self.loop.time()
            ctx.reply(
                str(
                    Evidence(
                        ctx.text,
                        ctx.update_id,
                        ctx.data["count"],
                        round(begin * 1e9),
                        round(end * 1e9),
                        process.number,
                    )
                )
            )

        @router.event(EVENT)
        async def paid(ctx: EventContext) -> None:
            await self._misbehave()
            ctx.data["paid"] = [*ctx.data.get("paid", ()), ctx.payload["number"]]

        if self.hooks_of_time_outs:

            @router.error(TimeoutError)
            async def overran() -> None:
                await asyncio.sleep(self.rng.random() * 1.5 * HOOK_TIMEOUT_S)

        return router

    def with_timers(self, handle: Handler, store: FullStore) -> TimerPlay:
        """Return the handler, which now sets timers and posts beside."""
        return TimerPlay(
            handle,
            store,
            self.rng,
            keys=[f"chat:{chat}" for chat in self.chats],
            wall=self.wall,
            number=lambda: next(self.timer_numbers),
            is_over=lambda: self.trouble.over,
        )

    def timed(self, handle: Handler, process: Process) -> Handler:
        """Return the handler, and note how long it ran: a process that is frozen does not run."""

        async def run(work: Work) -> Effects:
            began, frozen_s = self.loop.time(), process.frozen_s
            try:
                return await handle(work)
            finally:
                self.ran_s[process.number, work.delivery] = (
                    self.loop.time() - began - (process.frozen_s - frozen_s)
                )

        return run

    def judge_time_outs(self, store: FullStore, process: Process) -> None:
        """Complain about a handler that failed for its time without having had it."""
        park, bury = store.park, store.bury

        def look(delivery: Delivery, reason: str) -> None:
            ran_s = self.ran_s.get((process.number, delivery), _HANDLER_TIMEOUT_S)
            if "the handler ran longer" in reason and ran_s < _HANDLER_TIMEOUT_S - _STALL_UNSEEN_S:
                self.failures.append(f"{reason}, but it was {ran_s:.1f} s: {delivery}")

        async def judged_park(delivery: Delivery, delay_s: float, **named: Any) -> None:
            look(delivery, named["reason"])
            await park(delivery, delay_s, **named)

        async def judged_bury(delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> None:
            look(delivery, reason)
            await bury(delivery, reason, calls)

        store.park = judged_park  # type: ignore[method-assign]
        store.bury = judged_bury  # type: ignore[method-assign]

    def note_what_comes(self, store: FullStore) -> None:
        """Note when the store has an update for certain."""
        append = store.append

        async def noting(right: Right, batch: Sequence[Envelope], aliases: Any = (), posts: Any = ()) -> int:
            new = await append(right, batch, aliases, posts)
            for envelope in batch:
                self.there_at.setdefault(envelope.id, self.wall())
            return new

        store.append = noting  # type: ignore[method-assign]

    async def _misbehave(self) -> None:
        if self.trouble.over or self.rng.random() >= self.bad_handlers:
            return
        if self.perils.base_exceptions and self.rng.random() < 0.7:
            await self._raise_what_is_no_exception()
            return
        match self.rng.randrange(6):
            case 0:
                raise RuntimeError("simulated")
            case 1:
                raise Retry("simulated", after_s=self.rng.random() * 5)
            case 2:
                raise Park("simulated", delay_s=self.rng.random() * 5)
            case 3:
                raise Reject("simulated")
            case 5:
                await asyncio.sleep(_HANDLER_TIMEOUT_S * 2)
            case 4:
                try:
                    await asyncio.sleep(_HANDLER_TIMEOUT_S * 2)
                except asyncio.CancelledError:  # and goes on, as handlers should not
                    await asyncio.sleep(self.rng.random())

    async def _raise_what_is_no_exception(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(self.rng.random() * 0.1)
        match self.rng.randrange(7):
            case 0:
                raise PanicError
            case 1:
                raise GeneratorExit
            case 2:
                raise SimulatedInterrupt
            case 3:
                raise SimulatedExit(2)
            case 4:
                raise asyncio.CancelledError
            case 5:
                task.cancel()
                await asyncio.sleep(1)
            case 6:  # and goes on; task.cancelling() stays 1
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(1)

    # -- the run ---------------------------------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Let it happen, and judge."""
        for supervisor in self.supervisors:
            supervisor.start()
        payers = Payers(self.rng, self.chats, self.lasts_s, self._post)
        paying = asyncio.create_task(payers.pay())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._people())
            group.create_task(self._misfortunes())
        self.trouble.over = True
        for supervisor in self.supervisors:
            supervisor.heal()
        self.stores.mount()
        if not (await asyncio.wait({paying}, timeout=COMES_RIGHT_WITHIN_S))[0]:
            self.failures.append("events cannot be posted")
            paying.cancel()
        await self._all_done()
        for supervisor in self.supervisors:
            await supervisor.end()
        await self._judge(payers)
        return Outcome(
            self.seed,
            self.kind,
            len(self.side.sent),
            self.trouble.counts,
            self.loop.time(),
            tuple(self.failures),
            crc32(repr([(seen.at, seen.evidence) for seen in self.side.seen]).encode()),
            str(self.perils),
        )

    async def _people(self) -> None:
        moments = sorted(self.rng.random() * self.lasts_s for _ in range(self.updates))
        if self.rng.random() < 0.5:  # bursts
            moments = sorted(self.rng.choice(moments[:4]) for _ in moments)
        for number, moment in enumerate(moments):
            await asyncio.sleep(moment - self.loop.time())
            self.side.say(self.rng.choice(self.chats), f"text {number}")
            self.sent_at[self.side.sent[-1].update_id] = self.wall()

    def _accept(self, raw: bytes) -> Any:
        """What a proxy does in front of the processes."""
        for supervisor in self.rng.sample(self.supervisors, len(self.supervisors)):
            if (answer := supervisor.accept(raw)) is not None:
                return answer
        return None

    def _post(self, chat: int, number: int) -> Any:
        return self.rng.choice(self.supervisors).post(chat, number)

    async def _misfortunes(self) -> None:
        """What befalls whole processes, the clock and the numbering."""
        odds = {
            self._crash: self.rng.choice((0, 3)),
            self._freeze: self.rng.choice((0, 3)),
            self._stop: self.rng.choice((0, 2)),
            self._jump: self.rng.choice((0, 1)),
            self._restart_ids: self.rng.choice((0, 1)),
            self._storm: self.rng.choice((0, 2)),
        }
        if self.perils.looks:
            odds[self._look] = 8
        if self.perils.leaps:
            odds[self._jump] = 3
        if self.perils.stalls:
            odds[self._freeze] = 8
        if self.perils.volume and self.kind == "file":
            odds[self._unmount] = 2
        while (wait_s := self.rng.expovariate(1 / 12)) < self.lasts_s - self.loop.time():
            await asyncio.sleep(wait_s)
            if any(odds.values()):
                (misfortune,) = self.rng.choices(list(odds), list(odds.values()))
                misfortune()

    def _crash(self) -> None:
        self.trouble.note("crash", self.loop.time())
        self.rng.choice(self.supervisors).crash(self.rng.choice((0.0, 1.0, 20.0)) * self.rng.random())

    def _freeze(self) -> None:
        self.trouble.note("freeze", self.loop.time())
        self.rng.choice(self.supervisors).freeze(self.rng.choice((1.0, 10.0, 60.0)) * self.rng.random())

    def _stop(self) -> None:
        self.trouble.note("stop", self.loop.time())
        self.rng.choice(self.supervisors).stop()

    def _jump(self) -> None:
        self.trouble.note("clock jump", self.loop.time())
        longest_h = self.rng.choice((6, 72)) if self.perils.leaps else 6
        self.wall_offset_s += self.rng.uniform(-longest_h, longest_h) * 3600
        self.wall_offset_max_s = max(self.wall_offset_max_s, self.wall_offset_s)
        self.wall_offset_min_s = min(self.wall_offset_min_s, self.wall_offset_s)

    def opened(self) -> None:
        """Note that a process has opened the store."""
        self.opened_after_jump |= self.kind == "file" and self.trouble.counts["clock jump"] > 0

    def _look(self) -> None:
        self.trouble.note("look", self.loop.time())
        self.rng.choice(self.supervisors).look(self.rng.choice((0.001, 0.02, 0.5)) * self.rng.random())

    def _unmount(self) -> None:
        self.trouble.note("volume", self.loop.time())
        self.stores.unmount()
        self.loop.call_later(self.rng.random() * 20, self.stores.mount)

    def _restart_ids(self) -> None:
        """Telegram does it after an idle week, when nothing is pending; here something may be.

        So the one fall is left out that cannot be told from a late arrival then (engine/store.py, ID_FALL_MAX).
        """
        next_id = self.rng.randint(2_000_001, 2**30)
        if not self.side.queue.pending and not 0 < self.side.queue.next_id - next_id <= 2 * ID_FALL_MAX:
            self.trouble.note("ids restart", self.loop.time())
            self.side.queue.restart_ids(next_id)

    def _storm(self) -> None:
        """For a while nearly nothing works."""
        where = self.rng.choice(("store", "network"))
        self.trouble.note(f"{where} storm", self.loop.time())
        self.trouble.spell(where, 12.0)
        self.loop.call_later(self.rng.random() * 20, self.trouble.spell, where, 1.0)

    async def _all_done(self) -> None:
        """Wait until Telegram has nothing left, nor has the store; or no hope is left."""
        give_up = self.loop.time() + COMES_RIGHT_WITHIN_S
        await asyncio.sleep(_ALL_RUN_AGAIN_S)
        if self.opened_after_jump:
            self.wall_offset_s = self.wall_offset_max_s  # timers set before a restart would wait for hours
        await asyncio.sleep(LASTS_MAX_S + 2 * WALL_LOOK_S)
        while self.loop.time() < give_up:
            await asyncio.sleep(5)
            open_stores = [each.store for each in self.supervisors if each.store is not None]
            if open_stores and not self.side.queue.pending:
                stats = await open_stores[0].stats()
                self.conserved(stats)
                if not stats.inbox.pending and not stats.outbox.pending:
                    return
        for store in open_stores[:1]:
            for queue in Queue:
                self.failures += [f"stuck: {view}" for view in (await store.lanes(queue))[:3]]

    # -- the judgement ---------------------------------------------------------------------------------------

    def conserved(self, found: Stats) -> None:
        """Complain if a queue's numbers do not add up, or work lies where nobody would look."""
        for queue in Queue:
            stats = found.of(queue)
            if stats.appended != stats.committed + stats.pending + stats.dead:
                self.failures.append(f"not conserved: {queue.value} {stats}")
            if stats.pending and not (stats.ready or stats.leased or stats.parked):
                self.failures.append(f"lost wake-up: {queue.value} {stats}")

    async def _given_up(self, store: FullStore) -> tuple[set[int], set[int]]:
        """Return the ids of updates that may be without a reply, and the numbers of events and posts.

        Complain about other dead letters.
        """
        ids, numbers = set(), set()
        for letter in await store.dead_letters():
            if letter.queue is Queue.INBOX:
                # A handler that sleeps through its deadline has failed, too: not in a hard run.
                frozen = 0 if self.perils.stalls else self.trouble.counts["freeze"]
                died = self.trouble.counts["crash"] if letter.reason.startswith(DIED) else 0
                is_right = self.bad_handlers > 0 or 0 < letter.attempts <= max(frozen, died)
                ids.add(letter.envelope.id)
                if letter.envelope.is_timer and (number := number_of(letter.envelope.body)) is not None:
                    numbers.add(number)
            else:
                is_right = letter.attempts == SEND_ATTEMPTS_MAX
                ids.add(Evidence.parse(json.loads(decode_call(letter.envelope.body)[1])["text"]).update_id)
            if not is_right:
                self.failures.append(f"dead letter: {letter}")
        return ids, numbers

    async def _judge(self, payers: Payers) -> None:
        store = await self.stores.inspect()
        stats = await store.stats()
        self.conserved(stats)
        if stats.inbox.pending or stats.outbox.pending:
            self.failures.append(f"left behind: {stats}")
        given_up, numbers = await self._given_up(store)
        is_clock_steady = not self.trouble.counts["clock jump"]
        logs: dict[str, list[Any]] = {}
        handled: dict[int, list[int]] = {}
        for chat in self.chats:
            entries = json.loads(await store.state(*log_name(f"chat:{chat}")) or b"[]")
            logs[f"chat:{chat}"] = entries
            data = Conversation(await store.state(f"chat:{chat}", str(chat))).data
            handled[chat] = data.get("paid", [])
            self.failures += judge(entries, is_clock_steady=is_clock_steady)
            if is_clock_steady:
                written = self.sent_at if self.kind == "shared" else {}
                self.failures += misplaced(entries, there=self.there_at, sent=written)
        self.failures += judge_posts(logs, numbers, is_clock_steady=is_clock_steady)
        self.failures += judge_events(
            payers.events,
            handled,
            numbers,
            is_clock_steady=is_clock_steady,
            are_ids_kept=self.wall_offset_max_s - self.wall_offset_min_s < SEEN_S - _ALL_LASTS_S,
        )
        await store.close()
        sent = [line for line in self.side.sent if line.update_id not in given_up]
        seen = self.side.seen
        reasons = [Interruption(at - _REPEAT_WINDOW_S, at + _REPEAT_WINDOW_S) for at in self.trouble.moments]
        repeated = [found for found in check(sent, seen, reasons).anomalies if found.kind == "sent twice"]
        # A repeat may come late and out of order, from a process that was frozen or a request that was on its way
        # for half a minute. The first ones may not.
        firsts = {reply.evidence: reply for reply in reversed(seen)}
        in_order = [reply for reply in seen if firsts[reply.evidence] is reply]
        for found in [*repeated, *check(sent, in_order).anomalies]:
            self.failures.append(f"{found.kind} in chat {found.chat_id}: {found.details}")


class PanicError(BaseException):
    """As libraries in Rust raise it."""


class SimulatedInterrupt(KeyboardInterrupt):
    """Raised by a handler."""


class SimulatedExit(SystemExit):
    """Raised by a handler."""


def simulate_hard(seed: int, names: str = "") -> Outcome:
    """Run one seed with these perils, or with those that it draws."""
    return simulate(seed, Perils.named(names) if names else Perils.drawn(seed))


def simulate(seed: int, perils: Perils = NO_PERILS) -> Outcome:
    """Run one seed, in well under a second."""
    rng = random.Random(seed)
    loop = SimLoop(rng)
    loop.shuffled = rng.random() < 0.3
    try:
        with tempfile.TemporaryDirectory(
            prefix="chatlane-sim-", dir=_MEMORY if _MEMORY.is_dir() else None
        ) as folder:
            return loop.run_until_complete(_simulate(seed, loop, rng, Path(folder), perils))
    except (SimulatedInterrupt, SimulatedExit) as error:
        failure = f"a handler's {error!r} went through the event loop"
        return Outcome(seed, "?", 0, Counter(), 0.0, (failure,), 0, str(perils))
    finally:
        loop.close()


async def _simulate(seed: int, loop: SimLoop, rng: random.Random, folder: Path, perils: Perils) -> Outcome:
    scenario = Scenario(seed, loop, rng, folder, perils)

    def complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        process = getattr(context.get("future"), "process", None)
        if process is not None and process.is_dead:
            return  # whoever would have looked at its outcome died before
        scenario.failures.append(f"{context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(complain)
    try:
        return await scenario.run()
    finally:
        loop.set_exception_handler(lambda *_: None)  # what is left is of processes that are no more
