"""Albums and bursts: one call of the handler, one commit. The real Bot on virtual time."""

import asyncio
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine import Envelope, Queue, Reject, Retry
from engine.stores.contract import append
from engine.stores.memory import MemoryStore
from telegram.botapi.types import Message
from telegram.dialogue import (
    CHAT,
    OWN,
    Flow,
    Invalid,
    MessageContext,
    Router,
    command,
    photo,
    text,
)
from telegram.dialogue.inbox.batches import BURST_MAX, SPLIT_MAX, Splits
from telegram.dialogue.routes.albums import ALBUM_MAX
from tests.kit.deliveries import Direct, delivery
from tests.kit.offline import BOB, Scene, now, play, pressed, said

PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]


def picture(number: int, album: str | None = "a", **more: Any) -> dict[str, Any]:
    group: dict[str, Any] = {} if album is None else {"media_group_id": album}
    return said(None, message_id=number, photo=PHOTO, **group, **more)


class Batches:
    """Albums, bursts of texts, and what else there is, in a diary: when, what, and the messages."""

    def __init__(self) -> None:
        self.diary: list[tuple[float, str, list[Any]]] = []
        self.router = Router()

        @self.router.message(command("stop"))
        async def stop(ctx: MessageContext) -> None:
            self.note("stop", [])

        @self.router.album()
        async def album(ctx: MessageContext, messages: list[Message]) -> None:
            self.note("album", [message.message_id for message in messages])
            ctx.reply(f"{len(messages)} pictures")

        @self.router.message(photo)
        async def single(ctx: MessageContext) -> None:
            self.note("single", [ctx.message.message_id])

        @self.router.burst(text)
        async def burst(ctx: MessageContext, messages: list[Message]) -> None:
            self.note("burst", [message.text for message in messages])
            await asyncio.sleep(10)
            ctx.reply(f"{len(messages)} texts")

    def note(self, what: str, messages: list[Any]) -> None:
        self.diary.append((round(now(), 1), what, messages))

    def play(self, *polls: list[dict[str, Any]], every_s: float = 0.3) -> Scene:
        async def scenario(scene: Scene) -> Scene:
            for updates in polls:
                scene.telegram.push(*updates)
                await asyncio.sleep(every_s)
            await scene.idle()
            stats = (await scene.store.stats()).inbox
            assert (stats.committed, stats.dead) == (sum(map(len, polls)), 0)
            return scene

        return play(self.router, scenario)


def test_an_album_is_one_call_of_the_handler_and_one_commit():
    batches = Batches()
    scene = batches.play([picture(1), picture(2), picture(3)])
    assert batches.diary == [(1.2, "album", [1, 2, 3])]  # its end was not in sight
    assert scene.telegram.texts() == ["3 pictures"]


def test_an_album_whose_end_is_in_sight_is_not_waited_for():
    batches = Batches()
    batches.play([picture(1), picture(2), picture(3, "b"), picture(4, None)])
    assert batches.diary == [(0, "album", [1, 2]), (0, "album", [3]), (0, "single", [4])]


def test_a_full_album_is_not_waited_for():
    batches = Batches()
    batches.play([picture(number) for number in range(ALBUM_MAX)])
    assert batches.diary == [(0, "album", list(range(ALBUM_MAX)))]


def test_an_album_that_is_split_over_polls_is_one_for_as_long_as_it_keeps_coming():
    batches = Batches()
    batches.play([picture(1)], [picture(2)], [picture(3)], [picture(4)])
    assert batches.diary == [(2.4, "album", [1, 2, 3, 4])]


def test_what_comes_too_late_is_an_album_of_its_own():
    batches = Batches()
    batches.play([picture(1), picture(2)], [picture(3)], every_s=2)
    assert batches.diary == [(1.2, "album", [1, 2]), (3.2, "album", [3])]


def test_another_album_directly_behind_begins_a_batch_of_its_own():
    batches = Batches()
    batches.play([picture(1), picture(2), picture(3, "b"), picture(4, "b")])
    assert [messages for _, _, messages in batches.diary] == [[1, 2], [3, 4]]


def test_a_burst_takes_what_waits_in_order_and_ends_where_another_handler_begins():
    batches = Batches()
    batches.play(
        [said("a")],
        [said("b"), said("c"), said("/stop"), said("d"), pressed("x"), said("e"), said("f"), picture(7)],
    )
    assert [entry[1:] for entry in batches.diary] == [
        ("burst", ["a"]),
        ("burst", ["b", "c"]),
        ("stop", []),
        ("burst", ["d"]),
        ("burst", ["e", "f"]),
        ("album", [7]),
    ]


