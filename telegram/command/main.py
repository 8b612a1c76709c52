"""The composition root: only this file reads the environment, and only here the parts of a bot are put together."""

import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from engine import StoreError
from engine.errors import StoreAwayError
from engine.stores import open_records, open_store
from telegram.botapi.errors import Unauthorized, redact
from telegram.botapi.printable import printable
from telegram.client import TgClient
from telegram.command import processes, sandbox
from telegram.command.new import make_bot
from telegram.command.settings import Settings, WrongSettingError, read_settings
from telegram.command.tokens import number_of
from telegram.command.tracing import traced
from telegram.dialogue import Router, load_router
from telegram.dialogue.diagrams.command import EXIT_PROBLEMS, Flows, draw_flows
from telegram.metrics import monitored
from telegram.operating.commands import run_command
from telegram.operating.copying import copy_bot, migrate
from telegram.operating.office import Office, counts_for
from telegram.operating.reaching import reached
from telegram.process.running import Running, new_event_loop, tune_garbage_collection
from telegram.process.streams import EXIT_NO_READER, flushed, open_standard_streams, tell
from telegram.process.supervised import Place, take_place
from telegram.process.watchdog import Watchdog
from telegram.service.bot import Bot
from telegram.service.events import Events
from telegram.service.logs import log_what_nobody_catches, set_up_logging
from telegram.service.personal import erase, export
from telegram.service.posting import post_event
from telegram.service.secrecy import shown_arguments, warn_of_readable_settings, without_password
from telegram.service.serving import run_until_signal, unless_signalled
from telegram.settings.load_test import Load
from telegram.settings.program import PROGRAM
from telegram.tracing import trace_id_of

if TYPE_CHECKING:
    from telegram.fake import FakeServer

log = structlog.get_logger(__name__)

EXIT_WRONG_SETTING = 2
EXIT_AGAIN = 1
"""The database cannot be reached at the start: whoever supervises the bot starts it again, as it does not after 2."""

BLOCKED_MAX_MIN_S = 30.0
"""A handler whose time-out is shorter may block the event loop for so long, before the process is ended."""


def _router(settings: Settings) -> Router:
    sys.path.insert(0, str(Path.cwd()))  # for HANDLERS=my_bot:router, wherever run.py lies
    return load_router(settings.handlers)


async def serve(
    settings: Settings, watchdog: Watchdog, router: Router | None = None, place: Place | None = None
) -> int:
    """Run the bot until a signal, with this router or that of HANDLERS; return the exit code. `place`: among several."""
    warn_of_readable_settings(Path(".env"))
    router = router or _router(settings)
    async with AsyncExitStack() as stack:
        fake = (
            await stack.enter_async_context(sandbox.fake_server(settings.token))
            if settings.is_sandbox
            else None
        )
        config = settings.config(is_sandbox=settings.is_sandbox)
        client = await stack.enter_async_context(_client(settings, fake))
        wall = fake.clock if fake is not None else time.time  # the sandbox lets time pass
        systemd = await stack.enter_async_context(processes.reporter(os.environ, place))
        url = settings.effective_store_url
        monitoring = await stack.enter_async_context(monitored(settings, client, wall))
        server = settings.telegram_api_url if fake is None else fake.url
        traces = await traced(settings, os.environ, stack, client, server, wall)
        opening = processes.opening(url, str(client.bot_id), config.role, systemd, wall)
        store = await unless_signalled(opening, watchdog)
        if store is None:
            return 0
        stack.push_async_callback(store.close)
        watchdog.at_force = store.notes.clear  # whom a stop cuts off is not to blame
        lanes = None if fake is None else sandbox.lane_board(fake, store)
        counts = monitoring.counts if monitoring is not None else counts_for(settings, wall)
        bot = Bot(
            client,
            store,
            router,
            config,
            observe=None if lanes is None else lanes.observe,
            meter=counts,
            traces=traces,
            webhook=None if settings.is_sandbox else settings.webhook(settings.token),
        )
        if monitoring is not None:
            monitoring.serve(store, bot)
        office = Office(settings, url, settings.token, store, bot, counts=counts, wall=wall)
        await stack.enter_async_context(office)
        if (events := settings.events()) is not None:
            await stack.enter_async_context(Events(*events, bot))
        if fake is not None and lanes is not None:
            await sandbox.open_page(settings, stack, fake, bot, store, lanes, router.commands())
        return await run_until_signal(bot, watchdog, systemd)


