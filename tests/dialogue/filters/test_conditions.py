"""Filters combined with `&`, `|`, `~`; async filters; filters of narrower contexts; commands with a prefix of their own.

Met by others: aiogram/aiogram#637 (what a filter or a middleware gives is missing where a router is nested),
python-telegram-bot/python-telegram-bot#812. A filter that awaits a database stops everything behind it in libraries that
handle updates one by one; here it is bounded, and holds up its own chat only.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine import Park, Retry
from telegram.botapi.types import Document, PhotoSize
from telegram.dialogue import (
    CallbackContext,
    CallbackData,
    ChatContext,
    Context,
    Extract,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    any_of,
    chat_type,
    command,
    content,
    data,
    document,
    kind,
    no,
    photo,
    regex,
    text,
    video,
)
from telegram.dialogue.filters.conditions import label_of
from telegram.dialogue.inbox.awaited import FILTER_TIMEOUT_S
from telegram.dialogue.router.table import Table
from tests.dialogue.flows.test_flow import Answers, Step
from tests.kit.deliveries import GROUP, Direct, context, delivery, message, press, sent
from tests.kit.rig import open_rig
from tests.kit.rig import text as typed
from tests.kit.virtual import run_virtual

PHOTO = [{"file_id": "p", "file_unique_id": "u", "width": 1, "height": 1}]
DOCUMENT = {"file_id": "d", "file_unique_id": "u"}

private = chat_type("private")


class Pick(CallbackData, prefix="pick"):
    number: int


def said(words: str | None = "hello", **more: Any) -> Any:
    return context({"message": message(words, **more)}, username="my_bot")


def own(ctx: Context) -> bool:
    return ctx.text == "own"


def texts(effects: Any) -> list[str]:
    return [params["text"] for _, _, params in sent(effects)]


# ---- operators


@pytest.mark.parametrize(
    ("combined", "passing", "failing"),
    [
        (text & private, said(), said(chat=GROUP)),
        (text & own, said("own"), said("x")),
        (own & text, said("own"), said("x")),
        (text | photo, said(), said(None, document=DOCUMENT)),
        (own | command("x"), said("/x"), said("/y")),
        (~text, said("/x"), said("x")),
        (~photo, said(), said(None, photo=PHOTO)),
        (~(text | photo), said(None, document=DOCUMENT), said(None, photo=PHOTO)),
        (text & no(own), said("x"), said("own")),
        (command("a") | command("b"), said("/b"), said("/c")),
        (data("a") & ~kind("message"), context({"callback_query": press("a")}), said("a")),
        (content("photo") & private, said(None, photo=PHOTO), said(None, photo=PHOTO, chat=GROUP)),
        (no(text) & private, said("/x"), said("x")),
        (any_of(text, own) & private, said("x"), said("x", chat=GROUP)),
    ],
)
def test_operators_combine_conditions(combined, passing, failing):
    assert combined(passing) is True
    assert combined(failing) is False


@pytest.mark.parametrize("combined", [photo & private, private & photo])
def test_an_extract_with_a_condition_still_hands_its_value_over(combined: Any) -> None:
    assert Extract in type(combined).mro()
    assert combined.read(said(None, photo=PHOTO))[0].file_id == "p"
    assert combined.read(said(None, photo=PHOTO, chat=GROUP)) is None
    assert combined.read(said()) is None


@pytest.mark.parametrize("either", [photo | document, any_of(photo, document), photo | document | video])
def test_of_several_extracts_the_value_that_is_there_is_handed_over(either: Any) -> None:
    assert Extract in type(either).mro()
    assert either.read(said(None, photo=PHOTO))[0].file_id == "p"
    assert either.read(said(None, document=DOCUMENT)).file_id == "d"
    assert either.read(said()) is None
    assert either(said(None, document=DOCUMENT)) is True


async def test_a_handler_gets_what_any_of_has_found():
    router = Router()

    @router.message(photo | document)
    async def handler(found: list[PhotoSize] | Document, ctx: MessageContext) -> None:
        ctx.reply(found.file_id if isinstance(found, Document) else found[-1].file_id)

    assert texts(await Direct(router)(delivery({"message": message(None, photo=PHOTO)}))) == ["p"]
    assert texts(await Direct(router)(delivery({"message": message(None, document=DOCUMENT)}))) == ["d"]


def test_where_no_handler_takes_the_value_it_is_a_condition():
    for wanting in (lambda: Router(photo | document), lambda: Router().message(stop=any_of(photo, document))):
        wanting()
    with pytest.raises(TypeError, match="hands a value over"):
        Router(photo)  # type: ignore[arg-type] # the point of the test


def test_two_values_are_not_one():
    with pytest.raises(TypeError, match="photo & document would hand over two values"):
        photo & document  # type: ignore[operator]
    for wrong in ("text", None, 3, MessageContext):
        for combine in (lambda each: text & each, lambda each: each | text, lambda each: photo & each):
            with pytest.raises(TypeError, match=r"filter|unsupported"):
                combine(wrong)


def test_combinations_have_names_in_diagrams():
    assert label_of(text & ~private) == "text and not in a private chat"
    assert label_of(photo | own) == "photo or own"
    assert label_of(photo & private) == "photo and in a private chat"


def test_the_router_knows_the_kinds_and_commands_of_combinations():
    router = Router()

    async def handler() -> None: ...

    router.update(kind("poll") | kind("poll_answer"))(handler)
    router.message(command("one") & private)(handler)
    router.message(command("two", prefix="!/"))(handler)
    assert {"poll", "poll_answer"} <= set(router.allowed_updates())
    assert "chat_boost" not in router.allowed_updates()
    assert router.commands() == ["one", "two"]


# ---- commands with a prefix of their own

BANG = command("add", "plus", prefix="!.")
EITHER = command("add", prefix="!/")


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ("!add", ""),
        (".plus milk", "milk"),
        ("!ADD  milk and bread ", "milk and bread"),
        ("!add@My_Bot x", "x"),
        ("!add, x", "x"),
        ("!add\nx", "x"),
    ],
)
def test_a_command_with_a_prefix_and_its_arguments(words, args):
    assert BANG(said(words))
    assert BANG.args(said(words)) == args


@pytest.mark.parametrize(
    "words", ["/add", "add", "!sub", "!addition", "! add", "!!add", "!add/x", "!add@other_bot", "", "!"]
)
def test_other_texts_are_none(words):
    assert not BANG(said(words))


def test_it_is_none_in_code_and_one_in_bold():
    marked = [{"type": "code", "offset": 0, "length": 4}]
    assert not BANG(said("!add x", entities=marked))
    assert BANG(said("!add x", entities=[{**marked[0], "type": "bold"}]))
    assert BANG(said(None, photo=PHOTO, caption="!add x"))
    assert not BANG(context({"callback_query": press("!add")}))


def test_other_names_than_telegrams_are_possible_without_the_slash():
    hilfe = command("помощь", prefix="!")
    assert hilfe(said("!Помощь мне"))
    with pytest.raises(ValueError, match="Telegram knows no command"):
        command("помощь", prefix="!/")


@pytest.mark.parametrize("prefix", ["", "a", "!1", " ", "_", "@"])
def test_a_prefix_is_a_sign(prefix):
    with pytest.raises(ValueError, match="prefix is one or several characters"):
        command("add", prefix=prefix)


@pytest.mark.parametrize(("words", "name"), [("!add milk", None), ("/add milk", "add")])
@pytest.mark.parametrize("passes", [EITHER, EITHER & private, any_of(command("x"), EITHER)])
async def test_the_handler_finds_the_arguments_in_the_context(words, name, passes):
    router = Router()

    @router.message(command("add"))
    async def other(ctx: MessageContext) -> None:
        ctx.reply("slash")

    @router.message(passes)
    async def handler(ctx: MessageContext) -> None:
        ctx.reply(f"{ctx.args} {ctx.command}")

    (reply,) = texts(await Direct(router)(delivery({"message": message(words)})))
    assert reply == ("slash" if name else "milk None")


def test_a_text_and_a_command_with_a_prefix_are_no_contradiction():
    register: Any = Router().message

    async def handler() -> None: ...

    register(text, BANG)(handler)
    register(BANG, command("other"))(handler)
    with pytest.raises(TypeError, match="nothing is"):
        register(text, command("add"))(handler)


# ---- async filters


class Members:
    """A database of members, asked by an async filter."""

    def __init__(self, *members: int, takes_s: float = 0.0) -> None:
        self.members = members
        self.takes_s = takes_s
        self.asked = 0

    def filter(self) -> Any:
        async def is_member(ctx: Context) -> bool:
            self.asked += 1
            await asyncio.sleep(self.takes_s)
            return ctx.user_id in self.members

        return is_member


def club(is_member: Any, *more: Any) -> Router:
    router = Router()

    @router.message(is_member, *more)
    async def inside(ctx: MessageContext) -> None:
        ctx.reply("welcome")

    @router.message(no(is_member))
    async def outside(ctx: MessageContext) -> None:
        ctx.reply("members only")

    return router


@pytest.mark.parametrize(
    "wrapped", [lambda f: f, lambda f: any_of(f, own), lambda f: text & f, lambda f: f & text and no(no(f))]
)
def test_an_async_filter_is_awaited_once_an_attempt(wrapped):
    for members, expected in (((7,), "welcome"), ((), "members only")):
        base = Members(*members)
        is_member = base.filter()
        router = Router()

        @router.message(wrapped(is_member))
        async def inside(ctx: MessageContext) -> None:
            ctx.reply("welcome")

        @router.message(no(is_member))
        async def outside(ctx: MessageContext) -> None:
            ctx.reply("members only")

        handler = Direct(router)
        assert texts(run_virtual(handler(delivery({"message": message()})))) == [expected]
        assert base.asked == 1
        run_virtual(handler(delivery({"message": message()}, attempt=2)))
        assert base.asked == 2  # it may have changed meanwhile


def test_it_is_not_asked_for_updates_that_another_filter_leaves_out():
    base = Members(7)
    router = Router()

    @router.message(text, base.filter())
    async def handler(ctx: MessageContext) -> None: ...

    run_virtual(Direct(router)(delivery({"message": message("/command")})))
    run_virtual(Direct(router)(delivery({"callback_query": press("x")})))
    assert base.asked == 0


@pytest.mark.parametrize("inner", [True, False])
def test_a_router_and_a_flow_may_have_one(inner):
    base = Members(7)
    is_member = base.filter()
    router, flow = Router(), Flow("club", Step, Answers)

    @flow.entry.message(is_member)
    async def begin(ctx: MessageContext) -> None:
        ctx.reply("in the flow")

    guarded = Router(is_member)

    @guarded.message()
    async def inside(ctx: MessageContext) -> None:
        ctx.reply("in the router")

    router.include(guarded if inner else flow)
    effects = run_virtual(Direct(router)(delivery({"message": message()})))
    assert texts(effects) == ["in the router" if inner else "in the flow"]
    assert base.asked == 1


def test_a_filter_that_takes_too_long_fails_the_attempt():
    base = Members(7, takes_s=FILTER_TIMEOUT_S + 1)

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(Retry, match=r"the filter is_member took longer than 5 s"):
            await Direct(club(base.filter()))(delivery({"message": message()}))
        return asyncio.get_running_loop().time() - began

    assert run_virtual(main()) == FILTER_TIMEOUT_S


@pytest.mark.parametrize("error", [TimeoutError("the database"), ValueError("no"), Park("later", delay_s=1)])
def test_what_a_filter_raises_is_the_attempts_failure(error):
    async def fails(ctx: Context) -> bool:
        raise error

    with pytest.raises(type(error)) as caught:
        run_virtual(Direct(club(fails))(delivery({"message": message()})))
    assert caught.value is error


def test_a_burst_awaits_it_for_the_updates_behind():
    base = Members(7, takes_s=0.1)
    router = Router()
    is_member = base.filter()
    sizes: list[int] = []

    @router.burst(text & is_member)
    async def handler(ctx: MessageContext, messages: list[Any]) -> None:
        sizes.append(len(messages))

    async def main() -> None:
        async with open_rig("memory", Path(), router) as rig:
            await rig.comes(*[typed(f"{number}") for number in range(3)])
            await rig.settles()

    run_virtual(main())
    assert sizes == [3]


@pytest.mark.parametrize("wrap", [lambda f: f, no, lambda f: text & f])
def test_what_stops_a_handler_cannot_await(wrap):
    with pytest.raises(TypeError, match="a `stop` filter is evaluated when an update arrives"):
        Router().message(text, stop=wrap(Members().filter()))


def test_a_handler_without_parentheses_is_still_found():
    router: Any = Router()

    async def forgotten(ctx: MessageContext) -> None: ...

    with pytest.raises(TypeError, match=r"write the parentheses, too"):
        router.message(forgotten)


# ---- narrower contexts


def has_photo(ctx: MessageContext) -> bool:
    return ctx.message.photo is not None


def of_a_button(ctx: CallbackContext) -> bool:
    return ctx.button is not None


async def asked_button(ctx: CallbackContext) -> bool:
    return ctx.button is not None


def caption_of(ctx: MessageContext) -> str | None:
    return ctx.caption or None


async def handler() -> None: ...


def on(router: Any, name: str, *filters: Any) -> None:
    getattr(router, name)(*filters)(handler)


@pytest.mark.parametrize(
    "passes", [has_photo, text & has_photo, ~Extract(str, caption_of), Extract(str, caption_of) | photo]
)
def test_a_filter_of_the_handlers_context_is_accepted(passes):
    router = Router()
    for name in ("message", "edited_message", "any_message", "guest_message"):
        on(router, name, passes)
    on(router, "update", kind("message", "channel_post"), passes)
    on(Flow("f", Step, Answers).at(Step.NAME), "message", passes)
    Table(router)


@pytest.mark.parametrize(
    ("name", "filters", "why"),
    [
        (
            "message",
            (of_a_button,),
            "of_a_button is a filter of a CallbackContext, but would get a MessageContext",
        ),
        ("message", (asked_button,), "asked_button is a filter of a CallbackContext"),
        ("message", (text & no(of_a_button),), "of_a_button is a filter of a CallbackContext"),
        (
            "callback_query",
            (has_photo,),
            "has_photo is a filter of a MessageContext, but would get a CallbackContext",
        ),
        (
            "callback_query",
            (Extract(str, caption_of, "a caption"),),
            "a caption is a filter of a MessageContext",
        ),
        ("update", (has_photo,), "has_photo is a filter of a MessageContext, but would get a Context"),
        ("update", (kind("poll"), has_photo), "has_photo .* would get a ChatContext"),
        ("any_message", (regex("x"), of_a_button), "would get a"),
    ],
)
def test_a_filter_of_another_context_is_an_error_where_it_is_written(name, filters, why):
    with pytest.raises(TypeError, match=why):
        on(Router(), name, *filters)
    if name != "any_message":
        with pytest.raises(TypeError, match=r"is a filter of a|has no"):
            on(Flow("f", Step, Answers).entry, name, *filters)


def test_a_routers_filter_is_checked_with_all_its_entries():
    narrow: Any = has_photo
    router = Router(narrow)
    on(router, "message")
    Table(router)
    on(router, "callback_query")
    outer = Router()
    outer.include(router)
    with pytest.raises(
        TypeError, match="has_photo is a filter of a MessageContext, but would get a Callback"
    ):
        Table(outer)


def test_wider_and_unknown_annotations_are_accepted():
    def wide(ctx: ChatContext) -> bool:
        return True

    def unknown(ctx: "NotDefined") -> bool:  # type: ignore[name-defined] # noqa: F821
        return True

    for passes in (wide, unknown, lambda ctx: True):
        on(Router(), "message", passes)
        on(Router(), "callback_query", passes)
    with pytest.raises(TypeError, match="of_a_button"):
        on(Router(), "message", any_of(of_a_button))
    assert issubclass(TimerContext, ChatContext)
