"""Hostile replies of getUpdates: time per byte whatever the size, how long the event loop is held up, and memory."""

import asyncio
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from telegram.botapi.intake import BrokenReply
from telegram.botapi.intake_large import split_off_loop
from telegram.client.wire import POLL_ANSWER_MAX
from telegram.process.running import tune_garbage_collection
from tests.bench.report import Row

SIZES: Final = {"1 KB": 2**10, "16 KB": 2**14, "256 KB": 2**18, "1 MB": 2**20, "8 MB": 2**23, "32 MB": 2**25}
HOSTILE: Final[dict[str, Callable[[int], bytes]]] = {
    "items": lambda size: b"x," * (size // 2),
    "lists in a list": lambda size: b"[" + b"[]," * (size // 3),
    "open lists": lambda size: b"[" * size,
    "closed lists": lambda size: b"]" * size,
    "an object": lambda size: b'{"a":{' + b'"b":{},' * (size // 7) + b'"c":1}}',
    "a text": lambda size: b'{"a":"' + b"x" * size + b'"}',
    "a text of quotes": lambda size: b'{"a":"' + b'\\"' * (size // 2) + b'"}',
    "a text without an end": lambda size: b'{"a":"' + b"x," * (size // 2),
    "ends": lambda size: b"]}" * (size // 2),
    "nearly beginnings": lambda size: b',{"update_id" ' * (size // 14),
    "white space": lambda size: b" " * size,
    "no UTF-8": lambda size: b"\xff" * size,
    "100 updates of lists": lambda size: b",".join([b'{"a":[' + b"[]," * (size // 300) + b"1]}"] * 100),
}
BLOCKED_MAX_MS: Final = 50.0
FLAT_MAX: Final = 1.5
MEMORY_MAX: Final = 24.0
"""While one update of half a megabyte is parsed; 2 to 3 of a longer reply."""


async def read(reply: bytes) -> None:
    """As the client does it."""
    with suppress(BrokenReply):
        await split_off_loop(reply)


def reply_of(name: str, size: int) -> bytes:
    return b'{"ok":true,"result":[' + HOSTILE[name](size) + b"]}"


def ns_per_byte(reply: bytes) -> float:
    """CPU time of this process, over at least 20 ms."""
    count, began = 0, time.process_time()
    while (took := time.process_time() - began) < 0.02 or not count:
        asyncio.run(read(reply))
        count += 1
    return took / count * 1e9 / len(reply)


async def blocked_ms(reply: bytes) -> float:
    """The longest CPU time of this process between two steps of the loop while a reply is read."""
    reading = asyncio.create_task(read(reply))
    longest, before = 0.0, time.process_time()
    while not reading.done():
        await asyncio.sleep(0)
        now = time.process_time()
        longest, before = max(longest, now - before), now
    return longest * 1e3


def memory(reply: bytes) -> float:
    """The peak beside the reply, in times of it."""
    tracemalloc.start()
    asyncio.run(read(reply))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / len(reply)


def run(rounds: int, scale: float) -> list[Row]:
    """Measure the worst of the replies for each size; `scale` bounds the sizes."""
    tune_garbage_collection()  # as the bot does
    sizes = {label: size for label, size in SIZES.items() if size <= 2**25 * scale}
    rows = []
    times: dict[str, list[float]] = {}
    for label, size in sizes.items():
        times[label] = [max(ns_per_byte(reply_of(name, size)) for name in HOSTILE) for _ in range(rounds)]
        rows.append(Row(f"{label}: CPU per byte of the worst", "ns", times[label]))
    least = "16 KB"
    largest = list(sizes)[-1]
    ratios = [large / small for large, small in zip(times[largest], times[least], strict=True)]
    rows.append(Row(f"{largest} against {least}, per byte", "ratio", ratios).at_most(FLAT_MAX))
    for label, size in sizes.items():
        if size <= POLL_ANSWER_MAX:
            worst = [
                max(asyncio.run(blocked_ms(reply_of(name, size))) for name in HOSTILE) for _ in range(rounds)
            ]
            rows.append(Row(f"{label}: the event loop is held up for", "ms", worst).at_most(BLOCKED_MAX_MS))
    most = max(memory(reply_of(name, 2**20)) for name in HOSTILE)
    rows.append(Row("1 MB: memory beside the reply", "times of it", [most]).at_most(MEMORY_MAX))
    return rows
