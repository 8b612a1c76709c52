"""`python -m telegram.fake`: the fake server as a process.

The token and the control key are new at each start, so that no page of another site knows them. Prints one JSON line `{"url": ..., "token": ..., "control": ..., "control_key": ...}` when it is ready; stops on SIGTERM
and SIGINT.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable

from .server import FakeServer
from .server.access import new_key
from .server.control import Control
from .world.flood import FloodLimits

_BOT_ID = 4200000042


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m telegram.fake", description="A fake Bot API server.")
    parser.add_argument("--port", type=int, default=0, help="of the Bot API; 0 picks a free one")
    parser.add_argument("--control-port", type=int, default=0, help="of the control API; 0 picks a free one")
    parser.add_argument("--token", help="of the bot that is served; by default a random one")
    parser.add_argument("--history", type=int, default=200, help="messages kept per chat, 0 for none")
    parser.add_argument("--seed", type=int, default=None, help="of faults with a probability")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse parameters and values that are not in the Bot API's schema",
    )
    parser.add_argument(
        "--local", action="store_true", help="behave like a local Bot API server: files on the disk"
    )
    parser.add_argument("--limits", action="store_true", help="flood control: 429 as Telegram answers it")
    parser.add_argument("--until-eof", action="store_true", help="stop when standard input ends, too")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if arguments.until_eof:
        _at_eof(lambda: loop.call_soon_threadsafe(stop.set))
    server = FakeServer(
        arguments.token or f"{_BOT_ID}:{new_key()}",
        port=arguments.port,
        history=arguments.history,
        seed=arguments.seed,
        strict=arguments.strict,
        local=arguments.local,
    )
    if arguments.limits:
        server.world.limit(FloodLimits())
    control = Control(server, port=arguments.control_port)
    async with server:
        await control.start()
        ready = {
            "url": server.url,
            "token": server.token,
            "control": control.url,
            "control_key": control.key,
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stop.wait()
        await control.stop()


def _at_eof(call: Callable[[], object]) -> None:
    """Call `call` when standard input ends, which also happens when the parent is killed."""

    def wait() -> None:
        while os.read(
            0, 4096
        ):  # not sys.stdin: a thread that holds its lock breaks the interpreter's shutdown
            pass
        call()

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Serve until SIGTERM, SIGINT, or the end of standard input with --until-eof."""
    arguments = _arguments()
    if sys.platform == "win32":
        asyncio.run(_serve(arguments))
    else:
        import uvloop

        uvloop.run(_serve(arguments))


if __name__ == "__main__":
    main()
