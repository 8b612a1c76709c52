"""Which test found which mutant the last time: only a hint, so that a run need not try all suspects.

killers.tsv (a mutant's name, a tab, pytest's name of a test) is written by each run of the mutants and kept with the
code. A wrong or missing line costs time alone; so versions of it are merged line by line (.gitattributes).
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tests.mutants import catalogue
from tests.mutants.catalogue import ROOT

FILE: Final = Path(__file__).with_name("killers.tsv")


def load(file: Path = FILE) -> dict[str, str]:
    """Return names of mutants, and pytest's names of tests that there are."""
    lines = file.read_text().splitlines() if file.exists() else []
    known = {name: test for name, _, test in (line.partition("\t") for line in lines)}
    return {name: test for name, test in known.items() if _is_there(test.partition("[")[0])}


@cache
def _is_there(test: str) -> bool:
    file, _, name = test.partition("::")  # a file alone: it could not be imported
    return (ROOT / file).is_file() and (not name or name.rpartition("::")[2] in _tests())


@cache
def _tests() -> frozenset[str]:
    """Return the names of all tests; those of a class may be inherited from another file."""
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "engine/stores/contract").glob("*.py")]
    return frozenset(name for file in files for name in re.findall(r"\bdef (test_\w+)\(", file.read_text()))


def save(found: Mapping[str, str], file: Path = FILE) -> None:
    """Keep what was found; mutants that are in no catalogue any more are left out, and what is no test's name."""
    tests = {name: test for name, test in found.items() if test.startswith("tests/") and test.isprintable()}
    known = load(file) | tests
    names = sorted(mutant.name for mutant in catalogue.load())
    file.write_text("".join(f"{name}\t{known[name]}\n" for name in names if name in known))
