"""Entities as properly nested spans of a text: what the two kinds of markup are written from.

Entities can overlap in ways that no markup can express. As Telegram's server does: styles of one kind that touch are
one; where a style crosses the end of another entity it is closed and opened again; no style is inside code; of two
links (mentions, codes, emoji) or two quotations that overlap, the first counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, pairwise
from typing import Any, Final, NamedTuple, Protocol

from telegram.text.units import Units

QUOTES: Final = ("blockquote", "expandable_blockquote")
CODES: Final = ("pre", "code")
STYLES: Final = ("bold", "italic", "underline", "strikethrough", "spoiler")
# The outer one of two that mark the same characters comes first. Mentions by username, hashtags, addresses and the
# like are not here: they need no markup, since Telegram finds them in the text.
_LAYERS: Final = (*QUOTES, *CODES, "date_time", "text_link", "text_mention", *STYLES, "custom_emoji")


class Span(NamedTuple):
    """What an entity marks, in indices of the text."""

    start: int
    end: int
    kind: str
    entity: Mapping[str, Any]


class Writer(Protocol):
    """One kind of markup."""

    def begin(self, span: Span) -> str:
        """What stands before a span."""

    def finish(self, span: Span) -> str:
        """What stands after a span."""

    def text(self, piece: str, within: list[Span]) -> str:
        """A piece of the text, escaped; `within` names the spans around it, the outermost first."""


def spans(text: str, entities: Iterable[Mapping[str, Any]]) -> list[Span]:
    """The entities that markup is needed for, in the order in which they begin."""
    units = Units(text)
    found = [
        Span(
            units.index(entity["offset"]),
            units.index(entity["offset"] + entity["length"]),
            entity["type"],
            entity,
        )
        for entity in entities
        if entity["type"] in _LAYERS
    ]
    kept: list[Span] = []
    latest: dict[str, int] = {}
    for span in sorted(found, key=_order):
        style = span.kind in STYLES
        family = span.kind if style else "quote" if span.kind in QUOTES else "solid"
        before = kept[latest[family]] if family in latest else None
        if span.start == span.end:
            continue
        if before is None or span.start >= before.end + style:
            latest[family] = len(kept)
            kept.append(span)
        elif style:
            kept[latest[family]] = before._replace(end=max(before.end, span.end))
    return kept


def render(text: str, found: list[Span], writer: Writer) -> str:
    """The text as markup; `found` as from `spans`. A span of an unknown kind is a gap, where all others are closed."""
    written: list[str] = []
    opened: list[Span] = []
    for wanted, piece in chain(_runs(text, found), [(list[Span](), "")]):
        same = 0
        while same < min(len(opened), len(wanted)) and opened[same] == wanted[same]:
            same += 1
        written += (writer.finish(span) for span in reversed(opened[same:]))
        written += (writer.begin(span) for span in wanted[same:])
        written.append(writer.text(piece, wanted))
        opened = wanted
    return "".join(written)


def _order(span: Span) -> tuple[int, int, int]:
    return span.start, -span.end, _LAYERS.index(span.kind) if span.kind in _LAYERS else 0


def _runs(text: str, found: list[Span]) -> Iterator[tuple[list[Span], str]]:
    """Pieces of the text between one begin or end of a span and the next, each with the spans around it."""
    edges = sorted({0, len(text), *(span.start for span in found), *(span.end for span in found)})
    active: list[Span] = []
    waiting = iter([*found, Span(len(text) + 1, len(text) + 1, "", {})])
    upcoming = next(waiting)
    for start, end in pairwise(edges):
        active = [span for span in active if span.end > start]
        while upcoming.start == start:
            active.insert(_place(active, upcoming), upcoming)
            upcoming = next(waiting)
        yield _shown(active), text[start:end]


def _place(active: list[Span], span: Span) -> int:
    """Where it goes: a quotation outside all, a style inside all, others outside the styles that end before them."""
    if span.kind in QUOTES:
        return 0
    place = len(active)
    if span.kind not in STYLES:
        while place and active[place - 1].kind in STYLES and active[place - 1].end < span.end:
            place -= 1
    return place


def _shown(active: list[Span]) -> list[Span]:
    kinds = {span.kind for span in active}
    if not kinds.issubset(_LAYERS):
        return []
    if not kinds.isdisjoint(CODES):
        return [span for span in active if span.kind not in STYLES]
    return active.copy()
