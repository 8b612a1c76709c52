"""A request to join that Telegram waits for has a lane of its own; its conversation is the one in the group all the same.

Telegram Bot API, ChatJoinRequest: with a query_id the bot has 10 seconds for answerChatJoinRequestQuery.
"""

import asyncio
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from engine import Park
from telegram.dialogue import (
    CHAT,
    END,
    ChatContext,
    Context,
    End,
    Flow,
    MessageContext,
    Router,
    TimerContext,
    command,
    kind,
    text,
)
from tests.kit.deliveries import ALICE, GROUP, message
from tests.kit.rig import STORES, open_rig
from tests.kit.virtual import run_virtual

LANE = f"chat:{GROUP['id']}"
ASKER = str(ALICE["id"])


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def request_to_join(query_id: str | None = "q1") -> dict[str, Any]:
    request = {"chat": GROUP, "from": ALICE, "user_chat_id": ALICE["id"], "date": 1}
    return {"chat_join_request": request | ({"query_id": query_id} if query_id else {})}


def said(words: str) -> dict[str, Any]:
    return {"message": message(words, chat=GROUP)}


def doors(work_s: float = 30.0) -> Router:
    """A text is worked on and counted; a request to join is counted, answered and greeted."""
    router = Router()

    @router.message(text)
    async def works(ctx: MessageContext) -> None:
        if ctx.text == "closed" and not ctx.data.get("asked"):
            raise Park("closed", delay_s=200)
        ctx.data["texts"] = ctx.data.get("texts", 0) + 1
        await asyncio.sleep(work_s)
        ctx.reply(f"done {ctx.text}")

    @router.chat_join_request()
    async def asks(ctx: ChatContext[Any]) -> None:
        ctx.data["asked"] = ctx.data.get("asked", 0) + 1
        query = ctx.event.query_id
        if query is not None:
            ctx.call("answerChatJoinRequestQuery", chat_join_request_query_id=query, result="approve")
        ctx.reply("welcome")
        ctx.send(ctx.chat_id or 0, "somebody has come")
        ctx.set_timer("later", 60)

    @router.timer("later")
    async def later(ctx: TimerContext) -> None:
        ctx.reply(f"asked {ctx.data['asked']}")

    return router


@pytest.mark.parametrize("words", ["hi", "closed"])
def test_it_is_answered_while_the_group_works_or_is_parked(store: str, tmp_path: Path, words: str):
    """Red before: answered after 30 s, or after 200 s. Telegram has given it up after 10 s."""

    async def main() -> None:
        async with open_rig(store, tmp_path, doors()) as rig:
            await rig.comes(said(words))
            await asyncio.sleep(0.5)
            await rig.comes(request_to_join())
            await rig.settles()
            (answer,) = rig.sent("answerChatJoinRequestQuery")
            assert answer.at < 1
            state = await rig.data(LANE, ASKER)
            assert {name: state[name] for name in ("asked", "texts")} == {"asked": 1, "texts": 1}
            assert await rig.data(f"join_request:{GROUP['id']}:{ASKER}", ASKER) is None

    run_virtual(main())


def test_its_texts_are_replies_in_both_chats(store: str, tmp_path: Path):
    """Red before: the welcome was a post, behind two thousand others of a broadcast."""

    async def main() -> None:
        async with open_rig(store, tmp_path, doors()) as rig:
            await rig.comes(request_to_join())
            await rig.settles()
            assert [out.lane for out in rig.sent("sendMessage")] == [f"chat:{ASKER}", LANE]

    run_virtual(main())


@pytest.mark.parametrize("query_id", ["q1", None])
def test_a_timer_of_it_finds_what_is_remembered_in_the_group(
    store: str, tmp_path: Path, query_id: str | None
):
    async def main() -> None:
        async with open_rig(store, tmp_path, doors()) as rig:
            await rig.comes(request_to_join(query_id))
            await rig.settles()
            await rig.comes(request_to_join("q2"))
            await rig.settles()
            await asyncio.sleep(100)
            await rig.settles()
            assert rig.texts()[-1] == "asked 2"

    run_virtual(main())


def test_one_that_an_older_file_has_in_the_groups_lane_goes_on(store: str, tmp_path: Path):
    async def main() -> None:
        async with open_rig(store, tmp_path, doors()) as rig:
            await rig.comes(request_to_join(), key=LANE)
            await rig.settles()
            assert rig.sent("answerChatJoinRequestQuery")
            assert (await rig.data(LANE, ASKER))["asked"] == 1

    run_virtual(main())


class Step(Enum):
    WHY = "why"


class Nothing(BaseModel):
    pass


@pytest.mark.parametrize("scope", ["", CHAT])
@pytest.mark.parametrize("query_id", ["q1", None])
def test_a_flow_that_it_begins(store: str, tmp_path: Path, scope: Any, query_id: str | None):
    """A flow of the person goes on in private, where it asks; one of the chat belongs to the group."""
    flow: Flow[Step, Nothing, None] = Flow("why", Step, Nothing, scope=scope)
    flow.at(Step.WHY).ask("Why?")

    @flow.entry.update(kind("chat_join_request"))
    async def begin(ctx: Context[Any]) -> Literal[Step.WHY]:
        ctx.data["asked"] = 1
        return Step.WHY

    @flow.at(Step.WHY).message(text)
    async def because(ctx: MessageContext) -> End[None]:
        ctx.reply("thanks")
        return END

    @flow.anywhere.timeout(60)
    async def too_late(ctx: TimerContext) -> End[None]:
        ctx.reply("too late" if scope else f"too late {ctx.data.get('asked')}")
        return END

    router = Router()
    router.include(flow)

    async def main() -> None:
        async with open_rig(store, tmp_path, router) as rig:
            await rig.comes(request_to_join(query_id))
            await rig.settles()
            assert [(out.params["chat_id"], out.params["text"]) for out in rig.sent("sendMessage")] == [
                (ALICE["id"], "Why?")
            ]
            await rig.comes(said("because") if scope else {"message": message("because")})
            await rig.settles()
            assert rig.texts() == ["Why?", "thanks"]
            await rig.comes(request_to_join(query_id))
            await asyncio.sleep(100)
            await rig.settles()
            assert rig.texts() == ["Why?", "thanks", "Why?", "too late" if scope else "too late 1"]

    run_virtual(main())


def test_a_stop_of_the_group_ends_what_runs_for_the_request(store: str, tmp_path: Path):
    router = Router()

    @router.chat_join_request(stop=command("stop"))
    async def works(ctx: ChatContext[Any]) -> None:
        await asyncio.sleep(300)
        ctx.reply("never")

    @router.message(command("stop"))
    async def stopped(ctx: MessageContext) -> None:
        ctx.reply("stopped")

    async def main() -> None:
        async with open_rig(store, tmp_path, router) as rig:
            await rig.comes(request_to_join())
            await asyncio.sleep(1)
            await rig.comes(said("/stop"))
            await rig.settles()
            assert rig.texts()[0] == "stopped"

    run_virtual(main())
