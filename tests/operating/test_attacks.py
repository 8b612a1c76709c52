"""Attacks on the operator's page, each refused: nothing is changed, shown or recorded as done."""

import asyncio
from typing import Any, NamedTuple

import pytest
from multidict import CIMultiDict

from engine import Queue, StoreError
from engine.stores.contract import append
from engine.stores.contract.store import update
from engine.stores.memory import MemoryStore
from telegram.operating.letters import hash_of
from telegram.operating.page.access import (
    ATTEMPTS_IN_ALL,
    ATTEMPTS_PER_ADDRESS,
    IDLE_S,
    LASTS_S,
    SESSIONS_MAX,
    WITHIN_S,
    Gate,
    Refusal,
    Sessions,
)
from telegram.operating.settings import OperatorSettings
from tests.kit.operated import READ_SECRET, SECRET, client_of, operated

BODY = b"the text of a message"
LETTER = {"number": 1, "hash": hash_of(BODY)}
DISCARD = {"letters": [LETTER]}
EVIL = "https://evil.example"


class Attack(NamedTuple):
    """A request that is refused with this status. `as_`: who sends it: an operator's browser, a reader's, a stranger."""

    status: int
    method: str
    path: str
    body: Any = None
    headers: dict[str, str | None] = {}  # noqa: RUF012
    as_: str = "operator"