def test_a_burst_ends_at_an_update_that_cannot_be_read():
    batches = Batches()

    async def scenario(scene: Scene) -> Any:
        scene.telegram.say("a")
        await asyncio.sleep(1)
        broken = said("c")
        broken["message"]["chat"] = {"id": 7}
        broken["message"]["message_id"] = "x"
        scene.telegram.push(said("b"), broken, said("d"))
        await scene.idle()
        return len(await scene.store.dead_letters())

    dead = play(batches.router, scenario)
    assert [messages for _, _, messages in batches.diary][:2] == [["a"], ["b"]]
    assert batches.diary[-1][2] == ["d"]
    assert dead == 1


def test_a_burst_has_an_upper_bound():
    batches = Batches()
    batches.play([said("0")], [said(f"{number}") for number in range(1, BURST_MAX + 6)])
    assert [len(messages) for _, _, messages in batches.diary] == [1, BURST_MAX, 5]
    texts = [text for _, _, messages in batches.diary for text in messages]
    assert texts == [f"{number}" for number in range(BURST_MAX + 6)]


def test_a_burst_in_a_private_chat_with_topics_is_of_one_topic():
    """There the conversation is one for all topics (Telegram Bot API, User: has_topics_enabled)."""
    bot = Batches()
    topics: list[dict[str, Any]] = [
        {"is_topic_message": True, "message_thread_id": number} for number in (3, 3, 4)
    ]
    bot.play([said("a"), *(said(text, **topic) for text, topic in zip("bcd", topics, strict=True))])
    assert [messages for _, _, messages in bot.diary] == [["a"], ["b", "c"], ["d"]]


def test_a_burst_is_of_one_person_in_one_topic():
    batches = Batches()
    group: dict[str, Any] = {"chat": -100}
    topic = {"is_topic_message": True, "message_thread_id": 3}
    batches.play(
        [said("a", **group)],
        [
            said("b", **group),
            said("c", **group, user=BOB),
            said("d", **group, user=BOB),
            said("e", **group, user=BOB, **topic),
        ],
    )
    assert [messages for _, _, messages in batches.diary] == [["a"], ["b"], ["c", "d"], ["e"]]


def burst_with(error: Exception, calls: list[Any]) -> Router:
    """A burst that raises if the text "bad" is among its messages."""
    router = Router()

    @router.burst(text)
    async def burst(ctx: MessageContext, messages: list[Message]) -> None:
        texts = [message.text for message in messages]
        calls.append(texts)
        if "bad" in texts and len(calls) < 1000:
            raise error
        ctx.reply(" ".join(map(str, texts)))

    return router


@pytest.mark.parametrize("attempts_max", [1, 5])
@pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), Reject("x"), Retry("x", after_s=3)])
def test_of_a_burst_that_fails_only_the_bad_message_is_given_up(error, attempts_max):
    """What came behind the burst in the meantime is a burst again."""
    calls: list[Any] = []

    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(*(said(each) for each in ("a", "b", "bad", "c")))
        await scene.idle()
        scene.telegram.push(said("d"), said("e"))
        await scene.idle()
        return len(await scene.reasons()), scene.telegram.texts()

    dead, texts = play(burst_with(error, calls), scenario, attempts_max=attempts_max)
    assert dead == 1
    assert [each for each in texts if len(each) < 4] == ["a", "b", "c", "d e"]
    assert calls[:3] == [["a", "b", "bad", "c"], ["a"], ["b"]]
    assert calls[-2:] == [["c"], ["d", "e"]]
    assert set(map(tuple, calls[3:-2])) == {("bad",)}


def test_from_the_second_attempt_on_a_burst_is_one_message():
    """After a kill or a time-out nothing is remembered of the burst but the attempt of its first message."""
    calls: list[Any] = []

    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("a"), said("b"))
        await scene.idle()

    router = Router()

    @router.burst(text, timeout_s=1)
    async def burst(ctx: MessageContext, messages: list[Message]) -> None:
        calls.append((ctx.attempt, [message.text for message in messages]))
        await asyncio.sleep(0 if len(messages) == 1 else 5)

    play(router, scenario)
    assert calls == [(1, ["a", "b"]), (2, ["a"]), (1, ["b"])]


async def test_a_new_process_handles_one_message_of_a_burst_that_was_tried():
    store = MemoryStore()
    await append(
        store, [delivery(said("a"), update_id=1).envelope, delivery(said("b"), update_id=2).envelope]
    )
    calls: list[Any] = []
    router = Router()

    @router.burst(text)
    async def burst(ctx: MessageContext, messages: list[Message]) -> None:
        calls.append([message.text for message in messages])

    for attempt in (1, 2):
        head = await store.claim(Queue.INBOX)
        assert head.attempt == attempt
        await Direct(router, behind=store)(head)
        await store.park(head, 0.0, counted=True, reason="the process died")
    assert calls == [["a", "b"], ["a"]]


