"""run.py as a person meets it: what is wrong with a setting is one clear line, without a traceback and without the token."""

import asyncio
import itertools
import json
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from typing import NamedTuple
from unittest import mock

import pytest
import structlog

from engine import StoreError
from engine.stores import open_store
from telegram.command.main import main
from telegram.command.settings import WrongSettingError, read_settings
from telegram.fake import FakeServer, Fault
from telegram.load.bot.evidence import Evidence
from telegram.load.bot.plan import BotPlan
from telegram.load.bot.service import ROOT, Finished, Service, command, environment
from telegram.load.checkers.checker import BotReply, Interruption, SentText, check
from telegram.process.signals import send
from telegram.process.watchdog import Watchdog
from telegram.service.secrecy import warn_of_readable_settings
from telegram.service.serving import run_until_signal
from tests.kit.bounds import WITHIN_S
from tests.kit.chosen import chosen

pytestmark = pytest.mark.processes

SECRET = "AAmade-up-secret_0123456789abcdefghi"
TOKEN = f"4200000042:{SECRET}"
BOT = "4200000042"
BASE = {"BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": "http://127.0.0.1:1", "STORE_URL": "sqlite:bot.db"}

MAKE: dict[str, str | None] = {"WITHOUT_TOKEN": "sandbox"}  # as `make run` does
NO_TOKEN = "BOT_TOKEN is not set: set it to the token from @BotFather; .* run.py sandbox"
EMPTY_TOKEN = "BOT_TOKEN is empty: set it to the token from @BotFather; .* run.py sandbox"


PAYING: dict[str, str | None] = {"HANDLERS": "paying:router"}

PAYING_MODULE = """
from telegram.dialogue import EventContext, MessageContext, Router, text

router = Router()

@router.event("paid")
async def paid(ctx: EventContext) -> None:
    ctx.data["sum"] = ctx.data.get("sum", 0) + ctx.payload.get("sum", 0)
    ctx.reply(f"paid: {ctx.data['sum']}")

@router.message(text)
async def said(ctx: MessageContext) -> None:
    ctx.data["sum"] = ctx.data.get("sum", 0)
    ctx.reply("yes")
"""


class Case(NamedTuple):
    """Settings (None: not set) on top of BASE, and a pattern of what run.py has to say about them."""

    says: str
    settings: dict[str, str | None] = {}  # noqa: RUF012 - never changed
    arguments: tuple[str, ...] = ()
    dotenv: bytes = b""
    code: int = 2


