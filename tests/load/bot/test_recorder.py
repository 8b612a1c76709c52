"""The journal of a bot under test: what its handlers do with updates, from the events of the bot."""

import asyncio

from handlers import survey
from telegram.botapi.types import Message
from telegram.dialogue import (
    CallbackContext,
    Context,
    Invalid,
    MessageContext,
    Reject,
    Retry,
    Router,
    command,
    text,
    throttle,
)
from telegram.load.bot.journal import Journal
from telegram.load.bot.recorder import Recorder
from telegram.testing import Conversations

PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]


class Noting(Journal):
    """A journal in memory."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.ids: list[int] = []

    def note(self, event: str, update_id: int = 0, key: str = "-") -> None:
        self.noted.append(event)
        self.ids.append(update_id)


def recorded(router: Router, journal: Journal) -> Router:
    observed = Router()
    observed.include(router)
    observed.observer(Recorder(journal))
    return observed


def album_router() -> Router:
    """It answers an album with the number of its messages."""
    router = Router()

    @router.album()
    async def album(ctx: MessageContext, messages: list[Message]) -> None:
        ctx.reply(f"{len(messages)}")

    return router


def test_what_handlers_do_is_noted():
    journal = Noting()
    with Conversations(recorded(survey.router, journal)) as bot:
        ann = bot.chat("Ann")
        ann.says("hello")
        assert journal.noted == ["begin", "untaken", "end"]
        journal.noted.clear()
        ann.says("/survey")
        ann.says("Ann")
        ann.says("/cancel")
        assert journal.noted == ["begin", "enter", "end", "begin", "end", "begin", "cancel", "end"]
        journal.noted.clear()
        for line in ("/survey", "Ann", "42"):
            ann.says(line)
        ann.presses("Events")
        ann.presses("Yes")
        assert [each for each in journal.noted if each not in {"begin", "end"}] == ["enter", "leave"]


def test_a_handler_that_an_update_stops_has_ended():
    router = Router()

    @router.message(command("draw"), stop=command("cancel"))
    async def draw() -> None:
        await asyncio.sleep(60)

    @router.message(command("cancel"))
    async def cancel() -> None: ...

    journal = Noting()
    with Conversations(recorded(router, journal)) as bot:
        ann = bot.chat("Ann")
        ann.says("/draw", wait=False)
        ann.says("/cancel")
        assert journal.noted == ["begin", "end"] * 2
        journal.noted.clear()
        bot.scene.send_message(ann.id, ann.id, "/draw")
        bot.scene.send_message(ann.id, ann.id, "/cancel")
        bot.happens()  # it has not begun
        assert journal.noted == ["begin", "end"] * 2


def test_a_timer_is_not_noted_and_what_is_not_valid_is_no_failure():
    router = Router()

    @router.message(command("remind"))
    async def remind(ctx: MessageContext) -> None:
        ctx.set_timer("ring", 5)

    @router.timer("ring")
    async def ring(ctx: Context) -> None:
        pass

    @router.message(text)
    async def other() -> None:
        raise Invalid("no")

    @router.callback_query()
    async def pressed(ctx: CallbackContext) -> None:
        pass

    journal = Noting()
    with Conversations(recorded(router, journal)) as bot:
        ann = bot.chat("Ann")
        ann.says("/remind")
        bot.passes(seconds=10)
        ann.says("what?")
    assert journal.noted == ["begin", "end", "begin", "end"]


def test_each_message_of_a_burst_is_recorded_after_the_first_one():
    router = Router()

    @router.burst(text)
    async def several(ctx: MessageContext, messages: list[Message]) -> None:
        ctx.reply(f"{len(messages)}")

    journal = Noting()
    with Conversations(recorded(router, journal)) as bot:
        ann = bot.chat("Ann")
        for word in ("a", "b", "c"):
            bot.scene.send_message(ann.id, ann.id, word)
        bot.happens()
        assert ann.sees("3")
    assert journal.noted == ["begin", "end"] * 3
    assert journal.ids == sorted(journal.ids)


def test_a_burst_that_fails_is_recorded_one_by_one():
    router = Router()

    @router.burst(text)
    async def several(ctx: MessageContext, messages: list[Message]) -> None:
        if len(messages) > 1:
            raise Retry("not together")

    journal = Noting()
    with Conversations(recorded(router, journal)) as bot:
        ann = bot.chat("Ann")
        for word in ("a", "b"):
            bot.scene.send_message(ann.id, ann.id, word)
        bot.happens(failing=True)
    assert journal.noted == ["begin", "fail", *["begin", "end"] * 2]


def test_an_update_that_a_limit_drops_is_handled():
    router = Router()

    @router.message(text, throttle(1, per_s=60))
    async def once(ctx: MessageContext) -> None:
        ctx.reply("once")

    journal = Noting()
    with Conversations(recorded(router, journal)) as bot:
        ann = bot.chat("Ann")
        ann.says("a")
        ann.says("b")
    assert journal.noted == ["begin", "end"] * 2


def test_each_message_of_an_album_is_recorded():
    journal = Noting()
    with Conversations(recorded(album_router(), journal)) as bot:
        ann = bot.chat("Ann")
        for _ in range(3):
            bot.scene.send_message(ann.id, ann.id, "", photo=PHOTO, media_group_id="a")
        bot.happens()
        bot.passes(seconds=5)
        assert ann.sees("3")
    assert journal.noted == ["begin", "end"] * 3


def test_a_message_of_an_album_that_another_users_message_separates_is_recorded():
    """It was handled with its album: its own turn acks it without a handler."""
    journal = Noting()
    with Conversations(recorded(album_router(), journal)) as bot:
        group = bot.group("Us")
        ann, bob = group.member("Ann"), group.member("Bob")
        bot.scene.send_message(group.id, ann.user_id, "", photo=PHOTO, media_group_id="a")
        bot.scene.send_message(group.id, bob.user_id, "hi")
        bot.scene.send_message(group.id, ann.user_id, "", photo=PHOTO, media_group_id="a")
        bot.happens()
        bot.passes(seconds=5)
        assert group.member("Ann").sees("2")
    assert [each for each in journal.noted if each != "untaken"] == ["begin", "end"] * 3
    assert len(set(journal.ids)) == 3


def test_a_handler_that_raises_has_failed():
    router = Router()

    @router.message(text)
    async def bad() -> None:
        raise Reject("no")

    journal = Noting()
    with Conversations(recorded(router, journal)) as bot:
        ann = bot.chat("Ann")
        bot.scene.send_message(ann.id, ann.id, "a")
        bot.happens(failing=True)
    assert journal.noted == ["begin", "fail"]
