"""Filters: plain functions of a Context that say whether a handler wants the update."""

from collections.abc import Callable
from typing import TypeAlias

from telegram.dialogue.context import Context

Filter: TypeAlias = Callable[[Context], bool]


def text(ctx: Context) -> bool:
    """Any text."""
    return bool(ctx.text)


def command(*names: str) -> Filter:
    """`command("start")` takes "/start", "/start args" and "/start@this_bot", but not a command for another bot."""
    if not names or any(not name or name.startswith("/") for name in names):
        raise ValueError(f"command() wants names without the slash, not {names!r}")
    wanted = frozenset(name.lower() for name in names)
    return lambda ctx: ctx.command in wanted


def data(value: str) -> Filter:
    """A button whose callback data is `value`."""
    return lambda ctx: ctx.button == value


def data_prefix(prefix: str) -> Filter:
    """A button whose callback data begins with `prefix`."""
    return lambda ctx: ctx.button is not None and ctx.button.startswith(prefix)


def kind(*kinds: str) -> Filter:
    """Updates of these kinds, named as in Telegram's Update: `kind("my_chat_member", "chat_member")`."""
    wanted = frozenset(kinds)
    return lambda ctx: ctx.kind in wanted
