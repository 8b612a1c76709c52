"""A large file to Telegram and back: over HTTP, and to a local server on the same disk. What counts is the memory.

The server is a plain one in a process of its own; the client runs in a new process for each round, so that its peak
is of this one transfer.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

import uvloop
from aiohttp import BodyPartReader, web

from telegram.botapi.files import InputFile
from telegram.client import TgClient
from tests.bench.report import Row

TOKEN = "1000000001:bench"
SIZE = 2**30
RSS_MAX_MB = 150
UPLOADS = ("upload", "upload, local")
WAYS = (*UPLOADS, "download", "download, local")


# -- the server ------------------------------------------------------------------------------------------------


class Server:
    """Takes files and throws them away, gives one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get_file(self, request: web.Request) -> web.Response:
        is_local = (await request.json())["file_id"] == "local"
        size = self._path.stat().st_size
        found = {"file_id": "x", "file_unique_id": "x", "file_size": size}
        return ok({**found, "file_path": str(self._path) if is_local else "x"})

    async def give(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(self._path)

    async def take(self, request: web.Request) -> web.Response:
        """Count the bytes of the document, as part of a form or on the disk."""
        size = 0
        if request.content_type == "application/json":
            with Path(unquote((await request.json())["document"].removeprefix("file://"))).open("rb") as file:
                while piece := await asyncio.to_thread(file.read, 2**20):
                    size += len(piece)
        else:
            async for part in await request.multipart():
                assert isinstance(part, BodyPartReader)
                while piece := await part.read_chunk(2**18):
                    size += len(piece) if part.filename else 0
        return ok({"message_id": size, "date": 1, "chat": {"id": 1, "type": "private"}})


def ok(result: object) -> web.Response:
    return web.json_response({"ok": True, "result": result})


async def serve(path: Path) -> None:
    server = Server(path)
    app = web.Application(client_max_size=2**40)
    app.add_routes(
        [
            web.post(f"/bot{TOKEN}/getFile", server.get_file),
            web.post(f"/bot{TOKEN}/sendDocument", server.take),
            web.get(f"/file/bot{TOKEN}/x", server.give),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent is gone
    await runner.cleanup()


# -- the client ------------------------------------------------------------------------------------------------


async def transfer(way: str, url: str, path: Path) -> None:
    """Print the seconds it took, and the peak of this process before and after, in MB."""
    size = path.stat().st_size
    is_local = way.endswith("local")
    root = path.parent if is_local else None
    async with TgClient(TOKEN, base_url=url, local=is_local, local_root=root) as client:
        before, started = peak_mb(), time.perf_counter()
        if way in UPLOADS:
            sent = await client.send_document(chat_id=1, document=InputFile(path))
            assert sent.message_id == size
        else:
            target = path.with_name("received")
            await client.download("local" if is_local else "http", target, limit_bytes=size)
            assert target.stat().st_size == size
        print(json.dumps([time.perf_counter() - started, before, peak_mb()]))


def peak_mb() -> float:
    """Of this program. (`ru_maxrss` would count what the parent had when it started us.)"""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


# -- the table -------------------------------------------------------------------------------------------------


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.bench.files", *map(str, arguments)]


@contextmanager
def a_server(path: Path) -> Iterator[str]:
    with subprocess.Popen(
        command("serve", path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


def run(rounds: int, scale: float) -> list[Row]:
    size = int(SIZE * scale)
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    peaks: dict[str, list[float]] = {way: [] for way in WAYS}
    starts: list[float] = []
    with TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        path = Path(folder).absolute() / "sparse"
        with path.open("wb") as file:
            file.truncate(size)
        with a_server(path) as url:
            for _ in range(rounds):
                for way in WAYS:
                    told = subprocess.check_output(command(way, path, url), text=True)
                    took_s, before, peak = json.loads(told)
                    rates[way].append(size / 2**20 / took_s)
                    peaks[way].append(peak)
                    starts.append(before)
    rows = [Row(f"{way}, {size / 2**30:.3g} GB", "MB/s", rates[way]) for way in WAYS]
    rows.append(Row("client before the transfer: peak RSS", "MB", starts))
    rows += [Row(f"{way}: peak RSS", "MB", peaks[way]).at_most(RSS_MAX_MB) for way in WAYS]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.files", description="one side of a transfer")
    parser.add_argument("side", choices=["serve", *WAYS])
    parser.add_argument("path", type=Path)
    parser.add_argument("url", nargs="?", default="")
    args = parser.parse_args()
    work = serve(args.path) if args.side == "serve" else transfer(args.side, args.url, args.path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


if __name__ == "__main__":
    main()
