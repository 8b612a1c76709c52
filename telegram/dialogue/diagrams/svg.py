"""A flow's diagram as SVG: one self-contained file, for light and dark mode."""

import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from telegram.dialogue.diagrams.diagram import END, START, Edge, Node, Picture
from telegram.dialogue.diagrams.layout import Layout, Link, Point, Size, lay_out

_MARGIN: Final = 20.0
_PADDING: Final = 14.0
_LINE: Final = 17.0
_TITLE: Final = 24.0
_CURVE: Final = 0.55
_DOT: Final = Size(18, 18)
_LABELS_MAX: Final = 4
_WRAP: Final = 26

_STYLE: Final = """
svg { --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #818b98; --box: #eef4ff; --edge: #4f7fd1; --inner: #f6f8fa;
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif }
@media (prefers-color-scheme: dark) { svg { --page: #0d1117; --ink: #e6edf3; --soft: #9da7b3; --line: #6e7681;
  --box: #16263f; --edge: #5b8fe0; --inner: #151b23 } }
.page { fill: var(--page) }
text { fill: var(--ink); text-anchor: middle; dominant-baseline: central }
.title { font-weight: 600 }
.name { font-weight: 600; font-size: 15px; text-anchor: start }
.soft { fill: var(--soft); font-size: 12px }
.label { font-size: 12px }
.ground { fill: var(--ground) }
.left { text-anchor: start }
.state { fill: var(--box); stroke: var(--edge); stroke-width: 1.5 }
.flow { fill: var(--inner); stroke: var(--edge); stroke-width: 1.5 }
.note { fill: none; stroke: var(--line); stroke-dasharray: 4 3 }
.arrow { fill: none; stroke: var(--line); stroke-width: 1.5 }
.head, .dot { fill: var(--line) }
.ring { fill: none; stroke: var(--line); stroke-width: 1.5 }
""".strip()