def _client(settings: Settings, fake: "FakeServer | None") -> TgClient:
    if fake is not None:
        return TgClient(settings.token, base_url=fake.url, connections=settings.senders, wall=fake.clock)
    return TgClient(
        settings.token,
        base_url=settings.telegram_api_url,
        connections=settings.senders,
        test=settings.telegram_test,
        local=settings.telegram_local,
        local_root=settings.telegram_local_root,
        allow_http=settings.telegram_allow_http,
        proxy=settings.proxy.get_secret_value() if settings.proxy else None,
    )


async def post(settings: Settings, router: Router | None) -> int:
    """Post an event to the store of a bot that does not run."""
    if settings.post is None:
        return 0
    bot_id = number_of(settings.token)
    router = router or _router(settings)
    store = await open_store(settings.effective_store_url, bot_id)
    try:
        return await post_event(store, router, settings.post)
    finally:
        await store.close()


async def operate(settings: Settings, _: Router | None) -> int:
    """Run an operator's command, at the bot that runs or on its store."""
    url, command = settings.effective_store_url, settings.operators_command
    if command is None:
        return 0
    async with reached(url, settings.token, settings.admin_audit) as asked:
        return 0 if await run_command(command, asked) else EXIT_WRONG_SETTING


async def personal(settings: Settings, _: Router | None) -> int:
    """Export or erase what the store of a bot that does not run has about a user or a chat."""
    records = await open_records(settings.effective_store_url, number_of(settings.token))
    try:
        if settings.export is not None:
            return await export(records, settings.export)
        done = settings.erase is not None and await erase(records, settings.erase)
        return 0 if done else EXIT_WRONG_SETTING
    finally:
        await records.close()


async def copy(settings: Settings, _: Router | None) -> int:
    """Copy the work of a bot that does not run to another store."""
    if settings.copy_ is not None:
        bot = None if settings.bot_token is None else number_of(settings.token)
        await copy_bot(settings.copy_, bot)
    return 0


async def migrate_schema(settings: Settings, _: Router | None) -> int:
    """Make or migrate the tables of a database."""
    if settings.migrate_schema is not None:
        await migrate(settings.store_url, settings.migrate_schema)
    return 0


async def load(settings: Settings, _: Router | None) -> int:
    """Test handlers under load, without the bot and the store of the settings."""
    from telegram.load.command import run_load

    sys.path.insert(0, str(Path.cwd()))  # for --handlers=my_bot:router
    others = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    token = settings.bot_token.get_secret_value() if settings.bot_token else ""
    command = shlex.join(["python", *shown_arguments(sys.argv, token)])
    return await run_load(settings.load or Load(), others, command)


async def flows(settings: Settings, _: Router | None) -> int:
    """Draw the flows of HANDLERS, and print them with their problems; return 1 if there are any."""
    sys.path.insert(0, str(Path.cwd()))  # for HANDLERS=my_bot:router
    command = settings.flows or Flows()
    lines, wrong = draw_flows(settings.handlers, command)
    print("\n".join(map(printable, lines)) or "no flows")
    print(printable(f"pictures: {command.out / 'index.html'}"))
    for line in wrong:
        tell(f"{PROGRAM}: HANDLERS: {printable(line)}", sys.stderr)
    return EXIT_PROBLEMS if wrong else 0


async def new(settings: Settings, _: Router | None) -> int:
    """Make the folder of a new bot in the working directory."""
    if settings.new is not None:
        name = settings.new.name
        make_bot(name, Path.cwd())
        print(f"{name}/ is ready: cd {name}; its README.md says how to run and test it")
    return 0


def serve_to_the_end(
    settings: Settings, watchdog: Watchdog, router: Router | None, place: Place | None = None
) -> int:
    """Run the bot until it has stopped, or was stopped by force; return the exit code."""
    blocked_max_s = max(BLOCKED_MAX_MIN_S, settings.handler_timeout_s)
    watchdog.start(
        drain_timeout_s=settings.drain_timeout_s,
        blocked_max_s=blocked_max_s,
        is_supervised=place is not None,
    )
    running = Running(new_event_loop)
    try:
        return running.run(serve(settings, watchdog, router, place))
    finally:
        watchdog.unwatch(running.left)


def _reload() -> int:
    """Run this command without `--reload` in a child process, again and again; return the exit code."""
    from telegram.process.reloading import Reloading, command_without_reload

    command = command_without_reload(sys.orig_argv[1:])
    reloading = Reloading(command, Path.cwd(), {**os.environ, "RELOAD": "false"}, log.warning)
    return reloading.run()


