"""What becomes of an update whose handler fails, comes too late, or cannot be asked: InboxHandler alone, and resources."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from engine import Delivery, Effects, Envelope, LeaseLost, Park, Reject, Retry, StoreUnavailable
from engine.stores.memory import MemoryStore
from telegram.botapi.calls import decode_call
from telegram.dialogue import (
    CHAT,
    CallbackContext,
    Conduct,
    Context,
    Flow,
    Invalid,
    MessageContext,
    Resource,
    Router,
    command,
    text,
)
from telegram.dialogue.contexts.conduct import APOLOGY
from telegram.service.bot import Bot
from tests.dialogue.routes.test_stopping import Nothing, Step
from tests.kit.deliveries import GROUP, Direct, delivery, message, press, sent
from tests.kit.offline import OfflineTelegram, Scene, play
from tests.kit.virtual import run_virtual

if TYPE_CHECKING:
    from telegram.client import TgClient

TOKEN = "123456789:AAmade-up-secret_0123456789abcdefghi"
INLINE_PRESS = {**press("x"), "message": None, "inline_message_id": "i1"}
APOLOGIZED = ("sendMessage", {"chat_id": 7, "text": APOLOGY})
ANSWERED = ("answerCallbackQuery", {"callback_query_id": "query-1"})


def parts(calls: tuple[Any, ...]) -> list[tuple[str, dict[str, Any]]]:
    return [(method, json.loads(params)) for method, params in (decode_call(call.body) for call in calls)]


def last_words(
    update: dict[str, Any], *, given_up: bool, attempt: int = 1, conduct: Conduct | None = None
) -> list[tuple[str, dict[str, Any]]]:
    handler = Direct(Router(), conduct=conduct)
    return parts(handler.failed(delivery(update, attempt=attempt), given_up=given_up))


# -- calls at a failure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("update", "attempt", "given_up", "calls"),
    [
        ({"message": message()}, 1, False, []),
        ({"message": message()}, 1, True, [APOLOGIZED]),
        ({"message": message()}, 5, True, [APOLOGIZED]),
        ({"callback_query": press("x")}, 1, False, [ANSWERED]),
        ({"callback_query": press("x")}, 2, False, []),
        ({"callback_query": press("x")}, 5, True, [APOLOGIZED, ANSWERED]),
        ({"callback_query": press("x")}, 1, True, [APOLOGIZED, ANSWERED]),
        ({"callback_query": INLINE_PRESS}, 1, False, [ANSWERED]),
        (
            {"callback_query": INLINE_PRESS},
            1,
            True,
            [("answerCallbackQuery", {"callback_query_id": "query-1", "text": APOLOGY})],
        ),
        ({"callback_query": INLINE_PRESS}, 5, True, [ANSWERED]),  # there is no chat to tell
        ({"channel_post": message(**{"from": None})}, 1, True, []),  # nobody is there to be told
        (
            {"message": message(guest_query_id="g1", chat=GROUP)},
            1,
            True,
            [(APOLOGIZED[0], {**APOLOGIZED[1], "chat_id": -100})],
        ),
        ({"guest_message": message(guest_query_id="g1", chat=GROUP)}, 1, True, []),
        ({"my_chat_member": {"chat": GROUP, "from": {"id": 7}}}, 1, True, []),
        ({"inline_query": {"id": "1", "from": {"id": 7}, "query": "", "offset": ""}}, 1, True, []),
    ],
)
def test_what_goes_out_although_the_handler_failed(update, attempt, given_up, calls):
    assert last_words(update, attempt=attempt, given_up=given_up) == calls


def test_the_apology_goes_to_the_topic_with_the_configured_text():
    update = {"message": message(chat=GROUP, is_topic_message=True, message_thread_id=3)}
    said = last_words(update, given_up=True, conduct=Conduct(apology="Oh no"))
    assert said == [("sendMessage", {"chat_id": -100, "message_thread_id": 3, "text": "Oh no"})]
    assert last_words(update, given_up=True, conduct=Conduct(apology="")) == []


@pytest.mark.parametrize("body", [b"{", b'{"update_id":5,"message":{}}'])
def test_nothing_goes_out_for_what_cannot_be_read(body):
    assert Direct(Router()).failed(delivery(body), True) == ()


def test_a_button_that_expired_meanwhile_is_not_answered():
    handler = Direct(Router(), wall=lambda: 1_000_151.0)
    given = delivery({"callback_query": press("x")})
    late = given._replace(envelope=given.envelope._replace(at=1_000_000.0))
    assert parts(handler.failed(late, True)) == [APOLOGIZED]


@pytest.mark.parametrize("apology", [APOLOGY, "Oh no", ""])
def test_an_update_that_is_given_up_gets_the_apology_of_the_setting(apology):
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        raise ZeroDivisionError

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("Ann")
        await scene.idle()
        return scene.telegram.texts()

    assert play(router, scenario, apology=apology, attempts_max=1) == ([apology] if apology else [])


# -- buttons are answered ----------------------------------------------------------------------------------------------


def answers(effects: Effects) -> list[Any]:
    return [params.get("text") for _, method, params in sent(effects) if method == "answerCallbackQuery"]


async def test_a_button_is_answered_once_by_the_handler_or_else_by_us():
    router = Router()

    @router.callback_query(lambda ctx: ctx.button == "answers")
    async def answering(ctx: CallbackContext) -> None:
        ctx.answer("Yes")

    @router.callback_query(lambda ctx: ctx.button == "invalid")
    async def invalid(ctx: CallbackContext) -> None:
        ctx.answer("forgotten with all the rest")
        raise Invalid("No")

    @router.callback_query(lambda ctx: ctx.button == "silent")
    async def silent() -> None: ...

    handle = Direct(router)
    for button, expected in (
        ("answers", ["Yes"]),
        ("invalid", [None]),
        ("silent", [None]),
        ("nobody's", [None]),
    ):
        assert answers(await handle(delivery({"callback_query": press(button)}))) == expected
    again = delivery({"callback_query": press("silent")}, attempt=2)
    assert answers(await handle(again)) == [
        None
    ]  # the process may have died in the first attempt: nothing was answered


# -- too late ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "event", "limit_s"),
    [
        ("callback_query", press("x"), 150),
        (
            "inline_query",
            {"id": "1", "from": {"id": 7, "is_bot": False, "first_name": "A"}, "query": "", "offset": ""},
            30,
        ),
        ("message", message(), None),
    ],
)
async def test_what_is_too_old_to_be_answered_is_handled_without_the_answer(kind, event, limit_s):
    """Telegram Bot API, Update: what was accepted is not void; an answer would be refused ("query is too old")."""
    router = Router()
    wall = 1_000_000.0

    @router.update()
    async def handler(ctx: Context) -> None:
        if kind == "callback_query":
            ctx.call("answerCallbackQuery", callback_query_id=ctx.event.id)
        if kind == "inline_query":
            ctx.call("answerInlineQuery", inline_query_id=ctx.event.id, results=[])
        ctx.call("answerCallbackQuery", callback_query_id="of another press")
        ctx.send(7, "handled")

    handle = Direct(router, wall=lambda: wall)
    given = delivery({kind: event})
    for at, is_late in (
        (wall - 29, False),
        (wall - 31, limit_s == 30),
        (wall - 151, limit_s is not None),
        (0.0, False),
    ):
        effects = await handle(given._replace(envelope=given.envelope._replace(at=at)))
        methods = [method for _, method, _ in sent(effects)]
        answer = [] if is_late or kind == "message" else [f"answer{kind.title().replace('_', '')}"]
        assert methods == [*answer, "answerCallbackQuery", "sendMessage"]


@pytest.mark.parametrize(
    "method", ["answerCallbackQuery", "answerPreCheckoutQuery", "sendChatJoinRequestWebApp"]
)
async def test_the_answer_to_a_query_has_a_lane_of_its_own(method):
    """tdlib/telegram-bot-api#648: query answers have no flood limit; 10 s for a payment (answerPreCheckoutQuery)."""
    name = {"answerCallbackQuery": "callback_query_id", "answerPreCheckoutQuery": "pre_checkout_query_id"}
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        ctx.reply("in the chat")
        others: dict[str, Any] = {
            "answerPreCheckoutQuery": {"ok": True},
            "sendChatJoinRequestWebApp": {"web_app_url": "u"},
        }
        query = {name.get(method, "chat_join_request_query_id"): "\u00fc" * 300}
        ctx.call(method, **query, **others.get(method, {}))

    effects = await Direct(router)(delivery({"message": message()}))
    first, second = (call.key for call in effects.calls)
    assert first == "chat:7"
    assert second == "query:" + "\\xfc" * 128


