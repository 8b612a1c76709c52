"""Several sessions over one database: who handles which lane, and what passes between them."""

import asyncio
from typing import Any

import asyncpg
import pytest

from engine import Call, Effects, Post, RightLost, StateChanged, StoreError, StoreUnavailable, Timer
from engine.model import StateChange
from engine.sharing import Lack
from engine.store import ALL_LANES, Limits
from engine.stores import revoke
from engine.stores.contract.store import INBOX, NOTHING, OUTBOX, update
from engine.stores.owned.shares import SHARES, part_of, share_of
from engine.stores.postgres import open_postgres, session
from tests.kit.bounds import WITHIN_S
from tests.kit.standing import freeze, quiet
from tests.kit.waiting import until

CHATS = [f"chat:{number}" for number in range(40)]


@pytest.fixture
def open_it(database, new_bot, closing):
    bot = new_bot()

    async def open_(**named: Any) -> Any:
        store = await open_postgres(database.url(), bot, renew_every_s=0.02, **named)
        closing.push_async_callback(store.close)
        return store

    return open_


@pytest.fixture(autouse=True)
def an_old_server(monkeypatch):
    """A server that has just started gives each session its time to come back."""
    monkeypatch.setattr(session, "_REAP", session._REAP.replace("pg_postmaster_start_time()", "'-infinity'"))
    monkeypatch.setattr("engine.stores.postgres.ledger._LOOK_EVERY_S", 0.01)


def owned(store: Any) -> set[int]:
    return set(store._shares.owned)


def owner_of(stores: list[Any], key: str) -> Any:
    (owner,) = [store for store in stores if store._shares.owns(key)]
    return owner


async def level(*stores: Any) -> list[Any]:
    """Wait until each has its part of the shares; return the stores."""
    await until(lambda: all(store._ledger.sessions == len(stores) for store in stores))
    parts = [await store._ledger.part() for store in stores]
    await until(lambda: [owned(store) for store in stores] == parts)
    await until(lambda: sum(len(store._shares) for store in stores) == SHARES)
    return list(stores)


async def two(open_it: Any, **named: Any) -> list[Any]:
    return await level(await open_it(**named), await open_it(**named))


async def handled(store: Any, queue: Any, count: int) -> list[tuple[str, int, bytes]]:
    """Claim and commit so many heads; return their lanes, ids and bodies."""
    found: list[tuple[str, int, bytes]] = []
    async with asyncio.timeout(WITHIN_S):
        while len(found) < count:
            head = await store.claim(queue)
            found.append((head.lease.key, head.envelope.id, head.envelope.body))
            await store.commit(head, NOTHING, more=False)
    return found


def kill(store: Any) -> None:
    """End its process."""
    store._lost(StoreError("killed"))
    store._ledger._let_go()


async def agreed(stores: list[Any], name: tuple[str, str], state: bytes) -> None:
    """Wait until all read this state: who has it cached is told by mail."""
    async with asyncio.timeout(WITHIN_S):
        while [await store.state(*name) for store in stores] != [state] * len(stores):
            await asyncio.sleep(0.01)


def test_in_a_deploy_no_lane_goes_back_to_an_old_process():
    old, new = [range(start, start + 4) for start in (100, 200)]
    owner: dict[int, int] = {}
    moves = 0
    steps = [{*old}, *({*new[: n + 1], *old[n + taken :]} for n in range(4) for taken in (0, 1))]
    for sessions in steps:
        parts = {each: part_of(each, frozenset(sessions)) for each in sessions}
        now = {share: each for each, part in parts.items() for share in part}
        assert len(now) == SHARES
        assert not [share for share, each in owner.items() if each in new and now[share] in old]
        moves += sum(owner.get(share, each) != each for share, each in now.items())
        owner = now
    assert {*owner.values()} == {*new}
    assert moves < 1.8 * SHARES  # once, or a second time between two old ones


async def test_sessions_have_disjoint_parts_of_all_lanes(open_it):
    stores = await two(open_it)
    third = await open_it()
    await level(*stores, third)
    parts = [owned(store) for store in (*stores, third)]
    assert sorted(share for part in parts for share in part) == list(range(SHARES))


