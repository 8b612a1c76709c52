"""Flows that wait, in a group, for an update that comes without a chat: a payment, the answer to a poll, an inline query.

Such an update names its person only (Telegram Bot API, PreCheckoutQuery, PollAnswer, InlineQuery), so it belongs to the private
chat. A flow that comes into a state whose handlers name such a kind notes in a state of its person where it waits, in the
same commit. When the update comes, the newest place of which the flow still waits for that kind is its conversation; the private
chat's flow comes first. What is noted of a flow that has gone on without it counts for nothing, and goes with the next note.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from telegram.dialogue.context import OF_A_PERSON, Context
from telegram.dialogue.conversation import OWN_SCOPE, Where
from telegram.dialogue.flows.plan import Plan, Step
from telegram.dialogue.kinds import kinds_of

WAITS: Final = "~waits"
"""The conversation, lent to an update of a group, that holds where its person's flows wait."""

_PLACES: Final = "places"
_PLACES_MAX: Final = 8

AnyPlan = Plan[Any, Any, Any]


def place_of_waits(person: int) -> Where:
    """Where it lies that flows of this person wait."""
    return f"user:{person}", WAITS


def awaited_by(flow: AnyPlan) -> frozenset[str]:
    """Return the kinds that have a person and no chat which the flow, or one that runs in it, takes in some state."""
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
    """Return those that are taken now; `frames`: the flow and those that run in it, each with its state."""
    return frozenset[str]().union(*(_named(_steps(flow, state)) for flow, state in frames))


def awaits(flows: Mapping[str, AnyPlan], record: Mapping[str, Any] | None, kind: str | None) -> bool:
    """Whether a flow with this record waits for an update of this kind."""
    try:
        stack = record["stack"] if record else []
        flow = flows[stack[0]["flow"]] if stack else None
        frames: list[tuple[AnyPlan, Any]] = []
        for frame in stack if flow else []:
            if frames:
                flow = frames[-1][0].sub_flows[frames[-1][1]].flow
            frames.append((flow, flow.states(frame["state"])))  # type: ignore[union-attr, arg-type] # there is one
    except (LookupError, ValueError, TypeError):
        return False  # of another program, or another version of this one
    return kind in awaited_at(frames)


def note_waiting(ctx: Context, frames: list[tuple[AnyPlan, Any]], scope: str) -> None:
    """Note in WAITS that the flow, after this turn in these frames, waits here; or that it does not any more."""
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
    """Return the places that were noted, the newest first: `key` and `scope` of the conversation, `home` and where it `lies`."""
    return list(noted.get(_PLACES, []))


def _steps(flow: AnyPlan, state: Any) -> list[Step]:
    return [*flow.steps[state], *flow.steps_anywhere, *flow.steps_else]


def _named(steps: Iterable[Step]) -> frozenset[str]:
    """The kinds of a person that the steps name; a step of whatever comes names none."""
    found = set[str]()
    for step in steps:
        named = kinds_of(step.route.filters)
        taken = step.route.kinds
        both = named if taken is None else taken if named is None else taken & named
        found |= both or set()
    return frozenset(found) & OF_A_PERSON
