"""The ways to start a bot: `run MODULE:ROUTER`, and `run(router)` of a main of one's own."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import StoreAwayError, StoreError
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


@pytest.fixture
def odd_stdout(monkeypatch, tmp_path):
    """Let stdout be a buffered stream with this descriptor; the working folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    for name in ("set_up_logging", "tune_garbage_collection"):
        monkeypatch.setattr(f"telegram.command.main.{name}", lambda *_, **__: None)
    opened = []

    def use(fd):
        opened.append(open(fd, "w"))  # noqa: PTH123, SIM115 - a descriptor
        monkeypatch.setattr(sys, "stdout", opened[0])

    yield use
    for each in opened:
        with suppress(OSError):
            each.close()


def test_a_reader_that_is_gone_is_no_error_of_a_setting(odd_stdout, capfd):
    """`chatlane dead | head`: exit code 2 would say that a person has to change something."""
    reading, writing = os.pipe()
    os.close(reading)
    odd_stdout(writing)
    assert main(["new", "my_bot"]) == 141
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_output_to_a_full_disk_is_one_line(odd_stdout, capfd):
    odd_stdout(os.open("/dev/full", os.O_WRONLY))
    assert main(["new", "my_bot"]) == 2
    assert capfd.readouterr().err == "run.py: No space left on device\n"


@pytest.mark.parametrize(("error", "code"), [(StoreError, 2), (StoreAwayError, 1)])
def test_a_database_that_is_not_there_yet_is_a_reason_to_start_again(monkeypatch, capfd, error, code):
    """After a power cut PostgreSQL comes up later than the bot, and systemd's unit has RestartPreventExitStatus=2."""
    for name in ("set_up_logging", "tune_garbage_collection"):
        monkeypatch.setattr(f"telegram.command.main.{name}", lambda *_, **__: None)

    def serve(*_):
        raise error("postgres://db/bots cannot be reached: refused")

    monkeypatch.setattr("telegram.command.main.serve_to_the_end", serve)
    assert main(["--bot-token=1:x", "--store-url=memory:"]) == code
    assert capfd.readouterr().err == "run.py: postgres://db/bots cannot be reached: refused\n"
