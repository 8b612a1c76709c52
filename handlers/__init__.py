"""Your conversations. `router` is what the bot runs (setting HANDLERS); the first match wins.

To add one: write a file like survey.py, and include its router here, above echo.
"""

from handlers import echo, order, quiz, report, start, survey
from telegram.dialogue import Router

router = Router()
router.include(start.router)
router.include(survey.router)
router.include(order.router)
router.include(quiz.router)
router.include(report.router)
router.include(echo.router)  # takes every text, so it comes last
