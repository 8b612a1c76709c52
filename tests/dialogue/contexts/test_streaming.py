"""`ctx.stream()`: an answer that grows. The real Bot on virtual time.

What breaks elsewhere, each with a test here:

* HKUDS/nanobot#2559, #3311, openclaw/openclaw#74508: above 4,096 characters each edit is refused, and the answer stops.
* n3d1117/chatgpt-telegram-bot#151, rikkichy/ollama-telegram#27: half of a formatted text cannot be parsed.
* NousResearch/hermes-agent#102402: after a 429 the text stays as it was, and the end of the answer is lost.
* NousResearch/hermes-agent#58563: a text that does not change is edited again and again, until a 429 of minutes.
* openclaw/openclaw#32469, fastagent-sh/fastagent#96: drafts are refused in groups, and the answer with them.
* xmanrui/dsh-im#175: while the model thinks, the draft disappears after 30 s.
* xqicxx/dsh-telegram#15: each refused edit leaves another message.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from telegram.botapi.errors import NotSent, OutcomeUnknown, Refused, RetryAfter
from telegram.botapi.shortcuts import part
from telegram.dialogue import MessageContext, Park, Router, command, inline, kind, text
from telegram.service.pace import Pace
from telegram.testing import Conversations
from telegram.text import bold
from tests.kit.offline import Scene, now, play, said

GROUP = -100


async def parts(*texts: str, every_s: float = 1.0) -> AsyncIterator[str]:
    for each in texts:
        await asyncio.sleep(every_s)
        yield each


def router_of(work: Callable[[MessageContext], Any], **options: Any) -> Router:
    router = Router()

    @router.message(command("cancel"))
    async def cancel(ctx: MessageContext) -> None:
        ctx.reply("cancelled")

    @router.message(text, **{"timeout_s": 600, **options})
    async def handler(ctx: MessageContext) -> None:
        await work(ctx)

    return router


def answers(*texts: str, every_s: float = 1.0, **params: Any) -> Callable[[MessageContext], Any]:
    async def work(ctx: MessageContext) -> None:
        async with ctx.stream(**params) as out:
            async for part in parts(*texts, every_s=every_s):
                out.write(part)

    return work


def calls_of(router: Router, *, chat: int | None = None, before: Any = None, **config: Any) -> list[Any]:
    async def scenario(scene: Scene) -> Any:
        if before is not None:
            before(scene.telegram)
        scene.telegram.say("go", chat=chat)
        await scene.idle(1000)
        assert await scene.reasons() == []
        return [(sent.at, sent.method, sent.params.get("text")) for sent in scene.telegram.sent]

    return play(router, scenario, **config)


# -- drafts ----------------------------------------------------------------------------------------------------------


def test_a_draft_grows_and_the_message_is_sent_with_the_commit():
    calls = calls_of(router_of(answers("Hello", " wor", "ld", every_s=0.3)))
    assert calls == [
        (0, "sendMessageDraft", None),
        (0.5, "sendMessageDraft", "Hello"),
        (0.9, "sendMessage", "Hello world"),
    ]


def test_drafts_of_one_answer_have_one_id_and_it_is_not_0():
    async def work(ctx: MessageContext) -> None:
        await answers("a", "b")(ctx)
        await answers("c", "d")(ctx)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await scene.idle()
        ids = [each.params["draft_id"] for each in scene.telegram.sent if each.method == "sendMessageDraft"]
        return ids, scene.telegram.texts()

    ids, sent = play(router_of(work), scenario)
    assert len(set(ids)) == 2
    assert all(ids)
    assert sent == ["ab", "cd"]


def test_a_draft_is_sent_again_before_it_disappears():
    calls = calls_of(router_of(answers("a", "b", every_s=50)))
    assert [at for at, method, _ in calls if method == "sendMessageDraft"] == [0, 20, 40, 50, 70, 90]


def test_a_429_is_learned_and_the_end_is_not_lost():
    def flood(telegram: Any) -> None:
        telegram.troubles["sendMessageDraft"] = [
            RetryAfter("sendMessageDraft", 429, "Too Many Requests", {"retry_after": 7})
        ]

    letters = "abcdefghijklm" * 3
    calls = calls_of(router_of(answers(*letters, every_s=0.25)), before=flood)
    assert [at for at, _, _ in calls] == [7, 8, 9, 9.75]  # a draft a second, where it was two
    assert calls[-1][1:] == ("sendMessage", letters)


@pytest.mark.parametrize(
    "error",
    [Refused("sendMessageDraft", 403, "Forbidden: bot was blocked"), NotSent("sendMessageDraft", "no route")],
    ids=repr,
)
def test_what_cannot_be_shown_is_sent_at_the_end(error):
    calls = calls_of(
        router_of(answers("a", "b")),
        before=lambda telegram: telegram.troubles.update(sendMessageDraft=[error] * 20),
    )
    assert calls == [(2, "sendMessage", "ab")]


def test_where_drafts_are_refused_a_message_is_edited():
    """An older server, say. The refusal of "Thinking..." alone does not end the drafts."""
    refused = Refused("sendMessageDraft", 400, "Bad Request: TEXTDRAFT_PEER_INVALID")
    calls = calls_of(
        router_of(answers("a", "b", "c")),
        before=lambda telegram: telegram.troubles.update(sendMessageDraft=[refused] * 2),
    )
    assert calls == [(2.5, "sendMessage", "ab"), (3, "editMessageText", "abc")]


# -- messages that are edited ----------------------------------------------------------------------------------------


def test_in_a_group_a_message_is_edited_and_its_last_edit_is_committed():
    calls = calls_of(router_of(answers("a", "b", "c", "d", "e", "f")), chat=GROUP)
    assert calls == [
        (1, "sendMessage", "a"),
        (5, "editMessageText", "abcde"),
        (6, "editMessageText", "abcdef"),
    ]


def test_the_edits_count_in_the_limits_of_the_chat():
    """With those of others: the sender's limiter spaces them (here 1 message a second after a burst of 3)."""
    paces = []

    async def work(ctx: MessageContext) -> None:
        pace = ctx._tools.pace
        assert isinstance(pace, Pace)
        for _ in range(3):
            assert not pace.wait_s(f"chat:{GROUP}", "sendMessage", b"{}", now())
        paces.append(pace)
        await answers("a", "b", "c")(ctx)

    calls = calls_of(router_of(work), chat=GROUP, messages_per_s=30)
    assert [method for _, method, _ in calls] == ["sendMessage", "editMessageText"]
    assert calls[0][0] == 1.0
    assert len(paces[0]._chats[str(GROUP)].minute) == 5


