"""What is not handled: updates that are too old, too many of a sender (telegram/dialogue/filters/limits.py)."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine.stores import open_store
from telegram.botapi.intake import RawUpdate
from telegram.botapi.routing import envelope
from telegram.botapi.types import KINDS, Message, Update
from telegram.client import TgClient
from telegram.client.clock import TelegramClock
from telegram.dialogue import (
    CallbackContext,
    Context,
    Flow,
    MessageContext,
    Park,
    Retry,
    Router,
    TimerContext,
    any_of,
    command,
    inline,
    no,
    photo,
    text,
    throttle,
)
from telegram.dialogue.filters.limits import MOMENTS, Senders
from telegram.fake import FakeServer
from telegram.service.bot import Bot, BotConfig
from telegram.testing import Conversations
from tests.kit.deliveries import Direct, delivery, message, sent
from tests.kit.virtual import run_virtual

HOUR = 3600


def at(bot: Conversations, ago_s: float) -> int:
    return int(bot.now.timestamp() - ago_s)


def echo(*filters: Any, router: Router | None = None, **options: Any) -> Router:
    """Says every text back; all else is for a second handler, which must not be asked for what the first drops."""
    router = router or Router()

    @router.message(text, *filters, **options)
    async def say(ctx: MessageContext) -> None:
        ctx.reply(f"echo {ctx.text}")

    @router.update()
    async def rest(ctx: Context) -> None:
        ctx.call("sendMessage", chat_id=1, text=f"rest {ctx.kind}")

    return router


def said(bot: Conversations) -> list[str]:
    return [call.params["text"] for call in bot.calls("sendMessage")]


# -- stale_s -----------------------------------------------------------------------------------------------------------


def test_a_message_that_is_older_is_dropped_and_no_other_handler_is_asked():
    with Conversations(echo(stale_s=60)) as bot:
        ann = bot.chat("Ann")
        ann.says("old", date=at(bot, 62))
        ann.says("young", date=at(bot, 58))
        assert said(bot) == ["echo young"]
        assert (bot.dropped(), bot.dead_letters()) == ({"stale": 1}, [])


def test_waiting_in_the_lane_counts():
    router = Router()

    @router.message(command("work"))
    async def work() -> None:
        await asyncio.sleep(40)

    with Conversations(echo(router=router, stale_s=30)) as bot:
        ann = bot.chat("Ann")
        ann.says("/work", wait=False)
        ann.says("one", wait=False)
        bot.passes(seconds=20)
        ann.says("two", wait=False)
        bot.settles()
        assert said(bot) == ["echo two"]


def pressing(handled: list[str], **options: Any) -> Router:
    router = Router()

    @router.message(command("menu"))
    async def menu(ctx: MessageContext) -> None:
        ctx.reply("?", reply_markup=inline([("Go", "go")]))

    @router.message(command("work"))
    async def work() -> None:
        await asyncio.sleep(10)

    @router.callback_query(**options)
    async def pressed(ctx: CallbackContext) -> None:
        handled.append(ctx.button or "")
        ctx.answer("done")

    return router


def test_a_press_is_as_old_as_its_arrival_whatever_the_date_of_the_message():
    """Telegram Bot API, CallbackQuery: `message` is the one with the button; the press itself has no date."""
    handled: list[str] = []
    with Conversations(pressing(handled, stale_s=5)) as bot:
        ann = bot.chat("Ann")
        ann.says("/menu")
        bot.passes(hours=1)
        ann.presses("Go")
        assert (handled, ann.toast) == (["go"], "done")
        ann.says("/work", wait=False)
        ann.presses("Go", wait=False)
        bot.settles()
        assert (handled, ann.toast) == (["go"], "")  # dropped, and the button does not wait any more
        assert bot.dropped() == {"stale": 1}


def test_an_edited_message_is_as_old_as_its_edit():
    """Telegram Bot API, Message: edit_date."""
    router = Router()

    @router.edited_message(stale_s=60)
    async def edited(ctx: MessageContext) -> None:
        ctx.reply(ctx.text)

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        fields: Any = {"date": at(bot, HOUR), "message_id": 7}
        ann.sends_update("edited_message", **fields, edit_date=at(bot, 5), text="new")
        ann.sends_update("edited_message", **fields, edit_date=at(bot, HOUR), text="old")
        assert said(bot) == ["new"]


def test_the_dates_of_all_kinds_are_fields_of_them():
    Update.model_rebuild()
    for kind, name in MOMENTS.items():
        (type_,) = [each for each in Update.model_fields[kind].annotation.__args__ if each is not type(None)]
        assert name in type_.model_fields, kind
    assert set(MOMENTS) <= set(KINDS)


@pytest.mark.parametrize("how", ["Park", "Retry", "error", "stop"])
def test_what_a_handler_has_begun_with_is_not_dropped(how):
    attempts = []
    router = Router()

    @router.message(text, stale_s=60)
    async def handler(ctx: MessageContext) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) == 1:
            if how == "Park":
                raise Park("closed", delay_s=200)
            if how == "Retry":
                raise Retry("later", after_s=200)
            if how == "error":
                raise OSError
            await asyncio.sleep(50)
        ctx.reply("done")

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        if how == "stop":
            ann.says("go", wait=False)
            bot.passes(seconds=5)
            bot._start += 600  # it is down for ten minutes
            bot.restart()
        else:
            ann.says("go", wait=False, failing=True)
            bot._start += 600
        bot.passes(minutes=10, failing=True)
        assert (len(attempts), said(bot), bot.dropped()) == (2, ["done"], {})


def test_what_is_replayed_is_handled():
    """Nobody knows when it arrived: an operator wants it handled now."""
    old = delivery({"message": message("old")})
    assert old.envelope.at == 0.0
    effects = run_virtual(Direct(echo(stale_s=60))(old))
    assert [params["text"] for _, _, params in sent(effects)] == ["echo old"]


def test_a_commit_that_was_refused_makes_nothing_old():
    """The handler runs again when a state was changed meanwhile (StateChanged): the same attempt of the same update."""
    now = [1_700_000_010.0]
    handler = Direct(echo(throttle(1, per_s=60), stale_s=60), wall=lambda: now[0])
    fields = {"update_id": 5, "message": message("hi")}
    head = envelope(
        RawUpdate(5, b'{"update_id":5,"message":%s}' % json.dumps(fields["message"]).encode(), fields), now[0]
    )
    given = delivery({"message": message("hi")})._replace(envelope=head)

    async def twice() -> list[Any]:
        first = sent(await handler(given))
        now[0] += 100
        return [first, sent(await handler(given))]

    first, second = run_virtual(twice())
    assert first == second != []


class Step(Enum):
    ONE = "one"


class Nothing(BaseModel):
    pass


def a_flow(**options: Any) -> Flow[Any, Any, Any]:
    flow = Flow("flow", Step, Nothing)

    @flow.entry.message(command("go"))
    async def begin() -> Literal[Step.ONE]:
        return Step.ONE

    @flow.at(Step.ONE).message(text, **options)
    async def one(ctx: MessageContext) -> None:
        ctx.reply(f"one {ctx.text}")

    @flow.at(Step.ONE).timeout(3000)
    async def late(ctx: TimerContext) -> None:
        ctx.reply("time-out")

    return flow


@pytest.mark.parametrize(
    ("outer", "inner", "own", "handled"),
    [
        (None, None, None, True),
        (60, None, None, False),
        (60, HOUR * 2, None, True),
        (HOUR * 2, 60, None, False),
        (60, 60, HOUR * 2, True),
        (None, None, 60, False),
        (HOUR * 2, HOUR * 2, 60, False),
    ],
)
def test_the_nearest_stale_s_counts_in_flows_too(outer, inner, own, handled):
    router, nested = Router(stale_s=outer), Router(stale_s=inner)
    nested.include(a_flow(stale_s=own))
    router.include(nested)
    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.says("/go")
        ann.says("answer", date=at(bot, HOUR))
        assert said(bot) == (["one answer"] if handled else [])
        bot.passes(hours=1)
        assert said(bot)[-1] == "time-out"


def test_no_timer_is_stale():
    router = Router(stale_s=1)

    @router.message(text)
    async def begin(ctx: MessageContext) -> None:
        if ctx.text == "go":
            ctx.set_timer("t", 10)
        await asyncio.sleep(30)

    @router.timer("t")
    async def fires(ctx: TimerContext) -> None:
        ctx.reply("timer")

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.says("go", wait=False)
        bot.passes(seconds=31)
        ann.says("again", wait=False)
        bot.passes(minutes=10)
        assert "timer" in said(bot)


PAID = {"currency": "XTR", "total_amount": 5, "invoice_payload": "p", "telegram_payment_charge_id": "1",
        "provider_payment_charge_id": "2"}  # fmt: skip


def test_a_routers_limits_drop_no_payment_and_a_handlers_own_do():
    for around, own, handled in ((True, None, 3), (False, 60, 0)):
        router = Router(throttle(1, per_s=HOUR), stale_s=60) if around else Router()
        paid: list[Any] = []

        @router.message(stale_s=own)
        async def handler(ctx: MessageContext) -> None:
            paid.append(ctx.message.successful_payment)  # noqa: B023 - used in this round

        with Conversations(router) as bot:
            ann = bot.chat("Ann")
            for _ in range(3):
                ann.sends(successful_payment=PAID, date=at(bot, HOUR))
            assert len(paid) == handled


def test_an_old_album_is_dropped_whole_and_an_old_message_ends_no_burst():
    router = Router()
    calls: list[list[int]] = []

    @router.album(photo, stale_s=60)
    async def album(_ctx: MessageContext, messages: list[Message]) -> None:
        calls.append([each.message_id for each in messages])

    @router.burst(text, stale_s=60)
    async def burst(ctx: MessageContext, messages: list[Message]) -> None:
        ctx.reply(" ".join(each.text or "" for each in messages))

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        for ago in (HOUR, 0):
            for _ in range(3):
                ann.sends(photo=True, media_group_id=f"g{ago}", date=at(bot, ago), wait=False)
            bot.settles()
        assert [len(each) for each in calls] == [3]
        bot.scene.send_message(ann.id, ann.user_id, "old", date=at(bot, HOUR))
        bot.scene.send_message(ann.id, ann.user_id, "a", date=at(bot, 0))
        bot.scene.send_message(ann.id, ann.user_id, "b", date=at(bot, 0))
        bot.happens()
        assert said(bot) == ["a b"]
        assert (bot.dropped(), bot.dead_letters()) == ({"stale": 2}, [])


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan")])
def test_an_age_that_is_none_is_refused_at_once(wrong):
    with pytest.raises(ValueError, match="stale_s is a number of seconds above 0"):
        Router(stale_s=wrong)
    with pytest.raises(ValueError, match="stale_s is a number of seconds above 0"):
        echo(stale_s=wrong)


# -- throttle ----------------------------------------------------------------------------------------------------------


def test_too_many_are_dropped_and_the_sender_gets_one_text_in_a_period():
    with Conversations(echo(throttle(5, per_s=10, tell="Slower, please"))) as bot:
        ann, bob = bot.chat("Ann"), bot.chat("Bob")
        for number in range(9):
            ann.says(f"{number}")
        bob.says("bob")
        assert said(bot) == [*(f"echo {n}" for n in range(5)), "Slower, please", "echo bob"]
        assert bot.dropped() == {"throttled": 4}
        bot.passes(seconds=11)
        for number in range(7):
            ann.says(f"{number}")
        assert said(bot)[7:] == [*(f"echo {n}" for n in range(5)), "Slower, please"]


def test_a_press_over_the_limit_is_answered():
    handled: list[str] = []
    router = Router(throttle(2, per_s=60, tell="Slower"))
    router.include(pressing(handled))
    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        ann.says("/menu")
        ann.presses("Go")
        toasts = []
        for _ in range(3):
            ann.presses("Go")
            toasts.append(ann.toast)
        assert (handled, toasts) == (["go"], ["Slower", "", ""])


def test_the_groups_and_the_private_chat_of_a_person_count_together_also_at_the_same_time():
    router = Router(throttle(3, per_s=60))
    entered = []

    @router.message(text)
    async def handler(ctx: MessageContext) -> None:
        entered.append(ctx.chat_id)
        await asyncio.sleep(5)

    with Conversations(router) as bot:
        chats = [bot.chat("Ann"), *(bot.group(f"G{n}").member("Ann") for n in range(9))]
        for chat in chats:
            bot.scene.send_message(chat.id, chat.user_id, "hi")
        bot.happens()
        assert (len(entered), bot.dropped()) == (3, {"throttled": 7})


def test_the_sender_is_the_true_one():
    """Telegram Bot API, Message: sender_chat; an anonymous admin's `from` is 1087968824 in every group."""
    anonymous = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
    with Conversations(echo(throttle(1, per_s=60))) as bot:
        groups = [bot.group("A"), bot.group("B")]
        for _ in range(2):
            for group in groups:
                chat = {"id": group.id, "type": "supergroup", "title": "x"}
                fields = {"message_id": 1, "date": at(bot, 0), "chat": chat, "sender_chat": chat}
                bot.scene.push("message", {**fields, "from": anonymous, "text": f"{group.id}"})
        bot.happens()
        assert said(bot) == [f"echo {group.id}" for group in groups]


