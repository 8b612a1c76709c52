"""`@router.refused(...)`: what became of a call reaches the author, through the production path.

Elsewhere only the line that calls sees the error: aiogram's and python-telegram-bot's handlers of errors get an update's
exception, and none for what a job or a broadcast has sent.
"""

from typing import Any

import pytest

from engine import Effects, Envelope, Lease, Queue, Reject, Work
from engine.model import Delivery
from telegram.botapi.calls import Files, encode_call, files_of
from telegram.botapi.errors import Refused
from telegram.botapi.named import is_quiet, naming_of, quiet
from telegram.dialogue import EventContext, MessageContext, RefusedContext, Router, TimerContext, command
from telegram.dialogue.router.refusals import kind_of, wanted_by, wanted_of
from telegram.service.sender import Sender
from telegram.settings.bot_config import BotConfig
from telegram.testing import Conversations
from tests.kit.docs import modules
from tests.kit.virtual import run_virtual

BROKEN = "<b>not closed"


def bot_of(*, reason: Any = (), method: Any = ()) -> tuple[Router, list[Any]]:
    """A router with a handler of refusals, and what that has got."""
    router, seen = Router(), []

    @router.message(command("broken"))
    async def broken(ctx: MessageContext) -> None:
        ctx.reply(BROKEN, parse_mode="HTML", name="menu")
        ctx.reply("next")

    @router.message(command("send"))
    async def send(ctx: MessageContext) -> None:
        ctx.send(int(ctx.args), "hello")

    @router.refused(reason, method=method)
    async def refused(ctx: RefusedContext) -> None:
        seen.append((ctx.reason, ctx.method, ctx.params, ctx.message_name, ctx.code, ctx.description))
        ctx.data["refused"] = ctx.data.get("refused", 0) + 1
        if ctx.reason == "entities":
            ctx.reply(f"{ctx.params['text']} {ctx.data['refused']}")

    return router, seen


def test_a_text_that_cannot_be_parsed_comes_back_and_is_no_dead_letter():
    router, seen = bot_of()
    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/broken")
        alice.says("/broken")
        assert bot.dead_letters() == []
        assert alice.text == f"{BROKEN} 2"
    reason, method, params, name, code, description = seen[0]
    assert (reason, method, name, code) == ("entities", "sendMessage", "menu", 400)
    assert (params["text"], len(seen)) == (BROKEN, 2)
    assert "can't parse entities" in description


def test_the_example_of_the_page():
    with modules("refused.md") as made, Conversations(made["refusals"].router) as bot:
        admin, bob = bot.chat("Admin"), bot.chat("Bob")
        admin.says(f"/tell {bob.id} {BROKEN}")
        assert [each["text"] for each in bob.messages if each["from"]["is_bot"]] == [BROKEN]
        assert bot.dead_letters() == []


def test_the_example_of_the_fallback():
    with modules("refused.md") as made, Conversations(made["answers"].router) as bot:
        alice = bot.chat("Alice")
        alice.says("I <3 you")
        assert alice.text == "You wrote: I <3 you"
        alice.says("fine")
        assert alice.messages[-1]["entities"] == [{"type": "bold", "offset": 11, "length": 4}]


def test_the_handler_of_a_blocked_chat_runs_once_and_later_calls_are_dropped():
    router, seen = bot_of(reason="blocked")
    with Conversations(router) as bot:
        admin, bob = bot.chat("Admin"), bot.chat("Bob")
        bot.scene.block(bob.id)
        for _ in range(3):
            admin.says(f"/send {bob.id}")
        assert bot.dead_letters() == []
        assert len(bot.calls("sendMessage")) == 1
    ((reason, method, params, *_),) = seen
    assert (reason, method, params["chat_id"]) == ("blocked", "sendMessage", bob.id)


def test_without_a_handler_calls_to_who_has_blocked_the_bot_are_no_dead_letters():
    router, seen = bot_of(reason="entities")
    with Conversations(router) as bot:
        admin, bob = bot.chat("Admin"), bot.chat("Bob")
        bot.scene.block(bob.id)
        for _ in range(3):
            admin.says(f"/send {bob.id}")
        assert (bot.dead_letters(), seen) == ([], [])
        assert bot.unreachable() == {bob.id: ("Forbidden: bot was blocked by the user", 3)}
        bot.scene.unblock(bob.id)
        bot.happens()
        assert bot.unreachable() == {}


