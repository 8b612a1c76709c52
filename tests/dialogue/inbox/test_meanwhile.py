"""`on_new`: what becomes of a new message while its handler works. The real Bot on virtual time.

What breaks elsewhere, each with a test here:

* zeroclaw-labs/zeroclaw#857 and #938: a request and its correction are answered separately, the second without the first.
* SamSaffron/term-llm#888: the message that should interrupt waits behind the handler that it should interrupt.
* SamSaffron/term-llm#987: a later message overtakes an earlier one, whose handling is cut off by the earlier one.
* anthropics/claude-code#45521, stevehuang0115/crewly#236: what is written while the model answers is lost without a word.
* HKUDS/nanobot#2492, banteg/takopi#89, openclaw/openclaw#87002: one thought in three messages gets three answers.
* aiogram/aiogram#1317, #960: messages that are forwarded together are all handled in the first state.
"""

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine import Park, Queue, Reject, StoreUnavailable
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from telegram.botapi.errors import NotSent
from telegram.dialogue import (
    CHAT,
    CallbackContext,
    ChatContext,
    Flow,
    MessageContext,
    Router,
    button,
    command,
    drop,
    given,
    inline,
    text,
)
from telegram.dialogue.inbox import meanwhile
from telegram.dialogue.inbox.batches import BURST_MAX
from telegram.dialogue.inbox.meanwhile import TOGETHER_ATTEMPTS_MAX
from telegram.testing import Conversations
from tests.kit.deliveries import Direct, delivery
from tests.kit.docs import modules
from tests.kit.offline import BOB, Scene, now, play, pressed, said
from tests.kit.virtual import run_virtual

GROUP = -100


class Model:
    """A handler that answers all texts that it is given after a minute, and a diary of what happened when."""

    def __init__(self, takes_s: float = 60, **options: Any) -> None:
        self.diary: list[tuple[float, str]] = []
        self.takes_s = takes_s
        self.router = Router()

        @self.router.message(command("help"))
        async def helps(ctx: MessageContext) -> None:
            ctx.reply("help")

        @self.router.message(command("cancel"))
        async def cancel(ctx: MessageContext) -> None:
            ctx.reply("cancelled")

        @self.router.message(text, **{"timeout_s": 600, **options})
        async def answer(ctx: MessageContext) -> None:
            self.note(f"begins {' '.join(ctx.texts)}")
            try:
                await self.think(ctx)
            except asyncio.CancelledError:
                self.note("cut")
                raise
            ctx.data["asked"] = [*ctx.data.get("asked", []), *ctx.texts]
            ctx.reply("+".join(ctx.texts))

    def note(self, what: str) -> None:
        self.diary.append((round(now(), 1), what))

    async def think(self, ctx: MessageContext) -> None:
        await asyncio.sleep(self.takes_s)


async def written(scene: Scene, *texts: str, every_s: float = 10, **more: Any) -> Any:
    """Write the texts, then wait for the end; return the bot's texts, the dead letters, and the final state."""
    for each in texts:
        scene.telegram.say(each, **more)
        await asyncio.sleep(every_s)
    await scene.idle(1000)
    return scene.telegram.texts(), await scene.reasons(), await scene.state()


@pytest.mark.parametrize(
    ("policy", "answers", "begun"),
    [
        ("queue", ["a", "b", "c"], [(0, "begins a"), (60, "begins b"), (120, "begins c")]),
        ("stop", ["c"], [(0, "begins a"), (10, "cut"), (10, "begins b"), (20, "cut"), (20, "begins c")]),
        ("restart", ["a+b+c"], [(0, "begins a"), (10, "cut"), (10, "begins a b"), (20, "cut"), (20, "begins a b c")]),
        ("merge", ["a", "b+c"], [(0, "begins a"), (60, "begins b c")]),
        ("drop", ["a"], [(0, "begins a")]),
    ],
)  # fmt: skip
def test_the_five_policies(policy, answers, begun):
    model = Model(on_new=policy)
    logs: list[Any] = []
    sent, dead, state = play(
        model.router, lambda scene: written(scene, "a", "b", "c"), logs=logs, attempts_max=1
    )
    assert (sent, dead) == (answers, [])
    assert model.diary == begun
    assert state == {"asked": "+".join(answers).split("+")}
    assert not [line for line in logs if line["log_level"] == "error"]