CASES = {
    "metrics for everyone without a token": Case(
        "METRICS_LISTEN is not a loopback address", {"METRICS_LISTEN": "0.0.0.0:9464"}
    ),
    "metrics at no address": Case(
        "METRICS_LISTEN: '9464' is not HOST:PORT: use for example", {"METRICS_LISTEN": "9464"}
    ),
    "metrics token without an address": Case("METRICS_TOKEN is set but", {"METRICS_TOKEN": SECRET}),
    "metrics token that is none": Case(
        "METRICS_TOKEN: printable ASCII", {"METRICS_LISTEN": "127.0.0.1:0", "METRICS_TOKEN": f"{SECRET}\t"}
    ),
    "events for everyone": Case(
        "EVENTS_LISTEN is set but EVENTS_TOKEN is not", {"EVENTS_LISTEN": "127.0.0.1:0"}
    ),
    "events at no address": Case("EVENTS_TOKEN is set but EVENTS_LISTEN is not", {"EVENTS_TOKEN": SECRET}),
    "events token that is none": Case(
        "EVENTS_TOKEN: at least 16 printable", {"EVENTS_LISTEN": "127.0.0.1:0", "EVENTS_TOKEN": f"{SECRET} x"}
    ),
    "proxy of another protocol": Case(
        "PROXY: it is not a proxy like http://", {"PROXY": f"ftp://u:{SECRET}@host"}
    ),
    "HTTP proxy for plain HTTP": Case(
        "PROXY: an HTTP proxy passes only https", {"PROXY": f"http://u:{SECRET}@host"}
    ),
    "malformed token": Case("malformed bot token: it looks like", {"BOT_TOKEN": f"42:{SECRET} and more"}),
    "token without number": Case("malformed bot token", {"BOT_TOKEN": SECRET}),
    "no token": Case(NO_TOKEN, {"BOT_TOKEN": None}),
    "no token, and no server": Case(NO_TOKEN, {"BOT_TOKEN": None, "TELEGRAM_API_URL": None}),
    "no token for the dead letters": Case(NO_TOKEN, {"BOT_TOKEN": None}, ("dead",)),
    "empty token": Case(EMPTY_TOKEN, {"BOT_TOKEN": ""}),
    "empty token, and no server": Case(EMPTY_TOKEN, {"BOT_TOKEN": "", "TELEGRAM_API_URL": None}),
    "empty token in .env": Case(EMPTY_TOKEN, {"BOT_TOKEN": None}, dotenv=b"BOT_TOKEN=\n"),
    "empty token as a flag": Case(EMPTY_TOKEN, {"BOT_TOKEN": None}, ("--bot-token=",)),
    "empty token in the name of the token": Case(EMPTY_TOKEN, {"BOT_TOKEN": None, "bot_token": ""}),
    "empty token where none is the sandbox": Case(EMPTY_TOKEN, {**MAKE, "BOT_TOKEN": ""}),
    "blank token": Case("malformed bot token", {**MAKE, "BOT_TOKEN": " "}),
    "server without token": Case("TELEGRAM_API_URL is set but BOT_TOKEN is not", {**MAKE, "BOT_TOKEN": None}),
    "local without server": Case(
        "TELEGRAM_LOCAL is set but TELEGRAM_API_URL is not", {"TELEGRAM_LOCAL": "1", "TELEGRAM_API_URL": None}
    ),
    "local without own server": Case(
        "local is for a Bot API server on this machine",
        {"TELEGRAM_LOCAL": "1", "TELEGRAM_API_URL": "https://api.telegram.org"},
    ),
    "folder without local": Case(
        "TELEGRAM_LOCAL_ROOT is set but TELEGRAM_LOCAL is not", {"TELEGRAM_LOCAL_ROOT": "/srv"}
    ),
    "folder that is the disk": Case(
        "local_root must be the absolute path of one folder",
        {"TELEGRAM_LOCAL": "1", "TELEGRAM_LOCAL_ROOT": "/"},
    ),
    "test without token": Case(
        "TELEGRAM_TEST is set but BOT_TOKEN is not",
        {**MAKE, "BOT_TOKEN": None, "TELEGRAM_API_URL": None, "TELEGRAM_TEST": "1"},
    ),
    "policy that does not exist": Case(
        "UNKNOWN_OUTCOME: Input should be 'repeat' or 'give-up'", {"UNKNOWN_OUTCOME": "maybe"}
    ),
    "neither true nor false": Case("TELEGRAM_TEST: Input should be a valid boolean", {"TELEGRAM_TEST": "x"}),
    "server of another machine without TLS": Case(
        "http:// to another machine .*TELEGRAM_ALLOW_HTTP",
        {"TELEGRAM_API_URL": "http://bot-api.example:8081"},
    ),
    "server without scheme": Case("malformed base URL", {"TELEGRAM_API_URL": "localhost"}),
    "server with password": Case("malformed base URL", {"TELEGRAM_API_URL": f"http://u:{SECRET}@localhost"}),
    "server of another protocol": Case("malformed base URL", {"TELEGRAM_API_URL": "ftp://localhost"}),
    "handlers that do not exist": Case("there is no module 'nowhere'", {"HANDLERS": "nowhere:router"}),
    "handlers without a name": Case("write module:name, like handlers:router", {"HANDLERS": "handlers"}),
    "handlers without that name": Case(
        "the module 'handlers' has no 'nothing'", {"HANDLERS": "handlers:nothing"}
    ),
    "handlers that are none": Case("is not a Router but of type 'module'", {"HANDLERS": "handlers:echo"}),
    "handlers that raise": Case(
        "importing 'raising' failed: RuntimeError: two lines, ", {"HANDLERS": "raising:router"}
    ),
    "handlers that do not parse": Case(
        "importing 'unparsable' failed: SyntaxError", {"HANDLERS": "unparsable:router"}
    ),
    "handlers that exit": Case("importing 'exiting' failed: SystemExit: 0", {"HANDLERS": "exiting:router"}),
    "handlers that miss a module": Case(
        "importing 'missing' failed: .*not_there", {"HANDLERS": "missing:router"}
    ),
    "unknown store": Case(
        "STORE_URL 'mysql:...' is not known: use sqlite:FILE",
        {"STORE_URL": f"mysql://user:{SECRET}@host/db?password={SECRET}"},
    ),
    "database with an unknown option": Case(
        "STORE_URL has the unknown option 'password'",
        {"STORE_URL": f"postgres://user:{SECRET}@host/db?password={SECRET}"},
    ),
    "database that does not answer": Case(
        r"postgres://127\.0\.0\.1:1/db cannot be reached",
        {"STORE_URL": f"postgres://user:{SECRET}@127.0.0.1:1/db"},
        code=1,  # systemd starts it again: after a power cut the database may come back after the bot
    ),
    "store of another scheme than its URL": Case(
        r"the folder //\*\*\*@host does not exist", {"STORE_URL": f"sqlite://user:{SECRET}@host/x.db"}
    ),
    "store that is a password": Case("STORE_URL '...' is not known", {"STORE_URL": SECRET}),
    "store in words": Case("STORE_URL '...' is not known", {"STORE_URL": f"my {SECRET}: x"}),
    "store without file": Case("STORE_URL 'sqlite:' is not known", {"STORE_URL": "sqlite:"}),
    "store in no folder": Case("the folder no/where does not exist", {"STORE_URL": "sqlite:no/where/bot.db"}),
    "store that is a folder": Case("cannot open folder: ", {"STORE_URL": "sqlite:folder"}),
    "store of a newer version": Case("comes from a newer Chatlane", {"STORE_URL": "sqlite:newer.db"}),
    "store of another program": Case("is another program's database", {"STORE_URL": "sqlite:alien.db"}),
    "store of another bot": Case(
        "belongs to bot 77, not to bot 4200000042", {"STORE_URL": "sqlite:other.db"}
    ),
    "store that is no database": Case("cannot open .*not a database", {"STORE_URL": "sqlite:text.db"}),
    "no number": Case("WORKERS: Input should be a valid integer", {"WORKERS": "x"}),
    "too small a number": Case("WORKERS: .* greater than or equal to 1", {"WORKERS": "0"}),
    "a webhook's wrong address": Case("WEBHOOK_LISTEN: .* is not HOST:PORT.*", {"WEBHOOK_LISTEN": "8443"}),
    "a webhook's wrong secret": Case("WEBHOOK_SECRET: use 1 to 256 of .*", {"WEBHOOK_SECRET": "a b"}),
    "a webhook's wrong network": Case(
        "WEBHOOK_NETWORKS: .* use networks like .*", {"WEBHOOK_NETWORKS": "1.2.3.4/8"}
    ),
    "two wrong settings": Case("WORKERS: .*; DRAIN_TIMEOUT_S: .*", {"WORKERS": "x", "DRAIN_TIMEOUT_S": "1"}),
    "unknown choice": Case("LOG_LEVEL: Input should be 'debug', 'info'", {"LOG_LEVEL": "loud"}),
    "unknown kind of update": Case(
        "ALLOWED_UPDATES: there is no kind of update 'mesage_reaction': did you mean 'message_reaction'?",
        {"ALLOWED_UPDATES": "message, mesage_reaction"},
    ),
    "no kind of update": Case("ALLOWED_UPDATES: name kinds of update", {"ALLOWED_UPDATES": ","}),
    "backlog that is no policy": Case(
        "BACKLOG: write handle, drop:SECONDS or tell:SECONDS", {"BACKLOG": "skip"}
    ),
    "backlog of no time": Case("BACKLOG: the seconds of a backlog are from 1", {"BACKLOG": "drop:0"}),
    "answer to a press that is too long": Case(
        "OLD_BUTTON: the answer to a press has at most 200 characters, not 201", {"OLD_BUTTON": "x" * 201}
    ),
    "unknown flag": Case("--nonsense.*--help", arguments=("--nonsense",)),
    "wrong flag": Case("WORKERS: Input should be a valid integer", arguments=("--workers=many",)),
    "wrong value in .env": Case("WORKERS: Input should be a valid integer", dotenv=b"WORKERS=lots\n"),
    ".env that is not UTF-8": Case(".env is not UTF-8", dotenv="WORKERS=8 # für".encode("latin-1")),
    "replay without a number": Case("--help", arguments=("replay",)),
    "replay of a number beyond all": Case("REPLAY.NUMBERS.0: ", arguments=("replay", "9223372036854775808")),
    "replay of number zero": Case("REPLAY.NUMBERS.0: ", arguments=("replay", "0")),
    "replay of no number": Case("NUMBERS", arguments=("replay", "first")),
    "dead with a wrong limit": Case("LIMIT", arguments=("dead", "--limit=0")),
    "no token for a post": Case(NO_TOKEN, {"BOT_TOKEN": None}, ("post", "42", "paid")),
    "post without an event": Case("required: EVENT .*--help", arguments=("post", "42")),
    "post of an unknown event": Case(
        "post: no handler takes the event 'piad': did you mean 'paid'", PAYING, ("post", "42", "piad")
    ),
    "post to a name": Case(
        "post: CHAT is the id of a chat, like 42 or -100500, not '@alice'",
        PAYING,
        ("post", "@alice", "paid"),
    ),
    "post to no chat": Case("post: chat_id is the id of a chat, not 0", PAYING, ("post", "0", "paid")),
    "post of no JSON": Case("post: PAYLOAD is not JSON: Expecting", PAYING, ("post", "42", "paid", '{"sum"')),
    "post of a list": Case("post: PAYLOAD is a JSON object, like ", PAYING, ("post", "42", "paid", "[1, 2]")),
    "post of no number": Case("post: event 'paid': payload", PAYING, ("post", "42", "paid", '{"a": NaN}')),
    "post of a deep list": Case("post: PAYLOAD is not JSON: ", PAYING, ("post", "42", "paid", "[" * 50_000)),
    "post with an id of a script's empty variable": Case(
        "post: an argument is empty", PAYING, ("post", "42", "paid", "{}", "--id", "")
    ),
    "post with an empty id": Case("post: an argument is empty", PAYING, ("post", "42", "paid", "--id=")),
    "post of an empty payload": Case("post: an argument is empty", PAYING, ("post", "42", "paid", "")),
    "post for no user": Case("POST.USER_ID: ", PAYING, ("post", "42", "paid", "--user-id", "alice")),
    "post to a store that forgets": Case(
        "STORE_URL is memory:, which would forget the event",
        PAYING | {"STORE_URL": "memory:"},
        ("post", "42", "paid"),
    ),
    "post for handlers that do not exist": Case(
        "there is no module 'nowhere'", {"HANDLERS": "nowhere:router"}, ("post", "42", "paid")
    ),
}


