"""The results of a load test as plain data: enough to evaluate, draw and repeat it.

Times are seconds since the start of the test, unless their name says otherwise.
"""

from typing import Any, NamedTuple

from telegram.load.checkers.checker import Anomaly


class Sample(NamedTuple):
    """Totals since the start of the test, and current values, at one moment."""

    at_s: float
    sent: int
    handled: int
    backlog: int
    """Sent updates that are not handled yet."""

    active_lanes: int
    """Running handlers; one per lane, unless there is an anomaly."""

    p99_ms: float
    """Time from sending to the end of the handler, of the updates handled in the last seconds; 0 if there were none."""

    anomalies: int


class Handling(NamedTuple):
    """One run of a handler. `outcome` is "end" (it returned), "fail" (it raised) or "cut" (its process was killed)."""

    update_id: int
    begin_s: float
    end_s: float
    outcome: str
    process: int
    """Number of the bot's process, starting at 1; each restart is a new one."""


class Lane(NamedTuple):
    """The updates and handlings of one chat, in the order of sending and of starting."""

    key: str
    sent_s: tuple[float, ...]
    handlings: tuple[Handling, ...]


class FaultMark(NamedTuple):
    """One fault that the test caused; `kind` as in --faults."""

    kind: str
    began_s: float
    ended_s: float


class ChatClass(NamedTuple):
    """Latencies of one group of chats, from sending to the end of the handler, sorted."""

    name: str
    """Display name, such as "the flooding chat" or "the other 199 chats"."""

    chats: int
    latencies_ms: tuple[float, ...]


class Recording(NamedTuple):
    """The results of one load test."""

    command: str
    """The command line that repeats it."""

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
    """A selection of the chats: those with most anomalies first, then busy and quiet ones."""

    counts: dict[str, int]
    """Totals by display name ("updates", "replies", "repeated replies (allowed)", "kills" ...), in display order."""

    anomaly_kinds: dict[str, int]
    """Number of anomalies by kind, with 0 for kinds that were checked and not found."""

    anomalies: tuple[Anomaly, ...]
    """The first ones of each kind, with details."""

    is_complete: bool = True
    """False if the test was ended early: updates that still waited are not checked."""

    @property
    def is_good(self) -> bool:
        """Whether there are no anomalies."""
        return not any(self.anomaly_kinds.values())