def test_with_a_handler_the_first_call_to_who_has_blocked_the_bot_is_reported_and_the_others_are_counted():
    router, seen = bot_of(reason="blocked")
    with Conversations(router) as bot:
        admin, bob = bot.chat("Admin"), bot.chat("Bob")
        bot.scene.block(bob.id)
        for _ in range(3):
            admin.says(f"/send {bob.id}")
        assert (len(seen), bot.unreachable()[bob.id].calls_dropped) == (1, 2)


def test_by_the_setting_a_handler_gets_each_call_to_who_has_blocked_the_bot():
    router, seen = bot_of(reason="blocked")
    with Conversations(router, config=BotConfig(unreachable="dead-letter")) as bot:
        admin, bob = bot.chat("Admin"), bot.chat("Bob")
        bot.scene.block(bob.id)
        for _ in range(3):
            admin.says(f"/send {bob.id}")
        assert (len(seen), bot.dead_letters()) == (3, [])


def test_a_timer_in_a_blocked_chat_does_not_make_it_reachable():
    router, seen = bot_of(reason="blocked")

    @router.message(command("remind"))
    async def remind(ctx: MessageContext) -> None:
        for n in range(3):
            ctx.set_timer("due", 60 * (n + 1), key=n)

    @router.timer("due")
    async def due(ctx: TimerContext) -> None:
        ctx.reply("due")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("/remind")
        bot.scene.block(alice.id)
        bot.passes(minutes=5)
        assert len(bot.calls("sendMessage")) == 1  # the others were dropped: the chat is known as unreachable
    assert len(seen) == 1


def test_the_refusal_of_a_call_from_another_chat_has_the_data_of_its_chat():
    router, _ = bot_of(reason="blocked")

    @router.message()
    async def shows(ctx: MessageContext) -> None:
        ctx.reply(f"refused: {ctx.data['refused']}")

    with Conversations(router) as bot:
        admin, bob = bot.chat("Admin"), bot.chat("Bob")
        bot.scene.block(bob.id)
        admin.says(f"/send {bob.id}")
        bot.scene.unblock(bob.id)
        bot.happens()
        bob.says("hello")
        assert bob.text == "refused: 1"


@pytest.mark.parametrize("given", [{"reason": "blocked"}, {"method": "sendPhoto"}])
def test_what_no_handler_takes_is_a_dead_letter(given: Any):
    router, seen = bot_of(**given)
    with Conversations(router) as bot:
        bot.chat("Alice").says("/broken", failing=True)
        (letter,) = bot.dead_letters()
        assert letter.envelope.body.startswith(b"sendMessage")
    assert seen == []


def test_a_refused_call_of_the_handler_is_a_dead_letter_and_no_second_refusal():
    router, seen = Router(), []

    @router.message()
    async def broken(ctx: MessageContext) -> None:
        ctx.reply(BROKEN, parse_mode="HTML")

    @router.refused()
    async def refused(ctx: RefusedContext) -> None:
        seen.append(ctx.params["text"])
        ctx.reply(f"again {BROKEN}", parse_mode="HTML")

    with Conversations(router) as bot:
        bot.chat("Alice").says("hello", failing=True)
        bot.passes(hours=1)
        (letter,) = bot.dead_letters()
        assert letter.queue is Queue.OUTBOX
        assert b"again" in letter.envelope.body
    assert seen == [BROKEN]


def test_a_handler_that_fails_leaves_the_call_in_a_dead_letter():
    router, _ = bot_of(reason="blocked")

    @router.refused("entities")
    async def fails(ctx: RefusedContext) -> None:
        raise Reject("no")

    with Conversations(router) as bot:
        bot.chat("Alice").says("/broken", failing=True)
        (letter,) = bot.dead_letters()
        assert (letter.queue, letter.reason) == (Queue.INBOX, "no")
        assert BROKEN.encode() in letter.envelope.body


