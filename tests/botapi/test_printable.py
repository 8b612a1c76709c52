"""What strangers write does nothing to a terminal: in each line of a log, and in what each command prints."""

import asyncio
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine import DeadLetter, Envelope, Queue
from telegram.botapi.printable import printable, printable_json
from telegram.load.bot.service import ROOT, Service, command
from telegram.load.checkers.checker import Anomaly
from telegram.operating.commands import letter_lines
from telegram.operating.letters import with_start
from telegram.settings.load_test import Load
from tests.kit.bounds import WITHIN_S
from tests.load.results.test_report import GOOD as RECORDING

# Of each kind: ESC, CR, LF, BEL, C1, bidi; a forged line; the title of the window; a link; an answerback.
EVIL = (
    "A\x1b[2J\x1b]0;title\x07\r\n2026-01-01 [info] forged\x0b\x0c\x85\u2028\u2029\x9b31m\x90q\x9d8;;http://x\x9c"
    "\x7f\x00\x08\t\u202egnp.exe\u2066\u2069\u200e\u200f\u061c\ufeff\U000e0041\ud800Z"
)
HARMLESS = "Zoë 李雷 علي 👩‍👩‍👧 نمی‌دانم \\x1b"


def check(text: str, *, colors: bool = False, is_wrapped: bool = False) -> None:
    """No character of `text` but its line ends does anything to a terminal, and no line is forged."""
    if colors:
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    for letter in text.replace("\n", "").replace("\u200d", "").replace("\u200c", ""):
        assert unicodedata.category(letter) not in {"Cc", "Cf", "Zl", "Zp", "Cs"}, ascii(letter)
    forged = [line for line in text.split("\n") if line.lstrip().startswith(("2026-01-01", "forged"))]
    assert is_wrapped or not forged


def test_every_character_of_this_kind_is_escaped() -> None:
    assert "\n" not in printable(EVIL)
    check(printable(EVIL))
    assert printable("\x1b\r\n\u202e\U000e0041\x9b\ud800") == r"\x1b\r\n\u202e\U000e0041\x9b\ud800"
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in {"Cc", "Zl", "Zp"} or unicodedata.bidirectional(chr(code)) in {
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        }:
            assert printable(chr(code)) != chr(code), hex(code)


def test_what_is_harmless_stays_as_it_is() -> None:
    assert printable(HARMLESS) == HARMLESS
    assert printable_json(json.dumps(HARMLESS, ensure_ascii=False)) == json.dumps(
        HARMLESS, ensure_ascii=False
    )


def test_json_keeps_its_values() -> None:
    line = printable_json(json.dumps({"name": EVIL}, ensure_ascii=False))
    check(line)
    assert json.loads(line) == {"name": EVIL}


SCRIPT = """
import logging, structlog, sys, threading, warnings
sys.stderr.isatty = lambda: {colors}
from telegram.service.logs import log_what_nobody_catches, set_up_logging
EVIL = {evil!a}
TOKEN = "123456789:AAabcdefghijklmnopqrstuvwxyz012345"
set_up_logging("debug", {format_!r}, TOKEN)
log_what_nobody_catches()
log = structlog.get_logger("x")

class Odd:
    def __repr__(self): return EVIL

class OddError(Exception):
    def __str__(self): return EVIL

log.info(EVIL)
log.info("a name", name=EVIL, word="x" + EVIL.replace(" ", ""), names=[EVIL], odd=Odd(), by_name={{EVIL: Odd()}})
log.warning("bytes", body=EVIL.encode("utf-8", "surrogatepass"), logger=EVIL)
try:
    try:
        raise OddError
    except OddError as error:
        error.add_note(EVIL)
        raise ExceptionGroup(EVIL, [ValueError(EVIL), KeyError(EVIL), SyntaxError(EVIL)]) from error
except ExceptionGroup:
    log.exception(EVIL)
    logging.getLogger(EVIL).error("library: %s", EVIL, exc_info=True)
logging.getLogger("library").error("%d is no number", EVIL)
warnings.warn(EVIL + TOKEN)
def fails(): raise ValueError(EVIL + TOKEN)
thread = threading.Thread(target=fails, name=EVIL)
thread.start()
thread.join()
class Dies:
    def __del__(self): fails()
Dies()
fails()
"""


