"""Checks the replies of a bot against the updates that were sent to it. Pure: no clock, no process.

The bot under test is telegram/load/bot/counting.py. Its replies carry evidence, which distinguishes a reply that was *sent*
twice (guarantee: at least once) from an update that was *committed* twice (guarantee: exactly once).

| anomaly         | meaning                                                                               |
|-----------------|---------------------------------------------------------------------------------------|
| lost            | an update without a reply                                                             |
| stray           | a reply without an update in its chat, or with the text of another one                |
| swapped         | handled or answered before an older update of its chat                                |
| committed twice | two different evidences for one update: it was handled again after its commit         |
| skipped         | a gap in the counts: the state contains a commit without a reply                      |
| forgotten       | two updates with the same count: the state of a commit was lost                       |
| overlapping     | two handlers of one chat at the same time                                             |
| sent twice      | the same reply again, although the first call was not interrupted                     |
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from telegram.load.bot.evidence import Evidence

IN_FLIGHT_MAX_S: Final = 5.0
"""Maximum time between the execution of a call and the bot's commit of it; generous for a busy machine."""


class SentText(NamedTuple):
    """A text that a user sent to the bot."""

    chat_id: int
    update_id: int
    text: str


class BotReply(NamedTuple):
    """A reply that arrived at Unix time `at`; `answered`: the bot was sent a success for it."""

    chat_id: int
    evidence: Evidence
    at: float
    answered: bool


class Interruption(NamedTuple):
    """An interval (Unix time) in which the bot may not have received answers: from a kill to the next start."""

    began: float
    ended: float


class Anomaly(NamedTuple):
    """One violation of a guarantee."""

    kind: str
    chat_id: int
    details: str


class Verdict(NamedTuple):
    """The result. `repeated`: replies that were sent again as allowed; `chats_at_once`: most handlers at one time."""

    updates: int
    replies: int
    repeated: int
    chats_at_once: int
    anomalies: tuple[Anomaly, ...]

    def kinds(self) -> Counter[str]:
        """Return the number of anomalies by kind."""
        return Counter(anomaly.kind for anomaly in self.anomalies)


def check(
    sent: Iterable[SentText], replies: Iterable[BotReply], interruptions: Sequence[Interruption] = ()
) -> Verdict:
    """Check a whole run; updates and replies are each in the order in which they were sent."""
    lines, replies_of = defaultdict[int, list[SentText]](list), defaultdict[int, list[BotReply]](list)
    for line in sent:
        lines[line.chat_id].append(line)
    for reply in replies:
        replies_of[reply.chat_id].append(reply)
    anomalies: list[Anomaly] = []
    repeated = 0
    for chat_id in sorted(lines.keys() | replies_of.keys()):
        repeats = _repeats(replies_of[chat_id])
        unexplained = [repeat for repeat in repeats if not _is_explained(*repeat, interruptions)]
        repeated += len(repeats) - len(unexplained)
        findings = [*_of_one_chat(lines[chat_id], replies_of[chat_id]), *map(_sent_twice, unexplained)]
        anomalies += (Anomaly(kind, chat_id, details) for kind, details in findings)
    handlings = {reply.evidence for of_chat in replies_of.values() for reply in of_chat}
    return Verdict(
        updates=sum(map(len, lines.values())),
        replies=sum(map(len, replies_of.values())),
        repeated=repeated,
        chats_at_once=_most_at_once(handlings),
        anomalies=tuple(anomalies),
    )


Finding = tuple[str, str]


def _of_one_chat(lines: list[SentText], replies: list[BotReply]) -> Iterator[Finding]:
    places = {line.update_id: place for place, line in enumerate(lines)}
    texts = {line.update_id: line.text for line in lines}
    known = []
    for evidence in dict.fromkeys(reply.evidence for reply in replies):
        if texts.get(evidence.update_id) == evidence.text:
            known.append(evidence)
        else:
            yield "stray", f"{evidence.label} to {evidence.text!r}"
    answered = {evidence.update_id for evidence in known}
    for line in lines:
        if line.update_id not in answered:
            yield "lost", f"update {line.update_id}: {line.text!r}"
    yield from _order(known, replies, places)
    yield from _counts(known)
    for earlier, later in pairwise(sorted(known, key=lambda evidence: evidence.begin_ns)):
        if later.begin_ns < earlier.end_ns:
            yield "overlapping", f"{later.label} during {earlier.label}"


def _order(known: list[Evidence], replies: list[BotReply], places: dict[int, int]) -> Iterator[Finding]:
    trusted = set(known)
    answered = [reply.evidence for reply in replies if reply.evidence in trusted]
    counted = sorted(known, key=lambda evidence: evidence.counted)
    for what, in_order in (("answered", answered), ("handled", counted)):
        for earlier, later in pairwise(in_order):
            if places[later.update_id] < places[earlier.update_id]:
                yield "swapped", f"{what}: {later.label} after {earlier.label}"


def _counts(known: list[Evidence]) -> Iterator[Finding]:
    first: dict[int, Evidence] = {}
    for evidence in known:
        earlier = first.setdefault(evidence.update_id, evidence)
        if earlier != evidence:
            yield "committed twice", f"{earlier.label}, then {evidence.label}"
    previous = 0
    for evidence in sorted(known, key=lambda evidence: evidence.counted):
        if evidence.counted > previous + 1:
            yield "skipped", f"from count {previous} to {evidence.label}"
        previous = evidence.counted
    by_count: dict[int, Evidence] = {}
    for evidence in known:
        other = by_count.setdefault(evidence.counted, evidence)
        if other.update_id != evidence.update_id:
            yield "forgotten", f"{evidence.label} after {other.label}"


def _repeats(replies: list[BotReply]) -> list[tuple[BotReply, BotReply]]:
    """Return pairs of a reply and its next repetition."""
    latest: dict[Evidence, BotReply] = {}
    repeats = []
    for reply in replies:
        if reply.evidence in latest:
            repeats.append((latest[reply.evidence], reply))
        latest[reply.evidence] = reply
    return repeats


def _is_explained(first: BotReply, again: BotReply, interruptions: Sequence[Interruption]) -> bool:
    """Whether the repetition is allowed: the bot may not have known that the first call succeeded (at least once)."""
    if not first.answered:
        return True
    return any(
        gap.began - IN_FLIGHT_MAX_S < first.at < gap.ended and again.at > gap.began for gap in interruptions
    )


def _sent_twice(repeat: tuple[BotReply, BotReply]) -> Finding:
    return "sent twice", f"{repeat[0].evidence.label}, {repeat[1].at - repeat[0].at:.3f} s later again"


def _most_at_once(handlings: Iterable[Evidence]) -> int:
    steps = [(evidence.begin_ns, 1) for evidence in handlings] + [
        (evidence.end_ns, -1) for evidence in handlings
    ]
    most = running = 0
    for _, step in sorted(steps):
        running += step
        most = max(most, running)
    return most
