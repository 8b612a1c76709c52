"""The life of one disk: open, work, cut, open again; at the end everything is handled, once."""

import asyncio
import random
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import apsw
from structlog.testing import capture_logs

from engine import Limits, Queue, StoreError
from engine.stores.sqlite import SqliteStore, open_sqlite
from engine.stores.sqlite import writer as sqlite_writer
from engine.stores.sqlite.writer import LOG_BYTES_MAX
from tests.kit.apsw_connection import ApswConnection
from tests.kit.disk import Disk
from tests.kit.loop_thread import LoopThread
from tests.kit.virtual import run_virtual
from tests.power.faults import Faults
from tests.power.history import Finding, History, check
from tests.power.reading import read
from tests.power.work import ASK_AGAIN_S, Work

_SESSIONS_MAX: Final = 12
_WORK_S: Final = 1.0
_TROUBLE_S: Final = 60.0
_ALL_WELL_AGAIN_S: Final = 600.0
"""How long anything may take once nothing fails any more; a bad file is read anew every 30 s at the least."""

# About so many operations take these; where the power fails is a random one of them.
_OPENING: Final = 40
_WORKING: Final = 350
_CLOSING: Final = 30

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - for the store's lock, the one file that is real


class Outcome(NamedTuple):
    """What became of one disk: power cuts, confirmed updates, operations that failed, and what must not be."""

    seed: int
    cuts: int
    confirmed: int
    faults: int
    findings: list[Finding]

    @property
    def kinds(self) -> set[str]:
        """Of the findings."""
        return {finding.kind for finding in self.findings}


