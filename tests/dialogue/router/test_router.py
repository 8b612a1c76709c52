from typing import Any

import pytest

from telegram.dialogue import Context, Flow, Router, command, data, data_prefix, kind, text
from tests.kit.deliveries import context, message, naive_match, press
from tests.kit.updates import KINDS

# ---- filters


@pytest.mark.parametrize(
    ("passes", "update", "expected"),
    [
        (text, {"message": message("x")}, True),
        (text, {"message": message("/cancel now")}, False),
        (text, {"message": message("/cancel@other_bot")}, False),
        (text, {"message": message("/home/ada")}, True),
        (text, {"message": message(None, photo=[])}, False),
        (text, {"callback_query": press("x")}, False),
        (command("start", "help"), {"message": message("/help me")}, True),
        (command("START"), {"message": message("/start")}, True),
        (command("start"), {"message": message("/starting")}, False),
        (command("start"), {"message": message("start")}, False),
        (data("a"), {"callback_query": press("a")}, True),
        (data("a"), {"callback_query": press("ab")}, False),
        (data("a"), {"callback_query": press(None)}, False),
        (data("a"), {"message": message("a")}, False),
        (data_prefix("a:"), {"callback_query": press("a:1")}, True),
        (data_prefix("a:"), {"callback_query": press("b:a:")}, False),
        (data_prefix(""), {"callback_query": press(None)}, False),
        (kind("my_chat_member", "poll"), {"poll": KINDS["poll"]}, True),
        (kind("my_chat_member"), {"poll": KINDS["poll"]}, False),
    ],
)
def test_filters(passes, update, expected):
    assert passes(context(update)) is expected


@pytest.mark.parametrize("names", [(), ("/start",), ("start", "")])
def test_a_command_that_could_never_match_is_refused(names):
    with pytest.raises(ValueError, match="without the slash"):
        command(*names)


# ---- routing


async def match(router: Router, update: dict[str, Any]) -> Any:
    """The name of the handler that takes the update."""
    found = naive_match(router, context(update))
    return None if found is None else found.__name__


def tagged(name: str) -> Any:
    async def handler(ctx: Context) -> None: ...

    handler.__name__ = name
    return handler


async def test_the_first_match_wins_and_all_filters_must_pass():
    router = Router()
    router.message(command("a"), lambda ctx: ctx.args == "b")(tagged("both"))
    router.message(command("a"))(tagged("command"))
    router.message()(tagged("rest"))
    router.message(text)(tagged("never"))
    said = ["/a b", "/a", "a"]
    assert [await match(router, {"message": message(what)}) for what in said] == ["both", "command", "rest"]


async def test_kinds_do_not_mix():
    router = Router()
    router.message()(tagged("message"))
    router.callback_query()(tagged("button"))
    updates = [{"message": message()}, {"callback_query": press("x")}, {"edited_message": message()}, {}]
    assert [await match(router, update) for update in updates] == ["message", "button", None, None]
    router.update()(tagged("any"))
    assert [await match(router, update) for update in updates] == ["message", "button", "any", "any"]


async def test_an_included_router_is_asked_at_its_place():
    first, inner, outer = Router(), Router(), Router()
    outer.message(command("a"))(tagged("before"))
    outer.include(first)
    first.include(inner)
    outer.message()(tagged("after"))
    inner.message(command("a", "b"))(tagged("inner"))
    said = ["/a", "/b", "/c"]
    assert [await match(outer, {"message": message(what)}) for what in said] == ["before", "inner", "after"]


async def test_the_filters_of_all_routers_around_a_handler_must_pass():
    inner, outer = Router(lambda ctx: "b" in ctx.text), Router(lambda ctx: "a" in ctx.text)
    outer.include(inner)
    inner.message()(tagged("inner"))
    said = ["a", "b", "ab"]
    assert [await match(outer, {"message": message(what)}) for what in said] == [None, None, "inner"]


def test_a_router_cannot_include_itself():
    inner, outer = Router(), Router()
    outer.include(inner)
    with pytest.raises(ValueError, match="itself"):
        inner.include(outer)
    with pytest.raises(ValueError, match="itself"):
        inner.include(inner)


def test_a_decorated_handler_stays_what_it_was():
    router, handler = Router(), tagged("x")
    assert router.message()(handler) is handler


def test_a_sync_handler_is_refused():
    def handler(ctx: Context) -> None: ...

    with pytest.raises(TypeError, match=r"async def.*handler"):
        Router().message()(handler)  # type: ignore[arg-type]


def test_an_object_with_an_async_call_is_a_handler():
    class Handler:
        async def __call__(self, ctx: Context) -> None: ...

    Router().message()(Handler())


def test_a_decorator_without_parentheses_and_an_async_filter_are_refused():
    with pytest.raises(TypeError, match="a filter is a plain function"):
        Router().message(tagged("x"))
    with pytest.raises(TypeError, match="a filter is a plain function"):
        Router().message("start")  # type: ignore[call-overload]


def test_what_is_no_router_cannot_be_included():
    for wrong in (Router, Flow, 1, None):
        with pytest.raises(TypeError, match="a router or a flow"):
            Router().include(wrong)  # type: ignore[arg-type]
