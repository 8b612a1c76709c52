"""Parsers for parse_mode MarkdownV2 and Markdown, with the error texts of the server.

The rules are those of tdlib/td, MessageEntity.cpp (parse_markdown_v2, parse_markdown); documented in Telegram Bot API,
"Formatting options". Offsets in errors are bytes of the UTF-8 text, those of entities UTF-16 code units.
"""

from typing import Final, NamedTuple

from telegram.fake.protocol.answers import ApiError, Json, bad_request

from .addresses import emoji_or_moment, link
from .entities import in_order

_RESERVED: Final = frozenset(b"_*[]()~`>#+-=|{}.!\n")
_RESERVED_IN_CODE: Final = frozenset(b"`")
_SPACES: Final = b" \t\r\n\0\v"
_BACKSLASH, _NEWLINE, _RETURN, _GREATER = b"\\\n\r>"
_ESCAPABLE_MAX: Final = 126
_LEGACY: Final = frozenset(b"_*`[")
_LEGACY_TYPES: Final = {ord("_"): "italic", ord("*"): "bold"}


class _Kind(NamedTuple):
    """A kind of entity: its type in the Bot API, its name in errors, and its opening and closing mark."""

    type: str
    name: str
    opens: bytes
    closes: bytes


# The first kind with a matching mark is used, so longer marks come first.
_KINDS: Final = (
    _Kind("underline", "Underline", b"__", b"__"),
    _Kind("italic", "Italic", b"_", b"_"),
    _Kind("bold", "Bold", b"*", b"*"),
    _Kind("strikethrough", "Strikethrough", b"~", b"~"),
    _Kind("spoiler", "Spoiler", b"||", b"||"),
    _Kind("text_link", "TextUrl", b"[", b"]"),
    _Kind("pre", "Pre", b"```", b"```"),
    _Kind("code", "Code", b"`", b"`"),
    _Kind("custom_emoji", "CustomEmoji", b"![", b"]"),
)
_QUOTE: Final = _Kind("blockquote", "BlockQuote", b">", b"\n")
_CODES: Final = frozenset({"pre", "code"})


class _Open(NamedTuple):
    kind: _Kind
    language: str
    units: int
    at: int
    out: int  # bytes of the output before it


def parse_markdown_v2(source: str) -> tuple[str, list[Json]]:
    """Split a text with parse_mode=MarkdownV2 into text and entities; ApiError "can't parse entities" with the server's text."""
    return _MarkdownV2(source).parse()


def parse_markdown(source: str) -> tuple[str, list[Json]]:
    """Like parse_markdown_v2 for the older parse_mode=Markdown, in which entities cannot be nested."""
    return _Markdown(source).parse()


class _Reader:
    """The bytes of a text, the position in them, and the output so far."""

    def __init__(self, source: str) -> None:
        whole = source.encode(errors="surrogatepass")
        self.end = len(whole)
        self.data = whole + b"\0\0\0"  # look-ahead needs no bounds check
        self.at = 0
        self.out = bytearray()
        self.units = 0
        self.entities: list[Json] = []

    def put(self, byte: int) -> bool:
        """Append a byte to the output; return whether it begins a character."""
        self.out.append(byte)
        begins = byte & 0xC0 != 0x80
        if begins:
            self.units += 2 if byte >= 0xF0 else 1
        return begins

    def text(self) -> str:
        """Return the output."""
        return self.out.decode(errors="surrogatepass")

    def sees(self, mark: bytes) -> bool:
        """Whether `mark` is at the current position."""
        return self.data.startswith(mark, self.at) and self.at < self.end

    def add(self, units: int, entity: Json) -> None:
        """Add an entity from `units` to the end of the output."""
        self.entities.append({"offset": units, "length": self.units - units, **entity})

    def language(self) -> str:
        """Read the language of a code block and the line break after it; both may be absent."""
        stop = self.at
        while self.data[stop] not in _SPACES and self.data[stop] != ord("`"):
            stop += 1
        found = ""
        if self.at < stop < self.end and self.data[stop] != ord("`"):
            found = self.data[self.at : stop].decode(errors="surrogatepass")
            self.at = stop
        if self.data[self.at] in b"\r\n":
            first, second = self.data[self.at : self.at + 2]
            self.at += 2 if second in b"\r\n" and first != second else 1
        return found


