"""Converts a recording into the data for report.js: columns of numbers and plain text, for JSON. Times are seconds."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from telegram.load.checkers.recording import FaultMark, Handling, Lane, Recording, Sample

_DIGITS = 5  # 10 us: finer than a pixel at any useful zoom
_CURVE_POINTS = 160
_BARS_SEEN = 100  # at the initial zoom, where a typical handling is about 8 px wide
_MOMENTS_MAX = 8


def drawing(recording: Recording) -> dict[str, Any]:
    """Return the data of all diagrams."""
    end_s = max(recording.took_s, *(sample.at_s for sample in recording.samples), _last_end(recording), 1e-3)
    return {
        "end": end_s,
        "faults": [
            {"kind": mark.kind, "from": mark.began_s, "to": mark.ended_s} for mark in recording.faults
        ],
        "series": _series(recording.samples),
        "classes": [
            {"name": each.name, **_curve(each.latencies_ms)}
            for each in recording.classes
            if each.latencies_ms
        ],
        "lanes": [_lane(lane) for lane in recording.lanes],
        "width": _width(recording.lanes, end_s),
        "jumps": _jumps(recording, end_s),
    }


def percentile(latencies_ms: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the sorted values do not exceed; 0 without values."""
    if not latencies_ms:
        return 0.0
    rank = math.ceil(share * len(latencies_ms) - 1e-9)
    return latencies_ms[min(max(rank, 1), len(latencies_ms)) - 1]


def overlapping(handlings: Sequence[Handling]) -> list[int]:
    """Return the indices of handlings that began before an earlier one had ended; the input is sorted by start."""
    found, busy_until = [], -math.inf
    for place, handling in enumerate(handlings):
        if handling.begin_s < busy_until:
            found.append(place)
        busy_until = max(busy_until, handling.end_s)
    return found


def _last_end(recording: Recording) -> float:
    return max((each.end_s for lane in recording.lanes for each in lane.handlings), default=0.0)


def _series(samples: Sequence[Sample]) -> dict[str, list[float]]:
    start = Sample(at_s=0.0, sent=0, handled=0, backlog=0, active_lanes=0, p99_ms=0.0, anomalies=0)
    steps = [(a, b) for a, b in pairwise([start, *samples]) if b.at_s > a.at_s]
    return {
        "at": [b.at_s for _, b in steps],
        "sent": [round((b.sent - a.sent) / (b.at_s - a.at_s), 1) for a, b in steps],
        "handled": [round((b.handled - a.handled) / (b.at_s - a.at_s), 1) for a, b in steps],
        "backlog": [b.backlog for _, b in steps],
        "p99": [b.p99_ms for _, b in steps],
        "active": [b.active_lanes for _, b in steps],
    }


def _curve(latencies_ms: Sequence[float]) -> dict[str, list[float]]:
    """Return the percentiles; `nines` is 1 for 90 %, 2 for 99 %, 3 for 99.9 %, up to the slowest update."""
    top = math.log10(len(latencies_ms))
    nines = [top * step / _CURVE_POINTS for step in range(_CURVE_POINTS + 1)] if top else [0.0, 1.0]
    shares = [1 - 10**-each for each in nines]
    return {
        "nines": [round(each, 4) for each in nines],
        "ms": [round(max(percentile(latencies_ms, share), 0.01), 3) for share in shares],
    }


def _lane(lane: Lane) -> dict[str, Any]:
    handlings = sorted(lane.handlings, key=lambda each: each.begin_s)
    return {
        "key": lane.key,
        "sent": [round(at_s, _DIGITS) for at_s in sorted(lane.sent_s)],
        "id": [each.update_id for each in handlings],
        "begin": [round(each.begin_s, _DIGITS) for each in handlings],
        "end": [round(each.end_s, _DIGITS) for each in handlings],
        "outcome": [each.outcome for each in handlings],
        "process": [each.process for each in handlings],
        "overlapping": overlapping(handlings),
    }


def _jumps(recording: Recording, end_s: float) -> list[dict[str, Any]]:
    """Return time windows of interest, the initial one first; the last one is the whole test."""
    width_s = _width(recording.lanes, end_s)
    moments: dict[str, tuple[float, float]] = {}
    for lane in recording.lanes:
        handlings = sorted(lane.handlings, key=lambda each: each.begin_s)
        for place in overlapping(handlings)[:1]:
            moments.setdefault("first overlap", (handlings[place].begin_s, handlings[place].begin_s))
    marks = sorted(recording.faults, key=lambda mark: (mark.kind != "kill", mark.began_s))
    for mark in marks:
        moments.setdefault(f"first {mark.kind}", _edges(mark, width_s))
    found = [
        {"label": label, "from": max(0.0, began_s - width_s / 2), "to": ended_s + width_s / 2}
        for label, (began_s, ended_s) in list(moments.items())[:_MOMENTS_MAX]
    ]
    begin_s = min((each.begin_s for lane in recording.lanes for each in lane.handlings), default=0.0)
    beginning = {"label": "beginning", "from": begin_s - 0.05 * width_s, "to": begin_s + 0.95 * width_s}
    return [*found, beginning, {"label": "everything", "from": 0.0, "to": end_s}]


def _edges(mark: FaultMark, width_s: float) -> tuple[float, float]:
    """Return start and end of a fault; of a long one only the beginning."""
    return mark.began_s, min(mark.ended_s, mark.began_s + 2 * width_s)


def _width(lanes: Sequence[Lane], end_s: float) -> float:
    """Return a window width in seconds that shows several handlings, each wide enough to be seen."""
    handlings = [each for lane in lanes for each in lane.handlings]
    if not handlings:
        return end_s
    busiest = max(lanes, key=lambda lane: len(lane.handlings)).handlings
    usual_s = median(each.end_s - each.begin_s for each in handlings)
    gaps = [b.begin_s - a.begin_s for a, b in pairwise(sorted(busiest, key=lambda each: each.begin_s))]
    return min(max(_BARS_SEEN * usual_s, 15 * median(gaps or [0.0]), 0.01), end_s)
