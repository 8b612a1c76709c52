"""What a benchmark found: rows of a table, on the screen and as JSON."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One measured thing: its rounds, and what it is compared with."""

    what: str
    unit: str
    rounds: list[float]
    goal: str = ""
    met: bool | None = None
    notes: str = ""
    median: float = field(init=False)

    def __post_init__(self) -> None:
        self.median = statistics.median(self.rounds)

    def at_least(self, goal: float) -> "Row":
        self.goal, self.met = f">= {goal:,.6g}", self.median >= goal
        return self

    def at_most(self, goal: float) -> "Row":
        self.goal, self.met = f"<= {goal:,.6g}", self.median <= goal
        return self


def show(title: str, rows: Iterable[Row]) -> None:
    print(f"\n{title}")
    print(f"  {'what':<66} {'median':>11} {'min':>11} {'max':>11}  {'unit':<12} goal")
    for row in rows:
        verdict = {None: "", True: "ok", False: "MISSED"}[row.met]
        low, high = min(row.rounds), max(row.rounds)
        numbers = " ".join(
            f"{number:>11,.{0 if row.median >= 1000 else 2}f}" for number in (row.median, low, high)
        )
        print(f"  {row.what:<66} {numbers}  {row.unit:<12} {row.goal} {verdict} {row.notes}".rstrip())


def save(path: Path, tables: dict[str, list[Row]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({name: [asdict(row) for row in rows] for name, rows in tables.items()}, indent=1)
    )
    print(f"\nwritten: {path}")
