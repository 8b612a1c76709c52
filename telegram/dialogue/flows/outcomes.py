"""The outcomes of a flow's handlers: a state, END, BACK, or None to stay."""

from enum import Enum
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from telegram.dialogue.contexts.signature import check_returned

R_co = TypeVar("R_co", covariant=True)


class End(Generic[R_co]):
    """End the flow. `value` is the result of a sub-flow for the flow that runs it."""

    __slots__ = ("value",)

    def __init__(self, value: R_co) -> None:
        self.value = value


class Back:
    """Return to the previous state, which asks again."""

    __slots__ = ()


END: Final = End(None)
BACK: Final = Back()


class Targets(NamedTuple):
    """The possible outcomes of a handler, from its return annotation."""

    states: frozenset[Enum]
    ends: bool
    goes_back: bool
    stays: bool


def targets_of(handler: Any, states: type[Enum]) -> Targets:
    """Return the possible outcomes of a handler. TypeError if its annotation is missing, or has another flow's state."""
    name = name_of(handler)
    try:
        annotated = get_type_hints(handler)["return"]
    except (KeyError, NameError, TypeError):
        raise TypeError(
            f"{name}: write where it leads, like -> Literal[{states.__name__}.{next(iter(states)).name}], End[None] or None"
        ) from None
    found: set[Enum] = set()
    ends = goes_back = stays = False
    for part in _parts(annotated):
        if part is NoneType:
            stays = True
        elif part is End or get_origin(part) is End:
            ends = True
        elif part is Back:
            goes_back = True
        elif part is states:
            found.update(states)
        elif isinstance(part, states):
            found.add(part)
        else:
            raise TypeError(f"{name}: {part} is not a state of {states.__name__}, End, Back or None")
    return Targets(frozenset(found), ends, goes_back, stays)


def check_outcome(flow: str, handler: Any, targets: Targets, outcome: Any) -> None:
    """Raise TypeError if a handler returned an outcome that its annotation lacks, so that checks and diagrams are right."""
    if outcome is None:
        named = targets.stays
    elif isinstance(outcome, End):
        named = targets.ends
    elif isinstance(outcome, Back):
        named = targets.goes_back
    else:
        named = any(outcome is state for state in targets.states)
    if not named:
        check_returned(handler, outcome)
        may = [str(state) for state in sorted(targets.states, key=lambda state: str(state.value))]
        may += [
            name
            for name, is_named in (
                ("End", targets.ends),
                ("Back", targets.goes_back),
                ("None", targets.stays),
            )
            if is_named
        ]
        returned = type(outcome).__name__ if isinstance(outcome, End | Back) else str(outcome)
        raise TypeError(
            f"{flow}: {name_of(handler)} returned {returned}, but its annotation names {', '.join(may)}: add it there"
        )


def name_of(handler: Any) -> str:
    """Return the name of a handler for messages."""
    return getattr(handler, "__qualname__", repr(handler))


def ends_with_value(handler: Any) -> bool:
    """Return whether a handler's annotation has an End with a value, i.e. other than End[None]."""
    return any(
        (part is End or get_origin(part) is End) and get_args(part) != (NoneType,)
        for part in _parts(get_type_hints(handler)["return"])
    )


def _parts(annotated: Any) -> list[Any]:
    if get_origin(annotated) in {Union, UnionType}:
        return [part for each in get_args(annotated) for part in _parts(each)]
    if get_origin(annotated) is Literal:
        return list(get_args(annotated))
    return [NoneType if annotated is None else annotated]
