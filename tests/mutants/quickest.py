"""A pytest plugin for runs with a mutant: the quickest tests run first, and a test that hangs ends soon.

CHATLANE_DURATIONS names a file with one line for each known test: the duration in seconds, a tab, the test's node id.
A test is known once it has passed. A known test fails when it takes longer than SECONDS_MIN + TIMES_MAX times its
duration; for the others the limit of tests/conftest.py holds.
"""

import os
from pathlib import Path
from typing import Final

import pytest

_FILE: Final = Path(os.environ.get("CHATLANE_DURATIONS", os.devnull))
SECONDS_MIN: Final = 5.0  # a pause of a busy machine
TIMES_MAX: Final = 5.0  # a machine that is busy with other work is slower than it was
_took_s: Final[dict[str, float]] = {}
_setup_s: Final[dict[str, float]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by duration, unknown ones first, and limit the duration of the known ones."""
    for line in _FILE.read_text().splitlines() if _FILE.exists() else ():
        seconds, _, name = line.partition("\t")
        _took_s[name] = float(seconds)
    for item in items:
        if (took_s := _took_s.get(item.nodeid)) is not None:
            item.add_marker(pytest.mark.seconds_max(SECONDS_MIN + TIMES_MAX * took_s))
    items.sort(key=lambda item: _took_s.get(item.nodeid, 0.0))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what a test and its fixtures take."""
    if report.when == "setup":
        _setup_s[report.nodeid] = report.duration
    if report.when == "call" and report.passed and report.nodeid not in _took_s:
        with _FILE.open("a") as file:
            file.write(f"{_setup_s.pop(report.nodeid, 0.0) + report.duration:.3f}\t{report.nodeid}\n")
