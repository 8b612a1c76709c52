"""Albums: one call of the handler for all messages of a media group, however they come.

Met by others: go-telegram-bot-api/telegram-bot-api#242 and telegraf/telegraf#906 (a handler ran for each photo),
eternnoir/pyTelegramBotAPI#2391, openclaw/openclaw#110690 (captions were lost), earlyaidopters/claudeclaw#58 (a wait of 1.4 s).
"""

import asyncio
from typing import Any

import pytest

from engine import Retry
from engine.stores import open_store
from telegram.botapi.types import Message
from telegram.client import TgClient
from telegram.dialogue import MessageContext, Router, photo, text, video
from telegram.dialogue.routes.albums import ALBUM_MAX, ALBUM_WAIT_S
from telegram.fake import FakeServer
from telegram.service.bot import Bot, BotConfig
from telegram.testing import Conversations
from tests.kit.bounds import WITHIN_S
from tests.kit.silence import Silence

PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
VIDEO = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1, "duration": 1}


class Diary:
    """What handlers were called with: photos and videos as "p1", "v2" by the caption or the message's number."""

    def __init__(self, *filters: Any) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.router = Router()

        @self.router.album(*filters)
        async def album(ctx: MessageContext, messages: list[Message]) -> None:
            assert ctx.message is messages[0]
            self.calls.append(("album", [name(each) for each in messages]))
            ctx.data["albums"] = ctx.data.get("albums", 0) + 1
            ctx.reply(f"{len(messages)} of album {ctx.data['albums']}")

        @self.router.message(text)
        async def said(ctx: MessageContext) -> None:
            self.calls.append(("text", ctx.text))

        @self.router.message()
        async def other(ctx: MessageContext) -> None:
            self.calls.append(("other", name(ctx.message)))


def name(message: Message) -> str:
    return f"{'p' if message.photo else 'v'}{message.message_id}"


class People:
    """Ann and Bob in a group, a channel, and Ann's private chat; what they send waits until `hand_over`."""

    def __init__(self, bot: Conversations) -> None:
        self.bot = bot
        self.ann, self.bob = bot.chat("Ann"), bot.chat("Bob")
        self.group = bot.group("Us").id
        self.channel = bot.group("News", kind="channel").id

    def picture(self, chat_id: int, user_id: int = 0, group: str = "g", **fields: Any) -> None:
        fields = {name: value for name, value in fields.items() if value is not None}
        fields = {"photo": PHOTO, **fields} if "video" not in fields else fields
        self.bot.scene.send_message(chat_id, user_id or self.ann.user_id, "", media_group_id=group, **fields)

    def hand_over(self, *, failing: bool = False) -> None:
        self.bot.happens(failing=failing)


def test_photo_video_and_photo_are_one_call_of_a_filter_for_photos() -> None:
    """The album belongs to the handler if one of its messages passes."""
    for first in ({"photo": PHOTO}, {"video": VIDEO}):
        diary = Diary(photo)
        with Conversations(diary.router) as bot:
            people = People(bot)
            for content in (first, {"video": VIDEO}, {"photo": PHOTO}):
                people.picture(people.ann.id, **content)
            people.hand_over()
        assert [(kind, len(what)) for kind, what in diary.calls] == [("album", 3)]


def test_an_album_that_no_handler_of_albums_takes_goes_to_others_one_by_one() -> None:
    diary = Diary(video)
    with Conversations(diary.router) as bot:
        people = People(bot)
        for _ in range(3):
            people.picture(people.ann.id)
        people.hand_over()
        assert diary.calls == [("other", "p1"), ("other", "p2"), ("other", "p3")]
        assert (bot.now.timestamp() - people.bot._start) <= ALBUM_WAIT_S + 0.01


