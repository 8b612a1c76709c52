"""All updates of a load test and all their handlings, in arrays of 24 and 29 bytes per entry. Pure.

An update is identified by its index in the order of sending (`place`), a handling by its index in the order of starting
(`number`).
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from telegram.load.checkers.recording import Handling

RUNNING: Final = 0
_OUTCOMES: Final = ("running", "end", "fail", "cut")
_NS: Final = 1_000_000_000


class Update(NamedTuple):
    """One update; times in ns of the monotonic clock. `ended_ns`: end of its first completed handling, 0 if there is none."""

    chat_id: int
    update_id: int
    sent_ns: int
    ended_ns: int


class Ledger:
    """Append-only, except for the ends of handlings."""

    def __init__(self) -> None:
        self.first_id = 0
        self._chat_ids, self._sent_ns, self._ended_ns = array("q"), array("q"), array("q")
        self._places, self._begun_ns, self._over_ns = array("q"), array("q"), array("q")
        self._outcomes, self._processes = array("b"), array("i")

    @property
    def updates(self) -> int:
        """Number of sent updates."""
        return len(self._sent_ns)

    @property
    def handlings(self) -> int:
        """Number of started handlings."""
        return len(self._places)

    def add_update(self, chat_id: int, update_id: int, at_ns: int) -> int:
        """Add a sent update; return its place. ValueError if its id is not the next one."""
        place = len(self._sent_ns)
        if not place:
            self.first_id = update_id
        elif update_id != self.first_id + place:
            raise ValueError(f"update {update_id} follows update {self.first_id + place - 1}")
        self._chat_ids.append(chat_id)
        self._sent_ns.append(at_ns)
        self._ended_ns.append(0)
        return place

    def begin(self, place: int, process: int, at_ns: int) -> int:
        """Add a started handling; return its number."""
        self._places.append(place)
        self._begun_ns.append(at_ns)
        self._over_ns.append(0)
        self._outcomes.append(RUNNING)
        self._processes.append(process)
        return len(self._places) - 1

    def close(self, number: int, outcome: str, at_ns: int) -> None:
        """End a handling with `outcome` "end", "fail" or "cut"; the first "end" is also that of its update."""
        self._over_ns[number] = at_ns
        self._outcomes[number] = _OUTCOMES.index(outcome)
        if outcome == "end" and not self._ended_ns[self._places[number]]:
            self._ended_ns[self._places[number]] = at_ns

    def update(self, place: int) -> Update:
        """Return the update at `place`."""
        return Update(
            self._chat_ids[place], self.first_id + place, self._sent_ns[place], self._ended_ns[place]
        )

    def process(self, number: int) -> int:
        """Return the process of a handling, as given to `begin`."""
        return self._processes[number]

    def all_updates(self) -> Iterator[Update]:
        """Iterate over the updates in the order of sending."""
        return map(self.update, range(len(self._sent_ns)))

    def by_chat(self) -> Counter[int]:
        """Return the number of updates by chat."""
        return Counter(self._chat_ids)

    def handlings_of(self, chats: Collection[int], began_ns: int) -> Iterator[tuple[int, Handling]]:
        """Yield chat id and handling of each ended handling, in the order of starting; seconds count from `began_ns`."""
        for number, place in enumerate(self._places):
            if self._outcomes[number] != RUNNING and (chat_id := self._chat_ids[place]) in chats:
                begin_s, end_s = ((at[number] - began_ns) / _NS for at in (self._begun_ns, self._over_ns))
                outcome = _OUTCOMES[self._outcomes[number]]
                yield (
                    chat_id,
                    Handling(self.first_id + place, begin_s, end_s, outcome, self._processes[number]),
                )
