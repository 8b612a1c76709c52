"""A steady 200 updates a second, as most bots never have: CPU per update of the bot's process, and how long an echo takes.

run.py is a process of its own, and so is the fake server. What a start costs is not counted.
"""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from telegram.fake.server.remote import RemoteFake
from telegram.load.bot.service import Service
from tests.bench.report import Row

RATE: Final = 200
CHATS: Final = 1000
_WARM_UP_S: Final = 2.0
_SECONDS: Final = 15.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")

Measured = tuple[float, float, float]
"""CPU per update in us; the median and the 99th percentile of the time to the echo, in ms."""


def cpu_s(pid: int) -> float:
    """CPU time of a process so far (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def measured(store_url: str, seconds: float) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            await RemoteFake.spawn(history=0) as fake,
            Service(
                Path(folder),
                fake.url,
                fake.token,
                HANDLERS="handlers.echo:router",
                MESSAGES_PER_S="0",
                STORE_URL=store_url,
            ) as bot,
        ):
            await bot.start()
            await say(fake, 0, _WARM_UP_S)
            before = cpu_s(bot.pid)
            sent = await say(fake, 1_000_000, seconds)
            took_s = cpu_s(bot.pid) - before
            await asyncio.sleep(0.5)
            echoed = {
                call.params["text"]: call.at for call in await fake.calls() if call.method == "sendMessage"
            }
            delays = sorted(1000 * (echoed[text] - at) for text, at in sent.items())
            await bot.stop()
    return took_s / len(sent) * 1e6, statistics.median(delays), delays[int(len(delays) * 0.99)]


async def say(fake: RemoteFake, first: int, seconds: float) -> dict[str, float]:
    """Write at RATE for so long; return when each text was written."""
    sent: dict[str, float] = {}
    began = time.monotonic()
    for number in range(int(RATE * seconds)):
        await asyncio.sleep(began + number / RATE - time.monotonic())
        text = f"text {first + number}"
        sent[text] = time.time()  # by the server's clock
        await fake.send_messages([(number % CHATS + 1, number % CHATS + 1, text)])
    return sent


def run(rounds: int, scale: float) -> list[Row]:
    rows: list[Row] = []
    for name, url in (("SQLite", "sqlite:bot.db"), ("memory", "memory:")):
        found = [asyncio.run(measured(url, _SECONDS * scale)) for _ in range(rounds)]
        cpu, median, p99 = (list(each) for each in zip(*found, strict=True))
        rows += [
            Row(f"{name}: CPU of the bot for an update", "us", cpu),
            Row(f"{name}: from the update to its echo, median", "ms", median),
            Row(f"{name}: the same, 99th percentile", "ms", p99),
        ]
    return rows
