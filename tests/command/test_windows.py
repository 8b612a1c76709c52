"""A handler can be written and tested on Windows: what Python lacks there is not needed to import and to test."""

import subprocess
import sys

from telegram.load.bot.service import environment
from tests.kit.bounds import WITHIN_S

# What Windows has not, by Python's documentation: taken away before our modules are imported.
WITHOUT = """
import asyncio, multiprocessing, os, pathlib, selectors, shutil, signal, socket, subprocess, sys, tempfile
import aiohttp, pydantic, pydantic_settings, structlog
for name in ("fcntl", "resource", "pwd", "grp", "termios", "uvloop"):
    sys.modules[name] = None
for name in ("SIGVTALRM", "SIGKILL", "SIGSTOP", "SIGUSR1", "SIGHUP", "setitimer", "pthread_sigmask", "ITIMER_VIRTUAL", "SIG_BLOCK"):
    delattr(signal, name)
for name in ("O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "O_NOFOLLOW", "posix_fallocate", "fchmod", "register_at_fork"):
    delattr(os, name)
"""
TESTED = """
import telegram.command, telegram.service.bot, telegram.metrics.monitoring, telegram.operating.office, engine.stores
from telegram.dialogue import MessageContext, Router, text
from telegram.testing import Conversations

router = Router()

@router.message(text)
async def echo(ctx: MessageContext) -> None:
    ctx.reply(ctx.text)

with Conversations(router) as bot:
    alice = bot.chat("Alice")
    alice.says("hello")
    assert alice.sees("hello")
try:
    asyncio.run(engine.stores.open_store("sqlite:bot.db", "1"))
except engine.StoreError as error:
    print(error)
"""


BOT = """
import os, sys
from telegram.command.main import main
del os.register_at_fork
sys.exit(main(["sandbox"]))
"""


def run(program, folder):
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


def test_a_bot_that_would_run_there_says_where_it_runs(tmp_path):
    done = run(BOT, tmp_path)
    said = (
        "a bot runs on Linux and macOS; on Windows use WSL (handlers can be tested there: telegram.testing)"
    )
    assert (done.returncode, done.stderr) == (2, f"run.py: {said}\n")


def test_a_handler_is_tested_without_what_windows_lacks(tmp_path):
    done = run(WITHOUT + TESTED, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "sqlite:FILE needs Linux or macOS; on Windows use WSL\n"
