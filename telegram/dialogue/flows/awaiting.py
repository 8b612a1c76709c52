"""Flows that wait, in a group, for an update without a chat: a payment, a poll answer, an inline query.

Such an update has a user only (Telegram Bot API, PreCheckoutQuery, PollAnswer, InlineQuery), so by default it belongs to the
private chat. A flow that enters a state with handlers for such a kind records its place in a state of the user, in the same
commit. When the update comes, its conversation is the newest recorded place whose flow still waits for that kind; a waiting
flow of the private chat has priority. An outdated record is ignored, and overwritten by the next one.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from telegram.dialogue.contexts.context import OF_A_PERSON, Context
from telegram.dialogue.filters.conditions import kinds_of
from telegram.dialogue.flows.plan import Plan, Step
from telegram.dialogue.state.conversation import OWN_SCOPE, Where

WAITS: Final = "~waits"
"""The name of the conversation with the places where a user's flows wait (Memory.lend), and its scope in the store."""

_PLACES: Final = "places"
_PLACES_MAX: Final = 8

AnyPlan = Plan[Any, Any, Any]


def place_of_waits(person: int) -> Where:
    """Return key and scope of the record of a user's waiting flows."""
    return f"user:{person}", WAITS


def awaited_by(flow: AnyPlan) -> frozenset[str]:
    """Return the kinds with a user and no chat that the flow, or a sub-flow of it, handles in some state."""
    found = frozenset[str]()
    seen, todo = {flow}, [flow]
    while todo:
        each = todo.pop()
        found |= _named(step for state in each.states for step in _steps(each, state))
        inner = {sub.flow for sub in each.sub_flows.values()} - seen
        seen |= inner
        todo += inner
    return found


def awaited_at(frames: Iterable[tuple[AnyPlan, Any]]) -> frozenset[str]:
    """Return the kinds handled in the current states; `frames`: the flow and its running sub-flows, each with its state."""
    return frozenset[str]().union(*(_named(_steps(flow, state)) for flow, state in frames))


def awaits(flows: Mapping[str, AnyPlan], record: Mapping[str, Any] | None, kind: str | None) -> bool:
    """Return whether a flow with this stored record waits for an update of this kind."""
    try:
        stack = record["stack"] if record else []
        flow = flows[stack[0]["flow"]] if stack else None
        frames: list[tuple[AnyPlan, Any]] = []
        for frame in stack if flow else []:
            if frames:
                flow = frames[-1][0].sub_flows[frames[-1][1]].flow
            frames.append((flow, flow.states(frame["state"])))  # type: ignore[union-attr, arg-type] # there is one
    except (LookupError, ValueError, TypeError):
        return False  # stored by another program, or another version of this one
    return kind in awaited_at(frames)


def note_waiting(ctx: Context, frames: list[tuple[AnyPlan, Any]], scope: str) -> None:
    """Record in WAITS whether the flow, which is in these frames after this turn, waits here."""
    noted = ctx.conversation(WAITS).data
    key, own = ctx.memory.place(OWN_SCOPE)
    lies = ctx.memory.place(scope)[1]
    places = [each for each in noted.get(_PLACES, []) if (each["key"], each["lies"]) != (key, lies)]
    if awaited_at(frames):
        home = ctx.speaks_in()
        places = [{"key": key, "scope": own, "lies": lies, "home": home}, *places][:_PLACES_MAX]
    if places:
        noted[_PLACES] = places
    else:
        noted.pop(_PLACES, None)


def places_of(noted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the recorded places, newest first: `key` and `scope` of the conversation, `lies`: the flow's scope, `home`."""
    return list(noted.get(_PLACES, []))


def _steps(flow: AnyPlan, state: Any) -> list[Step]:
    return [*flow.steps[state], *flow.steps_anywhere, *flow.steps_else]


def _named(steps: Iterable[Step]) -> frozenset[str]:
    """Return the kinds without a chat that the steps name; a step for any kind names none."""
    found = set[str]()
    for step in steps:
        named = kinds_of(step.route.filters)
        taken = step.route.kinds
        both = named if taken is None else taken if named is None else taken & named
        found |= both or set()
    return frozenset(found) & OF_A_PERSON
