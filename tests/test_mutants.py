"""The catalogue of `make mutants` fits the code that it changes, so it cannot rot."""

import ast
import re
import warnings
from collections import Counter

import pytest

from tests.mutants import catalogue
from tests.mutants.catalogue import ROOT, Mutant

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