def prepare(folder):
    """Everything that the cases name."""
    (folder / "folder").mkdir()
    (folder / "raising.py").write_text(
        "import os\nraise RuntimeError('two\\nlines, ' + os.environ['BOT_TOKEN'])\n"
    )
    (folder / "unparsable.py").write_text("def\n")
    (folder / "exiting.py").write_text("import sys\nsys.exit(0)\n")
    (folder / "missing.py").write_text("import not_there\n")
    (folder / "paying.py").write_text(PAYING_MODULE)
    (folder / "text.db").write_text("no database at all, " * 100)
    with sqlite3.connect(folder / "alien.db") as alien:
        alien.execute("CREATE TABLE t (x)")
    alien.close()
    for name, bot in [("newer.db", BOT), ("other.db", "77")]:
        asyncio.run(make_store(folder / name, bot))
    newer = sqlite3.connect(folder / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()


async def make_store(path, bot):
    await (await open_store(f"sqlite:{path}", bot)).close()


@pytest.fixture(scope="module")
def finished(request, tmp_path_factory):
    """The cases of the tests that were chosen, run one after the other: name -> how it went."""
    names = chosen(request, test_each_error_is_one_line, "name")
    prepare(prepared := tmp_path_factory.mktemp("prepared"))
    cases = []
    for case in map(CASES.__getitem__, names):
        folder = tmp_path_factory.mktemp("cases") / "case"
        shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns("*-reserve"))
        (folder / ".env").write_bytes(case.dotenv)
        settings = {name: value for name, value in {**BASE, **case.settings}.items() if value is not None}
        cases.append((case.arguments, str(folder), settings))
    done = subprocess.run(
        [sys.executable, "-m", "tests.kit.forks"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=4 * WITHIN_S,
        check=True,
    )
    return dict(zip(names, itertools.starmap(Finished, json.loads(done.stdout)), strict=True))


def assert_one_clear_line(done: Finished, says: str, code: int = 2) -> None:
    assert SECRET not in done.out + done.err
    assert re.fullmatch(rf"run\.py: .*{says}.*\n", done.err), (
        done.err
    )  # "." is no line's end: so it is one line
    assert done.out == ""
    assert done.code == code


@pytest.mark.parametrize("name", CASES)
def test_each_error_is_one_line(finished, name):
    assert_one_clear_line(finished[name], CASES[name].says, CASES[name].code)


@pytest.mark.parametrize(
    "name", ["no token", "no token, and no server", "empty token", "server without token"]
)
def test_a_bot_without_a_token_is_refused_before_anything_starts(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for variable, value in {**dict.fromkeys(MAKE), **BASE, **CASES[name].settings}.items():
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettingError, match=CASES[name].says):
        read_settings([])


async def test_a_token_that_the_server_refuses(tmp_path):
    async with FakeServer() as server:
        done = await command(folder=tmp_path, **{**BASE, "TELEGRAM_API_URL": server.url})
    assert_one_clear_line(done, "Telegram refuses BOT_TOKEN .*401 Unauthorized.*@BotFather")


async def test_a_resource_of_the_handlers_that_cannot_be_opened(tmp_path):
    (tmp_path / "opening.py").write_text(
        "from telegram.dialogue import Router\nrouter = Router()\n"
        f"@router.resource\nasync def pool():\n    raise OSError('two\\nlines, bot{TOKEN}')\n    yield\n"
    )
    async with FakeServer() as server:
        given = {"BOT_TOKEN": server.token, "TELEGRAM_API_URL": server.url, "HANDLERS": "opening:router"}
        done = await command(folder=tmp_path, **{**BASE, **given})
    assert_one_clear_line(done, "cannot open pool: OSError: two lines, ")


async def test_a_token_that_is_revoked_while_the_bot_runs(tmp_path):
    async with FakeServer() as server, Service(tmp_path, server.url, server.token) as bot:
        await bot.start()
        server.world.logged_out = True
        server.world.send_message(5, 5, "wakes the poll")
        assert await bot.ended() == 2
        assert bot.log()[-1]["line"].startswith("run.py: Telegram refuses BOT_TOKEN")


async def test_a_store_that_another_process_owns(tmp_path):
    async with FakeServer() as server, Service(tmp_path, server.url, server.token) as bot:
        await bot.start()
        for arguments in [(), ("post", "42", "paid")]:
            done = await bot.command(*arguments)
            assert_one_clear_line(done, f"bot.db is in use by process {bot.pid}: stop it, or set STORE_URL")


async def test_the_sandboxs_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await command("sandbox", folder=tmp_path, SANDBOX_PORT=str(port))
    assert_one_clear_line(done, f"{port}")


async def test_an_error_that_the_user_can_fix_is_one_line_also_from_inside_a_group():
    class Bot:
        me = None

        async def start(self):
            mend = StoreError("the store's file is damaged")
            raise ExceptionGroup("all", [ZeroDivisionError(), ExceptionGroup("of the inbox", [mend])])

    with pytest.raises(StoreError, match="is damaged"):
        await run_until_signal(Bot(), mock.create_autospec(Watchdog))  # type: ignore[arg-type] # as much as is needed


@pytest.mark.parametrize(
    ("arguments", "settings", "store_url"),
    [
        (["sandbox"], {}, "sqlite:chatlane-sandbox.db"),
        (["sandbox"], {"STORE_URL": "sqlite:my.db"}, "sqlite:my.db"),
        (["--without-token=sandbox", "dead"], {}, "sqlite:chatlane-sandbox.db"),
        ([], {"BOT_TOKEN": TOKEN}, "sqlite:chatlane.db"),
        (["sandbox"], {"BOT_TOKEN": TOKEN, "STORE_URL": "sqlite:my.db"}, "sqlite:chatlane-sandbox.db"),
    ],
)
def test_the_sandbox_does_not_mix_with_a_real_bots_work(
    tmp_path, monkeypatch, arguments, settings, store_url
):
    monkeypatch.chdir(tmp_path)
    for name in BASE:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    read = read_settings(arguments)
    assert read.effective_store_url == store_url
    assert (SECRET in read.token) == (not arguments)


@pytest.mark.parametrize(
    ("arguments", "settings", "is_told"),
    [
        (("sandbox",), {}, False),
        (("sandbox",), {"BOT_TOKEN": ""}, False),
        (("sandbox",), {"BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": "https://api.telegram.org"}, False),
        ((), {"WITHOUT_TOKEN": "sandbox"}, True),
    ],
)
async def test_the_sandbox_prints_its_address_and_whether_it_was_requested(
    tmp_path, arguments, settings, is_told
):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "run.py"), "--sandbox-port=0", "--store-url=memory:", *arguments),
        cwd=tmp_path,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    shown = b""
    try:
        async with asyncio.timeout(60):
            while b"Stop with" not in shown:
                shown += (line := await process.stdout.readline())
                assert line, shown
    finally:
        send(process, signal.SIGTERM)
        assert await process.wait() == 0
    assert (b"BOT_TOKEN is not set: this is the sandbox" in shown) == is_told
    assert b"Chat with your bot here:  http://127.0.0.1:" in shown


