"""The contract, for each store, and what only one of them has."""

import asyncio
import gc
import sqlite3
import time
from functools import partial
from typing import Any

import pytest

from engine import (
    Call,
    Delivery,
    Effects,
    LeaseLost,
    Post,
    RightLost,
    StateChange,
    StoreError,
    StoreUnavailable,
    Timer,
)
from engine.model import TIMER_IDS
from engine.store import WALL_LOOK_S
from engine.stores import open_store as open_by_url
from engine.stores.contract import append
from engine.stores.contract.effects import Clock, EffectsContract, pending
from engine.stores.contract.store import (
    INBOX,
    NOTHING,
    OUTBOX,
    StoreContract,
    conserved,
    drain_ids,
    ready_now,
    update,
)
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import open_sqlite
from engine.stores.sqlite.disk import connect
from engine.stores.sqlite.errors import translated
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.writer import Writer
from tests.kit.bounds import WITHIN_S
from tests.kit.statements import statements_of
from tests.kit.virtual import run_virtual

# What makes of a file one of the fourth and of the third format.
FORMAT_4 = """
DROP INDEX dead_key; DELETE FROM meta WHERE name IN ('calls', 'timers'); PRAGMA user_version = 4;
"""
FORMAT_3 = f"""{FORMAT_4}
DROP TABLE timer; ALTER TABLE parked DROP COLUMN place; ALTER TABLE inbox DROP COLUMN at;
ALTER TABLE outbox DROP COLUMN at; PRAGMA user_version = 3;
"""


class TestMemory(EffectsContract, StoreContract):
    @pytest.fixture
    async def open_store(self):
        async def open_(limits=None, wall=time.time):
            return MemoryStore(limits=limits, wall=wall)

        return open_

    async def test_a_timer_that_is_set_anew_all_the_time_keeps_one_alarm(self, store):
        loop: Any = asyncio.get_running_loop()
        before = len(loop._scheduled)
        for id_ in range(1, 1000):
            await self.set_timers(store, Timer("t", 86_400), id_=id_)
        assert len(loop._scheduled) <= before + 1
        assert len(store._data.waiting) <= 70
        for id_ in range(1000, 1100):  # taken away
            await self.set_timers(store, Timer("t", None), Timer("u", 86_400), id_=id_)
        assert len(store._data.waiting) <= 70

    async def test_an_earlier_timer_has_the_alarm(self, open_store):
        loop: Any = asyncio.get_running_loop()
        store = await open_store(wall=lambda: 1000.0)
        await self.set_timers(store, Timer("late", 50))
        await self.set_timers(store, Timer("early", 5), id_=2)
        whens = [handle.when() - loop.time() for handle in loop._scheduled if not handle.cancelled()]
        assert min(whens) <= 5

    async def test_timers_that_are_due_do_not_come_due_again(self, store, clock):
        await self.set_timers(store, *(Timer(f"{n}", 5) for n in range(30)))
        clock.now += 60  # all of them: each was set a little later than the one before
        await store.claim(INBOX)
        for id_ in range(3, 200):  # until the heap is made anew
            await self.set_timers(store, Timer("t", 86_400), id_=id_, key="chat:2")
        await self.set_timers(store, Timer("t", 0), id_=200, key="chat:2")
        assert (await store.stats()).inbox.pending == 31

    async def test_a_timer_that_was_handled_leaves_nothing_behind(self, store, clock):
        await self.set_timers(store, Timer("t", 0, b"t"), Timer("u", 5, b"u"))
        assert await self.names(store) == [b"t"]
        clock.now += 5
        await store.bury(await store.claim(INBOX), "x")
        data = store._data
        assert (data.timers, data.due, data.queues[INBOX].envelopes) == ({}, {}, {})


class TestSqlite(EffectsContract, StoreContract):
    @pytest.fixture
    async def open_store(self, tmp_path):
        opened: list[Any] = []

        async def open_(limits=None, wall=time.time):
            path = tmp_path / f"{len(opened)}.db"
            opened.append(await open_sqlite(path, "1", limits=limits, wall=wall))
            return opened[-1]

        yield open_
        for store in opened:
            await store.close()


class TestSqliteWithNothingAtHand(TestSqlite):
    """Every body and every state is read from the file: what is kept in memory is only a shortcut."""

    @pytest.fixture(autouse=True)
    def nothing_at_hand(self, monkeypatch):
        monkeypatch.setattr("engine.embedded.at_hand.ENVELOPES_BYTES_MAX", 0)
        monkeypatch.setattr("engine.embedded.at_hand.STATES_BYTES_MAX", 0)
        # Else a cache that has dropped nothing knows which states do not exist.
        monkeypatch.setattr(StoreFile, "states", lambda _: 1)


