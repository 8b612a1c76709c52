"""The bot under test of the campaigns on PostgreSQL: that of the load test, with a session of TORTURE_TTL_S seconds."""

import os
from typing import Any

from engine.stores.postgres import open_postgres
from telegram.load.bot.entry_point import router

__all__ = ["router"]

opening: Any = open_postgres
opening.__kwdefaults__["ttl_s"] = float(os.environ["TORTURE_TTL_S"])
