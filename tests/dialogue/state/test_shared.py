"""Data of a chat, a user and the bot: read before the handler, saved with the commit, compared when another lane writes it."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, Field

from telegram.dialogue import (
    Context,
    EventContext,
    MessageContext,
    Retry,
    Router,
    TimerContext,
    command,
    data,
    inline,
    text,
)
from telegram.dialogue.contexts.updates import CallbackContext
from telegram.testing import Conversations
from tests.kit.docs import modules


class Settings(BaseModel):
    lang: str = "en"
    votes: dict[str, int] = Field(default_factory=dict)


def test_the_chats_data_is_of_all_who_write_there_and_the_users_of_all_chats():
    router = Router()
    chat, user = router.chat_data(Settings), router.user_data(dict)

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        chat(ctx).votes[ctx.text] = chat(ctx).votes.get(ctx.text, 0) + 1
        ctx.user_data["n"] = ctx.user_data.get("n", 0) + 1
        ctx.reply(f"{ctx.chat_data.votes} {user(ctx)['n']}")

    with Conversations(router) as bot:
        team, other = bot.group("Team"), bot.group("Other")
        team.member("Alice").says("a")
        team.member("Bob").says("a")
        bot.restart()
        team.member("Alice").says("b")
        alice = other.member("Alice")
        alice.says("a")
        sent = [each.params["text"] for each in bot.calls("sendMessage")]
        assert sent == ["{'a': 1} 1", "{'a': 2} 1", "{'a': 2, 'b': 1} 2", "{'a': 1} 3"]


def test_lanes_that_change_the_bots_data_at_once_lose_no_change():
    """In python-telegram-bot concurrent handlers overwrite each other's bot_data, as its documentation warns."""
    router = Router()
    router.bot_data(dict)
    runs = []

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        n = ctx.bot_data.get("n", 0)
        runs.append(ctx.user_id)
        await asyncio.sleep(1)
        ctx.bot_data["n"] = n + 1

    @router.message(command("show"))
    async def show(ctx: MessageContext) -> None:
        ctx.reply(str(ctx.bot_data["n"]))

    with Conversations(router) as bot:
        for name in "ABCDE":
            bot.chat(name).says("x", wait=False)
        bot.settles()
        alice = bot.chat("A")
        alice.says("/show")
        assert alice.sees("5")
        assert len(runs) > 5  # some ran again


def test_whoever_only_reads_neither_writes_nor_runs_again():
    router = Router()
    bot_data = router.bot_data(Settings)
    runs = []

    @router.message(command("set"))
    async def set_(ctx: MessageContext) -> None:
        bot_data(ctx).lang = ctx.args

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        runs.append(bot_data(ctx).lang)
        await asyncio.sleep(1)

    with Conversations(router) as bot:
        bot.chat("Alice").says("x", wait=False)
        bot.chat("Bob").says("/set de")
        bot.settles()
        bot.chat("Alice").says("x")
        assert runs == ["en", "de"]
        assert set(bot._store._data.states) == {("bot", "~bot_data")}


def test_a_failed_handler_changes_nothing():
    router = Router()
    router.chat_data(dict)

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        ctx.chat_data["n"] = ctx.chat_data.get("n", 0) + 1
        if ctx.attempt == 1:
            raise Retry("again")
        ctx.reply(str(ctx.chat_data["n"]))

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x", failing=True)
        bot.passes(minutes=1)
        assert alice.sees("1")


def test_older_data_is_migrated_and_what_is_not_valid_is_never_dropped():
    class New(BaseModel):
        languages: list[str] = []

    def router_of(model: Any, version: int = 1, migrate: Any = None) -> Router:
        router = Router()
        router.chat_data(model, version=version, migrate=migrate)

        @router.message(command("set"))
        async def set_(ctx: MessageContext) -> None:
            ctx.chat_data.lang = ctx.args

        @router.message(text)
        async def said(ctx: MessageContext) -> None:
            ctx.reply(repr(ctx.chat_data))

        return router

    def convert(version: int, data: dict[str, Any]) -> dict[str, Any]:
        assert version == 1
        return {"languages": [data["lang"]]}

    def becomes(bot: Conversations, router: Router) -> None:
        bot._router = router
        bot.restart()

    with Conversations(router_of(Settings)) as bot:
        alice = bot.chat("Alice")
        alice.says("/set de")
        becomes(bot, router_of(New, 2, convert))
        alice.says("x")
        assert alice.sees("New(languages=['de'])")

        class Strict(BaseModel):
            lang: int = 0

        becomes(bot, router_of(Strict, 3))
        alice.says("x", failing=True)
        (letter,) = bot.dead_letters()
        assert letter.reason.startswith("chat_data cannot be read (version 1, this one is 3): ")
        becomes(bot, router_of(Settings))
        alice.says("x")
        assert alice.sees("lang='de'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update({1: 2}), "chat_data has the key 1 of type int"),
        (lambda data: data.update(a={"b": {1, 2}}), "chat_data['a']['b'] is a set"),
    ],
)
def test_values_that_json_would_change_are_refused_with_their_path(change, message):
    router = Router()
    router.chat_data(dict)

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        change(ctx.chat_data)

    with Conversations(router) as bot:
        bot.chat("Alice").says("x", failing=True)
        assert any(message in str(each) for each in bot.failures)