class TestMemorySessions:
    """Several sessions over the same data, as several processes would have."""

    def test_lanes_of_a_session_that_does_not_renew_are_taken_over_and_it_is_refused(self):
        async def main() -> None:
            store = MemoryStore(lease_ttl_s=15)
            peer = store.peer()
            lost: list[Any] = []
            store.watch(INBOX, lost.extend)
            for other in (store.peer(), peer):
                other.watch(INBOX, lambda _: lost.append("another's"))
            store.watch(OUTBOX, lambda _: lost.append("another queue's"))
            await append(store, [update(1), update(2)])
            stale = await store.claim(INBOX)
            store.hang()
            took_over = await peer.claim(INBOX)
            assert asyncio.get_running_loop().time() == 15
            assert (took_over.envelope.id, took_over.attempt) == (1, 1)
            for settle in (
                store.commit(stale, NOTHING, more=True),
                store.bury(stale, "x"),
                store.release(stale),
            ):
                with pytest.raises(LeaseLost):
                    await settle
            assert lost == [stale.lease]
            assert (await peer.commit(took_over, NOTHING, more=True)).envelope.id == 2

        run_virtual(main())

    def test_one_session_at_a_time_may_append_and_another_waits_until_it_resigns(self):
        async def main() -> None:
            store = MemoryStore()
            peer, third = store.peer(), store.peer()
            mine = await store.right()
            waiting = [asyncio.create_task(session.right()) for session in (peer, third)]
            cut_off = asyncio.create_task(peer.right())
            await asyncio.sleep(1)
            assert not any(each.done() for each in waiting)
            with pytest.raises(RightLost):
                await peer.append(mine, [update(1)])  # of another session
            cut_off.cancel()
            await store.resign(mine)
            await asyncio.sleep(0)
            assert [each.done() for each in waiting] == [True, False]
            assert await peer.append(await waiting[0], [update(1)]) == 1
            with pytest.raises(RightLost):
                await store.append(mine, [update(2)])
            await store.resign(mine)
            with pytest.raises(RightLost):
                await store.append(await waiting[0], [update(2)])
            await peer.close()
            assert await third.append(await waiting[1], [update(1), update(2)]) == 1

        run_virtual(main())

    def test_what_a_waiting_claim_of_a_session_gets_that_does_not_renew_is_taken_over_too(self):
        async def main() -> None:
            store = MemoryStore(lease_ttl_s=15)
            peer = store.peer()
            claims = [asyncio.create_task(session.claim(INBOX)) for session in (store, peer)]
            await asyncio.sleep(1)
            store.hang()
            await asyncio.sleep(20)
            await append(peer, [update(1)])
            await asyncio.wait(claims)
            assert asyncio.get_running_loop().time() == 31
            assert [each.result().lease.fence for each in claims] == [1, 2]

        run_virtual(main())

    def test_the_right_of_a_session_that_does_not_renew_is_lost(self):
        async def main() -> None:
            store = MemoryStore(lease_ttl_s=15)
            peer = store.peer()
            mine = await store.right()
            store.hang()
            theirs = await peer.right()
            assert asyncio.get_running_loop().time() == 15
            with pytest.raises(RightLost):
                await store.append(mine, [update(1)])
            await store.resign(mine)
            assert await peer.append(theirs, [update(1)]) == 1

        run_virtual(main())

    def test_a_session_that_goes_on_in_time_keeps_what_it_holds(self):
        async def main() -> None:
            store = MemoryStore(lease_ttl_s=15)
            lost: list[Any] = []
            store.watch(INBOX, lost.extend)
            await append(store, [update(1)])
            mine = await store.claim(INBOX)
            for _ in range(3):
                store.hang()
                await asyncio.sleep(14)
            store.go_on()
            await asyncio.sleep(60)
            assert lost == []
            assert await store.commit(mine, NOTHING, more=True) is None

        run_virtual(main())

    async def test_what_another_session_holds_is_not_waited_for(self):
        store = MemoryStore()
        peer = store.peer()
        await append(store, [update(1), update(2, "chat:2")])
        mine = await store.claim(INBOX)
        settled = asyncio.create_task(store.settled(INBOX))
        await store.commit(mine, NOTHING, more=False)
        await asyncio.sleep(0)
        assert not settled.done()  # it could claim the other
        await peer.claim(INBOX)
        await asyncio.wait_for(settled, WITHIN_S)
        assert (store.mine(INBOX).leased, peer.mine(INBOX).leased) == (0, 1)

    def test_what_a_session_has_lost_is_settled(self):
        async def main() -> None:
            store = MemoryStore(lease_ttl_s=15)
            peer = store.peer()
            await append(store, [update(1)])
            await store.claim(INBOX)
            store.hang()
            waiting = asyncio.create_task(peer.claim(INBOX))
            await store.settled(INBOX)
            assert asyncio.get_running_loop().time() == 15
            await waiting

        run_virtual(main())

    async def test_each_session_that_is_open_is_told_of_new_updates(self):
        store = MemoryStore()
        peer, closed = store.peer(), store.peer()
        notified: list[str] = []
        store.watch(INBOX, print, lambda _: notified.append("store"))
        peer.watch(INBOX, print, lambda _: notified.append("peer"))
        closed.watch(INBOX, print, lambda _: notified.append("closed"))
        await closed.close()
        await append(store, [update(1)])
        assert notified == ["store", "peer"]

    def test_a_session_that_renews_keeps_its_lanes(self):
        async def main() -> None:
            store = MemoryStore(lease_ttl_s=15)
            peer = store.peer()
            await append(store, [update(1)])
            mine = await store.claim(INBOX)
            waiting = asyncio.create_task(peer.claim(INBOX))
            await asyncio.sleep(100)
            assert not waiting.done()
            await append(store, [update(2, "chat:2")])
            assert (await waiting).envelope.id == 2
            assert await store.commit(mine, NOTHING, more=True) is None

        run_virtual(main())

    def test_when_one_session_is_gone_another_keeps_its_lanes(self):
        async def main() -> None:
            store = MemoryStore(lease_ttl_s=15)
            gone, peer = store.peer(), store.peer()
            await append(store, [update(1), update(2, "chat:2")])
            left_behind, mine = await gone.claim(INBOX), await store.claim(INBOX)
            waiting = asyncio.create_task(peer.claim(INBOX))
            gone.hang()
            await asyncio.sleep(20)
            assert waiting.done()
            assert (await waiting).envelope == left_behind.envelope
            assert await store.commit(mine, NOTHING, more=True) is None

        run_virtual(main())

    def test_a_closed_session_gives_its_lanes_back_at_once(self):
        async def main() -> None:
            store = MemoryStore()
            peer = store.peer()
            await append(store, [update(1)])
            await store.claim(INBOX)
            store.hang()
            await store.close()
            assert (await peer.claim(INBOX)).envelope.id == 1
            await asyncio.sleep(0)
            assert asyncio.get_running_loop().time() == 0

        run_virtual(main())


def parked_in_the_file(store: Any) -> list[str]:
    return [key for (key,) in store._ledger.file.connection.execute("SELECT key FROM parked")]