# -- what is told, and what is not ----------------------------------------------------------------------------------------


async def test_the_reason_of_invalid_is_sent_and_nothing_else_happens():
    router = Router()

    @router.timer("t")
    async def never() -> None: ...

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        ctx.data["kept"] = False
        ctx.reply("not said")
        ctx.set_timer("t", 5)
        raise Invalid("a number, please")

    effects = await Direct(router)(delivery({"message": message()}, state=b'{"a":1}'))
    assert [params["text"] for _, _, params in sent(effects)] == ["a number, please"]
    assert effects == Effects(effects.calls)


@pytest.mark.parametrize(
    "error", [OSError(f"cannot reach /bot{TOKEN}/x"), Retry(f"bot{TOKEN}"), Reject(f"bot{TOKEN}")]
)
async def test_no_reason_carries_a_token(error):
    router = Router()

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        raise error

    with pytest.raises((Retry, Reject)) as caught:
        await Direct(router)(delivery({"message": message()}))
    assert isinstance(caught.value, Retry | Reject)
    assert "secret" not in caught.value.reason
    assert caught.value.__cause__ is None


async def test_what_could_not_be_read_of_an_update_is_logged_once_per_attempt():
    handler = Direct(Router())
    given = delivery({"message": message(reply_to_message={"message_id": "x"})})
    with capture_logs() as logs:
        await handler(given)
        handler.failed(given, True)
    assert [(line["log_level"], line["id"]) for line in logs if "lost" in line] == [("warning", 5)]