class Life:
    """A disk, its history, and the power cuts between; all of it decided by the seed."""

    def __init__(self, seed: int, mode: str, folder: Path, *, trouble: bool, lossy: bool) -> None:
        self.rng = rng = random.Random(seed)
        self.disk = Disk(random.Random(f"disk {seed}"), lossy=lossy)
        self.history = History()
        self.cuts = 0
        self.faults = Faults(random.Random(f"faults {seed}"))
        self._trouble = trouble
        self.disk.fault = self.faults.on_disk
        self._path = folder / "bot.db"
        sqlite_writer.LOG_BYTES_MAX = rng.choice((LOG_BYTES_MAX, 60_000, 250_000, 800_000))
        self._limits = Limits(lane_depth_max=rng.choice((10_000, 10_000, 12)))
        self._connect: Any = partial(
            ApswConnection,
            self.disk,
            synchronous=None if mode == "hybrid" else mode,
            is_busy=self.faults.on_begin,
        )

    async def run(self) -> list[Finding]:
        """Return the first things that must not be."""
        try:
            for _ in range(self.rng.randint(1, _SESSIONS_MAX)):
                if findings := await self._session():
                    return findings
            return await self._end()
        except Exception as error:  # noqa: BLE001 - told with its seed
            where = traceback.extract_tb(error.__traceback__)[-1]
            return [Finding("error", f"{error!r} at {where.filename}:{where.lineno}")]

    async def _session(self) -> list[Finding]:
        """One opening, and whatever comes until the next cut."""
        rng, disk = self.rng, self.disk
        end = rng.choices(("opening", "work", "closing", "closed", "rest"), (12, 65, 10, 5, 8))[0]
        if end == "opening" or end == "work":
            disk.cut_after(rng.randrange(_OPENING if end == "opening" else _WORKING))
        self.faults.turn(on=self._trouble)
        store = await self._open()
        findings: list[Finding] = []
        if store is not None:
            if not disk.is_off:
                findings = self._judge(store) or await self._work(store, end)
            await self._leave(store, end)
        disk.restart()
        self.cuts += 1
        return findings

    async def _work(self, store: SqliteStore, end: str) -> list[Finding]:
        self.faults.turn(on=self._trouble)
        work = Work(store, self.history, self.rng, lambda: self.disk.is_off)
        if self._trouble:
            await work.run(self.rng.choice((_WORK_S, _TROUBLE_S)))
            self.faults.turn(on=False)
            await work.during([], self._well_again(work))
        else:
            await work.run(_WORK_S if end == "work" else _WORK_S / 10)
        return work.findings

    async def _well_again(self, work: Work) -> None:
        """Nothing fails any more: the store must find that out by itself."""
        try:
            async with asyncio.timeout(_ALL_WELL_AGAIN_S):
                work.new_batch()
                await work.append_the_rest()
        except TimeoutError:
            work.findings.append(Finding("stuck", "an append is refused though nothing fails any more"))

    async def _leave(self, store: SqliteStore, end: str) -> None:
        """Let the store go, with or without power."""
        history = self.history
        before = frozenset(history.committed), frozenset(history.done), frozenset(history.came)
        self.faults.turn(on=False)
        if end == "closing":
            self.disk.cut_after(self.rng.randrange(_CLOSING))
        elif end != "closed":
            self.disk.cut_after(0)
        await store.close()  # without power this only frees the lock, as the death of a process does
        if not self.disk.is_off:
            history.synced(*before)

    async def _open(self) -> SqliteStore | None:
        """Open the file; None if the power failed meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _TROUBLE_S
        while True:
            try:
                return await open_sqlite(
                    self._path,
                    "1",
                    limits=self._limits,
                    wall=loop.time,
                    connect=self._connect,
                    renew=self.disk.renew,
                    look=self.disk.look,
                    allocate=lambda _, offset, size: self.disk.allocate(self._path, offset, size),
                    thread=LoopThread,
                    look_every_s=None,
                )
            except StoreError:
                if self.disk.is_off:
                    return None
                if not self._trouble or loop.time() > until + ASK_AGAIN_S:
                    raise
            if loop.time() > until:
                self.faults.turn(on=False)
            await asyncio.sleep(ASK_AGAIN_S)

    def _judge(self, store: SqliteStore) -> list[Finding]:
        self.faults.turn(on=False)
        try:
            found = read(store)
        except sqlite3.Error as error:
            return [Finding("corrupt", str(error))]
        findings = check(self.history, found)
        if not findings:
            self.history.adopt(found)
        return findings

    async def _end(self) -> list[Finding]:
        """Without cuts and troubles: append everything again, replay and handle all, and look at what it came to."""
        self.faults.turn(on=False)
        self._trouble = False
        store = await self._open()
        assert store is not None
        if findings := self._judge(store):
            await self._leave(store, "closed")
            return findings
        work = Work(store, self.history, self.rng, lambda: False, plain=True)
        await work.during([work.work(queue) for queue in Queue], self._handle_all(store, work))
        await self._leave(store, "closed")
        self.disk.restart()
        store = await self._open()
        assert store is not None
        findings = [*work.findings, *self._judge(store)]
        stats = await store.stats()
        if (
            stats.inbox.pending
            or stats.outbox.pending
            or self.history.updates.keys() - self.history.committed
        ):
            findings.append(Finding("left", f"{stats}, {len(self.history.updates)} updates"))
        await self._leave(store, "closed")
        return findings

    async def _handle_all(self, store: SqliteStore, work: Work) -> None:
        for batch in self.history.batches:
            await work.append(batch)
        try:
            async with asyncio.timeout(_ALL_WELL_AGAIN_S):
                while any(queue.pending for queue in await store.stats()) or await store.dead_letters(1):
                    await work.replay_all()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            work.findings.append(Finding("stuck", f"{await store.stats()}"))


def live(seed: int, mode: str = "hybrid", *, trouble: bool = False, lossy: bool = False) -> Outcome:
    """Live one life.

    `mode` is "hybrid" as in production, or what `PRAGMA synchronous` is throughout. With `trouble`, operations fail
    while the store works; `lossy` makes failed syncs as bad as they are on Linux.
    """
    with (
        TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
        capture_logs(),
        _one_error_at_a_time(),
    ):
        life = Life(seed, mode, Path(folder), trouble=trouble, lossy=lossy)
        try:
            findings = run_virtual(life.run())
        finally:
            life.disk.close()
    return Outcome(seed, life.cuts, len(life.history.confirmed), life.faults.hits, findings)


@contextmanager
def _one_error_at_a_time() -> Iterator[None]:
    """When several operations fail within one statement, APSW raises one error and would print the others."""
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, apsw.Error):
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
