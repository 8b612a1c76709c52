"""Files over the wire: uploads that stream, downloads that resume, a local server, and what goes wrong on the way."""

import asyncio
import gc
import json
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import BodyPartReader, web
from pydantic import SecretBytes

from telegram.botapi.errors import (
    DownloadCut,
    FileTooBig,
    FileUnusable,
    NotSent,
    OutcomeUnknown,
    Refused,
    ServerTrouble,
    TelegramError,
    Unauthorized,
    UploadCut,
)
from telegram.botapi.files import PIECE, InputFile
from telegram.botapi.types import File, InputMediaDocument, InputMediaPhoto
from telegram.client import TgClient
from tests.kit.bounds import WITHIN_S

SECRET = "AAH" + "q-9_" * 8
TOKEN = f"123456789:{SECRET}"
SENT = {"message_id": 3, "date": 1, "chat": {"id": 5, "type": "private"}}
LARGE = 64 * 2**20  # more than the buffers of both sides' kernels take
CONTENT = bytes(range(256)) * 4096  # 1 MiB

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Form = dict[str, tuple[str | None, str | None, bytes]]


def ok(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


async def form_of(request: web.Request) -> Form:
    """The parts of a form: name -> (filename, content type, content)."""
    found: Form = {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        assert part.name
        found[part.name] = (part.filename, part.headers.get("Content-Type"), bytes(await part.read()))
    return found


class Server:
    """Answers with what the test puts into `answer`; reads nothing of a body by itself."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self.headers: list[Any] = []
        self.answer: Answer = self.takes
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cut = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        self.headers.append(request.headers.copy())
        self.arrived.set()
        try:
            return await self.answer(request)
        except (asyncio.CancelledError, web.RequestPayloadError, ConnectionError):
            self.cut.set()
            raise

    async def takes(self, request: web.Request) -> web.StreamResponse:
        """Read a form or a JSON body to its end, and say yes."""
        is_form = request.content_type.startswith("multipart/")
        self.bodies.append(await (form_of(request) if is_form else request.json()))
        return ok(SENT)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    scripted = Server()
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", r"/{path:[\s\S]*}", scripted.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    scripted.go_on.set()
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[TgClient]:
    async with TgClient(TOKEN, base_url=server.url) as opened:
        yield opened


@pytest.fixture
async def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the loop's clock forward; what is due then runs at once."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("the clock of uvloop cannot be moved")

    def by(seconds: float) -> None:
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + seconds)

    return by


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "a b.pdf"
    path.write_bytes(CONTENT)
    return path


def sparse(path: Path, size: int = LARGE) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


async def rounds() -> None:
    """Let everything run that is ready, or due."""
    for _ in range(9):
        await asyncio.sleep(0)


# -- uploads ---------------------------------------------------------------------------------------------------


async def test_a_path_is_a_part_with_the_params_name(
    server: Server, client: TgClient, document: Path
) -> None:
    message = await client.send_document(chat_id=5, document=InputFile(document), caption="Ж")
    assert message.message_id == 3
    assert server.asked == [f"/bot{TOKEN}/sendDocument"]
    assert server.bodies == [
        {
            "chat_id": (None, None, b"5"),
            "caption": (None, None, "Ж".encode()),
            "document": ("a b.pdf", "application/octet-stream", CONTENT),
        }
    ]
    assert int(server.headers[0]["Content-Length"]) > len(CONTENT)


async def test_an_album_names_its_parts(server: Server, client: TgClient, document: Path) -> None:
    server.answer = lambda request: takes_album(server, request)
    photo = InputFile(b"jpg", filename="1.jpg", mime="image/jpeg")
    media: list[Any] = [
        InputMediaPhoto(media=photo, caption="c"),
        InputMediaDocument(media=InputFile(document)),
    ]
    assert len(await client.send_media_group(chat_id=5, media=[*media, InputMediaPhoto(media="an_id")])) == 1
    (form,) = server.bodies
    told = json.loads(form["media"][2])
    first, second = (form[item["media"].removeprefix("attach://")] for item in told[:2])
    assert first == ("1.jpg", "image/jpeg", b"jpg")
    assert second == ("a b.pdf", "application/octet-stream", CONTENT)
    assert told[0]["caption"] == "c"
    assert told[2] == {"type": "photo", "media": "an_id"}


async def takes_album(server: Server, request: web.Request) -> web.StreamResponse:
    server.bodies.append(await form_of(request))
    return ok([SENT])


async def test_what_is_at_telegram_or_on_the_web_stays_json(server: Server, client: TgClient) -> None:
    await client.send_photo(chat_id=5, photo="https://example.org/a.jpg")
    assert server.bodies == [{"chat_id": 5, "photo": "https://example.org/a.jpg"}]


async def test_a_stream_goes_out_in_chunks(server: Server, client: TgClient) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for piece in (b"one ", b"", b"two"):
            yield piece

    await client.send_document(chat_id=5, document=InputFile(stream(), filename="s.txt"))
    assert server.headers[0]["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in server.headers[0]
    assert server.bodies[0]["document"] == ("s.txt", "application/octet-stream", b"one two")


async def test_connections_are_kept_after_uploads(server: Server, client: TgClient, document: Path) -> None:
    transports = set()

    async def noted(request: web.Request) -> web.StreamResponse:
        transports.add(request.transport)
        return await server.takes(request)

    server.answer = noted
    for _ in range(3):
        await client.send_document(chat_id=5, document=InputFile(document))
    assert len(transports) == 1


async def test_only_as_much_is_read_as_the_network_takes(server: Server, client: TgClient) -> None:
    given = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += PIECE
            yield bytes(PIECE)

    async def never_reads(_: web.Request) -> web.StreamResponse:
        await server.go_on.wait()
        return ok(SENT)

    server.answer = never_reads
    sending = asyncio.create_task(client.send_document(chat_id=5, document=InputFile(stream(), filename="x")))
    before = -1
    while given != before or not server.arrived.is_set():  # until it stands still
        before = given
        await asyncio.sleep(0.05)
    assert given < LARGE
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_other_calls_go_on_meanwhile(server: Server, client: TgClient, tmp_path: Path) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("sendDocument"):
            await server.go_on.wait()
        return await server.takes(request)

    server.answer = slow
    file = InputFile(sparse(tmp_path / "x"))
    sending = asyncio.create_task(client.send_document(chat_id=5, document=file))
    await server.arrived.wait()
    await asyncio.wait_for(client.send_message(chat_id=5, text="hi"), WITHIN_S)
    server.go_on.set()
    await asyncio.wait_for(sending, WITHIN_S)


async def test_a_refusal_ends_the_upload_early(server: Server, client: TgClient, tmp_path: Path) -> None:
    async def refuses(request: web.Request) -> web.StreamResponse:
        await request.content.readany()
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\n<html")
        await server.go_on.wait()
        return web.Response()

    server.answer = refuses
    with pytest.raises(Refused, match="413"):
        await asyncio.wait_for(
            client.send_document(chat_id=5, document=InputFile(sparse(tmp_path / "x"))), WITHIN_S
        )
    await asyncio.wait_for(server.cut.wait(), WITHIN_S)


async def test_interim_answers_do_not_end_the_upload(
    server: Server, client: TgClient, document: Path
) -> None:
    async def goes_on(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await server.takes(request)

    server.answer = goes_on
    await client.send_document(chat_id=5, document=InputFile(document))
    assert server.bodies[0]["document"][2] == CONTENT


@pytest.mark.parametrize("abort", [True, False])
async def test_a_connection_that_breaks_in_the_middle_is_not_executed(
    server: Server, client: TgClient, tmp_path: Path, abort: bool
) -> None:
    async def cuts(request: web.Request) -> web.StreamResponse:
        await request.content.readany()
        assert request.transport is not None
        (request.transport.abort if abort else request.transport.close)()
        return web.Response()

    server.answer = cuts
    with pytest.raises(UploadCut, match=r"sendDocument: not executed, \w+ after \d+ bytes") as caught:
        await client.send_document(chat_id=5, document=InputFile(sparse(tmp_path / "x")))
    assert isinstance(caught.value, NotSent)


async def test_a_connection_that_breaks_after_it_leaves_the_outcome_unknown(
    server: Server, client: TgClient, document: Path
) -> None:
    async def takes_and_cuts(request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = takes_and_cuts
    with pytest.raises(OutcomeUnknown):
        await client.send_document(chat_id=5, document=InputFile(document))


async def test_the_last_byte_decides_whether_it_may_have_been_executed(
    server: Server, client: TgClient
) -> None:
    class Lingering:
        """All of it has left, but the end is not seen yet: the network takes its time, say."""

        length: int | None = 2

        async def pieces(self) -> AsyncGenerator[bytes, None]:
            yield b"{}"
            await server.go_on.wait()

    async def takes_and_cuts(request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = takes_and_cuts
    head = SecretBytes(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(client._calls.send("x", head, 30, Lingering()), WITHIN_S)


async def test_a_file_that_shrinks_meanwhile_cuts_the_connection(
    server: Server, client: TgClient, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "x")

    async def shrinks(request: web.Request) -> web.StreamResponse:
        with path.open("r+b") as file:
            file.truncate(5)
        return await server.takes(request)

    server.answer = shrinks
    with pytest.raises(FileUnusable, match="x became shorter while it was read"):
        await client.send_document(chat_id=5, document=InputFile(path))
    await asyncio.wait_for(server.cut.wait(), WITHIN_S)
    assert server.bodies == []


async def test_a_file_that_is_gone_when_its_turn_comes(
    server: Server, client: TgClient, tmp_path: Path
) -> None:
    first, second = sparse(tmp_path / "1"), sparse(tmp_path / "2")

    async def removes(request: web.Request) -> web.StreamResponse:
        second.unlink()
        return await server.takes(request)

    server.answer = removes
    media = [InputMediaDocument(media=InputFile(path)) for path in (first, second)]
    with pytest.raises(FileUnusable, match="2 is missing"):
        await client.send_media_group(chat_id=5, media=[*media])
    await asyncio.wait_for(server.cut.wait(), WITHIN_S)


async def test_a_file_that_is_missing_costs_no_request(
    server: Server, client: TgClient, tmp_path: Path
) -> None:
    with pytest.raises(FileUnusable, match="is missing"):
        await client.send_document(chat_id=5, document=InputFile(tmp_path / "x"))
    with pytest.raises(FileUnusable, match="not a regular file"):
        await client.send_document(chat_id=5, document=InputFile(tmp_path))
    assert server.asked == []


async def test_a_stream_that_fails_cuts_the_connection(server: Server, client: TgClient) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        await server.arrived.wait()
        raise RuntimeError("no more")

    with pytest.raises(FileUnusable, match="stream x failed: RuntimeError: no more"):
        await client.send_document(chat_id=5, document=InputFile(broken(), filename="x"))
    await asyncio.wait_for(server.cut.wait(), WITHIN_S)
    assert server.bodies == []


async def test_an_upload_may_take_long_but_not_stand_still(
    server: Server, client: TgClient, jump: Callable[[float], None]
) -> None:
    taken = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x"
            jump(25)
        taken.set()
        await server.go_on.wait()

    sending = asyncio.create_task(client.send_document(chat_id=5, document=InputFile(slow(), filename="x")))
    await taken.wait()
    assert not sending.done()
    jump(31)
    with pytest.raises(UploadCut, match="no progress for 30 s"):
        await asyncio.wait_for(sending, WITHIN_S)


async def test_a_server_gets_time_to_pass_a_large_file_on(
    server: Server, client: TgClient, tmp_path: Path, jump: Callable[[float], None]
) -> None:
    read = asyncio.Event()

    async def thinks(request: web.Request) -> web.StreamResponse:
        async for _ in request.content.iter_any():
            pass
        read.set()
        await server.go_on.wait()
        return ok(SENT)

    server.answer = thinks
    file = InputFile(sparse(tmp_path / "x"))
    sending = asyncio.create_task(client.send_document(chat_id=5, document=file))
    await asyncio.wait_for(read.wait(), WITHIN_S)
    await rounds()
    jump(30 + 120)  # 64 MiB at half a MiB a second are 128 s
    await rounds()
    assert not sending.done()
    jump(20)
    with pytest.raises(OutcomeUnknown, match="no answer in 158 s"):
        await asyncio.wait_for(sending, WITHIN_S)


async def test_close_cuts_an_upload(server: Server, client: TgClient, tmp_path: Path) -> None:
    async def waits(_: web.Request) -> web.StreamResponse:
        await server.go_on.wait()
        return ok(SENT)

    server.answer = waits
    file = InputFile(sparse(tmp_path / "x"))
    sending = asyncio.create_task(client.send_document(chat_id=5, document=file))
    await server.arrived.wait()
    await client.close()
    with pytest.raises(UploadCut):
        await asyncio.wait_for(sending, WITHIN_S)


# -- downloads -------------------------------------------------------------------------------------------------


def file(**more: Any) -> dict[str, Any]:
    known = {"file_id": "id", "file_unique_id": "AQ-_9", "file_path": "documents/a b.pdf"}
    return known | {"file_size": len(CONTENT)} | more


class Disk:
    """A file server: knows ranges, unless told otherwise, and can cut after some bytes."""

    def __init__(self, server: Server) -> None:
        self.file = file()
        self.content = CONTENT
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        self.has_length = True
        self.cut_after: int | None = None
        self.content_range: str | None = None
        server.answer = self

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/getFile"):
            assert await request.json() == {"file_id": "id"}
            return ok({name: value for name, value in self.file.items() if value is not None})
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        start = int(wanted[6:-1]) if wanted and self.knows_ranges else 0
        if start and start >= len(self.content):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.content)}"})
        status = 206 if start else 200
        headers = {"Content-Length": str(len(self.content) - start)} if self.has_length else {}
        if start:
            all_of_it = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
            headers["Content-Range"] = all_of_it if self.content_range is None else self.content_range
        answer = web.StreamResponse(status=status, headers=headers)
        if not self.has_length:
            answer.force_close()
            answer._length_check = False
        await answer.prepare(request)
        await answer.write(self.content[start : self.cut_after])
        if self.cut_after is not None:
            assert request.transport is not None
            request.transport.close()
        return answer


@pytest.fixture
def disk(server: Server) -> Disk:
    return Disk(server)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_file_is_saved(server: Server, client: TgClient, disk: Disk, tmp_path: Path) -> None:
    assert await client.download("id", str(tmp_path / "x")) == tmp_path / "x"
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert names(tmp_path) == {"x"}
    assert server.asked == [f"/bot{TOKEN}/getFile", f"/file/bot{TOKEN}/documents/a%20b.pdf"]


async def test_a_file_that_is_known_is_not_asked_for_again(
    server: Server, client: TgClient, disk: Disk, tmp_path: Path
) -> None:
    await client.download(File.model_validate(disk.file), tmp_path / "x")
    await client.download(File.model_validate(file(file_path=None)), tmp_path / "x")
    assert [path.rpartition("/")[2] for path in server.asked] == ["a%20b.pdf", "getFile", "a%20b.pdf"]


async def test_what_was_there_is_replaced_only_by_the_whole(
    client: TgClient, disk: Disk, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"old")
    disk.cut_after = 1000
    with pytest.raises(DownloadCut):
        await client.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"old"
    disk.cut_after = None
    await client.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


async def cut_once(client: TgClient, disk: Disk, destination: Path) -> int:
    """Download until the connection is cut; return how much of it is here."""
    disk.cut_after = 600_000
    with pytest.raises(DownloadCut):
        await client.download("id", destination)
    disk.cut_after = None
    (part,) = destination.parent.glob("*.part")
    assert 0 < part.stat().st_size <= 600_000
    return part.stat().st_size


async def test_a_download_goes_on_where_it_was_cut(client: TgClient, disk: Disk, tmp_path: Path) -> None:
    have = await cut_once(client, disk, tmp_path / "x")
    await client.download("id", tmp_path / "x")
    assert disk.ranges == [None, f"bytes={have}-"]
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert names(tmp_path) == {"x"}


async def test_a_download_can_begin_anew(client: TgClient, disk: Disk, tmp_path: Path) -> None:
    await cut_once(client, disk, tmp_path / "x")
    await client.download("id", tmp_path / "x", resume=False)
    assert disk.ranges == [None, None]
    assert (tmp_path / "x").read_bytes() == CONTENT


async def test_a_server_that_does_not_know_ranges(client: TgClient, disk: Disk, tmp_path: Path) -> None:
    await cut_once(client, disk, tmp_path / "x")
    disk.knows_ranges = False
    await client.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("nonsense", ["bytes 5-9/10", "bytes", "pages 1-2/3", ""])
async def test_a_server_that_gives_another_range(
    client: TgClient, disk: Disk, tmp_path: Path, nonsense: str
) -> None:
    have = await cut_once(client, disk, tmp_path / "x")
    disk.content_range = nonsense
    await client.download("id", tmp_path / "x")
    assert disk.ranges == [None, f"bytes={have}-", None]
    assert (tmp_path / "x").read_bytes() == CONTENT


async def test_a_part_that_only_lacks_its_name(client: TgClient, disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "x.AQ-_9.part").write_bytes(CONTENT)
    await client.download("id", tmp_path / "x")
    assert disk.ranges == []
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [None, len(CONTENT)])
async def test_a_part_that_cannot_be_right(
    client: TgClient, disk: Disk, tmp_path: Path, size: int | None
) -> None:
    (tmp_path / "x.AQ-_9.part").write_bytes(bytes(len(CONTENT) + 1))
    disk.file = file(file_size=size)
    await client.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


async def test_the_part_of_another_file_is_left_alone(client: TgClient, disk: Disk, tmp_path: Path) -> None:
    await cut_once(client, disk, tmp_path / "x")
    disk.file, disk.content = file(file_unique_id="other/../"), CONTENT[::-1]
    await client.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT[::-1]
    assert names(tmp_path) == {"x", "x.AQ-_9.part"}


@pytest.mark.parametrize("says", ["getFile", "length", "nothing"])
async def test_a_file_that_is_too_big_leaves_nothing(
    client: TgClient, disk: Disk, tmp_path: Path, says: str
) -> None:
    disk.file = file(file_size=len(CONTENT) if says == "getFile" else None)
    disk.has_length = says != "nothing"
    with pytest.raises(FileTooBig, match=f"more than {len(CONTENT) - 1} bytes"):
        await client.download("id", tmp_path / "x", limit_bytes=len(CONTENT) - 1)
    assert names(tmp_path) == set()
    assert len(disk.ranges) == (says != "getFile")
    await client.download("id", tmp_path / "x", limit_bytes=len(CONTENT))


async def test_a_length_that_is_too_much_is_enough(server: Server, client: TgClient, tmp_path: Path) -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/getFile"):
            return ok(file(file_size=None))
        answer = web.StreamResponse(headers={"Content-Length": "6"})
        await answer.prepare(request)
        await server.go_on.wait()
        return answer

    server.answer = hangs
    with pytest.raises(FileTooBig):
        await asyncio.wait_for(client.download("id", tmp_path / "x", limit_bytes=5), WITHIN_S)
    await asyncio.wait_for(server.cut.wait(), WITHIN_S)


async def test_an_end_without_a_length_is_measured_by_what_was_promised(
    client: TgClient, disk: Disk, tmp_path: Path
) -> None:
    disk.has_length, disk.content = False, CONTENT[:-1]
    with pytest.raises(DownloadCut, match="ended after 1048575 of 1048576 bytes"):
        await client.download("id", tmp_path / "x")
    assert names(tmp_path) == {"x.AQ-_9.part"}


async def test_an_empty_file(client: TgClient, disk: Disk, tmp_path: Path) -> None:
    disk.content, disk.file = b"", file(file_size=0)
    await client.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b""


def refusing(status: int, text: str, answer: Any = None) -> Answer:
    async def refuse(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/getFile"):
            return ok(file() if answer is None else answer)
        return web.Response(status=status, text=text)

    return refuse


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, Refused), (401, Unauthorized), (502, ServerTrouble), (206, ServerTrouble), (204, ServerTrouble)],
)
async def test_a_download_that_is_refused(
    server: Server, client: TgClient, tmp_path: Path, status: int, error: type[TelegramError]
) -> None:
    server.answer = refusing(status, "")
    with pytest.raises(error, match=f"download: {status} HTTP {status}"):
        await client.download("id", tmp_path / "x")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("answer", [{"file_id": "id"}, file(file_path=""), "x", file(file_size=2.5)])
async def test_a_file_without_a_path(server: Server, client: TgClient, tmp_path: Path, answer: Any) -> None:
    server.answer = refusing(404, "", answer)
    with pytest.raises(ServerTrouble, match="no File with a path"):
        await client.download("id", tmp_path / "x")


@pytest.mark.parametrize("has_length", [True, False])
async def test_a_download_may_not_stand_still(
    server: Server,
    client: TgClient,
    disk: Disk,
    tmp_path: Path,
    jump: Callable[[float], None],
    has_length: bool,
) -> None:
    async def stands(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/getFile"):
            return ok(file(file_size=None))
        length = f"Content-Length: {len(CONTENT)}\r\n" if has_length else ""
        assert request.transport is not None
        request.transport.write(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + CONTENT[:-1])
        await server.go_on.wait()
        return web.Response()

    server.answer = stands
    loading = asyncio.create_task(client.download("id", tmp_path / "x"))
    part = tmp_path / "x.AQ-_9.part"
    while not (part.exists() and part.stat().st_size):
        await asyncio.sleep(0)
    while not loading.done():  # the first ones may come while it still goes on
        jump(31)
        await asyncio.wait({loading}, timeout=0.1)
    with pytest.raises(DownloadCut, match="nothing came for 30 s"):
        await loading
    assert CONTENT.startswith(part.read_bytes())


async def test_a_download_that_never_begins(
    server: Server, client: TgClient, tmp_path: Path, jump: Callable[[float], None]
) -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/getFile"):
            return ok(file())
        asked.set()
        await server.go_on.wait()
        return web.Response()

    asked, server.answer = asyncio.Event(), hangs
    loading = asyncio.create_task(client.download("id", tmp_path / "x"))
    await asked.wait()
    jump(31)
    with pytest.raises(DownloadCut, match="nothing came for 30 s"):
        await asyncio.wait_for(loading, WITHIN_S)


async def test_a_cancelled_download_leaves_its_part(server: Server, client: TgClient, tmp_path: Path) -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/getFile"):
            return ok(file())
        answer = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
        await answer.prepare(request)
        await answer.write(CONTENT[:1000])
        await server.go_on.wait()
        return answer

    server.answer = hangs
    loading = asyncio.create_task(client.download("id", tmp_path / "x"))
    part = tmp_path / "x.AQ-_9.part"
    while not part.exists():
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="already"):
        await client.download("id", tmp_path / "x")
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await asyncio.wait_for(server.cut.wait(), WITHIN_S)
    Disk(server)
    await client.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


async def test_a_folder_that_is_missing_is_an_os_error(client: TgClient, disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await client.download("id", tmp_path / "no" / "x")


async def test_connections_are_kept_after_downloads(client: TgClient, disk: Disk, tmp_path: Path) -> None:
    for _ in range(3):
        await client.download("id", tmp_path / "x")
    pooled = client._downloads._connector
    assert pooled is not None
    assert sum(len(connections) for connections in pooled._conns.values()) == 1


async def test_a_servers_path_cannot_change_the_request(
    server: Server, client: TgClient, disk: Disk, tmp_path: Path
) -> None:
    disk.file = file(file_path="x HTTP/1.1\r\nX: y\r\n\r\n/Ж?#%")
    await client.download("id", tmp_path / "x")
    path = "x%20HTTP/1.1%0D%0AX%3A%20y%0D%0A%0D%0A/%D0%96%3F%23%25"
    assert server.asked[1] == f"/file/bot{TOKEN}/{path}"
    assert "X" not in server.headers[1]


# -- the test environment --------------------------------------------------------------------------------------


async def test_the_test_environment_has_paths_of_its_own(server: Server, disk: Disk, tmp_path: Path) -> None:
    async with TgClient(TOKEN, base_url=server.url + "/api/", test=True) as client:
        await client.download("id", tmp_path / "x")
        server.answer = server.takes
        await client.send_document(chat_id=5, document=InputFile(b"x", filename="x"))
    assert server.asked == [
        f"/api/bot{TOKEN}/test/getFile",
        f"/api/file/bot{TOKEN}/test/documents/a%20b.pdf",
        f"/api/bot{TOKEN}/test/sendDocument",
    ]


# -- a local server --------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A local server's folder, with one file."""
    folder = tmp_path / "root" / TOKEN / "documents"
    folder.mkdir(parents=True)
    (folder / "a b.pdf").write_bytes(CONTENT)
    (tmp_path / "outside").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "outside")
    return tmp_path / "root"


@pytest.fixture
async def local(server: Server, root: Path) -> AsyncIterator[TgClient]:
    async with TgClient(TOKEN, base_url=server.url, local=True, local_root=root) as opened:
        yield opened


async def test_a_local_server_gets_the_path(server: Server, local: TgClient, document: Path) -> None:
    media = InputMediaDocument(media=InputFile(document))
    await local.call("sendDocument", chat_id=5, document=InputFile(document))
    await local.call("sendMediaGroup", chat_id=5, media=[media])
    uri = f"file://{document.parent}/a%20b.pdf"
    assert server.bodies == [
        {"chat_id": 5, "document": uri},
        {"chat_id": 5, "media": [{"type": "document", "media": uri}]},
    ]


async def test_a_local_server_still_gets_what_it_cannot_read(
    server: Server, local: TgClient, document: Path
) -> None:
    await local.send_document(chat_id=5, document=InputFile(b"x", filename="x"))
    await local.send_document(chat_id=5, document=InputFile(document, filename="other.pdf"))
    with suppress(ServerTrouble):  # the answer is not what setWebhook gives
        await local.set_webhook(url="https://h", certificate=InputFile(document))
    names = [form[name][0] for form in server.bodies for name in form if form[name][0]]
    assert names == ["x", "other.pdf", "a b.pdf"]


async def test_a_missing_file_is_not_named_to_a_local_server(
    server: Server, local: TgClient, tmp_path: Path
) -> None:
    with pytest.raises(FileUnusable, match="is missing"):
        await local.send_document(chat_id=5, document=InputFile(tmp_path / "x"))
    assert server.asked == []


async def test_a_local_server_gets_time_for_a_large_file(
    server: Server, local: TgClient, tmp_path: Path, jump: Callable[[float], None]
) -> None:
    async def thinks(_: web.Request) -> web.StreamResponse:
        await server.go_on.wait()
        return ok(SENT)

    server.answer = thinks
    file = InputFile(sparse(tmp_path / "x"))
    sending = asyncio.create_task(local.send_document(chat_id=5, document=file))
    await server.arrived.wait()
    jump(150)
    await rounds()
    assert not sending.done()
    jump(20)
    with pytest.raises(OutcomeUnknown, match="no answer in 158 s"):
        await asyncio.wait_for(sending, WITHIN_S)


@pytest.mark.parametrize("spelling", ["{}", "file://{}", "file:{}"])
async def test_a_local_servers_file_is_copied(
    server: Server, local: TgClient, disk: Disk, root: Path, tmp_path: Path, spelling: str
) -> None:
    where = root / TOKEN / "documents" / "a b.pdf"
    path = str(where) if spelling == "{}" else str(where).replace(" ", "%20")
    disk.file = file(file_path=spelling.format(path))
    (tmp_path / "x.AQ-_9.part").write_bytes(CONTENT[:1000])
    await local.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert where.read_bytes() == CONTENT
    assert disk.ranges == []
    with pytest.raises(FileTooBig):
        await local.download("id", tmp_path / "x", limit_bytes=5)


async def test_a_local_server_may_give_files_by_http_too(local: TgClient, disk: Disk, tmp_path: Path) -> None:
    await local.download("id", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert disk.ranges == [None]


@pytest.mark.parametrize(
    "path",
    [
        "{tmp}/outside",
        "{root}/../outside",
        "{root}/{token}/documents/link",
        "{root}",
        "{root}/{token}/documents/missing",
        "file://{root}/%2e%2e/outside",
        "file://elsewhere{root}/x",
        "/etc/passwd",
        "{root}x/y",
        "/a\0b",
    ],
)
async def test_no_answer_makes_us_read_just_any_file(
    server: Server, local: TgClient, disk: Disk, root: Path, tmp_path: Path, path: str
) -> None:
    disk.file = file(file_path=path.format(tmp=tmp_path, root=root, token=TOKEN), file_size=None)
    with pytest.raises(FileUnusable, match=r"outside of local_root|is missing|not a regular file") as caught:
        await local.download("id", tmp_path / "x")
    assert SECRET not in told(caught.value)
    assert not (tmp_path / "x").exists()


async def test_without_a_root_no_file_of_the_disk_is_read(
    server: Server, disk: Disk, root: Path, tmp_path: Path
) -> None:
    disk.file = file(file_path=str(root / TOKEN / "documents" / "a b.pdf"))
    async with TgClient(TOKEN, base_url=server.url, local=True) as client:
        with pytest.raises(FileUnusable, match="set local_root"):
            await client.download("id", tmp_path / "x")
    async with TgClient(TOKEN, base_url=server.url) as client:  # then it is a path of Telegram's own
        await client.download("id", tmp_path / "x")
    assert disk.ranges == [None]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"local": True}, "give its base_url"),
        ({"local_root": Path("/srv/x")}, "set local, too"),
        ({"local": True, "base_url": "http://h", "local_root": Path("/")}, "not of the whole disk"),
        ({"local": True, "base_url": "http://h", "local_root": Path("x")}, "absolute path"),
    ],
)
def test_settings_that_clash(bad: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TgClient(TOKEN, **bad)


# -- the token -------------------------------------------------------------------------------------------------


def told(error: BaseException | None) -> str:
    """Whatever of an error could reach a log."""
    if error is None:
        return ""
    seen = f"{error} {error!r} {error.args!r} {vars(error)!r} {''.join(traceback.format_exception(error))}"
    return seen + told(error.__context__) + told(error.__cause__)


def raw(head: bytes, *, abort: bool = False) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/getFile"):
            return ok(file(file_path=f"documents/{TOKEN}"))
        await request.content.readany()
        assert request.transport is not None
        request.transport.write(head)
        (request.transport.abort if abort else request.transport.close)()
        return web.Response()

    return answer


ECHO = f"/file/bot{TOKEN}/x".encode()
BROKEN = [
    raw(b""),
    raw(b"", abort=True),
    raw(ECHO + b"\r\n\r\n"),
    raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + ECHO),
    raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ECHO + b"\r\n"),
    raw(b"HTTP/1.1 206 OK\r\nContent-Range: " + ECHO + b"\r\nContent-Length: 0\r\n\r\n"),
    raw(b"HTTP/1.1 302 Found\r\nLocation: " + ECHO + b"\r\nContent-Length: 0\r\n\r\n"),
    raw(b'HTTP/1.1 404 No\r\nContent-Length: 99\r\n\r\n{"ok":false,"description":"' + ECHO + b'"}'),
]


@pytest.mark.parametrize("answer", BROKEN)
async def test_the_token_is_in_no_error(
    server: Server, client: TgClient, tmp_path: Path, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = answer
    errors: list[BaseException] = []
    with pytest.raises(TelegramError) as caught:
        await client.download("id", tmp_path / "x")
    errors.append(caught.value)
    with pytest.raises(TelegramError) as caught:
        await client.send_document(chat_id=5, document=InputFile(sparse(tmp_path / "y")))
    errors.append(caught.value)
    await client.close()
    with pytest.raises(NotSent, match="closed") as caught:
        await client.download(File.model_validate(file()), tmp_path / "x")
    errors.append(caught.value)
    gc.collect()
    assert SECRET not in "".join(map(told, errors)) + caplog.text
