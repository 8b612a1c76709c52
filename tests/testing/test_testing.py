"""The test kit for authors of handlers."""

import asyncio
import doctest
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

import telegram.testing
from engine.errors import Park, Reject, Retry
from telegram.botapi.errors import Refused
from telegram.botapi.files import InputFile
from telegram.botapi.types import Document, PhotoSize
from telegram.dialogue import (
    CallbackContext,
    CallbackData,
    ChatContext,
    Context,
    MessageContext,
    Router,
    TimerContext,
    command,
    content,
    data,
    document,
    inline,
    keyboard,
    no_keyboard,
    photo,
    text,
)
from telegram.testing import Conversations


class Pick(CallbackData, prefix="pick"):
    number: int


def router_of(handler: Any, *filters: Any) -> Router:
    """A router for messages only."""
    router = Router()
    router.message(*filters)(handler)
    return router


def test_the_example_in_the_documentation_runs():
    assert doctest.testmod(telegram.testing) == (0, 5)


# ---- turns


def test_a_sent_text_is_answered_and_the_reply_is_visible():
    async def echo(ctx: MessageContext) -> None:
        ctx.reply(f"you said {ctx.text}")

    router = router_of(echo, text)

    with Conversations(router) as bot:
        alice, bob = bot.chat("Alice"), bot.chat("Bob")
        alice.says("one")
        assert alice.sees("said one")
        assert alice.text == "you said one"
        assert not bob.sees("said one")
        assert [message["text"] for message in alice.messages] == ["one", "you said one"]
        assert [call.params["text"] for call in bot.calls("sendMessage")] == ["you said one"]
        assert not bot.calls("editMessageText")


def test_messages_seen_before_and_own_messages_do_not_count():
    async def start(ctx: MessageContext) -> None:
        ctx.reply("hello")

    router = router_of(start, command("start"))

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/start")
        assert alice.sees("hello")
        alice.says("hello")
        seen = alice.sees("hello")
        assert not seen
        assert "> 'hello'" in repr(seen)
        assert alice.text == ""


def test_edits_and_deletions_are_seen_and_calls_at_once_give_their_result():
    router = Router()

    @router.message(command("count"))
    async def count(ctx: MessageContext) -> None:
        sent = await ctx.client.send_message(chat_id=ctx.chat_id, text="one")
        ctx.data["id"] = sent.message_id
        ctx.reply("other")
        ctx.call("editMessageText", chat_id=ctx.chat_id, message_id=sent.message_id, text="two")

    @router.message(command("forget"))
    async def forget(ctx: MessageContext) -> None:
        ctx.reply("will go")
        ctx.call("deleteMessage", chat_id=ctx.chat_id, message_id=ctx.message.message_id + 1)

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/count")
        assert alice.sees("two")
        assert [message["text"] for message in alice.messages] == ["/count", "two", "other"]
        alice.says("/forget")
        assert alice.text == ""


@pytest.mark.parametrize("wanted", ["Two", "pick:2", Pick(number=2)])
def test_buttons_are_pressed_by_text_data_or_type(wanted):
    router = Router()

    @router.message()
    async def ask(ctx: MessageContext) -> None:
        ctx.reply("?", reply_markup=inline([("One", Pick(number=1)), ("Two", Pick(number=2))]))

    @router.callback_query(Pick)
    async def picked(ctx: CallbackContext, pick: Pick) -> None:
        ctx.answer(f"It is {pick.number}")
        ctx.edit("done")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        assert alice.buttons == ["One", "Two"]
        assert alice.toast is None
        alice.presses(wanted)
        assert alice.toast == "It is 2"
        assert (alice.text, alice.buttons) == ("done", [])
        with pytest.raises(AssertionError, match=r"no button 'One'; there are: none"):
            alice.presses("One")


