"""Which update a webhook delivers when. The rules are those of telegram-bot-api 10.0, WebhookActor.cpp and Client.cpp."""

import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram.fake.world.queue import UpdateQueue
from telegram.fake.world.webhook import Schedule, lane_of

HOUR = 3600


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Clock()


@pytest.fixture
def queue(time):
    queue = UpdateQueue(clock=time)
    queue.restart_ids(100)
    return queue


def schedule(queue, max_connections=40):
    return Schedule(queue, max_connections, random.Random(1))


def push(queue, *lanes, kind="message"):
    return [queue.push(kind, b'"message":{}', lane) for lane in lanes]


def taken(plan):
    plan.load()
    found = []
    while (update := plan.take()) is not None:
        found.append(update.id)
    return found


def test_lanes_overtake_each_other_and_one_update_of_a_lane_is_under_way(queue):
    """WebhookActor.cpp, load_updates and send_update: `queues_` has a queue only while none of its updates is sent."""
    plan = schedule(queue)
    push(queue, 1, 1, 2, 1, 2)
    assert taken(plan) == [100, 102]
    plan.ok(102)
    assert taken(plan) == [104]
    plan.ok(100)
    assert taken(plan) == [101]


def test_updates_without_a_lane_wait_for_none(queue):
    """WebhookActor.cpp: `if (dest.queue_id_ == 0) dest.queue_id_ = unique_queue_id_++`."""
    push(queue, 0, 0, 0)
    assert taken(schedule(queue)) == [100, 101, 102]


def test_one_chat_that_is_behind_holds_up_all_others(queue):
    """WebhookActor.cpp: `max_loaded_updates_ = max_connections_ * 2`, loaded in the order of the ids."""
    plan = schedule(queue, max_connections=2)
    push(queue, 1, 1, 1, 1, 2)
    assert taken(plan) == [100]
    assert taken(plan) == []
    plan.ok(100)
    assert taken(plan) == [101, 104]


def test_pauses_after_failures(queue, time):
    """WebhookActor.cpp, on_update_error: none after the first failure, then the doubled delay, up to 60..120 s."""
    plan = schedule(queue)
    push(queue, 1, 1)
    assert taken(plan) == [100]
    pauses = []
    for _ in range(10):
        began = time.now
        plan.failed(100)
        time.now = plan.due_at
        pauses.append(time.now - began)
        assert taken(plan) == [100]
    assert pauses[:7] == [0, 2, 4, 8, 16, 32, 64]
    assert all(60 <= pause <= 120 for pause in pauses[7:])


@pytest.mark.parametrize(
    ("asked", "given"), [(7, 7), (1, 1), (HOUR, HOUR), (2 * HOUR, HOUR), (0, 0), (-5, 0)]
)
def test_retry_after_replaces_the_pause(queue, time, asked, given):
    """WebhookActor.cpp: `retry_after = clamp(retry_after, 0, MAX_RETRY_AFTER)`, 3600; it does not double the delay."""
    plan = schedule(queue)
    push(queue, 1)
    assert taken(plan) == [100]
    plan.failed(100, asked)
    assert plan.due_at == time.now + given
    time.now = plan.due_at
    assert taken(plan) == [100]
    plan.failed(100)
    assert plan.due_at == time.now + 2


def test_what_would_expire_in_the_pause_is_dropped(queue, time):
    """WebhookActor.cpp: `if (unix_time + next_effective_delay > expires_at) drop_event`."""
    plan = schedule(queue)
    push(queue, 1, 1, kind="callback_query")
    assert taken(plan) == [100]
    plan.failed(100, 151)
    assert queue.expired == 1
    assert taken(plan) == [101]


def test_a_loaded_update_is_delivered_after_its_time(queue, time):
    """WebhookActor.cpp checks the time at a failure only."""
    plan = schedule(queue)
    push(queue, 1, 1, kind="callback_query")
    assert taken(plan) == [100]
    time.now += 200
    plan.ok(100)
    assert taken(plan) == [101]


