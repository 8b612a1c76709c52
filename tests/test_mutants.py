"""The catalogue of `make mutants` fits the code that it changes, so it cannot rot."""

import ast
import asyncio
import re
import warnings
from collections import Counter

import pytest

from tests.mutants import catalogue, killers
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
def test_a_change_that_does_not_fit_is_told(text):
    mutant = Mutant("x", "y", "file.py", "a\n", "b\n", (), sim=False)
    with pytest.raises(ValueError, match=r"file\.py has (0|2) times"):
        mutant.mutated(text)


def test_who_found_a_mutant_is_kept_as_long_as_there_are_both(tmp_path):
    file = tmp_path / "killers.tsv"
    first, second, third = (mutant.name for mutant in MUTANTS[:3])
    killers.save(
        {first: "tests/test_lanes.py::a", second: "(hangs for 300 s)", "gone": "tests/x.py::a"}, file
    )
    assert killers.load(file) == {first: "tests/test_lanes.py::a"}
    killers.save({third: "tests/test_lanes.py::b"}, file)
    assert killers.load(file) == {first: "tests/test_lanes.py::a", third: "tests/test_lanes.py::b"}
    killers.save({first: "tests/no_such_file.py::a"}, file)
    assert killers.load(file) == {third: "tests/test_lanes.py::b"}
    assert killers.load(tmp_path / "none") == {}


def test_a_test_that_there_is_not_finds_nothing(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text("def test_a():\n    assert False\n")
    workplace = Workplace(tmp_path, ())
    gone, there = (asyncio.run(workplace.pytest(f"tests/test_x.py::test_{x}", timeout_s=60)) for x in "ba")
    assert (gone.failed, there.failed) == ((), ("tests/test_x.py::test_a",))
