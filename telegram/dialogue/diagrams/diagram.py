"""State diagrams of flows, from their code: states, transitions, and their causes.

Transitions common to all states are in one note. A handler that may change the state or stay is drawn as a transition.
The text form is Mermaid's `stateDiagram-v2`; telegram/dialogue/diagrams/svg.py draws an SVG of the same Picture.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from telegram.dialogue.contexts.updates import MESSAGE_KINDS
from telegram.dialogue.filters.builtin import label_of
from telegram.dialogue.flows.buttons import Button, buttons_of, steps_at, taker
from telegram.dialogue.flows.outcomes import Targets
from telegram.dialogue.flows.plan import Plan, Step
from telegram.dialogue.routes.albums import is_album
from telegram.dialogue.routes.route import TIMER

AnyFlow: TypeAlias = Plan[Any, Any, Any]

START: Final = "start"
END: Final = "end"
TIME_OUT: Final = "time-out"

_LABEL_MAX: Final = 60
_BUTTONS_MAX: Final = 4


class Node(NamedTuple):
    """A state. `key` is unique in the diagram, `mark` its time-out; `stays`: causes that do not change the state."""

    key: str
    title: str
    mark: str
    stays: tuple[str, ...]
    inner: "Picture | None"


class Edge(NamedTuple):
    """The transition from one state (or START) to another (or END), with all its causes."""

    source: str
    target: str
    labels: tuple[str, ...]


class Picture(NamedTuple):
    """A flow's diagram. `everywhere`: the transitions common to all its states, as lines of text."""

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    everywhere: tuple[str, ...]


def picture_of(flow: AnyFlow) -> Picture:
    """Return the diagram of a flow, with its sub-flows inside their states."""
    return _Drawing(flow, "s", ()).picture()


def mermaid(picture: Picture) -> str:
    """Return a Mermaid state diagram; names and labels may contain any text."""
    return "\n".join(["stateDiagram-v2", *_lines(picture, "    ")]) + "\n"


def duration(seconds: float) -> str:
    """Return a readable duration: "30 s", "10 min", "1.5 h", "2 d"."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds * 2 % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


class _Drawing:
    def __init__(self, flow: AnyFlow, prefix: str, around: tuple[AnyFlow, ...]) -> None:
        self._flow = flow
        self._around = (*around, flow)
        self._states: list[Enum] = list(flow.steps)
        self._keys = {state: f"{prefix}{number}" for number, state in enumerate(self._states, 1)}
        self._labels: dict[tuple[str, str], list[str]] = {}
        self._stays: dict[Enum, list[str]] = {state: [] for state in self._states}

    def picture(self) -> Picture:
        flow = self._flow
        self._begin()
        for state in self._states:
            for label, targets in own_ways(flow, state):
                self._follow(state, label, targets)
        edges = tuple(
            Edge(*ends, tuple(filter(None, dict.fromkeys(labels)))) for ends, labels in self._labels.items()
        )
        return Picture(
            plain(flow.name),
            tuple(map(self._node, self._states)),
            edges,
            tuple(dict.fromkeys(everywhere(flow))),
        )

    def _begin(self) -> None:
        flow = self._flow
        if len(self._around) > 1:
            self._draw(START, self._keys[flow.first], "")
            return
        for step in flow.entries:
            for state in _ordered(step.targets.states):
                self._draw(START, self._keys[state], cause(step))
        for state in _ordered(flow.begins) or ([] if flow.entries else [flow.first]):
            self._draw(START, self._keys[state], "")

    def _follow(self, state: Enum, label: str, targets: Targets) -> None:
        key = self._keys[state]
        for target in _ordered(targets.states - {state}):
            self._draw(key, self._keys[target], label)
        if targets.ends:
            self._draw(key, END, label)
        if targets.goes_back:
            before = [self._keys[each] for each in self._flow.states if state in _leads_to(self._flow, each)]
            for source in before or [END]:
                self._draw(key, source, label if "back" in label.lower() else f"{label} (back)")
        if state in targets.states or not (targets.ends or targets.goes_back or targets.states):
            self._stays[state].append(label)

    def _draw(self, source: str, target: str, label: str) -> None:
        self._labels.setdefault((source, target), []).append(label)

    def _node(self, state: Enum) -> Node:
        flow, key = self._flow, self._keys[state]
        late, sub = flow.timeouts.get(state), flow.sub_flows.get(state)
        mark = f"after {duration(late.after_s)}" if late and not late.everywhere else ""
        inner, title = None, plain(state.value)
        if sub and sub.flow not in self._around:
            inner = _Drawing(sub.flow, f"{key}_", self._around).picture()
            if sub.flow.name != state.value:
                title = f"{title}: {plain(sub.flow.name)}"
        return Node(key, title, mark, tuple(dict.fromkeys(self._stays[state])), inner)


def own_ways(flow: AnyFlow, state: Enum) -> Iterator[tuple[str, Targets]]:
    """Yield the cause and targets of each transition of this state, without those common to all states."""
    if sub := flow.sub_flows.get(state):
        yield f"{plain(sub.flow.name)} done", sub.targets
    else:
        pressed = _pressed(flow, [state])
        for step in flow.steps[state]:
            yield cause(step, pressed.get(id(step), ())), step.targets
    late = flow.timeouts.get(state)
    if late and not late.everywhere:
        yield TIME_OUT, late.step.targets


def everywhere(flow: AnyFlow) -> Iterator[str]:
    """Yield a line for each handler of all states."""
    pressed = _pressed(flow, flow.steps)
    for step in flow.steps_anywhere:
        yield f"{cause(step, pressed.get(id(step), ()))} → {_where(step.targets)}"
    late = next((each for each in flow.timeouts.values() if each.everywhere), None)
    if late:
        yield f"{TIME_OUT} after {duration(late.after_s)} → {_where(late.step.targets)}"
    for step in flow.steps_else:
        yield f"else {cause(step, pressed.get(id(step), ()))} → {_where(step.targets)}"


def _pressed(flow: AnyFlow, states: Iterable[Any]) -> dict[int, list[Button]]:
    """Return the buttons of the states' prompts, by the identity of the step that handles them."""
    found: dict[int, list[Button]] = {}
    for state in states:
        for button in buttons_of(flow.prompts.get(state)):
            if step := taker(steps_at(flow, state), button):
                found.setdefault(id(step), []).append(button)
    return found


