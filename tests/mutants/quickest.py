"""A plugin of pytest: the tests that take least come first, so that a mutant is found soon.

CHATLANE_DURATIONS names a file with a line for each test that is known: seconds, a tab, pytest's name of it.
"""

import os
from pathlib import Path
from typing import Final

import pytest

_FILE: Final = Path(os.environ.get("CHATLANE_DURATIONS", os.devnull))
_took_s: Final[dict[str, float]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them in order; those that are not known come first."""
    for line in _FILE.read_text().splitlines() if _FILE.exists() else ():
        seconds, _, name = line.partition("\t")
        _took_s[name] = float(seconds)
    items.sort(key=lambda item: _took_s.get(item.nodeid, 0.0))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what a test takes."""
    if report.when == "call" and report.passed and report.nodeid not in _took_s:
        with _FILE.open("a") as file:
            file.write(f"{report.duration:.3f}\t{report.nodeid}\n")