class _MarkdownV2(_Reader):
    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._open: list[_Open] = []
        self._quotes = False  # inside a block quotation
        self._line_begins = True  # a quotation may begin here

    def parse(self) -> tuple[str, list[Json]]:
        while self.at < self.end:
            byte, after = self.data[self.at], self.data[self.at + 1]
            if byte == _BACKSLASH and 0 < after <= _ESCAPABLE_MAX:
                self.put(after)
                if after != _RETURN:
                    self._line_begins = after == _NEWLINE
                self.at += 2
            elif byte not in self._reserved():
                if self.put(byte) and byte != _RETURN:
                    self._line_begins = False
                self.at += 1
            elif self._ends():
                self._close()
            else:
                self._begin()
        self._finish()
        return self.text(), in_order(self.entities)

    def _reserved(self) -> frozenset[int]:
        in_code = self._open and self._open[-1].kind.type in _CODES
        return _RESERVED_IN_CODE if in_code else _RESERVED

    def _ends(self) -> bool:
        if not self._open:
            return False
        if self._quotes and self.sees(b"\n") and self.data[self.at + 1] != _GREATER:
            return True
        kind = self._open[-1].kind
        if kind is _QUOTE or not self.sees(kind.closes):
            return False
        return kind.type != "italic" or not self.sees(b"__")

    def _begin(self) -> None:
        if self.sees(b"\n"):
            self.put(_NEWLINE)
            self.at += 1
            self._line_begins = True
            return
        kind = next((kind for kind in (*_KINDS, _QUOTE) if self.sees(kind.opens)), None)
        if kind is None or (kind is _QUOTE and not self._line_begins):
            sign = chr(self.data[self.at])
            raise _refusal(f"Character '{sign}' is reserved and must be escaped with the preceding '\\'")
        begun = self.at
        self.at += len(kind.opens)
        if kind is _QUOTE and self._quotes:
            return  # the next line of the same quotation
        self._quotes = self._quotes or kind is _QUOTE
        language = self.language() if kind.type == "pre" else ""
        self._open.append(_Open(kind, language, self.units, begun, len(self.out)))

    def _close(self) -> None:
        top = self._open.pop()
        if not self.sees(b"\n"):
            self.at += len(top.kind.closes)
            self._add(top)
            return
        kind = _QUOTE.type
        if top.kind is not _QUOTE:
            top = self._expands(top)
            kind = "expandable_blockquote"
        self._quotes = False
        self.put(_NEWLINE)
        self.at += 1
        self._line_begins = True
        self.add(top.units, {"type": kind})

    def _expands(self, top: _Open) -> _Open:
        """Return the quotation that ends with "||" here; ApiError if another entity is open at the end of its last line."""
        bare = self.data[top.at : self.at].rstrip(b"\r") == b"||" and self.at - top.at <= len(b"||\r")
        if top.kind.type != "spoiler" or not bare:
            raise _unclosed(top)
        quote = self._open.pop()
        if quote.kind is not _QUOTE:
            raise _unclosed(quote)
        return quote

    def _add(self, top: _Open) -> None:
        entity: Json | None = {"type": top.kind.type}
        match top.kind.type:
            case "pre" if top.language:
                entity = {"type": "pre", "language": top.language}
            case "text_link":
                given = self._address()
                shown = self.out[top.out :].decode(errors="surrogatepass")
                entity = link(shown if given is None else given)
            case "custom_emoji":
                given = self._address()
                if given is None:
                    raise _refusal("The entity must contain a tg://emoji or tg://time URL")
                entity = emoji_or_moment(given)
                if entity is None:
                    raise _refusal("Invalid tg://emoji or tg://time URL specified")
        if entity is not None and self.units > top.units:
            self.add(top.units, entity)

    def _address(self) -> str | None:
        """Read a URL in parentheses at the current position; None without parentheses."""
        if not self.sees(b"("):
            return None
        self.at += 1
        begun, found = self.at, bytearray()
        while self.at < self.end and not self.sees(b")"):
            if self.data[self.at] == _BACKSLASH and 0 < self.data[self.at + 1] <= _ESCAPABLE_MAX:
                self.at += 1
            found.append(self.data[self.at])
            self.at += 1
        if not self.sees(b")"):
            raise _refusal(f"Can't find end of a URL at byte offset {begun}")
        self.at += 1
        return found.decode(errors="surrogatepass")

    def _finish(self) -> None:
        """Close a quotation at the end of the text; ApiError for other open entities."""
        kind = _QUOTE.type
        if self._quotes and self._open[-1].kind.type == "spoiler" and self._open[-1].at == self.end - 2:
            self._open.pop()
            kind = "expandable_blockquote"
        if self._quotes and self._open[-1].kind is _QUOTE:
            quote = self._open.pop()
            if self.units > quote.units:
                self.add(quote.units, {"type": kind})
        if self._open:
            raise _unclosed(self._open[-1])


class _Markdown(_Reader):
    def parse(self) -> tuple[str, list[Json]]:
        while self.at < self.end:
            byte = self.data[self.at]
            if byte == _BACKSLASH and self.data[self.at + 1] in _LEGACY:
                self.put(self.data[self.at + 1])
                self.at += 2
            elif byte in _LEGACY:
                self._entity(byte)
            else:
                self.put(byte)
                self.at += 1
        return self.text(), in_order(self.entities)

    def _entity(self, byte: int) -> None:
        begun = self.at
        is_block = self.sees(b"```")
        mark = b"```" if is_block else b"]" if byte == ord("[") else bytes([byte])
        self.at += len(mark)
        language = self.language() if is_block else ""
        units, out = self.units, len(self.out)
        while self.at < self.end and not self.sees(mark):
            self.put(self.data[self.at])
            self.at += 1
        if self.at >= self.end:
            raise _refusal(f"Can't find end of the entity starting at byte offset {begun}")
        self.at += len(mark)
        entity: Json | None
        if byte == ord("["):
            given = self._address()
            entity = link(self.out[out:].decode(errors="surrogatepass") if given is None else given)
        elif byte == ord("`"):
            entity = {"type": "pre" if is_block else "code"} | ({"language": language} if language else {})
        else:
            entity = {"type": _LEGACY_TYPES[byte]}
        if entity is not None and self.units > units:
            self.add(units, entity)

    def _address(self) -> str | None:
        """Read a URL in parentheses at the current position, up to the end if they are not closed; None without them."""
        if not self.sees(b"("):
            return None
        stop = self.data.find(b")", self.at, self.end)
        found = self.data[self.at + 1 : self.end if stop < 0 else stop]
        self.at = self.end if stop < 0 else stop + 1
        return found.decode(errors="surrogatepass")


def _unclosed(entity: _Open) -> ApiError:
    name = "PreCode" if entity.language else entity.kind.name
    return _refusal(f"Can't find end of {name} entity at byte offset {entity.at}")


def _refusal(reason: str) -> ApiError:
    return bad_request(f"can't parse entities: {reason}")
