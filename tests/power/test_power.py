"""A share of the power cuts (`python -m tests.power` has no end), and what they stand on: the disk and the judge."""

import random
from dataclasses import replace
from typing import Any

import apsw
import pytest

from tests.kit.disk import Disk
from tests.power.campaign import live
from tests.power.history import Found, History, Parked, Update, check

CREATE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


@pytest.fixture(params=range(20))
def disk(request):
    disk = Disk(random.Random(request.param))
    yield disk
    disk.close()


class TestPowerCuts:
    @pytest.mark.parametrize("seed", range(1, 25))
    def test_no_confirmed_update_is_lost_and_effects_are_whole(self, seed):
        assert live(seed).findings == []

    @pytest.mark.parametrize("mode", ["normal", "off"])
    def test_without_the_sync_of_appends_updates_are_lost(self, mode):
        """Else the disk would be too kind, and the test above worth nothing."""
        assert any("lost" in live(seed, mode).kinds for seed in range(1, 25))

    def test_a_seed_is_the_same_life_again(self):
        assert live(3, "normal") == live(3, "normal")


class TestTrouble:
    @pytest.mark.parametrize("lossy", [False, True])
    @pytest.mark.parametrize("seed", range(3, 11))  # the lives of others are over before a fault
    def test_a_full_disk_io_errors_and_a_foreign_lock_cost_nothing(self, seed, lossy):
        outcome = live(seed, trouble=True, lossy=lossy)
        assert outcome.findings == []
        assert outcome.faults > 0

    @pytest.mark.parametrize("seed", [149, 248, 418, 429])
    def test_sqlite_that_goes_on_without_a_log_is_not_trusted(self, seed):
        """A fault in the switch to a log, of which SQLite tells nothing."""
        assert live(seed, trouble=True, lossy=True).findings == []


class TestDisk:
    def open(self, disk: Disk, name: str = "file", kind: int = apsw.SQLITE_OPEN_MAIN_DB) -> Any:
        return disk.xOpen(name, [CREATE | kind, 0])

    def opened_before(self, disk: Disk) -> Any:
        """An empty file that stays."""
        file = self.open(disk, kind=apsw.SQLITE_OPEN_WAL)
        file.xSync(0)
        return file

    def after_cut(self, disk: Disk) -> bytes:
        disk.restart()
        file = self.open(disk)
        return bytes(file.xRead(file.xFileSize(), 0))

    def test_what_was_synced_stays(self, disk):
        file = self.opened_before(disk)
        file.xWrite(b"a" * 2000, 0)
        file.xSync(0)
        assert self.after_cut(disk) == b"a" * 2000

    def test_a_write_harms_nothing_beside_it(self, disk):
        file = self.opened_before(disk)
        file.xWrite(b"a" * 1500, 0)
        file.xSync(0)
        file.xWrite(b"b" * 600, 300)
        content = self.after_cut(disk)
        assert (content[:300], content[900:]) == (b"a" * 300, b"a" * 600)

    def test_the_cache_returns_what_was_written(self, disk):
        file = self.opened_before(disk)
        file.xWrite(b"abc", 5)
        file.xTruncate(7)
        assert file.xRead(100, 0) == b"\0\0\0\0\0ab"

    def test_a_cut_ends_the_operation_and_all_that_follow(self, disk):
        file = self.opened_before(disk)
        disk.cut_after(1)
        file.xWrite(b"a", 0)
        assert not disk.is_off
        for _ in range(2):
            with pytest.raises(apsw.IOError):
                file.xWrite(b"b", 0)
            assert disk.is_off
        disk.restart()
        with pytest.raises(apsw.IOError):  # it was opened before the cut
            file.xRead(1, 0)
        self.open(disk).xWrite(b"c", 0)

    def outcomes(self, lossy: bool = False, write: Any = None) -> set[bytes]:
        """What 200 cuts make of two sectors."""
        found = set()
        for seed in range(200):
            disk = Disk(random.Random(seed), lossy=lossy)
            file = self.opened_before(disk)
            file.xWrite(b"a" * 1024, 0)
            file.xSync(0)
            write(disk, file)
            found.add(self.after_cut(disk))
            disk.close()
        return found

    def test_sectors_arrive_in_any_order_or_torn(self):
        found = self.outcomes(write=lambda _, file: file.xWrite(b"b" * 1024, 0))
        whole = {one * 512 + other * 512 for one in (b"a", b"b") for other in (b"a", b"b")}
        assert whole < found

    def test_an_older_version_of_a_sector_may_stay(self):
        def twice(_, file):
            file.xWrite(b"b" * 1024, 0)
            file.xWrite(b"c" * 1024, 0)

        assert b"b" * 512 in {content[:512] for content in self.outcomes(write=twice)}

    @pytest.mark.parametrize("lossy", [False, True])
    def test_a_failed_sync(self, lossy):
        """May be tried again; on Linux that would lie."""

        def sync_twice(disk, file):
            file.xWrite(b"b" * 1024, 0)
            disk.fault = lambda operation, grows: apsw.SQLITE_IOERR_FSYNC
            with pytest.raises(apsw.IOError):
                file.xSync(0)
            disk.fault = None
            assert file.xRead(1024, 0) == b"b" * 1024
            file.xSync(0)

        assert (self.outcomes(lossy, sync_twice) == {b"b" * 1024}) is not lossy

    def names_left(self, act: Any) -> set[bool]:
        """Whether the file is there after 50 cuts."""
        found = set()
        for seed in range(50):
            disk = Disk(random.Random(seed))
            act(disk)
            disk.restart()
            found.add("file" in disk._files)
            disk.close()
        return found

    def test_a_name_lasts_when_a_journal_was_synced(self):
        def create(disk):
            self.open(disk).xSync(0)

        def create_with_journal(disk):
            self.open(disk)
            self.open(disk, "journal", apsw.SQLITE_OPEN_MAIN_JOURNAL).xSync(0)

        assert self.names_left(create) == {True, False}
        assert self.names_left(create_with_journal) == {True}

    @pytest.mark.parametrize("synced", [True, False])
    def test_a_deletion_lasts_when_the_directory_was_synced(self, synced):
        def delete(disk):
            self.opened_before(disk)
            disk.xDelete("file", synced)

        assert self.names_left(delete) == ({False} if synced else {True, False})