async def test_an_update_is_handled_by_who_owns_its_lane(open_it):
    stores = await two(open_it)
    right = await stores[0].right()
    assert await stores[0].append(right, [update(id_, key) for id_, key in enumerate(CHATS * 3, 1)]) == 120
    for store in stores:
        mine = [key for key in CHATS if store._shares.owns(key)]
        found = await handled(store, INBOX, 3 * len(mine))
        assert {key for key, _, _ in found} == set(mine)
        for key in mine:
            ids = [id_ for of, id_, _ in found if of == key]
            assert ids == sorted(ids)
            assert len(ids) == 3
    assert [(await store.stats()).inbox.pending for store in stores] == [0, 0]


async def test_only_one_session_appends_and_another_one_when_it_resigns(open_it):
    first, second = await two(open_it)
    right = await first.right()
    waiting = asyncio.create_task(second.right())
    await first.append(right, [update(1)])
    await until(lambda: second.sharing.appends_elsewhere)
    assert not waiting.done()
    assert not first.sharing.appends_elsewhere
    await first.resign(right)
    other = await asyncio.wait_for(waiting, WITHIN_S)
    assert other.epoch > right.epoch
    with pytest.raises(RightLost):
        await first.append(right, [update(2)])
    assert await second.append(other, [update(1), update(2)]) == 1  # it knows what the first has seen


async def test_what_the_former_one_has_appended_comes_first(open_it):
    first, second = await two(open_it)
    far = next(key for key in CHATS if second._shares.owns(key))
    await quiet(second)  # it is slow, and has not heard of what arrives
    right = await first.right()
    await first.append(right, [update(1, far)])
    await first.resign(right)
    await second.append(await second.right(), [update(2, far)])
    assert [id_ for _, id_, _ in await handled(second, INBOX, 2)] == [1, 2]


async def test_what_the_former_owner_has_not_heard_of_is_taken_once(open_it):
    first, second = await two(open_it)
    far = next(key for key in CHATS if second._shares.owns(key))
    await quiet(second)
    await first.append(await first.right(), [update(1, far)])
    await second.close()
    await level(first)
    assert await handled(first, INBOX, 1) == [(far, 1, b"body of 1")]
    await quiet(first)  # it has filed all its mail
    assert (await first.stats()).inbox.pending == 0


async def test_calls_come_after_those_of_the_former_owner(open_it):
    first, second = await two(open_it)
    far = next(key for key in CHATS if second._shares.owns(key))
    right = await first.right()
    await first.append(right, [update(1, far)])
    await second.commit(await second.claim(INBOX), Effects((Call(far, b"before"),)), more=False)
    await second.close()
    await level(first)
    await first.append(right, [update(2, far)])
    await first.commit(await first.claim(INBOX), Effects((Call(far, b"after"),)), more=False)
    (_, before, body), (_, after, _) = await handled(first, OUTBOX, 2)
    assert (body, before < after) == (b"before", True)


async def test_what_arrives_while_shares_are_taken_stays_in_order(open_it, monkeypatch):
    first, second = await two(open_it)
    far = next(key for key in CHATS if first._shares.owns(key))
    right = await second.right()
    take, file_mail, is_taken = second._ledger.take, second._file_mail, False

    async def slow_take(wanted: Any) -> Any:
        nonlocal is_taken
        source = await take(wanted)
        if source is not None:
            await second.append(right, [update(1, far)])  # it is not known yet that the lane is ours
            is_taken = True
        return source

    async def late_file_mail() -> None:
        nonlocal is_taken
        if is_taken:
            is_taken = False
            await second.append(right, [update(2, far)])
        await file_mail()

    monkeypatch.setattr(second._ledger, "take", slow_take)
    monkeypatch.setattr(second, "_file_mail", late_file_mail)
    await first.close()
    assert [id_ for _, id_, _ in await handled(second, INBOX, 2)] == [1, 2]


async def test_an_append_under_a_right_that_was_taken_away_changes_nothing(open_it):
    first, second = await two(open_it)
    right = await first.right()
    await first._ledger.resign(right.epoch)  # an operator at the database; the session does not know
    await second.right()
    with pytest.raises(RightLost):
        await first.append(right, [update(1)])
    assert first._right is None