@pytest.mark.parametrize(
    ("mode", "content", "is_warned_of"),
    [
        (0o644, b"BOT_TOKEN=x", True),
        (0o604, b"export bot_token=x", True),
        (0o660, b"BOT_TOKEN=x", True),
        (0o640, b"BOT_TOKEN=x", False),
        (0o600, b"BOT_TOKEN=x", False),
        (0o644, b"WORKERS=8", False),
    ],
)
def test_a_token_that_others_can_read_is_a_warning(tmp_path, mode, content, is_warned_of):
    path = tmp_path / ".env"
    path.write_bytes(content)
    path.chmod(mode)
    with structlog.testing.capture_logs() as logs:
        warn_of_readable_settings(path)
        warn_of_readable_settings(tmp_path / "missing")
    assert [line["event"] for line in logs] == [
        ".env can be read or written by others: chmod 600 .env"
    ] * is_warned_of


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bot-token", TOKEN, "load"],
        [f"--bot-token={TOKEN}", "load"],
        ["--bot-token", SECRET, "load"],
        ["--bot-token", "42:short", "load"],
        ["load", "--store", f"postgres://user:{SECRET}@host/db"],
        [f"--store-url=postgres://{SECRET}@host", "load"],
    ],
)
def test_the_command_in_a_report_has_no_secret(monkeypatch, arguments):
    told = []

    async def run_load(options, others, command):
        told.append(command)
        return 0

    monkeypatch.setattr("telegram.load.command.run_load", run_load)
    monkeypatch.setattr("telegram.command.main.set_up_logging", lambda *_, **__: None)
    monkeypatch.setattr("telegram.command.main.tune_garbage_collection", lambda: None)
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(arguments) == 0
    (command,) = told
    assert SECRET not in command
    assert "42:short" not in command
    assert "***" in command
    assert "run.py" in command