def test_what_was_answered_is_no_longer_pending(queue):
    plan = schedule(queue)
    push(queue, 1, 2)
    taken(plan)
    assert queue.pending == 2
    plan.ok(101)
    assert (queue.pending, queue.confirmed) == (1, 1)
    assert [update.id for update in queue.following(0, 10)] == [100]


def test_another_webhook_delivers_again_what_was_under_way(queue):
    push(queue, 1, 2)
    assert taken(schedule(queue)) == [100, 101]
    assert taken(schedule(queue)) == [100, 101]


def test_it_goes_on_when_the_ids_restart(queue):
    plan = schedule(queue)
    push(queue, 1)
    assert taken(plan) == [100]
    plan.ok(100)
    queue.restart_ids(7)
    push(queue, 1)
    assert taken(plan) == [7]


@given(
    lanes=st.lists(st.integers(0, 3), max_size=30),
    outcomes=st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60),
    max_connections=st.integers(1, 4),
)
def test_each_is_delivered_once_and_in_the_order_of_its_lane(lanes, outcomes, max_connections):
    time = Clock()
    queue = UpdateQueue(clock=time)
    queue.restart_ids(100)
    plan = schedule(queue, max_connections)
    ids = push(queue, *lanes)
    lane = dict(zip(ids, lanes, strict=True))
    under_way, done = [], defaultdict(list)
    outcomes = iter([*outcomes, *((0, True) for _ in range(200))])
    while queue.pending:
        under_way += taken(plan)
        named = [lane[each] for each in under_way if lane[each]]
        assert len(named) == len(set(named))
        assert len(under_way) <= 2 * max_connections
        if not under_way:
            time.now = plan.due_at
            continue
        place, is_ok = next(outcomes)
        update_id = under_way.pop(place % len(under_way))
        if is_ok:
            plan.ok(update_id)
            done[lane[update_id]].append(update_id)
        else:
            plan.failed(update_id)
    assert all(found == sorted(found) for name, found in done.items() if name)
    assert sorted(each for found in done.values() for each in found) == ids
    assert not queue.expired


USER, CHAT = {"from": {"id": 5}, "chat": {"id": -7}}, {"chat": {"id": -7}}


@pytest.mark.parametrize(
    ("kind", "payload", "lane"),
    [
        ("message", CHAT, -7),
        ("edited_message", CHAT, -7),
        ("channel_post", CHAT, -7),
        ("poll", {"id": "77"}, 77),
        ("poll_answer", {"poll_id": "77"}, 77),
        ("inline_query", USER, 5 + (1 << 33)),
        ("chosen_inline_result", USER, 5 + (2 << 33)),
        ("callback_query", USER, 5 + (3 << 33)),
        ("shipping_query", USER, 5 + (4 << 33)),
        ("pre_checkout_query", USER, 5 + (4 << 33)),
        ("my_chat_member", USER, -7 + (5 << 33)),
        ("chat_member", {**USER, "new_chat_member": {"user": {"id": 6}}}, 6 + (6 << 33)),
        ("chat_join_request", USER, 5 + (6 << 33)),
        ("chat_boost", CHAT, -7 + (7 << 33)),
        ("removed_chat_boost", CHAT, -7 + (7 << 33)),
        ("message_reaction", CHAT, -7 + (8 << 33)),
        ("message_reaction_count", CHAT, -7 + (9 << 33)),
        ("business_connection", {"user": {"id": 5}}, 5 + (10 << 33)),
        ("business_message", CHAT, -7 + (11 << 33)),
        ("deleted_business_messages", CHAT, -7 + (11 << 33)),
        ("guest_message", CHAT, -7 + (12 << 33)),
        ("purchased_paid_media", USER, 5 + (12 << 33)),
        ("managed_bot", {"user": {"id": 5}}, 5 + (13 << 33)),
        ("something_new", USER, 0),
        ("message", {}, 0),
        ("message", None, 0),
        ("poll", {"id": "x"}, 0),
        ("callback_query", {"from": {"id": True}}, 0),
    ],
)
def test_lanes(kind, payload, lane):
    """Client.cpp, the last argument of each `add_update`: "webhook_queue_id"."""
    assert lane_of(kind, payload) == lane