def test_the_newest_message_with_the_button_counts_and_a_missing_one_is_an_error():
    router = Router()

    @router.message()
    async def ask(ctx: MessageContext) -> None:
        buttons = inline([("Go", f"go:{ctx.text}"), ("Site", "https://example.org")])
        ctx.reply(ctx.text, reply_markup=buttons)

    @router.callback_query()
    async def pressed(ctx: CallbackContext) -> None:
        ctx.answer(ctx.button)

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("1")
        alice.says("2")
        alice.presses("Go")
        assert alice.toast == "go:2"
        alice.presses("go:1")
        assert alice.toast == "go:1"
        with pytest.raises(
            AssertionError, match=r"no button 'No'; there are: 'Go' \(go:2\), 'Site' \(None\)"
        ):
            alice.presses("No")
        with pytest.raises(AssertionError, match="no callback data"):
            alice.presses("Site")


def test_a_press_that_is_not_answered_with_words_leaves_an_empty_toast():
    router = Router()

    @router.message()
    async def ask(ctx: MessageContext) -> None:
        ctx.reply("?", reply_markup=inline([("A", "a"), ("B", "b")]))

    @router.callback_query(data("a"))
    async def pressed(ctx: CallbackContext) -> None:
        ctx.answer("words")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        alice.presses("A")
        alice.presses("B")
        assert alice.toast == ""


def test_the_toast_of_an_earlier_press_is_gone_while_the_next_one_is_handled():
    router = Router()

    @router.message()
    async def ask(ctx: MessageContext) -> None:
        ctx.reply("?", reply_markup=inline([("A", "a"), ("B", "b")]))

    @router.callback_query()
    async def pressed(ctx: CallbackContext) -> None:
        await asyncio.sleep(5 if ctx.button == "b" else 0)
        ctx.answer(ctx.button)

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        alice.presses("A")
        alice.presses("B", wait=False)
        assert alice.toast is None
        bot.settles()
        assert alice.toast == "b"


def test_the_keyboard_in_place_of_the_letters():
    router = Router()

    @router.message(command("start"))
    async def start(ctx: MessageContext) -> None:
        ctx.reply("which?", reply_markup=keyboard(["Red", "Green"]))

    @router.message(text)
    async def colour(ctx: MessageContext) -> None:
        ctx.reply(f"so {ctx.text}", reply_markup=no_keyboard())

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/start")
        alice.presses("Red")
        assert alice.sees("so Red")
        with pytest.raises(AssertionError, match="none"):
            alice.presses("Green")


def test_any_content_any_update_and_files():
    router = Router()

    @router.message(photo)
    async def picture(ctx: MessageContext, sizes: list[PhotoSize]) -> None:
        ctx.reply(f"{len(sizes)} sizes, {ctx.message.caption}")

    @router.message(document)
    async def file(ctx: MessageContext, found: Document) -> None:
        ctx.call("sendDocument", chat_id=ctx.chat_id, document=InputFile(b"back", filename="b.txt"))
        sent = await ctx.client.send_document(
            chat_id=ctx.chat_id, document=InputFile(b"now", filename="n.txt")
        )
        ctx.reply(f"{found.file_name}, {sent.document.file_size if sent.document else 0}")

    @router.message(content("contact"))
    async def contact(ctx: MessageContext) -> None:
        ctx.reply("a contact")

    @router.my_chat_member()
    async def member(ctx: ChatContext) -> None:
        ctx.call("sendMessage", chat_id=ctx.chat_id, text=f"member of {ctx.user_id}")

    @router.inline_query()
    async def query(ctx: Context) -> None:
        ctx.call("answerInlineQuery", inline_query_id=ctx.event.id, results=[])

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.sends(photo=True, caption="me")
        assert alice.sees("1 sizes, me")
        alice.sends(document={"file_id": "f", "file_unique_id": "u", "file_name": "a.txt"})
        assert len(bot.calls("sendDocument")) == 2
        assert alice.text == "a.txt, 3"
        alice.sends(contact=True)
        assert alice.sees("a contact")
        alice.sends_update("my_chat_member")
        assert alice.sees(f"member of {alice.user_id}")
        alice.sends_update("inline_query", query="cats")
        assert len(bot.calls("answerInlineQuery")) == 1


