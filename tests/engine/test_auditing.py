"""The audit finds each way in which lanes can go wrong, and nothing in lanes that are well."""

import asyncio

import pytest

from engine import Delivery, Queue
from engine.embedded import auditing
from engine.embedded.auditing import PROBLEMS_MAX, problems_of
from engine.embedded.held_lanes import HeldLanes
from engine.stores.contract import append
from engine.stores.contract.store import INBOX, NOTHING, update
from engine.stores.sqlite import open_sqlite
from tests.kit.virtual import run_virtual


def lanes() -> HeldLanes:
    """A lane of each kind."""
    table = HeldLanes(Queue.INBOX)
    for place in range(1, 13):
        table.add(f"chat:{place % 4}", place)
        table.appended += 1
    table.take("me")
    parked = table.take("me")
    assert parked is not None
    table.park(parked, 3600.0, attempts=1, reason="x")
    table.hold("chat:3", "why")
    return table


def found(change) -> list[str]:
    async def main() -> list[str]:
        table = lanes()
        assert await problems_of(table) == []
        change(table)
        problems = await problems_of(table)
        table.close()
        return problems

    return run_virtual(main())


def lane(table: HeldLanes, status: str):
    return next(each for each in table.all() if each.status == status and each.key != "chat:3")


def no_end(table):
    one = lane(table, "parked")
    one.timer.cancel()
    one.timer = None


def no_holder(table):
    lane(table, "leased").holder = None


def old_fence(table):
    lane(table, "leased").fence += 1


def no_work(table):
    one = lane(table, "ready")
    one.start = len(one.pending)


def held_and_ready(table):
    table._holds[lane(table, "ready").key] = "why"


def not_in_the_list(table):
    table._ready.clear()


def twice_in_the_list(table):
    table._ready.append(table._ready[0])


def parked_in_the_list(table):
    table._ready.append(lane(table, "parked"))


def counted_wrong(table):
    table.pending += 1


def lost(table):
    table.appended += 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_end, "is parked without an end"),
        (no_holder, "is leased without a holder"),
        (old_fence, "is leased without a holder"),
        (no_work, "has no work"),
        (held_and_ready, "is ready, and an operator holds it"),
        (not_in_the_list, "lanes ready: 0, and there are 1"),
        (twice_in_the_list, "lanes to claim once: 2, and there are 1"),
        (parked_in_the_list, "lanes ready: 2, and there are 1"),
        (counted_wrong, "pending: 13, and there are 12"),
        (lost, "appended: 13, and there are 12"),
    ],
)
def test_each_thing_that_is_wrong_is_found(change, says):
    problems = found(change)
    assert any(says in problem for problem in problems), problems


def test_a_worker_that_sleeps_beside_a_ready_lane_is_found():
    async def main() -> None:
        table = lanes()
        waiting = asyncio.create_task(table.wait())
        await asyncio.sleep(0)
        assert "inbox: a lane is ready, and a worker waits for one" in await problems_of(table)
        table.hold("", "paused")  # then it is meant to wait
        assert await problems_of(table) == []
        table.close()
        await waiting

    run_virtual(main())


def test_a_worker_that_is_about_to_take_a_lane_is_no_problem():
    async def main() -> None:
        table = HeldLanes(Queue.INBOX)

        async def worker() -> None:
            while (taken := table.take("me")) is None:
                await table.wait()
            assert taken.key == "chat:1"

        working = [asyncio.create_task(worker()) for _ in range(2)]
        await asyncio.sleep(0)
        table.add("chat:1", 1)
        table.appended += 1
        assert not await auditing._sleeps(table)
        assert await problems_of(table) == []
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    run_virtual(main())


def test_problems_are_bounded(monkeypatch):
    monkeypatch.setattr(auditing, "_SLICE", 7)

    def all_wrong(table):
        for place in range(100, 100 + 3 * PROBLEMS_MAX):
            table.add(f"chat:{place}", place)
            table._holds[f"chat:{place}"] = "why"

    assert len(found(all_wrong)) == PROBLEMS_MAX


async def test_what_is_not_in_the_file_is_found(tmp_path):
    store = await open_sqlite(tmp_path / "x.db", "1", look_every_s=None)
    await append(store, [update(id_, f"chat:{id_ % 7}") for id_ in range(1, 1201)])
    assert await store.audit() == ([], 7, 1200)
    assert (await store.audit(100)).entries == 100
    store._ledger.file.connection.execute("DELETE FROM inbox WHERE place IN (5, 700)")
    audited = await store.audit()
    assert audited.problems == [f"inbox: at place {place} nothing is in the store" for place in (5, 700)]
    await store.close()


async def test_an_audit_beside_work_finds_nothing(tmp_path):
    store = await open_sqlite(tmp_path / "x.db", "1")
    await append(store, [update(id_, f"chat:{id_ % 50}") for id_ in range(1, 501)])

    async def work() -> None:
        while (await store.stats()).inbox.pending:
            delivery: Delivery | None = await store.claim(INBOX)
            while delivery is not None:
                delivery = await store.commit(delivery, NOTHING, more=True)

    working = asyncio.create_task(work())
    audits = 0
    while not working.done():
        assert (await store.audit()).problems == []
        audits += 1
        await asyncio.sleep(0)  # an audit of empty queues waits for nothing
    await working
    assert audits
    await store.close()
