"""Which test found which mutant the last time: only a hint, so that a run need not try all suspects.

killers.json is written by each run of the mutants and kept with the code. A wrong or missing line costs time alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.mutants import catalogue
from tests.mutants.catalogue import ROOT

FILE: Final = Path(__file__).with_name("killers.json")


def load(file: Path = FILE) -> dict[str, str]:
    """Return names of mutants and pytest's names of tests whose files there are."""
    known = json.loads(file.read_text()) if file.exists() else {}
    return {name: test for name, test in known.items() if (ROOT / test.partition("::")[0]).is_file()}


def save(found: Mapping[str, str], file: Path = FILE) -> None:
    """Keep what was found; mutants that are in no catalogue any more are left out, and what is no test's name."""
    tests = {name: test for name, test in found.items() if test.startswith("tests/")}
    names = sorted(mutant.name for mutant in catalogue.load())
    known = load(file) | tests
    kept = {name: known[name] for name in names if name in known}
    file.write_text(json.dumps(kept, indent=0, ensure_ascii=False) + "\n")
