"""What is written: one line an event, with the delivery it belongs to, and never the token."""

import json
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import structlog

from telegram.service import logs
from tests.kit.bounds import WITHIN_S

SCRIPT = """
import asyncio, logging, structlog
from engine import Delivery, Envelope, Lease, Queue, current_delivery
from telegram.service.logs import set_up_logging
TOKEN = "123456789:AAabcdefghijklmnopqrstuvwxyz012345"
set_up_logging("info", {format_!r}, TOKEN)
log = structlog.get_logger("x")
log.info("plain", url=f"https://api.telegram.org/bot{{TOKEN}}/getMe")
log.debug("not wanted")
envelope = Envelope(77, "chat:1", "", b'{{"text":"Wassermelone"}}')
current_delivery.set(Delivery(Lease(Queue.INBOX, "chat:1", 1), envelope, 2, None))
try:
    raise ValueError(f"leak {{TOKEN}} of a Wassermelone")
except ValueError:
    log.exception("failed", text="lone \\ud800 surrogate")
logging.getLogger("aiohttp").warning("library says %s", TOKEN)
logging.getLogger("aiohttp").info("not wanted")
"""


@pytest.mark.parametrize("format_", ["json", "console"])
def test_events_are_written_without_the_token(format_):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(format_=format_)],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=True,
    )
    assert done.stdout == ""
    assert "AAabcdef" not in done.stderr
    assert "not wanted" not in done.stderr
    assert "Wassermelone" not in done.stderr
    assert "of a [...]" in done.stderr
    assert "library says 123456789:***" in done.stderr
    assert "Traceback" in done.stderr
    if format_ == "json":
        plain, failed, library = map(json.loads, done.stderr.splitlines())
        assert plain["url"] == "https://api.telegram.org/bot123456789:***/getMe" or "***" in plain["url"]
        bound = {name: failed[name] for name in ("key", "update_id", "attempt", "fence", "level")}
        assert bound == {"key": "chat:1", "update_id": 77, "attempt": 2, "fence": 1, "level": "error"}
        assert library["level"] == "warning"


def test_a_line_about_a_delivery_names_its_trace():
    script = SCRIPT.format(format_="json").replace(
        "TOKEN)\n", "TOKEN, trace_id=lambda of: f'trace of {of.envelope.id}')\n", 1
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=WITHIN_S, check=True
    )
    plain, failed, library = map(json.loads, done.stderr.splitlines())
    assert failed["trace_id"] == library["trace_id"] == "trace of 77"
    assert "trace_id" not in plain


@pytest.mark.parametrize("harm", ["sys.stderr.close()", "sys.stderr = None", "sys.stderr = object()"])
def test_what_is_left_of_stderr_is_no_reason_to_stop(harm):
    script = f"""
import logging, sys, structlog
from telegram.service.logs import set_up_logging
set_up_logging("info", "json", "")
{harm}
structlog.get_logger("x").error("nowhere to write to")
logging.getLogger("aiohttp").warning("the same of a library")
print("goes on")
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.stdout == "goes on\n"


def test_an_error_before_the_log_is_set_up_shows_no_variables(monkeypatch):
    """structlog's own rendering prints the variables of each frame: the token of the command line is among them."""
    set_up = []
    for name in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logs, "set_up_logging", lambda *given: set_up.append(given))
    monkeypatch.setattr(logs, "log", SimpleNamespace(critical=lambda *_, **__: set_up.append("logged")))
    logs.log_what_nobody_catches()
    monkeypatch.setattr(structlog, "is_configured", lambda: False)
    sys.excepthook(ValueError, ValueError("x"), None)
    monkeypatch.setattr(structlog, "is_configured", lambda: True)
    sys.excepthook(ValueError, ValueError("x"), None)
    assert set_up == [("info", "console", ""), "logged", "logged"]