def cause(step: Step, pressed: Iterable[Button] = ()) -> str:
    """Return a label for what a handler handles: the texts of its buttons if they are known, else its filters."""
    texts = list(dict.fromkeys(plain(button.text) for button in pressed if button.data is not None))
    if texts:
        more = ["…"] if len(texts) > _BUTTONS_MAX else []
        return f"{' / '.join(texts[:_BUTTONS_MAX] + more)} button{'s' if len(texts) > 1 else ''}"
    route = step.route
    names = [label_of(each) for each in route.filters if each is not is_album]
    if route.options.batch:
        names.insert(0, route.options.batch)
    if names:
        return plain(" and ".join(names))
    if route.kinds is None:
        return "anything"
    if route.kinds == {TIMER}:
        return TIMER
    return "any message" if route.kinds <= MESSAGE_KINDS else "any button"


def plain(text: str) -> str:
    """Return a text as one line of printable characters, shortened to _LABEL_MAX."""
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text if len(text) <= _LABEL_MAX else f"{text[: _LABEL_MAX - 1]}…"


def _where(targets: Targets) -> str:
    places = [plain(state.value) for state in _ordered(targets.states)]
    places += ["back"] if targets.goes_back else []
    places += ["end"] if targets.ends else []
    return " or ".join(places) or "stays"


def _leads_to(flow: AnyFlow, state: Enum) -> set[Enum]:
    return {target for _, targets in own_ways(flow, state) for target in targets.states - {state}}


def _ordered(states: Iterable[Enum]) -> list[Enum]:
    found = set(states)
    return [state for state in type(next(iter(found))) if state in found] if found else []


# ---- Mermaid


def _lines(picture: Picture, indent: str) -> Iterator[str]:
    for node in picture.nodes:
        title = f"{node.title} ({node.mark})" if node.mark else node.title
        if node.inner is None:
            yield f'{indent}state "{_escaped(title)}" as {node.key}'
        else:
            yield f'{indent}state "{_escaped(title)}" as {node.key}{{'  # a blank would be part of the key
            yield from _lines(node.inner, indent + "    ")
            yield f"{indent}}}"
    for edge in picture.edges:
        source = "[*]" if edge.source == START else edge.source
        target = "[*]" if edge.target == END else edge.target
        yield f"{indent}{source} --> {target}{_label(edge.labels)}"
    for node in picture.nodes:
        if node.stays:
            yield f"{indent}{node.key} --> {node.key}{_label(node.stays)}"
    if picture.everywhere:
        simple = next((node for node in picture.nodes if node.inner is None), picture.nodes[0])
        yield f"{indent}note right of {simple.key}"
        yield f"{indent}    In every state"
        for line in picture.everywhere:
            yield f"{indent}    {_escaped(line)}"
        yield f"{indent}end note"


def _label(labels: tuple[str, ...]) -> str:
    return f" : {_escaped(', '.join(labels))}" if labels else ""


def _escaped(text: str) -> str:
    """Return a text with characters that are special in Mermaid replaced by their codes."""
    text = re.sub(r"[^\w /.,()'?!…→+-]", lambda found: f"#{ord(found[0])};", text)
    # Mermaid's lexer finds these keywords in the middle of a text, too.
    return re.sub(r"(?i)(directio)(n)|(en)(d)(?= +note)", _broken, text)


def _broken(found: re.Match[str]) -> str:
    head, last = (found[1], found[2]) if found[1] else (found[3], found[4])
    return f"{head}#{ord(last)};"
