"""What `make test` runs its parts with: each part's output is shown, whatever becomes of the others."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests import parts
from tests.kit.bounds import WITHIN_S
from tests.parts import NO_TESTS, Part, code_of, run

HANGS = "import faulthandler, time; faulthandler.enable(); print('begun', flush=True); time.sleep(3600)"

DEAF = "import signal, time; signal.signal(signal.SIGABRT, signal.SIG_IGN); print('begun', flush=True); time.sleep(3600)"


@pytest.fixture
def begin(tmp_path: Path):
    def one(code: str) -> Part:
        return Part(code, (sys.executable, "-S", "-c", code), tmp_path / f"{code[:8]}.log")

    return one


def begun(part: Part) -> Part:
    until = time.monotonic() + WITHIN_S
    while "begun" not in part._log.read_text():
        assert time.monotonic() < until
        time.sleep(0.01)
    return part


def test_each_part_is_shown_with_its_code(begin, capfd):
    good, bad = begin("print('fine')"), begin("import sys; sys.exit('broken')")
    run([good, bad], 60.0)
    shown = capfd.readouterr().out
    assert (good.code, bad.code) == (0, 1)
    assert ": ok, " in shown and "\nfine" in shown
    assert ": exit code 1, " in shown and "\nbroken" in shown


def test_a_part_that_hangs_is_ended_and_shows_where(begin, capfd):
    hanging = begun(begin(HANGS))
    run([hanging], 0.1)
    shown = capfd.readouterr().out
    assert hanging.code == -signal.SIGABRT
    assert 'File "<string>", line 1 in <module>' in shown


def test_a_part_that_does_not_listen_is_killed(begin, capfd, monkeypatch):
    monkeypatch.setattr(parts, "_LET_GO_S", 0.1)
    deaf = begun(begin(DEAF))
    run([deaf], 0.1)
    assert deaf.code == -signal.SIGKILL
    assert "exit code" in capfd.readouterr().out


def test_if_it_is_ended_itself_it_ends_the_parts_and_shows_them(begin, capfd, monkeypatch):
    hanging = begin(f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {HANGS}")
    show = Part.show

    def show_and_end(part: Part) -> None:
        show(part)
        if part is not hanging:
            raise SystemExit(143)

    monkeypatch.setattr(Part, "show", show_and_end)
    with pytest.raises(SystemExit):
        run([hanging, begin("print('fine')")], 60.0)
    assert hanging.code is not None
    with pytest.raises(ProcessLookupError):
        os.kill(hanging._process.pid, 0)


@pytest.mark.parametrize(
    ("lint", "tests", "code"),
    [
        (0, [0, 0], 0),
        (0, [0, NO_TESTS], 0),
        (0, [NO_TESTS, NO_TESTS], NO_TESTS),
        (0, [0, 1], 1),
        (0, [-6, 0], -6),
        (0, [0, None], 1),
        (2, [0, 0], 2),
        (None, [0, 0], 1),
    ],
)
def test_one_bad_part_is_enough(lint, tests, code):
    assert code_of(lint, tests) == code