def test_a_retry_is_not_counted_again():
    router = Router(throttle(1, per_s=HOUR))
    attempts = []

    @router.message(text)
    async def handler(ctx: MessageContext) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 4:
            raise Retry("again", after_s=10) if len(attempts) < 3 else Park("later", delay_s=10)
        ctx.reply("done")

    with Conversations(router) as bot:
        bot.chat("Ann").says("hi", failing=True)
        bot.passes(minutes=5, failing=True)
        assert (said(bot), bot.dropped()) == (["done"], {})


def test_one_limit_in_several_places_counts_an_update_once():
    slow = throttle(2, per_s=60)
    router = Router(slow)
    inner = Router(slow)
    router.include(inner)

    @inner.message(command("a"), slow)
    async def a(ctx: MessageContext) -> None:
        ctx.reply("a")

    @inner.message(text, slow)
    async def b(ctx: MessageContext) -> None:
        ctx.reply("b")

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        for words in ("/a", "b", "b"):
            ann.says(words)
        assert said(bot) == ["a", "b"]


def test_updates_that_other_filters_do_not_let_pass_are_not_counted():
    router = Router()

    @router.message(throttle(1, per_s=60), command("a"))
    async def a(ctx: MessageContext) -> None:
        ctx.reply("a")

    @router.burst(text)
    async def b(ctx: MessageContext, messages: list[Message]) -> None:
        ctx.reply(f"{len(messages)}")

    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        for words in ("x", "y", "/a"):
            bot.scene.send_message(ann.id, ann.user_id, words)
        bot.happens()  # the burst looks at the command behind it
        assert said(bot) == ["2", "a"]


