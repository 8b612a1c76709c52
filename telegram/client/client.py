"""The Bot API client: methods become requests, answers become values or telegram.botapi.errors."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from typing import Any, Self

import structlog
from pydantic import SecretBytes, SecretStr, ValidationError
from yarl import URL

from telegram.botapi.calls import Files, encode_json, encode_params
from telegram.botapi.decoding import decode
from telegram.botapi.errors import ApiError, ServerTrouble, Unreadable, api_error, parse
from telegram.botapi.intake import BrokenReply, RawUpdate
from telegram.botapi.intake_large import split_off_loop
from telegram.botapi.methods import Methods
from telegram.botapi.types import File, Update
from telegram.client.clock import TelegramClock
from telegram.client.downloads import DOWNLOAD_MAX, FileServer, is_local, local_opener, part_of, save
from telegram.client.multipart import Multipart, multipart, name_paths, unpacked
from telegram.client.proxy import Proxy, check_target, read_proxy
from telegram.client.streaming import FILE_PACE
from telegram.client.wire import POLL_ANSWER_MAX, Answer, Wire

# Two, so that a poll that is being aborted does not delay the next one. Calls have their own pool and never delay a poll.
_POLL_CONNECTIONS = 2
_DOWNLOADS = 8  # at a time; others wait up to timeout_s for a connection
# Telegram Bot API server: at most 80 characters, the id below 2**54; the length of the secret part is not specified.
_TOKEN = re.compile(r"([1-9][0-9]{0,16}):([A-Za-z0-9_-]{1,64})")

log = structlog.get_logger()


class TgClient(Methods):
    """Calls of one bot to the Bot API. Every failed call is a TelegramError; nothing is retried here.

    No error contains the token, not even in a traceback that prints variables (those of files may show content and paths).

    Use it as `async with TgClient(token) as client`, or close() it; use one client in one event loop only.
    """

    def __init__(
        self,
        token: str,
        *,
        base_url: str = "https://api.telegram.org",
        connections: int = 100,
        timeout_s: float = 30.0,
        test: bool = False,
        local: bool = False,
        local_root: Path | None = None,
        allow_http: bool = False,
        proxy: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Raise ValueError, without quoting the token, for a malformed token or URL, and for conflicting settings.

        `timeout_s` bounds the wait for a connection, and again the wait for the whole answer; for files, the time
        without progress. `test`: use Telegram's test environment. `local`: the server at `base_url` runs with --local
        on this machine, so it gets paths instead of uploads; `local_root` is the only folder from which its files are
        read (its --dir). `proxy`: its URL (telegram/client/proxy.py). `allow_http`: allow http:// to another machine, where anyone on the network path can read the
        token and all messages. `wall` returns Unix time by this machine's clock.
        """
        found = _TOKEN.fullmatch(token)
        if found is None or len(token) > 80 or int(found[1]) >= 2**54:
            raise ValueError("malformed bot token: it looks like 123456789:AbCdEf, as @BotFather gives it")
        if connections < 1 or timeout_s <= 0:
            raise ValueError("connections and timeout_s must be positive")
        url = _checked(base_url)
        _check_local(url, local=local, root=local_root)
        if url.scheme == "http" and not allow_http and not _is_this_machine(url):
            raise ValueError(
                "http:// to another machine sends the token unencrypted: use https://, or allow it "
                "(TELEGRAM_ALLOW_HTTP=true) for a network that you trust"
            )
        self.bot_id = int(found[1])
        self._token = SecretStr(token)
        self._timeout_s = timeout_s
        self._local = local
        self._local_root = local_root
        base, bot = url.raw_path.rstrip("/"), f"bot{token}/{'test/' if test else ''}"
        host = url.host_port_subcomponent or ""
        self._target = SecretBytes(f"POST {base}/{bot}".encode())
        self._any_headers = f" HTTP/1.1\r\nHost: {host}\r\nContent-Type: ".encode()
        self._headers = self._any_headers + b"application/json\r\nContent-Length: "
        through = _through(proxy, url)
        self._calls = Wire(url.origin(), connections, timeout_s, self._token, proxy=through)
        self._polls = Wire(
            url.origin(), _POLL_CONNECTIONS, timeout_s, self._token, answer_max=POLL_ANSWER_MAX, proxy=through
        )
        self._downloads = Wire(url.origin(), _DOWNLOADS, timeout_s, self._token, proxy=through)
        file_target = SecretStr(f"GET {base}/file/{bot}")
        self._files = FileServer(self._downloads, file_target, host, self._token, timeout_s)
        self._clock = TelegramClock(wall)
        self._parts: set[Path] = set()  # files that running downloads write

    def time(self) -> float:
        """Return Unix time by Telegram's clock, from the Date header of answers to getUpdates (telegram/client/clock.py)."""
        return self._clock.time()

    def __repr__(self) -> str:
        return f"<TgClient of bot {self.bot_id}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Abort running calls (OutcomeUnknown) and close every connection; later calls raise NotSent."""
        await self._polls.close()
        await self._downloads.close()
        await self._calls.close()

    async def get_updates(
        self,
        offset: int | None = None,
        *,
        limit: int = 100,
        timeout_s: int = 50,
        allowed_updates: Sequence[str] | None = None,
    ) -> list[RawUpdate]:
        """Wait up to `timeout_s` (Telegram clamps it to 50) for updates, each with its exact bytes.

        A higher offset makes Telegram forget the updates below it as soon as the request arrives. Updates beyond
        `limit` are left out: they come again, unless a higher offset is requested.
        """
        asked = {"offset": offset, "limit": limit, "timeout": timeout_s, "allowed_updates": allowed_updates}
        body, _ = _encoded(asked)
        request = self._request("getUpdates", body)
        answer = await self._polls.send("getUpdates", request, self._timeout_s + timeout_s)
        if answer.status == 200:
            self._clock.heard(answer.date)
            # No variable here may hold the answer's text: a traceback may print it.
            with suppress(BrokenReply):
                return await split_off_loop(answer.body, offset=offset or 0, limit=limit)
        raise self._error("getUpdates", answer)

    async def get_updates_in_objects(
        self,
        offset: int | None = None,
        *,
        limit: int = 100,
        timeout_s: int = 50,
        allowed_updates: Sequence[str] | None = None,
    ) -> list[Update]:
        """Like get_updates, but parsed; an unreadable update is skipped with a warning."""
        updates = []
        for raw in await self.get_updates(
            offset, limit=limit, timeout_s=timeout_s, allowed_updates=allowed_updates
        ):
            try:
                updates.append(decode(raw.body))
            except Unreadable:
                log.warning("unreadable update skipped", update_id=raw.update_id)
        return updates

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call any method and return its `result`; parameters that are None are omitted.

        ValueError or TypeError, before anything is sent, for values that JSON or UTF-8 cannot represent. FileUnusable
        for an InputFile that is missing. Files are streamed, never whole in memory.
        """
        body, files = _encoded(params)
        if files:
            return await self.upload(method, body, files)
        answer = await self._calls.send(method, self._request(method, body), self._timeout_s)
        return self._result(method, answer)

    async def post(self, method: str, body: bytes) -> None:
        """Call `method` with a JSON body; it returns if Telegram answered ok, else TelegramError."""
        answer = await self._calls.send(method, self._request(method, body), self._timeout_s)
        # The server's usual form needs no parsing; any other, or a truncated one, is parsed.
        is_plain = answer.body.startswith(b'{"ok":true') and answer.body.endswith(b"}")
        if answer.status != 200 or not is_plain:
            self._result(method, answer)

    async def upload(self, method: str, body: bytes, files: Files) -> Any:
        """Call `method` with a JSON body and the files that belong into it (telegram.botapi.calls); return its `result`."""
        params = unpacked(body)
        timeout_s = self._timeout_s
        # A local server reads all files itself, except the certificate of setWebhook.
        if self._local and method.lower() != "setwebhook":
            files, size = await name_paths(params, files)
            timeout_s += size / FILE_PACE
        if not files:
            answer = await self._calls.send(method, self._request(method, encode_json(params)), timeout_s)
        else:
            form = await multipart(params, files)
            answer = await self._calls.send(method, self._upload_head(method, form), timeout_s, form)
        return self._result(method, answer)

    async def download(
        self,
        file: str | File,
        destination: str | PathLike[str],
        *,
        limit_bytes: int = DOWNLOAD_MAX,
        resume: bool = True,
    ) -> Path:
        """Save a file, given by its file_id or as a File, to the path `destination`: the whole file or nothing.

        While incomplete it is beside the destination as *.part; after DownloadCut it stays there, and the next call
        resumes it unless `resume` is False. FileTooBig above `limit_bytes`; OSError for errors of the local disk.
        """
        path = Path(destination)
        if not isinstance(file, File) or file.file_path is None:
            file = await self._get_file(file if isinstance(file, str) else file.file_id, limit_bytes)
        where = file.file_path or ""
        if self._local and is_local(where):
            opener = await local_opener(where, self._local_root)
        else:
            opener = self._files.opener(where)
        part = part_of(path, file.file_unique_id)
        if part in self._parts:
            raise ValueError("this file is being downloaded to this path already")
        self._parts.add(part)
        try:
            await save(opener, part, path, size=file.file_size, limit_bytes=limit_bytes, resume=resume)
        finally:
            self._parts.discard(part)
        return path

    async def _get_file(self, file_id: str, limit_bytes: int) -> File:
        """Call getFile. A local server answers when it has the whole file, so it gets more time."""
        timeout_s = self._timeout_s + (limit_bytes / FILE_PACE if self._local else 0.0)
        request = self._request("getFile", encode_json({"file_id": file_id}))
        answer = await self._downloads.send("getFile", request, timeout_s)
        if (found := _located(self._result("getFile", answer))) is None:
            raise ServerTrouble("getFile", 200, "HTTP 200, the result is no File with a path")
        return found

    def _upload_head(self, method: str, form: Multipart) -> SecretBytes:
        length = "Transfer-Encoding: chunked" if form.length is None else f"Content-Length: {form.length}"
        head = f"{form.content_type}\r\n{length}\r\n\r\n".encode()
        target = self._target.get_secret_value() + _checked_name(method)
        return SecretBytes(b"%b%b%b" % (target, self._any_headers, head))

    def _request(self, method: str, body: bytes) -> SecretBytes:
        name = _checked_name(method)
        target = self._target.get_secret_value()
        return SecretBytes(b"%b%b%b%d\r\n\r\n%b" % (target, name, self._headers, len(body), body))

    def _result(self, method: str, answer: Answer) -> Any:
        result = _result_in(answer)
        if result is ...:
            raise self._error(method, answer)
        return result

    def _error(self, method: str, answer: Answer) -> ApiError:
        return api_error(method, *answer[:3], token=self._token.get_secret_value())


def _result_in(answer: Answer) -> Any:
    """Return the `result` of a successful answer; `...` if it is not one."""
    found = parse(answer.body) if answer.status == 200 else None
    if isinstance(found, dict) and found.get("ok") is True and "result" in found:
        return found["result"]
    return ...


def _located(result: Any) -> File | None:
    with suppress(ValidationError):
        if (found := File.model_validate(result)).file_path:
            return found
    return None


def _through(proxy: str | None, url: URL) -> Proxy | None:
    if proxy is None:
        return None
    try:
        found = read_proxy(proxy)
        check_target(found, url)
    except ValueError as error:
        raise ValueError(f"PROXY: {error}") from None
    return found


def _checked(base_url: str) -> URL:
    with suppress(ValueError, TypeError):
        url = URL(base_url)
        bare = url.origin().with_path(url.raw_path, encoded=True)  # no user, password, query, fragment
        if url == bare and url.scheme in {"http", "https"}:
            return url
    raise ValueError("malformed base URL: it looks like https://host, https://host:port or https://host/path")


def _is_this_machine(url: URL) -> bool:
    """Return whether the host is always this machine: localhost (RFC 6761, section 6.3) or a loopback address."""
    host = url.host or ""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def _check_local(url: URL, *, local: bool, root: Path | None) -> None:
    if local and url.host == "api.telegram.org":
        raise ValueError("local is for a Bot API server on this machine: give its base_url, too")
    if root is not None and not local:
        raise ValueError("local_root is for a local server: set local, too")
    if root is not None and (not root.is_absolute() or root == Path(root.anchor)):
        raise ValueError("local_root must be the absolute path of one folder, not of the whole disk")


def _checked_name(method: str) -> bytes:
    if not (method.isascii() and method.isalnum()):
        raise ValueError("the name of a Bot API method has letters and digits only")
    return method.encode()


def _encoded(params: dict[str, Any]) -> tuple[bytes, Files]:
    return encode_params({name: value for name, value in params.items() if value is not None})