def svg(picture: Picture) -> str:
    """Return the diagram as an SVG file; names and labels may contain any text."""
    drawn = _Drawn(picture)
    wide = max(drawn.size.width, width_of(picture.name) * 1.25) + 2 * _MARGIN
    high = drawn.size.height + 2 * _MARGIN + _TITLE
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" '
            f'height="{high:.0f}" role="img" aria-label={quoteattr(f"States of the flow {picture.name}")}>'
        ),
        f"<style>{escape(_STYLE)}</style>",
        (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'markerUnits="userSpaceOnUse" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
        ),
        f'<rect class="page" width="{wide:.0f}" height="{high:.0f}" rx="8"/>',
        _text("name", _MARGIN, _MARGIN + 6, picture.name),
        '<g style="--ground: var(--page)">',
        *drawn.lines(Point((wide - drawn.size.width) / 2, _MARGIN + _TITLE)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def width_of(text: str) -> float:
    """Estimate the width of a text at 13 px, in pixels, rather too wide: the font is unknown."""
    return sum(
        14.0 if unicodedata.east_asian_width(each) in "WF" else 10.5 if each in _BROAD or each.isupper() else 7.6
        for each in text
    )  # fmt: skip


_BROAD: Final = frozenset("mw@%—…→↻")


class _Box(NamedTuple):
    """A node with its size and its text, and its drawn sub-flow."""

    node: Node
    size: Size
    inner: "_Drawn | None"
    lines: tuple[str, ...]


class _Drawn:
    """A diagram with positions."""

    def __init__(self, picture: Picture) -> None:
        self._boxes = [_box(node) for node in picture.nodes]
        self._edges = picture.edges
        self._note = [part for line in picture.everywhere for part in _wrapped(line, 2 * _WRAP)]
        ends = [each for edge in picture.edges for each in (edge.source, edge.target)]
        names = [START] * (START in ends) + [box.node.key for box in self._boxes] + [END] * (END in ends)
        self._numbers = {name: number for number, name in enumerate(names)}
        sizes = {box.node.key: box.size for box in self._boxes}
        links = [
            Link(self._numbers[edge.source], self._numbers[edge.target], _label_size(_shown(edge)))
            for edge in picture.edges
        ]
        self._layout: Layout = lay_out([sizes.get(name, _DOT) for name in names], links)
        graph, note = self._layout.size, self._note_size()
        below = note.height + _PADDING if self._note else 0
        self.size = Size(max(graph.width, note.width), graph.height + below)

    def _note_size(self) -> Size:
        wide = max(map(width_of, (*self._note, _EVERYWHERE)))
        return (
            Size(wide + 2 * _PADDING, _LINE * (len(self._note) + 1) + _PADDING) if self._note else Size(0, 0)
        )

    def lines(self, at: Point) -> Iterator[str]:
        """Yield the SVG elements, with the upper left corner at a point."""
        corner = Point(at.x + (self.size.width - self._layout.size.width) / 2, at.y)
        middles = [Point(corner.x + x, corner.y + y) for x, y in self._layout.boxes]
        for route in self._layout.routes:
            yield _arrow([Point(corner.x + x, corner.y + y) for x, y in route.points])
        for box in self._boxes:
            yield from _drawn_box(box, middles[self._numbers[box.node.key]])
        for name in (START, END):
            if name in self._numbers:
                x, y = middles[self._numbers[name]]
                if name == END:
                    yield f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="8"/>'
                yield f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{5 if name == END else 8}"/>'
        for edge, route in zip(self._edges, self._layout.routes, strict=True):
            yield from _label(_shown(edge), Point(corner.x + route.label.x, corner.y + route.label.y))
        if self._note:
            yield from self._note_lines(at)

    def _note_lines(self, at: Point) -> Iterator[str]:
        size = self._note_size()
        x, y = at.x + (self.size.width - size.width) / 2, at.y + self.size.height - size.height
        yield _rect("note", x, y, size)
        yield _text("soft left", x + _PADDING, y + _PADDING / 2 + _LINE / 2, _EVERYWHERE)
        for number, line in enumerate(self._note, 1):
            yield _text("left", x + _PADDING, y + _PADDING / 2 + _LINE * (number + 0.5), line)


_EVERYWHERE: Final = "In every state"


def _box(node: Node) -> _Box:
    below = [node.mark] * bool(node.mark) + [part for each in node.stays for part in _wrapped(f"↻ {each}")]
    lines = (*_wrapped(node.title), *below)
    wide, high = max(map(width_of, lines)) + 2 * _PADDING, _LINE * len(lines) + _PADDING
    if node.inner is None:
        return _Box(node, Size(max(wide, 90), high), None, lines)
    inner = _Drawn(node.inner)
    size = Size(max(wide, inner.size.width + 2 * _PADDING), high + inner.size.height + _PADDING)
    return _Box(node, size, inner, lines)


def _drawn_box(box: _Box, middle: Point) -> Iterator[str]:
    x, y = middle.x - box.size.width / 2, middle.y - box.size.height / 2
    yield f"<g data-state={quoteattr(box.node.title)}>"
    yield _rect("flow" if box.inner else "state", x, y, box.size)
    titles = len(_wrapped(box.node.title))
    for number, line in enumerate(box.lines):
        at = y + _PADDING / 2 + _LINE * (number + 0.5)
        yield _text("title" if number < titles else "soft", middle.x, at, line)
    if box.inner:
        top = y + _LINE * len(box.lines) + _PADDING
        yield '<g style="--ground: var(--inner)">'
        yield from box.inner.lines(Point(middle.x - box.inner.size.width / 2, top))
        yield "</g>"
    yield "</g>"


def _arrow(points: list[Point]) -> str:
    """Return the path of an arrow: vertical pieces, and curves between them."""
    parts = [f"M{points[0].x:.1f} {points[0].y:.1f}"]
    for number, (before, each) in enumerate(pairwise(points)):
        if each.y == before.y and each.x == before.x:
            continue  # a piece without length has no direction, which the arrow head would need
        if number % 2 == 0:
            parts.append(f"L{each.x:.1f} {each.y:.1f}")
        else:
            bend = (each.y - before.y) * _CURVE
            parts.append(
                f"C{before.x:.1f} {before.y + bend:.1f} {each.x:.1f} {each.y - bend:.1f} {each.x:.1f} {each.y:.1f}"
            )
    return f'<path class="arrow" d="{"".join(parts)}" marker-end="url(#head)"/>'


def _shown(edge: Edge) -> list[str]:
    lines = [part for label in edge.labels for part in _wrapped(label)]
    return [*lines[: _LABELS_MAX - 1], "…"] if len(lines) > _LABELS_MAX else lines


def _label_size(lines: list[str]) -> Size:
    return Size(max(map(width_of, lines), default=8), _LINE * len(lines))


def _wrapped(text: str, most: int = _WRAP) -> list[str]:
    """Return the text wrapped into lines of at most `most` characters."""
    lines = [""]
    for word in text.split(" "):
        for piece in [word[at : at + most] for at in range(0, len(word), most)] or [""]:
            if lines[-1] and len(lines[-1]) + 1 + len(piece) > most:
                lines.append(piece)
            else:
                lines[-1] = f"{lines[-1]} {piece}".strip()
    return lines


def _label(lines: list[str], middle: Point) -> Iterator[str]:
    if lines:  # with a background, since its arrow passes behind it
        size = _label_size(lines)
        yield _rect("ground", middle.x - size.width / 2, middle.y - size.height / 2, size)
    for number, line in enumerate(lines):
        yield _text("label", middle.x, middle.y + _LINE * (number - (len(lines) - 1) / 2), line)


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _rect(kind: str, x: float, y: float, size: Size) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{size.width:.1f}" height="{size.height:.1f}" rx="8"/>'