def test_each_message_of_a_burst_is_counted():
    router = Router()

    @router.burst(text, throttle(5, per_s=60, tell="Slower"), stale_s=600)
    async def burst(ctx: MessageContext, messages: list[Message]) -> None:
        if len(messages) == 5 and not fails:
            fails.append(1)
            raise OSError("once")
        ctx.reply(" ".join(each.text or "" for each in messages))

    fails: list[int] = []
    with Conversations(router) as bot:
        ann = bot.chat("Ann")
        for number in range(8):
            bot.scene.send_message(ann.id, ann.user_id, f"{number}")
        bot.happens(
            failing=True
        )  # the burst fails and is handled one by one: what was counted is not counted again
        assert said(bot) == ["0", "1", "2", "3", "4", "Slower"]
        assert (bot.dropped(), bot.dead_letters()) == ({"throttled": 3}, [])


def test_who_writes_slowly_is_not_dropped_because_the_bot_was_slow():
    """The moments count at which the user wrote: a busy lane, or a downtime, makes nobody a flooder."""
    router = Router()

    @router.message(command("work"))
    async def work() -> None:
        await asyncio.sleep(55)

    with Conversations(echo(throttle(2, per_s=15), router=router)) as bot:
        ann = bot.chat("Ann")
        ann.says("/work", wait=False)
        for number in range(5):
            bot.passes(seconds=10)
            ann.says(f"{number}", wait=False)
        bot.settles()
        assert said(bot) == [f"echo {n}" for n in range(5)]
        bot.passes(hours=1)
        for ago in (50, 40, 30, 20, 10):  # they waited at Telegram's
            bot.scene.send_message(ann.id, ann.user_id, f"{ago}", date=at(bot, ago))
        bot.happens()
        assert (len(said(bot)), bot.dropped()) == (10, {})


