"""Several processes over one PostgreSQL server: what an update costs all of them."""

import asyncio
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import structlog
import uvloop

from engine import Effects, Engine, EngineConfig, Inbox, Queue, Work
from engine.stores import open_store
from tests.bench.dispatch import CHATS, NOTHING
from tests.bench.material import batches
from tests.kit.database import Server


@contextmanager
def a_server() -> Iterator[Server]:
    """A server that syncs what it commits."""
    server = Server(disk=Path(), fsync="on", full_page_writes="on", shared_buffers="128MB")
    try:
        yield server
    finally:
        server.remove()


class Cpu:
    """CPU in seconds of this process and of the server, since it was made."""

    def __init__(self, server: Server) -> None:
        self._server = psutil.Process(server.pid)
        self._began = self._now()

    def _now(self) -> tuple[float, float]:
        times = self._server.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in self._server.children(recursive=True):
            each = child.cpu_times()
            total += each.user + each.system
        return time.process_time(), total

    def spent_us(self, updates: int) -> tuple[float, float]:
        """Microseconds per update: this process's, the server's."""
        ours, theirs = self._now()
        return 1e6 * (ours - self._began[0]) / updates, 1e6 * (theirs - self._began[1]) / updates


async def share(url: str, updates: int) -> None:
    """A process of its own: handle until a line comes, and print how many were handled, and the CPU in us."""
    store = await open_store(url, "1", shared=True)
    handled = 0

    async def no_op(_: Work) -> Effects:
        nonlocal handled
        handled += 1
        return NOTHING

    async with asyncio.TaskGroup() as group:
        engine = Engine(store, Queue.INBOX, no_op, EngineConfig(workers=128))
        engine.start(group)
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sys.stdin.readline)
        began, handled = time.process_time(), 0
        if updates:
            inbox = Inbox(store)
            for batch in batches(updates, CHATS):
                await inbox.accept(await inbox.right(), batch)
            print("appended", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        print(handled, int(1e6 * (time.process_time() - began)), flush=True)
        await engine.drain(loop.time() + 5)
    await store.close()


async def shared(server: Server, schema: str, updates: int, processes: int) -> tuple[float, float, float]:
    """Several processes: updates per second, all processes' CPU and the server's per update in us."""
    pipe = asyncio.subprocess.PIPE
    running = []
    for number in range(processes):
        command = (
            sys.executable,
            "-m",
            "tests.bench.sharing",
            server.url(schema),
            str(0 if number else updates),
        )
        each = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        running.append(each)
        await _line(each)
    watching = await asyncpg.connect(server.url().partition("?")[0])
    owners = f"SELECT count(DISTINCT owner) FROM {schema}.share WHERE owner IS NOT NULL"
    while await watching.fetchval(owners) < processes:
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    cpu, began = Cpu(server), time.perf_counter()
    for each in running:
        _write(each)
    await _line(running[0])
    while await watching.fetchval(f"SELECT count(*) FROM {schema}.inbox"):
        await asyncio.sleep(0.02)
    took, theirs = time.perf_counter() - began, cpu.spent_us(updates)[1]
    await watching.close()
    ours = 0
    for each in running:
        _write(each)
        ours += int((await _line(each)).split()[1])
        await each.wait()
    return updates / took, ours / updates, theirs


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line, "a process has ended"
    return line


def _write(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    uvloop.run(share(sys.argv[1], int(sys.argv[2])))
