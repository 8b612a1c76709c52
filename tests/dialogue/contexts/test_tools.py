"""What a bot's contexts share: resources while they are open, and where progress is shown."""

from collections.abc import AsyncIterator

import pytest

from telegram.dialogue import Router, Tools
from telegram.dialogue.contexts.tools import SHOWN_MAX


async def test_a_resource_can_be_used_while_it_is_open():
    router = Router()

    @router.resource
    async def pool() -> AsyncIterator[str]:
        yield "the pool"

    tools = Tools()
    async with tools.open([pool]):
        assert tools.use(pool) == "the pool"
    with pytest.raises(RuntimeError, match="pool is not open"):
        tools.use(pool)


def test_the_oldest_progress_is_forgotten():
    tools = Tools()
    for number in range(SHOWN_MAX):
        tools.remember(f"{number}", number)
    tools.remember("0", 1_000_000)  # goes on
    tools.remember("2", None)  # is not shown any more
    tools.remember("new", 1)
    tools.remember("newer", 1)
    assert len(tools.shown) == SHOWN_MAX
    assert (tools.shown["0"], "1" in tools.shown, "2" in tools.shown, "3" in tools.shown) == (
        1_000_000,
        False,
        False,
        True,
    )
