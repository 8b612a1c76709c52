"""Parsing of commands, by the rules of Telegram's server, and their lines in menus."""

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, get_args

from telegram.botapi.types import MessageEntity

# What Telegram's server marks as a command (tdlib/td, MessageEntity.cpp, match_bot_commands): "/etc/passwd" is not one,
# and the full stop of "/cancel." is not part of it.
_NAME: Final = "[A-Za-z0-9_]{1,64}"
_COMMAND: Final = re.compile(rf"/({_NAME})(?:@([A-Za-z0-9_]{{3,32}}))?(?![\w/<>@])")
_PREFIXED: Final = re.compile(r"(\w{1,64})(?:@([A-Za-z0-9_]{3,32}))?(?![\w/<>@])")
_NOT_READ: Final = frozenset(("code", "pre", "text_link", "url", "mention", "hashtag", "cashtag", "email"))
_ATTACHED: Final = re.compile(r"[^\w\s]+(?=\s|\Z)")

Shown = Literal["all", "private", "groups", "admins"]
"""Where a menu shows a command: everywhere, in private chats, in groups, or in groups to administrators only."""

HELP_MAX: Final = 256
"""Maximum length of a command's description (Telegram Bot API, BotCommand)."""

_MENU_NAME: Final = re.compile(r"[a-z0-9_]{1,32}")  # Telegram Bot API, BotCommand: command


class MenuLine(NamedTuple):
    """A command in a menu; `usage` is it with its arguments, e.g. "/add <title>"."""

    name: str
    usage: str
    help: str
    shown: Shown


def menu_line(names: Sequence[str], text: str, shown: Shown) -> MenuLine:
    """Return the line of a command with these names; ValueError if Telegram would refuse it (BOT_COMMAND_INVALID)."""
    name = names[0].lower()
    if _MENU_NAME.fullmatch(name) is None:
        raise ValueError(
            f"/{name}: in a menu a command has 1 to 32 letters from a to z, digits and _, this has {len(name)}"
        )
    check_help(name, text)
    if shown not in get_args(Shown):
        raise ValueError(f"/{name}: shown= is one of {', '.join(get_args(Shown))}, not {shown!r}")
    return MenuLine(name, f"/{name}", text, shown)


def check_help(name: str, text: str) -> None:
    """Raise ValueError for a command's description that Telegram would refuse, or show cut off."""
    if not isinstance(text, str) or text != text.strip() or len(text.splitlines()) != 1:
        raise ValueError(f"/{name}: help= is one line of text, not {text!r}")
    if len(text) > HELP_MAX:
        raise ValueError(f"/{name}: help= has at most {HELP_MAX} characters, not {len(text)}")


def is_name(name: str, *, is_marked: bool = True) -> bool:
    """Whether Telegram's server would mark "/name" as a command, in whatever case; else (not `is_marked`) any word is one."""
    return re.fullmatch(_NAME if is_marked else r"\w{1,64}", name) is not None


def check_prefix(prefix: str) -> str:
    """Return the characters of a command's prefix other than "/". ValueError for letters, digits, spaces, "_", "@", or none."""
    if not prefix or any(each.isalnum() or each.isspace() or each in "_@" for each in prefix):
        raise ValueError(
            f"prefix is one or several characters like ! or . before a command's name, not {prefix!r}"
        )
    return "".join(dict.fromkeys(prefix.replace("/", "")))


def is_command(text: str, entities: Sequence[MessageEntity] | None) -> bool:
    """Return whether a text or caption with these entities begins with a command, for any bot.

    The server marks it as `bot_command`, in bold or a block quote too, but not in code, pre or a link (tdlib/td,
    MessageEntity.cpp, fix_entities, which removes it inside those). A text without entities, as in tests, is parsed by the
    server's rules.
    """
    if text[:1] != "/" or _COMMAND.match(text) is None:
        return False
    return not entities or any(each.offset == 0 and each.type == "bot_command" for each in entities)


def parse_command(text: str, username: str | None) -> tuple[str | None, str]:
    """Return the command in lower case and its arguments; None as the command if it addresses another bot than `username`.

    Punctuation directly after the command is not an argument: people write "/cancel." and "/help!".
    """
    return _parsed(_COMMAND.match(text), text, username)


def parse_prefixed(
    text: str, entities: Sequence[MessageEntity] | None, prefixes: str, username: str | None
) -> tuple[str | None, str]:
    """Return as `parse_command` the command of a text that begins with one of `prefixes`; not in code or a link."""
    if not text or text[0] not in prefixes:
        return None, ""
    if any(each.offset == 0 and each.type in _NOT_READ for each in entities or ()):
        return None, ""
    return _parsed(_PREFIXED.match(text, 1), text, username)


def _parsed(found: re.Match[str] | None, text: str, username: str | None) -> tuple[str | None, str]:
    if found is None:
        return None, ""
    name, addressee = found.groups()
    if addressee and username and addressee.lower() != username.lower():
        return None, ""
    attached = _ATTACHED.match(text, found.end())
    return name.lower(), text[attached.end() if attached else found.end() :].strip()