@pytest.mark.parametrize(
    ("policy", "answers"),
    [("queue", ["a", "b"]), ("stop", ["b"]), ("restart", ["a+b"]), ("merge", ["a+b"]), ("drop", ["a", "b"])],
)
def test_what_waits_before_the_handler_begins(policy, answers):
    """Written while the bot was down, say. "drop" is about what comes while the handler works."""
    model = Model(on_new=policy)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("a"), said("b"))
        return await written(scene)

    assert play(model.router, scenario)[:2] == (answers, [])


@pytest.mark.parametrize(
    ("policy", "answers"),
    [
        ("stop", ["help", "b"]),
        ("restart", ["a", "help", "b"]),
        ("merge", ["a", "help", "b"]),
        ("drop", ["a", "help"]),
    ],
)
def test_a_message_for_another_handler_is_not_new_and_keeps_its_place(policy, answers):
    """What the model is asked after /help is not handed over before it."""
    model = Model(on_new=policy)
    sent, dead, _ = play(model.router, lambda scene: written(scene, "a", "/help", "b"))
    assert (sent, dead) == (answers, [])


@pytest.mark.parametrize(
    ("policy", "answers"),
    [
        ("stop", ["a2", "bob"]),
        ("restart", ["a+a2", "bob"]),
        ("merge", ["a", "bob", "a2+a3"]),
        ("drop", ["a", "bob"]),
    ],
)
def test_other_people_of_a_group_are_conversations_of_their_own(policy, answers):
    """Between Alice's two messages stands Bob's, in one lane: it neither counts for hers nor hides them."""
    model = Model(on_new=policy)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a", chat=GROUP)
        await asyncio.sleep(5)
        scene.telegram.say("bob", chat=GROUP, user=BOB)
        await asyncio.sleep(5)
        scene.telegram.say("a2", chat=GROUP)
        if policy == "merge":
            scene.telegram.say("bob2", chat=GROUP, user=BOB)
            scene.telegram.say("a3", chat=GROUP)
        await scene.idle(1000)
        stats = (await scene.store.stats()).inbox
        return scene.telegram.texts(), stats.committed, stats.dead, await scene.state("chat:-100", "~taken")

    sent, committed, dead, left = play(model.router, scenario)
    if policy == "merge":
        answers = ["a", "bob+bob2", "a2+a3"]
    if policy == "stop":
        answers = ["bob", "a2"]
    assert sent == answers
    assert (committed, dead, left) == (5 if policy == "merge" else 3, 0, None)


def test_what_was_taken_over_others_is_not_handled_again_after_a_restart_of_the_bot():
    model = Model(on_new="restart", takes_s=20)
    store = MemoryStore()

    async def first(scene: Scene) -> Any:
        scene.telegram.push(said("a", chat=GROUP), said("bob", chat=GROUP, user=BOB), said("a2", chat=GROUP))
        await asyncio.sleep(25)  # the first commit has taken a2; Bob's handler runs

    play(model.router, first, store=store, drain_timeout_s=2)

    async def second(scene: Scene) -> Any:
        await scene.idle()
        return scene.telegram.texts(), (await scene.store.stats()).inbox.pending

    assert play(model.router, second, store=store) == (["bob"], 0)
    assert [what for _, what in model.diary] == ["begins a a2", "begins bob", "cut", "begins bob"]


def test_a_handler_with_a_stop_filter_has_both():
    model = Model(on_new="restart", stop=command("cancel"))
    sent, dead, state = play(model.router, lambda scene: written(scene, "a", "b", "/cancel", "c"))
    assert (sent, dead, state) == (["cancelled", "c"], [], {"asked": ["c"]})
    assert [what for _, what in model.diary] == ["begins a", "cut", "begins a b", "cut", "begins c"]


