"""Splits a long text into messages: sendMessage takes at most 4,096 characters after entities parsing.

The length is counted in UTF-16 code units, which are never fewer than characters.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from telegram.text.build import Text
from telegram.text.markup import as_text
from telegram.text.units import Entity, Units

TEXT_MAX: Final = 4096
"""Maximum length of a message's text, in UTF-16 code units; of a caption it is 1,024."""

# A visible character. Telegram refuses a text without one as "empty": only white space, control and invisible characters.
_INK: Final = re.compile(
    "[^\\s\0-\x1f\u030a\u0333\u033f\u180e\u200b-\u200f\u2028-\u202e\u2800\ufeff\ufffc\U000e0000-\U000e007f]"
)
_SOLID: Final = re.compile(r"\S")
_PLACES: Final = (
    re.compile(r"(?=\n[^\S\n]*\n)"),  # between paragraphs
    re.compile(r"(?=\n)"),  # between lines
    re.compile(r"[.!?…؟۔।][\"'»”’)\]]*(?=\s)|[。！？．｡][」』”’）】]*"),  # between sentences  # noqa: RUF001
    re.compile("(?=[^\\S\xa0\u2007\u202f])|\u200b"),  # between words, but not at a no-break space
)
_WHOLE: Final = frozenset(
    {"mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "date_time"}
    | {"text_link", "text_mention", "custom_emoji", "code"}
)
_ZWJ: Final = "\u200d"


def split(
    text: str | Text, entities: Iterable[Mapping[str, Any]] = (), *, limit: int = TEXT_MAX
) -> list[tuple[str, list[Entity]]]:
    """Return parts of at most `limit` UTF-16 code units, each with its entities; none is empty for Telegram.

    A part ends between paragraphs; if it would be less than half full then, between lines, else sentences, else words,
    else grapheme clusters. Links, mentions, custom emoji, inline code and the like are not cut if they fit into one
    part. An entity over a cut continues in the next part. White space at the cuts is dropped (but not the indentation
    of a line), and so is invisible text that fills a whole part or ends the text.
    ValueError if `limit` is below 2 (the length of an emoji), or for a Text and entities together.
    """
    if limit < 2:
        raise ValueError("a part holds at least 2 UTF-16 code units")
    whole = as_text(text, entities)
    units = Units(whole.text)
    marks = [mark for mark in whole.marks if mark["length"]]
    marks.sort(key=lambda mark: (mark["offset"], -mark["length"]))
    pieces = list(_pieces(whole.text, units, _Wholes(marks, units, limit), limit))
    return list(_with_entities(whole.text, units, pieces, marks))


class _Wholes:
    """Ranges of the text that should not be cut."""

    def __init__(self, marks: list[Mapping[str, Any]], units: Units, limit: int) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for mark in marks:
            start, end = units.index(mark["offset"]), units.index(mark["offset"] + mark["length"])
            if (
                mark["type"] in _WHOLE
                and mark["length"] <= limit
                and (not self._ends or start >= self._ends[-1])
            ):
                self._starts.append(start)
                self._ends.append(end)

    def before(self, place: int) -> int:
        """Return `place`, or the start of the range that contains it."""
        at = bisect_right(self._starts, place) - 1
        return self._starts[at] if at >= 0 and place < self._ends[at] else place


def _pieces(text: str, units: Units, wholes: _Wholes, limit: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each part, as indices of the `str`."""
    begin = 0
    while ink := _INK.search(text, begin):
        if units.index(units.offset(begin) + limit) <= ink.start():
            begin = ink.start()
        latest = units.index(units.offset(begin) + limit)
        if latest == len(text):
            yield begin, latest
            return
        cut = _cut(
            text, max(ink.end(), units.index(units.offset(begin) + limit // 2)), latest, wholes, ink.end()
        )
        end = begin + len(text[begin:cut].rstrip())
        yield begin, end
        solid = _SOLID.search(text, cut)
        if solid is None:
            return
        line = text.rfind("\n", end, solid.start()) + 1
        begin = line or solid.start()


def _cut(text: str, half: int, latest: int, wholes: _Wholes, earliest: int) -> int:
    """Return the best place to cut from `half` to `latest`; if there is none, the last possible one from `earliest`."""
    for places in _PLACES:
        found = [at.end() for at in places.finditer(text, half, latest + 2) if at.end() <= latest]
        for place in reversed(found):
            if wholes.before(place) == place:
                return place
    place = wholes.before(latest)
    while place >= earliest:
        if not _joined(text, place, earliest - 1):
            return place
        place = wholes.before(place - 1)
    return next((at for at in range(latest, earliest - 1, -1) if not _joined(text, at, earliest - 1)), latest)


def _joined(text: str, place: int, first: int) -> bool:
    """Whether the characters before and at `place` form one grapheme cluster (the usual cases; Unicode, UAX #29).
    `first` is known to begin a cluster.
    """
    before, after = text[place - 1], text[place]
    if after < "\u0300":
        return False
    if (
        _ZWJ in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
    ):
        return True
    if "\u1160" <= after <= "\u11ff":  # a Hangul vowel or final consonant
        return "\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3"
    if _is_flag_half(after):
        flag = place
        while flag > first and _is_flag_half(text[flag - 1]):
            flag -= 1
        return (place - flag) % 2 == 1
    return unicodedata.category(after) in ("Mn", "Mc", "Me")


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _with_entities(
    text: str, units: Units, pieces: list[tuple[int, int]], marks: list[Mapping[str, Any]]
) -> Iterator[tuple[str, list[Entity]]]:
    waiting = iter(marks)
    upcoming = next(waiting, None)
    active: list[Mapping[str, Any]] = []
    for begin, end in pieces:
        start, stop = units.offset(begin), units.offset(end)
        while upcoming is not None and upcoming["offset"] < stop:
            active.append(upcoming)
            upcoming = next(waiting, None)
        active = [mark for mark in active if mark["offset"] + mark["length"] > start]
        yield text[begin:end], [_clipped(mark, start, stop) for mark in active]


def _clipped(mark: Mapping[str, Any], start: int, stop: int) -> Entity:
    first, last = max(mark["offset"], start), min(mark["offset"] + mark["length"], stop)
    return {**mark, "offset": first - start, "length": last - first}