class Away:
    """A store that cannot be asked."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def peek(self, delivery: Delivery, limit: int) -> list[Envelope]:
        raise self.error

    async def look(self, delivery: Delivery, limit: int) -> list[Envelope]:
        raise self.error

    async def state(self, key: str, scope: str) -> bytes | None:
        raise self.error


@pytest.mark.parametrize("error", [StoreUnavailable("disk full"), LeaseLost("chat:7")], ids=repr)
async def test_a_store_that_cannot_be_asked_is_no_failure_of_the_handler(error):
    router = Router()

    @router.message(text, stop=command("cancel"))
    async def handler(ctx: MessageContext) -> None:
        raise AssertionError

    with pytest.raises(Park):
        await Direct(router, behind=Away(error))(delivery({"message": message()}))


async def test_a_batch_of_which_the_store_cannot_tell_more_is_no_failure_either():
    router = Router()

    @router.burst(text)
    async def handler(ctx: MessageContext) -> None:
        raise AssertionError

    with pytest.raises(Park):
        await Direct(router, behind=Away(StoreUnavailable("x")))(delivery({"message": message()}))


async def test_a_state_that_cannot_be_read_now_is_no_failure_either():
    router = Router()
    router.include(Flow("f", Step, Nothing, scope=CHAT))
    with pytest.raises(Park):
        await Direct(router, behind=Away(StoreUnavailable("x")))(delivery({"message": message()}))


# -- resources -----------------------------------------------------------------------------------------------------------


def opening(router: Router, name: str, diary: list[str], error: BaseException | None = None) -> Resource[str]:
    async def opens() -> AsyncIterator[str]:
        if error is not None:
            raise error
        diary.append(f"{name} opened")
        yield name
        diary.append(f"{name} closed")

    opens.__name__ = name
    return router.resource(opens)


def test_resources_are_open_from_the_first_update_to_the_end_of_the_drain():
    diary: list[str] = []
    outer, inner = Router(), Router()
    pool = opening(outer, "pool", diary)
    session = opening(inner, "session", diary)

    @inner.message()
    async def handler(ctx: MessageContext) -> None:
        diary.append(f"{ctx.text} has {ctx.use(pool)} and {ctx.use(session)}")
        await asyncio.sleep(5)
        diary.append(f"{ctx.text} still has {ctx.use(session)}")

    outer.include(inner)
    outer.include(inner)  # what two of its places share is opened once

    async def scenario(scene: Scene) -> None:
        scene.telegram.say("Ann")
        await asyncio.sleep(1)  # the bot is stopped while the handler runs

    play(outer, scenario)
    assert diary == [
        "pool opened",
        "session opened",
        "Ann has pool and session",
        "Ann still has session",
        "session closed",
        "pool closed",
    ]


@pytest.mark.parametrize(
    "error", [OSError("no\nroute"), SystemExit("no\nroute"), KeyError("no route")], ids=repr
)
def test_a_resource_that_cannot_be_opened_is_one_line_at_the_start(error):
    diary: list[str] = []
    router = Router()
    opening(router, "pool", diary)
    opening(router, "session", diary, error)

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        diary.append("handled")

    async def main() -> str:
        telegram = OfflineTelegram()
        telegram.say("Ann")
        bot = Bot(cast("TgClient", telegram), MemoryStore(), router)
        with pytest.raises(ValueError, match="cannot open session") as caught:
            await bot.start()
        await bot.stop()  # harmless
        await bot.wait()
        return str(caught.value)

    told = run_virtual(main())
    assert told.startswith(f"cannot open session: {type(error).__name__}: ")
    assert "\n" not in told
    assert "no route" in told
    assert diary == ["pool opened", "pool closed"]
