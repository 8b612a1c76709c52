"""Ids seen before: exact within a day, forgotten after two, and small."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from engine.embedded.seen import KEPT_S, SeenIds

DAY_S = 86_400.0


@given(st.lists(st.lists(st.integers(0, 20_000) | st.integers(0, 2**53 - 1), max_size=50), max_size=20))
def test_it_is_exact(batches):
    seen, model = SeenIds(), set()
    for batch in batches:
        new, segments = seen.plan(batch)
        seen.apply(segments, 0.0)
        expected = [index for index, id_ in enumerate(batch) if id_ not in model and id_ not in batch[:index]]
        assert new == expected
        model.update(batch)


def test_a_plan_changes_nothing():
    seen = SeenIds()
    for _ in range(2):
        assert seen.plan([1, 2, 2])[0] == [0, 1]


def test_old_segments_are_forgotten_and_used_ones_stay():
    seen = SeenIds()
    seen.apply(seen.plan([1])[1], 0.0)
    seen.apply(seen.plan([10**6])[1], DAY_S)
    assert seen.old(DAY_S, []) == set()
    assert seen.old(KEPT_S + 3601.0, []) == {0}
    assert seen.plan([1])[0] == []  # not yet
    assert seen.plan([1, 10**6], {0})[0] == [0]
    seen.drop({0}, KEPT_S + 3601.0)
    assert seen.plan([1, 10**6])[0] == [0]


def test_what_is_old_is_looked_for_once_an_hour():
    seen = SeenIds()
    seen.apply(seen.plan([1])[1], 0.0)
    seen.drop(seen.old(DAY_S, []), DAY_S)
    seen.apply(seen.plan([10**6])[1], -KEPT_S)
    assert seen.old(DAY_S + 3599.0, []) == set()
    assert seen.old(DAY_S + 3600.0, []) == {10**6 >> 12}


def test_a_million_consecutive_ids_cost_less_than_half_a_byte_each():
    seen = SeenIds()
    for start in range(0, 1_000_000, 1000):
        seen.apply(seen.plan(range(start, start + 1000))[1], 0.0)
    size = sum(sys.getsizeof(bits) for bits in seen._segments.values())
    assert size + sys.getsizeof(seen._segments) + sys.getsizeof(seen._touched) < 500_000


def test_what_is_pending_is_not_forgotten():
    seen = SeenIds()
    seen.apply(seen.plan([1, 10**6])[1], 0.0)
    seen.drop(seen.old(10 * KEPT_S, iter([1])), 10 * KEPT_S)
    assert seen.plan([1, 10**6])[0] == [1]
    assert seen.plan([1])[0] == []


def test_what_a_file_has_is_kept_for_a_day_however_old_it_seems():
    """The wall clock may leap between two starts; Telegram delivers again for 24 h (Telegram Bot API, getUpdates)."""
    for age_s in (10 * 365 * DAY_S, KEPT_S, DAY_S, 0.0, -DAY_S):
        seen = SeenIds()
        seen.found(0, bytes(seen.plan([1])[1][0]), age_s, 5.0)
        assert seen.old(5.0 + DAY_S, []) == set()
        assert (seen.old(5.0 + DAY_S + 3600.0, []) == {0}) is (age_s >= DAY_S)
        assert seen.old(5.0 + KEPT_S + 3600.0, []) == {0}
