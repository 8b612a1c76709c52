"""Checks the journal: whether each update was handled, when, and in which order. Pure, and for any handlers.

It needs only the journal (telegram/load/bot/journal.py); the replies are checked by telegram/load/checkers/checker.py.

| anomaly       | meaning                                                                                    |
|---------------|--------------------------------------------------------------------------------------------|
| lost          | an update without a finished handling that is not a dead letter                            |
| stray         | a handling without an update                                                               |
| swapped       | an update was handled after a newer one of its chat                                        |
| overlapping   | two handlings of one chat at the same time; a kill ends those of its process               |
| handled again | an update was handled after its end, although no kill can have preceded its commit         |
| starved       | a chat waited longer than `starved_after_s` while others got more than their share         |

Fairness: each waiting chat gets a turn before another chat gets a second one, and a turn is ten handlings. So while a
chat waits, at most ten handlings begin per chat with work; it counts as starved at twice as many. Interruptions do not
count as waiting, nor does the time after a failure (backoff).
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from telegram.load.bot.journal import JournalEntry
from telegram.load.checkers.checker import IN_FLIGHT_MAX_S, Anomaly
from telegram.load.checkers.ledger import Ledger
from telegram.settings.load_test import STARVED_AFTER_S

KINDS: Final = ("lost", "stray", "swapped", "overlapping", "handled again", "starved")
SHOWN_MAX: Final = 5
"""Number of anomalies of each kind whose details are kept."""


_TURN: Final = 10  # handlings; engine.EngineConfig.quantum
_UNFAIR: Final = 2
_NS: Final = 1_000_000_000


class Killed(NamedTuple):
    """The process was killed, and its running handlings with it; comes after all its journal lines."""

    pid: int
    at_ns: int


class Paused(NamedTuple):
    """A time in which nothing could be handled: the process was stopped, or not running."""

    ns: int


Event = JournalEntry | Killed | Paused


class _Waiting(NamedTuple):
    """When a chat began to wait for its turn, and the totals at that time."""

    since_ns: int
    paused_ns: int
    handlings: int
    busy_chats: int


class _Chat:
    """The state of one lane; updates are identified by their index in the ledger."""

    __slots__ = ("ended_by", "is_busy", "last_ended", "last_sent", "newest", "open", "waiting")

    def __init__(self) -> None:
        self.last_sent = -1
        self.newest = -1  # of those whose handling has begun
        self.last_ended = -1
        self.ended_by = 0  # the process
        self.open: dict[int, int] = {}  # update -> number of its running handling
        self.is_busy = False  # has updates that are not handled
        self.waiting: _Waiting | None = None


class Handlings:
    """Checks events as they happen. `on_end` is called at the first end of each update: latency and monotonic time in ns."""

    def __init__(
        self,
        *,
        starved_after_s: float = STARVED_AFTER_S,
        on_end: Callable[[int, int], None] | None = None,
    ) -> None:
        self.ledger = Ledger()
        self.counts: Counter[str] = Counter()
        self.anomalies: list[Anomaly] = []
        """The first SHOWN_MAX of each kind."""

        self.anomalies_by_chat: Counter[int] = Counter()
        """Number of anomalies by chat."""

        self.handled = 0
        self.cut = 0
        self.failed = 0
        self.repeated = 0
        """Number of handlings repeated because a kill may have preceded the commit: allowed."""

        self.active = 0
        self.active_most = 0
        self._starved_after_ns = int(starved_after_s * _NS)
        self._on_end = on_end
        self._chats: dict[int, _Chat] = {}
        self._processes: dict[int, int] = {}
        self._killed_ns: dict[int, int] = {}  # by process
        self._held: deque[Event] = deque()  # events of updates that are not known yet
        self._paused_ns = 0
        self._busy_chats = 0
        self._again: list[tuple[int, str]] = []

    def sent(self, chat_id: int, update_id: int, at_ns: int) -> None:
        """Record a sent update; update ids are consecutive (ValueError)."""
        chat = self._chats.get(chat_id)
        if chat is None:
            chat = self._chats[chat_id] = _Chat()
        chat.last_sent = self.ledger.add_update(chat_id, update_id, at_ns)
        if not chat.is_busy:
            self._make_busy(chat)
            chat.waiting = self._waiting(at_ns)

    def started(self, pid: int) -> None:
        """Record the start of a process of the bot."""
        self._processes[pid] = len(self._processes) + 1

    def feed(self, events: Iterable[Event]) -> None:
        """Check the next events; events of unknown updates, and those after them, wait until the update is known."""
        self._held.extend(events)
        unknown_id = self.ledger.first_id + self.ledger.updates
        while self._held:
            event = self._held[0]
            if isinstance(event, JournalEntry) and event.update_id >= unknown_id:
                return
            self._held.popleft()
            self._see(event)

    def finish(self, given_up: Collection[int], *, complete: bool = True) -> None:
        """End the check. `given_up`: update ids of dead letters. Unless `complete`, updates that still wait are not lost."""
        for event in self._held:
            if isinstance(event, JournalEntry) and event.event == "begin":
                self._report("stray", 0, f"update {event.update_id} of {event.key}")
        self._held.clear()
        for place, update in enumerate(self.ledger.all_updates()):
            passed_over = place < self._chats[update.chat_id].last_ended
            if not update.ended_ns and update.update_id not in given_up and (complete or passed_over):
                self._report("lost", update.chat_id, f"update {update.update_id}")
        for place, details in self._again:
            update = self.ledger.update(place)
            if update.update_id not in given_up:  # else the delivery failed after its handler had returned
                self._report("handled again", update.chat_id, details)

    def _see(self, event: Event) -> None:
        match event:
            case Killed():
                self._kill(event)
            case Paused():
                self._paused_ns += event.ns
            case JournalEntry(event="begin" | "end" | "fail"):
                place = event.update_id - self.ledger.first_id
                if place < 0:
                    self._report("stray", 0, f"update {event.update_id} of {event.key}")
                    return
                chat_id = self.ledger.update(place).chat_id
                if event.event == "begin":
                    self._begin(chat_id, place, event)
                else:
                    self._end(self._chats[chat_id], place, event)

    def _begin(self, chat_id: int, place: int, note: JournalEntry) -> None:
        chat = self._chats[chat_id]
        process = self._processes.get(note.pid, 0)
        label = f"update {note.update_id} in process {process}"
        first_id = self.ledger.first_id
        if chat.open:
            self._report(
                "overlapping", chat_id, f"{label} during {', '.join(str(first_id + n) for n in chat.open)}"
            )
        if ended_ns := self.ledger.update(place).ended_ns:
            killed_ns = self._killed_ns.get(chat.ended_by, 0)
            if place == chat.newest and 0 <= killed_ns - ended_ns < IN_FLIGHT_MAX_S * _NS:
                self.repeated += 1
            else:
                self._again.append((place, f"{label}, {(note.at_ns - ended_ns) / _NS:.3f} s after its end"))
        elif place < chat.newest:
            self._report("swapped", chat_id, f"{label} after {first_id + chat.newest}")
        if chat.waiting is not None:
            self._check_wait(chat_id, chat.waiting, note)
            chat.waiting = None
        if not chat.is_busy:
            self._make_busy(chat)
        chat.newest = max(chat.newest, place)
        chat.open[place] = self.ledger.begin(place, process, note.at_ns)
        self.active += 1
        self.active_most = max(self.active_most, self.active)

    def _end(self, chat: _Chat, place: int, note: JournalEntry) -> None:
        number = chat.open.get(place)
        if number is None:
            return
        first = not self.ledger.update(place).ended_ns
        self._close(chat, place, note.event, note.at_ns)
        if note.event == "fail":
            self.failed += 1
            return  # not waiting: backoff
        chat.last_ended, chat.ended_by = max(chat.last_ended, place), self.ledger.process(number)
        if first:
            self.handled += 1
            if self._on_end is not None:
                self._on_end(note.at_ns - self.ledger.update(place).sent_ns, note.at_ns)
        if chat.last_sent > chat.newest:
            chat.waiting = self._waiting(note.at_ns)
        elif not chat.open:
            chat.is_busy = False
            self._busy_chats -= 1

    def _kill(self, killed: Killed) -> None:
        process = self._processes.get(killed.pid, 0)
        self._killed_ns[process] = killed.at_ns
        for chat in self._chats.values():
            for place, number in list(chat.open.items()):
                if self.ledger.process(number) == process:
                    self._close(chat, place, "cut", killed.at_ns)
                    self.cut += 1

    def _close(self, chat: _Chat, place: int, outcome: str, at_ns: int) -> None:
        self.ledger.close(chat.open.pop(place), outcome, at_ns)
        self.active -= 1

    def _make_busy(self, chat: _Chat) -> None:
        chat.is_busy = True
        self._busy_chats += 1

    def _waiting(self, since_ns: int) -> _Waiting:
        return _Waiting(since_ns, self._paused_ns, self.ledger.handlings, self._busy_chats)

    def _check_wait(self, chat_id: int, waiting: _Waiting, note: JournalEntry) -> None:
        waited_ns = note.at_ns - waiting.since_ns - (self._paused_ns - waiting.paused_ns)
        others = self.ledger.handlings - waiting.handlings
        if waited_ns > self._starved_after_ns and others > _UNFAIR * _TURN * waiting.busy_chats:
            waited = f"update {note.update_id} waited {waited_ns / _NS:.1f} s for its turn"
            self._report("starved", chat_id, f"{waited}, while others had {others} handlings")

    def _report(self, kind: str, chat_id: int, details: str) -> None:
        self.counts[kind] += 1
        self.anomalies_by_chat[chat_id] += 1
        if self.counts[kind] <= SHOWN_MAX:
            self.anomalies.append(Anomaly(kind, chat_id, details))
