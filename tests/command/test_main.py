"""The ways to start a bot: `run MODULE:ROUTER`, and `run(router)` of a main of one's own."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from telegram.command.main import check_neighbours, main, spelled_out
from telegram.load.bot.service import PROGRAM, ROOT, environment
from tests.kit.bounds import WITHIN_S


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ((), []),
        (("--workers=3",), ["--workers=3"]),
        (("run",), []),
        (("run", "--workers=3"), ["--workers=3"]),
        (("run", "my_bot:flows"), ["--handlers=my_bot:flows"]),
        (("run", "my_bot", "--workers=3"), ["--handlers=my_bot:router", "--workers=3"]),
        (("dead", "run"), ["dead", "run"]),
    ],
)
def test_run_names_the_router(given, means):
    assert spelled_out(given) == means


def started(folder, *arguments, **settings):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


def test_a_module_that_does_not_exist_is_one_line(tmp_path):
    done = started(tmp_path, *PROGRAM, "run", "my_bot", BOT_TOKEN="1:x", STORE_URL="memory:")
    assert done.returncode == 2
    assert done.stderr == "run.py: there is no module 'my_bot' (wanted for 'my_bot:router')\n"


def test_new_makes_a_folder_and_does_not_need_a_token(tmp_path):
    done = started(tmp_path, *PROGRAM, "new", "my_bot")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("my_bot/ is ready")
    again = started(tmp_path, *PROGRAM, "new", "my_bot")
    assert again.returncode == 2
    assert again.stderr.startswith("run.py: new: my_bot exists and is not empty")
    wrong = started(tmp_path, *PROGRAM, "new", "my-bot")
    assert wrong.returncode == 2
    assert "is no name of a module" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1


def test_a_main_of_ones_own(tmp_path):
    (tmp_path / "main.py").write_text(
        "from telegram.command import run\nfrom telegram.dialogue import Router\nrun(Router())\n"
    )
    done = started(tmp_path, "main.py", "dead", BOT_TOKEN="1:x", STORE_URL="memory:")
    assert (done.returncode, done.stderr) == (0, "")
    wrong = started(tmp_path, "main.py", "--workers=0", BOT_TOKEN="1:x")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("run.py: WORKERS: ")


@pytest.mark.parametrize("folder", [ROOT, ROOT / "elsewhere"])
def test_a_package_of_the_same_name_in_the_same_folder_is_named(monkeypatch, capsys, folder):
    """pip puts both into one folder, and one __init__.py wins, without a word of pip."""
    installed = SimpleNamespace(locate_file=lambda name: folder / name)
    monkeypatch.setattr("telegram.command.main.distribution", lambda _: installed)
    if folder != ROOT:
        check_neighbours()
        return
    assert main(["dead"]) == 2
    assert "python-telegram-bot is installed in this environment" in capsys.readouterr().err