def test_a_message_that_was_deleted_meanwhile_is_sent_anew():
    gone = Refused("editMessageText", 400, "Bad Request: message to edit not found")
    calls = calls_of(
        router_of(answers(*"abcdef")),
        chat=GROUP,
        before=lambda telegram: telegram.troubles.update(editMessageText=[gone]),
    )
    assert calls == [(1, "sendMessage", "a"), (6, "sendMessage", "abcdef")]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (NotSent("sendMessage", "no route"), ["sendMessage", "editMessageText"]),
        (OutcomeUnknown("sendMessage", "timed out"), ["sendMessage"]),
        (Refused("sendMessage", 400, "Bad Request: not enough rights"), ["sendMessage"]),
    ],
    ids=repr,
)
def test_a_message_that_may_have_been_sent_is_not_sent_again(error, shown):
    calls = calls_of(
        router_of(answers(*"abcdefgh")),
        chat=GROUP,
        before=lambda telegram: telegram.troubles.update(sendMessage=[error]),
    )
    assert [method for _, method, _ in calls] == shown
    assert calls[-1][2] == "abcdefgh"


def test_a_text_that_does_not_change_is_not_edited():
    async def work(ctx: MessageContext) -> None:
        async with ctx.stream() as out:
            for each in ("a", "", "", ""):
                out.write(each)
                await asyncio.sleep(5)

    calls = calls_of(router_of(work), chat=GROUP)
    assert [method for _, method, _ in calls] == ["sendMessage", "editMessageText"]


@pytest.mark.parametrize("chat", [None, GROUP])
def test_a_long_answer_becomes_several_messages(chat):
    words = [f"word{number} " * 100 for number in range(14)]
    calls = calls_of(router_of(answers(*words, every_s=2)), chat=chat)
    assert all(len(text or "") <= 4096 for _, _, text in calls)
    end = [text for at, method, text in calls if at == 28 and method != "sendMessageDraft"]
    assert len(end) == 3
    assert " ".join(end).split() == "".join(words).split()
    assert [method for at, method, _ in calls if at == 28][-3:] == (
        ["sendMessage"] * 3 if chat is None else ["editMessageText", "sendMessage", "sendMessage"]
    )