def test_a_restart_has_the_whole_time_again_and_counts_no_attempt():
    attempts = []

    class Counts(Model):
        async def think(self, ctx: MessageContext) -> None:
            attempts.append(ctx.attempt)
            await super().think(ctx)

    model = Counts(on_new="restart", timeout_s=70)
    sent, dead, _ = play(
        model.router, lambda scene: written(scene, "a", "b", "c", every_s=50), attempts_max=1
    )
    assert (sent, dead) == (["a+b+c"], [])
    assert attempts == [1, 1, 1]
    assert model.diary[-1] == (100, "begins a b c")


def test_a_restart_has_an_upper_bound(monkeypatch):
    """Who writes all the time gets an answer, too: above 100 messages (here 10) the handler is not restarted any more."""
    assert BURST_MAX == 100
    monkeypatch.setattr(meanwhile, "BURST_MAX", 10)
    model = Model(on_new="restart")
    texts = [f"{number}" for number in range(13)]
    sent, _, _ = play(model.router, lambda scene: written(scene, *texts, every_s=0.1))
    assert sent == ["+".join(texts[:10]), "+".join(texts[10:])]


class Swallows(Model):
    async def think(self, ctx: MessageContext) -> None:
        try:
            await super().think(ctx)
        except asyncio.CancelledError:
            await asyncio.sleep(3)


@pytest.mark.parametrize(("policy", "answers"), [("stop", ["b"]), ("restart", ["a+b"])])
def test_a_handler_that_swallows_its_cancellation(policy, answers):
    model = Swallows(on_new=policy)
    sent, dead, _ = play(model.router, lambda scene: written(scene, "a", "b"), attempts_max=1)
    assert (sent, dead) == (answers, [])
    assert model.diary[1][0] == 13  # the lane waits until it has returned


class Fails(Model):
    async def think(self, ctx: MessageContext) -> None:
        try:
            await super().think(ctx)
        except asyncio.CancelledError:
            raise OSError("connection reset") from None


@pytest.mark.parametrize(("policy", "answers"), [("stop", ["b"]), ("restart", ["a+b"])])
def test_a_handler_that_fails_when_it_is_cut_off_has_not_failed(policy, answers):
    model = Fails(on_new=policy)
    sent, dead, _ = play(model.router, lambda scene: written(scene, "a", "b"), attempts_max=1)
    assert (sent, dead) == (answers, [])


@pytest.mark.parametrize("policy", ["stop", "restart", "merge", "drop"])
def test_a_message_that_comes_in_the_last_step_is_in_one_answer_or_none(policy):
    """All ways in which the end of the handler, the new message and the turns of the loop can meet: never half."""
    outcomes = set()
    for turns in range(-9, 9):
        gate = asyncio.Event()
        model = Model(on_new=policy)
        model.think = lambda _, gate=gate: gate.wait()  # type: ignore[method-assign, misc]

        async def scenario(scene: Scene, turns: int = turns, gate: asyncio.Event = gate) -> Any:
            scene.telegram.say("a")
            await asyncio.sleep(5)
            steps = [gate.set, lambda: scene.telegram.say("b")]
            first, second = steps if turns < 0 else steps[::-1]
            first()
            for _ in range(abs(turns)):
                await asyncio.sleep(0)
            second()
            await scene.idle()
            stats = (await scene.store.stats()).inbox
            assert (stats.committed, stats.dead) == (2, 0)
            return tuple(scene.telegram.texts()), (await scene.state() or {}).get("asked")

        sent, state = play(model.router, scenario)
        assert state == "+".join(sent).split("+")  # what is answered is what is remembered
        outcomes.add(sent)
    both = {"stop": {("b",)}, "restart": {("a+b",)}, "merge": set(), "drop": {("a",)}}[policy]
    assert outcomes == {("a", "b")} | both


