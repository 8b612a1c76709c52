"""The text of markup that cannot be parsed, as a person reads it.

Telegram refuses such a text as a whole, and it has no certain structure, so only what is no reader's text is removed: the tags
that Telegram knows, and escapes. The address of a link follows its text. All other characters stay, also "<" and the signs of
Markdown, which may be meant: 5 < 6, snake_case.
"""

import html
import re
from typing import Final

# Telegram Bot API, Formatting options. A quoted value has no "<" here, so the search is linear.
_TAG: Final = re.compile(
    r"<(/?)(?:(a)|b|strong|i|em|u|ins|s|strike|del|span|tg-spoiler|tg-emoji|tg-time|code|pre|blockquote)"
    r"((?:\s(?:\"[^\"<]*\"|'[^'<]*'|[^<>\"'])*)?)>",
    re.IGNORECASE,
)
_HREF: Final = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""", re.IGNORECASE)
_ENTITY: Final = re.compile(r"&(?:lt|gt|amp|quot|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")  # any ASCII punctuation may be escaped


def plain(text: str, parse_mode: str, *, links: bool = True) -> str:
    """Return the text of markup for this parse mode; `links=False`: without the addresses of links.

    Of MarkdownV2 the backslashes of escapes are removed; legacy Markdown is returned as it is.
    """
    mode = parse_mode.lower()
    if mode == "html":
        return _ENTITY.sub(lambda found: html.unescape(found[0]), _without_tags(text, links=links))
    return _ESCAPED.sub(r"\1", text) if mode == "markdownv2" else text


def _without_tags(text: str, *, links: bool) -> str:
    opened: list[str] = []

    def replaced(tag: re.Match[str]) -> str:
        closes, link, attributes = tag.groups()
        if not link:
            return ""
        if not closes:
            address = _HREF.search(attributes)
            opened.append(next(filter(None, address.groups()), "") if address else "")
            return ""
        address_ = opened.pop() if opened else ""
        return f" ({address_})" if links and address_ else ""

    return _TAG.sub(replaced, text)