def test_help_lists_every_setting(tmp_path):
    command_line = [sys.executable, str(ROOT / "run.py"), "--help"]
    done = subprocess.run(
        command_line, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=WITHIN_S
    )
    for name in (
        "bot-token",
        "store-url",
        "handlers",
        "workers",
        "drain-timeout-s",
        "log-format",
        "dead",
        "replay",
        "post",
    ):
        assert name in done.stdout


# -- a full disk, played by a limit on the size of files ---------------------------------------------------------------

UNLIMITED = resource.RLIM_INFINITY
PAGE = 4120  # of SQLite's log


def test_a_disk_that_is_full_at_the_start(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * PAGE, UNLIMITED))

    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py")],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(BASE),
        check=False,
        timeout=WITHIN_S,
    )
    assert_one_clear_line(Finished(done.returncode, done.stdout, done.stderr), "cannot open bot.db: ")


async def all_answered(server, sent):
    """Wait until each of these updates has a reply."""
    give_up = time.monotonic() + 60
    while {line.update_id for line in sent} - {reply.evidence.update_id for reply in seen(server)}:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.05)


def seen(server):
    return [
        BotReply(call.chat_id, Evidence.parse(call.text), call.at, call.status == 200)
        for call in server.calls
        if call.method == "sendMessage" and call.delivered
    ]


