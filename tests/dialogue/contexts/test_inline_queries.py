"""Inline queries are answered while the private chat works, and only the newest that waits is handled.

Telegram shows the results of what was typed last; what was typed before is of no use (Telegram Bot API, InlineQuery).

Met by others: eternnoir/pyTelegramBotAPI#1615 and telegraf/telegraf#1652 ("query is too old", since each letter is searched for).
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from telegram.dialogue import Context, MessageContext, Retry, Router
from tests.kit.rig import STORES, open_rig, text, typed
from tests.kit.virtual import run_virtual


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Search:
    """A text takes 40 s, a search as long as it is told; both count in the private chat's data."""

    def __init__(self, took_s: float = 0.0) -> None:
        self.searched: list[str] = []
        self.router = router = Router()

        @router.message()
        async def works(ctx: MessageContext) -> None:
            await asyncio.sleep(40)
            ctx.data["texts"] = ctx.data.get("texts", 0) + 1

        @router.inline_query()
        async def searches(ctx: Context[Any]) -> None:
            self.searched.append(ctx.event.query)
            await asyncio.sleep(took_s)
            ctx.data["searched"] = [*ctx.data.get("searched", []), ctx.event.query]
            ctx.call("answerInlineQuery", inline_query_id=ctx.event.id, results=[])


def test_an_inline_query_is_answered_while_the_private_chat_works(store: str, tmp_path: Path):
    """Red before: answered at 40 s, and left out: Telegram takes no answer then."""

    async def main() -> None:
        async with open_rig(store, tmp_path, Search().router) as rig:
            await rig.comes(text("hi"))
            await asyncio.sleep(0.5)
            await rig.comes(typed("cat", "1"))
            await rig.settles()
            assert [each.at < 1 for each in rig.sent("answerInlineQuery")] == [True]
            assert await rig.data("chat:7") == {"searched": ["cat"], "texts": 1}

    run_virtual(main())


def test_of_those_that_wait_only_the_newest_is_handled(store: str, tmp_path: Path):
    """The first has begun, and is finished; nothing of it is lost without a word."""
    search = Search(took_s=2)

    async def main() -> None:
        async with open_rig(store, tmp_path, search.router) as rig:
            with structlog.testing.capture_logs() as logs:
                for n, query in enumerate(("c", "ca", "cat", "cats")):
                    await rig.comes(typed(query, str(n)))
                    await asyncio.sleep(0.2)
                await rig.settles()
            assert search.searched == ["c", "cats"]
            assert [each.params["inline_query_id"] for each in rig.sent("answerInlineQuery")] == ["0", "3"]
            assert rig.handler.dropped.counts == {"superseded": 2}
            lines = [
                (line["id"], line["newer"], line["log_level"]) for line in logs if "left out" in line["event"]
            ]
            assert lines == [(2, 3, "debug"), (3, 4, "debug")]
            stats = (await rig.store.stats()).inbox
            assert (stats.appended, stats.committed, stats.dead) == (4, 4, 0)

    run_virtual(main())


def test_who_types_eight_letters_waits_for_two_searches_and_not_for_eight(store: str, tmp_path: Path):
    """telegraf/telegraf#1652: a search takes three seconds, each letter is one, and the answers came too late."""
    search = Search(took_s=3)

    async def main() -> None:
        async with open_rig(store, tmp_path, search.router) as rig:
            for n in range(1, 9):
                await rig.comes(typed("shingeki"[:n], str(n)))
                await asyncio.sleep(0.3)
            await rig.settles()
            newest = rig.sent("answerInlineQuery")[-1]
            assert (newest.params["inline_query_id"], newest.at < 7) == ("8", True)

    run_virtual(main())


def test_an_answer_that_comes_too_late_holds_up_nothing(store: str, tmp_path: Path):
    """eternnoir/pyTelegramBotAPI#1615: a search of 20 s. What is typed after it is searched for, and answered."""
    router = Router()

    @router.inline_query()
    async def searches(ctx: Context[Any]) -> None:
        await asyncio.sleep(20 if ctx.event.query == "slow" else 0)
        ctx.call("answerInlineQuery", inline_query_id=ctx.event.id, results=[])

    async def main() -> None:
        async with open_rig(store, tmp_path, router) as rig:
            await rig.comes(typed("slow", "1"))
            await asyncio.sleep(15)
            await rig.comes(typed("quick", "2"))
            await rig.settles()
            assert [each.params["inline_query_id"] for each in rig.sent("answerInlineQuery")] == ["1", "2"]
            assert rig.out[-1].at < 21
            assert await rig.store.dead_letters() == []

    run_virtual(main())


def test_others_queries_and_other_updates_are_none_of_it(store: str, tmp_path: Path):
    search = Search(took_s=2)
    bob = {"id": 8, "is_bot": False, "first_name": "Bob"}

    async def main() -> None:
        async with open_rig(store, tmp_path, search.router) as rig:
            await rig.comes(typed("c", "1"), typed("dog", "2", **{"from": bob}))
            await asyncio.sleep(0.2)
            await rig.comes(typed("ca", "3"), text("inline_query"), typed("dogs", "4", **{"from": bob}))
            await rig.settles()
            assert sorted(search.searched) == ["c", "ca", "dog", "dogs"]

    run_virtual(main())


def test_in_the_chats_lane_of_an_older_file_other_updates_count_for_nothing(store: str, tmp_path: Path):
    search = Search()

    async def main() -> None:
        async with open_rig(store, tmp_path, search.router) as rig:
            await rig.comes(typed("c", "1"), text("hi"), typed("ca", "2"), text("inline_query"), key="chat:7")
            await rig.settles()
            assert search.searched == ["ca"]

    run_virtual(main())


def test_one_that_failed_is_not_tried_again_once_a_newer_one_waits(store: str, tmp_path: Path):
    router, tried = Router(), []

    @router.inline_query()
    async def searches(ctx: Context[Any]) -> None:
        tried.append(ctx.event.query)
        if ctx.event.query == "c":
            raise Retry("the search is down", after_s=5)
        ctx.call("answerInlineQuery", inline_query_id=ctx.event.id, results=[])

    async def main() -> None:
        async with open_rig(store, tmp_path, router) as rig:
            await rig.comes(typed("c", "1"))
            await asyncio.sleep(1)
            await rig.comes(typed("ca", "2"))
            await rig.settles()
            assert tried == ["c", "ca"]
            assert await rig.store.dead_letters() == []

    run_virtual(main())


@pytest.mark.parametrize("kill_at_s", [0.5, 2.5])
def test_after_a_kill_the_newest_of_those_that_wait_is_handled(kill_at_s: float, tmp_path: Path):
    async def life(search: Search, *, kill: bool) -> None:
        async with open_rig("sqlite", tmp_path, search.router) as rig:
            if kill:
                await rig.comes(typed("c", "1"))
                await asyncio.sleep(0.1)
                await rig.comes(typed("ca", "2"), typed("cat", "3"))
                await asyncio.sleep(kill_at_s)
            else:
                await rig.settles()
                assert await rig.data("chat:7") == {"searched": ["c", "cat"] if kill_at_s > 2 else ["cat"]}

    first, second = Search(took_s=2), Search(took_s=2)
    run_virtual(life(first, kill=True))
    run_virtual(life(second, kill=False))
    assert second.searched == ["cat"]
