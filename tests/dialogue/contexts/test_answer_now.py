"""A button is answered at the begin of a long handler, once, whatever Telegram says to it.

The wheel on a pressed button turns until answerCallbackQuery comes (Telegram Bot API, CallbackQuery); a late answer is "query
is too old and response timeout expired or query ID is invalid" (telegram-bot-api, Client.cpp, fail_query_with_error).

Met by others: chelaxian/tg-ytdlp-bot#470 (a download outlives its press), openclaw/openclaw#90381 (presses that wait behind a
slow handler), python-telegram-bot/python-telegram-bot#1364 (an automatic answer, and the author's own).
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from telegram.botapi.errors import NotSent, Refused, RetryAfter
from telegram.dialogue import CallbackContext, MessageContext, Retry, Router
from telegram.dialogue.buttons.keyboards import inline
from telegram.testing import Conversations
from tests.kit.deliveries import press
from tests.kit.rig import STORES, Rig, open_rig, text
from tests.kit.virtual import run_virtual

ANSWER = "answerCallbackQuery"


class Client:
    """Takes calls at once; raises what it is told to."""

    def __init__(self, *raises: Any, hangs: bool = False) -> None:
        self.calls: list[tuple[float, dict[str, Any]]] = []
        self.raises = list(raises)
        self.hangs = hangs

    async def call(self, method: str, /, **params: Any) -> bool:
        assert method == ANSWER
        self.calls.append((asyncio.get_running_loop().time(), params))
        if self.hangs:
            await asyncio.Event().wait()
        if self.raises and (error := self.raises.pop(0)) is not None:
            raise error
        return True


def working(*, fails: int = 0, says: str | None = None) -> Router:
    router = Router()

    @router.callback_query()
    async def works(ctx: CallbackContext) -> None:
        await ctx.answer_now("Working")
        await asyncio.sleep(30)
        if ctx.attempt <= fails:
            raise Retry("not yet", after_s=1)
        ctx.reply("done")
        if says is not None:
            ctx.answer(says)

    @router.message()
    async def rests(ctx: MessageContext) -> None:
        await asyncio.sleep(200)

    return router


def run(
    store: str, folder: Path, router: Router, client: Client, *updates: dict[str, Any], **config: Any
) -> Rig:
    async def main() -> Rig:
        async with open_rig(store, folder, router, client=client, handler_timeout_s=500, **config) as rig:
            await rig.comes(*updates)
            await rig.settles()
            assert await rig.store.dead_letters() == []
            return rig

    return run_virtual(main())


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_button_is_answered_at_the_begin_and_not_again_at_the_end(store: str, tmp_path: Path):
    client = Client()
    rig = run(store, tmp_path, working(), client, {"callback_query": press("x")})
    assert client.calls == [(0.0, {"callback_query_id": "query-1", "text": "Working"})]
    assert [each.method for each in rig.out] == ["sendMessage"]


def test_a_handler_that_runs_again_does_not_answer_again(store: str, tmp_path: Path):
    client = Client()
    rig = run(store, tmp_path, working(fails=2), client, {"callback_query": press("x")})
    assert len(client.calls) == 1
    assert [each.method for each in rig.out] == ["sendMessage"]


def test_nor_does_a_handler_that_was_given_up(tmp_path: Path):
    client = Client()

    async def main() -> None:
        async with open_rig("memory", tmp_path, working(fails=9), client=client, attempts_max=1) as rig:
            await rig.comes({"callback_query": press("x")})
            await rig.settles()
            assert len(client.calls) == 1
            assert [each.method for each in rig.out] == ["sendMessage"]  # the apology

    run_virtual(main())


def test_what_the_author_answers_in_the_end_is_sent(tmp_path: Path):
    """Telegram shows the first answer only, but that is the author's to know."""
    rig = run("memory", tmp_path, working(says="Ready"), Client(), {"callback_query": press("x")})
    assert [each.params.get("text") for each in rig.sent(ANSWER)] == ["Ready"]


TOO_OLD = Refused(
    ANSWER, 400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
)


