"""Reads a catalogue of translations: a .po file of GNU gettext, the format of Poedit, Weblate, xgettext and Babel.

The file itself is read, so nothing has to be compiled. Fuzzy and untranslated entries count as missing, as in gettext. Texts
have placeholders of str.format with plain names: {n}, {price:.2f}.
"""

import gettext
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Final, NamedTuple

_LINE: Final = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d{1,2})\])?\s+)?"(.*)"')
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_PLURALS: Final = re.compile(
    r"^Plural-Forms:\s*nplurals\s*=\s*(\d+)\s*;\s*plural\s*=\s*(.+?);?\s*$", re.MULTILINE
)
_CHARSET: Final = re.compile(r"^Content-Type:.*charset=([\w-]+)", re.MULTILINE)
_FORMS_MAX: Final = 6
_SAMPLES: Final = range(1001)  # numbers with which a rule for plurals is tried

COUNT: Final = "n"
"""The placeholder that decides about plural forms; a form for one number may leave it out."""


class Entry(NamedTuple):
    """A translated text: its plural form in the source language, its forms, and the line of its msgid."""

    plural: str | None
    forms: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The translations into one language, by the source text; `form_of(n)` is the index of the plural form for a number."""

    name: str
    entries: dict[str, Entry]
    form_of: Callable[[int], int]


def read_catalogue(path: Path, name: str | None = None) -> Catalogue:
    """Read a .po file. ValueError, in one line with file and line, for what is not one, or a text with wrong placeholders."""
    name = name or path.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name}, line {line}: not UTF-8") from None
    return _catalogue(name, list(_Reader(name, text).messages()))


def placeholders(text: str) -> frozenset[str]:
    """Return the names of the placeholders of a text; ValueError for anything but {name} and {name:format}."""
    found = set()
    for _, name, spec, conversion in Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or conversion or "{" in (spec or ""):
            raise ValueError(f"{{{name}}} is not a placeholder: write {{name}}, and {{{{ for a brace")
        found.add(name)
    return frozenset(found)


@dataclass(slots=True)
class _Message:
    line: int
    parts: dict[str, str] = field(default_factory=dict)  # "msgid", "msgid_plural", "msgstr", "msgstr[0]", ...
    is_fuzzy: bool = False

    @property
    def id(self) -> str:
        return self.parts["msgid"]


class _Reader:
    """Splits a file into messages."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._lines = text.splitlines()

    def messages(self) -> Iterator[_Message]:
        message, part, is_fuzzy = None, "", False
        for number, raw in enumerate(self._lines, 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                is_fuzzy = is_fuzzy or (line.startswith("#,") and "fuzzy" in line)
                continue
            found = _LINE.fullmatch(line)
            if found is None:
                raise ValueError(f"{self._name}, line {number}: not a line of a .po file: {line[:40]!r}")
            keyword, index, text = found.groups()
            text = self._unescaped(text, number)
            if keyword is None:
                if message is None:
                    raise ValueError(f"{self._name}, line {number}: a text without msgid or msgstr before it")
                message.parts[part] += text
                continue
            if keyword == "msgctxt":
                raise ValueError(f"{self._name}, line {number}: msgctxt is not supported: use another msgid")
            if keyword == "msgid":
                if message is not None:
                    yield self._complete(message)
                message, is_fuzzy = _Message(number, is_fuzzy=is_fuzzy), False
            part = keyword if index is None else f"{keyword}[{index}]"
            if message is None or part in message.parts:
                raise ValueError(f"{self._name}, line {number}: {part} without a msgid of its own")
            message.parts[part] = text
        if message is not None:
            yield self._complete(message)

    def _complete(self, message: _Message) -> _Message:
        has_plural = "msgid_plural" in message.parts
        wanted = "msgstr[0]" if has_plural else "msgstr"
        if wanted not in message.parts or (has_plural and "msgstr" in message.parts):
            raise ValueError(f"{self._name}, line {message.line}: this msgid has no {wanted}")
        return message

    def _unescaped(self, text: str, number: int) -> str:
        def one(found: re.Match[str]) -> str:
            if found[1] not in _ESCAPES:
                raise ValueError(f"{self._name}, line {number}: \\{found[1]} is not an escape of a .po file")
            return _ESCAPES[found[1]]

        if text.replace("\\\\", "").endswith("\\") or re.search(r'(?<!\\)(?:\\\\)*"', text):
            raise ValueError(f"{self._name}, line {number}: a quotation mark is not escaped")
        return _ESCAPE.sub(one, text)


def _catalogue(name: str, messages: list[_Message]) -> Catalogue:
    header = next((each for each in messages if not each.id), None)
    rules = "" if header is None else header.parts.get("msgstr", "")
    charset = _CHARSET.search(rules)
    if charset is not None and charset[1].upper() not in {"UTF-8", "UTF8", "CHARSET"}:
        raise ValueError(f"{name}: the charset is {charset[1]}, and has to be UTF-8")
    count, form_of = _plural_rule(name, 1 if header is None else header.line, rules)
    entries: dict[str, Entry] = {}
    for message in messages:
        if not message.id:
            continue
        if message.id in entries:
            raise ValueError(f"{name}, line {message.line}: the msgid {message.id[:40]!r} is there twice")
        entry = _entry(name, message, count)
        if entry is not None:
            entries[message.id] = entry
    return Catalogue(name, entries, form_of)


def _plural_rule(name: str, line: int, rules: str) -> tuple[int | None, Callable[[int], int]]:
    """Return the number of plural forms, None if the header has no rule, and the rule."""
    found = _PLURALS.search(rules)
    if found is None:
        return None, lambda n: int(n != 1)
    count = int(found[1])
    try:
        rule = gettext.c2py(found[2])
        wrong = not 1 <= count <= _FORMS_MAX or any(not 0 <= rule(n) < count for n in _SAMPLES)
    except (ValueError, ArithmeticError, RecursionError):
        wrong = True
    if wrong:
        raise ValueError(f"{name}, line {line}: Plural-Forms is no rule for {count} forms: {found[2]!r}")
    return count, rule


def _entry(name: str, message: _Message, count: int | None) -> Entry | None:
    """Return the entry of a message; None for one that is not translated."""
    parts, plural = message.parts, message.parts.get("msgid_plural")
    keys = [key for key in parts if key.startswith("msgstr")]
    if plural is not None and count is None:
        raise ValueError(f"{name}, line {message.line}: plural forms, and the header has no Plural-Forms")
    if plural is not None and sorted(keys) != [f"msgstr[{n}]" for n in range(count or 0)]:
        raise ValueError(
            f"{name}, line {message.line}: {len(keys)} plural forms, and Plural-Forms says {count}"
        )
    forms = tuple(parts[key] for key in sorted(keys))
    for form in (*forms, message.id):
        try:
            placeholders(form)
        except ValueError as error:
            raise ValueError(f"{name}, line {message.line}: {error}") from None
    return None if message.is_fuzzy or not all(forms) else Entry(plural, forms, message.line)
