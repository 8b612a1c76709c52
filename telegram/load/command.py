"""`run.py load`: starts all parts, runs the test, checks it, shows the result, and cleans up."""

import asyncio
import random
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from telegram.dialogue import load_router
from telegram.fake import FloodLimits, RemoteFake
from telegram.load.bot.fleet import Fleet
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import PROGRAM, Service, held_port, hooked
from telegram.load.checkers.replies import Replies
from telegram.load.workload.load_test import LoadTest
from telegram.load.workload.simulated_users import Commands, SimulatedUsers, read_script
from telegram.settings.load_test import Load

EXIT_BROKEN: Final = 1
_NEEDED: Final = ("rich", "plotly")
_HISTORY: Final = 20
"""Number of messages that the fake keeps of each chat; enough to contain the bot's newest one."""


async def run_load(options: Load, environment: Mapping[str, str], command: str) -> int:
    """Run a test; return the exit code. ValueError of one line if it cannot start.

    `command` is the command line, for the report. `environment` is for a user's own handlers; it must not contain
    settings of Chatlane.
    """
    _check(options)
    interrupts = Interrupts()
    running = asyncio.create_task(_run(options, environment, command, interrupts))
    with interrupts.caught(running):
        await asyncio.wait({running})
    return interrupts.exit_code if running.cancelled() else running.result()


class Interrupts:
    """The first SIGINT or SIGTERM ends a test gracefully, the second one at once."""

    def __init__(self) -> None:
        self.test: LoadTest | None = None
        self._received: list[signal.Signals] = []

    @property
    def exit_code(self) -> int:
        """128 + the number of the first signal, as shells do; 0 without a signal."""
        return 128 + self._received[0] if self._received else 0

    @contextmanager
    def caught(self, running: asyncio.Task[int]) -> Iterator[None]:
        """Handle SIGINT and SIGTERM in the body instead of ending the process."""
        loop = asyncio.get_running_loop()

        def on_signal(number: signal.Signals) -> None:
            self._received.append(number)
            if self.test is not None and len(self._received) == 1:
                self.test.stop()
            else:
                running.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal, number)
        yield
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _check(options: Load) -> None:
    if not all(map(find_spec, _NEEDED)):
        raise ValueError(
            "load needs rich and plotly: run `make load` once, or pip install -r requirements-load.lock"
        )
    if options.handlers is not None:
        load_router(options.handlers)
    if options.script is not None:
        read_script(options.script)
    for path in filter(None, (options.report, options.json_path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise ValueError(f"{path} is a folder: name a file")


async def _run(options: Load, environment: Mapping[str, str], command: str, interrupts: Interrupts) -> int:
    from telegram.load.results import view  # needs rich, which a bot does not

    view.introduce(options, sys.stdout)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatlane-load-")))
        token = f"4200000042:{secrets.token_urlsafe(24)}"
        seed = random.Random(f"fake {options.seed}").getrandbits(32)
        history = 0 if options.handlers is None else _HISTORY
        fake = await stack.enter_async_context(
            await RemoteFake.spawn(token=token, history=history, seed=seed, local=options.source == "webhook")
        )
        if options.limits == "telegram":
            await fake.limit(FloodLimits())
        store_url = _store_url(options.store, folder)
        hook = hooked(stack.enter_context(held_port())) if options.source == "webhook" else {}
        bot = await stack.enter_async_context(_fleet(options, fake, folder, store_url, hook, environment))
        await _start(bot)
        replies = users = None
        if options.handlers is None:
            replies = stack.enter_context(Replies(folder, options.updates))
        else:
            users = _simulated_users(options, options.handlers)
        with view.watching(options, sys.stdout) as show:
            test = interrupts.test = LoadTest(options, fake, bot, show, replies=replies, users=users)
            await test.run()
        code = await _conclude(test, store_url, fake.token, command)
        return interrupts.exit_code or code
    raise AssertionError  # no context manager above suppresses exceptions


async def _conclude(test: LoadTest, store_url: str, token: str, command: str) -> int:
    from telegram.load.results import outcome, view
    from telegram.load.results.report import write_report

    options = test.options
    letters = await outcome.dead_letters(store_url, token) if options.engine == "chatlane" else []
    recording = outcome.conclude(test, letters, command)
    write_report(recording, options.report)
    if options.json_path is not None:
        outcome.save_json(recording, options.json_path)
    view.conclude(recording, options, sys.stdout, complete=test.is_complete)
    return 0 if recording.is_good else EXIT_BROKEN


def _simulated_users(options: Load, handlers: str) -> SimulatedUsers:
    script = () if options.script is None else read_script(options.script)
    return SimulatedUsers(
        Commands.of(load_router(handlers)), script, random.Random(f"players {options.seed}")
    )


def _store_url(store: str, folder: Path) -> str:
    """Return the bot's STORE_URL, with an absolute path: the bot has another working directory."""
    if store == "sqlite":
        return f"sqlite:{folder / 'bot.db'}"
    scheme, colon, rest = store.partition(":")
    if scheme == "sqlite" and rest:
        return f"sqlite:{Path(rest).absolute()}"
    return store if colon else f"{store}:"


def _fleet(
    options: Load,
    fake: RemoteFake,
    folder: Path,
    store_url: str,
    hook: Mapping[str, str],
    environment: Mapping[str, str],
) -> Fleet:
    plan = BotPlan(handler_ms=options.handler_ms)
    if options.handlers is not None:
        plan = plan._replace(handlers=options.handlers)
    program: tuple[str, ...] = PROGRAM
    if options.engine == "tutorial":
        program = ("-m", "telegram.load.bot.tutorial", fake.url, fake.token, str(options.workers))
    settings = {"STORE_URL": store_url, "WORKERS": str(options.workers), **hook}
    if options.limits == "telegram":
        settings["MESSAGES_PER_S"] = "30"
    if options.processes > 1:
        settings["PROCESSES"] = str(options.processes)
    service = Service(folder, fake.url, fake.token, plan, program, environment, **settings)
    return Fleet(service, options.processes)


async def _start(bot: Fleet) -> None:
    try:
        await bot.start()
    except TimeoutError:
        if bot.is_running:
            raise ValueError("the bot does not start; is this machine very busy?") from None
        raise ValueError(bot.last_log_line().removeprefix("run.py: ")) from None
