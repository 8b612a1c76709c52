"""The guards of this project, and the change that removes each.

    [suspects]                          which tests are tried first for the mutants of a file; pytest's names for them
    "engine/embedded/lanes.py" = ["tests/engine/test_lanes.py"]

    [[mutant]]
    name = "no fence"                   what is taken away, in words
    breaks = "invariant 8"              what is no longer true then
    file = "engine/embedded/lanes.py"
    sim = true                          a simulation should see it, too
    suspects = ["tests/test_x.py::y"]   if they are others than those of the file
    change = '''                        a patch: lines that go, lines that come, lines around them to find the place
    -        if not self.is_held(lease):
    +        if False:
    '''

What goes, with the lines around it, occurs exactly once in the file (tests/mutants/test_mutants.py).
"""

import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent.parent


class Mutant(NamedTuple):
    """One guard that is taken away."""

    name: str
    breaks: str
    file: str
    old: str
    new: str
    suspects: tuple[str, ...]
    sim: bool

    def mutated(self, text: str) -> str:
        """The file with the guard removed; ValueError if the place is not found, or found twice."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {text.count(self.old)} times:\n{self.old}")
        return text.replace(self.old, self.new)


def load() -> list[Mutant]:
    """Return all mutants, in the order of the files and of writing."""
    return [
        _mutant(entry, given.get("suspects", {}))
        for path in sorted(Path(__file__).parent.glob("*.toml"))
        for given in [tomllib.loads(path.read_text())]
        for entry in given["mutant"]
    ]


def _mutant(entry: dict[str, Any], suspects: dict[str, list[str]]) -> Mutant:
    lines = entry["change"].splitlines(keepends=True)
    return Mutant(
        name=entry["name"],
        breaks=entry["breaks"],
        file=entry["file"],
        old="".join(line[1:] for line in lines if line[0] in " -"),
        new="".join(line[1:] for line in lines if line[0] in " +"),
        suspects=tuple(entry.get("suspects") or suspects[entry["file"]]),
        sim=entry.get("sim", False),
    )
