"""`chatlane new my_bot`: the folder it makes works as it is, and nothing is overwritten."""

import os
import subprocess
import sys

import pytest

from telegram.command.new import FILES, TEMPLATE, NewBot, make_bot
from telegram.load.bot.service import environment


def test_the_new_bots_test_passes(tmp_path):
    folder = make_bot("my_bot", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."],
        cwd=folder,
        env=environment({"PATH": "/usr/bin:/bin"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_new_bot_has_no_mistake_for_mypy(tmp_path):
    folder = make_bot("my_bot", tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-incremental",
            "--config-file=",
            "my_bot.py",
            "test_my_bot.py",
        ],
        cwd=folder,
        env=environment({"PATH": "/usr/bin:/bin", "MYPYPATH": str(folder)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_of_the_template_is_written_and_no_name_is_left(tmp_path):
    folder = make_bot("my_bot", tmp_path)
    assert {path.name for path in TEMPLATE.iterdir()} == {*FILES}
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {target.format(name="my_bot") for target in FILES.values()}
    for target in written - {"my_bot.py"}:  # there NAME is a step of the flow
        assert "NAME" not in (folder / target).read_text(), target


@pytest.mark.parametrize("what", ["file", "folder"])
def test_nothing_is_overwritten(tmp_path, what):
    if what == "file":
        (tmp_path / "my_bot").write_text("mine")
    else:
        (tmp_path / "my_bot").mkdir()
        (tmp_path / "my_bot" / "mine").write_text("mine")
    with pytest.raises(ValueError, match="exists and is not empty"):
        make_bot("my_bot", tmp_path)
    assert len([*tmp_path.rglob("*")]) == (1 if what == "file" else 2)


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "my_bot").mkdir()
    assert (make_bot("my_bot", tmp_path) / "my_bot.py").exists()


@pytest.mark.parametrize(
    "name", ["", "my-bot", "1bot", "../bot", "my.bot", "class", "böt", "telegram", "json", "Engine", "a b"]
)
def test_a_name_has_to_be_one_of_a_module(name):
    with pytest.raises(ValueError, match=r"use letters, digits|would hide another module"):
        NewBot(name=name)
