"""Static checks of flows: reports what is certainly wrong, at the start."""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from telegram.dialogue.filters.conditions import kinds_of
from telegram.dialogue.flows.buttons import Button, buttons_of, steps_at, taker, takes
from telegram.dialogue.flows.outcomes import Targets, ends_with_value, name_of
from telegram.dialogue.flows.plan import Plan, Step
from telegram.dialogue.router.menus import menu_lists
from telegram.dialogue.router.router import Router
from telegram.dialogue.routes.route import Route
from telegram.dialogue.state.scopes import OWN, USER

AnyFlow: TypeAlias = Plan[Any, Any, Any]

OF_A_CHAT: Final = frozenset(("message_reaction_count", "deleted_business_messages"))
IMPERSONAL: Final = OF_A_CHAT | {"poll"}
"""Kinds of update that never have a user (Telegram Bot API, Poll, MessageReactionCountUpdated, BusinessMessagesDeleted)."""


class Found(NamedTuple):
    """A flow of a router, and the flows in which it runs as a sub-flow, directly or indirectly."""

    flow: AnyFlow
    hosts: tuple[AnyFlow, ...]


def flows_of(router: Router) -> list[Found]:
    """Return all flows of a router, also sub-flows, in the order of registration, without duplicates."""
    hosts: dict[AnyFlow, list[AnyFlow]] = {}

    def visit(flow: AnyFlow) -> None:
        if flow in hosts:
            return
        hosts[flow] = []
        for sub in flow.sub_flows.values():
            visit(sub.flow)
            hosts[sub.flow].append(flow)

    for entry, _ in router.entries():
        if isinstance(entry, Plan):
            visit(entry)
    return [Found(flow, tuple(_all_hosts(flow, hosts))) for flow in hosts]


def _all_hosts(flow: AnyFlow, hosts: dict[AnyFlow, list[AnyFlow]]) -> dict[AnyFlow, None]:
    """Return all flows that contain a flow, directly or indirectly, from the inside out."""
    found = dict.fromkeys(hosts[flow])
    todo = list(found)
    while todo:
        new = [host for host in hosts[todo.pop(0)] if host not in found]
        found.update(dict.fromkeys(new))
        todo += new
    return found


def router_problems(router: Router) -> list[str]:
    """Return all problems of a router's flows, and of its menu, one line each."""
    found = flows_of(router)
    menu = []
    try:
        menu_lists(router)
    except ValueError as error:
        menu = [str(error)]
    names = Counter(each.flow.name for each in found)
    twice = [
        f"flow {_plain(name)}: {count} flows have this name: give each its own, stored conversations go by it"
        for name, count in names.items()
        if count > 1
    ]
    beside = [entry for entry, _ in router.entries() if isinstance(entry, Route)]
    beside += [step.route for each in found for step in each.flow.entries]
    outside = [route for route in beside if route.hint.words]
    lines = [line for each in found for line in problems(each.flow, hosts=each.hosts, outside=outside)]
    return twice + lines + menu


def problems(flow: AnyFlow, *, hosts: Sequence[AnyFlow] = (), outside: Sequence[Route] = ()) -> list[str]:
    """Return the problems of a flow, one line each: the state, the handler, and what to do.

    `hosts` run it as a sub-flow. `outside` are handlers of the router for a command or button, which count as handlers.
    Timers that are never set are no problem.
    """
    return list(_Check(flow, hosts, outside).lines())


