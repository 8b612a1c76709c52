"""Layered layout of a diagram, from the top down: positions of the boxes, and routes of the arrows.

The steps are the classic ones (Sugiyama, Tagawa, Toda 1981): reverse arrows until there is no cycle, assign each box to a
layer, add a dummy node for each arrow to each layer that it crosses, order the layers so that few arrows cross, and move
boxes near to those they are connected with. A label is a box in a layer of its own, so boxes and labels cannot overlap.
"""

from itertools import pairwise
from typing import Final, NamedTuple

GAP_X: Final = 24.0
GAP_Y: Final = 20.0
_LANE: Final = 8.0  # the width kept free for an arrow that passes a layer
_SWEEPS: Final = 24


class Size(NamedTuple):
    """The size of a box, in pixels."""

    width: float
    height: float


class Link(NamedTuple):
    """An arrow between two different boxes, by their numbers, and the size of its label."""

    source: int
    target: int
    label: Size


class Point(NamedTuple):
    """A point, often the middle of something, in pixels from the left and the top."""

    x: float
    y: float


class Route(NamedTuple):
    """An arrow: `points` are the ends of its vertical pieces, in pairs, from its source on; it bends between the pairs."""

    points: list[Point]
    label: Point


class Layout(NamedTuple):
    """Middles of the boxes, in the given order; a route for each link."""

    boxes: list[Point]
    routes: list[Route]
    size: Size


def lay_out(sizes: list[Size], links: list[Link]) -> Layout:
    """Place boxes of these sizes. Cycles are broken as seen from the first one."""
    return _Graph(sizes, links).layout()


class _Graph:
    """Boxes, and after them in the same lists the dummy nodes of arrows and labels ("places")."""

    def __init__(self, sizes: list[Size], links: list[Link]) -> None:
        self._count = len(sizes)
        self._sizes = list(sizes)
        self._links = links
        self._turned = _turned(self._count, links)
        self._ranks = _ranks(self._count, self._downward())
        self._chains = [self._chain(number) for number in range(len(links))]
        self._above: list[list[int]] = [[] for _ in self._sizes]
        self._below: list[list[int]] = [[] for _ in self._sizes]
        for chain in self._chains:
            for upper, lower in pairwise(chain):
                self._below[upper].append(lower)
                self._above[lower].append(upper)
        self._layers: list[list[int]] = [[] for _ in range(max(self._ranks, default=0) + 1)]
        for place, rank in enumerate(self._ranks):
            self._layers[rank].append(place)

    def _downward(self) -> list[tuple[int, int]]:
        return [
            (link.target, link.source) if turned else (link.source, link.target)
            for link, turned in zip(self._links, self._turned, strict=True)
        ]

    def _chain(self, number: int) -> list[int]:
        """Return the places of a link from the top down; its label is next to its source."""
        top, bottom = self._downward()[number]
        first, last = self._ranks[top] + 1, self._ranks[bottom] - 1
        at = last if self._turned[number] else first
        chain = [top]
        for rank in range(first, last + 1):
            chain.append(len(self._sizes))
            self._sizes.append(self._links[number].label if rank == at else Size(_LANE, 0))
            self._ranks.append(rank)
        return [*chain, bottom]

    # ---- the order in each layer

    def _order(self) -> None:
        best, fewest = [list(layer) for layer in self._layers], self._crossings()
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            ties = self._above if down else self._below
            for layer in self._layers if down else reversed(self._layers):
                places = self._places()
                means = {each: _mean([places[tie] for tie in ties[each]], places[each]) for each in layer}
                layer.sort(key=means.__getitem__)
            if (crossings := self._crossings()) < fewest:
                best, fewest = [list(layer) for layer in self._layers], crossings
        self._layers = best

    def _places(self) -> dict[int, float]:
        return {
            each: (index + 0.5) / len(layer) for layer in self._layers for index, each in enumerate(layer)
        }

    def _crossings(self) -> int:
        index = {each: number for layer in self._layers for number, each in enumerate(layer)}
        count = 0
        for layer in self._layers:
            pairs = sorted((index[upper], index[lower]) for upper in layer for lower in self._below[upper])
            count += sum(
                pairs[i][0] < pairs[j][0] and pairs[i][1] > pairs[j][1]
                for i in range(len(pairs))
                for j in range(i + 1, len(pairs))
            )
        return count

    # ---- coordinates

    def _columns(self) -> list[float]:
        """Return the x coordinates of the middles: each as near to its connected ones as its neighbours allow."""
        middles = [0.0] * len(self._sizes)
        for layer in self._layers:
            for each, offset in zip(layer, self._offsets(layer), strict=True):
                middles[each] = offset
        for sweep in range(_SWEEPS * 2):
            for layer in self._layers if sweep % 2 == 0 else reversed(self._layers):
                wanted, weights = [], []
                for each in layer:
                    ties = [
                        (middles[tie], self._weight(each, tie))
                        for tie in self._above[each] + self._below[each]
                    ]
                    weight = sum(weight for _, weight in ties)
                    wanted.append(sum(x * by for x, by in ties) / weight if weight else middles[each])
                    weights.append(weight or 0.1)
                for each, x in zip(layer, _spread(wanted, weights, self._offsets(layer)), strict=True):
                    middles[each] = x
        for chain in self._chains:
            self._straighten(chain[1:-1], middles)
        return middles

    def _straighten(self, places: list[int], middles: list[float]) -> None:
        """Move the places of an arrow into as few columns as their neighbours allow."""
        run: list[int] = []
        least, most = float("-inf"), float("inf")
        for each in places:
            left, right = self._room(each, middles)
            if max(least, left) > min(most, right):
                _align(run, least, most, middles)
                run, least, most = [], float("-inf"), float("inf")
            run.append(each)
            least, most = max(least, left), min(most, right)
        _align(run, least, most, middles)

    def _room(self, place: int, middles: list[float]) -> tuple[float, float]:
        """Return the lowest and highest x coordinate to which a place could move."""
        layer = self._layers[self._ranks[place]]
        index = layer.index(place)
        left, right = float("-inf"), float("inf")
        if index:
            left = middles[layer[index - 1]] + self._offsets(layer[index - 1 : index + 1])[1]
        if index + 1 < len(layer):
            right = middles[layer[index + 1]] - self._offsets(layer[index : index + 2])[1]
        return left, max(left, right)

    def _weight(self, one: int, other: int) -> float:
        """Return the weight of a connection: higher between dummy nodes, so that long arrows are straight."""
        return (1.0, 2.0, 8.0)[(one >= self._count) + (other >= self._count)]

    def _offsets(self, layer: list[int]) -> list[float]:
        """Return the minimum distances of the middles from the first one's."""
        offsets, x = [], 0.0
        for index, each in enumerate(layer):
            if index:
                x += (self._sizes[layer[index - 1]].width + self._sizes[each].width) / 2 + GAP_X
            offsets.append(x)
        return offsets

    def layout(self) -> Layout:
        self._order()
        columns = self._columns()
        left = min((x - size.width / 2 for x, size in zip(columns, self._sizes, strict=True)), default=0)
        columns = [x - left for x in columns]
        tops, y = [], 0.0
        heights = [max((self._sizes[each].height for each in layer), default=0) for layer in self._layers]
        for height in heights:
            tops.append(y)
            y += height + GAP_Y
        spans = [(tops[rank], tops[rank] + heights[rank]) for rank in self._ranks]
        middles = [Point(x, sum(span) / 2) for x, span in zip(columns, spans, strict=True)]
        width = max((x + size.width / 2 for x, size in zip(columns, self._sizes, strict=True)), default=0)
        routes = [self._route(number, middles, spans) for number in range(len(self._links))]
        return Layout(middles[: self._count], routes, Size(width, max(y - GAP_Y, 0)))

    def _route(self, number: int, middles: list[Point], spans: list[tuple[float, float]]) -> Route:
        chain = self._chains[number]
        top, bottom, between = chain[0], chain[-1], chain[1:-1]
        out = self._port(top, self._below[top], between[0], middles)
        into = self._port(bottom, self._above[bottom], between[-1], middles)
        points = [
            Point(out, middles[top].y + self._sizes[top].height / 2),
            Point(out, spans[top][1]),
            *(Point(middles[each].x, y) for each in between for y in spans[each]),
            Point(into, spans[bottom][0]),
            Point(into, middles[bottom].y - self._sizes[bottom].height / 2),
        ]
        turned = self._turned[number]
        return Route(points[::-1] if turned else points, middles[between[-1] if turned else between[0]])

    def _port(self, box: int, ties: list[int], tie: int, middles: list[Point]) -> float:
        """Return the x coordinate at which an arrow meets a box: arrows are in the order of their other ends."""
        order = sorted(ties, key=lambda each: (middles[each].x, each))
        width = min(self._sizes[box].width, GAP_X * 2 * len(order))
        return middles[box].x - width / 2 + width * (order.index(tie) + 1) / (len(order) + 1)