class TestSqliteFile:
    """What survives, and who may open it."""

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "bot.db"

    @pytest.fixture
    def clock(self):
        return Clock()

    async def test_everything_survives_closing_and_opening(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(id_, f"chat:{id_ % 2}") for id_ in range(1, 7)])
        delivery = await store.claim(INBOX)
        await store.commit(delivery, Effects((Call("chat:1", b"a"), Call("chat:1", b"b")), b"s"), more=False)
        await store.bury(await store.claim(INBOX), "bad")
        await store.claim(INBOX)  # leased when the process ends
        await store.close()

        store = await open_sqlite(path, "1")
        assert await append(store, [update(id_) for id_ in range(1, 7)]) == 0
        delivery = await store.claim(INBOX)
        assert (delivery.envelope.id, delivery.envelope.key, delivery.state) == (3, "chat:1", b"s")
        await store.commit(delivery, NOTHING, more=False)
        assert await drain_ids(store) == [("chat:0", 4), ("chat:1", 5), ("chat:0", 6)]
        first = await store.claim(OUTBOX)
        second = await store.commit(first, NOTHING, more=True)
        assert (first.envelope.body, second.envelope.body) == (b"a", b"b")
        assert [letter.envelope.id for letter in await store.dead_letters()] == [2]
        await conserved(store)
        await store.close()

    async def test_posts_survive_closing_and_opening_in_their_order(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(1)])
        await append(store, [], posts=[Post("chat:1", "7", b"a"), Post("chat:1", "7", b"b")])
        await store.close()
        store = await open_sqlite(path, "1")
        await append(store, [], posts=[Post("chat:1", "7", b"c")])
        delivery: Delivery | None = await store.claim(INBOX)
        bodies = []
        while delivery is not None:
            bodies.append(delivery.envelope.body)
            delivery = await store.commit(delivery, NOTHING, more=True)
        assert bodies == [b"body of 1", b"a", b"b", b"c"]
        await store.close()

    async def test_a_post_is_synced_before_it_counts_as_durable(self, path, monkeypatch):
        synced = []
        transact = Writer._transact

        def noting(writer, steps, *, durable):
            synced.append(durable)
            transact(writer, steps, durable=durable)

        monkeypatch.setattr(Writer, "_transact", noting)
        store = await open_sqlite(path, "1")
        synced.clear()
        await append(store, [], posts=[Post("chat:1", "7", b"a")])
        assert synced == [True]
        await store.close()

    async def test_many_states_in_a_commit_are_read_together(self, path, monkeypatch):
        store = await open_sqlite(path, "1", look_every_s=None)
        store._states._elsewhere = (
            1  # as if the cache had dropped a state: else it knows that these do not exist
        )
        await append(store, [update(1)])
        head = await store.claim(INBOX)
        work, turns = Writer._work, []

        def counted(writer, group):
            turns.append(len(group.reads))
            return work(writer, group)

        monkeypatch.setattr(Writer, "_work", counted)
        states = tuple(StateChange(f"chat:{n}", "", None, b"x") for n in range(500))
        await store.commit(head, Effects(states=states), more=False)
        assert turns == [500, 0]
        await store.close()

    async def test_an_alias_is_there_after_a_power_cut(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(1)])
        await store.commit(await store.claim(INBOX), NOTHING, more=False)
        assert store._writer._synchronous == "NORMAL"
        await append(store, [], [("chat:new", "chat:old")])
        assert store._writer._synchronous == "FULL"
        await store.close()

    @pytest.mark.parametrize("read_anew", [False, True])
    async def test_an_alias_survives(self, path, read_anew):
        store = await open_sqlite(path, "1")
        await append(store, [update(1, "chat:old")])
        await append(store, [], [("chat:new", "chat:old")])
        if read_anew:
            store._writer.suspect = True
        else:
            await store.close()
            store = await open_sqlite(path, "1")
        await append(store, [], [("chat:new", "chat:other")])
        await append(store, [update(2, "chat:new")])
        assert await drain_ids(store) == [("chat:old", 1), ("chat:old", 2)]
        await store.close()

    async def test_the_order_of_arrival_survives_a_restart_of_the_numbering(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(900_000_000)])
        await append(store, [update(5)])
        await store.close()
        store = await open_sqlite(path, "1")
        await append(store, [update(6)])
        assert [id_ for _, id_ in await drain_ids(store)] == [900_000_000, 5, 6]
        await store.close()

    async def test_calls_of_a_later_process_stand_behind_those_of_an_earlier_one(self, path):
        for id_ in (1, 2):
            store = await open_sqlite(path, "1")
            await append(store, [update(id_)])
            await store.commit(await store.claim(INBOX), Effects((Call("chat:1", b"%d" % id_),)), more=False)
            await store.close()
        store = await open_sqlite(path, "1")
        first = await store.claim(OUTBOX)
        second = await store.commit(first, NOTHING, more=True)
        assert (first.envelope.body, second.envelope.body) == (b"1", b"2")
        await store.close()

    async def test_attempts_and_the_time_of_parking_survive(self, path):
        now = [1000.0]
        store = await open_sqlite(path, "1", wall=lambda: now[0])
        await append(store, [update(1), update(2, "chat:2")])
        await store.park(await store.claim(INBOX), 60, counted=True, reason="slow down")
        await store.park(await store.claim(INBOX), 5, counted=True, reason="x")
        await store.close()
        now[0] += 10
        loop = asyncio.get_running_loop()
        began = loop.time()
        store = await open_sqlite(path, "1", wall=lambda: now[0])
        second = await store.claim(INBOX)  # its time came while nobody ran
        assert (second.envelope.id, second.attempt) == (2, 2)
        (parked,) = (lane for lane in await store.lanes(INBOX) if lane.status == "parked")
        assert (parked.key, parked.attempts, parked.reason) == ("chat:1", 1, "slow down")
        assert 49.9 - (loop.time() - began) < parked.wait_s <= 50
        await store.commit(second, NOTHING, more=False)
        assert parked_in_the_file(store) == ["chat:1"]
        await store.close()
        store = await open_sqlite(path, "1", wall=lambda: now[0])
        await append(store, [update(3, "chat:2")])
        assert (await store.claim(INBOX)).attempt == 1  # the failures of a head that is gone are forgotten
        await store.close()

    async def test_the_failures_of_a_dead_letter_are_forgotten(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(1), update(2)])
        await store.park(await store.claim(INBOX), 0, counted=True, reason="x")
        await store.bury(await store.claim(INBOX), "no good")
        assert parked_in_the_file(store) == []
        await store.close()
        store = await open_sqlite(path, "1")
        second = await store.claim(INBOX)
        assert (second.envelope.id, second.attempt) == (2, 1)
        await store.close()

    async def test_a_clock_that_is_set_back_does_not_keep_a_lane_parked(self, path):
        now = [100_000.0]
        store = await open_sqlite(path, "1", wall=lambda: now[0])
        await append(store, [update(1)])
        await store.park(await store.claim(INBOX), 60, counted=True, reason="x")
        await store.close()
        now[0] -= 6 * 3600
        loop = asyncio.get_running_loop()
        began = loop.time()
        store = await open_sqlite(path, "1", wall=lambda: now[0])
        (parked,) = await store.lanes(INBOX)
        assert 59.9 - (loop.time() - began) < parked.wait_s <= 60
        await store.close()

    async def test_what_is_replayed_after_a_new_start_goes_before_what_came_later(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(1)])
        await store.commit(await store.claim(INBOX), Effects((Call("chat:1", b"old"),)), more=False)
        await store.bury(await store.claim(OUTBOX), "refused")
        await append(store, [update(2_000_000), update(3_500_000)])
        await store.bury(await store.claim(INBOX), "refused")
        await store.close()
        store = await open_sqlite(path, "1")
        for id_ in (5_000_000, 5_000_001):
            await append(store, [update(id_)])
        for _ in range(2):
            delivery = await store.claim(INBOX)
            await store.commit(delivery, Effects((Call("chat:1", b"new"),)), more=False)
        for letter in await store.dead_letters():
            assert await store.replay(letter.number)
        assert (await store.claim(INBOX)).envelope.id == 2_000_000
        assert (await store.claim(OUTBOX)).envelope.body == b"old"
        await store.close()

    async def test_an_empty_reason_is_one(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(1), update(2)])
        await store.park(await store.claim(INBOX), 0, counted=True, reason="")
        await store.commit(await store.claim(INBOX), NOTHING, more=False)
        await store.close()
        store = await open_sqlite(path, "1")
        assert (await store.claim(INBOX)).attempt == 1
        await store.close()

    async def test_a_file_of_the_first_format_is_brought_up_to_date(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(1)])
        await store.park(await store.claim(INBOX), 3600, counted=True, reason="x")
        await store.close()
        connection = sqlite3.connect(path)
        connection.executescript(
            FORMAT_3 + "ALTER TABLE parked DROP COLUMN delay_s; DROP TABLE alias; PRAGMA user_version = 1"
        )
        connection.close()
        for _ in range(2):
            store = await open_sqlite(path, "1")
            (parked,) = await store.lanes(INBOX)
            assert (parked.attempts, parked.reason) == (1, "x")
            assert 290 < parked.wait_s <= 300
            await append(store, [], [("chat:new", "chat:1")])
            await store.close()

    async def test_a_file_of_the_second_format_is_brought_up_to_date(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(1)])
        await store.close()
        connection = sqlite3.connect(path)
        connection.executescript(FORMAT_3 + "DROP TABLE alias; PRAGMA user_version = 2")
        connection.close()
        for id_ in (2, 3):
            store = await open_sqlite(path, "1")
            await append(store, [], [("chat:new", "chat:1")])
            await append(store, [update(id_, "chat:new")])
            await store.close()
        store = await open_sqlite(path, "1")
        assert await drain_ids(store) == [("chat:1", 1), ("chat:1", 2), ("chat:1", 3)]
        await store.close()

    async def test_a_file_of_the_third_format_is_brought_up_to_date(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(1), update(2, "chat:2"), update(3)])
        await store.commit(await store.claim(INBOX), Effects((Call("chat:1", b"a"),)), more=False)
        await store.park(await store.claim(INBOX), 3600, counted=True, reason="x")
        await store.park(await store.claim(OUTBOX), 3600, counted=True, reason="y")
        await store.close()
        connection = sqlite3.connect(path)
        connection.executescript(FORMAT_3)
        connection.close()
        store = await open_sqlite(path, "1")
        assert [lane.reason for lane in await store.lanes(INBOX) if lane.attempts] == ["x"]
        assert [lane.reason for lane in await store.lanes(OUTBOX)] == ["y"]
        third = await store.claim(INBOX)
        assert third.envelope == update(3)  # nobody knows when it came
        await store.commit(third, Effects(timers=(Timer("t", 0, b"t"),)), more=False)
        await store.close()
        store = await open_sqlite(path, "1")
        assert (await store.claim(INBOX)).envelope.body == b"t"
        await store.close()

    async def test_a_tried_head_that_a_late_arrival_met_stays_the_head(self, path):
        store: Any = await open_sqlite(path, "1")
        await append(store, [update(10), update(12)])
        await store.park(await store.claim(INBOX), 0, counted=True, reason="x")
        await append(store, [update(9)])
        for _ in range(2):
            await store.close()
            store = await open_sqlite(path, "1")
            head = await store.claim(INBOX)
            assert (head.envelope.id, head.attempt) == (10, 2)
        ninth = await store.commit(head, NOTHING, more=True)
        assert (ninth.envelope.id, ninth.attempt) == (9, 1)
        await store.close()

    async def test_what_was_parked_is_inherited_by_nobody(self, path):
        clock = Clock()
        store = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1), update(2)])
        await store.commit(await store.claim(INBOX), Effects(timers=(Timer("t", 0),)), more=False)
        await store.commit(await store.claim(INBOX), NOTHING, more=False)
        await store.park(await store.claim(INBOX), 3600, counted=True, reason="x")
        await append(store, [update(3)])
        await store.close()
        clock.now -= 100  # the timer is not due any more
        store = await open_sqlite(path, "1", wall=clock)
        head = await asyncio.wait_for(store.claim(INBOX), WITHIN_S)
        assert (head.envelope.id, head.attempt) == (3, 1)
        await store.close()

    async def test_ids_are_remembered_for_a_day_and_forgotten_after_two(self, path, clock):
        async def known() -> bool:
            found = await append(store, [update(1)]) == 0
            await drain_ids(store)
            return found

        store = await open_sqlite(path, "1", wall=clock)
        assert not await known()
        clock.passes(86_400.0)
        assert await known()
        clock.passes(2 * 86_400.0)
        assert not await known()
        await store.close()
        clock.passes(3 * 86_400.0)  # nobody runs
        store = await open_sqlite(path, "1", wall=clock)
        assert await known()  # which touches it: it is kept for a day from the start on
        await store.close()
        store = await open_sqlite(path, "1", wall=clock)
        clock.passes(3 * 86_400.0)
        assert not await known()
        await store.close()

    @pytest.mark.parametrize("leap_s", [10 * 365 * 86_400.0, 5 * 86_400.0, -3600.0, -50 * 365 * 86_400.0])
    async def test_a_leap_of_the_wall_clock_while_nobody_runs_forgets_no_ids(self, path, clock, leap_s):
        store = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        await drain_ids(store)
        await store.close()
        clock.leaps(leap_s)
        store = await open_sqlite(path, "1", wall=clock)
        assert await append(store, [update(1), update(2)]) == 1
        await store.close()

    @pytest.mark.parametrize("kind", ["memory", "sqlite"])
    async def test_the_id_of_what_is_pending_is_never_forgotten(self, path, clock, kind):
        if kind == "memory":
            store: Any = MemoryStore(wall=clock)
        else:
            store = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        clock.passes(30 * 86_400.0)
        assert await append(store, [update(1)]) == 0
        assert await drain_ids(store) == [("chat:1", 1)]
        await store.close()

    async def test_the_id_of_what_was_replayed_is_remembered_after_a_restart(self, path, clock):
        store = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1), update(2)])
        await store.bury(await store.claim(INBOX), "x")
        await drain_ids(store)
        clock.passes(4 * 86_400.0)
        await append(store, [update(5_000)])
        await drain_ids(store)
        clock.passes(7200.0)
        assert list(await asyncio.gather(append(store, [update(5_000)]), store.replay(1))) == [0, True]
        await store.close()
        store = await open_sqlite(path, "1", wall=clock)
        assert await append(store, [update(1)]) == 0
        assert await drain_ids(store) == [("chat:1", 1)]
        await store.close()

    async def test_a_segment_of_ids_that_is_used_again_after_two_days_is_kept(self, path, clock):
        store = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        await drain_ids(store)
        clock.passes(4 * 86_400.0)
        await append(store, [update(2)])  # the same segment: the old one is forgotten, the new one kept
        await store.close()
        store = await open_sqlite(path, "1", wall=clock)
        assert await append(store, [update(2)]) == 0
        assert await append(store, [update(1)]) == 1
        await store.close()

    async def test_an_append_of_what_is_known_leaves_nothing_to_do_for_the_next(self, path, clock):
        """It found an old segment; the next append uses that one again."""
        store: Any = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        clock.passes(30 * 3600.0)
        await append(store, [update(5 * 4096)])
        clock.passes(19 * 3600.0)
        assert await append(store, [update(5 * 4096)]) == 0
        assert store._writer.group().steps == []
        assert await append(store, [update(20)]) == 1
        await drain_ids(store)
        await store.close()
        store = await open_sqlite(path, "1", wall=clock)
        assert await append(store, [update(20)]) == 0
        await store.close()

    async def test_old_segments_of_ids_leave_the_file(self, path, clock):
        store = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        await drain_ids(store)
        clock.passes(4 * 86_400.0)
        await append(store, [update(1_000_000)])
        kept = store._ledger.file.connection.execute("SELECT segment FROM seen").fetchall()
        assert kept == [(1_000_000 >> 12,)]
        await store.close()

    async def test_a_second_process_is_refused_with_the_pid_of_the_first(self, path):
        store = await open_sqlite(path, "1")
        with pytest.raises(StoreError, match=r"is in use by process \d+: stop it, or set STORE_URL"):
            await open_sqlite(path, "1")
        await store.close()
        await (await open_sqlite(path, "1")).close()

    async def test_another_bots_file_is_refused(self, path):
        await (await open_sqlite(path, "1")).close()
        with pytest.raises(StoreError, match="belongs to bot 1, not to bot 2: set STORE_URL"):
            await open_sqlite(path, "2")
        await (await open_sqlite(path, "1")).close()

    async def test_a_newer_format_is_refused(self, path):
        await (await open_sqlite(path, "1")).close()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        with pytest.raises(StoreError, match=r"comes from a newer Chatlane .*: update Chatlane"):
            await open_sqlite(path, "1")

    async def test_another_programs_database_is_refused_and_left_alone(self, path):
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE theirs (x)")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(StoreError, match="another program's database"):
            await open_sqlite(path, "1")
        assert path.read_bytes() == before

    async def test_a_file_that_is_no_database_is_refused(self, path):
        path.write_bytes(b"my diary, not yours" * 100)
        with pytest.raises(StoreError, match=r"cannot open .*not a database"):
            await open_sqlite(path, "1")

    async def test_a_folder_that_does_not_exist_is_named(self, tmp_path):
        with pytest.raises(StoreError, match="does not exist: create it"):
            await open_sqlite(tmp_path / "no" / "bot.db", "1")

    @pytest.mark.parametrize("url", ["redis", "sqlite:", "memory:x", "", "mysql://x"])
    async def test_an_unknown_address_is_refused(self, url):
        with pytest.raises(StoreError, match="use sqlite:FILE, postgres"):
            await open_by_url(url, "1")

    async def test_an_append_is_synced_and_a_commit_is_not(self, path):
        """The price of durability is paid once a batch; watched on the connection itself."""
        store = await open_sqlite(path, "1")
        statements = await statements_of(store)
        await append(store, [update(1), update(2)])
        await store.commit(await store.claim(INBOX), NOTHING, more=False)
        await append(store, [update(3)])
        modes = [statement for statement in statements if "synchronous" in statement]
        assert modes == [
            "PRAGMA synchronous=FULL",
            "PRAGMA synchronous=NORMAL",
            "PRAGMA synchronous=FULL",
        ]
        await store.close()

    async def test_what_is_asked_at_the_same_time_is_one_transaction(self, path):
        store = await open_sqlite(path, "1")
        await append(store, [update(id_, f"chat:{id_}") for id_ in range(50)])
        deliveries = [await store.claim(INBOX) for _ in range(50)]
        statements = await statements_of(store)
        await asyncio.gather(*(store.commit(delivery, NOTHING, more=True) for delivery in deliveries))
        assert statements.count("COMMIT") == 1
        await store.close()


