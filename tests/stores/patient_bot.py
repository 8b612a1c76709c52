"""The bot of the load test, whose processes take a silent one for dead after a minute only: before that its supervisor has to act."""

from typing import Any

from engine.stores.postgres import open_postgres, session
from telegram.load.bot.entry_point import router

__all__ = ["router"]

opening: Any = open_postgres
opening.__kwdefaults__["ttl_s"] = 60.0
session._SILENT_S = 59.0  # type: ignore[misc] # final elsewhere