def test_an_album_that_fails_is_tried_again_as_one():
    calls = []
    router = Router()

    @router.album()
    async def album(ctx: MessageContext, messages: list[Message]) -> None:
        calls.append((ctx.attempt, len(messages)))
        if ctx.attempt == 1:
            raise ZeroDivisionError

    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(picture(1), picture(2))
        await scene.idle()
        return await scene.reasons()

    assert play(router, scenario) == []
    assert calls == [(1, 2), (2, 2)]


def test_failed_bursts_are_remembered_of_a_bounded_number_of_conversations():
    splits = Splits()
    heads = [Envelope(number, f"chat:{number}", "1", b"") for number in range(SPLIT_MAX + 1)]
    for head in heads:
        splits.add(head, frozenset((head.id,)))
    assert not splits.has(heads[0])
    assert splits.has(heads[-1])


def test_an_error_in_a_batch_is_reported_once():
    router = Router()

    @router.burst(text)
    async def burst(ctx: MessageContext, messages: list[Message]) -> None:
        raise Invalid(f"not {len(messages)} at a time")

    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("a"), said("b"), said("c"))
        await scene.idle()
        return scene.telegram.texts()

    assert play(router, scenario) == ["not 3 at a time"]


def test_a_filter_that_fails_for_a_later_message_leaves_it_to_its_own_turn():
    router = Router()
    calls = []

    @router.burst(text, lambda ctx: bool(1 / len(ctx.text.removeprefix("b"))))
    async def burst(ctx: MessageContext, messages: list[Message]) -> None:
        calls.append([message.text for message in messages])

    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("a"), said("b"), said("c"))
        await scene.idle()
        return len(await scene.store.dead_letters())

    assert play(router, scenario, attempts_max=1) == 1
    assert calls == [["a"], ["c"]]


def test_a_stop_that_waits_behind_a_burst_ends_all_of_it():
    router = Router()
    calls = []

    @router.message(command("cancel"))
    async def cancel() -> None:
        calls.append("cancel")

    @router.burst(text, stop=command("cancel"))
    async def burst(ctx: MessageContext, messages: list[Message]) -> None:
        calls.append("burst")

    async def scenario(scene: Scene) -> None:
        scene.telegram.push(said("a"), said("b"), said("/cancel"))
        await scene.idle()

    play(router, scenario)
    assert calls == ["cancel"]


# -- flows ---------------------------------------------------------------------------------------------------------


class Step(Enum):
    PICTURES = "pictures"
    TEXTS = "texts"


class Report(BaseModel):
    pictures: int = 0
    texts: int = 0


def reporting(scope: Any) -> Router:
    flow = Flow("report", Step, Report, scope=scope)

    @flow.entry.message(command("report"))
    async def begin() -> Literal[Step.PICTURES]:
        return Step.PICTURES

    @flow.at(Step.PICTURES).album()
    async def album(ctx: MessageContext, data: Report, messages: list[Message]) -> Literal[Step.TEXTS]:
        data.pictures += len(messages)
        return Step.TEXTS

    @flow.at(Step.TEXTS).burst(text)
    async def burst(ctx: MessageContext, data: Report, messages: list[Message]) -> None:
        data.texts += len(messages)
        ctx.reply(f"{data.pictures} pictures, {data.texts} texts")
        await asyncio.sleep(10)

    router = Router()
    router.include(flow)
    return router


@pytest.mark.parametrize("scope", [OWN, CHAT])
def test_a_flow_takes_an_album_and_a_burst_in_one_step_each(scope):
    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("/report"), picture(1), picture(2), picture(3))
        await asyncio.sleep(1)
        scene.telegram.say("a")
        await asyncio.sleep(1)
        scene.telegram.push(said("b"), said("c"))
        await scene.idle()
        stats = (await scene.store.stats()).inbox
        return stats.committed, scene.telegram.texts()

    assert play(reporting(scope), scenario) == (7, ["3 pictures, 1 texts", "3 pictures, 3 texts"])


def test_messages_of_another_state_are_no_part_of_a_flows_batch():
    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("/report"), picture(1), said("a"), picture(2))
        await scene.idle()
        return (await scene.state())["~flow"]["stack"][0]["data"]

    assert play(reporting(OWN), scenario) == {"pictures": 1, "texts": 1}


def test_a_single_picture_is_no_album_of_a_flow():
    async def scenario(scene: Scene) -> Any:
        scene.telegram.push(said("/report"), picture(1, None))
        await scene.idle()
        return (await scene.state())["~flow"]["stack"][0]["data"]

    assert play(reporting(OWN), scenario)["pictures"] == 0