@pytest.mark.parametrize("seed", range(200))
def test_in_no_period_are_more_admitted_and_none_is_dropped_that_has_room(seed):
    rng = random.Random(seed)
    n, per_s = rng.randint(1, 4), rng.choice([1.0, 5.0, 10.0])
    limit = Senders(throttle(n, per_s=per_s))
    admitted: list[float] = []
    now = 1000.0
    for id_ in range(200):
        now += rng.expovariate(n / per_s)
        moment = now - rng.uniform(0, per_s * 0.9) if rng.random() < 0.3 else now  # of another lane
        windows = [*admitted, moment]
        too_many = any(
            begin <= moment < begin + per_s and sum(begin <= each < begin + per_s for each in windows) > n
            for begin in windows
        )
        assert limit.admits(7, moment, id_) == (not too_many)
        if not too_many:
            admitted.append(moment)
        assert limit.admits(7, moment, id_) == (not too_many)  # the same update again
    assert len(limit._senders[7].admitted) <= 3 * n + 1


def test_each_bot_of_a_router_counts_for_itself():
    router = Router(throttle(2, per_s=60))

    @router.message(text)
    async def echo(ctx: MessageContext) -> None:
        ctx.reply(ctx.text)

    for _ in range(2):
        with Conversations(router) as bot:
            ann = bot.chat("Ann")
            for number in range(3):
                ann.says(f"{number}")
            assert bot.dropped() == {"throttled": 1}


