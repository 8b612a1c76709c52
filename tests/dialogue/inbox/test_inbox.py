import asyncio

import pytest

from engine.errors import Reject, Retry
from engine.model import Effects
from telegram.dialogue import MessageContext, Router, Tools, command
from tests.kit.deliveries import Direct, delivery, message, sent


async def test_decode_route_run_effects():
    router = Router()

    @router.message(command("add"))
    async def add(ctx: MessageContext) -> None:
        ctx.data["sum"] = ctx.data.get("sum", 0) + int(ctx.args)
        ctx.reply(str(ctx.data["sum"]))

    handle = Direct(router, tools=Tools(username="my_bot"))
    effects = await handle(delivery({"message": message("/add@my_bot 3")}, state=b'{"sum":4}'))
    assert sent(effects) == [("chat:7", "sendMessage", {"chat_id": 7, "text": "7"})]
    assert effects.state == b'{"sum":7}'
    assert await handle(delivery({"message": message("/add@other_bot 3")})) == Effects()


async def test_an_update_without_a_handler_is_acknowledged():
    assert await Direct(Router())(delivery({"message": message()}, state=b"{}")) == Effects()


@pytest.mark.parametrize(
    "body", [b"{", b'{"update_id":5,"message":{}}', b'{"update_id":5,"message":{"text":"\xff"}}']
)
async def test_an_unreadable_update_is_rejected(body):
    with pytest.raises(Reject) as caught:
        await Direct(Router())(delivery(body))
    assert caught.value.reason
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "error", [Retry("later", after_s=3), ZeroDivisionError(), asyncio.CancelledError()], ids=repr
)
async def test_what_a_handler_raises_goes_to_the_engine_as_it_is(error):
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        ctx.reply("must not go out")
        raise error

    with pytest.raises(type(error)) as caught:
        await Direct(router)(delivery({"message": message()}))
    assert caught.value is error


async def test_a_lone_surrogate_fails_in_the_handler_and_not_at_the_sender():
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        ctx.reply("half of 👋: \ud83d")

    with pytest.raises(UnicodeEncodeError):
        await Direct(router)(delivery({"message": message()}))


async def test_each_update_has_its_own_context():
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        await asyncio.sleep(0)
        ctx.reply(ctx.text)

    handle = Direct(router)
    both = await asyncio.gather(*(handle(delivery({"message": message(what)})) for what in "ab"))
    assert [sent(effects)[0][2]["text"] for effects in both] == ["a", "b"]
