"""Rendering formatted text as HTML and MarkdownV2, and escaping for both (Telegram Bot API, Formatting options).

For text from telegram/text/build.py prefer `entities`. Markup is for templates and for displaying received text.
"""

import html
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from telegram.text.build import Text
from telegram.text.spans import CODES, QUOTES, Span, render, spans

_TAGS: Final = {
    "bold": "b",
    "italic": "i",
    "underline": "u",
    "strikethrough": "s",
    "spoiler": "tg-spoiler",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "expandable_blockquote": "blockquote",
    "text_link": "a",
    "text_mention": "a",
    "custom_emoji": "tg-emoji",
    "date_time": "tg-time",
}
_MARKS: Final = {
    "bold": "*",
    "italic": "_",
    "underline": "__",
    "strikethrough": "~",
    "spoiler": "||",
    "code": "`",
    "pre": "```",
}
_ESCAPES: Final = {
    inside: str.maketrans({character: "\\" + character for character in reserved})
    for inside, reserved in {None: r"\_*[]()~`>#+-=|{}.!", "code": r"\`", "link": r"\)"}.items()
}


def escape_html(text: str) -> str:
    """Escape text for parse_mode HTML, also inside a quoted attribute."""
    return html.escape(text)


def escape_markdown(text: str, inside: Literal["code", "link"] | None = None) -> str:
    """Escape text for parse_mode MarkdownV2; `inside`: "code" (also pre), or "link" for the URL of a link or custom emoji."""
    return text.translate(_ESCAPES[inside])


def to_html(text: str | Text, entities: Iterable[Mapping[str, Any]] = ()) -> str:
    """Render for parse_mode HTML; parsing the result gives the same text. ValueError for a Text and entities together."""
    whole = as_text(text, entities)
    return render(whole.text, spans(whole.text, whole.marks), _Html())


def to_markdown(text: str | Text, entities: Iterable[Mapping[str, Any]] = ()) -> str:
    """Render for parse_mode MarkdownV2; parsing the result gives the same text, with two exceptions: a quotation that
    begins or ends inside a line gets a line break there, and the line break after a quotation has no formatting.
    A language with white space or a backtick is omitted. ValueError for a Text and entities together.
    """
    whole = as_text(text, entities)
    lines = _whole_lines(whole.text, spans(whole.text, whole.marks))
    return render(whole.text, lines, _Markdown(whole.text))


def as_text(text: str | Text, entities: Iterable[Mapping[str, Any]]) -> Text:
    """Return a Text from either a Text or a string with entities; ValueError for a Text and entities together."""
    if not isinstance(text, Text):
        return Text.of(text, entities)
    if list(entities):
        raise ValueError("a Text has its own entities")
    return text


class _Html:
    def begin(self, span: Span) -> str:
        entity = span.entity
        tag = _TAGS[span.kind]
        if span.kind in ("text_link", "text_mention"):
            return f'<a href="{escape_html(_address(span))}">'
        if span.kind == "custom_emoji":
            return f'<{tag} emoji-id="{escape_html(entity["custom_emoji_id"])}">'
        if span.kind == "date_time":
            form = entity.get("date_time_format")
            return f'<{tag} unix="{entity["unix_time"]}"' + (
                f' format="{escape_html(form)}">' if form else ">"
            )
        if span.kind == "pre" and entity.get("language"):
            return f'<pre><code class="language-{escape_html(entity["language"])}">'
        return f"<{tag} expandable>" if span.kind == "expandable_blockquote" else f"<{tag}>"

    def finish(self, span: Span) -> str:
        code = "</code>" if span.kind == "pre" and span.entity.get("language") else ""
        return f"{code}</{_TAGS[span.kind]}>"

    def text(self, piece: str, within: list[Span]) -> str:
        del within
        return html.escape(piece, quote=False)


class _Markdown:
    def __init__(self, text: str) -> None:
        self._text = text
        self._line_begins = True  # for the parser: a line break inside code does not begin a line
        self._quoted = False
        self._after_italic = False

    def begin(self, span: Span) -> str:
        if span.kind in QUOTES:
            # The empty bold separates it from a quotation that ends on the line before.
            mark = ("" if self._line_begins else "\n") + ("**>" if self._quoted else ">")
            self._quoted = True
            return self._mark(mark)
        if span.kind == "pre":
            language = span.entity.get("language", "")
            usable = not any(sign.isspace() or sign in "`\0" for sign in language)
            return self._mark(f"```{language if usable else ''}\n")
        if span.kind in _MARKS:
            return self._mark(_MARKS[span.kind])
        return self._mark("![" if span.kind in ("custom_emoji", "date_time") else "[")

    def finish(self, span: Span) -> str:
        if span.kind in QUOTES:
            self._line_begins = self._text[span.end : span.end + 1] not in ("", "\n")
            expandable = "||" if span.kind == "expandable_blockquote" else ""
            return self._mark(expandable + ("\n" if self._line_begins else ""))
        if span.kind in _MARKS:
            return self._mark(_MARKS[span.kind])
        return self._mark(f"]({escape_markdown(_address(span), 'link')})")

    def text(self, piece: str, within: list[Span]) -> str:
        self._after_italic = False
        code = any(span.kind in CODES for span in within)
        self._line_begins = piece.endswith("\n") and not code
        if code:
            return escape_markdown(piece, "code")
        escaped = escape_markdown(piece)
        return escaped.replace("\n", "\n>") if within and within[0].kind in QUOTES else escaped

    def _mark(self, mark: str) -> str:
        # The parser reads underscores greedily, two at a time: an empty bold separates those of different marks.
        apart = "**" if self._after_italic and mark.startswith("_") else ""
        self._after_italic = mark == "_"
        return apart + mark


def _address(span: Span) -> str:
    entity = span.entity
    if span.kind == "text_mention":
        return f"tg://user?id={entity['user']['id']}"
    if span.kind == "custom_emoji":
        return f"tg://emoji?id={entity['custom_emoji_id']}"
    if span.kind == "date_time":
        form = entity.get("date_time_format")
        return f"tg://time?unix={entity['unix_time']}" + (f"&format={form}" if form else "")
    return str(entity["url"])


def _whole_lines(text: str, found: list[Span]) -> list[Span]:
    """Cut the last line break off each quotation and put a "gap" over it: MarkdownV2 allows no formatting there."""
    lines: list[Span] = []
    for span in found:
        if span.kind not in QUOTES:
            lines.append(span)
            continue
        end = span.end - (text[span.end - 1] == "\n")
        lines.append(span._replace(end=end))
        if text[end : end + 1] == "\n":
            lines.append(Span(end, end + 1, "gap", {}))
    return sorted(lines, key=lambda span: span.start)
