"""BOT_TOKEN with the tokens of several bots: each is run by processes of its own (processes.py), and has a store of its own."""

import re
from typing import Final

BOT: Final = "{bot}"
"""Stands in STORE_URL for the number of the bot, the part of its token before the colon."""

_TOKEN: Final = re.compile(r"[0-9]{1,19}:[A-Za-z0-9_-]+")


def read_tokens(text: str) -> list[str]:
    """Return the tokens of "1:AbC,2:DeF"; one alone as it is. ValueError, one line, for several of which one is no token."""
    tokens = [each.strip() for each in text.split(",")]
    if len(tokens) == 1:
        return [text]
    if not all(_TOKEN.fullmatch(each) for each in tokens):
        raise ValueError(
            "tokens of several bots are separated by commas, and each looks like 123456789:AbCdEf, as @BotFather gives it"
        )
    if len({number_of(each) for each in tokens}) < len(tokens):
        raise ValueError("a bot occurs twice")
    return tokens


def number_of(token: str) -> str:
    """Return the number of a bot."""
    return token.partition(":")[0]


def store_of(url: str, token: str) -> str:
    """Return the address of a bot's store."""
    return url.replace(BOT, number_of(token))


def check_stores(url: str) -> None:
    """Raise ValueError, one line, for an address at which several bots cannot have their stores."""
    if url.startswith("sqlite:") and BOT not in url:
        raise ValueError(
            "STORE_URL: each of several bots has a file of its own: write {bot} for its number, "
            "as in sqlite:chatlane-{bot}.db, or use postgres://..."
        )
