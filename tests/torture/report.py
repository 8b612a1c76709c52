"""What a campaign is asked to do, and what it tells afterwards."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from telegram.load.checkers.checker import Anomaly, Verdict


class Tell(Protocol):
    """Takes a line about how far a campaign is; `keep`: it is worth more than the moment."""

    def __call__(self, text: str, /, *, keep: bool = False) -> None:
        """Show it."""
        ...


_SHOWN_MAX: Final = 5
_DETAILS_MAX: Final = 200  # characters
_COLUMNS: Final = {
    "lost": ("lost",),
    "swapped": ("swapped",),
    "committed twice": ("committed twice", "forgotten"),
    "skipped": ("skipped", "stray"),
    "overlapping": ("overlapping",),
    "sent twice": ("sent twice",),
}


class Plan(NamedTuple):
    """How large a campaign is.

    `fault_s` is how long most of the server's faults last, `outage_s` the longest one; `minutes` how long the storm lasts,
    which is judged every `window_s`.
    """

    seed: int = 1
    rounds: int = 20
    updates: int = 50_000
    chats: int = 1_000
    outage_s: float = 60.0
    fault_s: float = 8.0
    minutes: float = 2.0
    window_s: float = 60.0


class Result(NamedTuple):
    """The outcome of one campaign.

    `failures` are broken promises that the checker cannot see, one line each; `windows` a line for each part that was
    judged on its own.
    """

    campaign: str
    verdict: Verdict
    wall_s: float
    facts: dict[str, Any]
    failures: Sequence[str] = ()
    windows: Sequence[str] = ()

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not self.verdict.anomalies and not self.failures

    def lines(self) -> list[str]:
        """The verdict in one line, then what it rests on."""
        verdict = self.verdict
        said = "ok" if self.is_good else "BROKEN"
        head = (
            f"{self.campaign}: {said} - {verdict.updates} updates, {verdict.replies} replies,"
            f" {len(verdict.anomalies)} anomalies, {verdict.repeated} repeats allowed, {self.wall_s:.1f} s"
        )
        facts = [f"    {name}: {value}" for name, value in self.facts.items()]
        failures = [f"    FAILED: {failure}" for failure in self.failures]
        return [head, *facts, *failures, *map(_shown, verdict.anomalies[:_SHOWN_MAX])]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a machine."""
        return {
            "campaign": self.campaign,
            "good": self.is_good,
            "wall_s": round(self.wall_s, 2),
            **self.verdict._asdict(),
            "anomalies": dict(self.verdict.kinds()),
            "first_anomalies": [anomaly._asdict() for anomaly in self.verdict.anomalies[:_SHOWN_MAX]],
            "failures": list(self.failures),
            "facts": self.facts,
            "windows": list(self.windows),
        }


def found(verdict: Verdict) -> str:
    """How many anomalies of each sort, in one line."""
    kinds = verdict.kinds()
    return ", ".join(f"{sum(kinds[kind] for kind in column)} {name}" for name, column in _COLUMNS.items())


def table(results: Sequence[Result]) -> str:
    """All campaigns, one a row."""
    head = ["campaign", "updates", "replies", *_COLUMNS, "repeats", "seconds", "verdict"]
    rows = [head]
    for result in results:
        kinds = result.verdict.kinds()
        rows.append(
            [
                result.campaign,
                str(result.verdict.updates),
                str(result.verdict.replies),
                *(str(sum(kinds[kind] for kind in column)) for column in _COLUMNS.values()),
                str(result.verdict.repeated),
                f"{result.wall_s:.0f}",
                "ok" if result.is_good else "BROKEN",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )


def _shown(anomaly: Anomaly) -> str:
    return f"    {anomaly.kind} in chat {anomaly.chat_id}: {anomaly.details[:_DETAILS_MAX]}"
