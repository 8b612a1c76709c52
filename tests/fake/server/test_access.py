"""No page of another site reaches the servers of this machine, with any headers that its browser sends."""

import asyncio
import logging

import aiohttp
import pytest

from telegram.fake import FakeServer
from telegram.fake.server.access import is_key, new_key, refusal
from telegram.fake.server.control import Control

PORT = 8088

FOREIGN = {
    "another name": {"Host": "evil.example"},
    "another name that was led here": {
        "Host": f"evil.example:{PORT}",
        "Origin": f"http://evil.example:{PORT}",
    },
    "a name that begins like ours": {"Host": "localhost.evil.example"},
    "a name that ends like ours": {"Host": "evil-localhost"},
    "an address of the network": {"Host": f"192.168.0.7:{PORT}"},
    "every address": {"Host": f"0.0.0.0:{PORT}"},
    "no name": {"Host": ""},
    "a user before our name": {"Host": "evil@127.0.0.1"},
    "two ports": {"Host": "localhost:1:2"},
    "a line's end": {"Host": "localhost\n"},
    "a port in other digits": {"Host": "localhost:\u0663"},
    "a page of another site": {"Origin": "https://evil.example"},
    "a page of no site": {"Origin": "null"},
    "a page of another port": {"Origin": "http://127.0.0.1:1"},
    "a page of our other name": {"Origin": f"http://localhost:{PORT}"},
    "our page over TLS": {"Origin": f"https://127.0.0.1:{PORT}"},
    "an empty page": {"Origin": ""},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "another port of this machine": {"Sec-Fetch-Site": "same-site"},
    "a word of tomorrow": {"Sec-Fetch-Site": "near-site"},
    "a link on another site": {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    },
}
OURS = {
    "a program": {},
    "our other name": {"Host": f"localhost:{PORT}"},
    "in capitals": {"Host": f"LOCALHOST:{PORT}", "Origin": f"http://localhost:{PORT}"},
    "without a port": {"Host": "127.0.0.1"},
    "our page": {"Origin": f"http://127.0.0.1:{PORT}", "Sec-Fetch-Site": "same-origin"},
    "a typed address": {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_who_is_refused(name):
    assert refusal({"Host": f"127.0.0.1:{PORT}", **FOREIGN[name]})


@pytest.mark.parametrize("name", OURS)
def test_who_is_answered(name):
    assert refusal({"Host": f"127.0.0.1:{PORT}", **OURS[name]}) is None


def test_a_request_without_a_host_is_refused():
    assert refusal({})


def test_a_key_is_long_and_no_other_text():
    key = new_key()
    assert len(key) >= 32
    assert key != new_key()
    assert is_key(key, key)
    assert not any(is_key(each, key) for each in ("", key[:-1], key + "x", "é", "\ud800"))


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as http:
        yield http


async def asked(http, verb, url, headers):
    """Return the status of the answer; None if the client cannot send such a header."""
    try:
        async with http.request(verb, url, headers=headers) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
            return answer.status
    except ValueError:
        return None


@pytest.mark.parametrize("name", FOREIGN)
async def test_the_bot_api_executes_nothing_for_another_site(http, name):
    async with FakeServer() as server:
        headers = {"Host": f"127.0.0.1:{server.port}", **FOREIGN[name]}
        for verb in ("GET", "POST", "OPTIONS"):
            for method in ("sendMessage?chat_id=5&text=x", "getMe", "getUpdates", "logOut", "../", "nothing"):
                url = f"{server.url}/bot{server.token}/{method}"
                assert await asked(http, verb, url, headers) in {400, 403, None}
        assert not server.calls
        assert not server.polls
        assert server.stats().requests == {}
        assert not server.world.logged_out


@pytest.mark.parametrize("name", FOREIGN)
async def test_files_are_not_given_to_another_site(http, name):
    async with FakeServer() as server:
        file = server.world.files.add("document", b"secret", name="a.txt")
        url = f"{server.url}/file/bot{server.token}/{file.path}"
        assert await asked(http, "GET", url, {}) == 200
        headers = {"Host": f"127.0.0.1:{server.port}", **FOREIGN[name]}
        assert await asked(http, "GET", url, headers) in {400, 403, None}


@pytest.mark.parametrize("rest", ["", "bytes=1-2"])
@pytest.mark.parametrize("file_name", ["a.html", "a.svg", "a.xhtml", "a.txt", "a"])
async def test_a_file_is_saved_and_never_run(http, rest, file_name):
    content = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    async with FakeServer() as server:
        file = server.world.files.add("document", content, name=file_name)
        headers = {"Range": rest} if rest else {}
        async with http.get(f"{server.url}/file/bot{server.token}/{file.path}", headers=headers) as answer:
            assert answer.status == (206 if rest else 200)
            assert answer.headers["Content-Disposition"] == "attachment"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"].startswith("sandbox; ")


@pytest.mark.parametrize(
    "given",
    ["text/html\r\nX-Content-Type-Options: no", "text/html\r\n\r\n<script>", "text", "a/b c", "ä/b", "a/b\n"],
)
async def test_the_type_of_a_users_file_adds_no_header(http, given):
    """Users choose the mime_type of a document (Bot API, Document: "as defined by the sender")."""
    async with FakeServer() as server:
        file = server.world.files.add("document", b"x", name="a.html", mime_type=given)
        async with http.get(f"{server.url}/file/bot{server.token}/{file.path}") as answer:
            assert await answer.read() == b"x"
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers.getall("X-Content-Type-Options") == ["nosniff"]


ROUTES = [
    ("POST", "/messages"),
    ("POST", "/say"),
    ("POST", "/press"),
    ("POST", "/key"),
    ("POST", "/push"),
    ("POST", "/raw"),
    ("GET", "/calls"),
    ("POST", "/forget"),
    ("GET", "/wait?n=0"),
    ("GET", "/faults"),
    ("POST", "/faults"),
    ("DELETE", "/faults"),
    ("POST", "/flood"),
    ("DELETE", "/flood"),
    ("POST", "/down"),
    ("POST", "/up"),
    ("POST", "/restart-ids"),
    ("GET", "/stats"),
    ("GET", "/"),
    ("OPTIONS", "/messages"),
]


@pytest.fixture
async def control():
    async with FakeServer() as server:
        control = Control(server)
        await control.start()
        yield control
        await control.stop()


@pytest.mark.parametrize("name", FOREIGN)
async def test_the_control_port_does_nothing_for_another_site_even_with_the_key(http, control, name):
    port = control.url.rpartition(":")[2]
    headers = {"Host": f"127.0.0.1:{port}", "Authorization": f"Bearer {control.key}", **FOREIGN[name]}
    for verb, path in ROUTES:
        assert await asked(http, verb, control.url + path, headers) in {400, 403, None}, path
    assert await asked(http, "GET", control.url + "/stats", {"Authorization": f"Bearer {control.key}"}) == 200


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer guess", "Basic {}", "Bearer {}x", "{}"]
)
async def test_the_control_port_does_nothing_without_the_key(http, control, given):
    headers = {} if given is None else {"Authorization": given.format(control.key)}
    for verb, path in ROUTES:
        assert await asked(http, verb, control.url + path, headers) == 401, path


async def test_each_start_of_the_control_port_has_a_key_of_its_own(control):
    async with FakeServer() as server:
        assert Control(server).key != control.key


MALFORMED = {
    "a long address": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nReferer: " + b"a" * 9000 + b"\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "no method": b"\x16\x03\x01 / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_request_is_answered_and_leaves_nothing_in_the_log(control, caplog, name):
    """Any page can send a long address: it must not fill the terminal with tracebacks."""
    for url in (control.url, control._server.url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(MALFORMED[name])
        assert b" 400 " in await reader.readline()
        writer.close()
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []


async def test_a_bug_in_a_server_is_still_in_the_log(http, control, caplog, monkeypatch):
    monkeypatch.setattr(control._server, "stats", lambda: 1 / 0)
    headers = {"Authorization": f"Bearer {control.key}"}
    assert await asked(http, "GET", control.url + "/stats", headers) == 500
    assert [each.exc_info[0] for each in caplog.records] == [ZeroDivisionError]
