"""Writes a load test as one HTML file that works offline: result, figures, diagrams, and the command to repeat it.

The file has about 5 MB, nearly all of it plotly.min.js. Its Content-Security-Policy allows no requests and only its own
two scripts. All texts of the test are escaped, never inserted as HTML.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from telegram.load.checkers.recording import ChatClass, Recording
from telegram.load.results.report_data import drawing, percentile

_HERE: Final = Path(__file__).parent

_KINDS: Final = {  # kinds of checker.py, handlings.py, outcome.py: meaning, singular, plural
    "lost": ("An update was never handled, or never answered.", "update lost", "updates lost"),
    "stray": ("A handling or a reply without an update.", "stray update", "stray updates"),
    "swapped": (
        "An update was handled or answered before an older one of its chat.",
        "update swapped",
        "updates swapped",
    ),
    "committed twice": (
        "The effects of one update were committed a second time.",
        "update committed twice",
        "updates committed twice",
    ),
    "skipped": (
        "The chat's state contains a handling without a reply.",
        "handling without a reply",
        "handlings without a reply",
    ),
    "forgotten": (
        "The chat's state was lost: it no longer contained a committed handling.",
        "saved state forgotten",
        "saved states forgotten",
    ),
    "overlapping": (
        "Two handlers of one chat worked at the same time.",
        "overlap within a chat",
        "overlaps within a chat",
    ),
    "sent twice": (
        "A reply was sent again, although no fault had interrupted the first call.",
        "reply sent twice without a reason",
        "replies sent twice without a reason",
    ),
    "handled again": (
        "An update was handled again, although no kill had preceded its commit.",
        "update handled again",
        "updates handled again",
    ),
    "starved": (
        "A chat waited very long for its turn while others got more than their share.",
        "chat starved",
        "chats starved",
    ),
    "given up": (
        "The bot gave up an update: it became a dead letter.",
        "update given up",
        "updates given up",
    ),
    "exit": (
        "The bot's process ended by itself, or with an error.",
        "unexpected end of the bot",
        "unexpected ends of the bot",
    ),
}
_FAULTS: Final = {  # kinds of --faults: singular, plural
    "kill": ("kill of the bot's process (kill -9)", "kills of the bot's process (kill -9)"),
    "stop": ("freeze of the process (SIGSTOP)", "freezes of the process (SIGSTOP)"),
    "429": ("period of “too many requests” (429)", "periods of “too many requests” (429)"),
    "5xx": ("period of server errors (5xx)", "periods of server errors (5xx)"),
    "slow": ("period of slow answers", "periods of slow answers"),
    "cut": ("period of cut connections", "periods of cut connections"),
}
_IN_HEADLINE: Final = ("lost", "swapped", "committed twice")


def write_report(recording: Recording, path: Path) -> None:
    """Write the report to `path`; missing folders are created. ImportError without plotly."""
    from plotly.offline import get_plotlyjs  # only here: a bot runs without plotly

    drawn = drawing(recording)
    scripts = [get_plotlyjs(), _part("report.js") + _part("report_lanes.js")]
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts]
    page = Template(_part("report.html")).substitute(
        policy="script-src " + " ".join(f"'sha256-{each}'" for each in hashes),
        style=_part("report.css"),
        plotly=scripts[0],
        script=scripts[1],
        data=json.dumps(drawn, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        mood=_css_class(recording),
        verdict=escape(verdict(recording)),
        summary=escape(summary(recording)),
        tiles="\n".join(_tile(*each) for each in tiles(recording)),
        promises="\n".join(_promises(recording)),
        classes="\n".join(map(_class_row, recording.classes)),
        lanes=escape(_lanes_sentence(drawn["lanes"])),
        command=escape(recording.command),
        settings=_pairs(recording.settings),
        versions=_pairs(recording.versions),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")  # a lone surrogate has no UTF-8


def verdict(recording: Recording) -> str:
    """Return the result of the test in one sentence."""
    found = {kind: count for kind, count in recording.anomaly_kinds.items() if count}
    if found:
        return "Broken: " + ", ".join(_counted(count, kind, _KINDS) for kind, count in found.items()) + "."
    updates = _updates(recording)
    if not updates:
        return "Nothing was shown: no update was sent."
    looked_for = [kind for kind in _IN_HEADLINE if kind in recording.anomaly_kinds]
    promises = "".join(f", none {kind}" for kind in looked_for)
    chats = sum(each.chats for each in recording.classes)
    where = f" in {_plural(chats, 'chat')}" if chats else ""
    head = "All promises kept" if recording.is_complete else "Ended early, and all promises kept until then"
    return f"{head}: {_plural(updates, 'update')}{where}{promises}."


def summary(recording: Recording) -> str:
    """Return start, duration and faults of the test, in one or two sentences."""
    began = datetime.fromtimestamp(recording.began_at, UTC)
    ran = f"The test began on {began:%Y-%m-%d at %H:%M:%S} UTC and ran {_duration(recording.took_s * 1000)}."
    if not recording.faults:
        return f"{ran} No fault was caused."
    kinds = Counter(mark.kind for mark in recording.faults)
    done = [_counted(count, kind, _FAULTS) for kind, count in kinds.items()]
    return f"{ran} While people wrote, the test caused {_listed(done)}."


def tiles(recording: Recording) -> list[tuple[str, str, str]]:
    """Return the main figures as name, figure and note (may be ""). The other counts come last."""
    waited = sorted(ms for each in recording.classes for ms in each.latencies_ms)
    samples, counts = recording.samples, dict(recording.counts)
    found = [("updates", f"{_updates(recording):,}", "")]
    counts.pop("updates", None)
    if handled := max((sample.handled for sample in samples), default=0):
        took_s = next(sample.at_s for sample in samples if sample.handled == handled) or recording.took_s
        rate = f"{handled / took_s:,.0f}" if took_s else "0"
        found.append(("updates per second", rate, "on average, all faults included"))
    if waited:
        found.append(("typical wait", _duration(percentile(waited, 0.5)), "half waited no longer (p50)"))
        note = f"99 % waited no longer (p99); longest {_duration(waited[-1])}"
        found.append(("wait of nearly all", _duration(percentile(waited, 0.99)), note))
    at_once = max([counts.pop("chats at once", 0), *(sample.active_lanes for sample in samples)])
    if at_once:
        found.append(
            ("handlers at once", f"{at_once:,}", "at most; each in a chat of its own, if all is well")
        )
    return found + [(name, f"{count:,}", "") for name, count in counts.items()]


def _css_class(recording: Recording) -> str:
    if not recording.is_good:
        return "bad"
    return "good" if _updates(recording) else "empty"


def _updates(recording: Recording) -> int:
    return recording.counts.get("updates", max((sample.sent for sample in recording.samples), default=0))


def _promises(recording: Recording) -> Iterable[str]:
    """Yield the rows of the table of anomalies, as HTML."""
    first = {anomaly.kind: anomaly for anomaly in reversed(recording.anomalies)}
    for kind, count in recording.anomaly_kinds.items():
        meaning = _KINDS.get(kind, ("", "", ""))[0]
        example = ""
        if count and kind in first:
            where = f"chat {first[kind].chat_id}" if first[kind].chat_id else ""
            details = escape(first[kind].details)
            example = f'<div class="example">First: {where}<code>{details}</code></div>'
        mood = "bad" if count else "good"
        yield (
            f'<tr class="{mood}"><th scope="row">{escape(kind)}</th><td>{escape(meaning)}{example}</td>'
            f'<td class="count">{count:,}</td></tr>'
        )


def _class_row(chats: ChatClass) -> str:
    waited = chats.latencies_ms
    shares = [_duration(percentile(waited, share)) for share in (0.5, 0.9, 0.99, 1)] if waited else ["-"] * 4
    cells = [f"{chats.chats:,}", f"{len(waited):,}", *shares]
    return (
        f'<tr><th scope="row">{escape(chats.name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    )


def _lanes_sentence(lanes: list[dict[str, Any]]) -> str:
    handlings = sum(len(lane["id"]) for lane in lanes)
    over = sum(len(lane["overlapping"]) for lane in lanes)
    if not handlings:
        return "No handling was recorded."
    drawn = f"Drawn are {_plural(handlings, 'handling')} in {_plural(len(lanes), 'chat')}"
    if over:
        return f"{drawn}; {over:,} of them began before an earlier one of the same chat had ended."
    return f"{drawn}; none overlaps another one of its chat."


def _tile(name: str, figure: str, note: str) -> str:
    return f"<li><b>{escape(figure)}</b><span>{escape(name)}</span><small>{escape(note)}</small></li>"


def _pairs(values: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        if value is None:
            return "not set"
        return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)

    return "\n".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(shown(value))}</dd>" for name, value in values.items()
    )


def _counted(count: int, kind: str, names: Mapping[str, tuple[str, ...]]) -> str:
    if kind not in names:
        return f"{count:,} times {kind}"
    return f"{count:,} {names[kind][-2] if count == 1 else names[kind][-1]}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _duration(ms: float) -> str:
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.2f} s" if ms < 10_000 else f"{ms / 1000:,.1f} s"


def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
