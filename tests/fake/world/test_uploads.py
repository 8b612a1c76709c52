"""Files over HTTP: uploaded, sent again, downloaded; and on the disk of a local server."""

import io
import json
from pathlib import Path

import aiohttp
import pytest

from telegram.client import TgClient
from telegram.fake import DEFAULT_TOKEN, FakeServer
from telegram.fake.world.attachments import PHOTO_BYTES_MAX
from telegram.fake.world.files import DOWNLOAD_BYTES_MAX, Files

CONTENT = bytes(range(256)) * 8


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def server():
    async with FakeServer(seed=1) as server:
        server.world.add_user("Ann", user_id=5)
        yield server


def form(part="document", content=CONTENT, filename="a.bin", **fields):
    made = aiohttp.FormData()
    for name, value in {"chat_id": 5, **fields}.items():
        made.add_field(name, value if isinstance(value, str) else json.dumps(value))
    made.add_field(part, io.BytesIO(content), filename=filename, content_type="application/octet-stream")
    return made


async def call(http, server, method, **request):
    async with http.post(f"{server.url}/bot{DEFAULT_TOKEN}/{method}", **request) as answer:
        body = await answer.json()
        return body["result"] if body["ok"] else body["description"]


async def link_to(http, server, file_id):
    path = (await call(http, server, "getFile", json={"file_id": file_id}))["file_path"]
    return f"{server.url}/file/bot{DEFAULT_TOKEN}/{path}"


async def test_what_is_uploaded_can_be_downloaded_and_sent_again(http, server):
    document = (await call(http, server, "sendDocument", data=form(caption="<b>hi</b>", parse_mode="HTML")))[
        "document"
    ]
    assert (document["file_name"], document["file_size"]) == ("a.bin", len(CONTENT))
    async with http.get(await link_to(http, server, document["file_id"])) as answer:
        assert (answer.status, await answer.read()) == (200, CONTENT)
        assert answer.headers["Accept-Ranges"] == "bytes"
    again = await call(http, server, "sendDocument", json={"chat_id": 5, "document": document["file_id"]})
    assert again["document"] == document
    assert "caption" not in again


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-3", 206, CONTENT[:4]),
        ("bytes=2000-", 206, CONTENT[2000:]),
        ("bytes=-5", 206, CONTENT[-5:]),
        ("bytes=2040-9999", 206, CONTENT[2040:]),
        ("bytes=9999-", 416, b""),
        ("bytes=0-1,4-5", 200, CONTENT),
        ("bytes=-", 200, CONTENT),
    ],
)
async def test_ranges(http, server, wanted, status, part):
    sent = await call(http, server, "sendDocument", data=form())
    link = await link_to(http, server, sent["document"]["file_id"])
    async with http.get(link, headers={"Range": wanted}) as answer:
        assert (answer.status, await answer.read()) == (status, part)
        if status == 206:
            start = CONTENT.rindex(part) if wanted != "bytes=0-3" else 0
            assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{len(CONTENT)}"


async def test_the_test_environment_has_its_files_too(http, server):
    sent = await call(http, server, "test/sendDocument", data=form())
    link = await link_to(http, server, sent["document"]["file_id"])
    async with http.get(link.replace(DEFAULT_TOKEN, f"{DEFAULT_TOKEN}/test")) as answer:
        assert await answer.read() == CONTENT


async def test_wrong_links(http, server):
    sent = await call(http, server, "sendDocument", data=form())
    link = await link_to(http, server, sent["document"]["file_id"])
    for url, status in ((link + "x", 404), (link.replace(DEFAULT_TOKEN, "9:other"), 401)):
        async with http.get(url) as answer:
            assert (answer.status, (await answer.json())["error_code"]) == (status, status)
    assert await call(http, server, "getFile", json={"file_id": "x"}) == "Bad Request: invalid file_id"


async def test_attached_files_of_an_album(http, server):
    media = [
        {"type": "photo", "media": "attach://a", "caption": "one"},
        {"type": "photo", "media": "attach://b"},
    ]
    data = form("a", media=media)
    data.add_field("b", b"other", filename="b.png")
    first, second = await call(http, server, "sendMediaGroup", data=data)
    assert first["media_group_id"] == second["media_group_id"]
    assert (first["caption"], "caption" in second) == ("one", False)
    assert [message["photo"][-1]["file_size"] for message in (first, second)] == [len(CONTENT), 5]


async def test_the_log_notes_files_and_lets_go_of_them(http, server):
    await call(http, server, "sendDocument", data=form())
    noted = server.calls[0].params["document"]
    assert noted == {"file_name": "a.bin", "size": len(CONTENT)}
    assert noted.content == b""


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("no such id", "wrong file identifier/HTTP URL specified"),
        ("file:///etc/hostname", "wrong file identifier/HTTP URL specified"),
        ("attach://nothing", 'there is no uploaded file "nothing" in the request'),
    ],
)
async def test_files_that_are_refused(http, server, document, reason):
    answer = await call(http, server, "sendDocument", json={"chat_id": 5, "document": document})
    assert answer == f"Bad Request: {reason}"


