"""mypy accepts handlers that ask for what their update has, and rejects the others, each at its line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dialogue.routes import typical_mistakes
from tests.kit.docs import examples, pages

ROOT = Path(__file__).parents[3]
README_EXAMPLES = dict(
    re.findall(r"^```python\n# (\S+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
)

DOCS_EXAMPLES = {name: code for page in pages() for name, code in examples(page.name).items()}

HEAD = """
import re
from enum import Enum
from typing import Literal

from pydantic import BaseModel

from telegram.dialogue import (
    BACK, END, Back, CallbackContext, CallbackData, ChatContext, Context, End, Flow, MessageContext, Router,
    TimerContext, command, document, photo, regex, text,
)
from telegram.botapi.types import ChatBoostUpdated, Document, InlineQuery, PhotoSize, Poll, PreCheckoutQuery
from telegram.dialogue import any_of, chat_type, no
from telegram.dialogue import CheckoutContext, GuestContext, InlineContext, JoinRequestContext, ShippingContext

router = Router()


class Pick(CallbackData, prefix="pick"):
    number: int


class Args(BaseModel):
    name: str


class Step(Enum):
    ONE = "one"
    TWO = "two"


class Other(Enum):
    ONE = "one"


class Data(BaseModel):
    name: str = ""


class Wrong(BaseModel):
    name: str = ""


def has_photo(ctx: MessageContext) -> bool:
    return ctx.message.photo is not None


async def is_member(ctx: MessageContext) -> bool:
    return ctx.user_id == 7


def of_a_button(ctx: CallbackContext) -> bool:
    return ctx.button is not None


flow = Flow("flow", Step, Data)
valued = Flow("valued", Other, Data, str)
"""

GOOD = """
@router.message(text)
async def a(ctx: MessageContext) -> None:
    ctx.reply(ctx.message.chat.title or ctx.text)

@router.message(photo)
async def b(ctx: MessageContext, sizes: list[PhotoSize]) -> None:
    ctx.reply(sizes[0].file_id)

@router.message(command("x").parse(Args))
async def c(ctx: MessageContext, args: Args) -> None:
    ctx.reply(args.name)

@router.callback_query(Pick)
async def d(ctx: CallbackContext, pick: Pick) -> None:
    ctx.answer(str(pick.number))
    ctx.edit("x")

@router.inline_query()
async def e(ctx: Context[InlineQuery]) -> None:
    ctx.call("answerInlineQuery", inline_query_id=ctx.event.id, results=[])

@router.message()
async def f(ctx: ChatContext) -> None:
    ctx.reply("a wider context")

@router.timer("late")
async def g(ctx: TimerContext) -> None:
    ctx.reply(ctx.timer)

@flow.entry.message(command("x"))
async def h(ctx: MessageContext, data: Data) -> Literal[Step.ONE]:
    return Step.ONE

@flow.at(Step.ONE).message(photo)
async def i(ctx: MessageContext, data: Data, sizes: list[PhotoSize]) -> Literal[Step.TWO] | End[None] | Back | None:
    return BACK if sizes else END

@flow.at(Step.TWO).callback_query(Pick)
async def j(ctx: CallbackContext, data: Data, pick: Pick) -> Step:
    return Step.TWO

@flow.at(Step.TWO).timeout(60)
async def k(ctx: TimerContext, data: Data) -> End[None]:
    return END

@valued.at(Other.ONE).message(text)
async def l(ctx: MessageContext, data: Data) -> End[str]:
    return End(ctx.text)

@flow.at(Step.TWO).runs(valued)
async def m(ctx: ChatContext, data: Data, value: str) -> Literal[Step.ONE]:
    return Step.ONE

@flow.at(Step.ONE).asks
async def n(ctx: ChatContext, data: Data) -> None:
    ctx.reply(data.name)

@router.message(photo)
async def o(sizes: list[PhotoSize], ctx: MessageContext) -> None:
    ctx.reply(sizes[0].file_id)

@router.message(photo, regex("x"))
async def p(found: re.Match[str], sizes: list[PhotoSize], ctx: MessageContext) -> None:
    ctx.reply(found[0])

@router.callback_query(Pick)
async def q(pick: Pick) -> None:
    print(pick.number)

@flow.at(Step.TWO).message(photo)
async def r(sizes: list[PhotoSize], data: Data) -> Literal[Step.TWO]:
    return Step.TWO