async def test_calls_and_posts_reach_a_lane_of_another_session_in_order(open_it):
    stores = await two(open_it)
    source = CHATS[0]
    here = owner_of(stores, source)
    (there,) = [store for store in stores if store is not here]
    target = next(key for key in CHATS if there._shares.owns(key))
    right = await stores[0].right()
    await stores[0].append(right, [update(id_, source) for id_ in (1, 2, 3)])
    for number in (1, 2, 3):
        head = await here.claim(INBOX)
        calls = (Call(target, b"call %d" % number), Call(source, b"own %d" % number))
        posts = (Post(target, "", b"post %d" % number),)
        await here.commit(head, Effects(calls, posts=posts), more=False)
    assert [body for _, _, body in await handled(there, OUTBOX, 3)] == [b"call 1", b"call 2", b"call 3"]
    assert [body for _, _, body in await handled(here, OUTBOX, 3)] == [b"own 1", b"own 2", b"own 3"]
    assert [body for _, _, body in await handled(there, INBOX, 3)] == [b"post 1", b"post 2", b"post 3"]


async def test_a_session_that_does_not_poll_posts(open_it):
    first, second = await two(open_it)
    await first.right()
    far = next(key for key in CHATS if first._shares.owns(key))
    await second.post([Post(far, "", b"from outside")])
    assert [body for _, _, body in await handled(first, INBOX, 1)] == [b"from outside"]


