"""kill -9 on a disk that is too small: it fills while people write, and the bot has to start on what is left of it.

The bot's store is on a tmpfs of 40 MB, and beside it another one on 7 MB (mounting needs root: else the campaign is
skipped). A file of ours, the ballast, takes what is free, sometimes up to the last byte and faster than the bot frees
any. It does not grow between a kill and the next start, and now and then it goes, so that the bot can catch up.
"""

import asyncio
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from engine.stores.sqlite.writer import LOG_BYTES_MAX
from telegram.fake import Fault
from telegram.load.bot.plan import BotPlan
from telegram.load.checkers.checker import Interruption, Verdict
from tests.torture.report import Plan, Result, Tell
from tests.torture.stage import SENDERS, Stage, open_stage
from tests.torture.window import together

SIZES_MB: Final = (40, 7)
LOG_MAX: Final = LOG_BYTES_MAX + (4 << 20)
"""Bytes. The log is folded after the transaction that makes it too long; one transaction writes at most 4 MB here."""

_CHATS_MAX: Final = 200
_HANDLER_MS: Final = 5.0
_LIFE_S: Final = 0.6  # at most, from a start to a kill
_CATCH_UP_S: Final = 3.0
_LOOK_EVERY_S: Final = 0.02
_TEXTS: Final = 40  # in one life
_TEXT_BYTES: Final = (10, 1000, 3000)
_BACKLOG_MAX: Final = {40: 2000, 7: 300}
"""By size of the disk: so much unanswered fits in, with its replies. A store that is too small for its work is no fault."""

_LEFT: Final = (0, 0, 4 << 10, 64 << 10, 1 << 20)  # bytes that the ballast leaves
_BLOCK: Final = 4096


class Disk:
    """A mounted tmpfs with its ballast."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def free(self) -> int:
        """Bytes."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    @property
    def log_bytes(self) -> int:
        """Length of SQLite's log."""
        with suppress(FileNotFoundError):
            return (self.folder / "bot.db-wal").stat().st_size
        return 0

    def fill(self, leave: int) -> None:
        """Let the ballast grow until about `leave` bytes are free."""
        piece = bytes(_BLOCK)
        with (
            self._ballast.open("ab", buffering=0) as file,
            suppress(OSError),
        ):  # no space left: as it should be
            while self.free > leave:
                file.write(piece)

    def clear(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)


