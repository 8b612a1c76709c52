"""The suite that every store passes, for the tests of a new store; it needs pytest and pytest-asyncio (auto mode).

    class TestMine(EffectsContract, StoreContract):
        @pytest.fixture
        async def open_store(self):
            async def open_(limits=None, wall=time.time):
                return MyStore(...)  # a new, empty one

            return open_

Only tests import this package.
"""

import pytest

pytest.register_assert_rewrite(*(f"engine.stores.contract.{each}" for each in ("store", "effects", "posts")))

from engine.stores.contract.appending import append  # noqa: E402 - after the line above, which must come first
from engine.stores.contract.effects import Clock, EffectsContract  # noqa: E402
from engine.stores.contract.store import StoreContract  # noqa: E402

__all__ = ["Clock", "EffectsContract", "StoreContract", "append"]
