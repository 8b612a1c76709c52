"""Rules of the house that no linter knows."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.conftest import PARTS

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    {*ROOT.glob("engine/**/*.py"), *ROOT.glob("telegram/**/*.py"), *ROOT.glob("handlers/**/*.py")}
    - {*ROOT.glob("engine/stores/contract/*.py")}  # tests, for whoever writes a store
)
TESTS = sorted(ROOT.glob("tests/**/test_*.py"))
LONGEST_FILE = 360
LONGEST_FUNCTION = 60


GENERATED = {
    ROOT / "telegram/botapi/types.py",
    ROOT / "telegram/botapi/methods.py",
    ROOT / "telegram/botapi/collected.py",
}  # nobody reads them from top to bottom


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_module_imports_the_composition_root_or_the_tests(path):
    assert not {module for module in imported(path) if module.split(".")[0] in {"run", "tests"}}


@pytest.mark.parametrize("path", [*sorted({*SOURCES} - GENERATED), ROOT / "run.py"], ids=name)
def test_files_and_functions_are_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("path", sorted({*SOURCES} - {ROOT / "telegram/command/main.py"}), ids=name)
def test_only_the_composition_root_reads_the_environment(path):
    assert not re.search(r"os\.environ|os\.getenv", path.read_text())


TIGHT = re.compile(r"wait_for\(.*, ?[0-5]?\d(\.\d+)?\)|\basyncio\.timeout\([0-5]?\d(\.\d+)?\)")
MEANT_TIGHT = {
    *("tests/engine/test_dispatcher.py", "tests/testing/test_virtual.py"),  # virtual time
    *("tests/engine/test_isolate.py", "tests/torture/poisons.py"),  # what the tests are about
    "tests/service/test_menu.py",  # less than what would be waited for
}


def test_no_bound_of_a_test_is_a_measure_of_speed():
    """A busy machine stands still for seconds: use tests/kit/bounds.py."""
    modules = {*ROOT.glob("tests/**/*.py"), *ROOT.glob("engine/stores/contract/*.py")}
    tight = {name(path) for path in modules if TIGHT.search(path.read_text())}
    assert {each for each in tight if not re.match(r"tests/(bench|peers|judges)/", each)} == MEANT_TIGHT


def test_callbacks_of_a_stores_connection_are_set_on_its_thread():
    """Why: tests/kit/statements.py."""
    modules = {*ROOT.glob("tests/**/*.py")} - {Path(__file__)}
    assert not [name(path) for path in modules if re.search(r"file\.connection\.set_", path.read_text())]


def test_processes_of_asyncio_are_signalled_by_one_function():
    """Why: telegram/process/signals.py."""
    modules = {*SOURCES, *ROOT.glob("tests/**/*.py")} - {Path(__file__)}
    starts = [path for path in modules if "create_subprocess_exec" in path.read_text()]
    pattern = r"\b(?!child\b|self\b|bot\b)\w+\.(send_signal|terminate|kill)\("
    assert not [name(path) for path in starts if re.search(pattern, path.read_text())]


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("requirements*.lock")), ROOT / "tests/peers/requirements.lock"], ids=name
)
def test_lock_files_name_no_registry(path):
    assert "://" not in path.read_text()


def test_the_changelog_has_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_a_part_of_make_test_imports_every_module_with_its_mark():
    """conftest.py tells by a module's text whether it is imported at all."""
    for path in sorted(ROOT.glob("tests/**/*.py")):
        text = path.read_text()
        for mark, contained in PARTS.items():
            if re.search(rf"\bmark\.{mark}\b", text) and path.name not in {"conftest.py", "page.py"}:
                assert path in TESTS, f"{name(path)}: only test modules have the mark {mark!r}"
                assert contained in text, f"{name(path)} has the mark {mark!r}, and no {contained!r}"
