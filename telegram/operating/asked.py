"""Where the commands of the command line ask (reaching.py)."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from telegram.operating.letters import Json


class Asked(NamedTuple):
    """`ask` takes the name of an action and its parameters. `is_running`: whether a bot runs."""

    ask: Callable[[str, Json], Awaitable[Json]]
    is_running: bool