def test_people_in_groups_are_those_of_the_private_chats():
    async def note(ctx: MessageContext) -> None:
        ctx.data["count"] = ctx.data.get("count", 0) + 1
        ctx.reply(f"{ctx.user.first_name if ctx.user else ''} {ctx.data['count']}")

    router = router_of(note)

    with Conversations(router) as bot:
        team = bot.group("Team")
        alice, bob = team.member("Alice"), team.member("Bob")
        assert bot.chat("Alice").user_id == alice.user_id != bob.user_id
        alice.says("x")
        bob.says("x")
        assert bob.sees("Bob 1") and alice.sees("Bob 1")
        alice.says("x")
        assert alice.sees("Alice 2")
        assert not bot.chat("Alice").messages


# ---- time


def test_timers_and_sleeps_happen_at_their_moment_and_not_before():
    router = Router()

    @router.message()
    async def wait(ctx: MessageContext) -> None:
        ctx.set_timer("late", after=24 * 3600)
        ctx.reply("set")

    @router.timer("late")
    async def late(ctx: TimerContext) -> None:
        ctx.reply("late")

    with Conversations(router, start=datetime(2030, 1, 1, tzinfo=UTC)) as bot:
        alice = bot.chat("Alice")
        bot.passes(seconds=0.1)  # no round number of the float's bits
        alice.says("x")
        bot.passes(hours=23, minutes=59, seconds=59.999)
        assert alice.sees("set")
        bot.passes(seconds=0.001)
        assert alice.sees("late")
        assert bot.now == datetime(2030, 1, 2, 0, 0, 0, 100_000, tzinfo=UTC)
        bot.passes(days=3)
        assert len(bot.calls()) == 2


def working(steps: list[str]) -> Router:
    router = Router()

    def is_cancel(ctx: Context) -> bool:
        return ctx.command == "cancel"

    @router.message(command("work"), stop=is_cancel)
    async def work(ctx: MessageContext) -> None:
        steps.append("begun")
        await asyncio.sleep(30)
        steps.append("ended")
        ctx.reply("worked")

    @router.message(command("cancel"))
    async def cancel(ctx: MessageContext) -> None:
        ctx.reply("cancelled")

    return router


def test_a_turn_waits_for_a_handler_that_takes_its_time():
    steps: list[str] = []
    with Conversations(working(steps)) as bot:
        alice = bot.chat("Alice")
        alice.says("/work")
        assert (steps, bot.now.second) == (["begun", "ended"], 30)
        assert alice.sees("worked")


def test_without_waiting_it_still_runs_and_can_be_stopped():
    steps: list[str] = []
    with Conversations(working(steps)) as bot:
        alice = bot.chat("Alice")
        alice.says("/work", wait=False)
        assert (steps, bot.now.second) == (["begun"], 0)
        bot.passes(seconds=29)
        alice.says("/cancel")
        assert alice.sees("cancelled")
        assert (steps, bot.now.second) == (["begun"], 29)
        alice.says("/work", wait=False)
        bot.settles()
        assert alice.sees("worked")


def test_a_handler_may_take_as_long_as_its_time_out():
    router = Router()

    @router.message(timeout_s=600)
    async def work(ctx: MessageContext) -> None:
        await asyncio.sleep(599)
        ctx.reply("worked")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        assert alice.sees("worked")
        assert len(bot.calls()) == 1


def test_a_handler_that_runs_too_long_fails_the_turn():
    async def work(ctx: MessageContext) -> None:
        await asyncio.sleep(61)

    with Conversations(router_of(work)) as bot:
        with pytest.raises(TimeoutError, match="ran too long"):
            bot.chat("Alice").says("x")
        assert bot.now.minute == 1


def test_a_restart_handles_again_what_ran_and_keeps_what_is_remembered():
    steps: list[str] = []
    router = working(steps)

    @router.message()
    async def count(ctx: MessageContext) -> None:
        ctx.data["count"] = ctx.data.get("count", 0) + 1
        ctx.reply(str(ctx.data["count"]))

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        alice.says("/work", wait=False)
        bot.restart()
        assert steps == ["begun", "begun"]
        bot.settles()
        assert alice.sees("worked")
        alice.says("x")
        assert alice.sees("2")