@pytest.mark.parametrize(
    ("policy", "answers"), [("stop", ["b"]), ("restart", ["a+b"]), ("merge", ["a+b"]), ("drop", ["a"])]
)
def test_a_stop_of_the_bot_in_the_middle(policy, answers):
    """The handler is cut off by the drain's deadline; the message that came meanwhile is not lost."""
    model = Model(on_new=policy)
    store = MemoryStore()

    async def first(scene: Scene) -> None:
        scene.telegram.say("a")
        await asyncio.sleep(5)

    async def second(scene: Scene) -> Any:
        await scene.idle()
        return scene.telegram.texts()

    play(model.router, first, store=store, drain_timeout_s=2)

    async def comes() -> None:
        await append(store, [delivery(said("b"), update_id=2).envelope])

    run_virtual(comes())
    assert play(model.router, second, store=store) == answers


async def test_after_deaths_of_the_process_messages_stay_together_for_a_while():
    """A kill is mostly no message's fault. After several, each is tried alone, so that only the bad one is given up."""
    store = MemoryStore()
    await append(store, [delivery(said(each), update_id=n).envelope for n, each in enumerate("ab", 1)])
    runs = []
    router = Router()

    @router.message(text, on_new="restart")
    async def answer(ctx: MessageContext) -> None:
        runs.append(ctx.texts)

    for _ in range(TOGETHER_ATTEMPTS_MAX + 1):
        head = await store.claim(Queue.INBOX)
        await Direct(router, behind=store)(head)
        await store.park(head, 0.0, counted=True, reason="the process died")
    assert runs == [["a", "b"]] * TOGETHER_ATTEMPTS_MAX + [["a"]]


@pytest.mark.parametrize("policy", ["restart", "merge"])
def test_of_messages_handed_over_together_only_the_bad_one_is_given_up(policy):
    class Bad(Model):
        async def think(self, ctx: MessageContext) -> None:
            await super().think(ctx)
            if "bad" in ctx.texts:
                raise ValueError("bad")

    model = Bad(on_new=policy, takes_s=1)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("a"), said("bad"), said("c"))
        return await written(scene)

    sent, dead, state = play(model.router, scenario, attempts_max=2, apology="")
    assert sent == ["a", "c"]
    assert dead == [("ValueError: bad", 2)]
    assert state == {"asked": ["a", "c"]}


def test_who_waits_for_the_model_parks_and_keeps_the_messages_together():
    class Overloaded(Model):
        async def think(self, ctx: MessageContext) -> None:
            if now() < 100:
                raise Park("overloaded", delay_s=40)

    model = Overloaded(on_new="restart")
    assert play(model.router, lambda scene: written(scene, "a", "b"))[:2] == (["a+b"], [])


def test_a_new_message_while_the_handler_waits_for_its_next_attempt():
    class Twice(Model):
        async def think(self, ctx: MessageContext) -> None:
            await asyncio.sleep(1)
            if ctx.attempt == 1 and len(ctx.texts) == 1:
                raise OSError("no connection")

    model = Twice(on_new="restart")
    sent, dead, _ = play(model.router, lambda scene: written(scene, "a", "b", every_s=1.2))
    assert (sent, dead) == (["a+b"], [])


def test_an_edited_message_replaces_the_earlier_version():
    router = Router()

    @router.any_message(text, on_new="restart")
    async def answer(ctx: MessageContext) -> None:
        await asyncio.sleep(60)
        ctx.reply("+".join(ctx.texts))

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a", message_id=21)
        await asyncio.sleep(1)
        scene.telegram.say("b", message_id=22)
        await asyncio.sleep(1)
        scene.telegram.push(
            {"edited_message": {**said("A", message_id=21)["message"], "edit_date": 1_790_000_001}}
        )
        await scene.idle()
        return scene.telegram.texts()

    assert play(router, scenario) == ["b+A"]


def test_an_edit_is_not_new_for_a_handler_of_messages():
    model = Model(on_new="restart")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a", message_id=21)
        await asyncio.sleep(1)
        scene.telegram.push(
            {"edited_message": {**said("A", message_id=21)["message"], "edit_date": 1_790_000_001}}
        )
        return await written(scene)

    assert play(model.router, scenario)[0] == ["a"]
    assert model.diary == [(0, "begins a")]