@asynccontextmanager
async def mounted(size_mb: int) -> AsyncIterator[Disk]:
    """A disk of this size; CalledProcessError or OSError if it cannot be mounted."""
    with tempfile.TemporaryDirectory(prefix="chatlane-disk-") as folder:
        mount = ("mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "chatlane-disk", folder)
        await asyncio.to_thread(subprocess.run, mount, check=True, capture_output=True)
        try:
            yield Disk(Path(folder))
        finally:
            subprocess.run(("umount", "--lazy", folder), check=True)


class NoStartError(Exception):
    """The bot does not start, although nothing but its own files is on the disk."""


class Outcome(NamedTuple):
    """What became of one disk."""

    verdict: Verdict
    line: str
    failures: list[str]


class Filling:
    """One bot on one disk."""

    def __init__(self, stage: Stage, disk: Disk, size_mb: int) -> None:
        self._stage = stage
        self._disk = disk
        self._size_mb = size_mb
        self._rng = stage.rng
        self._full_since: float | None = None
        self._log_max = 0
        self._slowest_start_s = 0.0
        self._counts: Counter[str] = Counter()
        self.failures: list[str] = []

    async def life(self) -> None:
        """Start on what is left, write, let the disk fill, and kill."""
        await self.start()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(over))
            group.create_task(self._people())
            await self._trouble()
            try:
                await self._stage.kill()
            except RuntimeError as error:  # it has ended by itself
                self._fail(str(error)[:600])
            over.set()
        await self._stage.clear_faults()
        await self._stage.look()

    async def start(self) -> None:
        """Start the bot; a start that fails is a finding, and is tried once more with space."""
        self._counts["starts"] += 1
        if self._disk.free < _BLOCK:
            self._counts["starts without a free block"] += 1
        began = time.monotonic()
        try:
            await self._stage.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            free = self._disk.free
            self._fail(f"start {self._counts['starts']} with {free} bytes free: {error}"[:600])
            if self._stage.bot.is_running:
                await self._stage.kill()
            self._disk.clear()
            try:
                await self._stage.start()
            except Exception as again:  # noqa: BLE001 - as above
                raise NoStartError(f"nor with {self._disk.free} bytes free: {again}"[:600]) from None
        self._slowest_start_s = max(self._slowest_start_s, time.monotonic() - began)
        if self._full_since is not None:  # what was answered since then may not have been noted
            self._stage.interruptions.append(Interruption(self._full_since, time.time()))
        self._full_since = time.time() if self._disk.free < max(_LEFT) else None

    async def lives(self, number: int) -> Outcome:
        """Live so often, give the space back for good, and judge."""
        try:
            for _ in range(number):
                await self.life()
            self._disk.clear()
            await self.start()
            if not await self._stage.all_answered():
                self._fail(f"not all was answered, with {self._disk.free >> 10} KB free")
            if code := (await self._stage.bot.stop()).code:
                self._fail(f"exit code {code} after SIGTERM")
        except NoStartError as error:
            self._fail(str(error))
        await self._stage.look()
        return self._outcome()

    def _outcome(self) -> Outcome:
        verdict = self._stage.judge()
        if verdict.repeated > SENDERS * self._stage.kills:
            self._fail("more replies were repeated than can have been in flight")
        if self._log_max > LOG_MAX:
            self._fail(f"a log of {self._log_max >> 10} KB, allowed {LOG_MAX >> 10} KB")
        counted = ", ".join(f"{count} {what}" for what, count in self._counts.items())
        line = (
            f"{self._stage.kills} kills, {counted}, slowest start {self._slowest_start_s:.1f} s,"
            f" longest log {self._log_max >> 10} KB, {verdict.updates} updates,"
            f" {len(verdict.anomalies)} anomalies, {verdict.repeated} repeats"
        )
        if verdict.anomalies or self.failures:
            self._stage.keep_folder = True
            self._fail(f"the bot's log is in {self._stage.bot.folder}")
        return Outcome(verdict, line, self.failures)

    def _fail(self, finding: str) -> None:
        self.failures.append(f"{self._size_mb} MB: {finding}")

    async def _trouble(self) -> None:
        rng, disk = self._rng, self._disk
        end = time.monotonic() + rng.uniform(0, _LIFE_S)
        kind = rng.choices(("full", "greedy", "calm", "give back"), (35, 30, 15, 20))[0]
        self._counts[kind] += 1
        if kind == "give back":
            disk.clear()
            self._full_since = None if self._stage.backlog == 0 else self._full_since
            end += _CATCH_UP_S * rng.random()
        elif rng.random() < 0.3:  # replies pile up
            await self._stage.fake.add_fault(Fault("hang", method="sendMessage"))
        if kind in {"full", "greedy"}:
            await asyncio.sleep(rng.uniform(0, max(0.0, end - time.monotonic())))
            self._full_since = self._full_since or time.time()
            disk.fill(rng.choice(_LEFT))
        while time.monotonic() < end:
            if kind == "greedy":
                disk.fill(0)
            await asyncio.sleep(_LOOK_EVERY_S / 4)

    async def _people(self) -> None:
        if self._stage.backlog < _BACKLOG_MAX[self._size_mb]:
            self._stage.padding = "x" * self._rng.choice(_TEXT_BYTES)
            await self._stage.say_evenly(_TEXTS, self._rng.uniform(0, _LIFE_S))

    async def _watch(self, over: asyncio.Event) -> None:
        while not over.is_set():
            self._log_max = max(self._log_max, self._disk.log_bytes)
            await asyncio.sleep(_LOOK_EVERY_S)


async def run(plan: Plan, tell: Tell) -> Result:
    """Every start succeeds, nothing lost or swapped, each update committed once, SQLite's log within its bound."""
    began = time.monotonic()
    try:
        async with mounted(1):
            pass
    except (subprocess.CalledProcessError, OSError):
        tell("SKIPPED: no tmpfs can be mounted here (it needs root)", keep=True)
        return Result("disk", together(()), 0.0, {"skipped": "no tmpfs can be mounted here (it needs root)"})
    async with asyncio.TaskGroup() as group:
        disks = [group.create_task(_one(plan, tell, size_mb)) for size_mb in SIZES_MB]
    outcomes = [each.result() for each in disks]
    facts = {f"{size} MB": outcome.line for size, outcome in zip(SIZES_MB, outcomes, strict=True)}
    verdict = together(outcome.verdict for outcome in outcomes)
    failures = [line for outcome in outcomes for line in outcome.failures]
    return Result("disk", verdict, time.monotonic() - began, facts, failures)


async def _one(plan: Plan, tell: Tell, size_mb: int) -> Outcome:
    plan = plan._replace(chats=min(plan.chats, _CHATS_MAX), seed=plan.seed + size_mb)
    async with mounted(size_mb) as disk:
        bot_plan = BotPlan(handler_ms=_HANDLER_MS, journal=None)
        where = f"sqlite:{disk.folder / 'bot.db'}"
        async with open_stage(plan, tell, bot_plan, STORE_URL=where) as stage:
            filling = Filling(stage, disk, size_mb)
            return await filling.lives(plan.rounds)
