"""Logging: structured events, one line each, to stderr.

The bot's token, and by default users' texts, are redacted from every line, and control characters in users' texts are escaped (botapi/printable.py).
Python's warnings and uncaught exceptions are logged the same way.
"""

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from traceback import TracebackException
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from engine import Delivery, Queue, current_delivery
from telegram.botapi.errors import redact
from telegram.botapi.printable import printable, printable_json
from telegram.service.log_texts import HIDDEN, hidden, texts_of

log = structlog.get_logger(__name__)

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]
Hide = Callable[[str], str]

_OURS: Final = frozenset({
    "key", "lane", "queue", "id", "update_id", "timer_id", "call_id", "attempt", "fence", "trace_id", "level", "timestamp", "logger",
    "worker", "at", "handler", "method", "_record", "_from_structlog",
})  # fmt: skip
"""Fields that contain no text of users."""

_EVENTS: Final = frozenset({
    "handler failed", "dead letter", "a delivery could not be settled", "lease lost", "handler ignores its cancellation",
    "the calls to send at a failure could not be made", "a call came too late and is dropped",
})  # fmt: skip
"""Events that a user's words must not make unrecognizable."""


def set_up_logging(
    level: LogLevel,
    format_: LogFormat,
    token: str,
    *,
    texts: bool = False,
    trace_id: Callable[[Delivery], str] | None = None,
    process: int | None = None,
) -> None:
    """Configure structlog, the standard `logging` (from "warning" on) and Python's warnings for the same output.

    `texts`: whether texts of users are written (telegram/service/log_texts.py). `trace_id` returns the id of a delivery's
    trace, for the lines about it; None: there are no traces. `process`: the number of this one of several.
    """
    hide = _unchanged if texts else _hide
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *([] if process is None else [partial(_add_process, process)]),
        _add_delivery,
        *([] if trace_id is None else [partial(_add_trace, trace_id)]),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        *([] if texts else [_hide_texts]),
    ]
    render: Processor
    if format_ == "json":
        shared.append(structlog.processors.ExceptionRenderer(partial(_traceback, hide)))
        render = _json
    else:
        render = _console(hide, colors=sys.stderr.isatty())
    redacted = _redacting(render, token)
    structlog.configure(
        processors=[*shared, redacted],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _ErrorStream(),
        cache_logger_on_first_use=True,
    )
    handler = _LibrariesHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(redacted, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


class ErrorTexts:
    """Texts and tracebacks as they are in the log, for other places: without the token, and by default users' texts.

    Those of the delivery that the current code works on (engine/current.py) are meant.
    """

    def __init__(self, token: str, *, texts: bool = False) -> None:
        self._token = token
        self._hide = _unchanged if texts else _hide

    def line(self, text: str) -> str:
        """Return a text as one printable line."""
        return printable(redact(self._hide(text), self._token))

    def trace(self, error: BaseException) -> str:
        """Return the traceback of an error."""
        return redact(_traceback(self._hide, (type(error), error, error.__traceback__)), self._token)


def log_what_nobody_catches() -> None:
    """Log uncaught exceptions of the program, of threads and of destructors; Python's own report may quote the token."""

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        if not structlog.is_configured():  # else structlog prints variables, among them the token
            set_up_logging("info", "console", "")
        log.critical("uncaught exception", exc_info=(kind, error, trace))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            name = args.thread.name if args.thread else ""
            exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("a thread has ended with an error", thread=name, exc_info=exc_info)

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("an error that cannot be raised", what=args.err_msg or "", exc_info=exc_info)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, of_thread, unraisable


class _LibrariesHandler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its base's name
        """Report a log call that failed, without its arguments: they may be secrets, and the base class prints them."""
        log.error(
            "a library's log call failed", logger=record.name, where=f"{record.pathname}:{record.lineno}"
        )


class _ErrorStream:
    """Writes to stderr. A line that cannot be written is lost without an error: a full disk, a closed pipe, or a
    sys.stderr that a handler has replaced or removed.
    """

    def msg(self, line: str) -> None:
        with suppress(Exception):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


def _add_process(number: int, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.setdefault("process", number)
    return event


def _add_delivery(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add the lane (key), the update, timer or call, the attempt and the fence of the running delivery to an event."""
    if (delivery := current_delivery.get()) is not None:
        event.setdefault("key", delivery.lease.key)
        if delivery.lease.queue is Queue.OUTBOX:
            event.setdefault("call_id", delivery.envelope.id)
        elif delivery.envelope.is_timer:
            event.setdefault("timer_id", delivery.envelope.id)
        else:
            event.setdefault("update_id", delivery.envelope.id)
        event.setdefault("attempt", delivery.attempt)
        event.setdefault("fence", delivery.lease.fence)
    return event


def _add_trace(trace_id: Callable[[Delivery], str], _: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add the id of its trace to an event about a delivery."""
    if (delivery := current_delivery.get()) is not None:
        event.setdefault("trace_id", trace_id(delivery))
    return event


def _hide_texts(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hide the texts of the running delivery in an event's values; in the event itself if it is not one of ours."""
    record = event.get("_record")
    if (
        record is not None and record.name == "asyncio"
    ):  # about a task that has failed: its delivery is unknown
        event["event"] = str(event["event"]).partition(" exception=")[0]
        if exc_info := event.pop("exc_info", None):
            event["exception"] = _traceback(lambda _: HIDDEN, exc_info)
    elif current_delivery.get() is not None:
        for name, value in event.items():
            if name in _OURS or isinstance(value, int | float | None):
                continue
            if name != "exc_info" and not (isinstance(value, str) and value in _EVENTS):
                event[name] = _hide(value if isinstance(value, str) else repr(value))
    return event


def _hide(text: str) -> str:
    delivery = current_delivery.get()
    return text if delivery is None else hidden(text, texts_of(delivery.envelope.body))


def _unchanged(text: str) -> str:
    return text


def _redacting(render: Processor, token: str) -> Callable[[WrappedLogger, str, EventDict], Any]:
    def rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
        text = redact(str(render(logger, name, event)), token)
        return text.encode("utf-8", "backslashreplace").decode()  # also in the keys of the event

    return rendered


_to_json = structlog.processors.JSONRenderer(ensure_ascii=False, default=repr)


def _json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    return printable_json(str(_to_json(logger, name, event)))


def _console(hide: Hide, *, colors: bool) -> structlog.dev.ConsoleRenderer:
    """Return a console renderer that escapes line ends and ANSI sequences in values."""
    # Not structlog's rich traceback: it prints variables, which may be secrets.
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=partial(_write_traceback, hide)
    )
    for column in renderer.columns:
        if isinstance(formatter := column.formatter, structlog.dev.KeyValueColumnFormatter):
            formatter.value_repr = partial(_printable_value, formatter.value_repr)
    return renderer


def _printable_value(shown: Callable[[object], str], value: object) -> str:
    return printable(shown(value))


def _write_traceback(hide: Hide, out: TextIO, exc_info: ExcInfo) -> None:
    out.write("\n" + _traceback(hide, exc_info))


def _traceback(hide: Hide, exc_info: ExcInfo) -> str:
    """Return a traceback in which each exception's text, which may quote a user, is one printable line."""
    kind, error, trace = exc_info
    found = TracebackException(kind, error, trace, compact=True)
    _make_printable(found, set(), hide)
    lines = "".join(found.format()).rstrip("\n").split("\n")
    return "\n".join(map(printable, lines))


def _make_printable(found: TracebackException, seen: set[int], hide: Hide) -> None:
    if id(found) in seen:
        return
    seen.add(id(found))
    parts = vars(found)
    for name in ("_str", "msg", "text"):  # of a SyntaxError: msg, text
        if isinstance(parts.get(name), str):
            parts[name] = printable(hide(parts[name]))
    notes = parts.get("__notes__")
    if isinstance(notes, list | tuple):
        parts["__notes__"] = [printable(hide(note)) if isinstance(note, str) else note for note in notes]
    elif isinstance(notes, str):
        parts["__notes__"] = printable(hide(notes))
    for other in (found.__cause__, found.__context__, *(parts.get("exceptions") or ())):
        if other is not None:
            _make_printable(other, seen, hide)
