"""What was done to a store and what it answered, and whether what a file holds is a possible outcome of that."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

from engine import Queue

Name = tuple[int, int]
"""Of a call: the id of the update that made it, and its number among the calls of that update."""


class Update(NamedTuple):
    """An update, the keys of the calls that handling it makes, and the timer that it sets: due at once, or never."""

    id: int
    key: str
    scope: str
    calls: tuple[str, ...]
    timer: Literal["", "due", "far"] = ""

    def names(self) -> list[Name]:
        return [(self.id, number) for number in range(len(self.calls))]


class Parked(NamedTuple):
    """A row of the table of parked lanes; `head` tells for which head."""

    queue: str
    key: str
    head: str


class Found(NamedTuple):
    """What a file holds. `handled` are the ids in a conversation state: each handler adds the id of its update."""

    integrity: str
    epoch: int
    inbox: list[tuple[str, int]]  # key and id, in the order of places
    outbox: list[tuple[str, Name]]
    handled: dict[tuple[str, str], list[int]]  # by key and scope
    dead: list[int]
    dead_calls: list[Name]
    parked: list[Parked]
    seen: set[int]
    timers: tuple[int, ...] = ()  # which are set, by the update that set them
    came: tuple[int, ...] = ()  # which were handled


class Finding(NamedTuple):
    """Something that must not be."""

    kind: str
    detail: str


@dataclass
class History:
    """What the world knows: Telegram what was confirmed, the peers of the bot what they got, the bot what it was told."""

    updates: dict[int, Update] = field(default_factory=dict)  # each that ever was appended, in that order
    batches: list[list[int]] = field(default_factory=list)
    confirmed: set[int] = field(default_factory=set)  # append returned: Telegram has forgotten them
    committed: set[int] = field(default_factory=set)  # and the store said so
    sent: set[Name] = field(default_factory=set)  # a commit was asked for
    done: set[Name] = field(default_factory=set)  # and the store said so
    buried: set[int] = field(
        default_factory=set
    )  # at some time: a replay may have changed their place in the lane
    buried_calls: set[Name] = field(default_factory=set)
    lasting: tuple[frozenset[int], frozenset[Name]] = (frozenset(), frozenset())
    """Of `committed` and `done`: what no power cut may undo."""
    came: set[int] = field(default_factory=set)  # timers, by update, that were handled, and the store said so
    lasting_timers: frozenset[int] = frozenset()
    epoch: int = 0
    fences: set[tuple[Queue, int]] = field(default_factory=set)

    def synced(self, committed: frozenset[int], done: frozenset[Name], came: frozenset[int]) -> None:
        """An append returned: what was committed before it was asked for lasts, too."""
        self.lasting_timers |= came
        self.lasting = self.lasting[0] | committed, self.lasting[1] | done

    def adopt(self, found: Found) -> None:
        """Go on from what was found: the opening has synced it."""
        self.epoch = found.epoch
        self.confirmed |= {id_ for _, id_ in found.inbox} | set(found.dead)
        self.committed = {id_ for ids in found.handled.values() for id_ in ids}
        self.confirmed |= self.committed
        self.came = set(found.came)
        self.lasting_timers = frozenset(found.came)
        there = {name for _, name in found.outbox}.union(found.dead_calls)
        self.done = {name for name in self.done - there if name[0] in self.committed}
        self.lasting = frozenset(self.committed), frozenset(self.done)


def check(history: History, found: Found) -> list[Finding]:
    """Return what of the file contradicts the history."""
    if found.integrity != "ok":
        return [Finding("corrupt", found.integrity)]
    return [
        *_updates(history, found),
        *_order(history, found),
        *_effects(history, found),
        *_timers(history, found),
        *_call_order(history, found),
        *_rest(history, found),
    ]


def _updates(history: History, found: Found) -> Iterator[Finding]:
    """No confirmed loss, and conservation: each update is in exactly one place, and batches are whole."""
    places = Counter(id_ for _, id_ in found.inbox)
    places.update(id_ for ids in found.handled.values() for id_ in ids)
    places.update(found.dead)
    for id_ in history.updates:
        if places[id_] > 1:
            yield Finding("twice", f"update {id_} is in {places[id_]} places")
        if not places[id_] and id_ in history.confirmed:
            yield Finding("lost", f"update {id_} was confirmed, and is nowhere")
    for id_ in places.keys() - history.updates.keys():
        yield Finding("stray", f"update {id_}")
    for batch in history.batches:
        there = sum(id_ in places for id_ in batch)
        if 0 < there < len(batch) and not set(batch) & history.confirmed:
            yield Finding("torn batch", f"{there} of {batch}")
    known = places.keys() & history.updates.keys()
    for id_ in known ^ found.seen:
        yield Finding("seen", f"update {id_}: seen {id_ in found.seen}, there {id_ in known}")


def _order(history: History, found: Found) -> Iterator[Finding]:
    """Prefix order: what is gone of a lane stood before what is pending."""
    turn = {id_: number for number, id_ in enumerate(history.updates)}
    buried = history.buried | set(found.dead)
    pending: dict[str, list[int]] = {}
    for key, id_ in found.inbox:
        if id_ not in buried:
            pending.setdefault(key, []).append(turn.get(id_, -1))
    for (key, scope), ids in found.handled.items():
        turns = [turn.get(id_, -1) for id_ in ids if id_ not in buried]
        if not _ascends(turns):
            yield Finding("order", f"handled in {key} {scope}: {ids}")
        if turns and key in pending and turns[-1] > min(pending[key]):
            yield Finding("order", f"{key}: {ids[-1]} was handled before what stood before it")
    for key, turns in pending.items():
        if not _ascends(turns):
            yield Finding("order", f"pending in {key}: {turns}")


def _effects(history: History, found: Found) -> Iterator[Finding]:
    """Atomic effects: the calls of an update are there, or were sent, exactly if it is in the state."""
    handled = {id_ for ids in found.handled.values() for id_ in ids}
    there = Counter(name for _, name in found.outbox)
    there.update(found.dead_calls)
    for update in history.updates.values():
        for name in update.names():
            if there[name] > (update.id in handled):
                yield Finding(
                    "effects", f"call {name} is there {there[name]} times, handled {update.id in handled}"
                )
            if update.id in handled and not there[name] and name not in history.sent:
                yield Finding(
                    "effects", f"update {update.id} was handled, and its call {name} is gone unsent"
                )
    for id_ in history.lasting[0] - handled:
        yield Finding("undone", f"update {id_} was handled before a later append was confirmed")
    for name in history.lasting[1] & there.keys():
        yield Finding("undone", f"call {name} was sent before a later append was confirmed")


def _timers(history: History, found: Found) -> Iterator[Finding]:
    """A timer is set exactly if the update that sets it was handled, until it was handled itself, once."""
    handled = {id_ for ids in found.handled.values() for id_ in ids}
    places = Counter([*found.timers, *found.came])
    for update in history.updates.values():
        expected = int(update.timer != "" and update.id in handled)
        if places[update.id] != expected or (update.timer == "far" and update.id in found.came):
            yield Finding("timer", f"of {update}: {places[update.id]} times, expected {expected}")
    for id_ in history.lasting_timers - set(found.came):
        yield Finding("undone", f"the timer of {id_} was handled before a later append was confirmed")


def _call_order(history: History, found: Found) -> Iterator[Finding]:
    """The calls of one lane to another leave in their order."""
    handled = {id_ for ids in found.handled.values() for id_ in ids} - history.buried - set(found.dead)
    buried = history.buried_calls | set(found.dead_calls)
    position = {name: number for number, (_, name) in enumerate(found.outbox)}
    ways: dict[tuple[str, str], list[Name]] = {}
    for update in history.updates.values():
        if update.id in handled:
            for name, key in zip(update.names(), update.calls, strict=True):
                if name not in buried:
                    ways.setdefault((update.key, key), []).append(name)
    for way, names in ways.items():
        pending = [name for name in names if name in position]
        if pending != names[len(names) - len(pending) :] or not _ascends(position[name] for name in pending):
            yield Finding("order", f"calls {way}: pending {pending} of {names}")


def _rest(history: History, found: Found) -> Iterator[Finding]:
    if found.epoch <= history.epoch:
        yield Finding("epoch", f"{found.epoch} after {history.epoch}")
    heads: dict[tuple[str, str], str] = {}
    for key, id_ in found.inbox:
        heads.setdefault(("inbox", key), str(id_))
    for key, name in found.outbox:
        heads.setdefault(("outbox", key), str(name))
    replayed = {str(head) for head in history.buried | history.buried_calls}
    for queue, key, parked in found.parked:
        head = heads.get((queue, key))
        if head != parked and not replayed & {head, parked}:
            yield Finding("park", f"{queue} {key} is parked for {parked}, its head is {head}")


def _ascends(numbers: Iterable[int]) -> bool:
    return all(one < other for one, other in pairwise(numbers))
