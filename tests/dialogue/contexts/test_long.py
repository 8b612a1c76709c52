"""What a handler shows while it works, and what becomes of that when it ends: the real Bot on virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine import Retry
from engine.stores.memory import MemoryStore
from telegram.botapi.errors import NotSent, OutcomeUnknown, Refused, RetryAfter, ServerTrouble
from telegram.dialogue import Context, MessageContext, Router, command, no, text
from tests.kit.deliveries import context
from tests.kit.deliveries import message as a_message
from tests.kit.offline import Scene, now, play, said
from tests.kit.steals import Steals


def router_of(work: Callable[[MessageContext], Any], **options: Any) -> Router:
    router = Router()

    @router.message(text, no(command("cancel")), **options)
    async def handler(ctx: MessageContext) -> None:
        await work(ctx)

    return router


def flood(seconds: int = 7) -> RetryAfter:
    return RetryAfter("editMessageText", 429, "Too Many Requests", {"retry_after": seconds})


def one_update(**more: Any) -> Callable[[Scene], Any]:
    async def scenario(scene: Scene) -> Scene:
        scene.telegram.say("go", **more)
        await scene.idle()
        return scene

    return scenario


# -- typing -------------------------------------------------------------------------------------------------------


def test_a_chat_action_is_sent_at_once_and_every_4_s_and_ends_with_the_block():
    async def work(ctx: MessageContext) -> None:
        tasks = asyncio.all_tasks()
        async with ctx.typing("upload_document"):
            await asyncio.sleep(9)
        assert asyncio.all_tasks() <= tasks
        await asyncio.sleep(9)

    scene = play(router_of(work), one_update())
    assert scene.telegram.times("sendChatAction") == [0, 4, 8]
    assert scene.telegram.sent[0].params == {"chat_id": 7, "action": "upload_document"}


def test_a_chat_action_goes_to_the_topic_and_business_connection_of_the_update():
    async def work(ctx: Context) -> None:
        assert isinstance(ctx, MessageContext)
        async with ctx.typing():
            await asyncio.sleep(1)

    router = Router()
    router.any_message()(work)

    async def scenario(scene: Scene) -> list[Any]:
        scene.telegram.say("go", chat=-100, is_topic_message=True, message_thread_id=3)
        scene.telegram.push({"business_message": said("go", business_connection_id="bc")["message"]})
        scene.telegram.say("go", direct_messages_topic={"topic_id": 5})
        await scene.idle()
        return [sent.params for sent in scene.telegram.sent]

    assert play(router, scenario) == [
        {"chat_id": -100, "message_thread_id": 3, "action": "typing"},
        {"chat_id": 7, "business_connection_id": "bc", "action": "typing"},
        {"chat_id": 7, "action": "typing"},
    ]


@pytest.mark.parametrize(
    "trouble",
    [
        NotSent("sendChatAction", "refused"),
        Refused("sendChatAction", 400, "Bad Request", {}),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
    ids=repr,
)
def test_a_chat_action_that_fails_is_no_error_for_the_handler(trouble):
    async def work(ctx: MessageContext) -> None:
        async with ctx.typing():
            await asyncio.sleep(5)
        ctx.reply("done")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.troubles["sendChatAction"] = [trouble]
        scene.telegram.say("go")
        await scene.idle()
        return scene.telegram.times("sendChatAction"), scene.telegram.texts()

    logs: list[Any] = []
    assert play(router_of(work), scenario, logs=logs) == ([4], ["done"])
    assert [line["log_level"] for line in logs if line["event"] == "chat action not shown"] == ["debug"]


def test_a_chat_action_waits_for_retry_after():
    async def work(ctx: MessageContext) -> None:
        async with ctx.typing():
            await asyncio.sleep(12)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.troubles["sendChatAction"] = [flood(7)]
        scene.telegram.say("go")
        await scene.idle()
        return scene.telegram.times("sendChatAction")

    assert play(router_of(work), scenario) == [7, 11]


def test_a_slow_telegram_does_not_delay_the_handler():
    ended = []

    async def work(ctx: MessageContext) -> None:
        async with ctx.typing():
            await asyncio.sleep(1)
        ended.append(round(now(), 1))

    async def scenario(scene: Scene) -> Any:
        scene.telegram.takes_s["sendChatAction"] = 30
        scene.telegram.say("go")
        await scene.idle()
        return scene.telegram.times("sendChatAction")

    assert play(router_of(work), scenario) == []
    assert ended == [1]


# -- progress: what is shown ----------------------------------------------------------------------------------------


def test_progress_is_a_message_that_is_edited_once_a_second_at_most_and_the_newest_text_wins():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading ...", parse_mode="HTML")
        for percent in range(12):  # at 0, 0.35, 0.7, 1.05 ...
            await progress.update(percent / 100)
            await asyncio.sleep(0.35)
        progress.done("Finished: 12 lines")
        ctx.reply("next")

    scene = play(router_of(work), one_update(chat=-100, is_topic_message=True, message_thread_id=3))
    first, *edits, last, reply = scene.telegram.sent
    assert first.params == {
        "chat_id": -100,
        "message_thread_id": 3,
        "text": "Loading ...",
        "parse_mode": "HTML",
    }
    assert [(sent.at, sent.params["text"]) for sent in edits] == [
        (1, "Loading ... 2%"),
        (2, "Loading ... 5%"),
        (3, "Loading ... 8%"),
        (4, "Loading ... 11%"),
    ]
    assert {sent.params["message_id"] for sent in (*edits, last)} == {501}
    assert {sent.params.get("parse_mode") for sent in edits} == {"HTML"}
    assert last.params == {"chat_id": -100, "message_id": 501, "text": "Finished: 12 lines"}
    assert (last.at, last.method, reply.params["text"]) == (4.2, "editMessageText", "next")


def test_a_handler_that_never_waits_shows_only_the_end():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        for percent in range(100):
            await progress.update(percent / 100)
        await progress.update("almost")

    scene = play(router_of(work), one_update())
    assert scene.telegram.texts("sendMessage", "editMessageText") == ["Loading", "almost"]


def test_the_last_text_is_shown_once_and_not_again_at_the_end():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        await progress.update("half")
        await asyncio.sleep(5)

    scene = play(router_of(work), one_update())
    assert scene.telegram.texts("sendMessage", "editMessageText") == ["Loading", "half"]


@pytest.mark.parametrize(("done", "shown"), [(-1, "0%"), (0, "0%"), (0.5, "50%"), (1, "100%"), (7.0, "100%")])
def test_a_part_is_shown_in_percent(done, shown):
    async def work(ctx: MessageContext) -> None:
        await (await ctx.progress("Loading")).update(done)

    scene = play(router_of(work), one_update())
    assert scene.telegram.texts("editMessageText") == [f"Loading {shown}"]


def test_flood_control_is_respected_and_the_newest_text_is_shown_afterwards():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        for number in range(15):
            await progress.update(f"{number}")
            await asyncio.sleep(1)
        await asyncio.sleep(5)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.troubles["editMessageText"] = [flood(7)]
        scene.telegram.say("go")
        await scene.idle()
        return [(sent.at, sent.params["text"]) for sent in scene.telegram.sent]

    sent = play(router_of(work), scenario)
    assert sent[:2] == [(0, "Loading"), (9, "8")] or sent[:2] == [(0, "Loading"), (9, "9")]
    assert sent[-1][1] == "14"


def test_what_flood_control_refused_is_shown_when_its_time_is_over():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        await progress.update("half")
        await asyncio.sleep(30)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.troubles["editMessageText"] = [flood(7)]
        scene.telegram.say("go")
        await scene.idle()
        return [(sent.at, sent.params["text"]) for sent in scene.telegram.sent]

    assert play(router_of(work), scenario) == [(0, "Loading"), (9, "half")]


def test_nothing_is_shown_after_done():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        await progress.update("half")
        progress.done("Finished")

    scene = play(router_of(work), one_update())
    assert scene.telegram.texts("sendMessage", "editMessageText") == ["Loading", "Finished"]


def test_an_update_lets_others_run():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        ran: list[str] = []
        asyncio.get_running_loop().call_soon(ran.append, "another")
        await progress.update("half")
        ctx.reply(*ran)

    assert play(router_of(work), one_update()).telegram.texts() == ["Loading", "another"]


@pytest.mark.parametrize(
    "trouble",
    [
        NotSent("sendMessage", "refused"),
        OutcomeUnknown("sendMessage", "cut"),
        ServerTrouble("sendMessage", 502, "Bad Gateway", {}),
        flood(),
    ],
    ids=repr,
)
def test_what_cannot_be_shown_is_no_error_and_its_end_is_a_message_of_its_own(trouble):
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        await progress.update(0.5)
        await asyncio.sleep(5)
        progress.done("Finished")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.troubles["sendMessage"] = [trouble]
        scene.telegram.say("go")
        await scene.idle()
        return [(sent.method, sent.params) for sent in scene.telegram.sent]

    assert play(router_of(work), scenario) == [("sendMessage", {"chat_id": 7, "text": "Finished"})]


def test_edits_that_fail_are_no_error_and_the_next_one_is_tried():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        for number in range(3):
            await progress.update(f"{number}")
            await asyncio.sleep(2)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.troubles["editMessageText"] = [
            NotSent("editMessageText", "refused"),
            Refused("editMessageText", 400, "Bad Request: message to edit not found", {}),
        ]
        scene.telegram.say("go")
        await scene.idle()
        return scene.telegram.texts("sendMessage", "editMessageText")

    assert play(router_of(work), scenario) == ["Loading", "2"]


def test_an_edit_under_way_arrives_before_the_last_one():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        await progress.update("half")
        await asyncio.sleep(1.5)
        progress.done("Finished")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.takes_s["editMessageText"] = 1.8
        scene.telegram.say("go")
        await scene.idle()
        return scene.telegram.texts("sendMessage", "editMessageText")

    assert play(router_of(work), scenario) == ["Loading", "half", "Finished"]


def test_an_edit_that_hangs_holds_the_end_up_for_two_seconds_at_most():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        await progress.update("half")
        await asyncio.sleep(1.5)
        progress.done("Finished")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.takes_s["editMessageText"] = 25
        scene.telegram.say("go")
        await asyncio.sleep(4)
        scene.telegram.takes_s.clear()
        return round(now() - 4, 1), (await scene.store.stats()).inbox.committed

    assert play(router_of(work), scenario) == (0, 1)


def test_without_a_client_nothing_is_shown_and_nothing_fails():
    async def main() -> list[bytes]:
        ctx = context({"message": a_message()})
        async with ctx.typing():
            progress = await ctx.progress("Loading")
            await progress.update(0.5)
            progress.done("Finished")
            await progress.settle()
            await progress.end()
        return [call.body for call in ctx.effects().calls]

    assert asyncio.run(main()) == [b'sendMessage\n{"chat_id":7,"text":"Finished"}']


async def test_an_update_without_a_chat_or_a_person_has_no_place_for_it():
    ctx = context({"poll": POLL})
    with pytest.raises(ValueError, match="needs a chat"):
        await ctx.progress("Loading")
    with pytest.raises(ValueError, match="needs a chat"):
        ctx.typing()


POLL = {
    "id": "1", "question": "?", "options": [], "total_voter_count": 0, "is_closed": False, "is_anonymous": True,
    "type": "regular", "allows_multiple_answers": False,
}  # fmt: skip


# -- progress: running again ------------------------------------------------------------------------------------------


def test_a_handler_that_runs_again_goes_on_with_its_message():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        second = await ctx.progress("Second")
        await progress.update("half")
        await asyncio.sleep(2)
        if ctx.attempt < 3:
            raise Retry("again", after_s=10)
        progress.done("Finished")
        second.done("Too")

    scene = play(router_of(work), one_update())
    sent = [(each.method, each.params["text"], each.params.get("message_id")) for each in scene.telegram.sent]
    again = [("editMessageText", "Loading", 501), ("editMessageText", "Second", 502)]
    half = ("editMessageText", "half", 501)
    assert sent == [
        ("sendMessage", "Loading", None),
        ("sendMessage", "Second", None),
        half,
        *again,
        half,
        *again,
        half,
        ("editMessageText", "Finished", 501),
        ("editMessageText", "Too", 502),
    ]


def test_a_message_that_was_deleted_meanwhile_is_sent_anew():
    async def work(ctx: MessageContext) -> None:
        progress = await ctx.progress("Loading")
        if ctx.attempt < 2:
            raise Retry("again", after_s=10)
        progress.done("Finished")

    async def scenario(scene: Scene) -> Any:
        gone = Refused("editMessageText", 400, "Bad Request: message to edit not found", {})
        scene.telegram.troubles["editMessageText"] = [gone]
        scene.telegram.say("go")
        await scene.idle()
        return [(sent.method, sent.params.get("message_id")) for sent in scene.telegram.sent]

    sent = play(router_of(work), scenario)
    assert sent == [("sendMessage", None), ("sendMessage", None), ("editMessageText", 502)]


def test_another_update_has_a_message_of_its_own():
    async def work(ctx: MessageContext) -> None:
        (await ctx.progress("Loading")).done("Finished")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("go"), said("go"))
        await scene.idle()
        return [sent.params.get("message_id") for sent in scene.telegram.sent]

    assert sorted(play(router_of(work), scenario), key=str) == [501, 502, None, None]


# -- nothing of it outlives the handler (play() looks for tasks and lost exceptions at the end) ------------------------


async def shows_all(ctx: MessageContext) -> None:
    progress = await ctx.progress("Loading")
    async with ctx.typing():
        for number in range(1000):
            await progress.update(f"{number}")
            await asyncio.sleep(0.7)


def ticks(scene: Scene, after: float) -> list[Any]:
    return [sent for sent in scene.telegram.sent if sent.at > after and sent.method != "sendMessage"]


def test_a_deadline_ends_it():
    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(60)
        return ticks(scene, 20), await scene.reasons()

    sent = play(router_of(shows_all), scenario, handler_timeout_s=20, attempts_max=1)
    assert sent == ([], [("the handler ran longer than 20 s", 1)])


def test_a_handlers_own_time_is_more_than_the_others():
    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await scene.idle(within_s=1000.0)
        return max(scene.telegram.times("sendChatAction")), await scene.reasons()

    last, dead = play(router_of(shows_all, timeout_s=600), scenario, handler_timeout_s=20, attempts_max=1)
    assert last >= 596
    assert dead == [("the handler ran longer than 600 s", 1)]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_an_impossible_time_is_an_error_at_its_line(seconds):
    with pytest.raises(ValueError, match="timeout_s"):
        Router().message(timeout_s=seconds)


def test_a_stop_ends_it():
    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(20)
        scene.telegram.say("/cancel")
        await asyncio.sleep(60)
        return ticks(scene, 20)

    assert play(router_of(shows_all, stop=command("cancel")), scenario, handler_timeout_s=1000)[1:] == []


def test_a_lost_lease_ends_it():
    store = Steals()

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(12)
        store.steal()
        await asyncio.sleep(30)
        return ticks(scene, 11), ticks(scene, 12.5)

    logs: list[Any] = []
    until, after = play(
        router_of(shows_all), scenario, store=store, logs=logs, handler_timeout_s=1000, drain_timeout_s=2
    )
    assert until
    assert not after
    assert "lease lost" in {line["event"] for line in logs}


def test_a_drain_ends_it_and_the_handler_comes_again_after_the_restart():
    store = MemoryStore()

    async def first(scene: Scene) -> list[Any]:
        scene.telegram.say("go")
        await asyncio.sleep(5)
        await scene.bot.stop()
        stopped = now()
        await asyncio.sleep(30)
        return ticks(scene, stopped)

    async def done(ctx: MessageContext) -> None:
        (await ctx.progress("Loading")).done("Finished")

    async def second(scene: Scene) -> Any:
        await scene.idle()
        return scene.telegram.texts("sendMessage", "editMessageText")

    assert play(router_of(shows_all), first, store=store, drain_timeout_s=3, handler_timeout_s=1000) == []
    # Another process: it cannot know the message of the first one, and says "Loading" a second time.
    assert play(router_of(done), second, store=store) == ["Loading", "Finished"]


def test_an_error_of_the_handler_ends_it():
    async def work(ctx: MessageContext) -> None:
        await ctx.progress("Loading")
        async with ctx.typing():
            await asyncio.sleep(3)
            raise ZeroDivisionError

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(60)
        return ticks(scene, 3), await scene.reasons()

    assert play(router_of(work), scenario, attempts_max=1) == ([], [("ZeroDivisionError: ", 1)])