@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_log_is_harmless_whatever_is_logged(format_: str, colors: bool) -> None:
    script = SCRIPT.format(format_=format_, evil=EVIL, colors=colors)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script],
        capture_output=True,
        cwd=ROOT,
        timeout=WITHIN_S,
        check=False,
    )
    told = done.stderr.decode()
    assert done.returncode == 1
    assert done.stdout == b""
    assert "AAabcdef" not in told
    check(told, colors=colors and format_ == "console")
    events = 10
    if format_ == "json":
        lines = [json.loads(line) for line in told.splitlines()]
        assert len(lines) == events
        assert lines[0]["event"] == EVIL
        assert lines[1]["name"] == EVIL
    else:
        began = [line for line in told.splitlines() if re.match(r"(\x1b\[\d*m)*20\d\d-", line)]
        assert len(began) == events
    for said in (
        "a name",
        "library: ",
        "log call failed",
        "UserWarning",
        "thread",
        "cannot be raised",
        "uncaught exception",
    ):
        assert said in told


def test_the_list_of_dead_letters_is_harmless() -> None:
    envelope = Envelope(1, EVIL, "", EVIL.encode("utf-8", "surrogatepass"))
    (lines,) = letter_lines([with_start(DeadLetter(1, Queue.INBOX, envelope, 1, EVIL, 0.0), "")])
    check(lines)
    assert len(lines.split("\n")) == 2


@pytest.mark.parametrize("name", ["handlers", "store"])
def test_the_beginning_of_a_load_test_is_harmless(capsys: pytest.CaptureFixture[str], name: str) -> None:
    from telegram.load.results import view

    view.introduce(Load(**{name: f"sqlite:{EVIL}[/bold]"}), sys.stdout)
    output = capsys.readouterr().out
    check(output, is_wrapped=True)
    assert "[/bold]" in output


def test_the_verdict_of_a_load_test_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    from telegram.load.results import view

    recording = RECORDING._replace(
        anomaly_kinds={"given up": 1},
        anomalies=(Anomaly("given up", 5, EVIL),),
        counts={"handled": 1, f"updates given up: {EVIL}": 1},
    )
    view.conclude(
        recording, Load(report=Path(EVIL.replace("\0", "").replace("\ud800", ""))), sys.stdout, complete=True
    )
    check(capsys.readouterr().out, is_wrapped=True)  # in the cell of a table


@pytest.mark.processes
async def test_a_name_through_a_bot_and_its_commands(tmp_path: Path) -> None:
    """A person with such a name, a handler that quotes it in its error, and the commands on what is left of it."""
    from telegram.fake import FakeServer

    (tmp_path / "quoting.py").write_text(
        "import logging, structlog\n"
        "from engine import Reject\n"
        "from telegram.dialogue import Router, text\n"
        "router = Router()\n"
        "@router.message(text)\n"
        "async def quote(ctx):\n"
        "    name = ctx.update.message.from_.first_name\n"
        "    structlog.get_logger().info(name, name=name)\n"
        "    logging.getLogger(name).warning(name)\n"
        "    raise Reject(f'cannot serve {name}') if 'reject' in ctx.text else ValueError(name)\n"
    )
    evil = EVIL.replace("\ud800", "")
    async with FakeServer() as server:
        settings = {
            "HANDLERS": "quoting:router",
            "LOG_FORMAT": "console",
            "LOG_TEXTS": "yes",
            "ATTEMPTS_MAX": "1",
        }
        bot = Service(tmp_path, server.url, server.token, **settings)
        await bot.spawn()
        server.world.push("message", message(evil, "reject"))
        server.world.push("message", message(evil, "fail"))
        async with bot:
            await server.wait_for_calls(2, "sendMessage", timeout_s=WITHIN_S)  # an apology for each
            assert (await bot.stop()).code == 0
        log = (tmp_path / "log").read_text()
        assert log.count("cannot serve A\\x1b[2J") == 1
        assert "Traceback" in log
        check(log)
        dead = await bot.command("dead")
        check(dead.out)
        assert len(dead.out.splitlines()) == 4
        assert "cannot serve A\\x1b[2J" in dead.out


def message(name: str, text: str) -> dict[str, object]:
    person = {"id": 5, "is_bot": False, "first_name": name}
    return {"message_id": 1, "date": 1, "chat": {**person, "type": "private"}, "from": person, "text": text}


