"""Waiting for what a store does by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from engine import StoreUnavailable
from tests.kit.bounds import WITHIN_S

T = TypeVar("T")

_LOOK_EVERY_S = 0.01
_AGAIN_S = 0.05


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds; TimeoutError after WITHIN_S."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(_LOOK_EVERY_S)


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Repeat a request while the store is unavailable, as the engine does; TimeoutError after WITHIN_S."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await act()
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_S)