def test_a_message_that_a_limit_would_drop_interrupts_nothing():
    model = Model(on_new="restart", stale_s=10)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a", date=int(scene.telegram.time()))
        await asyncio.sleep(5)
        scene.telegram.say("old", date=1_000_000_000)
        await scene.idle()
        return scene.telegram.texts(), dict(scene.bot.dropped)

    assert play(model.router, scenario) == (["a"], {"stale": 1})


def test_async_filters_and_filters_that_fail():
    async def is_allowed(ctx: ChatContext) -> bool:
        await asyncio.sleep(0.1)
        if ctx.text == "bad":
            raise ValueError("bad")
        return True

    router = Router()

    @router.message(text, is_allowed, on_new="restart")
    async def answer(ctx: MessageContext) -> None:
        await asyncio.sleep(20)
        ctx.reply("+".join(ctx.texts))

    sent, dead, _ = play(router, lambda scene: written(scene, "a", "bad", "b"), attempts_max=1, apology="")
    assert sent == ["a", "b"]
    assert [attempts for _, attempts in dead] == [1]


def test_hooks_and_provided_objects_of_a_handler_that_is_cut_off():
    """An object is closed at each cut; an error hook runs at none, since it was no error."""
    model = Model(on_new="restart")
    opened, hooks = [], []

    @model.router.provide
    async def session() -> AsyncIterator[int]:
        opened.append("open")
        try:
            yield 1
        finally:
            opened.append("close")

    @model.router.before
    async def before(ctx: ChatContext, number: int = given) -> None:
        hooks.append("before")

    @model.router.error()
    async def error(ctx: ChatContext) -> None:
        hooks.append("error")

    sent, dead, _ = play(model.router, lambda scene: written(scene, "a", "b"), attempts_max=1)
    assert (sent, dead) == (["a+b"], [])
    assert opened == ["open", "close"] * 2
    assert hooks == ["before"] * 2


class SlowCommit(MemoryStore):
    async def commit(self, *args: Any, **options: Any) -> Any:
        await asyncio.sleep(1)
        return await super().commit(*args, **options)


@pytest.mark.parametrize("policy", ["stop", "restart", "merge", "drop"])
def test_a_message_that_comes_during_the_commit_is_handled_in_its_turn(policy):
    model = Model(on_new=policy, takes_s=9.5)
    sent, dead, _ = play(model.router, lambda scene: written(scene, "a", "b"), store=SlowCommit())
    assert (sent, dead) == (["a", "b"], [])


class Unavailable(MemoryStore):
    """A store that cannot answer for a while."""

    until = 0.0

    async def look(self, delivery: Any, limit: int) -> Any:
        if now() < self.until:
            raise StoreUnavailable("disk full")
        return await super().look(delivery, limit)

    async def peek(self, delivery: Any, limit: int) -> Any:
        if now() < self.until:
            raise StoreUnavailable("disk full")
        return await super().peek(delivery, limit)


def test_a_store_that_is_unavailable_delays_the_restart():
    model, store = Model(on_new="restart"), Unavailable()

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a")
        await asyncio.sleep(5)
        store.until = 30
        return await written(scene, "b")

    assert play(model.router, scenario, store=store)[:2] == (["a+b"], [])
    (cut_at,) = [at for at, what in model.diary if what == "cut"]
    assert 30 <= cut_at <= 31


def test_a_store_that_is_unavailable_at_the_end_loses_no_answer():
    """The handler does not run again for the sake of what is to be dropped."""
    model, store = Model(on_new="drop"), Unavailable()

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a")
        await asyncio.sleep(5)
        scene.telegram.say("b")
        await asyncio.sleep(50)
        store.until = 70
        await scene.idle()
        return scene.telegram.texts(), await scene.state("chat:7", "~taken")

    assert play(model.router, scenario, store=store) == (["a"], None)
    assert [what for _, what in model.diary] == ["begins a"]


# -- drop ----------------------------------------------------------------------------------------------------------


