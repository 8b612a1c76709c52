"""Types and a bot, beside aiogram: each figure from several fresh processes, ours and theirs taking turns."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.report import Row

ROOT: Final = Path(__file__).parents[2]
PEERS_PYTHON: Final = ROOT / ".venv-peers" / "bin" / "python"
PYTHONS: Final = {"Chatlane": sys.executable, "aiogram": str(PEERS_PYTHON)}
GOALS: Final = {"import and first update": 250.0, "memory after that": 15.0}
"""Over pydantic's own import."""


def _probe(framework: str, part: str) -> dict[str, float]:
    command = [PYTHONS[framework], "-m", "tests.bench.probe", framework.lower(), part]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run(rounds: int, _scale: float) -> list[Row]:
    """Measure in so many rounds; there is nothing to scale, since each process does little."""
    frameworks = list(PYTHONS) if PEERS_PYTHON.exists() else ["Chatlane"]
    if len(frameworks) == 1:
        print(
            "\naiogram is not here to be measured: `make .venv-peers/.ready` sets it up, and so does `make bench-peers`"
        )
    figures: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for framework in frameworks:
            for part in ("types", "bot"):
                for what, value in _probe(framework, part).items():
                    figures.setdefault((what, framework), []).append(value)
    rows = []
    for (measured, framework), values in sorted(figures.items(), key=lambda each: _place(each[0], figures)):
        what, _, unit = measured.partition("|")
        row = Row(f"{what}, {framework}", unit, values)
        rows.append(row.at_most(GOALS[what]) if framework == "Chatlane" and what in GOALS else row)
    return rows


def _place(label: tuple[str, str], figures: dict[tuple[str, str], list[float]]) -> tuple[int, str]:
    """In the order of the measurements, each of ours beside theirs."""
    order = [what for what, framework in figures if framework == "Chatlane"]
    return order.index(label[0]), "" if label[1] == "Chatlane" else label[1]
