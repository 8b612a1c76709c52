"""Your conversations. `router` is what the bot runs (setting HANDLERS); the first match wins.

To add one: write a file like echo.py, and include its router here, above echo.
"""

from handlers import echo, start
from telegram.dialogue import Router

router = Router()
router.include(start.router)
router.include(echo.router)  # takes every text, so it comes last
