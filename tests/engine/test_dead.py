from hypothesis import given
from hypothesis import strategies as st

from engine import Limits, Queue
from engine.embedded.dead import DeadBook, DeadLane

A, B, C = (DeadLane(Queue.INBOX, key) for key in "abc")


class Plain:
    """The rule in its plainest form: looks at everything each time."""

    def __init__(self, limits):
        self.limits = limits
        self.letters = []

    def add(self, lane, number):
        self.letters.append((lane, number))
        gone = []
        of_lane = [letter for letter in self.letters if letter[0] == lane]
        if len(of_lane) > self.limits.dead_per_lane_max:
            gone.append(of_lane[0])
            self.letters.remove(of_lane[0])
        if len(self.letters) > self.limits.dead_max:
            gone.append(self.of_the_largest())
            self.letters.remove(gone[-1])
        return gone

    def of_the_largest(self):
        lanes: dict[DeadLane, list[int]] = {}
        for lane, number in self.letters:
            lanes.setdefault(lane, []).append(number)
        lane = max(lanes, key=lambda lane: (len(lanes[lane]), -lanes[lane][0]))
        return lane, lanes[lane][0]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=200),
    st.integers(0, 12),
    st.integers(0, 6),
)
def test_the_book_does_what_the_plain_rule_says(steps, dead_max, per_lane):
    limits = Limits(dead_max=dead_max, dead_per_lane_max=per_lane)
    book, plain = DeadBook(limits), Plain(limits)
    for number, (adds, choice) in enumerate(steps, start=1):
        if adds or not plain.letters:
            lane = DeadLane(Queue.OUTBOX if choice % 2 else Queue.INBOX, str(choice // 2))
            assert book.add(lane, number) == plain.add(lane, number)
        else:
            book.remove(*plain.letters.pop(choice % len(plain.letters)))
    assert DeadBook(limits, plain.letters).trim() == []


def test_what_a_file_has_beyond_the_bounds_goes_by_the_same_rule():
    letters = [(A, 1), *((B, number) for number in range(2, 7)), (C, 7), (C, 8)]
    book = DeadBook(Limits(dead_max=4, dead_per_lane_max=3), letters)
    assert sorted(number for _, number in book.trim()) == [2, 3, 4, 5]
    assert book.add(A, 9) == [(A, 1)]  # of three lanes with as many, that with the oldest


def test_a_step_costs_the_same_however_many_are_kept():
    limits = Limits(dead_max=10_000, dead_per_lane_max=100)
    lanes = [DeadLane(Queue.INBOX, f"chat:{n}") for n in range(500)]
    book = DeadBook(limits)
    longest = 0
    for number in range(1, 30_000):
        lane = lanes[number * number % 500]
        gone = book.add(lane, number)
        assert len(gone) <= 1
        longest = max(longest, len(book._largest))
    assert longest <= 2 * 500 + 64 + 1


def test_one_that_another_session_has_deleted_is_forgotten_by_its_number():
    book = DeadBook(
        Limits(), [(DeadLane(Queue.INBOX, f"chat:{number % 2}"), number) for number in range(1, 5)]
    )
    book.forget(3)
    book.forget(77)
    assert len(book) == 3
    book.remove(DeadLane(Queue.INBOX, "chat:1"), 3)  # it is gone already
    assert len(book) == 3
