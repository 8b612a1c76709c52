"""All updates of a load test and all their handlings, as numbers in arrays: 24 and 29 bytes each. Pure.

An update is named by its place among all that was said, a handling by its number among all that began.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from telegram.load.recording import Handling

RUNNING: Final = 0
_OUTCOMES: Final = ("running", "end", "fail", "cut")
_NS: Final = 1_000_000_000


class Update(NamedTuple):
    """One update; `ended_ns` is when it was handled first, 0 if it was not."""

    chat_id: int
    update_id: int
    said_ns: int
    ended_ns: int


class Ledger:
    """Append-only, but for the ends."""

    def __init__(self) -> None:
        self.first_id = 0
        self._chat_ids, self._said_ns, self._ended_ns = array("q"), array("q"), array("q")
        self._places, self._begun_ns, self._over_ns = array("q"), array("q"), array("q")
        self._outcomes, self._processes = array("b"), array("i")

    @property
    def updates(self) -> int:
        """How many were said."""
        return len(self._said_ns)

    @property
    def handlings(self) -> int:
        """How many have begun."""
        return len(self._places)

    def say(self, chat_id: int, update_id: int, at_ns: int) -> int:
        """Return the update's place; ValueError if its id is not the next one."""
        place = len(self._said_ns)
        if not place:
            self.first_id = update_id
        elif update_id != self.first_id + place:
            raise ValueError(f"update {update_id} follows update {self.first_id + place - 1}")
        self._chat_ids.append(chat_id)
        self._said_ns.append(at_ns)
        self._ended_ns.append(0)
        return place

    def begin(self, place: int, process: int, at_ns: int) -> int:
        """Return the handling's number."""
        self._places.append(place)
        self._begun_ns.append(at_ns)
        self._over_ns.append(0)
        self._outcomes.append(RUNNING)
        self._processes.append(process)
        return len(self._places) - 1

    def close(self, number: int, outcome: str, at_ns: int) -> None:
        """A handling is over; the first "end" is its update's."""
        self._over_ns[number] = at_ns
        self._outcomes[number] = _OUTCOMES.index(outcome)
        if outcome == "end" and not self._ended_ns[self._places[number]]:
            self._ended_ns[self._places[number]] = at_ns

    def update(self, place: int) -> Update:
        """What is known of one."""
        return Update(
            self._chat_ids[place], self.first_id + place, self._said_ns[place], self._ended_ns[place]
        )

    def process(self, number: int) -> int:
        """Which process a handling is in."""
        return self._processes[number]

    def all_updates(self) -> Iterator[Update]:
        """In the order of saying."""
        return map(self.update, range(len(self._said_ns)))

    def by_chat(self) -> Counter[int]:
        """How many updates each chat has."""
        return Counter(self._chat_ids)

    def handlings_of(self, chats: Collection[int], began_ns: int) -> Iterator[tuple[int, Handling]]:
        """What is over, with its chat before it, in the order of beginning; seconds count from `began_ns`."""
        for number, place in enumerate(self._places):
            if self._outcomes[number] != RUNNING and (chat_id := self._chat_ids[place]) in chats:
                begin_s, end_s = ((at[number] - began_ns) / _NS for at in (self._begun_ns, self._over_ns))
                outcome = _OUTCOMES[self._outcomes[number]]
                yield (
                    chat_id,
                    Handling(self.first_id + place, begin_s, end_s, outcome, self._processes[number]),
                )