HISTORY = History(
    updates={id_: Update(id_, "chat:1", "a", ("chat:1",)) for id_ in (1, 2, 3, 4, 5)},
    batches=[[1, 2, 3], [4, 5]],
    confirmed={1, 2, 3},
    committed={1, 2},
    sent={(1, 0)},
    done={(1, 0)},
    lasting=(frozenset({1}), frozenset({(1, 0)})),
    epoch=1,
)
GOOD = Found(
    integrity="ok",
    epoch=2,
    inbox=[("chat:1", 3)],
    outbox=[("chat:1", (2, 0))],
    handled={("chat:1", "a"): [1, 2]},
    dead=[],
    dead_calls=[],
    parked=[Parked("inbox", "chat:1", "3"), Parked("outbox", "chat:1", "(2, 0)")],
    seen={1, 2, 3},
)


class TestJudge:
    """On trial with hand-written files."""

    def kinds(self, history: History = HISTORY, **changed: Any) -> set[str]:
        return {finding.kind for finding in check(history, GOOD._replace(**changed))}

    def test_what_may_be(self):
        assert self.kinds() == set()

    def test_a_commit_that_no_append_followed_may_be_undone_as_a_whole(self):
        assert (
            self.kinds(
                inbox=[("chat:1", 2), ("chat:1", 3)], outbox=[], handled={("chat:1", "a"): [1]}, parked=[]
            )
            == set()
        )

    def test_what_was_not_confirmed_may_be_there_as_a_whole(self):
        assert self.kinds(inbox=[("chat:1", 3), ("chat:1", 4), ("chat:1", 5)], seen={1, 2, 3, 4, 5}) == set()

    def test_a_letter_may_have_left_its_place(self):
        history = replace(HISTORY, buried={1})
        handled = {("chat:1", "a"): [2, 1]}
        assert self.kinds(history, handled=handled) == set()

    @pytest.mark.parametrize(
        ("kind", "changed"),
        [
            ("corrupt", {"integrity": "row 3 missing"}),
            ("lost", {"inbox": [], "seen": {1, 2}, "parked": []}),
            ("twice", {"inbox": [("chat:1", 2), ("chat:1", 3)], "parked": []}),
            ("twice", {"dead": [3]}),
            ("stray", {"inbox": [("chat:1", 3), ("chat:1", 9)]}),
            ("torn batch", {"inbox": [("chat:1", 3), ("chat:1", 4)], "seen": {1, 2, 3, 4}}),
            ("seen", {"seen": {1, 2}}),
            ("seen", {"seen": {1, 2, 3, 4}}),
            ("order", {"handled": {("chat:1", "a"): [2, 1]}}),
            ("order", {"handled": {("chat:1", "a"): [1, 3]}, "inbox": [("chat:1", 2)]}),
            ("order", {"inbox": [("chat:1", 5), ("chat:1", 4), ("chat:1", 3)], "seen": {1, 2, 3, 4, 5}}),
            ("effects", {"outbox": []}),
            ("effects", {"outbox": [("chat:1", (2, 0)), ("chat:1", (3, 0))]}),
            ("effects", {"dead_calls": [(2, 0)]}),
            ("undone", {"handled": {}, "inbox": [("chat:1", 1), ("chat:1", 2), ("chat:1", 3)], "outbox": []}),
            ("undone", {"outbox": [("chat:1", (1, 0)), ("chat:1", (2, 0))]}),
            ("order", {"outbox": [("chat:1", (2, 0)), ("chat:1", (1, 0))]}),
            ("epoch", {"epoch": 1}),
            ("park", {"parked": [Parked("inbox", "chat:1", "2")]}),
            ("park", {"parked": [Parked("outbox", "chat:2", "(2, 0)")]}),
        ],
    )
    def test_what_must_not_be(self, kind, changed):
        assert kind in self.kinds(**changed)