async def test_a_state_that_two_sessions_change_is_compared_in_the_database(open_it):
    stores = await two(open_it)
    keys = [next(key for key in CHATS if store._shares.owns(key)) for store in stores]
    right = await stores[0].right()
    await stores[0].append(right, [update(1, keys[0]), update(2, keys[1]), update(3, keys[1])])
    heads = [await store.claim(INBOX) for store in stores]
    common = ("user:7", "~data")
    was = [await store.state(*common) for store in stores]
    assert was == [None, None]
    changes = [Effects(states=(StateChange(*common, None, b"%d" % number),)) for number in (0, 1)]
    outcomes = await asyncio.gather(
        *(
            store.commit(head, change, more=False)
            for store, head, change in zip(stores, heads, changes, strict=True)
        ),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [StateChanged]
    winner = outcomes.index(None)
    await agreed(stores, common, b"%d" % winner)
    loser = 1 - winner
    again = Effects(states=(StateChange(*common, b"%d" % winner, b"both"),))
    await stores[loser].commit(heads[loser], again, more=False)
    await agreed(stores, common, b"both")


async def test_a_state_of_a_lane_that_another_session_has_changed_is_not_cached(open_it):
    stores = await two(open_it)
    first, second = stores
    near, far = (next(key for key in CHATS if store._shares.owns(key)) for store in stores)
    right = await first.right()
    await first.append(right, [update(1, near), update(2, far), update(3, far)])
    await second.commit(await second.claim(INBOX), Effects(state=b"own"), more=False)
    change = Effects(states=(StateChange(far, "7", b"own", b"changed"),))
    await first.commit(await first.claim(INBOX), change, more=False)
    await until(lambda: (far, "7") not in second._states)
    head = await second.claim(INBOX)
    assert (head.envelope.id, head.state) == (3, b"changed")


async def test_a_share_with_a_running_handler_stays(open_it):
    first = await open_it()
    right = await first.right()
    await first.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    heads = [await first.claim(INBOX) for _ in CHATS]
    second = await open_it()
    await until(lambda: len(second._shares) > 0)
    assert {share_of(key) for key in CHATS} <= owned(first)
    for head in heads:
        await first.commit(head, Effects(state=b"mine"), more=False)
    await level(first, second)
    await first.append(right, [update(100 + id_, key) for id_, key in enumerate(CHATS)])
    for store in (first, second):
        for _ in [key for key in CHATS if store._shares.owns(key)]:
            head = await store.claim(INBOX)
            assert head.state == b"mine"
            await store.commit(head, NOTHING, more=False)


async def test_what_is_pending_parked_or_dead_moves_with_its_share(open_it):
    first = await open_it()
    right = await first.right()
    await first.append(
        right, [update(10 * number + n, key) for number, key in enumerate(CHATS) for n in (1, 2, 3)]
    )
    for _ in CHATS:
        head = await first.claim(INBOX)
        await first.bury(head, "bad")
    for _ in CHATS:
        await first.park(await first.claim(INBOX), 3600.0, counted=True, reason="later")
    second = await open_it()
    await level(first, second)
    far = [key for key in CHATS if second._shares.owns(key)]
    assert 0 < len(far) < len(CHATS)
    views = {view.key: view for view in await second.lanes(INBOX, 1000)}
    assert views.keys() == set(far)
    assert all((view.depth, view.attempts, view.status) == (2, 1, "parked") for view in views.values())
    letter = next(each for each in await first.dead_letters() if each.envelope.key in far)
    assert await first.replay(letter.number)  # by mail to the owner
    await until(lambda: second._queues[INBOX].lanes.depth(letter.envelope.key) == 3)
    assert letter.number not in [each.number for each in await first.dead_letters()]


async def test_a_killed_session_is_replaced(open_it, monkeypatch):
    monkeypatch.setattr(session, "_SILENT_S", 0.1)
    first, second = await two(open_it)
    right = await first.right()
    await first.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    head = await first.claim(INBOX)
    kill(first)
    await until(lambda: len(second._shares) == SHARES)
    found = await handled(second, INBOX, len(CHATS))
    assert sorted(id_ for _, id_, _ in found) == list(range(1, len(CHATS) + 1))
    right = await asyncio.wait_for(second.right(), WITHIN_S)
    assert await second.append(right, [update(1, CHATS[0]), update(99, CHATS[0])]) == 1
    with pytest.raises(StoreError):
        await first.commit(head, NOTHING, more=False)


async def test_a_session_that_ends_gives_all_up_at_once(open_it):
    first, second = await two(open_it)
    right = await first.right()
    await first.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    await first.close()
    assert len(await handled(second, INBOX, len(CHATS))) == len(CHATS)
    await asyncio.wait_for(second.right(), WITHIN_S)


async def test_a_session_that_leaves_keeps_what_runs_and_gives_up_the_rest(open_it):
    first, second = await two(open_it)
    right = await first.right()
    await first.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    head = await first.claim(INBOX)
    await first.leave()
    await until(lambda: len(second._shares) == SHARES - 1)
    assert owned(first) == {share_of(head.lease.key)}
    await first.commit(head, Effects(state=b"mine"), more=False)
    await until(lambda: len(second._shares) == SHARES)
    assert len(await handled(second, INBOX, len(CHATS) - 1)) == len(CHATS) - 1


async def test_a_session_that_leaves_alone_keeps_all(open_it):
    store = await open_it()
    await store.leave()
    await until(lambda: store._ledger.sessions == 0)
    assert await store._ledger.part() == set(range(SHARES))
    right = await store.right()
    await store.append(right, [update(1)])
    assert (await store.claim(INBOX)).envelope.id == 1


async def test_a_lane_that_is_full_at_its_owner_sends_the_rest_to_the_dead_letters(open_it):
    first, second = await two(open_it, limits=Limits(lane_depth_max=2))
    far = next(key for key in CHATS if second._shares.owns(key))
    right = await first.right()
    for id_ in (1, 2, 3):  # the appender does not know how full the lane is
        await first.append(right, [update(id_, far)])
    async with asyncio.timeout(WITHIN_S):
        while not (letters := await second.dead_letters()):
            await asyncio.sleep(0.01)
    assert [(each.envelope.id, each.reason) for each in letters] == [(3, "lane full")]
    stats = (await second.stats()).inbox
    assert stats.appended == stats.committed + stats.pending + stats.dead


async def test_an_alias_is_known_to_the_owner_before_what_arrives_for_it(open_it):
    first, second = await two(open_it)
    old = next(key for key in CHATS if second._shares.owns(key))
    right = await first.right()
    await first.append(right, [update(1, old)])
    await first.append(right, [update(2, "chat:-100")], [("chat:-100", old)])
    found = await handled(second, INBOX, 2)
    assert [(key, id_) for key, id_, _ in found] == [(old, 1), (old, 2)]
    assert second.lane("chat:-100") == old


async def test_an_operator_at_any_session_reaches_a_lane_of_another_one(open_it):
    first, second = await two(open_it)
    far = next(key for key in CHATS if second._shares.owns(key))
    right = await first.right()
    await first.append(right, [update(id_, far) for id_ in (1, 2)])
    await second.bury(await second.claim(INBOX), "bad")
    await second.release(await second.claim(INBOX))
    await first.hold(INBOX, far, "looked at")
    await until(lambda: far in second._queues[INBOX].lanes.holds())
    assert await first.unhold(INBOX, far)
    await until(lambda: far not in second._queues[INBOX].lanes.holds())
    (letter,) = await first.dead_letters()
    assert await first.discard(letter.number)
    async with asyncio.timeout(WITHIN_S):
        while await second.dead_letters():
            await asyncio.sleep(0.01)


async def test_all_sessions_together_keep_the_bound_of_dead_letters(open_it, monkeypatch):
    """What the others have counts; who comes later finds room, too: those with more than their part delete some."""
    monkeypatch.setattr("engine.stores.owned.letters._COUNT_EVERY_S", 0.0)
    first, second = await two(open_it, limits=Limits(dead_max=6))
    right = await first.right()
    await first.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    for store in (first, second):
        for _ in filter(store._shares.owns, CHATS):
            await store.bury(await store.claim(INBOX), "bad")
        await until(lambda: second._letters._book._most < 6)  # it has counted those of the first
    async with asyncio.timeout(WITHIN_S):
        while await first.dead_count() + await second.dead_count() > 6:
            await asyncio.sleep(0.01)
    assert await first.dead_count()
    assert await second.dead_count()
    async with asyncio.timeout(WITHIN_S):
        while len(await first.dead_letters()) > 6:
            await asyncio.sleep(0.01)


async def test_a_session_has_room_for_its_part_of_the_dead_letters(open_it, monkeypatch):
    """However many the others have: until they have deleted some."""
    monkeypatch.setattr("engine.stores.owned.letters._COUNT_EVERY_S", 0.0)
    store = await open_it(limits=Limits(dead_max=6))
    await quiet(store)

    async def count() -> int:
        return 6

    await store._letters.bound_all(count, 0.5)
    assert store._letters._book._most == 3


async def test_what_operators_ask_of_another_session_is_done_in_their_order(open_it, monkeypatch):
    """Else a lane that is held, and no longer, stays held. What cannot be done now is done later."""
    first, second = await two(open_it)
    far = next(key for key in CHATS if second._shares.owns(key))
    hold, failures = second.hold, [StoreUnavailable("a lock"), ValueError("unexpected")]

    tried: list[str] = []
    all_asked = asyncio.Event()

    async def holding(*asked: Any) -> None:
        tried.append(asked[-1])
        await all_asked.wait()
        if failures:
            raise failures.pop(0)
        await hold(*asked)

    monkeypatch.setattr(second, "hold", holding)
    monkeypatch.setattr("engine.stores.owned.mail._AGAIN_S", 0.01)
    await first.hold(INBOX, far, "given up")
    await until(lambda: tried)
    asked = [first.hold(INBOX, far, "held"), first.unhold(INBOX, far), first.hold(OUTBOX, far, "done")]
    await asyncio.gather(*asked)
    await until(lambda: len(second._requests) == 4)
    all_asked.set()
    await until(lambda: second._queues[OUTBOX].lanes.holds() == {far: "done"})
    assert tried == ["given up", "given up", "held", "done"]
    assert second._queues[INBOX].lanes.holds() == {}


async def test_a_hold_that_was_ended_elsewhere_does_not_come_back_with_the_lane(open_it):
    first = await open_it()
    for key in CHATS:
        await first.hold(INBOX, key, "looked at")
    second = await open_it()
    await level(first, second)
    far = next(key for key in CHATS if second._shares.owns(key))
    await second.unhold(INBOX, far)
    await second.close()
    await level(first)
    await first.append(await first.right(), [update(1, far)])
    assert (await asyncio.wait_for(first.claim(INBOX), WITHIN_S)).lease.key == far


async def test_sessions_know_which_parts_of_the_lanes_they_have(open_it):
    first = await open_it()
    assert first.sharing.part_of_lanes == 1.0
    second = await open_it()
    await level(first, second)
    assert first.sharing.part_of_lanes + second.sharing.part_of_lanes == 1.0
    assert 0.4 < first.sharing.part_of_lanes < 0.6
    third = await open_it()
    third._shares.give(range(SHARES))
    assert third.sharing.part_of_lanes == 1 / SHARES  # never 0: it is a divisor


async def test_all_lanes_of_a_queue_are_held_at_each_session(open_it):
    first, second = await two(open_it)
    await first.hold(OUTBOX, ALL_LANES, "paused")
    await until(lambda: second._queues[OUTBOX].lanes.holds() == {ALL_LANES: "paused"})
    third = await open_it()
    await until(lambda: third._queues[OUTBOX].lanes.holds() == {ALL_LANES: "paused"})
    await second.unhold(OUTBOX, ALL_LANES)
    await until(lambda: not any(each._queues[OUTBOX].lanes.holds() for each in (first, second, third)))


async def test_a_lost_connection_for_reading_is_made_anew(open_it):
    store = await open_it()
    store._ledger._connections.reader.terminate()
    with pytest.raises(StoreUnavailable):
        await store.right()
    right = await asyncio.wait_for(store.right(), WITHIN_S)
    assert await store.append(right, [update(1)]) == 1


async def test_mail_of_a_kind_that_is_not_known_stays(open_it, database):
    """A process of a later version may know it."""
    store = await open_it()
    connection = await asyncpg.connect(database.url().partition("?")[0])
    mail = """INSERT INTO chatlane.mail (bot, share, kind, key, scope, place, at, body)
        VALUES ($1, 1, 'of tomorrow', 'chat:1', '', 0, 0, '')"""
    bot = store._ledger._session.bot
    await connection.execute(mail, bot)
    await store._file_mail()
    assert await connection.fetchval("SELECT count(*) FROM chatlane.mail WHERE bot = $1", bot) == 1
    await connection.close()


async def test_a_session_that_owns_no_shares_appends_for_the_others(open_it):
    poller = await open_it(owns=False)
    right = await poller.right()
    await poller.append(right, [update(1, CHATS[0])])
    await until(lambda: poller.sharing.lacks == {Lack.OWNER})
    assert (owned(poller), await poller._ledger.part()) == (set(), frozenset())
    assert await poller.room(10) == 9  # it counts what others have to handle
    worker = await open_it()
    await until(lambda: owned(worker) == set(range(SHARES)))
    await poller.append(right, [update(2, CHATS[0]), update(3, CHATS[1])])
    found = await handled(worker, INBOX, 3)
    assert [id_ for key, id_, _ in found if key == CHATS[0]] == [1, 2]
    await until(lambda: not poller.sharing.lacks and not worker.sharing.lacks)
    await poller.resign(right)
    await until(lambda: worker.sharing.lacks == {Lack.APPENDER})


async def test_a_session_that_owns_no_shares_leaves_room_for_what_others_handle(open_it):
    poller, worker = await open_it(owns=False), await open_it()
    await until(lambda: poller._ledger.sessions == worker._ledger.sessions == 1)
    right = await poller.right()
    await poller.append(right, [update(1, CHATS[0]), update(2, CHATS[1])])
    assert await poller.room(10) == 8
    assert not poller._ledger.is_alone


async def test_others_have_the_shares_of_a_revoked_session_at_once(database, open_it, monkeypatch):
    async def reap_nothing(*_: Any) -> list[str]:
        return []

    monkeypatch.setattr(session.Session, "reap", reap_nothing)
    sessions: list[int] = []
    first = await open_it()
    second = await open_it(named=sessions.append)
    await level(first, second)
    right = await second.right()
    await second.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    bot = str(first._ledger._session.bot)
    kill(second)
    waiting = asyncio.create_task(first.right())
    assert sessions == [second._ledger._session.id]
    assert await revoke(database.url(), bot, sessions[0])
    await until(lambda: owned(first) == set(range(SHARES)))
    assert (await asyncio.wait_for(waiting, WITHIN_S)).epoch > right.epoch
    assert len(await handled(first, INBOX, len(CHATS))) == len(CHATS)
    assert not await revoke(database.url(), bot, sessions[0])


async def test_a_revocation_rings_the_bell_of_the_others(database, open_it):
    first, second = await two(open_it)
    for store in (first, second):  # they ring no more
        await freeze(store)
    heard: list[str] = []
    listening = await asyncpg.connect(database.url().partition("?")[0])
    await listening.add_listener(first._ledger._session.channel, lambda *given: heard.append(given[-1]))
    bot, session_id = str(first._ledger._session.bot), second._ledger._session.id
    assert await revoke(database.url(), bot, session_id)
    await until(lambda: heard == ["moved"])
    assert not await revoke(database.url(), bot, session_id)
    await listening.execute("SELECT 1")
    assert heard == ["moved"]
    await listening.close()


async def test_a_revocation_waits_for_what_the_database_still_does(database, open_it, monkeypatch):
    monkeypatch.setattr(session, "_SILENT_S", 3600.0)  # the other process leaves it to the supervisor
    first, second = await two(open_it)
    bot, session_id = str(first._ledger._session.bot), second._ledger._session.id
    connection, other = [await asyncpg.connect(database.url().partition("?")[0]) for _ in range(2)]
    group = connection.transaction()  # as one of the dead process that is still executed
    await group.start()
    await connection.execute("SELECT FROM chatlane.session WHERE id = $1 FOR KEY SHARE", session_id)
    kill(second)
    revoking = asyncio.create_task(revoke(database.url(), bot, session_id))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chatlane supervisor' AND wait_event_type = 'Lock'"
    async with asyncio.timeout(WITHIN_S):
        while not await other.fetchval(waits):
            await asyncio.sleep(0.01)
    assert await other.fetchval("SELECT count(*) FROM chatlane.share WHERE owner = $1", session_id) > 0
    await group.commit()
    assert await revoking
    await connection.close()
    await other.close()


async def test_a_revocation_ends_no_session_of_another_bot(database, open_it):
    (first, second) = await two(open_it)
    other = str(first._ledger._session.bot + 10_000)
    assert not await revoke(database.url(), other, second._ledger._session.id)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await revoke("postgres://bot@127.0.0.1:1/x", other, 1)


async def test_shares_of_running_handlers_are_given_up_when_these_end(open_it, monkeypatch):
    first = await open_it()
    right = await first.right()
    await first.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    heads = [await first.claim(INBOX) for _ in CHATS]
    second = await open_it()
    await until(lambda: first._ledger.sessions == 2)
    part = await second._ledger.part()
    await until(lambda: owned(second) == part - {share_of(key) for key in CHATS})
    monkeypatch.setattr(first._ledger, "part", None)  # no further look
    for head in heads:
        await first.commit(head, NOTHING, more=False)
    await until(lambda: owned(second) == part)


FORMAT_1 = """
DROP TABLE former.share, former.mail;
DROP TABLE former.bot;
DROP TABLE former.session;
CREATE TABLE former.bot (id bigint PRIMARY KEY, owner bigint, epoch bigint NOT NULL DEFAULT 0,
    until timestamptz NOT NULL DEFAULT '-infinity', beat bigint NOT NULL DEFAULT 0, holder text NOT NULL DEFAULT '');
ALTER TABLE former.inbox DROP share;
ALTER TABLE former.outbox DROP share;
ALTER TABLE former.timer DROP share;
ALTER TABLE former.parked DROP share;
ALTER TABLE former.dead DROP share;
UPDATE former.meta SET value = '1' WHERE name = 'format';
DELETE FROM former.meta WHERE name = 'oldest_reader';
"""


async def test_tables_of_the_former_format_are_converted(database, new_bot):
    bot, url = new_bot(), database.url("former")
    store = await open_postgres(url, bot)
    right = await store.right()
    await store.append(right, [update(id_, key) for id_, key in enumerate(CHATS, 1)])
    head = await store.claim(INBOX)
    await store.commit(
        head, Effects((Call(CHATS[0], b"call"),), b"state", (Timer("later", 3600.0, b"x"),)), more=False
    )
    await store.bury(await store.claim(INBOX), "bad")
    await store.park(await store.claim(INBOX), 3600.0, counted=True, reason="later")
    await store.close()
    connection = await asyncpg.connect(database.url().partition("?")[0])
    try:
        await connection.execute(FORMAT_1)
        holder = "INSERT INTO former.bot VALUES ($1, 1, 1, clock_timestamp() + interval '1 h', 1, 'process 1 on old')"
        await connection.execute(holder, int(bot))
        with pytest.raises(StoreError, match=r"older Chatlane \(process 1 on old\): stop it first"):
            await open_postgres(url, bot)
        await connection.execute("UPDATE former.bot SET until = clock_timestamp()")
        first, second = await open_postgres(url, bot), await open_postgres(url, bot, renew_every_s=0.02)
        await first.close()
        await until(lambda: len(second._shares) == SHARES)
        stats = await second.stats()
        assert (stats.inbox.pending, stats.inbox.parked, stats.outbox.pending) == (len(CHATS) - 2, 1, 1)
        assert await second.state(CHATS[0], "7") == b"state"
        (letter,) = await second.dead_letters()
        assert await second.replay(letter.number)
        shares = await connection.fetch(
            "SELECT key, share FROM former.inbox UNION ALL SELECT key, share FROM former.timer"
        )
        assert {(key, share) for key, share in shares} == {(key, share_of(key)) for key, _ in shares}
        await second.close()
    finally:
        await connection.execute("DROP SCHEMA former CASCADE")
        await connection.close()
