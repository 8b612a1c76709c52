"""What is kept of a load test: enough to judge it, to draw it, and to repeat it. Pure data, as JSON on request.

Times are seconds since the test began, unless their name says otherwise.
"""

from typing import Any, NamedTuple

from telegram.load.checker import Anomaly


class Sample(NamedTuple):
    """The test at one moment: totals since its beginning, and what goes on now."""

    at_s: float
    said: int
    handled: int
    backlog: int
    """Said and not handled yet."""

    active_lanes: int
    """Handlers at work; each in a chat of its own, if all is well."""

    p99_ms: float
    """From said to handled, of what was handled in the last seconds; 0 if nothing was."""

    anomalies: int


class Handling(NamedTuple):
    """One run of a handler. `outcome` is "end" (it returned), "fail" (it raised) or "cut" (its process was killed)."""

    update_id: int
    begin_s: float
    end_s: float
    outcome: str
    process: int
    """The how-manieth process of the bot, from 1: the number grows with each start."""


class Lane(NamedTuple):
    """One chat as it was handled, in the order of beginning."""

    key: str
    said_s: tuple[float, ...]
    handlings: tuple[Handling, ...]


class FaultMark(NamedTuple):
    """One fault that the test caused; `kind` as in --faults."""

    kind: str
    began_s: float
    ended_s: float


class ChatClass(NamedTuple):
    """How long the updates of one kind of chat waited, from said to handled. The tuples are sorted."""

    name: str
    """For people: "the flooding chat", "the other 199 chats"."""

    chats: int
    latencies_ms: tuple[float, ...]


class Recording(NamedTuple):
    """A whole load test."""

    command: str
    """How to repeat it."""

    began_at: float
    """Unix time."""

    settings: dict[str, Any]
    versions: dict[str, str]
    took_s: float
    samples: tuple[Sample, ...]
    """About one a second."""

    faults: tuple[FaultMark, ...]
    classes: tuple[ChatClass, ...]
    lanes: tuple[Lane, ...]
    """A sample of the chats, those with anomalies first, the busiest among them."""

    counts: dict[str, int]
    """Totals for people: "updates", "replies", "repeated replies (allowed)", "kills" ..., in the order of showing."""

    anomaly_kinds: dict[str, int]
    """How many of each kind; every kind that was looked for is there, with 0 if there was none."""

    anomalies: tuple[Anomaly, ...]
    """The first of each kind, with details."""

    is_complete: bool = True
    """False if it was ended before its time: what still waited then is not judged."""

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not any(self.anomaly_kinds.values())
