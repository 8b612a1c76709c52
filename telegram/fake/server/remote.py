"""The fake server in its own process, for benchmarks and load tests; a client of its control port."""

import asyncio
import json
import signal
import sys
import warnings
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from telegram.fake.protocol.answers import Json
from telegram.fake.world.flood import FloodLimits
from telegram.process.signals import send

from .calls import Call, Delivery, Stats
from .faults import Fault
from .server import DEFAULT_TOKEN

_ROOT = Path(__file__).parents[3]
_STOP_TIMEOUT_S = 60


class RemoteFake:
    """A running fake server: `url` and `token` for the bot, methods that act as the users. ValueError for bad input.

    async with await RemoteFake.spawn() as fake:
        await fake.send_messages([(42, 42, "hello")])
    """

    def __init__(self, process: Process, ready: dict[str, str]) -> None:
        self._process = process
        self._http = aiohttp.ClientSession(
            ready["control"],
            headers={"Authorization": f"Bearer {ready['control_key']}"},
            timeout=aiohttp.ClientTimeout(total=None),
            raise_for_status=_check,
        )
        self.url = ready["url"]
        self.token = ready["token"]
        self.pid = process.pid

    @classmethod
    async def spawn(
        cls,
        *,
        port: int = 0,
        token: str = DEFAULT_TOKEN,
        history: int = 200,
        seed: int | None = None,
        local: bool = False,
    ) -> Self:
        """Start the process and wait until it is ready; it ends with `stop()` or with this process. RuntimeError."""
        arguments = ["--port", str(port), "--token", token, "--history", str(history), "--until-eof"]
        if local:
            arguments.append("--local")
        if seed is not None:
            arguments += ["--seed", str(seed)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "telegram.fake", *arguments),
            stdin=PIPE,
            stdout=PIPE,
            cwd=_ROOT,
            start_new_session=True,  # Ctrl+C in a terminal does not reach it
        )
        line = await process.stdout.readline() if process.stdout else b""
        if not line:
            raise RuntimeError(f"the fake server did not start: exit code {await process.wait()}")
        return cls(process, json.loads(line))

    async def stop(self) -> int:
        """Send SIGTERM and wait for the end; return the exit code. TimeoutError."""
        await self._http.close()
        send(self._process, signal.SIGTERM)
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            return await self._process.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def send_messages(self, lines: Iterable[tuple[int, int, str]]) -> list[int]:
        """Send texts of users, (chat_id, user_id, text) each, in this order; return the update_ids (0: not queued)."""
        body = [{"chat": chat_id, "user": user_id, "text": text} for chat_id, user_id, text in lines]
        return list(await self._ask("POST", "/messages", body))

    async def say(self, lines: Iterable[tuple[int, int, str]]) -> list[int]:
        """The former name of `send_messages`."""
        warnings.warn("RemoteFake.say is now RemoteFake.send_messages", DeprecationWarning, stacklevel=2)
        return await self.send_messages(lines)

    async def press(self, chat_id: int, user_id: int, message_id: int, data: str) -> int:
        """Press an inline button; return the update_id."""
        press = {"chat": chat_id, "user": user_id, "message": message_id, "data": data}
        return int(await self._ask("POST", "/press", press))

    async def press_key(self, chat_id: int, user_id: int, button: str) -> int:
        """Press a button of the reply keyboard; return the update_id."""
        return int(await self._ask("POST", "/key", {"chat": chat_id, "user": user_id, "text": button}))

    async def shown(self, chat_ids: Iterable[int]) -> list[tuple[Json | None, list[list[str]]]]:
        """Return for each private chat the bot's newest message and the labels of the reply keyboard (`World.shown`)."""
        return [(message, keys) for message, keys in await self._ask("POST", "/shown", list(chat_ids))]

    async def act(self, acts: Iterable[tuple[int, str, str, int]]) -> list[int]:
        """Perform actions of users, (chat, "text" | "press" | "key", text or data, message) each; return the update_ids.

        0 for an action that is no longer possible or whose update was not queued.
        """
        return list(await self._ask("POST", "/act", list(acts)))

    async def push(self, kind: str, payload: Json) -> int:
        """Push an update of any kind; return its id."""
        return int(await self._ask("POST", "/push", {"kind": kind, "payload": payload}))

    async def push_raw(self, rest: bytes) -> int:
        """Push the update `{"update_id":N,` + rest + `}` with any bytes; return its id."""
        async with self._http.post("/raw", data=rest) as answer:
            return int(await answer.json())

    async def calls(self, since: int = 0) -> list[Call]:
        """Return all calls with a number above `since` that were not forgotten."""
        calls: list[Call] = []
        while rows := await self._ask("GET", f"/calls?since={calls[-1].n if calls else since}"):
            calls += [Call(*row) for row in rows]
        return calls

    async def deliveries(self, since: int = 0) -> list[Delivery]:
        """Return the latest requests to the bot's webhook with a number above `since`."""
        found: list[Delivery] = []
        while rows := await self._ask("GET", f"/deliveries?since={found[-1].n if found else since}"):
            found += [Delivery(*row) for row in rows]
        return found

    async def forget(self, through: int) -> None:
        """Drop the calls up to number `through`, to bound the server's memory in long runs."""
        await self._ask("POST", "/forget", {"through": through})

    async def wait_for_calls(
        self,
        n: int,
        method: str | None = None,
        *,
        delivered: bool | None = None,
        timeout_s: float = 60.0,
    ) -> list[Call]:
        """Wait for `n` calls of `method` (None: any) and return them; TimeoutError contains the number found."""
        query = {"n": str(n), "timeout_s": str(timeout_s)}
        if method is not None:
            query["method"] = method
        if delivered is not None:
            query["delivered"] = str(delivered).lower()
        async with self._http.get("/wait", params=query, raise_for_status=False) as answer:
            if answer.status == 504:
                raise TimeoutError(await answer.text())
            await _check(answer)
            return [Call(*row) for row in await answer.json()]

    async def add_fault(self, fault: Fault) -> None:
        """Activate a fault; `faults()` returns its hits."""
        await self._ask("POST", "/faults", fault.as_json())

    async def faults(self) -> list[Fault]:
        """Return copies of the active faults, with their hits."""
        return [Fault(**values) for values in await self._ask("GET", "/faults")]

    async def clear_faults(self) -> None:
        """Remove all faults; requests that hang in them end."""
        await self._ask("DELETE", "/faults")

    async def limit(self, limits: FloodLimits | None) -> None:
        """Enable flood control with these limits; None disables it."""
        if limits is None:
            await self._ask("DELETE", "/flood")
        else:
            await self._ask("POST", "/flood", asdict(limits))

    async def down(self) -> None:
        """Close the Bot API's port and all its connections."""
        await self._ask("POST", "/down")

    async def up(self) -> None:
        """Open the Bot API's port again; its number and all state are unchanged."""
        await self._ask("POST", "/up")

    async def restart_ids(self, next_id: int) -> None:
        """Continue update ids with `next_id`, as Telegram does after an idle week; waiting updates expire."""
        await self._ask("POST", "/restart-ids", {"next_id": next_id})

    async def stats(self) -> Stats:
        """Return the counters since the start."""
        return Stats(**await self._ask("GET", "/stats"))

    async def _ask(self, verb: str, path: str, body: object = None) -> Any:
        async with self._http.request(verb, path, json=body) as answer:
            return await answer.json()


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        raise ValueError(await answer.text())
