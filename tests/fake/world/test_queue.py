import json
import random

import pytest

from telegram.fake.world.queue import (
    DEFAULT_KINDS,
    KINDS,
    OPT_IN_KINDS,
    PENDING_BYTES_MAX,
    PENDING_MAX,
    REPLY_BYTES_MAX,
    UPDATE_BYTES_MAX,
    UpdateQueue,
)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(clock):
    queue = UpdateQueue(clock=clock)
    queue.restart_ids(100)
    return queue


def say(queue, count=1):
    return [queue.push("message", b'"message":{"text":"%d"}' % n) for n in range(count)]


def ids(batch):
    return [json.loads(raw)["update_id"] for raw in batch]


def test_ids_start_at_random_and_are_consecutive():
    first = UpdateQueue(rng=random.Random(1))
    second = UpdateQueue(rng=random.Random(2))
    start = first.next_id
    assert say(first, 3) == [start, start + 1, start + 2]
    assert start != second.next_id
    assert 0 < start < 2**31


def test_an_update_is_kept_byte_for_byte(queue):
    queue.push("callback_query", b'"callback_query":{"data":"\xff\xfe"}')
    assert queue.read(0, 100) == [b'{"update_id":100,"callback_query":{"data":"\xff\xfe"}}']


def test_a_read_does_not_confirm_what_it_returns(queue):
    say(queue, 2)
    assert ids(queue.read(0, 100)) == ids(queue.read(100, 100)) == [100, 101]
    assert (queue.pending, queue.confirmed) == (2, 0)


def test_a_higher_offset_forgets_everything_below(queue):
    say(queue, 5)
    assert ids(queue.read(103, 100)) == [103, 104]
    assert (queue.pending, queue.confirmed) == (2, 3)
    assert ids(queue.read(0, 100)) == [103, 104]


def test_limit(queue):
    say(queue, 5)
    assert ids(queue.read(0, 2)) == [100, 101]


def test_a_negative_offset_keeps_the_last_ones_only(queue):
    say(queue, 5)
    assert ids(queue.read(-2, 100)) == [103, 104]
    assert (queue.pending, queue.confirmed) == (2, 3)
    assert ids(queue.read(-7, 100)) == [103, 104]


def test_an_offset_more_than_ten_past_the_tail_is_ignored(queue):
    say(queue, 3)
    assert ids(queue.read(103 + 11, 100)) == [100, 101, 102]
    assert queue.read(103 + 10, 100) == []
    assert queue.confirmed == 3


def test_an_offset_below_the_head_reads_from_the_head(queue):
    say(queue, 3)
    assert ids(queue.read(1, 100)) == [100, 101, 102]


@pytest.mark.parametrize(
    ("kind", "ttl_s"),
    [
        ("inline_query", 30),
        ("callback_query", 150),
        ("shipping_query", 150),
        ("pre_checkout_query", 150),
        ("chosen_inline_result", 600),
        ("message", 24 * 3600),
        ("kind_of_tomorrow", 24 * 3600),
    ],
)
def test_life_time_by_kind(queue, clock, kind, ttl_s):
    queue.push(kind, b'"x":{}')
    clock.now += ttl_s - 1
    assert len(queue.read(0, 100)) == 1
    clock.now += 1
    assert queue.read(0, 100) == []
    assert (queue.pending, queue.expired, queue.confirmed) == (0, 1, 0)


def test_expiry_leaves_a_gap_and_spares_the_rest(queue, clock):
    queue.push("message", b'"message":{}')
    queue.push("inline_query", b'"inline_query":{}')
    queue.push("callback_query", b'"callback_query":{}')
    clock.now += 30
    assert ids(queue.read(0, 100)) == [100, 102]
    clock.now += 120
    assert ids(queue.read(0, 100)) == [100]
    assert queue.expired == 2


def test_the_queue_holds_100_000_and_drops_silently(queue, clock):
    queue.push("inline_query", b'"inline_query":{}')
    say(queue, PENDING_MAX - 1)
    assert queue.push("message", b'"message":{}') == 0
    assert (queue.pending, queue.dropped) == (PENDING_MAX, 1)
    clock.now += 30  # the inline query makes room
    assert queue.push("message", b'"message":{}') == 100 + PENDING_MAX


def test_caps_in_bytes(queue):
    assert queue.push("message", b"x" * (UPDATE_BYTES_MAX + 1)) == 0
    taken = 0
    while queue.push("message", b"x" * UPDATE_BYTES_MAX):
        taken += 1
    assert taken == PENDING_BYTES_MAX // UPDATE_BYTES_MAX - 1  # the id around each counts, too
    assert queue.dropped == 2
    queue.read(-1, 1)
    assert queue.push("message", b"x" * UPDATE_BYTES_MAX)