class _Check:
    def __init__(self, flow: AnyFlow, hosts: Sequence[AnyFlow], outside: Sequence[Route]) -> None:
        self._flow = flow
        self._hosts = hosts
        self._outside = outside
        self._around = list(_around(hosts))
        self._reached, self._with_history = reached(flow, inside=bool(hosts))

    def lines(self) -> Iterator[str]:
        for state in self._flow.states:
            if state not in self._reached:
                yield self._at(
                    state,
                    "nothing leads here: return it from a handler, name it in Flow(begins=...), or remove it",
                )
                continue
            yield from self._of_handlers(state)
            yield from self._of_kinds(state)
            yield from self._of_buttons(state)
        yield from self._of_back()
        yield from self._of_end()

    def _of_handlers(self, state: Enum) -> Iterator[str]:
        flow = self._flow
        late = flow.timeouts.get(state)
        own = flow.steps[state] or flow.steps_else or state in flow.sub_flows
        if not own and (late is None or late.everywhere):
            yield self._at(state, f"no handler takes anything here: add {_decorator(state)}.message(...)")
            return
        here = [step.targets for step in (*steps_at(flow, state), *self._around)]
        here += [late.step.targets] if late else []
        here += [flow.sub_flows[state].targets] if state in flow.sub_flows else []
        if not any(_leaves(targets, state) for targets in here):
            names = dict.fromkeys(name_of(step.route.handler) for step in flow.steps[state])
            who = f" ({', '.join(names)} only stay)" if names else ""
            yield self._at(
                state, f"nothing leads out of it{who}: return another state, BACK or End(...) here"
            )

    def _of_kinds(self, state: Enum) -> Iterator[str]:
        """Report handlers of kinds that never reach the flow: without a user for a flow of a user, without a chat for others.

        Not for a flow that an update of such a kind can begin.
        """
        missing = IMPERSONAL if self._flow.scope in {OWN, USER} else IMPERSONAL - OF_A_CHAT
        begins = [each for flow in (self._flow, *self._hosts) for each in flow.entries]
        if any(named is None or named & missing for named in map(_kinds_of, begins)):
            return
        for step in steps_at(self._flow, state):
            if (named := _kinds_of(step)) and named <= missing:
                whose = "a person" if self._flow.scope in {OWN, USER} else "a chat"
                yield self._at(
                    state,
                    f"{', '.join(sorted(named))} comes without {whose} and never reaches a flow of one ({name_of(step.route.handler)}): "
                    f"take it with a handler of the router",
                )

    def _of_buttons(self, state: Enum) -> Iterator[str]:
        flow = self._flow
        if state in flow.sub_flows:
            return  # the sub-flow asks, not this state
        steps = [*steps_at(flow, state), *flow.entries, *self._around]
        for button in buttons_of(flow.prompts.get(state)):
            if taker(steps, button) is None and not self._is_taken_outside(button):
                kind, carried = "message", ""
                if button.data is not None:
                    kind, carried = "callback_query", f" with the data {_plain(button.data)!r}"
                yield self._at(
                    state,
                    f"no handler takes the button {_plain(button.text)!r}{carried}: "
                    f"add {_decorator(state)}.{kind}(...), or take the button away",
                )

    def _is_taken_outside(self, button: Button) -> bool:
        return any(takes(route, ctx) for ctx in button.contexts() for route in self._outside)

    def _of_back(self) -> Iterator[str]:
        flow = self._flow
        for step in flow.entries:
            if step.targets.goes_back:
                yield self._says(
                    f"{name_of(step.route.handler)} begins the flow, so BACK leads nowhere: {_DO}"
                )
        if self._hosts:
            return  # without a history, back leads to the flow around
        where: dict[tuple[Any, Targets], list[Enum]] = {}
        for state in self._flow.states:
            if state in self._reached:
                for who in backs_of(flow, state):
                    where.setdefault(who, []).append(state)
        for (handler, _), states in where.items():
            if not self._with_history.intersection(states):
                names = ", ".join(_plain(state.value) for state in states)
                yield self._says(
                    f"state {names}: {name_of(handler)} returns BACK, but no state comes before: {_DO}"
                )

    def _of_end(self) -> Iterator[str]:
        if not self._hosts:
            return
        flow = self._flow
        hosts = ", ".join(_plain(host.name) for host in self._hosts)
        ends = [handler for handler, targets in _handlers(flow, self._reached) if targets.ends]
        if not ends:
            yield self._says(f"it runs in {hosts}, but never ends: return End(value) from a handler")
        elif flow.result not in {None, type(None)} and not any(map(ends_with_value, ends)):
            names = ", ".join(dict.fromkeys(map(name_of, ends)))
            yield self._says(
                f"it runs in {hosts}, but never ends with a value: return End({flow.result.__name__}) "
                f"from {names}"
            )

    def _at(self, state: Enum, text: str) -> str:
        return self._says(f"state {_plain(state.value)}: {text}")

    def _says(self, text: str) -> str:
        return f"flow {_plain(self._flow.name)}: {text}"


_DO = "return a state or End(...) instead"


def reached(flow: AnyFlow, *, inside: bool) -> tuple[set[Enum], set[Enum]]:
    """Return the reachable states, and those of them that can have a previous state."""
    begun = {state for step in flow.entries for state in step.targets.states} | set(flow.begins)
    if flow.mismatch_targets:
        begun |= flow.mismatch_targets.states
    if inside or not begun:
        begun.add(flow.first)
    todo, found, with_history = list(begun), set(begun), set[Enum]()
    while todo:
        state = todo.pop()
        for _, targets in _handlers(flow, [state]):
            with_history |= targets.states - {state}
            todo += targets.states - found
            found |= targets.states
    return found, with_history


def backs_of(flow: AnyFlow, state: Enum) -> list[tuple[Any, Targets]]:
    """Return the handlers that may return BACK in a state."""
    return [(handler, targets) for handler, targets in _handlers(flow, [state]) if targets.goes_back]


def _handlers(flow: AnyFlow, states: Any) -> Iterator[tuple[Any, Targets]]:
    """Yield all handlers of the states, with their targets."""
    for state in states:
        for step in steps_at(flow, state):
            yield step.route.handler, step.targets
        if late := flow.timeouts.get(state):
            yield late.step.route.handler, late.step.targets
        if sub := flow.sub_flows.get(state):
            yield sub.handler, sub.targets


def _around(hosts: Sequence[AnyFlow]) -> Iterator[Step]:
    """Yield the steps of the containing flows that apply while a sub-flow runs."""
    for host in hosts:
        yield from host.steps_anywhere
        for state in host.sub_flows:
            if late := host.timeouts.get(state):
                yield late.step


def _kinds_of(step: Step) -> frozenset[str] | None:
    """Return the kinds that a step names; None if it names none."""
    taken, named = step.route.kinds, kinds_of(step.route.filters)
    return named if taken is None else taken if named is None else taken & named


def _leaves(targets: Targets, state: Enum) -> bool:
    return targets.ends or targets.goes_back or bool(targets.states - {state})


def _decorator(state: Enum) -> str:
    return f"@flow.at({type(state).__name__}.{state.name})"


def _plain(text: str) -> str:
    return " ".join(text.split())  # a message is one line, whatever the names contain
