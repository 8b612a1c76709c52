"""Parser for parse_mode HTML, with the error texts of the server.

The rules are those of tdlib/td, MessageEntity.cpp (parse_html); documented in Telegram Bot API, "Formatting options".
Offsets in errors are bytes of the UTF-8 text, those of entities UTF-16 code units.
"""

import re
from typing import Final, NamedTuple

from telegram.fake.protocol.answers import ApiError, Json, bad_request

from .addresses import is_date_format, is_emoji, link, moment
from .entities import in_order

_TYPES: Final = {
    **dict.fromkeys(("b", "strong"), "bold"),
    **dict.fromkeys(("i", "em"), "italic"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "strike", "del"), "strikethrough"),
    **dict.fromkeys(("tg-spoiler", "span"), "spoiler"),
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "tg-emoji": "custom_emoji",
    "tg-time": "date_time",
}
_SPACE: Final = r" \t\r\n\x0b"
_SPACES: Final = re.compile(rf"[{_SPACE}]*")
_NAME: Final = re.compile(rf"[^{_SPACE}>]*")
_ATTRIBUTE: Final = re.compile(rf"""[^{_SPACE}=>/"']*""")
_TOKEN: Final = re.compile(r"[A-Za-z0-9.-]*")
_TOKEN_END: Final = re.compile(rf"[{_SPACE}>]|\Z")
_REFERENCE: Final = re.compile(
    r"&(?:#x(?P<hex>[0-9A-Fa-f]*)|#(?P<decimal>[0-9]*)|(?P<name>[A-Za-z]*))(?P<end>;?)"
)
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_NUMBER_MAX: Final = 9  # characters of a numeric reference before its semicolon
_WRONG_SURROGATES: Final = "Text contains invalid Unicode characters after decoding HTML entities, check for unmatched surrogate code units"


class _Open(NamedTuple):
    tag: str
    values: dict[str, str]
    units: int
    out: int


def parse_html(source: str) -> tuple[str, list[Json]]:
    """Split a text with parse_mode=HTML into text and entities; ApiError "can't parse entities" with the server's text."""
    return _Html(source).parse()


