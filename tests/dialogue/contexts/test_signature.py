"""What is told of a handler where it is written."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from telegram.botapi.types import Document, PhotoSize
from telegram.dialogue import (
    CallbackContext,
    ChatContext,
    Extract,
    MessageContext,
    Router,
    TimerContext,
    photo,
    regex,
    text,
)
from telegram.dialogue.contexts.signature import fitted, is_async, order_of, takes_of


def on(router: Router, name: str, *filters: Any) -> Callable[[Any], Any]:
    register: Callable[[Any], Any] = getattr(router, name)(*filters)
    return register


async def wants_button(ctx: CallbackContext) -> None: ...
async def wants_document(ctx: MessageContext, found: Document) -> None: ...
async def wants_three(ctx: MessageContext, one: Any, two: Any) -> None: ...
async def wants_keyword(ctx: MessageContext, *, found: Any) -> None: ...
async def wants_unknown(ctx: "NotDefined") -> None: ...  # type: ignore[name-defined] # noqa: F821
async def wants_nothing() -> None: ...
async def wants_any(ctx: Any, found: Any) -> None: ...
async def wants_all(*given: Any) -> None: ...
async def wants_chat(ctx: ChatContext) -> None: ...
async def wants_default(ctx: MessageContext, found: Any = None) -> None: ...
def is_sync(ctx: MessageContext) -> None: ...


@pytest.mark.parametrize(
    ("handler", "filters", "why"),
    [
        (wants_button, (text,), "wants_button: ctx is CallbackContext, but would be MessageContext"),
        (wants_document, (photo,), "wants_document: found is Document, but would be list"),
        (wants_document, (text,), r"wants_document\(.*\).*a handler here can take \(MessageContext\)"),
        (wants_three, (photo,), r"can take \(MessageContext, list\)"),
        (wants_keyword, (photo,), r"can take \(MessageContext, list\)"),
        (is_sync, (text,), "must be written with `async def`.*is_sync"),
    ],
)
def test_an_impossible_signature_is_an_error_at_registration(handler, filters, why):
    router = Router()
    with pytest.raises(TypeError, match=why):
        on(router, "message", *filters)(handler)
    assert list(router.entries()) == []


@pytest.mark.parametrize(
    ("handler", "takes"),
    [
        (wants_nothing, 0),
        (wants_chat, 1),
        (wants_unknown, 1),
        (wants_any, 2),
        (wants_default, 2),
        (wants_all, 2),
    ],
)
async def test_a_handler_takes_the_first_ones(handler, takes):
    assert takes_of(handler, (MessageContext, list)) == takes
    await fitted(handler, (MessageContext, list))(None, [])


async def match_first(match: re.Match[str], ctx: MessageContext) -> Any:
    return match, ctx


async def only_the_value(sizes: list[PhotoSize]) -> Any:
    return sizes


async def by_their_types(found: re.Match[str], ctx: ChatContext, sizes: list[PhotoSize] | None = None) -> Any:
    return found, ctx, sizes


async def untyped_beside_a_type(found, ctx: MessageContext):
    return found, ctx


async def optional_last(sizes: list[PhotoSize], document: Document | None = None) -> Any:
    return sizes, document


@pytest.mark.parametrize(
    ("handler", "given", "expected"),
    [
        (match_first, (MessageContext, re.Match), (1, 0)),
        (match_first, (MessageContext, list, re.Match), (2, 0)),
        (only_the_value, (MessageContext, list), (1,)),
        (by_their_types, (MessageContext, list, re.Match), (2, 0, 1)),
        (by_their_types, (MessageContext, re.Match), (1, 0)),
        (untyped_beside_a_type, (MessageContext, list), (1, 0)),
        (optional_last, (MessageContext, list), (1,)),
        (match_first, (MessageContext, list | Document, re.Match), (2, 0)),
    ],
)
async def test_arguments_are_found_by_their_types_in_any_order(handler, given, expected):
    assert order_of(handler, given) == expected
    values = [f"value {number}" for number in range(len(given))]
    found = await fitted(handler, given)(*values)
    found = found if isinstance(found, tuple) else (found,)
    assert list(found)[: len(expected)] == [values[at] for at in expected]


@pytest.mark.parametrize("asked", [Document, "Document | None", PhotoSize])
def test_a_type_that_nothing_has_is_an_error_in_any_order(asked):
    async def handler(found: Any, ctx: MessageContext) -> None: ...

    handler.__annotations__["found"] = asked
    with pytest.raises(TypeError, match=r"handler: found is .*, but would be MessageContext"):
        on(Router(), "message", photo)(handler)


async def test_an_optional_type_and_one_of_several_fit():
    async def optional(ctx: MessageContext, found: Document | None) -> None: ...
    async def several(ctx: MessageContext, found: Document | list[PhotoSize]) -> None: ...

    assert takes_of(optional, (MessageContext, Document)) == 2
    assert takes_of(several, (MessageContext, list | Document)) == 2
    with pytest.raises(TypeError, match=r"found is .*Document.*None.*, but would be list"):
        takes_of(optional, (MessageContext, list))


def test_an_option_that_does_not_exist_is_an_error():
    register: Any = Router().message
    with pytest.raises(
        TypeError, match="a handler has no option 'timeout'; there are stop, on_new, timeout_s"
    ):
        register(text, timeout=3)


def test_methods_objects_and_nested_names():
    class Handlers:
        async def method(self, ctx: MessageContext) -> None: ...

        async def __call__(self, ctx: CallbackContext) -> None: ...

    assert takes_of(Handlers().method, (MessageContext,)) == 1
    assert is_async(Handlers())
    with pytest.raises(TypeError, match="ctx is CallbackContext"):
        takes_of(Handlers(), (MessageContext,))


@pytest.mark.parametrize("passes", [Extract, MessageContext, "text", None, wants_chat])
def test_a_value_that_is_no_filter_is_an_error(passes):
    wanting = [lambda: on(Router(), "message", passes), lambda: Router(passes)]
    if passes is not None:
        wanting.append(lambda: Router().message(stop=passes))
    for wanted in wanting:
        with pytest.raises(TypeError, match="a filter is a plain function"):
            wanted()


def test_timers_albums_and_bursts_are_checked_too():
    router = Router()
    with pytest.raises(TypeError, match="ctx is MessageContext, but would be TimerContext"):
        router.timer("x")(wants_default)  # type: ignore[arg-type] # the point of the test
    with pytest.raises(TypeError, match="found is Document, but would be list"):
        router.album()(wants_document)  # type: ignore[arg-type] # the point of the test
    router.burst(text)(wants_any)
    assert takes_of(wants_chat, (TimerContext,)) == 1
    with pytest.raises(TypeError, match="ctx is ChatContext, but would be Context"):
        on(router, "update", regex("x"))(wants_chat)