def test_it_comes_after_what_is_pending_and_in_the_lane_of_the_chat():
    router, _ = bot_of()
    with Conversations(router) as bot:
        team = bot.group("Team")
        alice = team.member("Alice")
        alice.says("/broken")
        texts = [each["text"] for each in alice.messages if each["from"]["is_bot"]]
        assert texts == ["next", f"{BROKEN} 1"]


# ---- the end of the call and the event are one step

REFUSED = Refused("sendMessage", 400, "Bad Request: message is too long", {})


class Refusing:
    async def post(self, method: str, body: bytes) -> None:
        raise REFUSED

    async def upload(self, method: str, body: bytes, files: Files) -> object:
        raise REFUSED


def work(body: bytes) -> Work:
    envelope = Envelope(3, "chat:7", "", body)
    return Work(Delivery(Lease(Queue.OUTBOX, "chat:7", 1), envelope, 1, None))


def test_the_event_is_posted_by_the_commit_of_the_call():
    def effects() -> Effects:
        sender = Sender(Refusing(), refused=[wanted_of((), ())])
        return run_virtual(sender(work(encode_call("sendMessage", {"chat_id": 7, "text": "x"}))))

    (post,) = effects().posts
    assert (post.key, post.scope, post.after_s) == ("chat:7", "7", 0.0)


def test_a_quiet_call_is_a_dead_letter():
    body = quiet(encode_call("sendMessage", {"chat_id": 7, "text": "x"}))
    sender = Sender(Refusing(), refused=[wanted_of((), ())])
    with pytest.raises(Reject):
        run_virtual(sender(work(body)))


@pytest.mark.parametrize("name", [None, "menu"])
def test_quiet_keeps_the_other_columns(name: str | None):
    plain = encode_call("sendMessage", {"text": "\tquiet\n"}, name)
    made = quiet(plain)
    assert (is_quiet(plain), is_quiet(made)) == (False, True)
    assert (naming_of(made), files_of(made)) == (naming_of(plain), ())


# ---- reasons, and wrong registrations


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        ("Forbidden: bot was blocked by the user", "blocked"),
        ("Bad Request: can't parse entities: Unsupported start tag", "entities"),
        ("Bad Request: not enough rights to send text messages to the chat", "rights"),
        ("Bad Request: have no rights to send a message", "rights"),
        ("Bad Request: need administrator rights in the channel chat", "rights"),
        ("Bad Request: CHAT_ADMIN_REQUIRED", "rights"),
        ("Bad Request: CHAT_WRITE_FORBIDDEN", "rights"),
        ("Bad Request: RIGHT_FORBIDDEN", "rights"),
        ("Bad Request: user is an administrator of the chat", "rights"),
        ("Bad Request: can't parse message text: Expected end tag at byte offset 5", "entities"),
        ("Forbidden: bot can't initiate conversation with a user", "blocked"),
        ("Bad Request: message to edit not found", "gone"),
        ("Bad Request: message is too long", "other"),
    ],
)
def test_the_reasons_of_refusals(description: str, kind: str):
    """The sources of the texts stand beside them, in refusals.py (_RIGHTS), errors.py (_UNPARSABLE), peers.py and late.py."""
    code = 403 if description.startswith("Forbidden") else 400
    assert kind_of(Refused("sendMessage", code, description, {})) == kind


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda router: router.refused("bloked"), ValueError, "did you mean 'blocked'"),
        (lambda router: router.refused(method="sendMesage"), ValueError, "did you mean 'sendMessage'"),
        (lambda router: router.refused(method=(5,)), TypeError, "a method is a text"),
        (lambda router: router.event("~refused"), ValueError, "does not begin with '~'"),
    ],
)
def test_a_wrong_registration_is_an_error_at_once(wrong: Any, error: Any, text: str):
    with pytest.raises(error, match=text):
        wrong(Router())


def test_a_router_without_such_handlers_wants_none():
    router = Router()

    @router.event("paid")
    async def paid(ctx: EventContext) -> None: ...

    assert wanted_by(router.entries()) == []