async def test_a_kind_cannot_be_changed_and_nothing_is_too_big_or_empty(http, server):
    sent = await call(http, server, "sendDocument", data=form())
    photo = {"chat_id": 5, "photo": sent["document"]["file_id"]}
    assert (
        await call(http, server, "sendPhoto", json=photo)
        == "Bad Request: can't use file of type Document as Photo"
    )
    assert (
        await call(http, server, "sendDocument", data=form(content=b""))
        == "Bad Request: file must be non-empty"
    )
    big = b"x" * (PHOTO_BYTES_MAX + 1)
    assert (
        await call(http, server, "sendPhoto", data=form("photo", big)) == "Bad Request: too big for a photo"
    )
    large = await call(http, server, "sendDocument", data=form(content=b"x" * (DOWNLOAD_BYTES_MAX + 1)))
    answer = await call(http, server, "getFile", json={"file_id": large["document"]["file_id"]})
    assert answer == "Bad Request: file is too big"


async def test_urls_are_taken_and_not_fetched(http, server):
    sent = await call(http, server, "sendPhoto", json={"chat_id": 5, "photo": "https://example.org/a.jpg"})
    assert sent["photo"][0]["file_id"]


async def test_a_local_server_keeps_files_on_the_disk(http, tmp_path):
    (tmp_path / "b.txt").write_text("from disk")
    async with FakeServer(local=True) as server:
        server.world.add_user("Ann", user_id=5)
        sent = await call(http, server, "sendDocument", data=form())
        answer = await call(http, server, "getFile", json={"file_id": sent["document"]["file_id"]})
        path = Path(answer["file_path"])
        assert path.is_absolute()
        assert path.read_bytes() == CONTENT
        async with http.get(f"{server.url}/file/bot{DEFAULT_TOKEN}/{path}") as refused:
            assert refused.status == 404
        named = {"chat_id": 5, "document": (tmp_path / "b.txt").as_uri()}
        document = (await call(http, server, "sendDocument", json=named))["document"]
        assert (document["file_name"], document["file_size"]) == ("b.txt", 9)
        missing = named | {"document": "file:///no/such/file"}
        assert "File not found" in await call(http, server, "sendDocument", json=missing)
    assert not path.exists()


async def test_the_oldest_contents_go_first():
    files = Files(bytes_max=10)
    first, second = files.add("document", b"123456"), files.add("document", b"7890ab")
    assert (files.has_content(first), files.has_content(second)) == (False, True)
    assert files.find(first.file_id) == first


async def test_the_same_content_has_the_same_unique_id():
    files = Files()
    one, two, other = files.add("photo", b"1"), files.add("photo", b"1"), files.add("photo", b"2")
    assert one.file_id != two.file_id
    assert one.file_unique_id == two.file_unique_id != other.file_unique_id


async def test_our_own_client_is_understood_in_strict_mode():
    async with FakeServer(strict=True) as server, TgClient(server.token, base_url=server.url) as client:
        server.world.add_user("Ann", user_id=5)
        message = await client.send_photo(chat_id=5, photo="https://example.org/a.jpg", caption="x")
        assert message.photo is not None
        found = await client.get_file(file_id=message.photo[0].file_id)
        assert found.file_path


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("50%25%20off.pdf", "50% off.pdf"),
        ("100%.pdf", "100%.pdf"),
        ("a+b.txt", "a+b.txt"),
        ("r%C3%A9sum%C3%A9.txt", "résumé.txt"),
        ("a%2Fb%5Cc.txt", "c.txt"),
        ('a\\"b.txt', "a b.txt"),
        ("x: y?.txt", "x  y.txt"),
        ("Ann's 😀.txt", "Ann s.txt"),
        ("【招聘】启事.pdf", "招聘 启事.pdf"),
        (".env", "env"),
        ("a" * 70 + "." + "b" * 20, "a" * 64 + "." + "b" * 16),
    ],
)
async def test_the_name_of_a_file(http, server, sent, kept):
    """tdlib/td, HttpReader.cpp (percent-decoded, escapes) and filesystem.cpp (clean_filename).

    Met by others: n8n-io/n8n#28358 (brackets go), TelegramBots/Telegram.Bot#204.
    """
    body = (
        b'--x\r\nContent-Disposition: form-data; name="chat%5Fid"\r\n\r\n5\r\n'
        b'--x\r\nContent-Disposition: form-data; name="document"; filename="'
        + sent.encode()
        + b'"\r\n\r\nhi\r\n--x--\r\n'
    )
    form = {"data": body, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    message = await call(http, server, "sendDocument", **form)
    assert message["document"]["file_name"] == kept


async def test_a_name_that_the_server_does_not_know_is_no_file(http, server):
    """tdlib/td, HttpReader.cpp: `filename*` is unknown. Met by others: nickoala/telepot#32, pyTelegramBotAPI#284."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n5\r\n--x\r\nContent-Disposition: form-data;'
        b" name=\"document\"; filename*=utf-8''%C3%A9.txt\r\n\r\nhi\r\n--x--\r\n"
    )
    form = {"data": body, "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    assert "wrong file identifier" in await call(http, server, "sendDocument", **form)