def test_dropped_messages_are_reported_at_once_and_once():
    model = Model(on_new=drop("One moment, please."))

    async def scenario(scene: Scene) -> Any:
        await written(scene, "a", "b", "c", "d")
        scene.telegram.say("e")
        await scene.idle()
        texts = [(round(sent.at), sent.params["text"]) for sent in scene.telegram.sent]
        return texts, dict(scene.bot.dropped)

    assert play(model.router, scenario) == ([(10, "One moment, please."), (60, "a"), (120, "e")], {"busy": 3})


def test_a_report_that_cannot_be_sent_changes_nothing():
    model = Model(on_new=drop("One moment, please."))

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a")
        await asyncio.sleep(1)
        scene.telegram.troubles["sendMessage"] = [OSError("no connection")]
        return await written(scene, "b")

    assert play(model.router, scenario)[:2] == (["a"], [])


@pytest.mark.parametrize("tell", [None, "Still working"])
def test_a_second_press_is_dropped_and_answered_at_once(tell):
    router = Router()
    runs = []

    @router.callback_query(button("pay"), on_new=drop(tell))
    async def pay(ctx: CallbackContext) -> None:
        runs.append(now())
        await asyncio.sleep(30)
        ctx.edit("Paid.")

    async def scenario(scene: Scene) -> Any:
        first, second = pressed("pay"), pressed("pay")
        second["callback_query"]["id"] = "q2"
        scene.telegram.push(first)
        await asyncio.sleep(2)
        scene.telegram.push(second)
        await scene.idle()
        return [
            (sent.at, sent.params["callback_query_id"], sent.params.get("text"))
            for sent in scene.telegram.sent
            if sent.method == "answerCallbackQuery"
        ]

    answers = play(router, scenario)
    assert len(runs) == 1
    assert (2, "q2", tell) in answers
    assert len([each for each in answers if each[1] == "q2"]) == 1


def test_a_dropped_press_that_could_not_be_answered_at_once_is_answered_in_its_turn():
    router = Router()

    @router.callback_query(button("pay"), on_new="drop")
    async def pay(ctx: CallbackContext) -> None:
        await asyncio.sleep(30)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.press("pay")
        await asyncio.sleep(2)
        scene.telegram.troubles["answerCallbackQuery"] = [NotSent("answerCallbackQuery", "no route")]
        second = pressed("pay")
        second["callback_query"]["id"] = "q2"
        scene.telegram.push(second)
        await scene.idle()
        return [each.params["callback_query_id"] for each in scene.telegram.sent]

    assert sorted(play(router, scenario)) == ["q1", "q2"]


def test_a_second_press_of_a_long_button_is_dropped():
    router = Router()
    long, runs = "pay " * 30, []

    @router.message(text)
    async def offer(ctx: MessageContext) -> None:
        ctx.reply("Pay?", reply_markup=inline([("Pay", long)]))

    @router.callback_query(button(long), on_new="drop")
    async def pay(ctx: CallbackContext) -> None:
        runs.append(ctx.button)
        await asyncio.sleep(30)

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("offer")
        alice.presses("Pay", wait=False)
        bot.passes(seconds=1)
        alice.presses("Pay")
    assert runs == [long]


def test_after_a_stop_of_the_bot_what_came_meanwhile_is_dropped_all_the_same():
    model = Model(on_new="drop")
    store = MemoryStore()

    async def first(scene: Scene) -> None:
        await written_only(scene)

    async def written_only(scene: Scene) -> None:
        scene.telegram.say("a")
        await asyncio.sleep(5)
        scene.telegram.say("b")
        await asyncio.sleep(5)

    async def second(scene: Scene) -> Any:
        return await written(scene)

    play(model.router, first, store=store, drain_timeout_s=2)
    assert play(model.router, second, store=store)[:2] == (["a"], [])


def test_a_replayed_update_drops_nothing_that_was_not_written_while_it_worked():
    class Once(Model):
        async def think(self, ctx: MessageContext) -> None:
            await super().think(ctx)
            if len(self.diary) == 1:
                raise Reject("no")

    model = Once(on_new="drop", takes_s=10)

    @model.router.message(command("busy"))
    async def busy() -> None:
        await asyncio.sleep(5)

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a")
        await scene.idle()
        scene.telegram.say("/busy")
        await asyncio.sleep(1)
        (letter,) = await scene.store.dead_letters()
        assert await scene.store.replay(letter.number)
        scene.telegram.say("b")
        await scene.idle()
        return scene.telegram.texts()

    assert play(model.router, scenario, apology="") == ["a", "b"]