def _turned(count: int, links: list[Link]) -> list[bool]:
    """Return which links to reverse so that there is no cycle: the back edges of a depth-first search."""
    out: list[list[int]] = [[] for _ in range(count)]
    for number, link in enumerate(links):
        out[link.source].append(number)
    turned = [False] * len(links)
    done, open_ = set[int](), set[int]()

    def visit(box: int) -> None:
        open_.add(box)
        for number in out[box]:
            target = links[number].target
            if target in open_:
                turned[number] = True
            elif target not in done:
                visit(target)
        open_.discard(box)
        done.add(box)

    for box in range(count):
        if box not in done:
            visit(box)
    return turned


def _ranks(count: int, downward: list[tuple[int, int]]) -> list[int]:
    """Return the layer of each box, even numbers only: the odd layers between are for labels."""
    ranks = [0] * count
    for _ in range(count):
        for upper, lower in downward:
            ranks[lower] = max(ranks[lower], ranks[upper] + 2)
    return ranks


def _spread(wanted: list[float], weights: list[float], offsets: list[float]) -> list[float]:
    """Return positions as near as possible to the wanted ones (least squares) that keep the minimum offsets."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, heavy, many = want - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            before, by, more = blocks.pop()
            mean = (mean * heavy + before * by) / (heavy + by)
            heavy, many = heavy + by, many + more
        blocks.append((mean, heavy, many))
    means = [mean for mean, _, many in blocks for _ in range(many)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _align(places: list[int], least: float, most: float, middles: list[float]) -> None:
    column = min(max(_mean([middles[each] for each in places], 0), least), most)
    for each in places:
        middles[each] = column


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default