FLOWS = """
from enum import Enum
from typing import Literal
from pydantic import BaseModel
from telegram.dialogue import MessageContext, Router, command
from telegram.dialogue.flows.flow import Flow

EVIL = {evil!a}
router = Router()
State = Enum("State", {{"ONE": EVIL}})

class Data(BaseModel):
    pass

flow = Flow(EVIL, State, Data)

@flow.entry.message(command("go"))
async def go(ctx: MessageContext, data: Data) -> Literal[State.ONE]:
    return State.ONE

router.include(flow)
"""


@pytest.mark.processes
async def test_names_of_flows_are_harmless(tmp_path: Path) -> None:
    """Names from a database, for example."""
    (tmp_path / "evil.py").write_text(FLOWS.format(evil=EVIL.replace("\ud800", "")))
    done = await command("flows", folder=tmp_path, HANDLERS="evil:router")
    assert (done.code, done.out.count("\n"), done.err.count("\n")) == (1, 2, 1)
    assert "no handler takes anything here" in done.err
    check(done.out)
    check(done.err)


@pytest.mark.processes
async def test_users_of_the_sandbox_are_harmless(tmp_path: Path) -> None:
    """A name, a text and a refused action in the sandbox's page, and a handler that fails with them."""
    (tmp_path / "failing.py").write_text(
        "import structlog\n"
        "from telegram.dialogue import Router, text\n"
        "router = Router()\n"
        "@router.message(text)\n"
        "async def fail(ctx):\n"
        "    structlog.get_logger().info(ctx.text, name=ctx.update.message.from_.first_name)\n"
        "    ctx.call('sendMessage', chat_id=5, text=ctx.text)\n"
        "    raise ValueError(ctx.text)\n"
    )
    settings = {
        "HANDLERS": "failing:router",
        "LOG_FORMAT": "console",
        "ATTEMPTS_MAX": "1",
        "SANDBOX_PORT": "0",
    }
    program = (str(ROOT / "run.py"), "sandbox")
    bot = Service(tmp_path, "http://127.0.0.1:1", "1000001:" + "x" * 30, None, program, **settings)
    await bot.spawn()
    async with bot, aiohttp.ClientSession() as http:
        url = await told_url(tmp_path / "log", bot)
        async with http.get(f"{url}key") as answer:
            key = await answer.text()
        evil = EVIL.replace("\ud800", "")
        async with http.ws_connect(f"{url}live?key={key}", origin=url.rstrip("/")) as page:
            await page.send_json({"do": "add_person", "name": evil[:60]})
            joined = await event_of(page, lambda event: event["type"] == "joined")
            user = joined["user"]["id"]
            await page.send_json({"do": evil})
            await event_of(page, lambda event: event["type"] == "refused")
            await page.send_json({"do": "say", "chat": user, "user": user, "text": evil})
            await event_of(
                page, lambda event: event["type"] == "message" and event["message"]["from"]["is_bot"]
            )
        assert (await bot.stop()).code == 0
        log = (tmp_path / "log").read_text()
        assert "A\\x1b[2J" in log
        check(log)


async def told_url(log: Path, bot: Service) -> str:
    while bot.is_running:
        if log.exists() and (found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())):
            return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError(log.read_text())


async def event_of(
    page: aiohttp.ClientWebSocketResponse, is_it: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    async with asyncio.timeout(WITHIN_S):
        while not is_it(event := await page.receive_json()):
            pass
    return event  # type: ignore[no-any-return]


@pytest.mark.processes
async def test_what_is_wrong_with_a_setting_is_harmless(tmp_path: Path) -> None:
    evil = EVIL.replace("\0", "").replace("\ud800", "")
    base = {"BOT_TOKEN": "1000001:" + "x" * 30}
    for arguments, settings in (
        ([], {"STORE_URL": evil}),
        ([], {"STORE_URL": f"sqlite:{evil}/x.db"}),
        ([], {"HANDLERS": f"{evil}:router"}),
        (["flows"], {"HANDLERS": f"{evil}:router"}),
        ([f"--{evil}"], {}),
        (["replay", evil], {}),
        (["load", "--handlers", f"{evil}:router"], {}),
        (["load", "--script", evil, "--handlers", "handlers:router"], {}),
        (["load", "--faults", evil], {}),
    ):
        done = await command(*arguments, folder=tmp_path, **{**base, **settings})
        check(done.err)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
