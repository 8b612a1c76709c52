"""The contract on PostgreSQL."""

import time
from typing import Any

import pytest

from engine.stores.contract.effects import EffectsContract
from engine.stores.contract.store import StoreContract
from engine.stores.postgres import open_postgres


class TestPostgres(EffectsContract, StoreContract):
    @pytest.fixture(autouse=True)
    def no_time_outs(self, monkeypatch):
        """The loop's clock leaps by days, also while a look at the database is under way: it would be over, and the connection cut."""
        for name in ("connection.COMMAND_S", "reading._TIME_S", "source._TIME_S"):
            monkeypatch.setattr(f"engine.stores.postgres.{name}", None)

    @pytest.fixture
    async def open_store(self, database, new_bot):
        opened: list[Any] = []

        async def open_(limits=None, wall=time.time):
            store = await open_postgres(
                database.url(),
                new_bot(),
                limits=limits,
                wall=wall,
                renew_every_s=None,  # the loop's clock may leap
            )
            opened.append(store)
            return store

        yield open_
        for store in opened:
            await store.close()


class TestPostgresWithNothingAtHand(TestPostgres):
    """Every body and every state is read from the database: what is kept in memory is only a shortcut."""

    @pytest.fixture(autouse=True)
    def nothing_at_hand(self, monkeypatch):
        monkeypatch.setattr("engine.embedded.at_hand.ENVELOPES_BYTES_MAX", 0)
        monkeypatch.setattr("engine.embedded.at_hand.STATES_BYTES_MAX", 0)
