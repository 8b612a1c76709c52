"""`run.py flows` as a person meets it."""

import shutil
import subprocess
import sys

import pytest

from telegram.dialogue.diagrams.command import Flows, draw_flows
from telegram.dialogue.diagrams.diagram import picture_of
from telegram.dialogue.diagrams.svg import svg
from telegram.load.bot.service import ROOT
from tests.flows import sound, unsound

PROBLEMS = [
    "flow bad <flow>: state first: nothing leads out of it (again only stay): return another state, BACK or End(...) here",
    (
        "flow bad <flow>: state first: no handler takes the button 'Go' with the data 'go': "
        "add @flow.at(Stop.FIRST).callback_query(...), or take the button away"
    ),
    (
        "flow bad <flow>: state lost: nothing leads here: "
        "return it from a handler, name it in Flow(begins=...), or remove it"
    ),
]


@pytest.fixture
def run(tmp_path):
    """Run run.py in a folder of its own, where HANDLERS finds `sound` and `unsound`."""
    for name in ("sound", "unsound"):
        shutil.copy(ROOT / f"tests/flows/{name}.py", tmp_path)

    def run(handlers, *arguments, **more):
        return subprocess.run(
            [sys.executable, str(ROOT / "run.py"), *arguments],
            env={"HANDLERS": handlers, "PYTHONDONTWRITEBYTECODE": "1", "PATH": "", **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.processes
def test_sound_flows(run, tmp_path):
    done = run("sound:router", "flows")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "survey: name, age, summary",
        "order: cart, address, pay",
        "address (in order): street, town",
        "quiz: join, question, answer",
        "pictures: out/flows/index.html",
    ]
    names = {"survey", "order", "address", "quiz"}
    files = {f"{name}.{kind}" for name in names for kind in ("mmd", "svg")} | {"index.html"}
    assert {each.name for each in (tmp_path / "out/flows").iterdir()} == files
    assert (tmp_path / "out/flows/order.svg").read_text() == svg(picture_of(sound.order))
    assert not list(tmp_path.glob("*.db"))  # no store, no token


@pytest.mark.processes
def test_settings_of_a_bot_need_no_token_here(run):
    assert run("sound:router", "flows", TELEGRAM_TEST="1").returncode == 0


@pytest.mark.processes
def test_flows_with_problems(run, tmp_path):
    done = run("unsound:router", "flows", "--out", "pictures")
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["bad <flow>: first, lost", "pictures: pictures/index.html"]
    assert done.stderr.splitlines() == [f"run.py: HANDLERS: {line}" for line in PROBLEMS]
    page = (tmp_path / "pictures/index.html").read_text()
    assert "state first: nothing leads out of it" in page
    assert "bad &lt;flow&gt;" in page
    assert "<flow>" not in page
    assert (tmp_path / "pictures/bad-flow.svg").exists()


@pytest.mark.processes
def test_a_bot_with_such_flows_does_not_start(run, tmp_path):
    done = run("unsound:router", "sandbox")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"run.py: HANDLERS: {line}" for line in PROBLEMS]
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("handlers", "arguments", "says"),
    [
        ("nowhere:router", (), "there is no module 'nowhere'"),
        ("sound:router", ("--out=sound.py/x",), "cannot write to sound.py/x: Not a directory"),
        ("sound:router", ("--out=sound.py",), "cannot write to sound.py: File exists"),
        ("sound:router", ("--in=x",), "unrecognized arguments: --in=x"),
    ],
)
def test_wrong_things_are_one_line(run, handlers, arguments, says):
    done = run(handlers, "flows", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("run.py: ")
    assert says in line


def test_files_have_plain_names_that_differ(tmp_path, monkeypatch):
    for number, name in enumerate(["../up", "a/b", "A-B", "index", "<>"]):
        monkeypatch.setattr(unsound.flow, "name", name)
        draw_flows("tests.flows.unsound:router", Flows(out=tmp_path / str(number)))
    found = sorted(each.name for each in tmp_path.glob("*/*.svg"))
    assert found == ["A-B.svg", "a-b.svg", "flow.svg", "index-2.svg", "up.svg"]
    assert {each.name for each in tmp_path.iterdir()} == set("01234")
