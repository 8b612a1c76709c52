"""Computes figures from the texts sent and the replies, and a table from the figures of several rounds. Pure."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from telegram.fake import Call
from telegram.load.bot.evidence import Evidence
from telegram.load.checkers.checker import BotReply, SentText, check


class Speed(NamedTuple):
    """Of handlers that do nothing."""

    sent: int
    lost: int
    updates_per_s: float
    cpu_s: float
    """CPU seconds of the bot's process per 1,000 updates."""


class Disorder(NamedTuple):
    """What went wrong while nobody disturbed the bot."""

    sent: int
    lost: int
    overlapping: int
    """Handlers that began while another of the same chat was at work."""

    swapped: int
    """Neighbouring replies of a chat that came in the wrong order."""


class Losses(NamedTuple):
    """Of updates, though the bot was started again after the signal."""

    sent: int
    lost: int
    """Never answered."""

    twice: int
    """Handled and answered, or only answered, more than once."""

    stop_s: float
    """From the signal to the end of the process."""


class Figures(NamedTuple):
    """One round of one bot."""

    speed: Speed
    disorder: Disorder
    killed: Losses
    terminated: Losses


COLUMNS: Final[dict[str, Callable[[Figures], float]]] = {
    "updates/s": lambda figures: figures.speed.updates_per_s,
    "CPU s/1,000": lambda figures: figures.speed.cpu_s,
    "overlapping": lambda figures: figures.disorder.overlapping,
    "swapped": lambda figures: figures.disorder.swapped,
    "lost": lambda figures: figures.speed.lost + figures.disorder.lost,
    "kill -9: lost": lambda figures: figures.killed.lost,
    "twice": lambda figures: figures.killed.twice,
    "SIGTERM: lost": lambda figures: figures.terminated.lost,
    " twice": lambda figures: figures.terminated.twice,
    "stop s": lambda figures: figures.terminated.stop_s,
}


def replies(calls: Iterable[Call], ids: Mapping[str, int]) -> list[BotReply]:
    """The replies that arrived, in order; an update_id that a bot cannot tell (0) is found by the text."""
    seen = []
    for call in calls:
        if call.delivered and call.method == "sendMessage":
            evidence = Evidence.parse(call.text)
            if not evidence.update_id:
                evidence = evidence._replace(update_id=ids[evidence.text])
            seen.append(BotReply(call.chat_id or 0, evidence, call.at, call.status == 200))
    return seen


def speed(sent: Sequence[SentText], seen: Sequence[BotReply], began: float, cpu_s: float) -> Speed:
    """From `began` (Unix time) to the last reply; `cpu_s` is of all of them together."""
    answered = len({reply.evidence.update_id for reply in seen})
    wall_s = max(reply.at for reply in seen) - began
    return Speed(len(sent), len(sent) - answered, answered / wall_s, cpu_s / answered * 1000)


def disorder(sent: Sequence[SentText], seen: Sequence[BotReply]) -> Disorder:
    """What the judge of the load test says of order; "swapped" he says of states, too, which are not counted here."""
    anomalies = check(sent, seen).anomalies
    swapped = [each for each in anomalies if each.kind == "swapped" and each.details.startswith("answered")]
    overlapping = [each for each in anomalies if each.kind == "overlapping"]
    lost = [each for each in anomalies if each.kind == "lost"]
    return Disorder(len(sent), len(lost), len(overlapping), len(swapped))


def losses(sent: Sequence[SentText], seen: Iterable[BotReply], stop_s: float) -> Losses:
    """Count texts without a reply, and texts with more than one."""
    answers = Counter(reply.evidence.update_id for reply in seen)
    counts = [answers[line.update_id] for line in sent]
    return Losses(len(sent), counts.count(0), sum(count > 1 for count in counts), stop_s)


def spread(values: Sequence[float]) -> str:
    """The median, and from where to where the rounds went if they differ."""
    middle, low, high = map(_number, (statistics.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def table(rounds: Mapping[str, Sequence[Figures]]) -> str:
    """One line a bot."""
    rows = [["", *map(str.strip, COLUMNS)]]
    for name, of_bot in rounds.items():
        rows.append([name, *(spread([figure(each) for each in of_bot]) for figure in COLUMNS.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    )


def pins(lock: str) -> dict[str, str]:
    """The packages and versions of a lock file."""
    found = (line.split()[0].partition("==") for line in lock.splitlines() if "==" in line)
    return {name: version for name, _, version in found}


def as_json(rounds: Mapping[str, Sequence[Figures]]) -> dict[str, Any]:
    """Every round of every bot, for a machine."""
    return {
        name: [{part: getattr(each, part)._asdict() for part in Figures._fields} for each in of_bot]
        for name, of_bot in rounds.items()
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
