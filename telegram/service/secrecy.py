"""Secrets outside the bot's process: the settings file, and command lines in reports."""

import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from telegram.botapi.errors import redact

log = structlog.get_logger(__name__)

_SECRET: Final = re.compile(r"--(?!without-)[a-z-]*(?:token|secret|proxy)", re.IGNORECASE)
"""Flags whose value is a secret."""


def warn_of_readable_settings(path: Path) -> None:
    """Warn if other users can read the token in this file, or write to it: settings name code to run."""
    with suppress(OSError):
        mode = path.stat().st_mode
        if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP) and b"BOT_TOKEN" in path.read_bytes().upper():
            log.warning(
                ".env can be read or written by others: chmod 600 .env", mode=f"{stat.S_IMODE(mode):o}"
            )


def without_password(text: str) -> str:
    """Return a text with user and password removed from URLs in it (RFC 3986, userinfo), also if they contain a slash."""
    return re.sub(r"//\S*@", "//***@", text)


def without_secrets(argument: str, token: str) -> str:
    """Return a command-line argument for a report: without the token, other tokens and passwords in URLs."""
    flag, equals, _ = argument.partition("=")
    if equals and _SECRET.fullmatch(flag):
        return f"{flag}=***"
    if token:
        argument = argument.replace(token, "***")
    return without_password(redact(argument, token))


def shown_arguments(arguments: Iterable[str], token: str) -> list[str]:
    """Return command-line arguments for a report, without their secrets: also that which follows a flag."""
    shown = []
    is_secret = False
    for argument in arguments:
        shown.append("***" if is_secret else without_secrets(argument, token))
        is_secret = _SECRET.fullmatch(argument) is not None
    return shown
