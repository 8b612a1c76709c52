"""Logging: events as data, one line each, to stderr; the bot's token is struck out of everything that is written."""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from engine import current_delivery
from telegram.errors import redact

log = structlog.get_logger(__name__)

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]


def set_up_logging(level: LogLevel, format_: LogFormat, token: str) -> None:
    """Send our own events and those of the libraries the same way."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_delivery,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    render: Processor
    if format_ == "json":
        shared.append(structlog.processors.format_exc_info)
        render = structlog.processors.JSONRenderer(ensure_ascii=False, default=repr)
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the rich one prints variables, so: secrets
        )
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


class _LibrariesHandler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its base's name
        """Tell of a log call that failed; logging's own report quotes the arguments, so: secrets."""
        log.error(
            "a library's log call failed", logger=record.name, where=f"{record.pathname}:{record.lineno}"
        )


class _ErrorStream:
    """Writes to stderr. What cannot be written is lost, and that is no reason to stop: a full disk, a closed pipe, and
    whatever a handler has put in the place of sys.stderr, or left of it.
    """

    def msg(self, line: str) -> None:
        with suppress(Exception):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


def _add_delivery(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Say which delivery a handler's event belongs to."""
    if (delivery := current_delivery.get()) is not None:
        event.setdefault("key", delivery.lease.key)
        event.setdefault("update_id", delivery.envelope.id)
        event.setdefault("attempt", delivery.attempt)
    return event


def _redacting(render: Processor, token: str) -> Callable[[WrappedLogger, str, EventDict], Any]:
    def rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
        text = str(render(logger, name, event))
        # A terminal or a log collector must get every line, also one with a lone surrogate from a user's text.
        return redact(text, token).encode("utf-8", "backslashreplace").decode()

    return rendered
