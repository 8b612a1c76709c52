"""What is kept in memory beside a file is bounded in bytes."""

from engine.embedded import at_hand
from engine.embedded.at_hand import QueueAtHand, RecentStates
from engine.model import Envelope, Queue


def test_states_not_used_for_longest_go_first(monkeypatch):
    monkeypatch.setattr(at_hand, "STATES_BYTES_MAX", 3 * 1200)
    states = RecentStates(1)
    for name in "abc":
        states.put(("chat", name), b"x" * 1000)
    assert states.get(("chat", "a")) == b"x" * 1000
    states.put(("chat", "d"), None)
    assert ("chat", "b") not in states
    assert [name for name in "acd" if ("chat", name) in states] == ["a", "c", "d"]
    assert states.get(("chat", "d")) is None


def test_a_state_that_is_put_again_counts_once(monkeypatch):
    monkeypatch.setattr(at_hand, "STATES_BYTES_MAX", 5000)
    states = RecentStates(1)
    states.put(("chat", "other"), b"y")
    for _ in range(100):
        states.put(("chat", "a"), b"x" * 1000)
    assert ("chat", "other") in states
    states.put(("chat", "a"), b"x" * 10_000)  # larger than all that may be kept: nothing stays
    assert ("chat", "a") not in states


def test_what_is_not_cached_does_not_exist_while_the_cache_has_all_states():
    states = RecentStates(0)
    assert ("chat", "a") in states
    assert states.get(("chat", "a")) is None
    with states.watched([("chat", "a"), ("chat", "b")]) as known:
        states.put(("chat", "b"), b"x")
        assert known == {("chat", "a"): None, ("chat", "b"): b"x"}
    assert states.get(("chat", "b")) == b"x"


def test_a_cache_has_all_states_once_each_of_the_file_was_read():
    states = RecentStates(2)
    states.found(("chat", "a"), b"x")
    states.found(("chat", "a"), b"x")  # two callers have read it at the same time
    states.found(("chat", "none"), None)
    states.put(("chat", "new"), b"z")
    assert ("chat", "b") not in states
    states.found(("chat", "b"), b"y")
    assert ("chat", "c") in states


def test_a_cache_that_has_dropped_a_state_does_not_have_all(monkeypatch):
    monkeypatch.setattr(at_hand, "STATES_BYTES_MAX", 1000)
    states = RecentStates(0)
    states.put(("chat", "a"), None)
    states.put(("chat", "b"), b"x" * 750)
    assert [name for name in "abc" if ("chat", name) in states] == [
        "a",
        "b",
        "c",
    ]  # "a" went; it does not exist
    states.put(("chat", "b"), b"x" * 1500)
    assert not any(("chat", name) in states for name in "abc")
    with states.watched([("chat", "b")]) as known:
        assert known == {}
    states.found(("chat", "b"), b"x" * 750)  # what it held is shorter by now
    assert ("chat", "c") in states


def test_the_oldest_envelopes_stay_at_hand_and_room_comes_back(monkeypatch):
    monkeypatch.setattr(at_hand, "ENVELOPES_BYTES_MAX", 2000)
    queue = QueueAtHand(Queue.INBOX, fence=0)
    for place in range(5):
        queue.add(place, Envelope(place, "chat:1", "", b"x" * 800))
    assert list(queue.envelopes) == [0, 1]
    assert queue.lanes.pending == 5
    queue.gone(4)  # was not at hand
    queue.gone(0)
    queue.add(5, Envelope(5, "chat:1", "", b""))
    assert list(queue.envelopes) == [1, 5]