@pytest.mark.parametrize("chat", [None, GROUP])
def test_formatting_comes_at_the_end_and_broken_markup_is_sent_plain(chat):
    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go", chat=chat)
        await scene.idle()
        return scene.telegram.sent

    *grows, last = play(
        router_of(answers("<b>bo", "ld", "</b>", parse_mode="HTML", reply_markup=inline([("More", "more")]))),
        scenario,
    )
    assert grows
    assert all(not {"parse_mode", "reply_markup", "fallback"} & each.params.keys() for each in grows)
    assert last.params["text"] == "<b>bold</b>"
    assert last.params["parse_mode"] == "HTML"
    assert last.params["reply_markup"]["inline_keyboard"][0][0]["text"] == "More"


def test_formatted_parts_need_no_markup():
    async def work(ctx: MessageContext) -> None:
        async with ctx.stream() as out:
            out.write(bold("Answer: "))
            await asyncio.sleep(1)
            out.write("42")
            assert out.text == "Answer: 42"

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await scene.idle()
        return scene.telegram.sent[-1].params

    last = play(router_of(work), scenario)
    assert (last["text"], last["entities"]) == ("Answer: 42", [{"type": "bold", "offset": 0, "length": 8}])


@pytest.mark.parametrize(
    ("update", "params", "method", "place"),
    [
        ({}, {"message_thread_id": 4}, "sendMessageDraft", {"message_thread_id": 4}),
        ({"chat": GROUP}, {"message_thread_id": 4}, "editMessageText", {"message_thread_id": 4}),
        (
            {"is_topic_message": True, "message_thread_id": 3},
            {},
            "sendMessageDraft",
            {"message_thread_id": 3},
        ),
        ({"direct_messages_topic": {"topic_id": 5}}, {}, "editMessageText", {"direct_messages_topic_id": 5}),
    ],
)
def test_an_answer_grows_where_it_is_sent(update, params, method, place):
    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go", **update)
        await scene.idle()
        return scene.telegram.sent

    sent = play(router_of(answers("a", "b", "c", **params)), scenario)
    assert method in {each.method for each in sent}
    for each in sent:
        if each.method != "editMessageText":
            assert place.items() <= each.params.items()


@pytest.mark.parametrize("chat", [None, GROUP])
def test_an_answer_is_a_reply(chat):
    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go", chat=chat)
        await scene.idle()
        return [
            each.params.get("reply_parameters")
            for each in scene.telegram.sent
            if each.method == "sendMessage"
        ]

    (found,) = play(router_of(answers("a", "b", quote=True)), scenario)
    assert part(found, "message_id") == 11


def test_an_answer_without_text_sends_nothing():
    calls = calls_of(router_of(answers("", " ")))
    assert [method for _, method, _ in calls if method != "sendMessageDraft"] == []


# -- what is left ----------------------------------------------------------------------------------------------------


def interrupted(chat: int | None, second: str, **options: Any) -> Any:
    async def work(ctx: MessageContext) -> None:
        await answers(*(f"{each} " for each in (*ctx.texts, "...", "end")), every_s=3)(ctx)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a", chat=chat)
        await asyncio.sleep(5)
        scene.telegram.say(second, chat=chat)
        await scene.idle()
        return [
            (each.method, each.params.get("text"), each.params.get("message_id"))
            for each in scene.telegram.sent
        ]

    return play(router_of(work, **options), scenario)


def test_of_a_stopped_answer_nothing_is_left():
    sent = interrupted(GROUP, "/cancel", stop=command("cancel"))
    assert sent == [
        ("sendMessage", "a ", None),
        ("deleteMessage", None, 501),
        ("sendMessage", "cancelled", None),
    ] or sent == [
        ("sendMessage", "a", None),
        ("deleteMessage", None, 501),
        ("sendMessage", "cancelled", None),
    ]
    private = interrupted(None, "/cancel", stop=command("cancel"))
    assert [each[:2] for each in private if each[0] != "sendMessageDraft"] == [("sendMessage", "cancelled")]


def test_a_restarted_answer_continues_in_its_message():
    sent = interrupted(GROUP, "b", on_new="restart")
    assert [method for method, _, _ in sent].count("sendMessage") == 1
    assert {number for method, _, number in sent if method == "editMessageText"} == {501}
    assert sent[-1][1] == "a b ... end "


