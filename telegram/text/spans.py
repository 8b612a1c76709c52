"""Converts entities to properly nested spans, from which HTML and MarkdownV2 are rendered.

Entities can overlap in ways that markup cannot express. The rules are those of Telegram's server: touching styles of
one kind are merged; a style that crosses the end of another entity is closed and opened again; code contains no
styles; of two overlapping links (mentions, codes, emoji) or quotations, only the first is kept.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, pairwise
from typing import Any, Final, NamedTuple, Protocol

from telegram.text.units import Units

QUOTES: Final = ("blockquote", "expandable_blockquote")
CODES: Final = ("pre", "code")
STYLES: Final = ("bold", "italic", "underline", "strikethrough", "spoiler")
# From outer to inner, for entities over the same characters. Mentions by username, hashtags, URLs and the like are
# absent: they need no markup, since Telegram detects them in the text.
_LAYERS: Final = (*QUOTES, *CODES, "date_time", "text_link", "text_mention", *STYLES, "custom_emoji")


class Span(NamedTuple):
    """An entity with its start and end as indices of the `str`."""

    start: int
    end: int
    kind: str
    entity: Mapping[str, Any]


class Writer(Protocol):
    """Writes one kind of markup."""

    def begin(self, span: Span) -> str:
        """Return the opening markup of a span."""

    def finish(self, span: Span) -> str:
        """Return the closing markup of a span."""

    def text(self, piece: str, within: list[Span]) -> str:
        """Return a piece of the text, escaped; `within`: the spans around it, the outermost first."""


def spans(text: str, entities: Iterable[Mapping[str, Any]]) -> list[Span]:
    """Return spans for the entities that need markup, merged as the module says, in the order of their start."""
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
    """Render the text as markup; `found`: see `spans`. Over a span of an unknown kind (a gap) all others are closed."""
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
    """Cut the text at each start and end of a span; yield the spans around each piece, and the piece."""
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
    """Return the nesting level of a new span: quotations outermost, styles innermost, others outside styles that end first."""
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