def test_other_peoples_messages_between_stay_where_they_are_and_are_handled() -> None:
    diary = Diary()
    with Conversations(diary.router) as bot:
        people = People(bot)
        people.picture(people.group)
        bot.scene.send_message(people.group, people.bob.user_id, "nice")
        people.picture(people.group)
        bot.scene.send_message(people.group, people.bob.user_id, "really")
        people.picture(people.group)
        people.hand_over()
        assert diary.calls == [("album", ["p1", "p3", "p5"]), ("text", "nice"), ("text", "really")]
        assert bot.dead_letters() == []
        # nothing is left of it
        assert bot._finish(lambda: bot._store.state(f"chat:{people.group}", "~album:g")) is None


def test_only_those_that_are_not_directly_behind_are_left_in_the_lane() -> None:
    diary = Diary()
    with Conversations(diary.router) as bot:
        people = People(bot)
        for _ in range(2):
            people.picture(people.group)
        bot.scene.send_message(people.group, people.bob.user_id, "nice")
        for _ in range(2):
            people.picture(people.group)
        people.hand_over()
        assert diary.calls == [("album", ["p1", "p2", "p4", "p5"]), ("text", "nice")]
        assert bot._finish(lambda: bot._store.state(f"chat:{people.group}", "~album:g")) is None


def test_two_albums_at_once_in_a_channel_are_two() -> None:
    """All posts of a channel have the same sender."""
    diary = Diary()
    with Conversations(diary.router) as bot:
        people = People(bot)
        for group in "abab":
            people.picture(people.channel, group=group)
        people.hand_over()
    assert diary.calls == [("album", ["p1", "p3"]), ("album", ["p2", "p4"])]


def test_what_the_same_person_writes_next_ends_the_album() -> None:
    diary = Diary()
    with Conversations(diary.router) as bot:
        people = People(bot)
        people.picture(people.ann.id)
        people.picture(people.ann.id)
        people.ann.says("that is all")
        assert bot.now.timestamp() == people.bot._start
    assert diary.calls == [("album", ["p1", "p2"]), ("text", "that is all")]


def test_two_albums_at_the_same_time_are_two() -> None:
    diary = Diary()
    with Conversations(diary.router) as bot:
        people = People(bot)
        for user_id, group in ((people.ann, "a"), (people.bob, "b"), (people.ann, "a"), (people.bob, "b")):
            people.picture(people.group, user_id.user_id, group)
        people.hand_over()
    assert diary.calls == [("album", ["p1", "p3"]), ("album", ["p2", "p4"])]


def has_caption(ctx: Any) -> bool:
    return bool(ctx.message.caption)


@pytest.mark.parametrize("with_caption", [1, 2, 3])
def test_a_caption_on_one_of_them_is_enough_for_a_filter(with_caption: int) -> None:
    diary = Diary(photo, has_caption)
    with Conversations(diary.router) as bot:
        people = People(bot)
        for number in (1, 2, 3):
            people.picture(people.ann.id, caption="Us" if number == with_caption else None)
        people.hand_over()
    assert diary.calls == [("album", ["p1", "p2", "p3"])]


def test_one_message_has_to_pass_all_filters() -> None:
    diary = Diary(video, has_caption)
    with Conversations(diary.router) as bot:
        people = People(bot)
        people.picture(people.ann.id, video=VIDEO)
        people.picture(people.ann.id, caption="Us")
        people.hand_over()
    assert [kind for kind, _ in diary.calls] == ["other", "other"]


def test_channel_posts_are_one_call() -> None:
    diary = Diary()
    with Conversations(diary.router) as bot:
        people = People(bot)
        for _ in range(3):
            people.picture(people.channel)
        people.hand_over()
        assert diary.calls == [("album", ["p1", "p2", "p3"])]
        assert bot.scene.messages(people.channel)[-1]["text"] == "3 of album 1"


@pytest.mark.parametrize(("pause_s", "calls"), [(0.4, [4]), (1.0, [4]), (1.5, [1, 1, 1, 1])])
def test_an_album_over_several_polls_is_one_with_pauses_up_to_a_second(
    pause_s: float, calls: list[int]
) -> None:
    diary = Diary()
    with Conversations(diary.router) as bot:
        people = People(bot)
        for _ in range(4):
            people.picture(people.ann.id)
            bot.happens(wait=False)
            bot.passes(seconds=pause_s)
        bot.settles()
    assert [len(what) for _, what in diary.calls] == calls


