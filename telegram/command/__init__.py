"""The command line, and the composition root: `run.py`, `chatlane`, `python -m telegram.command`, `run(router)`.

- settings: all settings with the commands, and what is wrong with them
- main: reads the environment, puts the parts together, runs the bot or a command
- new: `chatlane new my_bot`, a folder with a bot of one's own (template)
"""

from telegram.command.main import console, run

__all__ = ["console", "run"]
