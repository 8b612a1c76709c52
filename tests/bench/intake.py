"""Hostile replies of getUpdates: time per byte whatever the size, how long the event loop is held up, and memory."""

import asyncio
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from telegram.client import SPLIT_HERE_MAX
from telegram.intake import BrokenReply, split
from telegram.intake_large import split_large
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


def read(reply: bytes) -> None:
    """As the client does it."""
    with suppress(BrokenReply):
        (split if len(reply) <= SPLIT_HERE_MAX else split_large)(reply)


def reply_of(name: str, size: int) -> bytes:
    return b'{"ok":true,"result":[' + HOSTILE[name](size) + b"]}"


def ns_per_byte(reply: bytes) -> float:
    """The best of several, of at least 10 ms each."""
    best = float("inf")
    for _ in range(3):
        count, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < 0.01 or not count:
            read(reply)
            count += 1
        best = min(best, took / count)
    return best * 1e9 / len(reply)


async def blocked_ms(reply: bytes) -> float:
    """The longest time between two steps of the loop while a reply is read."""
    reading = asyncio.create_task(
        asyncio.to_thread(read, reply) if len(reply) > SPLIT_HERE_MAX else here(reply)
    )
    longest, before = 0.0, time.perf_counter()
    while not reading.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest * 1e3


async def here(reply: bytes) -> None:
    read(reply)


def memory(reply: bytes) -> float:
    """The peak beside the reply, in times of it."""
    tracemalloc.start()
    read(reply)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / len(reply)


def run(rounds: int, scale: float) -> list[Row]:
    """Measure the worst of the replies for each size; `scale` bounds the sizes."""
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
        if size >= SPLIT_HERE_MAX:
            worst = [
                max(asyncio.run(blocked_ms(reply_of(name, size))) for name in HOSTILE) for _ in range(rounds)
            ]
            rows.append(Row(f"{label}: the event loop is held up for", "ms", worst).at_most(BLOCKED_MAX_MS))
    biggest = {name: memory(reply_of(name, sizes[largest] // 4)) for name in HOSTILE}
    rows.append(Row("memory beside the reply", "times of it", [max(biggest.values())]).at_most(8))
    return rows