class TestSqliteTimers:
    """What becomes of timers when the process ends, and what they cost."""

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "bot.db"

    async def bodies(self, store: Any) -> list[bytes]:
        seen = []
        while (delivery := await ready_now(store)) is not None:
            seen.append(delivery.envelope.body)
            await store.commit(delivery, NOTHING, more=False)
        return seen

    async def test_timers_survive_and_come_once_in_order_behind_what_is_pending(self, path):
        clock = Clock()
        store: Any = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1), update(2), update(3), update(4, body=b"4")])
        wishes = [Timer("due", 0, b"due"), Timer("late", 20, b"late"), Timer("soon", 10, b"soon")]
        wishes += [Timer("gone", 5, b"gone"), Timer("old", 5, b"old"), Timer("beyond", 60, b"beyond")]
        second = await store.commit(await store.claim(INBOX), Effects(timers=tuple(wishes)), more=True)
        again = (Timer("gone", None), Timer("old", 15, b"new"))
        third = await store.commit(second, Effects(timers=again), more=True)
        await store.commit(third, NOTHING, more=False)
        await append(store, [update(5, body=b"5")])
        await store.close()
        clock.now += 30
        store = await open_sqlite(path, "1", wall=clock)
        assert (await store.stats()).inbox[:4] == (6, 0, 0, 6)
        assert await self.bodies(store) == [b"4", b"5", b"due", b"soon", b"new", b"late"]
        await conserved(store)
        await store.close()
        clock.now += 31
        store = await open_sqlite(path, "1", wall=clock)
        assert await self.bodies(store) == [b"beyond"]
        await store.close()
        store = await open_sqlite(path, "1", wall=clock)
        assert (await store.stats()).inbox.pending == 0
        await store.close()

    async def test_a_timer_that_was_tried_keeps_its_attempts_and_its_place(self, path):
        store: Any = await open_sqlite(path, "1")
        await append(store, [update(1)])
        await store.commit(await store.claim(INBOX), Effects(timers=(Timer("t", 0, b"t"),)), more=False)
        await store.park(await store.claim(INBOX), 0, counted=True, reason="x")
        await append(store, [update(2)])
        await store.close()
        store = await open_sqlite(path, "1")
        head = await store.claim(INBOX)
        assert (head.envelope.body, head.attempt) == (b"t", 2)
        assert (await store.commit(head, NOTHING, more=True)).envelope.id == 2
        await store.close()

    async def test_a_timer_stands_in_its_lane_once(self, path):
        clock = Clock()
        store: Any = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1), update(2), update(3)])
        wishes = (Timer("t", 0, b"old"), Timer("u", 5, b"u"))
        second = await store.commit(await store.claim(INBOX), Effects(timers=wishes), more=True)
        third = await store.commit(second, Effects(timers=(Timer("t", 0, b"new"),)), more=True)
        assert (await store.stats()).inbox.pending == 2  # what is replaced is gone
        clock.now += 5
        store.clock_moved()
        await pending(store, 3)
        assert (await store.stats()).inbox.pending == 3  # the look at the file has found "t", too
        await store.commit(third, NOTHING, more=False)
        assert await self.bodies(store) == [b"new", b"u"]
        await store.close()

    async def test_the_alarm_is_set_for_the_next_timer(self, path):
        clock = Clock()
        store: Any = await open_sqlite(path, "1", wall=clock)
        timers, loop = store._timers, asyncio.get_running_loop()
        await append(store, [update(1), update(2)])
        second = await store.commit(
            await store.claim(INBOX), Effects(timers=(Timer("late", 3600),)), more=True
        )
        late_at = timers._next_at
        assert timers._alarm.when() <= loop.time() + WALL_LOOK_S  # the clock may be set meanwhile
        await store.commit(second, Effects(timers=(Timer("soon", 5),)), more=False)
        assert timers._next_at < late_at
        clock.now += 600
        timers._alarm.cancel()
        timers._wake()  # as the alarm does
        while timers._looking:
            await asyncio.sleep(0)
        assert timers._next_at == late_at
        assert not timers._alarm.cancelled()
        await store.close()

    async def test_numbers_of_timers_are_never_used_again(self, path):
        ids = set()
        for n in range(3):
            store: Any = await open_sqlite(path, "1")
            await append(store, [update(n)])
            await store.commit(await store.claim(INBOX), Effects(timers=(Timer("t", 0),)), more=False)
            delivery = await store.claim(INBOX)
            ids.add(delivery.envelope.id)
            await store.commit(delivery, NOTHING, more=False)
            await store.close()
        assert len(ids) == 3

    async def test_more_timers_of_one_moment_than_one_look_reads_all_come_due(self, path, monkeypatch):
        monkeypatch.setattr("engine.stores.owned.timers.LOOK_ROWS", 3)
        await (await open_sqlite(path, "1")).close()
        connection = sqlite3.connect(path)
        rows = ((TIMER_IDS + n, f"chat:{n}", "7", "t", 2000.0, b"") for n in range(10))
        connection.executemany("INSERT INTO timer VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        connection.close()
        clock = Clock()
        store: Any = await open_sqlite(path, "1", wall=clock)
        clock.now = 2000.0
        store.clock_moved()
        await pending(store, 10)
        await store.close()

    async def test_a_hundred_thousand_timers_stay_in_the_file(self, path):
        """Nothing of them is in memory, and no more than is due is read."""
        await (await open_sqlite(path, "1")).close()
        connection = sqlite3.connect(path)
        rows = (
            (TIMER_IDS + n, f"chat:{n}", "7", "t", 2000.0 if n < 100_000 else 1000.0, b"")
            for n in range(100_003)
        )
        connection.executemany("INSERT INTO timer VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        connection.close()
        clock = Clock()
        gc.collect()
        before = len(gc.get_objects())
        steps: list[int] = []

        def watched(path: Any) -> sqlite3.Connection:
            connection = connect(path)
            connection.set_progress_handler(lambda: steps.append(1), 1000)  # instructions of SQLite's machine
            return connection

        store: Any = await open_sqlite(path, "1", wall=clock, connect=watched)
        assert (await store.stats()).inbox.pending == 3
        assert len(gc.get_objects()) - before < 1000
        assert len(steps) < 5
        clock.now = 2000.0
        store._timers._wake()
        while (await store.stats()).inbox.pending < 100_003:
            await asyncio.sleep(0)
        assert len(steps) < 10_000  # 100 an entry: no look reads again what others have read
        await store.close()

    async def test_after_an_io_error_timers_go_on(self, path, monkeypatch):
        clock = Clock()
        monkeypatch.setattr("engine.stores.owned.timers.WALL_LOOK_S", 0.001)
        monkeypatch.setattr("engine.stores.owned.timers._AFTER_TROUBLE_S", 0.001)
        store: Any = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        wishes = (Timer("t", 10, b"t"), Timer("u", 20, b"u"))
        await store.commit(await store.claim(INBOX), Effects(timers=wishes), more=False)
        waiting = asyncio.create_task(store.claim(INBOX))
        await asyncio.sleep(0)
        work, old = Writer._work, store._writer

        def broken(self, group):
            if self is not old:  # the file was opened anew
                return work(self, group)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
            return partial(self._failed, group, *translated(error)[:1], suspect=True)

        monkeypatch.setattr(Writer, "_work", broken)  # also for each look for what is due
        clock.now += 10
        async with asyncio.timeout(WITHIN_S):
            first = await waiting
        assert first.envelope.body == b"t"
        clock.now += 10
        assert (await store.commit(first, NOTHING, more=True)) is None
        assert (await store.claim(INBOX)).envelope.body == b"u"
        await conserved(store)
        await store.close()

    async def test_a_timer_that_is_replaced_while_the_file_is_read_comes_once(self, path):
        """The look and the commit are under way at the same time, the one before the other and the other way round."""
        for turns in range(12):
            clock = Clock()
            store: Any = await open_sqlite(path.with_name(f"{turns}.db"), "1", wall=clock)
            await append(store, [update(1), update(2)])
            wish = Effects(timers=(Timer("gone", 10, b"gone"), Timer("new", 10, b"old")))
            second = await store.commit(await store.claim(INBOX), wish, more=True)
            clock.now += 10
            store._timers._wake()
            for _ in range(turns):
                await asyncio.sleep(0)
            again = Effects(timers=(Timer("gone", None), Timer("new", 0, b"new")))
            third = await store.commit(second, again, more=True)
            assert third.envelope.body == b"new"
            assert await store.commit(third, NOTHING, more=True) is None
            while store._timers._looking:
                await asyncio.sleep(0)
            assert (await store.stats()).inbox[:4] == (3, 3, 0, 0)
            await store.close()

    async def test_a_clock_that_is_set_back_while_the_file_is_read_loses_and_delays_no_timer(self, path):
        for turns in range(12):
            clock = Clock()
            store: Any = await open_sqlite(path.with_name(f"{turns}.db"), "1", wall=clock)
            await append(store, [update(1), update(2)])
            wish = Effects(timers=(Timer("a", 1000, b"a"), Timer("b", 2000, b"b")))
            second = await store.commit(await store.claim(INBOX), wish, more=True)
            clock.now += 1500  # seconds of the real time do not matter beside these
            store._timers._wake()
            for _ in range(turns):
                await asyncio.sleep(0)
            clock.now -= 1500
            await store.commit(second, Effects(timers=(Timer("c", 300, b"c"),)), more=False)
            while store._timers._looking:
                await asyncio.sleep(0)
            for seconds, expected in ((0, b"a"), (350, b"c"), (200, b"b")):
                clock.passes(seconds)
                store._timers._wake()
                while store._timers._looking:
                    await asyncio.sleep(0)
                assert await self.bodies(store) == [expected]
            await store.close()

    async def test_after_a_restart_timers_go_by_the_wall_clock(self, path):
        clock = Clock()
        store: Any = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        wish = Effects(timers=(Timer("a", 10, b"a"), Timer("b", 4000, b"b")))
        await store.commit(await store.claim(INBOX), wish, more=False)
        clock.leaps(-3600)
        await store.close()
        store = await open_sqlite(path, "1", wall=clock)
        clock.passes(3600)
        await asyncio.sleep(0.02)
        assert await self.bodies(store) == []
        await store.close()
        clock.leaps(11)
        store = await open_sqlite(path, "1", wall=clock)
        assert await self.bodies(store) == [b"a"]
        await store.close()

    async def test_a_file_that_is_read_anew_is_no_restart(self, path):
        clock = Clock()
        store: Any = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        wish = Effects(timers=(Timer("a", 10, b"a"), Timer("b", 20, b"b")))
        await store.commit(await store.claim(INBOX), wish, more=False)
        clock.leaps(-3600)
        clock.passes(11)
        store._writer.doubt(StoreUnavailable("x"))
        delivery = await asyncio.wait_for(store.claim(INBOX), WITHIN_S)
        assert delivery.envelope.body == b"a"
        await store.commit(delivery, NOTHING, more=False)
        clock.passes(10)
        assert (await asyncio.wait_for(store.claim(INBOX), WITHIN_S)).envelope.body == b"b"
        await store.close()

    @pytest.mark.parametrize("fails", [False, True])
    async def test_closing_stops_them(self, path, monkeypatch, fails):
        def broken(self, group):
            return partial(self._failed, group, StoreUnavailable("x"), suspect=False)

        clock = Clock()
        store: Any = await open_sqlite(path, "1", wall=clock)
        await append(store, [update(1)])
        await store.commit(await store.claim(INBOX), Effects(timers=(Timer("t", 10),)), more=False)
        clock.now += 10
        if fails:
            monkeypatch.setattr(Writer, "_work", broken)
        store._timers._wake()
        await store.close()
        loop: Any = asyncio.get_running_loop()
        for _ in range(5):
            await asyncio.sleep(0)
        assert [handle for handle in loop._scheduled if not handle.cancelled()] == []


class TestSqliteInTrouble:
    @pytest.fixture
    async def store(self, tmp_path):
        store = await open_sqlite(tmp_path / "bot.db", "1", look_every_s=None)
        yield store
        await store.close()

    def fill_disk(self, store: Any) -> None:
        """Forbid the file to grow, as a full disk would."""
        (pages,) = store._ledger.file.connection.execute("PRAGMA page_count").fetchone()
        store._ledger.file.connection.execute(f"PRAGMA max_page_count = {pages}")

    def make_room(self, store: Any) -> None:
        store._ledger.file.connection.execute("PRAGMA max_page_count = 1000000")

    async def test_a_full_disk_confirms_nothing_and_loses_nothing(self, store: Any):
        await append(store, [update(1)])
        self.fill_disk(store)
        with pytest.raises(StoreUnavailable, match="disk is full: make room"):
            await append(store, [update(2, body=b"x" * 100_000)])
        delivery = await store.claim(INBOX)
        big = Effects((Call("chat:1", b"x" * 100_000),), b"s")
        with pytest.raises(StoreUnavailable):
            await store.commit(delivery, big, more=True)
        await conserved(store)
        self.make_room(store)
        assert (
            await append(store, [update(2, body=b"x" * 100_000)]) == 1
        )  # the failed append did not mark it as seen
        following = await store.commit(delivery, big, more=True)
        assert (following.envelope.id, following.state) == (2, b"s")
        stats = await store.stats()
        assert (stats.inbox.committed, stats.outbox.appended) == (1, 1)

    async def test_an_io_error_means_to_read_the_file_anew_and_voids_all_leases(self, store, monkeypatch):
        await append(store, [update(1), update(2)])
        first = await store.claim(INBOX)
        second = await store.commit(first, Effects(state=b"s"), more=True)
        write = Writer._write

        def broken(self, group):
            monkeypatch.setattr(Writer, "_write", write)
            write(self, group)  # it did happen ...
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error  # ... and nobody can know

        monkeypatch.setattr(Writer, "_write", broken)
        waiting = asyncio.create_task(store.claim(OUTBOX))
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable):
            await store.commit(second, Effects((Call("chat:1", b"a"),)), more=True)
        with pytest.raises(LeaseLost):
            await store.commit(second, Effects((Call("chat:1", b"a"),)), more=True)
        served = await asyncio.wait_for(waiting, WITHIN_S)
        assert served.envelope.body == b"a"  # the waiting claim found the new lanes
        assert (await store.stats()).inbox.pending == 0
        assert await append(store, [update(1), update(2)]) == 0

    async def test_a_file_that_somebody_else_opened_is_given_up(self, store: Any):
        connection = sqlite3.connect(store._ledger.file.path)
        connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'owner_epoch'")
        connection.commit()
        connection.close()
        with pytest.raises(StoreError, match="only one may own it"):
            await append(store, [update(1)])

    async def test_another_program_that_locks_the_file_is_waited_out(self, store: Any):
        store._ledger.file.connection.execute("PRAGMA busy_timeout = 1")
        connection = sqlite3.connect(store._ledger.file.path)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another program has locked"):
            await append(store, [update(1)])
        connection.rollback()
        connection.close()
        assert await append(store, [update(1)]) == 1

    async def test_a_failure_reaches_everybody_in_the_group_and_the_next_group_is_fine(self, store: Any):
        await append(store, [update(id_, f"chat:{id_}") for id_ in range(3)])
        deliveries = [await store.claim(INBOX) for _ in range(3)]
        self.fill_disk(store)
        big = Effects((), b"x" * 100_000)
        results = await asyncio.gather(
            *(store.commit(delivery, big, more=True) for delivery in deliveries), return_exceptions=True
        )
        assert [type(result) for result in results] == [StoreUnavailable] * 3
        self.make_room(store)
        for delivery in deliveries:
            assert await store.commit(delivery, NOTHING, more=True) is None
        assert (await store.stats()).inbox.committed == 3

    async def test_what_is_done_is_freed_without_a_search_for_cycles(self, tmp_path):
        store = await open_sqlite(tmp_path / "other.db", "1")
        gc.collect()
        gc.disable()
        try:
            for id_ in range(1, 101):
                await append(store, [update(id_)])
                await store.commit(await store.claim(INBOX), NOTHING, more=False)
            assert gc.collect() < 100  # a cycle per update would be many more
        finally:
            gc.enable()
        await store.close()

    async def test_closing_ends_the_thread(self, tmp_path):
        store: Any = await open_sqlite(tmp_path / "other.db", "1")
        await append(store, [update(1)])
        thread = store._ledger.thread._thread
        assert thread.is_alive()
        await store.close()
        assert not thread.is_alive()