ATTACKS = {
    # -- who has not logged in
    "a stranger reads": Attack(401, "GET", "/api/dead", as_="stranger"),
    "a stranger reads a text": Attack(401, "POST", "/api/letter", {"number": 1}, as_="stranger"),
    "a stranger discards": Attack(401, "POST", "/api/discard", DISCARD, as_="stranger"),
    "a stranger asks for an action that there is not": Attack(401, "GET", "/api/nothing", as_="stranger"),
    "a wrong secret": Attack(401, "POST", "/login", {"secret": "guess"}, as_="stranger"),
    "an empty secret": Attack(401, "POST", "/login", {"secret": ""}, as_="stranger"),
    "a secret that is no text": Attack(400, "POST", "/login", {"secret": ["x"]}, as_="stranger"),
    "a cookie that was made up": Attack(
        401, "POST", "/api/discard", DISCARD, {"Cookie": "chatlane-{port}=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
    ),
    "a session in the address": Attack(401, "GET", "/api/dead?chatlane=x&session=x", as_="stranger"),
    "a wrong bearer token": Attack(
        401, "POST", "/api/discard", DISCARD, {"Authorization": "Bearer guess", "Cookie": None}
    ),
    "the secret as another kind of authorization": Attack(
        401, "GET", "/api/dead", None, {"Authorization": f"Basic {SECRET}", "Cookie": None}
    ),
    # -- other sites in an operator's browser
    "a form of another site": Attack(
        403, "POST", "/api/discard", b"letters=1",
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded", "X-CSRF-Token": None},
    ),
    "a script of another site": Attack(
        403, "POST", "/api/discard", DISCARD, {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "X-CSRF-Token": None}
    ),
    "an old browser's request from another site": Attack(
        403, "POST", "/api/discard", DISCARD, {"Origin": EVIL, "Sec-Fetch-Site": None}
    ),
    "a page of another port of this machine": Attack(
        403, "POST", "/api/discard", DISCARD, {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}
    ),
    "an origin that was hidden": Attack(403, "POST", "/api/discard", DISCARD, {"Origin": "null"}),
    "a POST without an origin": Attack(403, "POST", "/api/discard", DISCARD, {"Origin": None}),
    "a login by another site": Attack(
        403, "POST", "/login", {"secret": SECRET}, {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}, as_="stranger"
    ),
    "a logout by another site": Attack(403, "POST", "/logout", {}, {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}),
    "an image of another site": Attack(
        403, "GET", "/api/stats", None,
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    ),
    "a script tag of another site": Attack(
        403, "GET", "/page.js", None,
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    ),
    "the page in a frame": Attack(
        403, "GET", "/", None,
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ),
    "a link to the data": Attack(
        403, "GET", "/api/dead", None,
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ),
    "a form that navigates": Attack(
        403, "POST", "/", b"", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    ),
    "a preflight of another site": Attack(
        405, "OPTIONS", "/api/discard", None,
        {"Origin": EVIL, "Access-Control-Request-Method": "POST", "Sec-Fetch-Site": "cross-site"},
    ),
    "another name of this machine (DNS rebinding)": Attack(403, "GET", "/api/dead", None, {"Host": "evil.example"}),
    "a name that begins as ours": Attack(403, "GET", "/api/dead", None, {"Host": "127.0.0.1.evil.example"}),
    "no name": Attack(403, "GET", "/api/dead", None, {"Host": ""}),
    "a forwarded name": Attack(
        403, "GET", "/api/dead", None, {"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1", "Forwarded": "host=127.0.0.1"}
    ),
    # -- a session without its token, or with another one
    "no CSRF token": Attack(403, "POST", "/api/discard", DISCARD, {"X-CSRF-Token": None}),
    "a wrong CSRF token": Attack(403, "POST", "/api/discard", DISCARD, {"X-CSRF-Token": "x" * 32}),
    "the CSRF token in the body only": Attack(403, "POST", "/api/discard", {**DISCARD, "csrf": "x"}, {"X-CSRF-Token": None}),
    "a logout without a token": Attack(403, "POST", "/logout", {}, {"X-CSRF-Token": None}),
    # -- a change by other means than a POST of JSON
    "a change by GET": Attack(405, "GET", "/api/discard?letters=1"),
    "a text by GET": Attack(405, "GET", "/api/letter?number=1"),
    "a logout by GET": Attack(405, "GET", "/logout"),
    "a login by GET": Attack(405, "GET", f"/login?secret={SECRET.replace(' ', '+')}", as_="stranger"),
    "a change by PUT": Attack(405, "PUT", "/api/discard", DISCARD),
    "a method that is overridden": Attack(405, "GET", "/api/discard", None, {"X-HTTP-Method-Override": "POST"}),
    "JSON as text": Attack(415, "POST", "/api/discard", DISCARD, {"Content-Type": "text/plain"}),
    "JSON as nothing": Attack(415, "POST", "/api/discard", DISCARD, {"Content-Type": None}),
    # -- roles
    "a reader discards": Attack(403, "POST", "/api/discard", DISCARD, as_="reader"),
    "a reader drains": Attack(403, "POST", "/api/drain", {}, as_="reader"),
    "a reader pauses": Attack(403, "POST", "/api/pause", {}, as_="reader"),
    "a reader's token in a program": Attack(
        403, "POST", "/api/discard", DISCARD, {"Authorization": f"Bearer {READ_SECRET}", "Cookie": None}
    ),
    # -- what was not seen, or not confirmed
    "the number of a letter without its hash": Attack(400, "POST", "/api/discard", {"letters": [{"number": 1}]}),
    "all letters without a confirmation": Attack(
        409, "POST", "/api/discard", {"letters": [LETTER, {**LETTER, "number": 2}]}
    ),
    # -- files and sizes
    "a file outside of the page's": Attack(404, "GET", "/../../../../etc/passwd"),
    "the same, encoded": Attack(404, "GET", "/%2e%2e%2f%2e%2e%2fsettings.py"),
    "the source of the server": Attack(404, "GET", "/server.py"),
    "the audit log as a file": Attack(404, "GET", "/audit.jsonl"),
    "a body without an end": Attack(413, "POST", "/api/discard", b"[" * 300_000),
    "a login with a large body": Attack(413, "POST", "/login", b"x" * 10_000, as_="stranger"),
    "JSON that is deep": Attack(400, "POST", "/api/discard", b"[" * 50_000),
    "parameters that there are not": Attack(400, "GET", "/api/lanes?limit=1000000000"),
    "a key with a line end": Attack(400, "POST", "/api/park", {"key": "chat:1\nchat:2"}),
}  # fmt: skip
assert len(ATTACKS) >= 25


@pytest.fixture
async def store():
    store = MemoryStore()
    await append(store, [update(1, body=BODY)])
    await store.bury(await store.claim(Queue.INBOX), "ValueError: no good")
    return store


@pytest.fixture
async def page(store, tmp_path):
    async with operated(store, tmp_path, drain=lambda: pytest.fail("drained")) as page:
        yield page


@pytest.fixture
async def client(page):
    async with client_of(page.url) as client:
        yield client


async def unchanged(store) -> bool:
    holds = [await store.holds(queue) for queue in Queue]
    return await store.dead_count() == 1 and holds == [{}, {}]


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_refused(page, store, client, name):
    attack = ATTACKS[name]
    if attack.as_ != "stranger":
        await client.login(SECRET if attack.as_ == "operator" else READ_SECRET)
    before = page.recorded()
    port = str(page.page.address.port)
    headers = {each: value and value.replace("{port}", port) for each, value in attack.headers.items()}
    answer = await client.ask(attack.method, attack.path, attack.body, headers=headers)
    assert answer.status == attack.status, answer.text
    assert list(answer.json) == ["error"]
    assert "\n" not in answer.json["error"]
    assert BODY.decode() not in answer.text
    assert SECRET not in answer.text
    assert "Set-Cookie" not in answer.headers
    assert not any(header.lower().startswith("access-control") for header in answer.headers)
    assert await unchanged(store)
    done = {result for _, result in page.recorded()[len(before) :]}
    assert done <= {"wrong secret", "refused: this role may only look"}


async def test_what_the_attacks_try_is_possible_for_an_operator(page, store, client):
    """Else the list above would be refused for another reason than its own."""
    await client.login()
    assert BODY.decode() in (await client.ask("POST", "/api/letter", {"number": 1})).text
    assert (await client.ask("GET", "/api/dead")).json["total"] == 1
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await client.ask("GET", "/", headers=link)).status == 200
    assert (await client.ask("POST", "/api/discard", DISCARD)).json["result"] == "1 done"
    assert (await client.ask("POST", "/logout", {})).status == 200
    assert (await client.ask("GET", "/api/dead")).status == 401
    assert page.recorded() == [
        ("login", "done"),
        ("letter", "begun"),
        ("letter", "shown"),
        ("discard", "begun"),
        ("discard", "1 done"),
        ("logout", "done"),
    ]