class _Html:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._out: list[str] = []
        self._units = 0
        self._open: list[_Open] = []
        self._entities: list[Json] = []

    def parse(self) -> tuple[str, list[Json]]:
        decoded_surrogate = False
        while self._at < len(self._source):
            sign = self._source[self._at]
            if sign == "<":
                (self._end_tag if self._source.startswith("/", self._at + 1) else self._start_tag)()
                continue
            found = _REFERENCE.match(self._source, self._at) if sign == "&" else None
            if found is not None and (letter := _dereferenced(found)):
                decoded_surrogate = decoded_surrogate or "\ud800" <= letter <= "\udfff"
                sign, self._at = letter, found.end()
            else:
                self._at += 1
            self._out.append(sign)
            self._units += 2 if sign > "\uffff" else 1
        if self._open:
            raise _refusal(f'Can\'t find end tag corresponding to start tag "{self._open[-1].tag}"')
        if decoded_surrogate:
            raise _refusal(_WRONG_SURROGATES)
        for entity in self._entities:
            if entity["type"] == "code":
                entity.pop("language", None)  # only `pre` has a language
        return "".join(self._out), in_order(self._entities)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Read the match of `pattern` at the current position; it may be empty."""
        found = pattern.match(self._source, self._at)
        assert found is not None  # noqa: S101 - each pattern matches the empty text
        self._at = found.end()
        return found[0]

    def _sees(self, sign: str) -> bool:
        return self._source.startswith(sign, self._at)

    def _start_tag(self) -> None:
        begun = self._at
        self._at += 1
        tag = self._skip(_NAME).lower()
        self._refuse_end("Unclosed start tag", begun)
        if tag not in _TYPES:
            raise self._refused(f'Unsupported start tag "{tag}"', begun)
        values: dict[str, str] = {}
        self._skip(_SPACES)
        while not self._sees(">"):
            self._attribute(tag, begun, values)
            self._skip(_SPACES)
        self._at += 1
        if tag == "span" and values.get("class") != "tg-spoiler":
            raise self._refused('Tag "span" must have class "tg-spoiler"', begun)
        self._open.append(_Open(tag, values, self._units, len(self._out)))

    def _attribute(self, tag: str, begun: int, values: dict[str, str]) -> None:
        name = self._skip(_ATTRIBUTE)
        if not name:
            raise self._refused(f'Empty attribute name in the tag "{tag}"', begun)
        self._skip(_SPACES)
        value = ""
        if self._sees("="):
            self._at += 1
            self._skip(_SPACES)
            self._refuse_end(f'Unclosed start tag "{tag}"', begun)
            value = self._value()
            self._refuse_end("Unclosed start tag", begun)
        self._refuse_end(f'Unclosed start tag "{tag}"', begun)
        values[name] = value

    def _value(self) -> str:
        quote = self._source[self._at : self._at + 1]
        if quote not in ("'", '"'):
            begun = self._at
            token = self._skip(_TOKEN)
            if not _TOKEN_END.match(self._source, self._at):
                raise self._refused("Unexpected end of name token", begun)
            return token.lower()
        closed = self._source.find(quote, self._at + 1)
        stop = len(self._source) if closed < 0 else closed
        written = self._source[self._at + 1 : stop]
        self._at = stop + (closed >= 0)
        return _REFERENCE.sub(lambda found: _dereferenced(found) or found[0], written)

    def _end_tag(self) -> None:
        begun = self._at
        if not self._open:
            raise self._refused("Unexpected end tag", begun)
        self._at += 2
        found = self._skip(_NAME).lower()
        self._skip(_SPACES)
        if not self._sees(">"):
            raise self._refused("Unclosed end tag", begun)
        self._at += 1
        opened = self._open.pop()
        if found not in ("", opened.tag):
            where = self._byte(begun)
            raise _refusal(
                f'Unmatched end tag at byte offset {where}, expected "</{opened.tag}>", found "</{found}>"'
            )
        if self._units > opened.units and (entity := self._entity(opened)):
            self._add({"offset": opened.units, "length": self._units - opened.units, **entity})

    def _entity(self, opened: _Open) -> Json | None:
        """Return the entity of a tag, without offset and length; None for a tag without an entity, such as an invalid link."""
        values = opened.values
        match opened.tag:
            case "a":
                return link(values.get("href") or "".join(self._out[opened.out :]))
            case "code" if values.get("class", "").startswith("language-"):
                return {"type": "code", "language": values["class"].removeprefix("language-")}
            case "blockquote" if "expandable" in values:
                return {"type": "expandable_blockquote"}
            case "tg-emoji":
                if not is_emoji(values.get("emoji-id", "")):
                    raise _refusal("Invalid custom emoji identifier specified")
                return {"type": "custom_emoji", "custom_emoji_id": values["emoji-id"]}
            case "tg-time":
                return _moment(values)
        return {"type": _TYPES[opened.tag]}

    def _add(self, entity: Json) -> None:
        """Add an entity; `pre` and `code` with a language over the same text are merged into one `pre`."""
        last = self._entities[-1] if self._entities else {}
        same = all(last.get(name) == entity[name] for name in ("offset", "length"))
        pair = {last.get("type"), entity["type"]} == {"pre", "code"}
        if same and pair and (language := last.get("language") or entity.get("language")):
            self._entities[-1] = {**last, "type": "pre", "language": language}
        else:
            self._entities.append(entity)

    def _refuse_end(self, reason: str, begun: int) -> None:
        if self._at >= len(self._source):
            raise self._refused(reason, begun)

    def _byte(self, at: int) -> int:
        return len(self._source[:at].encode(errors="surrogatepass"))

    def _refused(self, reason: str, at: int) -> ApiError:
        return _refusal(f"{reason} at byte offset {self._byte(at)}")


def _moment(values: dict[str, str]) -> Json | None:
    if not is_date_format(values.get("format", "")):
        raise _refusal("Invalid date format used")
    unix = values.get("unix", "")
    if not (unix.isascii() and unix.isdecimal() and 0 < int(unix[:11]) < 2**31):
        return None
    return moment(int(unix), values.get("format", ""))


def _dereferenced(found: re.Match[str]) -> str:
    """Return the character of a reference; "" for an invalid one, which stays in the text."""
    if name := found["name"]:
        return _NAMED.get(name, "")
    digits, base = (found["hex"], 16) if found["hex"] is not None else (found["decimal"], 10)
    length = found.end() - found.start() - len(found["end"])
    if not digits or length > _NUMBER_MAX or not 0 < int(digits, base) < 0x10FFFF:
        return ""
    return chr(int(digits, base))


def _refusal(reason: str) -> ApiError:
    return bad_request(f"can't parse entities: {reason}")