@router.inline_query()
async def s(ctx: InlineContext) -> None:
    ctx.answer_page([], cache_time=0)

@router.pre_checkout_query()
async def t(ctx: CheckoutContext) -> None:
    if ctx.event.total_amount:
        ctx.approve()
    else:
        ctx.refuse("Sold out")

@router.pre_checkout_query()
async def u(ctx: ChatContext[PreCheckoutQuery]) -> None:
    ctx.reply(ctx.event.currency)

@router.shipping_query()
async def v(ctx: ShippingContext) -> None:
    ctx.approve([{"id": "a"}])

@router.chat_join_request()
async def w(ctx: JoinRequestContext) -> None:
    ctx.approve()

@router.guest_message(photo)
async def x(ctx: GuestContext, sizes: list[PhotoSize]) -> None:
    ctx.answer({})

@router.poll()
async def y(ctx: Context[Poll]) -> None:
    print(ctx.event.question)

@router.message(has_photo, is_member)
async def aa(ctx: MessageContext) -> None: ...

@router.message(text & has_photo, ~chat_type("private") | has_photo, no(has_photo), stop=text & chat_type("private"))
async def ab(ctx: MessageContext) -> None: ...

@router.message(photo | document)
async def ac(found: list[PhotoSize] | Document, ctx: MessageContext) -> None: ...

@router.message(any_of(photo, document) & has_photo, regex("x"))
async def ad(ctx: MessageContext, found: list[PhotoSize] | Document, match: re.Match[str]) -> None: ...

@flow.at(Step.TWO).message(photo & has_photo, is_member)
async def ae(ctx: MessageContext, data: Data, sizes: list[PhotoSize]) -> None: ...

@router.chat_boost(timeout_s=3)
async def z(ctx: ChatContext[ChatBoostUpdated]) -> None:
    ctx.reply(ctx.event.boost.boost_id)
"""

BAD = {
    **{name: typical_mistakes.HEAD + snippet for name, snippet in typical_mistakes.MISTAKES.items()},
    "an option that no decorator has": """
@router.message(text, timeout=3)  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "an option of another type": """
@router.message(text, timeout_s="3")  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "a payment is not answered like a button": """
@router.pre_checkout_query()
async def handler(ctx: CheckoutContext) -> None:
    ctx.answer("x")  # error
""",
    "a payment is refused with a reason": """
@router.pre_checkout_query()
async def handler(ctx: CheckoutContext) -> None:
    ctx.refuse()  # error
""",
    "a poll has no chat to reply to": """
@router.poll()
async def handler(ctx: Context[Poll]) -> None:
    ctx.reply("x")  # error
""",
    "a handler of payments asks for an address": """
@router.pre_checkout_query()  # error
async def handler(ctx: ShippingContext) -> None: ...
""",
    "a filter of another context": """
@router.message(of_a_button)  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "an async filter of another context": """
@router.callback_query(is_member)  # error
async def handler(ctx: CallbackContext) -> None: ...
""",
    "combined filters of different contexts": """
@router.message(text & of_a_button)  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "a router's filter is for all kinds": """
inner = Router(has_photo)  # error
""",
    "only one of the two that are handed over": """
@router.message(photo | document)  # error
async def handler(ctx: MessageContext, found: Document) -> None: ...
""",
    "two values in one": """
@router.message(photo & document)  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "a handler is no filter": """
@router.message  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "in another order, of another type": """
@router.message(photo)  # error
async def handler(found: Document, ctx: MessageContext) -> None: ...
""",
    "a message handler asks for a button": """
@router.message(text)  # error
async def handler(ctx: CallbackContext) -> None: ...
""",
    "a button's handler asks for a message": """