async def test_a_program_with_the_secret_needs_no_cookie(store, client):
    bearer: dict[str, str | None] = {
        "Authorization": f"Bearer {SECRET}", "Origin": None, "Sec-Fetch-Site": None, "X-CSRF-Token": None
    }  # fmt: skip
    assert (await client.ask("GET", "/api/dead", headers=bearer)).json["total"] == 1
    assert (await client.ask("POST", "/api/discard", DISCARD, headers=bearer)).json["result"] == "1 done"


async def test_every_answer_has_the_headers(client):
    await client.login()
    for method, path in (
        ("GET", "/"), ("GET", "/page.js"), ("GET", "/api/stats"), ("GET", "/nothing"), ("POST", "/api/drain"), ("PUT", "/"),
    ):  # fmt: skip
        headers = (
            (await client.ask(method, path, {})).headers
            if method == "POST"
            else (await client.ask(method, path)).headers
        )
        policy = headers["Content-Security-Policy"]
        assert (
            "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        )
        assert "http" not in policy.replace("https:", "")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Frame-Options"] == "DENY"


async def test_the_cookie_is_for_this_page_only(client, store, tmp_path):
    answer = await client.ask("POST", "/login", {"secret": SECRET})
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert "Domain" not in cookie
    async with (
        operated(store, tmp_path, origin="https://bots.example", is_loopback=False) as page,
        client_of(page.url) as other,
    ):
        headers: dict[str, str | None] = {"Host": "bots.example", "Origin": "https://bots.example"}
        answer = await other.ask("POST", "/login", {"secret": SECRET}, headers=headers)
        assert answer.headers["Set-Cookie"].startswith("__Host-chatlane=")
        assert "Secure" in answer.headers["Set-Cookie"]
        assert "Strict-Transport-Security" in answer.headers
        for wrong in ("127.0.0.1", "bots.example:8443", "bots.example.evil.example"):
            assert (await other.ask("GET", "/", headers={"Host": wrong})).status == 403
        http: dict[str, str | None] = {**headers, "Origin": "http://bots.example"}
        assert (await other.ask("POST", "/login", {"secret": SECRET}, headers=http)).status == 403


async def test_two_pages_of_one_host_have_sessions_side_by_side(store, tmp_path):
    async with (
        operated(store, tmp_path) as one,
        operated(store, tmp_path) as other,
        client_of(one.url) as first,
        client_of(other.url) as second,
    ):
        await first.login()
        await second.login()
        first.cookie = second.cookie = f"{first.cookie}; {second.cookie}"  # as a browser sends them
        for client in (first, second):
            assert (await client.ask("GET", "/api/stats")).status == 200


# -- guessing -----------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(sessions: Sessions, secret: str, address: str) -> int:
    try:
        sessions.login(secret, address)
    except Refusal as refusal:
        return refusal.status
    return 200


def test_guessing_is_limited_by_address_and_in_all():
    clock = Clock()
    sessions = Sessions({SECRET: True}, clock)
    assert [refused(sessions, "x", "a") for _ in range(ATTEMPTS_PER_ADDRESS + 1)] == [
        401
    ] * ATTEMPTS_PER_ADDRESS + [429]
    assert refused(sessions, SECRET, "a") == 429  # also the right one: else it could be guessed
    assert refused(sessions, SECRET, "b") == 200
    for n in range(ATTEMPTS_IN_ALL - ATTEMPTS_PER_ADDRESS):
        assert refused(sessions, "x", f"c{n}") == 401
    assert refused(sessions, SECRET, "b") == 429
    clock.now += WITHIN_S
    assert refused(sessions, SECRET, "a") == 200


async def test_guessing_over_http_says_when_to_come_back_and_fills_no_log(page, client):
    statuses = [
        (await client.ask("POST", "/login", {"secret": "x"})).status for _ in range(ATTEMPTS_PER_ADDRESS + 20)
    ]
    assert statuses == [401] * ATTEMPTS_PER_ADDRESS + [429] * 20
    answer = await client.ask("POST", "/login", {"secret": SECRET})
    assert 1 <= int(answer.headers["Retry-After"]) <= WITHIN_S + 1
    bearer = {"Authorization": f"Bearer {SECRET}"}
    assert (await client.ask("GET", "/api/dead", headers=bearer)).status == 429
    assert page.recorded() == [("login", "wrong secret")] * ATTEMPTS_PER_ADDRESS


async def test_a_login_that_does_not_come_is_not_waited_for(page, monkeypatch):
    """Slow POST (R-U-Dead-Yet): the body of a login is read before anything is known of its sender."""
    monkeypatch.setattr("telegram.listening.body.BODY_WITHIN_S", 0.01)
    host = page.page.address
    head = (
        f"POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Type: application/json\r\n"
    )
    reader, writer = await asyncio.open_connection(*host)
    writer.write(f"{head}Content-Length: 20\r\n\r\n{{".encode())
    async with asyncio.timeout(60):
        assert (await reader.readline()).split()[1] == b"408"
    writer.close()


async def test_behind_a_proxy_one_who_guesses_locks_out_no_other(store, tmp_path):
    async def login(client, secret, *came_from):
        headers = {"X-Forwarded-For": ", ".join(came_from)}
        return (await client.ask("POST", "/login", {"secret": secret}, headers=headers)).status

    async with operated(store, tmp_path, proxies="127.0.0.1/32") as page, client_of(page.url) as client:
        for n in range(ATTEMPTS_PER_ADDRESS):
            assert (
                await login(client, "x", f"9.9.9.{n}", "1.1.1.1") == 401
            )  # what a client writes itself is before that
        assert await login(client, SECRET, "1.1.1.1") == 429
        assert await login(client, SECRET, "2.2.2.2") == 200
        text = page.audit.path.read_text()
    assert text.count('"where": "1.1.1.1"') == ATTEMPTS_PER_ADDRESS
    assert text.count('"where": "2.2.2.2"') == 1


async def test_the_forwarded_address_of_others_is_not_believed(page, client):
    for n in range(ATTEMPTS_PER_ADDRESS):
        headers = {"X-Forwarded-For": f"1.1.1.{n}"}
        assert (await client.ask("POST", "/login", {"secret": "x"}, headers=headers)).status == 401
    assert (
        await client.ask("POST", "/login", {"secret": SECRET}, headers={"X-Forwarded-For": "2.2.2.2"})
    ).status == 429


def test_sessions_end_and_are_bounded():
    clock = Clock()
    sessions = Sessions({SECRET: True}, clock)
    idle, _ = sessions.login(SECRET, "a")
    clock.now += IDLE_S + 1
    with pytest.raises(Refusal):
        sessions.of(idle)
    used, session = sessions.login(SECRET, "a")
    for _ in range(int(LASTS_S // IDLE_S)):
        clock.now += IDLE_S
        assert sessions.of(used) is session
    clock.now += IDLE_S
    with pytest.raises(Refusal):
        sessions.of(used)
    first, _ = sessions.login(SECRET, "a")
    clock.now += 1
    others = [sessions.login(SECRET, "a")[0] for _ in range(SESSIONS_MAX)]
    with pytest.raises(Refusal):
        sessions.of(first)
    assert len({*others}) == SESSIONS_MAX
    assert all(sessions.of(each) for each in others)


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        *[(host, True) for host in ("127.0.0.1:8090", "127.0.0.2:8090", "LOCALHOST", "[::1]:1", "bots.example:443", "Bots.example")],
        *[(host, False) for host in ("128.0.0.1", "127.0.0.1.evil.example", "127.evil.example", "x127.0.0.1", "bots.example:8443",
                                     "127.0.0.1:8090@evil.example", "evil.example", "")],
    ],
)  # fmt: skip
def test_a_name_of_this_machine_is_an_address_or_localhost(host, is_answered):
    """ADMIN_LISTEN may be any address of 127.0.0.0/8. A name that resolves to one may be anybody's (DNS rebinding)."""
    gate = Gate("https://bots.example", is_loopback=True)
    if is_answered:
        assert gate.place(CIMultiDict([("Host", host)]))
    else:
        with pytest.raises(Refusal):
            gate.place(CIMultiDict([("Host", host)]))


async def test_a_proxy_that_replaces_the_host_is_named_as_the_reason(store, tmp_path):
    """nginx does so by default: getsentry/self-hosted issue 447, nightscout/nocturne pull request 999."""
    async with (
        operated(store, tmp_path, origin="https://bots.example") as page,
        client_of(page.url) as client,
    ):
        answer = await client.ask(
            "POST", "/login", {"secret": SECRET}, headers={"Origin": "https://bots.example"}
        )
        assert (answer.status, "Host" in answer.text) == (403, True)
        answer = await client.ask("POST", "/login", {"secret": SECRET}, headers={"Origin": EVIL})
        assert (answer.status, "Host" in answer.text) == (403, False)


def test_the_port_443_of_an_origin_is_not_written_by_browsers():
    """RFC 6454, 6.2: the default port is left out."""
    given = OperatorSettings(admin_listen="127.0.0.1:8090", admin_origin="https://bots.example:443")
    assert given.admin_origin == "https://bots.example"


def test_two_hosts_are_none():
    gate = Gate(None, is_loopback=True)
    for headers in (CIMultiDict(), CIMultiDict([("Host", "127.0.0.1"), ("Host", "evil.example")])):
        with pytest.raises(Refusal):
            gate.place(headers)
    place = gate.place(CIMultiDict([("Host", "LOCALHOST:8090")]))
    assert place.origin == "http://localhost:8090"
    several = CIMultiDict([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")])
    with pytest.raises(Refusal):
        gate.check_source(several, place, is_write=False, is_page=False, is_program=False)


async def test_an_action_that_cannot_be_recorded_is_answered_and_not_done(page, store, client):
    await client.login()
    await asyncio.to_thread(page.audit.path.unlink)
    page.audit.path.mkdir()
    answer = await client.ask("POST", "/api/discard", DISCARD)
    assert answer.status == 503
    assert "nothing was done" in answer.json["error"]
    assert await unchanged(store)
    assert (await client.ask("POST", "/login", {"secret": SECRET})).status == 503
    page.audit.path.rmdir()


async def test_what_nobody_expected_is_answered_without_its_text(page, store, client, monkeypatch):
    async def fails(*_):
        raise RuntimeError("text of a message")

    await client.login()
    monkeypatch.setattr(store, "stats", fails)
    answer = await client.ask("GET", "/api/stats")
    assert answer.status == 500
    assert "text of a message" not in answer.text
    assert "Content-Security-Policy" in answer.headers


async def test_a_store_that_is_lost_is_said(page, store, client, monkeypatch):
    async def lost(*_):
        raise StoreError("the file was replaced")

    await client.login()
    monkeypatch.setattr(store, "hold", lost)
    answer = await client.ask("POST", "/api/park", {"key": "chat:1"})
    assert (answer.status, answer.json["error"]) == (503, "the file was replaced")
    assert page.recorded()[-1] == ("park", "failed: the file was replaced")
