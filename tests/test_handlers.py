"""The bot's own conversations, driven through the inbox's handler: no network, no engine."""

import asyncio
from typing import Any

from engine.model import KEEP, Effects
from handlers import router
from handlers.start import SLOW_JOB_S
from telegram.dialogue import load_router
from telegram.dialogue.contexts.conduct import OLD_BUTTON
from tests.kit.deliveries import Direct, delivery, message, press, sent
from tests.kit.virtual import run_virtual

handle = Direct(router)


def calls(effects: Effects) -> list[tuple[str, dict[str, Any]]]:
    return [(method, params) for _, method, params in sent(effects)]


def buttons(params: dict[str, Any]) -> list[str]:
    return [button["callback_data"] for row in params["reply_markup"]["inline_keyboard"] for button in row]


def test_the_default_setting_names_this_router():
    assert load_router("handlers:router") is router


async def test_a_text_comes_back_exactly():
    said = " <b>grüß</b>\n👋 /start "
    effects = await handle(delivery({"message": message(said)}, state=b'{"count":1}'))
    assert calls(effects) == [("sendMessage", {"chat_id": 7, "text": said})]
    assert effects.state is KEEP


async def test_what_has_no_text_is_left_alone():
    assert await handle(delivery({"message": message(None, photo=[])})) == Effects()
    assert await handle(delivery({"edited_message": message("x")})) == Effects()


async def test_start_greets_by_first_name_with_three_buttons():
    ((method, params),) = calls(await handle(delivery({"message": message("/start")})))
    assert (method, params["chat_id"]) == ("sendMessage", 7)
    assert "Alice" in params["text"]
    assert buttons(params) == ["hello", "count", "slow"]


async def test_start_without_a_user():
    ((_, params),) = calls(await handle(delivery({"message": message("/start", **{"from": None})})))
    assert "None" not in params["text"]


async def test_help_names_the_commands():
    ((_, params),) = calls(await handle(delivery({"message": message("/help")})))
    assert "/start" in params["text"]
    assert "/help" in params["text"]


async def test_every_button_does_something():
    ((_, params),) = calls(await handle(delivery({"message": message("/start")})))
    for name in set(buttons(params)) - {"slow"}:
        done = calls(await handle(delivery({"callback_query": press(name)})))
        assert "answerCallbackQuery" in [method for method, _ in done], f"{name} leaves the button waiting"


async def test_hello_answers_with_a_notice():
    ((method, params),) = calls(await handle(delivery({"callback_query": press("hello")})))
    assert method == "answerCallbackQuery"
    assert params["text"]


async def test_count_goes_on_from_the_state_and_keeps_the_buttons():
    state = None
    for expected in (1, 2, 3):
        effects = await handle(delivery({"callback_query": press("count")}, state=state))
        assert isinstance(effects.state, bytes)
        state = effects.state
        (edit, params), (answer, _) = calls(effects)
        assert (edit, answer) == ("editMessageText", "answerCallbackQuery")
        assert str(expected) in params["text"]
        assert "count" in buttons(params)


def test_the_slow_job_takes_its_time_and_then_answers():
    async def scenario() -> Effects:
        effects = await handle(delivery({"callback_query": press("slow")}))
        assert asyncio.get_running_loop().time() == SLOW_JOB_S
        return effects

    assert [method for method, _ in calls(run_virtual(scenario()))] == ["answerCallbackQuery", "sendMessage"]


async def told(*updates: dict[str, Any]) -> list[str]:
    """What one person is told by the whole router, update after update."""
    state, texts = None, []
    for update in updates:
        effects = await handle(delivery(update, state=state))
        state = state if effects.state is KEEP else effects.state
        texts += [params["text"] for _, params in calls(effects) if "text" in params]
    return texts


async def test_the_survey_can_be_left_where_it_asks_for_a_text():
    told_last = (await told({"message": message("/survey")}, {"message": message("/cancel")}))[-1]
    assert told_last == "Cancelled. Nothing was kept."


async def test_a_command_is_no_name():
    asked = await told({"message": message("/survey")}, {"message": message("/order")})
    assert asked[-2:] == ["Please answer the question, or leave with /cancel.", "What is your name?"]


ORDER_TO_STREET = [
    {"message": message("/order")},
    {"callback_query": press("item:tea")},
    {"callback_query": press("done")},
]


async def test_the_order_can_be_left_while_the_address_is_asked():
    asked = await told(*ORDER_TO_STREET, {"message": message("/cancel")})
    assert asked[-2:] == ["Street and number?", "The order is cancelled."]


async def test_the_menus_old_button_does_not_confirm_an_order():
    to_summary = [*ORDER_TO_STREET, {"message": message("Main St 1")}, {"message": message("Berlin")}]
    before = await told(*to_summary)
    assert before[-1].startswith("tea: 3 €")
    assert await told(*to_summary, {"callback_query": press("done")}) == [*before, OLD_BUTTON]


async def test_an_order_is_bounded():
    begun = [{"message": message("/order")}, *[{"callback_query": press("item:tea")}] * 20]
    assert (await told(*begun))[-1] == "20 in the basket, 60 €"
    assert (await told(*begun, {"callback_query": press("item:tea")}))[
        -2
    ] == "An order has at most 20 things."
    asked = await told(*ORDER_TO_STREET, {"message": message("x" * 101)})
    assert asked[-2:] == [
        "street: This is too long. The maximum number of characters is 100.",
        "Street and number?",
    ]