def test_that_telegram_refuses_a_late_answer_is_nothing_to_the_handler(store: str, tmp_path: Path):
    rig = run(store, tmp_path, working(), Client(TOO_OLD), {"callback_query": press("x")})
    assert [each.method for each in rig.out] == [
        "sendMessage"
    ]  # and no second answer, which would be later still


@pytest.mark.parametrize(
    "error",
    [
        RetryAfter(ANSWER, 429, "Too Many Requests", {"retry_after": 12}),
        NotSent(ANSWER, "connection refused"),
        Refused(ANSWER, 400, "Bad Request: x"),
    ],
    ids=["429", "not sent", "refused"],
)
def test_an_answer_that_could_not_be_sent_comes_with_the_commit(error: Exception, tmp_path: Path):
    rig = run("memory", tmp_path, working(), Client(error), {"callback_query": press("x")})
    assert [each.method for each in rig.out] == ["sendMessage", ANSWER]


def test_a_server_that_does_not_answer_holds_the_handler_up_for_five_seconds(tmp_path: Path):
    rig = run("memory", tmp_path, working(), Client(hangs=True), {"callback_query": press("x")})
    assert [(each.method, round(each.at)) for each in rig.out] == [("sendMessage", 35), (ANSWER, 35)]


def test_a_press_that_has_waited_too_long_is_not_answered_at_all(tmp_path: Path):
    """150 s: Telegram has forgotten it (Telegram Bot API server, callback queries)."""
    client = Client()
    rig = run("memory", tmp_path, working(), client, text("hi"), {"callback_query": press("x")})
    assert client.calls == []
    assert [each.method for each in rig.out] == ["sendMessage"]


def test_a_misspelt_parameter_is_a_mistake_of_the_author(tmp_path: Path):
    router = Router()

    @router.callback_query()
    async def works(ctx: CallbackContext) -> None:
        await ctx.answer_now("Working", show_alret=True)  # type: ignore[call-arg]

    async def main() -> None:
        async with open_rig("memory", tmp_path, router, client=Client()) as rig:
            await rig.comes({"callback_query": press("x")})
            await rig.settles()
            (letter,) = await rig.store.dead_letters()
            assert "show_alert" in letter.reason

    run_virtual(main())


def test_the_answers_that_are_remembered_are_bounded(tmp_path: Path):
    router = Router()

    @router.callback_query()
    async def works(ctx: CallbackContext) -> None:
        await ctx.answer_now()

    presses = [{"callback_query": {**press("x"), "id": f"{n}"}} for n in range(1100)]
    rig = run("memory", tmp_path, router, Client(), *presses)
    assert len(rig.handler.tools.answered) == 1000
    assert rig.out == []


def test_the_person_sees_it_at_once():
    router = Router()

    @router.message()
    async def asks(ctx: MessageContext) -> None:
        ctx.reply("Go?", reply_markup=inline([("Go", "go")]))

    router.include(working())
    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("hi")
        alice.presses("Go", wait=False)
        assert alice.toast == "Working"
        bot.settles()
        assert alice.sees("done")
        assert len(bot.calls(ANSWER)) == 1


def test_a_download_outlives_its_press_and_a_second_one(store: str, tmp_path: Path):
    """chelaxian/tg-ytdlp-bot#470: pressed twice. The second press is handled after the download; its answer is too late."""
    client = Client(None, TOO_OLD)
    again = {**press("x"), "id": "query-2"}
    rig = run(store, tmp_path, working(), client, {"callback_query": press("x")}, {"callback_query": again})
    assert [(round(at), params["callback_query_id"]) for at, params in client.calls] == [
        (0.0, "query-1"),
        (30.0, "query-2"),
    ]
    assert rig.texts() == ["done", "done"]
    assert rig.sent(ANSWER) == []


def test_who_answers_by_hand_at_the_end_is_not_answered_for(store: str, tmp_path: Path):
    """python-telegram-bot#1364: the automatic answer must not come before the author's."""
    router = Router()

    @router.callback_query()
    async def works(ctx: CallbackContext) -> None:
        await asyncio.sleep(5)
        ctx.answer("Saved")

    rig = run(store, tmp_path, router, Client(), {"callback_query": press("x")})
    assert [each.params["text"] for each in rig.sent(ANSWER)] == ["Saved"]
