"""No text of a user is in the log, whatever fails: a marker is sent through every path that logs something."""

import re
from pathlib import Path

import pytest

from telegram.fake import FakeServer, Fault
from telegram.load.bot.service import Service
from telegram.service.log_texts import HIDDEN, hidden, texts_of

pytestmark = pytest.mark.processes

MARKER = "Wassermelonenkern"
HANDLERS = """
import asyncio, logging, warnings
from enum import Enum
import structlog
from pydantic import BaseModel
from engine import Park, Reject, Retry
from telegram.dialogue import CallbackContext, Flow, Invalid, MessageContext, Router, TimerContext, command, text
log = structlog.get_logger()
router = Router(attempts=2, backoff_s=0.01)

class Age(BaseModel):
    age: int

class Odd(Exception):
    def __str__(self):
        return f"odd {self.args}"

def raises(text, kind):
    if kind == "value": int(text)
    if kind == "pydantic": Age(age=text)
    if kind == "key": {}[text]
    if kind == "assert": assert not text, text
    if kind == "reject": raise Reject(f"refused: {text}")
    if kind == "retry": raise Retry(f"again: {text}")
    if kind == "odd": raise Odd(text, [text])
    if kind == "group": raise ExceptionGroup(text, [ValueError(text), KeyError(text)])
    if kind == "note":
        error = ValueError("x"); error.add_note(text); raise error
    if kind == "chain":
        try: int(text)
        except ValueError as error: raise RuntimeError("chained") from error
    if kind == "exit": raise SystemExit(text)
    if kind == "cancelled": raise asyncio.CancelledError(text)
    if kind == "log":
        log.warning(f"got {text}", text=text, parts=[text], of={"a": text})
        logging.getLogger("library").warning("it says %s", text)
        warnings.warn(text)
        log.exception("without an error")
    if kind == "syntax": compile(text + " (", "x", "exec")

@router.message(command("fail"))
async def fail(ctx: MessageContext) -> None:
    kind, _, rest = ctx.args.partition(" ")
    raises(rest, kind)
    ctx.reply(f"{kind} {rest}", parse_mode="HTML" if kind == "markup" else None)

@router.message(command("timer"))
async def timer(ctx: MessageContext) -> None:
    ctx.set_timer("later", 0.01, {"text": ctx.args})

@router.timer("later")
async def later(ctx: TimerContext) -> None:
    raises(ctx.payload["text"], "value")

@router.message(command("task"))
async def task(ctx: MessageContext) -> None:
    async def fails() -> None:
        raise ValueError(ctx.text)
    asyncio.create_task(fails())
    await asyncio.sleep(0.01)

@router.callback_query()
async def pressed(ctx: CallbackContext) -> None:
    raise ValueError(ctx.button)

@router.message(command("returns"))
async def returns(ctx: MessageContext) -> None:
    return ctx.text
"""
KINDS = re.findall(r'if kind == "(\w+)"', HANDLERS)
DONE = {"log", "markup"}
"""Those of KINDS that are not failures of the handler."""


async def said(folder: Path, **settings: str) -> str:
    """All that the bot has written while the marker went through everything that fails."""
    (folder / "failing.py").write_text(HANDLERS)
    async with (
        FakeServer() as fake,
        Service(
            folder, fake.url, fake.token, HANDLERS="failing:router", LOG_LEVEL="debug", **settings
        ) as bot,
    ):
        await bot.start()
        for chat, kind in enumerate([*KINDS, "markup", "plain"], 100):
            fake.world.send_message(chat, chat, f"/fail {kind} {MARKER}")
        fake.world.send_message(7, 7, f"<b>{MARKER}")  # no handler
        fake.world.send_message(8, 8, f"/timer {MARKER}")
        fake.world.send_message(9, 9, f"/task {MARKER}")
        fake.world.send_message(10, 10, f"/returns {MARKER}")
        fake.faults.add(
            Fault("status", code=400, description=f"Bad Request: can't parse {MARKER}", chat_id=11)
        )
        fake.world.send_message(11, 11, f"/fail plain {MARKER}")
        fake.faults.add(
            Fault("status", code=403, description="Forbidden: bot was blocked by the user", chat_id=12)
        )
        fake.world.send_message(12, 12, f"/fail plain {MARKER}")
        fake.faults.add(Fault("html", chat_id=13, times=2))
        fake.world.send_message(13, 13, f"/fail plain {MARKER}")
        failing = [chat for chat, kind in enumerate(KINDS, 100) if kind not in DONE]
        for chat in (*failing, 8, 11):
            await bot.logged("dead letter", key=f"chat:{chat}")
        await bot.logged("without an error")
        await bot.logged("a chat cannot be reached: calls to it are dropped", chat_id=12)
        await bot.soon(lambda: any("never retrieved" in line["event"] for line in bot.log()) or None)
        await bot.stop()
    return (folder / "log").read_text()


async def test_no_failure_writes_a_users_text(tmp_path: Path):
    written = await said(tmp_path)
    assert [line for line in written.splitlines() if MARKER in line] == []
    assert '"event": "dead letter"' in written
    assert f"invalid literal for int() with base 10: '{HIDDEN}'" in written
    assert re.search(r'"update_id": \d+, "attempt": \d, "fence": \d+', written)
    assert re.search(r'"timer_id": \d+', written)


async def test_texts_are_written_if_that_is_wanted(tmp_path: Path):
    written = await said(tmp_path, LOG_TEXTS="true")
    assert written.count(MARKER) > 20
    assert HIDDEN not in written


def test_texts_and_their_words_are_replaced():
    body = b'{"message":{"chat":{"type":"private","first_name":"Ada"},"text":"my secret word\\n12 x"}}'
    texts = texts_of(body)
    assert sorted(texts) == ["Ada", "my secret word\n12 x"]
    assert hidden("cannot read 'my secret word\\n12 x' of Ada, private", texts) == (
        f"cannot read 'my {HIDDEN} {HIDDEN}\\n12 x' of {HIDDEN}, private"
    )
    assert hidden("my secret word\n12 x", texts) == HIDDEN
    assert texts_of(b'sendMessage\n{"text":"hello"}') == ["hello"]
    assert texts_of(b"\xff no JSON") == ["\ufffd no JSON"]
    assert hidden("nothing to hide", []) == "nothing to hide"