def test_a_whole_album_is_not_waited_for() -> None:
    diary = Diary()
    with Conversations(diary.router) as bot:
        people = People(bot)
        for _ in range(ALBUM_MAX):
            people.picture(people.ann.id)
        people.hand_over()
        assert [len(what) for _, what in diary.calls] == [ALBUM_MAX]
        assert bot.now.timestamp() == people.bot._start


def test_an_album_that_fails_is_tried_again_whole() -> None:
    router = Router()
    calls: list[Any] = []

    @router.album()
    async def album(_ctx: MessageContext, messages: list[Message]) -> None:
        calls.append([name(each) for each in messages])
        if len(calls) == 1:
            raise Retry("once more")

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        calls.append(ctx.text)

    with Conversations(router) as bot:
        people = People(bot)
        people.picture(people.group)
        bot.scene.send_message(people.group, people.bob.user_id, "hi")
        people.picture(people.group)
        people.hand_over(failing=True)
        bot.passes(minutes=1, failing=True)
    assert calls == [["p1", "p3"], ["p1", "p3"], "hi"]


def test_a_restart_between_the_album_and_its_last_message_hands_nothing_out_twice() -> None:
    diary = Diary()

    @diary.router.update()
    async def never(_ctx: Any) -> None:
        raise AssertionError

    with Conversations(diary.router) as bot:
        people = People(bot)
        people.picture(people.group)
        bot.scene.send_message(people.group, people.bob.user_id, "between")
        people.picture(people.group)
        bot.happens(wait=False)
        bot.passes(seconds=0.5)
        bot.restart()
        bot.settles()
        assert diary.calls == [("album", ["p1", "p3"]), ("text", "between")]


def test_a_burst_takes_extracts_as_filters_too() -> None:
    router, calls = Router(), []

    @router.burst(photo)
    async def burst(_ctx: MessageContext, messages: list[Message]) -> None:
        calls.append([name(each) for each in messages])

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.sends(photo=PHOTO)
    assert calls == [["p1"]]


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
async def test_albums_of_a_whole_bot_on_both_stores(
    store: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = Silence(monkeypatch)
    url = store if store == "memory:" else f"sqlite:{tmp_path / 'bot.db'}"
    diary = Diary(photo)
    async with FakeServer(seed=1, strict=True) as fake, TgClient(fake.token, base_url=fake.url) as client:
        world = fake.world
        world.add_group("Us", [5, 6], chat_id=-100)
        world.add_group("News", [5], chat_id=-200, kind="channel")
        opened = await open_store(url, "1")
        bot = Bot(client, opened, diary.router, BotConfig(drain_timeout_s=10))
        await bot.start()
        await fake.wait_for_long_poll()
        world.send_message(-100, 5, "", photo=PHOTO, media_group_id="a", caption="first only")
        world.send_message(-100, 6, "between")
        world.send_message(-100, 5, "", video=VIDEO, media_group_id="a")
        world.send_message(-200, 5, "", photo=PHOTO, media_group_id="c")
        await fake.wait_for_long_poll()  # another batch of getUpdates
        world.send_message(-100, 5, "", photo=PHOTO, media_group_id="a")
        world.send_message(-200, 5, "", photo=PHOTO, media_group_id="c")
        await silence.of(opened, 6)
        await fake.wait_for_calls(2, "sendMessage", delivered=True)
        async with asyncio.timeout(WITHIN_S):
            while (await opened.stats()).inbox.pending:
                await asyncio.sleep(0)
        await bot.stop()
        assert await opened.dead_letters() == []
        await opened.close()
    assert sorted(diary.calls) == [
        ("album", ["p1", "p2"]),
        ("album", ["p1", "v3", "p4"]),
        ("text", "between"),
    ]
