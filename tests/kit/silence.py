"""How long a bot waits for more of an album is said by the test: on a busy machine its messages may come at any time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from telegram.dialogue.routes import albums
from tests.kit.bounds import WITHIN_S


class Silence:
    """A wait for more of an album ends when it is `over`: when `of` so many updates, all that the test sends, have arrived."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.over = asyncio.Event()
        monkeypatch.setattr(albums, "asyncio", SimpleNamespace(sleep=self._sleep))

    async def of(self, store: Any, updates: int) -> None:
        """End the waits when so many updates have been appended to the inbox."""
        async with asyncio.timeout(WITHIN_S):
            while (await store.stats()).inbox.appended < updates:
                await asyncio.sleep(0.01)
        self.over.set()

    async def _sleep(self, _seconds: float) -> None:
        await self.over.wait()