def check_neighbours() -> None:
    """Raise WrongSettingError if another library's package `telegram` was installed into the same folder as ours."""
    for other in ("python-telegram-bot", "telegram"):
        try:
            folder = distribution(other).locate_file("telegram")
        except PackageNotFoundError:
            continue
        if Path(str(folder)).resolve() == Path(__file__).resolve().parents[1]:
            raise WrongSettingError(
                f"{other} is installed in this environment, and both have a package `telegram`, mixed now: use an environment "
                f"for each, or: pip uninstall {other}; pip install --force-reinstall --no-deps chatlane"
            )


def _command(settings: Settings) -> Callable[[Settings, Router | None], Coroutine[Any, Any, int]] | None:
    """Return what the command does; None: run the bot."""
    if settings.operators_command is not None:
        return operate
    if settings.post:
        return post
    if settings.export or settings.erase:
        return personal
    if settings.copy_ or settings.migrate_schema:
        return copy if settings.copy_ else migrate_schema
    return load if settings.load else flows if settings.flows else new if settings.new else None


def _run(runner: asyncio.Runner, work: Coroutine[Any, Any, int], *, is_ended_by_a_person: bool) -> int:
    try:
        return flushed(runner.run(work))
    except KeyboardInterrupt:
        return 0 if is_ended_by_a_person else 128 + signal.SIGINT
    except BrokenPipeError:
        return _flushed_if_possible(EXIT_NO_READER)


def main(arguments: Sequence[str], watchdog: Watchdog | None = None, router: Router | None = None) -> int:
    """Read the settings and run; return the exit code, with one line on stderr if a person has to do something.

    `router` stands for the one of HANDLERS.
    """
    token, code = "", EXIT_WRONG_SETTING
    try:
        check_neighbours()
        settings = read_settings(arguments)
        token = settings.token
        command = _command(settings)
        place = take_place(os.environ) if command is None else None
        settings = processes.settings_of(settings, place)
        token = settings.token
        set_up_logging(
            settings.log_level,
            settings.log_format,
            token,
            texts=settings.shows_texts,
            trace_id=None if settings.traces == "none" else trace_id_of(number_of(token)),
            process=place and place.number,
        )
        tune_garbage_collection()
        if command is None and not hasattr(os, "register_at_fork"):
            raise WrongSettingError(
                "a bot runs on Linux and macOS; on Windows use WSL (handlers can be tested there: telegram.testing)"
            )
        if command is None:
            processes.check(settings)
        if command is None and settings.reload:
            return _reload()
        if command is None and processes.count_of(settings) > 1 and place is None:
            return asyncio.run(processes.supervise(settings, os.environ))
        if command is None:
            return serve_to_the_end(settings, watchdog or Watchdog(), router, place)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return _run(runner, command(settings, router), is_ended_by_a_person=settings.top is not None)
    except Unauthorized as error:
        reason = f"Telegram refuses BOT_TOKEN {number_of(token)}:... ({error}): copy it again from @BotFather"
    except StoreAwayError as error:
        reason, code = str(error), EXIT_AGAIN
    except (WrongSettingError, StoreError, ValueError) as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.strerror or error}"
    # Of a router with flows, one for each thing wrong.
    lines = reason.split("\n") if reason.startswith("HANDLERS: ") else [reason]
    for line in lines:
        tell(f"{PROGRAM}: {printable(without_password(redact(line, token)))}", sys.stderr)
    return _flushed_if_possible(code)


def _flushed_if_possible(code: int) -> int:
    with suppress(OSError):
        flushed(code)
    return code


def run(router: Router, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a bot with this router from a main of one's own, and exit; settings are flags, environment and .env, as ever.

    `arguments`: those of the process by default. All commands work, too; HANDLERS is used by `load` and `flows` only.
    """
    open_standard_streams()
    log_what_nobody_catches()
    watchdog = Watchdog()
    sys.exit(watchdog.leave(main(sys.argv[1:] if arguments is None else arguments, watchdog, router)))


def console() -> NoReturn:
    """Run the command line, and exit. `run my_bot:router` means `--handlers=my_bot:router`."""
    open_standard_streams()
    log_what_nobody_catches()
    watchdog = Watchdog()
    sys.exit(watchdog.leave(main(spelled_out(sys.argv[1:]), watchdog)))


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `run [MODULE:ROUTER]` as a flag; without a colon the router's name is `router`."""
    if not arguments or arguments[0] != "run":
        return list(arguments)
    if len(arguments) == 1 or arguments[1].startswith("-"):
        return list(arguments[1:])
    handlers = arguments[1] if ":" in arguments[1] else f"{arguments[1]}:router"
    return [f"--handlers={handlers}", *arguments[2:]]