# -- flows ---------------------------------------------------------------------------------------------------------


class Step(Enum):
    ASK = "ask"
    DONE = "done"


class Asked(BaseModel):
    texts: list[str] = []


def flow_of(policy: Any, scope: Any = "") -> Router:
    flow = Flow("model", Step, Asked, scope=scope)

    @flow.entry.message(command("ask"))
    async def begin() -> Literal[Step.ASK]:
        return Step.ASK

    @flow.at(Step.ASK).message(text, on_new=policy, timeout_s=600)
    async def answer(ctx: MessageContext, data: Asked) -> Literal[Step.DONE]:
        await asyncio.sleep(60)
        data.texts += ctx.texts
        ctx.reply("+".join(ctx.texts))
        return Step.DONE

    @flow.at(Step.DONE).message(text)
    async def more(ctx: MessageContext) -> None:
        ctx.reply(f"done: {ctx.text}")

    router = Router()
    router.include(flow)
    return router


@pytest.mark.parametrize(
    ("policy", "answers"),
    [
        ("queue", ["a", "done: b"]),
        ("stop", ["b"]),
        ("restart", ["a+b"]),
        ("merge", ["a", "done: b"]),
        ("drop", ["a"]),
    ],
)
def test_a_state_of_a_flow_has_a_policy(policy, answers):
    """What counts is the state in which the handler works: in the next one another handler takes the message."""

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("/ask")
        return await written(scene, "a", "b")

    sent, dead, state = play(flow_of(policy), scenario)
    assert (sent, dead) == (answers, [])
    assert state["~flow"]["stack"][0]["state"] == "done"


def test_in_a_flow_of_the_chat_everyone_counts():
    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("/ask", chat=GROUP)
        scene.telegram.say("a", chat=GROUP)
        await asyncio.sleep(5)
        scene.telegram.say("b", chat=GROUP, user=BOB)
        await scene.idle()
        return scene.telegram.texts()

    assert play(flow_of("restart", CHAT), scenario) == ["a+b"]


# -- the kit, and mistakes -----------------------------------------------------------------------------------------


def test_with_the_kit():
    model = Model(on_new="restart")
    with Conversations(model.router) as bot:
        alice = bot.chat("Alice")
        alice.says("fix this", wait=False)
        bot.passes(seconds=30)
        alice.says("the second paragraph", wait=False)
        bot.passes(seconds=59)
        assert not alice.sees("fix this+the second paragraph")
        bot.passes(seconds=2)
        assert alice.sees("fix this+the second paragraph")


def test_the_assistant_of_the_docs_forgets_on_new():
    with modules("streaming.md") as made, Conversations(made["assistant"].router) as bot:
        alice = bot.chat("Alice")
        alice.says("Translate this", wait=False)
        bot.passes(seconds=10)
        alice.says("into French", wait=False)
        bot.passes(seconds=10)
        alice.says("/new")
        assert alice.sees("What can I do for you?")
        alice.says("Hello")
        assert alice.sees("You wrote: Hello")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"on_new": "cancel"}, "on_new is one of queue, stop, restart, merge, drop, or drop"),
        ({"on_new": None}, "on_new is one of"),
        ({"on_new": drop}, "on_new is one of"),
    ],
)
def test_what_is_no_policy(options, error):
    with pytest.raises((TypeError, ValueError), match=error):
        Router().message(text, **options)


def test_policies_that_hand_over_several_messages_are_for_messages():
    async def handler(ctx: CallbackContext) -> None:
        pass

    with pytest.raises(TypeError, match="for handlers of messages only"):
        Router().callback_query(on_new="restart")(handler)
    with pytest.raises(TypeError, match="an album is gathered by itself"):
        Router().album(on_new="drop")
    with pytest.raises(ValueError, match="at most 200"):
        drop("x" * 201)
