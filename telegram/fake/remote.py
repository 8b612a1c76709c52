"""The fake server in a process of its own, for benchmarks and fault campaigns: nobody else has to speak HTTP to it."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from .answers import Json
from .calls import Call, Stats
from .faults import Fault
from .flood import FloodLimits
from .server import DEFAULT_TOKEN

_ROOT = Path(__file__).parents[2]
_STOP_TIMEOUT_S = 10


class RemoteFake:
    """A running fake server: `url` and `token` for the bot, methods for who plays the people.

    async with await RemoteFake.spawn() as fake:
        await fake.say([(42, 42, "hello")])
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
    ) -> Self:
        """Start the process and wait until it is ready; it ends with `stop()`, and with this process."""
        arguments = ["--port", str(port), "--token", token, "--history", str(history), "--until-eof"]
        if seed is not None:
            arguments += ["--seed", str(seed)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "telegram.fake", *arguments),
            stdin=PIPE,
            stdout=PIPE,
            cwd=_ROOT,
            start_new_session=True,  # Ctrl+C in a terminal is for whoever started us
        )
        line = await process.stdout.readline() if process.stdout else b""
        if not line:
            raise RuntimeError(f"the fake server did not start: exit code {await process.wait()}")
        return cls(process, json.loads(line))

    async def stop(self) -> int:
        """End the process as SIGTERM does; returns its exit code."""
        await self._http.close()
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            return await self._process.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def say(self, lines: Iterable[tuple[int, int, str]]) -> list[int]:
        """Each (chat_id, user_id, text) is written, in this order; returns the update_ids (0: not taken)."""
        body = [{"chat": chat_id, "user": user_id, "text": text} for chat_id, user_id, text in lines]
        return list(await self._ask("POST", "/say", body))

    async def press(self, chat_id: int, user_id: int, message_id: int, data: str) -> int:
        """A user presses an inline button."""
        press = {"chat": chat_id, "user": user_id, "message": message_id, "data": data}
        return int(await self._ask("POST", "/press", press))

    async def press_key(self, chat_id: int, user_id: int, button: str) -> int:
        """A user presses a key in place of the letters."""
        return int(await self._ask("POST", "/key", {"chat": chat_id, "user": user_id, "text": button}))

    async def shown(self, chat_ids: Iterable[int]) -> list[tuple[Json | None, list[list[str]]]]:
        """What the persons of private chats see: the bot's newest message, and the labels of the keys below the chat."""
        return [(message, keys) for message, keys in await self._ask("POST", "/shown", list(chat_ids))]

    async def act(self, acts: Iterable[tuple[int, str, str, int]]) -> list[int]:
        """Each (chat, "text" | "press" | "key", text or data, message) is done; returns the update_ids (0: not done)."""
        return list(await self._ask("POST", "/act", list(acts)))

    async def push(self, kind: str, payload: Json) -> int:
        """Any update."""
        return int(await self._ask("POST", "/push", {"kind": kind, "payload": payload}))

    async def push_raw(self, rest: bytes) -> int:
        """Any bytes: the update is `{"update_id":N,` + rest + `}`."""
        async with self._http.post("/raw", data=rest) as answer:
            return int(await answer.json())

    async def calls(self, since: int = 0) -> list[Call]:
        """The calls numbered above `since`, all of them that were not forgotten."""
        calls: list[Call] = []
        while rows := await self._ask("GET", f"/calls?since={calls[-1].n if calls else since}"):
            calls += [Call(*row) for row in rows]
        return calls

    async def forget(self, through: int) -> None:
        """Drop the calls up to number `through`, so that a run of hours does not fill the server's memory."""
        await self._ask("POST", "/forget", {"through": through})

    async def wait_for_calls(
        self,
        n: int,
        method: str | None = None,
        *,
        delivered: bool | None = None,
        timeout_s: float = 10.0,
    ) -> list[Call]:
        """The calls of `method` (None: of any), as soon as there are `n`; TimeoutError says how many there were."""
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
        """From now on it may hit; `faults()` tells its hits."""
        await self._ask("POST", "/faults", fault.as_json())

    async def faults(self) -> list[Fault]:
        """The faults as they stand now."""
        return [Fault(**values) for values in await self._ask("GET", "/faults")]

    async def clear_faults(self) -> None:
        """Remove all; requests that hang are let go."""
        await self._ask("DELETE", "/faults")

    async def limit(self, limits: FloodLimits | None) -> None:
        """From now on the bot may send this much; None: as much as it likes."""
        if limits is None:
            await self._ask("DELETE", "/flood")
        else:
            await self._ask("POST", "/flood", asdict(limits))

    async def down(self) -> None:
        """The Bot API's port closes, with every connection."""
        await self._ask("POST", "/down")

    async def up(self) -> None:
        """It is back, on the same port and with all state."""
        await self._ask("POST", "/up")

    async def restart_ids(self, next_id: int) -> None:
        """Go on with `next_id`, as Telegram does after an idle week; what waits is forgotten."""
        await self._ask("POST", "/restart-ids", {"next_id": next_id})

    async def stats(self) -> Stats:
        """Counters since the start."""
        return Stats(**await self._ask("GET", "/stats"))

    async def _ask(self, verb: str, path: str, body: object = None) -> Any:
        async with self._http.request(verb, path, json=body) as answer:
            return await answer.json()


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        raise ValueError(await answer.text())
