"""The operator's page of a store, and how programs and browsers reach it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from telegram.listening import Address, read_networks
from telegram.operating.audit import Audit
from telegram.operating.desk import Desk
from telegram.operating.operating import Operating
from telegram.operating.page.access import Gate, Sessions
from telegram.operating.page.server import PageServer
from telegram.operating.rates import Rates

SECRET = "the secret of operators"
READ_SECRET = "the secret of readers"


class Operated(NamedTuple):
    """A page that is served."""

    page: PageServer
    audit: Audit
    rates: Rates

    @property
    def url(self) -> str:
        return f"http://{self.page.address}"

    def recorded(self) -> list[tuple[str, str]]:
        """What the audit log has: action and result."""
        text = self.audit.path.read_text() if self.audit.path.exists() else ""
        return [(entry["what"], entry["result"]) for entry in map(json.loads, text.splitlines())]


@asynccontextmanager
async def operated(
    store: Any,
    folder: Path,
    bot: Any = None,
    *,
    origin: str | None = None,
    is_loopback: bool = True,
    wall: Callable[[], float] | None = None,
    token: str = "",
    clock: Callable[[], float] | None = None,
    counts: Any = None,
    drain: Callable[[], object] | None = None,
    proxies: str = "",
) -> AsyncIterator[Operated]:
    """Serve the page of a store on a free port."""
    loop_time = asyncio.get_running_loop().time
    rates = Rates(store, counts, loop_time)
    options = {} if wall is None else {"wall": wall}
    operating = Operating(
        store, bot, token=token, name=lambda: "test_bot", rates=rates, drain=drain, **options
    )
    audit = Audit(folder / "audit.jsonl")
    page = PageServer(
        Desk(operating, audit),
        Address("127.0.0.1", 0),
        Gate(origin, is_loopback=is_loopback),
        Sessions({SECRET: True, READ_SECRET: False}, clock or loop_time),
        read_networks(proxies) if proxies else (),
    )
    async with rates, page:
        yield Operated(page, audit, rates)


class Answer(NamedTuple):
    """An answer of the page."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """A browser's requests, by hand: `ask` sends the headers that the page's own scripts send, unless others are given."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.cookie = self.csrf = ""

    async def login(self, secret: str = SECRET) -> None:
        answer = await self.ask("POST", "/login", {"secret": secret})
        assert answer.status == 200, answer
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.csrf = answer.json["csrf"]

    async def ask(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str | None] | None = None
    ) -> Answer:
        """Send a request; a header that is None is left out. `body`: JSON, or bytes as they are."""
        usual: dict[str, str | None] = {"Sec-Fetch-Site": "same-origin", "Cookie": self.cookie or None}
        if method == "POST":
            usual |= {
                "Origin": self.url,
                "X-CSRF-Token": self.csrf or None,
                "Content-Type": "application/json",
            }
        sent = {name: value for name, value in {**usual, **(headers or {})}.items() if value is not None}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self._session.request(
            method, f"{self.url}{path}", data=data, headers=sent, allow_redirects=False,
            skip_auto_headers=["Content-Type"],
        ) as answer:  # fmt: skip
            return Answer(answer.status, answer.headers, await answer.text())


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Client(session, url)