def test_resources_are_open_between_start_and_end():
    router = Router()
    steps: list[str] = []

    @router.resource
    async def pool():
        steps.append("opened")
        yield 42
        steps.append("closed")

    @router.message()
    async def use(ctx: MessageContext) -> None:
        ctx.reply(str(ctx.use(pool)))

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        assert alice.sees("42")
        bot.restart()
        assert steps == ["opened", "closed", "opened"]
    assert steps[3:] == ["closed"]


def test_a_resource_that_cannot_be_opened_ends_the_test():
    router = Router()

    @router.resource
    async def pool():
        raise OSError("no such host")
        yield

    with pytest.raises(ValueError, match="cannot open pool: OSError: no such host"):
        Conversations(router).__enter__()


# ---- what fails


def failing_with(error: Exception) -> Router:
    async def fail(ctx: MessageContext) -> None:
        raise error

    return router_of(fail)


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), Retry("db down", after_s=1)], ids=repr)
def test_a_handlers_exception_is_raised_by_the_turn(error):
    with Conversations(failing_with(error)) as bot:
        alice = bot.chat("Alice")
        with pytest.raises(type(error)) as caught:
            alice.says("x")
        assert caught.value is error
        assert not bot.failures


def test_failures_that_are_expected_are_kept_and_not_logged():
    with capture_logs() as logs, Conversations(failing_with(error := ZeroDivisionError())) as bot:
        alice = bot.chat("Alice")
        alice.says("x", failing=True)
        assert bot.failures == [error]
        assert [entry for entry in logs if "exc_info" in entry] == []
        bot.passes(hours=1, failing=True)
        assert bot.failures[:5] == [error] * 5
        (letter,) = bot.dead_letters()
        assert letter.attempts == 5


def test_an_expected_failure_is_not_raised_by_a_later_turn():
    with Conversations(failing_with(Reject("no"))) as bot:
        bot.chat("Alice").says("x", failing=True)
        bot.passes(hours=1)
        assert [str(error)[:17] for error in bot.failures] == ["a dead letter: no"]


def test_a_rejected_update_and_a_refused_call_are_dead_letters_and_fail_the_turn():
    router = failing_with(Reject("not for us"))
    with Conversations(router) as bot, pytest.raises(AssertionError, match="a dead letter: not for us"):
        bot.chat("Alice").says("x")

    async def slip(ctx: MessageContext) -> None:
        ctx.call_newer("sendMessage", chat_id=ctx.chat_id, text="x", reply_marcup={})

    router = router_of(slip)

    with Conversations(router) as bot:
        with pytest.raises(AssertionError, match="reply_marcup"):
            bot.chat("Alice").says("x")
        (call,) = bot.calls()
        assert "reply_marcup" in call.error
        bot.chat("Alice").says("x", failing=True)
        assert len(bot.dead_letters()) == 2


def test_a_refused_call_at_once_is_the_handlers_matter():
    async def now(ctx: MessageContext) -> None:
        with pytest.raises(Refused):
            await ctx.client.send_message(chat_id=999, text="x")
        raise Park("later", delay_s=5)

    router = router_of(now)

    with Conversations(router) as bot:
        bot.chat("Alice").says("x", wait=False)
        assert not bot.dead_letters()


def test_the_people_can_do_more_than_talk():
    router = Router()

    @router.message()
    async def echo(ctx: MessageContext) -> None:
        ctx.reply("x")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        bot.scene.block(alice.user_id)
        bot.happens()
        alice.says("x", failing=True)
        assert "blocked" in bot.calls()[0].error


async def test_it_cannot_be_used_inside_a_loop():
    with pytest.raises(TypeError, match="write the test as `def`"):
        Conversations(Router()).__enter__()


def test_it_must_be_entered():
    with pytest.raises(RuntimeError, match="with Conversations"):
        Conversations(Router()).chat("Alice").says("x")
