"""`python -m tests.peers`: the same echo job through other frameworks and Chatlane, interleaved; out/peers.json.

Their environment is made by `make bench-peers`.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Final

from tests.peers.contenders import CONTENDERS, PEERS_PYTHON, Contender
from tests.peers.figures import Figures, as_json, pins, table
from tests.peers.job import Size, one_round

OUT: Final = Path("out/peers.json")
LOCK: Final = Path(__file__).parent / "requirements.lock"
SHOWN: Final = ("aiogram", "python-telegram-bot", "pytelegrambotapi", "aiohttp")

LEGEND: Final = """
median of the rounds (lowest-highest)
updates/s        {speed:,} updates at once (fewer for who takes long), handlers do nothing
CPU s/1,000      CPU seconds of the bot's process, per 1,000 of them
overlapping      handlers that began while another of the same chat was at work: {order} updates, 5 in each chat,
                 handlers work 5 to 20 ms
swapped          neighbouring replies of a chat in the wrong order, there
lost             never answered, though nobody disturbed the bot
kill -9          with a quarter of {kill} updates answered, then a new start: how many were never answered, and how many
                 more than once; handlers as above
SIGTERM          the same with {sigterm} updates, and handlers that work 0.2 to 0.8 s
stop s           from SIGTERM to the end of the process, which is killed after 30 s
Each bot as its documentation starts it, named options apart; Chatlane as `make run` does, with SQLite on disk."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers ARGS=...", description=__doc__)
    parser.add_argument("only", nargs="*", help="bots whose name contains one of these; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is given (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the amounts of work, for a quick look")
    return parser.parse_args()


async def _all_rounds(contenders: list[Contender], rounds: int, size: Size) -> dict[str, list[Figures]]:
    figures: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
    for number in range(1, rounds + 1):
        for contender in contenders:
            began = time.monotonic()
            figures[contender.name].append(await one_round(contender, size))
            print(f"round {number}: {contender.name}, {time.monotonic() - began:.0f} s", flush=True)
    return figures


def _circumstances() -> str:
    versions = [f"{name} {version}" for name, version in pins(LOCK.read_text()).items() if name in SHOWN]
    load = f"{os.cpu_count()} CPUs with a load of {os.getloadavg()[0]:.1f} before"
    return ", ".join([*versions, f"Python {platform.python_version()}", load])


def main() -> int:
    """Measure, print, save."""
    given = _arguments()
    if not PEERS_PYTHON.exists():
        print(f"{PEERS_PYTHON} is missing: make bench-peers sets it up", file=sys.stderr)
        return 2
    wanted = [word.lower() for word in given.only] or [""]
    contenders = [each for each in CONTENDERS if any(word in each.name.lower() for word in wanted)]
    size = Size().times(given.scale)
    began, circumstances = time.monotonic(), _circumstances()
    figures = asyncio.run(_all_rounds(contenders, given.rounds, size))
    print(f"\n{table(figures)}")
    print(LEGEND.format(**size._asdict()))
    print(f"{circumstances}; {time.monotonic() - began:.0f} s")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"circumstances": circumstances, "bots": as_json(figures)}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
