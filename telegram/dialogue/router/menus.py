"""The commands of a router as a menu: for /help, and for the lists that Telegram shows (setMyCommands).

Telegram shows the list of the narrowest scope that has one: in a private chat all_private_chats, in a group
all_chat_administrators (to administrators) and all_group_chats, else default (Telegram Bot API, BotCommandScope). So a scope's
list repeats the wider ones, and a scope without commands of its own has no list.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from telegram.botapi.shortcuts import part
from telegram.dialogue.contexts.commands import MenuLine, Shown, check_help
from telegram.dialogue.contexts.updates import MessageContext
from telegram.dialogue.filters.builtin import command
from telegram.dialogue.filters.conditions import walk
from telegram.dialogue.languages.texts import Languages
from telegram.dialogue.router.kinds import routes_of
from telegram.dialogue.router.router import Router
from telegram.dialogue.routes.route import Route

Lists: TypeAlias = Mapping[tuple[str, str], Sequence[MenuLine]]
"""The commands by scope and language; [] for a scope and language without a list."""

LIST_MAX: Final = 100
"""Maximum number of commands in a list (Telegram Bot API, setMyCommands)."""

WHAT_I_CAN_DO: Final = "What I can do"

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
                for each in walk((*above, *route.filters, route.options.stop), negated=False):
                    if isinstance(line := getattr(each, "menu", None), MenuLine):
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


def translated(menu: Sequence[MenuLine], texts: Languages, language: str) -> list[MenuLine]:
    """Return the menu in a language; ValueError for a text that Telegram would refuse."""
    lines = []
    for line in menu:
        text = texts.translated(language, line.help) or line.help
        check_help(line.name, text)
        lines.append(line._replace(help=text))
    return lines


def menu_lists(router: Router) -> Lists:
    """Return the lists of a router by scope and language; {} for a router without help= texts.

    The language "" is for all users without a list of their own: a language has one only where it differs. Telegram knows
    languages by two letters (Telegram Bot API, setMyCommands). ValueError for what Telegram would refuse.
    """
    menu, texts = menu_of(router), router.texts()
    if not menu:
        return {}
    common = lists_of(translated(menu, texts, texts.default))
    found = {(scope, ""): lines for scope, lines in common.items()}
    for language in sorted(texts.languages - {texts.default}):
        if len(language) == 2:
            for scope, lines in lists_of(translated(menu, texts, language)).items():
                found[scope, language] = [] if lines == common[scope] else lines
    return found


def help_command(router: Router, name: str = "help", *, help: str = WHAT_I_CAN_DO) -> Router:  # noqa: A002
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
        lines = [
            f"{line.usage} - {ctx.said(line.help)}" for each in shown for line in menu if line.shown == each
        ]
        for text, _ in split("\n".join(dict.fromkeys(lines))):
            ctx.reply(text, parse_mode=None)

    return made