async def test_a_disk_that_is_full_for_a_while_loses_nothing(tmp_path):
    async with (
        FakeServer() as server,
        Service(tmp_path, server.url, server.token, BotPlan(journal=None)) as bot,
    ):

        def say(count):
            texts = [(5 + n % 20, f"{n} {'long ' * 200}") for n in range(count)]
            return [SentText(chat, server.world.send_message(chat, chat, text), text) for chat, text in texts]

        await bot.start()
        sent = say(50)
        await all_answered(server, sent)
        await bot.stop()  # folds the log into the file
        await bot.start()
        full = (tmp_path / "bot.db").stat().st_size + 3 * PAGE
        resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (full, UNLIMITED))
        began = time.time()
        sent += say(200)
        alarm = await bot.logged("store unavailable, polling waits", level="error")
        assert "cannot be written" in alarm["reason"]
        await bot.logged("the store is in doubt: reading it anew")
        assert server.queue.pending == 200  # nothing is confirmed that is not stored
        resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
        await all_answered(server, sent)
        await bot.logged("store unavailable, polling waits: over")
        assert (await bot.stop()).code == 0
        assert check(sent, seen(server), [Interruption(began, time.time())]).anomalies == ()


async def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    """stderr on a full disk."""
    async with FakeServer() as server:
        settings = {**BASE, "BOT_TOKEN": server.token, "TELEGRAM_API_URL": server.url, "LOG_LEVEL": "debug"}
        with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(ROOT / "run.py")), cwd=tmp_path, env=environment(settings), stderr=full
            )
        try:
            server.world.send_message(5, 5, "hello")
            await server.wait_for_calls(1, "sendMessage", timeout_s=WITHIN_S)
        finally:
            send(process, signal.SIGTERM)
            await process.wait()