def test_the_senders_that_were_active_last_are_remembered():
    limit = Senders(throttle(1, per_s=60, remembers=100))
    assert limit.admits(1, 0.0, 1)
    for sender in range(2, 100):
        assert limit.admits(sender, 0.0, sender)
    assert not limit.admits(1, 1.0, 1000)
    for sender in range(100, 150):
        assert limit.admits(sender, 0.0, sender)
    assert len(limit._senders) == 100
    assert not limit.admits(1, 1.0, 1001)
    assert limit.admits(2, 1.0, 1002)  # forgotten


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: any_of(throttle(1, per_s=1), text),
        lambda: no(throttle(1, per_s=1)),
        lambda: echo(stop=throttle(1, per_s=1)),
    ],
)
def test_a_limit_is_no_condition(wrong: Callable[[], object]):
    with pytest.raises(TypeError, match="stands among the filters of a handler or a router"):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: throttle(0, per_s=1),
        lambda: throttle(1, per_s=0),
        lambda: throttle(1, per_s=float("nan")),
        lambda: throttle(1, per_s=1, remembers=0),
        lambda: throttle(1, per_s=1, tell="x" * 201),
    ],
)
def test_a_limit_that_cannot_be_is_refused_at_once(wrong: Callable[[], object]):
    with pytest.raises(ValueError, match=r"above 0|at most 200"):
        wrong()


# -- over HTTP, on both stores -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
async def test_over_http_a_clock_that_is_an_hour_ahead_drops_nothing_that_is_fresh(
    store, tmp_path, monkeypatch
):
    url = store if store == "memory:" else f"sqlite:{tmp_path / 'bot.db'}"
    async with FakeServer(seed=1) as fake, TgClient(fake.token, base_url=fake.url) as client:
        monkeypatch.setattr(client, "_clock", TelegramClock(lambda: time.time() + HOUR))
        opened = await open_store(url, "1")
        slow = throttle(2, per_s=HOUR, tell="Slower")
        bot = Bot(client, opened, echo(slow, stale_s=600), BotConfig(messages_per_s=0))
        await bot.start()
        fake.world.send_message(5, 5, "old", date=int(time.time()) - 2 * HOUR)
        for number in range(4):
            fake.world.send_message(5, 5, f"{number}")
        fake.world.send_message(6, 6, "last")
        await fake.wait_for_calls(4, "sendMessage", delivered=True)
        await bot.stop()
        assert sorted(call.text for call in fake.calls if call.method == "sendMessage") == [
            "Slower", "echo 0", "echo 1", "echo last",
        ]  # fmt: skip
        assert bot.dropped == {"stale": 1, "throttled": 2}
        assert await opened.dead_letters() == []
        assert (await opened.stats()).inbox.pending == 0
        await opened.close()
