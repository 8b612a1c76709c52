"""Hooks around handlers: of errors, before, after; attempts and pauses of a router and a handler; what is logged.

Met by others: aiogram/aiogram#507 (all error handlers run, though one has handled the error),
python-telegram-bot/python-telegram-bot#701 (an error inside the error handler stops the bot),
eternnoir/pyTelegramBotAPI#1137 (what a middleware raises is fatal).
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import Park, Reject, Retry
from telegram.dialogue import (
    HANDLED,
    CallbackContext,
    ChatContext,
    Flow,
    Handled,
    Invalid,
    MessageContext,
    Router,
    command,
    text,
)
from telegram.dialogue.contexts.conduct import APOLOGY
from telegram.dialogue.routes.hooks import HOOK_TIMEOUT_S
from tests.dialogue.flows.test_flow import Answers, Step
from tests.kit.deliveries import Direct, delivery, message, press
from tests.kit.rig import open_rig
from tests.kit.rig import text as typed
from tests.kit.virtual import run_virtual

ADMIN = 99


class Broken(Exception):  # noqa: N818 - as it reads in the tests
    """What the handlers of these tests raise."""


def failing(error: Any = None, **options: Any) -> Router:
    router = Router(**options)

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        ctx.reply("not to be sent")
        ctx.data["failed"] = True
        raise error or Broken("broken")

    return router


async def played(
    router: Router, *updates: Any, **config: Any
) -> tuple[list[tuple[int, str]], list[Any], Any]:
    """Return the sent texts with their chats, the dead letters, and the state of the private chat."""
    async with open_rig("memory", Path(), router, **{"backoff_s": 1.0, **config}) as rig:
        await rig.comes(*(updates or (typed("hello"),)))
        await rig.settles()
        sent = [(each.params["chat_id"], each.params["text"]) for each in rig.sent("sendMessage")]
        return sent, await rig.store.dead_letters(), await rig.data("chat:7")


def play(router: Router, *updates: Any, **config: Any) -> tuple[list[tuple[int, str]], list[Any], Any]:
    with capture_logs():
        return run_virtual(played(router, *updates, **config))


# ---- what an error hook decides


def test_a_hook_that_has_handled_an_error_commits_its_own_effects():
    router = failing()
    seen: list[tuple[str, int]] = []

    @router.error(Broken)
    async def hook(ctx: ChatContext, error: Broken) -> Handled:
        seen.append((str(error), ctx.attempt))
        ctx.reply("I am sorry")
        ctx.send(ADMIN, f"{error} in {ctx.chat_id}")
        ctx.data["reported"] = ctx.data.get("failed", False)
        return HANDLED

    sent, dead, data = play(router)
    assert sent == [(7, "I am sorry"), (ADMIN, "broken in 7")]
    assert not dead
    assert data == {"reported": False}  # the handler's own effects are gone
    assert seen == [("broken", 1)]


def test_the_calls_of_a_hook_without_a_decision_are_sent_once_at_the_last_attempt():
    router = failing()
    attempts: list[int] = []

    @router.error()
    async def hook(error: Exception, ctx: ChatContext) -> None:
        attempts.append(ctx.attempt)
        ctx.data["never"] = 1
        ctx.send(ADMIN, f"{error} at attempt {ctx.attempt}")

    sent, dead, data = play(router, attempts_max=3)
    assert attempts == [1, 2, 3]
    assert sent == [(ADMIN, "broken at attempt 3"), (7, APOLOGY)]
    assert [(letter.attempts, letter.reason) for letter in dead] == [(3, "Broken: broken")]
    assert data is None


def test_a_hook_that_answers_the_user_replaces_the_apology():
    router = failing()

    @router.error()
    async def hook(ctx: ChatContext) -> None:
        ctx.reply("It will not work")

    sent, dead, _ = play(router, attempts_max=2)
    assert sent == [(7, "It will not work")]
    assert len(dead) == 1


@pytest.mark.parametrize(
    ("outcome", "attempts", "texts"),
    [
        (Reject("of no use"), [1], [(7, "said by the hook")]),
        (Retry("again", after_s=5), [1, 2, 3], [(7, "said by the hook")]),
        (Park("later", delay_s=5), [1, 1], []),
    ],
)
def test_a_hook_decides_by_raising_an_outcome(outcome, attempts, texts):
    router = Router()
    seen: list[int] = []

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        seen.append(ctx.attempt)
        if isinstance(outcome, Park) and len(seen) == 2:
            return
        raise Broken

    @router.error(Broken)
    async def hook(ctx: ChatContext) -> None:
        ctx.reply("said by the hook")
        raise outcome

    sent, dead, _ = play(router, attempts_max=3)
    assert seen == attempts
    assert sent == texts
    assert [letter.reason for letter in dead] == ([] if isinstance(outcome, Park) else [outcome.reason])


def test_the_innermost_router_decides_and_only_one_hook_runs():
    outer, inner = Router(), failing()
    ran: list[str] = []

    @outer.error()
    async def outermost() -> Handled:
        ran.append("outer")
        return HANDLED

    @inner.error(OSError)
    async def other() -> Handled:
        ran.append("other type")
        return HANDLED

    @inner.error(LookupError, Broken)
    async def first() -> Handled:
        ran.append("first")
        return HANDLED

    @inner.error()
    async def second() -> Handled:
        ran.append("second")
        return HANDLED

    outer.include(inner)
    play(outer)
    assert ran == ["first"]
    ran.clear()
    inner.hooks.errors.clear()
    play(outer)
    assert ran == ["outer"]


@pytest.mark.parametrize("outcome", [Retry("r"), Park("p", delay_s=1), Reject("j"), Invalid("wrong")])
def test_outcomes_that_a_handler_asks_for_are_no_errors(outcome):
    router = Router()
    ran: list[Any] = []

    @router.message()
    async def handler(ctx: MessageContext) -> None:
        if not isinstance(outcome, Park) or ctx.update.update_id not in ran:
            ran.append(ctx.update.update_id)
            raise outcome

    @router.error()
    async def hook() -> Handled:
        ran.append("hook")
        return HANDLED

    play(router, attempts_max=2)
    assert ran
    assert "hook" not in ran


@pytest.mark.parametrize("how", ["raises", "hangs", "raises SystemExit"])
def test_a_hook_that_fails_itself_leaves_the_default_outcome(how):
    router = failing()

    @router.error()
    async def hook(ctx: ChatContext) -> None:
        ctx.reply("not to be sent either")
        if how == "hangs":
            await asyncio.sleep(HOOK_TIMEOUT_S * 5)
        raise (ValueError if how == "raises" else SystemExit)("the hook")

    with capture_logs() as logs:
        sent, dead, _ = run_virtual(played(router, attempts_max=2))
    assert sent == [(7, APOLOGY)]
    (letter,) = dead
    assert letter.attempts == 2
    if how != "raises SystemExit":
        assert letter.reason == "Broken: broken"
        assert [
            each["hook"].rsplit(".", 1)[-1] for each in logs if each["event"] == "an error hook failed"
        ] == ["hook"] * 2


def test_a_press_is_answered_once_also_if_the_hook_answers_it():
    router = Router()

    @router.callback_query()
    async def handler(ctx: CallbackContext) -> None:
        raise Broken

    @router.error()
    async def hook(ctx: ChatContext) -> Handled:
        assert isinstance(ctx, CallbackContext)
        ctx.answer("No")
        return HANDLED

    async def main() -> list[Any]:
        async with open_rig("memory", Path(), router) as rig:
            await rig.comes({"callback_query": press("x")})
            await rig.settles()
            return [each.params.get("text") for each in rig.sent("answerCallbackQuery")]

    with capture_logs():
        assert run_virtual(main()) == ["No"]


def test_a_step_of_a_flow_is_a_handler_too():
    router, flow = Router(), Flow("f", Step, Answers)
    router.include(flow)

    @flow.entry.message()
    async def begin() -> Step:
        raise Broken

    @router.error(Broken)
    async def hook(ctx: ChatContext) -> Handled:
        ctx.reply("in the flow")
        return HANDLED

    assert play(router)[0] == [(7, "in the flow")]


def test_a_burst_is_split_before_its_hook_runs():
    router = Router()
    seen: list[str] = []

    @router.message(command("wait"))
    async def slow() -> None:
        await asyncio.sleep(5)

    @router.burst(text)
    async def handler(ctx: MessageContext, messages: list[Any]) -> None:
        if any(each.text == "bad" for each in messages):
            raise Broken

    @router.error()
    async def hook(ctx: ChatContext) -> Handled:
        seen.append(ctx.text)
        return HANDLED

    _, dead, _ = play(router, typed("/wait"), typed("a"), typed("bad"), typed("c"))
    assert not dead
    assert seen == ["bad"]


# ---- before and after


def hooked() -> tuple[Router, list[str]]:
    outer, inner = Router(), Router()
    ran: list[str] = []

    def note(name: str) -> Any:
        async def hook(ctx: ChatContext) -> None:
            ran.append(name)
            ctx.reply(name)

        return hook

    outer.before(note("before outer"))
    outer.after(note("after outer"))
    inner.before(note("before inner"))
    inner.after(note("after inner"))
    inner.message(text)(note("handler"))
    outer.include(inner)
    return outer, ran


def test_hooks_run_from_the_outside_in_and_back():
    router, ran = hooked()
    sent, _, _ = play(router)
    expected = ["before outer", "before inner", "handler", "after inner", "after outer"]
    assert ran == [each for _, each in sent] == expected


def test_they_run_only_around_a_handler():
    router, ran = hooked()
    play(router, typed("/command"))
    assert ran == []


def test_before_may_handle_the_update_itself():
    router, ran = hooked()

    @router.before
    async def closed(ctx: ChatContext) -> Handled:
        ctx.reply("closed")
        return HANDLED

    sent, dead, _ = play(router)
    assert ran == ["before outer"]
    assert [each for _, each in sent] == ["before outer", "closed"]
    assert not dead


@pytest.mark.parametrize("where", ["before", "after"])
def test_what_they_raise_is_the_handlers_failure(where):
    router, _ = hooked()

    async def rejects() -> None:
        raise Reject("not in this chat")

    getattr(router, where)(rejects)
    sent, dead, _ = play(router)
    assert [each for _, each in sent] == [APOLOGY]
    assert [letter.reason for letter in dead] == ["not in this chat"]


# ---- attempts and pauses


def begins(router: Router, **config: Any) -> list[float]:
    """Return when the handler ran, in seconds."""
    moments: list[float] = []

    @router.before
    async def note() -> None:
        moments.append(asyncio.get_running_loop().time())

    play(router, **config)
    return [round(each - moments[0], 1) for each in moments]


def test_attempts_and_pauses_of_the_innermost_router_count():
    outer, inner = Router(attempts=2, backoff_s=100), failing(attempts=4, backoff_s=10)
    outer.include(inner)
    assert begins(outer) == [0, 5, 15, 35]  # half of 10, 20, 40: the jitter of the tests is 0
    assert begins(failing(attempts=2)) == [0, 0.5]
    assert begins(failing(backoff_s=2), attempts_max=2) == [0, 1]


def test_those_of_a_handler_count_before_its_routers():
    router = Router(attempts=5, backoff_s=1)

    @router.message(attempts=2, backoff_s=60)
    async def handler() -> None:
        raise Broken

    assert begins(router) == [0, 30]


def test_a_time_out_counts_like_a_failure():
    router = Router(attempts=2, backoff_s=2)
    ran: list[int] = []

    @router.message(timeout_s=3)
    async def handler(ctx: MessageContext) -> None:
        ran.append(ctx.attempt)
        await asyncio.sleep(60)

    _, dead, _ = play(router)
    assert ran == [1, 2]
    assert [(letter.attempts, letter.reason) for letter in dead] == [(2, "the handler ran longer than 3 s")]


def test_an_update_that_was_cut_off_at_its_last_attempt_is_not_tried_again():

    ran: list[int] = []
    router = Router()

    @router.message(attempts=1)
    async def handler() -> None:
        ran.append(1)

    with pytest.raises(Reject, match="cut off at attempt 1 of 1"):
        run_virtual(Direct(router)(delivery({"message": message()}, attempt=2)))
    assert not ran


def test_errors_that_are_not_worth_retrying_are_given_up_at_once():
    outer = Router(never_retry=(LookupError,))
    outer.include(failing(KeyError("no such row")))
    sent, dead, _ = play(outer)
    assert [(letter.attempts, letter.reason) for letter in dead] == [(1, "KeyError: 'no such row'")]
    assert sent == [(7, APOLOGY)]


@pytest.mark.parametrize(
    ("wrong", "error", "why"),
    [
        (lambda: Router(attempts=0), ValueError, "attempts is a number from 1 on"),
        (lambda: Router().message(attempts=True), ValueError, "attempts is a number from 1 on"),
        (lambda: Router(backoff_s=-1), ValueError, "backoff_s is a number of seconds from 0 on"),
        (lambda: Router().message(backoff_s=float("nan")), ValueError, "backoff_s is a number of seconds"),
        (lambda: Router(never_retry=("x",)), TypeError, "never_retry has types of errors"),  # type: ignore[arg-type]
        (lambda: Router().error("x"), TypeError, "name types of errors"),  # type: ignore[call-overload]
        (lambda: Router().error(failing), TypeError, "name types of errors"),  # type: ignore[call-overload]
        (lambda: Router().error(Reject), TypeError, "Reject is an outcome that a handler asks for"),
        (lambda: Router().error(Broken)(lambda ctx: None), TypeError, "async def"),  # type: ignore[arg-type]
        (lambda: Router().before(lambda ctx: None), TypeError, "async def"),  # type: ignore[type-var]
    ],
)
def test_a_wrong_hook_is_an_error_where_it_is_written(wrong, error, why):
    with pytest.raises(error, match=why):
        wrong()


# ---- logs


def test_the_traceback_is_logged_once_for_each_kind_and_place():
    router = failing(attempts=3, backoff_s=1)

    @router.callback_query(attempts=1)
    async def other() -> None:
        raise Broken("elsewhere")

    with capture_logs() as logs:
        run_virtual(played(router, typed("a"), typed("b"), {"callback_query": press("x")}))
    lines = [each for each in logs if each["event"] == "handler failed"]
    assert [
        (each["kind"], each["attempt"], "exc_info" in each) for each in lines if each["kind"] == "message"
    ] == [("message", attempt, number == 0) for number, attempt in enumerate((1, 2, 3, 1, 2, 3))]
    assert lines[1]["error"] == "Broken: broken"
    assert lines[1]["at"].startswith("test_hooks.py:")
    assert ["exc_info" in each for each in lines if each["kind"] == "callback_query"] == [True]


def test_an_error_that_a_hook_has_handled_is_logged_too():
    router = failing()

    @router.error()
    async def hook() -> Handled:
        return HANDLED

    with capture_logs() as logs:
        run_virtual(played(router))
    (line,) = [each for each in logs if each["event"] == "handler failed"]
    assert isinstance(line["exc_info"], Broken)