# -- commands ----------------------------------------------------------------------------------------------------------


async def test_a_call_that_may_have_been_executed_can_be_given_up(tmp_path):
    async with (
        FakeServer() as server,
        Service(tmp_path, server.url, server.token, UNKNOWN_OUTCOME="give-up") as bot,
    ):
        await bot.start()
        server.faults.add(Fault("status", code=502, method="sendMessage", times=1))
        server.world.send_message(5, 5, "are you there?")
        letter = await bot.logged("dead letter", queue="outbox")
        assert letter["reason"].startswith("outcome unknown, not tried again: sendMessage: 502")


async def test_a_dead_letter_is_listed_and_replayed(tmp_path):
    async with (
        FakeServer() as server,
        Service(tmp_path, server.url, server.token, UNREACHABLE="dead-letter") as bot,
    ):
        assert (await bot.command("dead")).out == "no dead letters\n"
        await bot.start()
        server.world.block(5)
        server.world.send_message(5, 5, "are you there?")
        server.world.send_message(6, 6, "I am")
        await bot.logged("dead letter", queue="outbox")
        await server.wait_for_calls(1, "sendMessage", delivered=True)
        await bot.stop()

        dead = await bot.command("dead", "--limit=5")
        assert (dead.code, dead.err) == (0, "")
        listed, body = dead.out.splitlines()
        assert re.match(
            r" +1  outbox  chat:5 .*attempts 1  .*403 Forbidden: bot was blocked by the user", listed
        )
        assert "are you there?" in body

        wrong = await bot.command("replay", "1", "77")
        assert (wrong.code, wrong.out) == (2, "1 put back; the bot handles them at its next start\n")
        assert wrong.err == "no dead letter has the number 77\n"
        assert (await bot.command("dead")).out == "no dead letters\n"

        server.world.unblock(5)
        await bot.start()
        await server.wait_for_calls(2, "sendMessage", delivered=True)
        assert [call.chat_id for call in server.calls if call.delivered and call.text] == [6, 5]


async def test_an_event_posted_from_the_command_line_is_handled_once_per_id(tmp_path):
    (tmp_path / "paying.py").write_text(PAYING_MODULE)
    async with (
        FakeServer() as server,
        Service(tmp_path, server.url, server.token, HANDLERS="paying:router") as bot,
    ):
        server.world.send_message(42, 42, "hello")
        for payload, event_id in [('{"sum": 5}', "inv-1"), ('{"sum": 5}', "inv-1"), ('{"sum": 2}', "inv-2")]:
            done = await bot.command("post", "42", "paid", payload, "--id", event_id)
            assert done == Finished(0, "posted; the bot handles it at its next start\n", "")
        await bot.start()
        await server.wait_for_calls(3, "sendMessage", delivered=True)
        await bot.stop()
        await bot.command("post", "42", "paid", '{"sum": 5}', "--id=inv-1")
        await bot.command("post", "42", "paid", '{"sum": 1}', "--id=inv-3")
        await bot.start()
        await server.wait_for_calls(4, "sendMessage", delivered=True)
        await bot.stop()
        texts = [call.text for call in server.calls if call.delivered and call.text]
        assert sorted(texts, key=len) == ["yes", "paid: 5", "paid: 7", "paid: 8"]