def test_a_reply_is_cut_near_4_mib(queue):
    for _ in range(20):
        queue.push("message", b'"message":{"text":"%b"}' % (b"x" * 300_000))
    batch = queue.read(0, 100)
    assert len(batch) == REPLY_BYTES_MAX // 300_000
    assert len(json.loads(b"[" + b",".join(batch) + b"]")) == len(batch)
    assert len(queue.read(100 + len(batch), 100)) == 20 - len(batch)


def test_limit_and_timeout_are_clamped(queue):
    assert queue.admit(1, 0, -5) == (1, 0)
    assert queue.admit(2, 1000, 1000) == (100, 50)
    assert queue.admit(3, 7, 20) == (7, 20)


@pytest.mark.parametrize(
    ("after_s", "limit", "timeout"), [(0.0, 1, 3), (0.49, 1, 3), (0.5, 100, 3), (2.99, 100, 3), (3.0, 100, 0)]
)
def test_the_same_offset_again_is_slowed_down(queue, clock, after_s, limit, timeout):
    assert queue.admit(7, 100, 0) == (100, 0)
    clock.now += after_s
    assert queue.admit(7, 100, 0) == (limit, timeout)


def test_another_offset_is_not_slowed_down(queue):
    queue.admit(7, 100, 0)
    assert queue.admit(8, 100, 0) == (100, 0)
    assert queue.admit(7, 100, 0) == (100, 0)


def test_a_bot_whose_long_poll_came_back_empty_is_not_slowed_down(queue, clock):
    queue.admit(7, 100, 30)
    clock.now += 30
    assert queue.admit(7, 100, 30) == (100, 30)


def test_a_longer_timeout_is_left_alone(queue):
    queue.admit(7, 100, 30)
    assert queue.admit(7, 100, 30) == (1, 30)


def test_kinds():
    assert len(KINDS) == 27
    assert {"chat_member", "message_reaction", "message_reaction_count"} == OPT_IN_KINDS


def test_kinds_that_are_not_allowed_get_no_id(queue):
    assert queue.push("chat_member", b'"chat_member":{}') == 0
    assert queue.push("message", b'"message":{}') == 100
    assert queue.dropped == 0


def test_unknown_kinds_are_delivered(queue):
    queue.allow(["message"])
    assert queue.push("kind_of_tomorrow", b'"kind_of_tomorrow":{}') == 100


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (["message", "chat_member"], {"message", "chat_member"}),
        ('["Poll"]', {"poll"}),
        (["poll", "no_such_kind"], {"poll"}),
        (["no_such_kind"], DEFAULT_KINDS),
        ([], DEFAULT_KINDS),
        (None, {"inline_query"}),
        ("", {"inline_query"}),
        ("nonsense", {"inline_query"}),
        ({"message": 1}, {"inline_query"}),
        (["message", 5], {"inline_query"}),
    ],
)
def test_allowed_updates(queue, names, allowed):
    queue.allow(["inline_query"])
    queue.allow(names)
    assert queue.allowed == allowed


def test_allowed_updates_do_not_act_on_what_waits(queue):
    say(queue)
    queue.allow(["poll"])
    assert len(queue.read(0, 100)) == 1


def test_the_first_conflict_is_answered_at_once_repeated_ones_after_3_s(queue, clock):
    assert queue.conflict_delay_s() == 0
    assert queue.conflict_delay_s() == 3
    clock.now += 2.9
    assert queue.conflict_delay_s() == 3
    clock.now += 0.1
    assert queue.conflict_delay_s() == 0


def test_ids_restart_lower_and_the_old_offset_is_ignored(queue):
    queue.restart_ids(5_000_000)
    say(queue, 2)
    queue.restart_ids(70)
    assert (queue.pending, queue.expired) == (0, 2)
    say(queue, 2)
    assert ids(queue.read(5_000_002, 100)) == [70, 71]
    assert ids(queue.read(72, 100)) == []


@pytest.mark.parametrize("bad", [0, -1, 2**31])
def test_an_id_is_a_positive_int32(queue, bad):
    with pytest.raises(ValueError, match="int32"):
        queue.restart_ids(bad)


def test_clear(queue):
    say(queue, 3)
    queue.clear()
    assert (queue.pending, queue.confirmed) == (0, 3)


def test_every_update_taken_is_pending_confirmed_or_expired(queue, clock):
    rng = random.Random(5)
    taken = 0
    for _ in range(2000):
        clock.now += rng.random() * 20
        kind = rng.choice(["message", "inline_query", "callback_query", "chat_member"])
        taken += queue.push(kind, b'"x":{}') > 0
        queue.read(rng.choice([0, queue.next_id - rng.randint(0, 30), queue.next_id + 50]), 10)
        assert queue.pending + queue.confirmed + queue.expired == taken
