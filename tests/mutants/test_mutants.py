"""The catalogue of `make mutants` fits the code that it changes, so it cannot rot."""

import ast
import asyncio
import re
import signal
import warnings
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from tests.mutants import catalogue, killers, quickest
from tests.mutants.catalogue import ROOT, Mutant
from tests.mutants.workplace import Workplace

MUTANTS = catalogue.load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_finds_its_place_and_is_still_python(mutant):
    before = (ROOT / mutant.file).read_text()
    after = mutant.mutated(before)
    assert after != before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        ast.parse(after)


def test_names_are_names():
    assert [name for name, times in Counter(mutant.name for mutant in MUTANTS).items() if times > 1] == []


@pytest.mark.parametrize("suspect", sorted({suspect for mutant in MUTANTS for suspect in mutant.suspects}))
def test_a_suspect_exists(suspect):
    path, _, test = suspect.partition("::")
    assert re.search(rf"\b(def|class) {test.rpartition('::')[2]}\b", (ROOT / path).read_text()) or not test


@pytest.mark.parametrize("text", ["", "a\na\n", "b\n"])
def test_a_change_that_does_not_fit_is_an_error(text):
    mutant = Mutant("x", "y", "file.py", "a\n", "b\n", (), sim=False)
    with pytest.raises(ValueError, match=r"file\.py has (0|2) times"):
        mutant.mutated(text)


def test_who_found_a_mutant_is_kept_as_long_as_there_are_both(tmp_path):
    file = tmp_path / "killers.tsv"
    first, second, third = (mutant.name for mutant in MUTANTS[:3])
    one, other = (
        "tests/mutants/test_mutants.py::test_names_are_names",
        "tests/mutants/test_mutants.py::test_a_suspect_exists[x y]",
    )
    killers.save({first: one, second: "(hangs for 300 s)", "gone": one}, file)
    assert killers.load(file) == {first: one}
    killers.save({third: other}, file)
    assert killers.load(file) == {first: one, third: other}
    killers.save(
        {first: "tests/no_such_file.py::a", third: "tests/mutants/test_mutants.py::test_that_is_gone"}, file
    )
    assert killers.load(file) == {}
    inherited = "tests/stores/test_stores.py::TestMemory::test_a_replayed_timer_finds_room"
    killers.save({first: inherited, second: "tests/stores/test_stores.py"}, file)
    assert killers.load(file) == {first: inherited, second: "tests/stores/test_stores.py"}
    assert killers.load(tmp_path / "none") == {}


def test_tests_that_take_least_come_first_and_known_ones_have_a_limit(tmp_path, monkeypatch):
    (tmp_path / "durations").write_text("2.000\tslow\n0.500\tquick\n")
    monkeypatch.setattr(quickest, "_FILE", tmp_path / "durations")
    limits: dict[str, float] = {}

    def item(name):
        def add_marker(mark):
            assert mark.name == "seconds_max"
            limits[name] = mark.args[0]

        return SimpleNamespace(nodeid=name, add_marker=add_marker)

    items: Any = [item(name) for name in ("slow", "new", "quick")]
    quickest.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == ["new", "quick", "slow"]
    assert limits == {"quick": 7.5, "slow": 15.0}
    for name in ("new", "slow"):
        for when, duration in (("setup", 0.5), ("call", 0.25)):
            report: Any = SimpleNamespace(when=when, passed=True, nodeid=name, duration=duration)
            quickest.pytest_runtest_logreport(report)
    assert (tmp_path / "durations").read_text().splitlines()[2:] == ["0.750\tnew"]


def test_a_test_that_there_is_not_finds_nothing(tmp_path):
    folder = tmp_path / "copy"
    needed = ("tests/__init__.py", "tests/mutants/__init__.py", "tests/mutants/quickest.py")
    workplace = Workplace(folder, needed)
    (folder / "tests" / "test_x.py").write_text("def test_a():\n    assert False\n")
    gone, there = (asyncio.run(workplace.pytest(f"tests/test_x.py::test_{x}", timeout_s=85)) for x in "ba")
    assert (gone.failed, there.failed) == ((), ("tests/test_x.py::test_a",))


@pytest.mark.seconds_max(0.2)
def test_a_test_ends_at_its_limit():
    with pytest.raises(TimeoutError, match=r"still running after 0\.2 s"):
        signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0)  # else it comes again


def test_a_hanging_test_is_ended_whatever_its_output(tmp_path):
    async def ended():
        async with asyncio.timeout(120):
            return await Workplace(tmp_path, ()).python(
                "-c", "while True: print('x' * 100_000)", timeout_s=0.5
            )

    assert asyncio.run(ended()).code is None
