"""A handler leads only where its annotation says: that is what pictures and checks go by."""

from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from telegram.dialogue import ChatContext, Router, command, text
from telegram.dialogue.contexts.signature import takes_of
from telegram.dialogue.flows.flow import Flow
from telegram.dialogue.flows.outcomes import BACK, END, Back, End
from telegram.dialogue.router.table import Table
from tests.kit.deliveries import context, message


class S(Enum):
    A = "a"
    B = "b"


class Data(BaseModel):
    n: int = 0


def returning(outcome: Any, annotated: Any, takes: int = 2) -> Any:
    async def handler(ctx: Any, data: Any) -> Any:
        return outcome

    async def value_handler(ctx: Any, data: Any, value: Any) -> Any:
        return outcome

    made = handler if takes == 2 else value_handler
    made.__annotations__["return"] = annotated
    made.__qualname__ = "their_handler"
    return made


async def say(flow: Flow[Any, Any, Any], said: str, state: bytes | None) -> Any:
    """Handle a text; return the state after it."""
    router = Router()
    router.include(flow)
    ctx = context({"message": message(said)}, state=state)
    taken = Table(router).find(ctx)
    assert taken is not None
    await taken.run()
    return ctx.conversation().encoded()


def flow() -> Flow[Any, Any, Any]:
    made: Flow[Any, Any, Any] = Flow("f", S, Data)
    made.entry.message(command("f"))(returning(S.A, Literal[S.A]))
    return made


CASES = [
    (S.B, Literal[S.A], "returned S.B, but its annotation names S.A"),
    (S.A, Literal[S.B] | End[None], "returned S.A, but its annotation names S.B, End"),
    (END, Back | None, "returned End, but its annotation names Back, None"),
    (BACK, S, "returned Back, but its annotation names S.A, S.B"),
    (None, Literal[S.B], "returned None, but its annotation names S.B"),
    ("b", S, "returned b, but its annotation names S.A, S.B"),
]


@pytest.mark.parametrize(("outcome", "annotated", "says"), CASES)
async def test_what_the_annotation_does_not_name_is_refused_at_the_handler(outcome, annotated, says):
    made = flow()
    made.at(S.A).message(text)(returning(outcome, annotated))
    state = await say(made, "/f", None)
    with pytest.raises(TypeError) as caught:
        await say(made, "hello", state)
    assert str(caught.value) == f"f: their_handler {says}: add it there"


@pytest.mark.parametrize("outcome", [S.A, S.B, END, BACK, None])
async def test_what_it_names_is_followed(outcome):
    made = flow()
    made.at(S.A).message(text)(returning(outcome, S | End[None] | Back | None))
    await say(made, "hello", await say(made, "/f", None))


async def test_an_entry_too():
    made: Flow[Any, Any, Any] = Flow("f", S, Data)
    made.entry.message(command("f"))(returning(S.B, Literal[S.A]))
    with pytest.raises(TypeError, match=r"their_handler returned S\.B"):
        await say(made, "/f", None)


async def test_what_takes_the_value_of_a_sub_flow_too():
    inner, made = Flow("inner", S, Data), flow()
    inner.at(S.A).message(text)(returning(END, End[None]))
    made.at(S.A).runs(inner)(returning(S.A, Literal[S.B], takes=3))
    state = await say(made, "/f", None)
    with pytest.raises(TypeError, match=r"^f: their_handler returned S\.A"):
        await say(made, "hello", state)


async def test_a_mismatch_handler_declares_its_outcomes_too():
    made = flow()
    made.at(S.A).message(text)(returning(END, End[None]))
    made.mismatch(returning(S.B, Literal[S.A], takes=3))
    state = await say(made, "/f", None)
    assert state is not None
    with pytest.raises(TypeError, match=r"^f: their_handler returned S\.B"):
        await say(made, "hello", state.replace(b'"state":"a"', b'"state":"gone"'))


def test_any_fits_on_both_sides():
    async def vague(ctx: Any, value: Any) -> None: ...
    async def exact(ctx: ChatContext, value: str) -> None: ...

    takes_of(vague, (ChatContext, str))
    takes_of(exact, (ChatContext, Any))
    with pytest.raises(TypeError, match="value is str, but would be int"):
        takes_of(exact, (ChatContext, int))


class Other(Enum):
    A = "a"


@pytest.mark.parametrize("annotated", [Other, Literal[Other.A], str, Literal["a"], S | str])
def test_an_annotation_names_states_of_this_flow_only(annotated):
    with pytest.raises(TypeError, match=r"^their_handler: .* is not a state of S, End, Back or None$"):
        flow().at(S.A).message(text)(returning(S.A, annotated))


def test_a_handlers_annotation_declares_its_outcomes():
    async def silent(ctx, data): ...
    async def unknown(ctx: Any, data: Any) -> "Missing": ...  # type: ignore[name-defined] # noqa: F821

    for handler in (silent, unknown):
        with pytest.raises(TypeError, match=r"write where it leads, like -> Literal\[S\.A\]"):
            flow().at(S.A).message(text)(handler)


class Numbers(Enum):
    ONE = 1


class Empty(Enum):
    pass


class Needs(BaseModel):
    n: int
    m: int = 0


@pytest.mark.parametrize(
    ("states", "data", "why"),
    [
        (Numbers, Data, "f: the states are an Enum of strings"),
        (Empty, Data, "f: the states are an Enum of strings"),
        (S, Needs, "f: give every field of Needs a default: n$"),
    ],
)
def test_an_impossible_flow_is_an_error_at_registration(states, data, why):
    with pytest.raises(TypeError, match=why):
        Flow("f", states, data)


def test_at_wants_a_state():
    with pytest.raises(ValueError, match=r"f: at\(\) wants at least one state"):
        flow().at()