def test_a_field_of_another_type_is_refused():
    router = Router()
    chat = router.chat_data(Settings)

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        chat(ctx).lang = 5  # type: ignore[assignment]

    with Conversations(router) as bot:
        bot.chat("Alice").says("x", failing=True)
        assert "lang" in str(bot.failures[0])


def test_empty_data_is_deleted():
    router = Router()
    router.user_data(dict)

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        if ctx.text == "clear":
            ctx.user_data.clear()
        else:
            ctx.user_data["x"] = ctx.text

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("a")
        assert bot._store._data.states
        alice.says("clear")
        assert not bot._store._data.states


def test_buttons_timers_and_events_have_the_same_data():
    router = Router()
    chat = router.chat_data(Settings)
    user = router.user_data(dict)
    seen = []

    def note(ctx: Context) -> None:
        seen.append((ctx.kind, chat(ctx).lang, user(ctx).get("n")))

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        chat(ctx).lang, user(ctx)["n"] = "de", 1
        ctx.set_timer("t", 60)
        ctx.reply("?", reply_markup=inline([("Go", "go")]))

    @router.callback_query(data("go"))
    async def go(ctx: CallbackContext) -> None:
        note(ctx)

    @router.timer("t")
    async def fired(ctx: TimerContext) -> None:
        note(ctx)

    @router.event("e")
    async def event(ctx: EventContext) -> None:
        note(ctx)

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        alice.presses("Go")
        bot.post(alice.id, "e")
        bot.passes(minutes=2)
        assert seen == [("callback_query", "de", 1), ("event", "de", 1), ("timer", "de", 1)]


def test_filters_may_read_it():
    router = Router()
    chat = router.chat_data(Settings)

    def is_german(ctx: Context) -> bool:
        return chat(ctx).lang == "de"

    @router.message(command("de"))
    async def german(ctx: MessageContext) -> None:
        chat(ctx).lang = "de"

    @router.message(text, is_german)
    async def hallo(ctx: MessageContext) -> None:
        ctx.reply("Hallo")

    with Conversations(router) as bot:
        alice = bot.chat("Alice")
        alice.says("x")
        assert not bot.calls("sendMessage")
        alice.says("/de")
        alice.says("x")
        assert alice.sees("Hallo")


def test_what_an_update_has_not_is_one_line():
    router = Router()
    router.user_data(dict)
    ended: list[str] = []

    @router.event("e")
    async def event(ctx: EventContext) -> None:
        with pytest.raises(ValueError, match="user_data: this event has no user"):
            _ = ctx.user_data
        with pytest.raises(
            RuntimeError, match=r"no router declares chat_data: write router.chat_data\(Model\)"
        ):
            _ = ctx.chat_data
        ended.append(ctx.event_name)

    with Conversations(router) as bot:
        team = bot.group("Team")
        bot.post(team.id, "e")
    assert ended == ["e"]


class Lacks(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("model", "version", "message"),
    [
        (Lacks, 1, "chat_data: give every field of Lacks a default: name"),
        (list, 1, "chat_data: a pydantic model, or dict, not <class 'list'>"),
        (Settings(), 1, "chat_data: a pydantic model, or dict, not Settings"),
        (Settings, "2", "chat_data: version is an int, not '2'"),
    ],
)
def test_a_wrong_declaration_is_one_line(model, version, message):
    with pytest.raises(TypeError) as raised:
        Router().chat_data(model, version=version)
    assert str(raised.value).startswith(message)


def test_data_is_declared_once():
    router, inner = Router(), Router()
    router.chat_data(Settings)
    router.include(inner)
    inner.chat_data(dict)
    with (
        pytest.raises(ValueError, match="chat_data is declared twice, with Settings and dict"),
        Conversations(router),
    ):
        pass


def test_a_router_that_declares_nothing_reads_nothing():
    router = Router()

    @router.message(text)
    async def said(ctx: MessageContext) -> None:
        ctx.reply("ok")

    with Conversations(router) as bot:
        reads = []
        state = bot._store.state

        async def reading(*where: Any) -> bytes | None:
            reads.append(where)
            return await state(*where)

        bot._store.state = reading  # type: ignore[method-assign, assignment]
        bot.chat("Alice").says("x")
        assert reads == []


def test_the_example_of_the_documentation():
    with modules("data.md") as made, Conversations(made["votes"].router) as bot:
        team = bot.group("Team")
        team.member("Alice").says("/vote tea")
        bot.group("Other").member("Alice").says("/vote tea")
        team.member("Bob").says("/vote tea")
        sent = [each.params["text"].split("; ") for each in bot.calls("sendMessage")]
        assert [each[0] for each in sent] == ["tea: 1", "tea: 1", "tea: 2"]
        assert [each[1][-1] for each in sent] == ["1", "2", "1"]
        team.member("Bob").says("/quiet")
        team.member("Bob").says("/vote tea")
        assert len(bot.calls("sendMessage")) == 3
