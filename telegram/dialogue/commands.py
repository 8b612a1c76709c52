"""Commands as people write them, and as Telegram's server marks them."""

import re
from collections.abc import Sequence
from typing import Final

from telegram.botapi.types import MessageEntity

# What Telegram's server marks as a command (tdlib/td, MessageEntity.cpp, match_bot_commands): "/etc/passwd" is none, and
# of "/cancel." the full stop does not belong to it.
_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{3,32}))?(?![\w/<>@])")
_ATTACHED: Final = re.compile(r"[^\w\s]+(?=\s|\Z)")


def is_name(name: str) -> bool:
    """Whether Telegram's server would mark "/name" as a command, in whatever case."""
    return re.fullmatch("[A-Za-z0-9_]{1,64}", name) is not None


def is_command(text: str, entities: Sequence[MessageEntity] | None) -> bool:
    """Whether a text or caption with these entities begins with a command, for whatever bot.

    The server marks it as `bot_command`, but not in code, pre or a link (tdlib/td, MessageEntity.cpp, fix_entities, which
    drops what it finds inside those); in bold or in a block quote it does. A text without any entity, as tests write it,
    is read by the server's rules.
    """
    if text[:1] != "/" or _COMMAND.match(text) is None:
        return False
    return not entities or any(each.offset == 0 and each.type == "bot_command" for each in entities)


def parse_command(text: str, username: str | None) -> tuple[str | None, str]:
    """The command in lower case and its args; no command if it names another bot than `username`.

    Punctuation that ends the command's word is no argument: people write "/cancel." and "/help!".
    """
    found = _COMMAND.match(text)
    if found is None:
        return None, ""
    name, addressee = found.groups()
    if addressee and username and addressee.lower() != username.lower():
        return None, ""
    attached = _ATTACHED.match(text, found.end())
    return name.lower(), text[attached.end() if attached else found.end() :].strip()
