"""One load test from the first update to the last reply: sends updates, causes faults, and records the results."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from telegram.fake import RemoteFake
from telegram.load.bot.fleet import Fleet, Member
from telegram.load.bot.journal import Tail
from telegram.load.bot.service import NotRunningError
from telegram.load.checkers.handlings import Handlings, Killed, Paused
from telegram.load.checkers.recording import Sample
from telegram.load.checkers.replies import Replies, text_of
from telegram.load.workload.distribution import Distribution
from telegram.load.workload.faults import FaultInjector, plan
from telegram.load.workload.simulated_users import Shown, SimulatedUsers
from telegram.settings.load_test import Load

_SEND_EVERY_S: Final = 0.05
_SEND_MAX: Final = 1000  # updates in one step; a test that is late catches up in several
_POLL_EVERY_S: Final = 0.25
_SAMPLE_EVERY_S: Final = 1.0
_RECENT_S: Final = 5.0
_QUEUE_MAX: Final = 90_000  # Telegram keeps 100,000 updates for a bot and drops further ones
_NS: Final = 1_000_000_000
HANDLER_EVENTS: Final = ("untaken", "enter", "leave", "cancel")
"""Events of the journal about the effects of a handler (telegram/load/bot/journal.py)."""


class Now(NamedTuple):
    """The current state of a test, for the live view."""

    sample: Sample
    phase: str
    fault: str
    kills: int
    replies: int


Show = Callable[[Now], None]


class LoadTest:
    """One run with a bot that is already started. `stop` ends it early; the results until then are kept."""

    def __init__(
        self,
        options: Load,
        fake: RemoteFake,
        bot: Fleet,
        show: Show,
        *,
        replies: Replies | None = None,
        users: SimulatedUsers | None = None,
    ) -> None:
        self.options = options
        self.distribution = Distribution(options.chats, options.skew, random.Random(f"people {options.seed}"))
        self.judge = Handlings(starved_after_s=options.starved_after_s, on_end=self._note_latency)
        for each in bot.members:
            self.judge.started(each.pid)
        self.replies = replies
        self.users = users
        self.handler_events: dict[str, set[int]] = {each: set() for each in HANDLER_EVENTS}
        """Update ids by event (HANDLER_EVENTS). Sets, since a handler that was interrupted runs again."""

        self.calls = 0
        """Number of executed calls of the bot."""

        self.samples: list[Sample] = []
        self.died = ""
        """The last line of the log if the bot ended by itself, else ""."""

        self.exit_code: int | None = None
        """Exit code after SIGTERM; None if the bot was not stopped."""

        self.given_up: dict[int, str] = {}
        """Reasons of updates that became dead letters according to the log, by update id."""

        self.began_at, self.began_ns = time.time(), time.monotonic_ns()
        self.took_s = 0.0
        self.faults = FaultInjector(
            fake, bot, self._sleep, killed=self._on_kill, started=self._on_start, paused=self._on_pause
        )
        self._fake = fake
        self._bot = bot
        self._show = show
        self._journal = Tail(bot.folder / "journal")
        self._phase = "people write"
        self._enough = asyncio.Event()
        self._last_update: dict[int, int] = {}  # chat id -> id of its user's last update
        self._calls_known = 0
        self._log_known = 0
        self._killed: set[int] = set()
        self._recent: deque[tuple[int, int]] = (
            deque()
        )  # time and latency of the updates handled in the last seconds, in ns

    def stop(self) -> None:
        """Request an early end."""
        self._enough.set()

    @property
    def is_complete(self) -> bool:
        """Whether the test was not ended early."""
        return not self._enough.is_set()

    async def run(self) -> None:
        """Run until all updates are handled and answered, or there is no progress for `longest_pause_s`."""
        watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_updates())
                group.create_task(self._inject_faults())
            self._phase = "the rest is handled"
            await self._fake.clear_faults()
            await self._wait_for_the_rest()
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        if not watching.cancelled():
            watching.result()  # it ends only by an error, which is raised here
        if self._bot.is_running:
            self._phase = "the bot stops"
            self._report()
            self.exit_code = (await self._bot.stop()).code
        else:
            self._record_exit()
        await self._observe()
        self._take_sample()
        self.took_s = self._now_s()

    async def _sleep(self, seconds: float) -> bool:
        """Sleep; return False if the test was ended early meanwhile."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._enough.wait()
        except TimeoutError:
            return True
        return False

    # -- actions ---------------------------------------------------------------------------------------------------

    async def _send_updates(self) -> None:
        """Send updates at the given rate, independent of the bot; only a full queue of the fake Telegram delays them."""
        began, updates = time.monotonic(), self.options.updates
        while (sent := self.judge.ledger.updates) < updates:
            due = min(updates, int((time.monotonic() - began) * self.options.rate) + 1)
            if due > sent and await self._has_room():
                await self._send_some(min(due - sent, _SEND_MAX))
            if not await self._sleep(_SEND_EVERY_S):
                return

    async def _has_room(self) -> bool:
        if self.judge.ledger.updates - self.judge.handled < _QUEUE_MAX:
            return True
        return (await self._fake.stats()).pending < _QUEUE_MAX

    async def _send_some(self, count: int) -> None:
        if self.users is not None:
            await self._act(self.users, count)
            return
        place = self.judge.ledger.updates
        lines = [(chat, text_of(place + n)) for n, chat in enumerate(self.distribution.choose(count))]
        at_ns = time.monotonic_ns()
        ids = await self._fake.send_messages((chat, chat, text) for chat, text in lines)
        for (chat, _), update_id in zip(lines, ids, strict=True):
            self.judge.sent(chat, update_id, at_ns)

    async def _act(self, users: SimulatedUsers, count: int) -> None:
        chats = list(dict.fromkeys(self.distribution.choose(count)))
        seen = await self._fake.shown(chats)
        now_s = time.monotonic()
        acts = [
            users.next(chat, Shown(*shown), now_s, at_work=self._is_at_work(chat))
            for chat, shown in zip(chats, seen, strict=True)
        ]
        done = [act for act in acts if act is not None]
        at_ns = time.monotonic_ns()
        ids = await self._fake.act(
            (each.chat_id, each.way.value, each.text, each.message_id) for each in done
        )
        for act, update_id in zip(done, ids, strict=True):
            if update_id:
                self.judge.sent(act.chat_id, update_id, at_ns)
                self._last_update[act.chat_id] = update_id

    def _is_at_work(self, chat_id: int) -> bool:
        """Whether the chat's last update may still be handled: not for ever, an update can be lost."""
        ledger = self.judge.ledger
        update_id = self._last_update.get(chat_id)
        if update_id is None or update_id in self.given_up:
            return False
        update = ledger.update(update_id - ledger.first_id)
        waits_s = (time.monotonic_ns() - update.sent_ns) / _NS
        return not update.ended_ns and waits_s < self.options.longest_pause_s

    async def _inject_faults(self) -> None:
        saying_s = self.options.updates / self.options.rate
        rng = random.Random(f"faults {self.options.seed}")
        try:
            await self.faults.run(plan(self.options.fault_kinds, saying_s, rng))
        except (NotRunningError, TimeoutError):  # the bot ended by itself, or does not restart
            self._record_exit()

    async def _wait_for_the_rest(self) -> None:
        state, since = None, time.monotonic()
        while not self._is_done() and self._bot.is_running:
            before = state
            state = (self.judge.ledger.handlings, self.judge.handled, self.judge.failed, self.calls)
            if state != before:
                since = time.monotonic()
            if time.monotonic() - since > self.options.longest_pause_s or not await self._sleep(
                _POLL_EVERY_S
            ):
                return

    def _is_done(self) -> bool:
        sent, over = self.judge.ledger.updates, self.judge.handled + len(self.given_up)
        answered = sent if self.replies is None else self.replies.answered + len(self.given_up)
        return over >= sent and answered >= sent and not self.judge.active

    # -- observation -----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        next_sample_s = _SAMPLE_EVERY_S
        while True:
            await self._observe()
            if not self._bot.is_running and self.faults.now != "kill":
                self._record_exit()
            if self._now_s() >= next_sample_s:
                next_sample_s = self._now_s() // _SAMPLE_EVERY_S + _SAMPLE_EVERY_S
                self._take_sample()
            self._report()
            await asyncio.sleep(_POLL_EVERY_S)

    async def _observe(self) -> None:
        self._read_journal()
        self._read_log()
        calls = await self._fake.calls(self._calls_known)
        if calls:
            self._calls_known = calls[-1].n
            self.calls += sum(call.delivered for call in calls)
            if self.replies is not None:
                self.replies.see(calls, self.judge.ledger)
            await self._fake.forget(self._calls_known)

    def _read_journal(self) -> None:
        noted = self._journal.read()
        self.judge.feed(noted)
        for each in noted:
            if each.event in self.handler_events:
                self.handler_events[each.event].add(each.update_id)

    def _read_log(self) -> None:
        log = self._bot.log()
        for line in log[self._log_known :]:
            if line["event"] == "dead letter" and line["queue"] == "inbox":
                self.given_up[line["id"]] = line["reason"]
            if line["event"] == "process ended" and line["pid"] not in self._killed:
                self.died = (
                    self.died or f"process {line['process']}, {line.get('exit_code') or line['signal']}"
                )
        self._log_known = len(log)

    def _note_latency(self, latency_ns: int, at_ns: int) -> None:
        self._recent.append((at_ns, latency_ns))

    def _on_kill(self, process: Member) -> None:
        self._read_journal()
        self._read_log()
        if not self._bot.is_supervised:
            self._log_known = 0  # each process has a log of its own
        self._killed.add(process.pid)
        self.judge.feed([Killed(process.pid, time.monotonic_ns())])

    def _on_start(self, process: Member) -> None:
        self.judge.started(process.pid)

    def _on_pause(self, seconds: float) -> None:
        self.judge.feed([Paused(int(seconds * _NS))])

    def _record_exit(self) -> None:
        self.died = self.died or self._bot.last_log_line()
        self._enough.set()

    def _take_sample(self) -> None:
        self.samples.append(self.sample())

    def sample(self) -> Sample:
        """Return the totals and current values of the test."""
        while self._recent and self._recent[0][0] < time.monotonic_ns() - _RECENT_S * _NS:
            self._recent.popleft()
        latencies = sorted(latency for _, latency in self._recent)
        judge = self.judge
        sent = judge.ledger.updates
        return Sample(
            at_s=round(self._now_s(), 3),
            sent=sent,
            handled=judge.handled,
            backlog=sent - judge.handled,
            active_lanes=judge.active,
            p99_ms=round(latencies[len(latencies) * 99 // 100] / 1e6, 3) if latencies else 0.0,
            anomalies=judge.counts.total(),
        )

    def _report(self) -> None:
        faults = self.faults
        self._show(Now(self.sample(), self._phase, faults.now, faults.kills, self.calls))

    def _now_s(self) -> float:
        return (time.monotonic_ns() - self.began_ns) / _NS