@router.callback_query()  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "a message cannot be answered like a button": """
@router.message(text)
async def handler(ctx: MessageContext) -> None:
    ctx.answer("x")  # error
""",
    "an extract of another type": """
@router.message(photo)  # error
async def handler(ctx: MessageContext, found: Document) -> None: ...
""",
    "parsed arguments of another type": """
@router.message(command("x").parse(Args))  # error
async def handler(ctx: MessageContext, args: Data) -> None: ...
""",
    "callback data of another type": """
@router.callback_query(Pick)  # error
async def handler(ctx: CallbackContext, pick: Args) -> None: ...
""",
    "an argument that nothing hands over": """
@router.message(text)  # error
async def handler(ctx: MessageContext, found: Document) -> None: ...
""",
    "an inline query has no chat to reply to": """
@router.inline_query()
async def handler(ctx: Context[InlineQuery]) -> None:
    ctx.reply("x")  # error
""",
    "an inline query is no update of a chat": """
@router.inline_query()  # error
async def handler(ctx: ChatContext) -> None: ...
""",
    "a handler that is not async": """
@router.message(text)  # error
def handler(ctx: MessageContext) -> None: ...
""",
    "a flow's handler with another flow's data": """
@flow.at(Step.ONE).message(text)  # error
async def handler(ctx: MessageContext, data: Wrong) -> None: ...
""",
    "a flow's handler that leads to another flow's state": """
@flow.at(Step.ONE).message(text)  # error
async def handler(ctx: MessageContext, data: Data) -> Literal[Other.ONE]:
    return Other.ONE
""",
    "a handler at another flow's state": """
@flow.at(Other.ONE).message(text)  # error
async def handler(ctx: MessageContext, data: Data) -> None: ...
""",
    "a flow's handler that returns no outcome": """
@flow.at(Step.ONE).message(text)  # error
async def handler(ctx: MessageContext, data: Data) -> str:
    return "two"
""",
    "a state that the annotation does not name": """
@flow.at(Step.ONE).message(text)
async def handler(ctx: MessageContext, data: Data) -> Literal[Step.ONE]:
    return Step.TWO  # error
""",
    "a flow that ends with a value of another type": """
@valued.at(Other.ONE).message(text)  # error
async def handler(ctx: MessageContext, data: Data) -> End[int]:
    return End(1)
""",
    "what takes a sub-flow's value as another type": """
@flow.at(Step.ONE).runs(valued)  # error
async def handler(ctx: ChatContext, data: Data, value: int) -> Literal[Step.TWO]:
    return Step.TWO
""",
    "a folder in the place of texts": """
spoken = Router(texts="locales")  # error
""",
    "a text that is a number": """
@router.message(text)
async def handler(ctx: MessageContext) -> None:
    ctx.reply(ctx.t(5))  # error
""",
    "a language that is a number": """
@router.message(text)
async def handler(ctx: MessageContext) -> None:
    ctx.lang = 5  # error
""",
    "a menu that there is not": """
@router.message(command("x", help="X", shown="everybody"))  # error
async def handler(ctx: MessageContext) -> None: ...
""",
    "a kind of link that there is not": """
from telegram.web import deep_link
link = deep_link("my_bot", "begin")  # error
""",
    "a time-out's handler asks for a message": """
@flow.at(Step.ONE).timeout(60)  # error
async def handler(ctx: MessageContext, data: Data) -> None: ...
""",
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory) -> dict[str, dict[int, str]]:
    """By file: the errors that one run of mypy reports, by line."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "good.py").write_text(HEAD + GOOD)
    (folder / "fine.py").write_text(HEAD + typical_mistakes.HEAD + typical_mistakes.FINE)
    for number, snippet in enumerate(BAD.values()):
        (folder / f"bad_{number}.py").write_text(HEAD + snippet)
    for name, source in README_EXAMPLES.items():
        (folder / name).write_text(source)
    for name, source in DOCS_EXAMPLES.items():
        (folder / f"{name}.py").write_text(source)
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, "--strict", *map(str, sorted(folder.glob("*.py")))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in {0, 1}, ran.stdout + ran.stderr
    found: dict[str, dict[int, str]] = {}
    for file, line, what in re.findall(r"^(?:.*/)?(\w+)\.py:(\d+): error: (.*)$", ran.stdout, re.MULTILINE):
        found.setdefault(file, {})[int(line)] = what
    return found


def test_good_handlers_are_accepted(errors):
    assert errors.get("good") is None
    assert errors.get("fine") is None


@pytest.mark.parametrize("name", README_EXAMPLES)
def test_the_readmes_examples_are_accepted(errors, name):
    assert errors.get(name.removesuffix(".py")) is None


@pytest.mark.parametrize("name", DOCS_EXAMPLES)
def test_the_examples_of_the_docs_are_accepted(errors, name):
    assert errors.get(name) is None


@pytest.mark.parametrize("number", range(len(BAD)), ids=list(BAD))
def test_a_bad_handler_is_rejected_at_its_line(errors, number):
    lines = (HEAD + list(BAD.values())[number]).splitlines()
    expected = [line for line, source in enumerate(lines, start=1) if source.endswith("# error")]
    assert list(errors.get(f"bad_{number}", {})) == expected
