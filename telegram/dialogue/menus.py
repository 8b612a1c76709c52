"""The commands of a router as a menu: for /help, and for the lists that Telegram shows (setMyCommands).

Telegram shows the list of the narrowest scope that has one: in a private chat all_private_chats, in a group
all_chat_administrators (to administrators) and all_group_chats, else default (Telegram Bot API, BotCommandScope). So a scope's
list repeats the wider ones, and a scope without commands of its own has no list.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from telegram.botapi.shortcuts import part
from telegram.dialogue.commands import MenuLine, Shown
from telegram.dialogue.contexts import MessageContext
from telegram.dialogue.filters import command
from telegram.dialogue.kinds import routes_of
from telegram.dialogue.router import Router
from telegram.dialogue.routes import Route

LIST_MAX: Final = 100
"""Maximum number of commands in a list (Telegram Bot API, setMyCommands)."""

SCOPES: Final[dict[str, tuple[Shown, ...]]] = {
    "default": ("all",),
    "all_private_chats": ("all", "private"),
    "all_group_chats": ("all", "groups"),
    "all_chat_administrators": ("all", "groups", "admins"),
}
"""The scopes of lists, by their type at Telegram, and which commands each shows; the last decides whether it has a list."""


def menu_of(router: Router) -> list[MenuLine]:
    """Return the commands with a `help` text, in the order of registration, also those in the states of flows."""
    found: dict[tuple[str, Shown], MenuLine] = {}
    for entry, above in router.entries():
        for route in routes_of(entry, set()):
            if isinstance(route, Route):
                for line in _lines((*above, *route.filters, route.options.stop)):
                    found.setdefault((line.name, line.shown), line)
    return list(found.values())


def lists_of(menu: Sequence[MenuLine]) -> dict[str, list[MenuLine]]:
    """Return the list of each scope, [] for one without; ValueError if a list is longer than Telegram allows."""
    lists = {}
    for scope, shown in SCOPES.items():
        has_own = any(line.shown == shown[-1] for line in menu)
        by_name: dict[str, MenuLine] = {}
        for line in menu:
            if has_own and line.shown in shown:
                by_name.setdefault(line.name, line)
        if len(by_name) > LIST_MAX:
            raise ValueError(
                f"{len(by_name)} commands have a help= text, and a menu has at most {LIST_MAX} (scope {scope})"
            )
        lists[scope] = list(by_name.values())
    return lists


def help_command(router: Router, name: str = "help", *, help: str = "What I can do") -> Router:  # noqa: A002
    """Return a router that answers /help with the commands of `router`: `router.include(help_command(router))`.

    In a private chat those that are shown there; elsewhere those of groups, with those of administrators at the end.
    """
    made = Router()

    @made.message(command(name, help=help))
    async def answer_help(ctx: MessageContext) -> None:
        from telegram.text.split import split  # needed here only

        menu = menu_of(router)
        is_private = part(part(ctx.message, "chat"), "type") == "private"
        shown = SCOPES["all_private_chats" if is_private else "all_chat_administrators"]
        lines = [f"{line.usage} - {line.help}" for each in shown for line in menu if line.shown == each]
        for text, _ in split("\n".join(dict.fromkeys(lines))):
            ctx.reply(text)

    return made


def _lines(filters: Sequence[Any]) -> Iterator[MenuLine]:
    for each in filters:
        line = getattr(each, "menu", None)
        if isinstance(line, MenuLine):
            yield line
        yield from _lines(getattr(each, "_asked", ()))  # any_of