def test_a_restarted_draft_keeps_its_id():
    async def work(ctx: MessageContext) -> None:
        await answers(*ctx.texts, every_s=3)(ctx)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a")
        await asyncio.sleep(1)
        scene.telegram.say("b")
        await scene.idle()
        return {each.params["draft_id"] for each in scene.telegram.sent if each.method == "sendMessageDraft"}

    assert len(play(router_of(work, on_new="restart"), scenario)) == 1


def test_an_answer_that_fails_is_continued_and_deleted_when_it_is_given_up():
    async def work(ctx: MessageContext) -> None:
        async with ctx.stream() as out:
            out.write(f"attempt {ctx.attempt}")
            await asyncio.sleep(5)
            raise OSError("no connection")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go", chat=GROUP)
        await scene.idle()
        return [
            (each.method, each.params.get("text"), each.params.get("message_id"))
            for each in scene.telegram.sent
        ]

    assert play(router_of(work), scenario, attempts_max=2, apology="Sorry.") == [
        ("sendMessage", "attempt 1", None),
        ("editMessageText", "attempt 2", 501),
        ("deleteMessage", None, 501),
        ("sendMessage", "Sorry.", None),
    ]


def test_after_a_park_the_answer_continues():
    async def work(ctx: MessageContext) -> None:
        async with ctx.stream() as out:
            out.write(f"{round(now())} ")
            await asyncio.sleep(5)
            if now() < 20:
                raise Park("overloaded", delay_s=20)

    sent = calls_of(router_of(work), chat=GROUP)
    assert sent[-1][2] == "25 "
    assert [method for _, method, _ in sent].count("sendMessage") == 1


def test_the_button_of_a_draft_stops_the_answer():
    """Telegram Bot API, sendMessageDraft: can_stop; Update: stopped_message_generation."""
    router = router_of(answers("a", "b", can_stop=True, every_s=10), stop=kind("stopped_message_generation"))

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("go")
        await asyncio.sleep(12)
        draft = scene.telegram.sent[-1].params
        assert draft["can_stop"]
        chat = said("x")["message"]["chat"]
        scene.telegram.push({"stopped_message_generation": {"chat": chat, "draft_id": draft["draft_id"]}})
        await scene.idle()
        return round(now()), scene.telegram.texts(), "stopped_message_generation" in scene.telegram.asked[0]

    assert play(router, scenario) == (12, [], True)


def test_no_task_is_left_and_late_parts_are_an_error():
    async def work(ctx: MessageContext) -> None:
        tasks = asyncio.all_tasks()
        async with ctx.stream() as out:
            out.write("a")
            await asyncio.sleep(1)
        assert asyncio.all_tasks() <= tasks
        with pytest.raises(RuntimeError, match="after the end"):
            out.write("b")
        with pytest.raises(TypeError, match="a text, not int"):
            out.write(5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="write formatted parts"):
            ctx.stream(entities=[])
        with pytest.raises(TypeError, match="parse_mdoe"):
            ctx.stream(parse_mdoe="HTML")  # type: ignore[call-arg]

    assert calls_of(router_of(work))[-1] == (1, "sendMessage", "a")


def test_a_running_call_is_waited_for_so_that_it_does_not_come_after_the_end():
    def slow(telegram: Any) -> None:
        telegram.takes_s["sendMessageDraft"] = 0.8

    calls = calls_of(router_of(answers("a")), before=slow)
    assert (
        calls == [(0.8, "sendMessageDraft", None), (1.6, "sendMessage", "a")] or calls[-1][1] == "sendMessage"
    )
    assert [method for _, method, _ in calls].index("sendMessage") == len(calls) - 1


def test_with_the_kit():
    with Conversations(router_of(answers("Hello", " world", every_s=10))) as bot:
        alice = bot.chat("Alice")
        alice.says("go", wait=False)
        assert alice.draft == ""
        bot.passes(seconds=11)
        assert alice.draft == "Hello"
        bot.passes(seconds=11)
        assert alice.draft is None
        assert alice.sees("Hello world")
        team = bot.group("Team").member("Alice")
        team.says("go", wait=False)
        bot.passes(seconds=11)
        assert team.sees("Hello")
        bot.passes(seconds=11)
        assert team.sees("Hello world")
        assert not bot.dead_letters()
