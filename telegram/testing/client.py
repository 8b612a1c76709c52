"""A TgClient without a network: the fake server's World answers its calls, as strictly as the server."""

from pathlib import Path
from typing import Any, NamedTuple

from telegram.botapi.calls import Files, encode_params
from telegram.botapi.files import InputFile
from telegram.botapi.types import File
from telegram.client import TgClient
from telegram.client.multipart import put, unpacked
from telegram.client.wire import Answer
from telegram.fake.methods import METHODS, run
from telegram.fake.protocol.answers import ApiError, Described, refused
from telegram.fake.protocol.params import Upload
from telegram.fake.world import World


class Sent(NamedTuple):
    """A call of the bot, and its result; `error` is the reason of a refusal, else empty."""

    method: str
    params: dict[str, Any]
    result: Any
    error: str


class WorldClient(TgClient):
    """Calls the methods of a World immediately; `sent` has all calls in order."""

    def __init__(self, world: World) -> None:
        super().__init__(f"{world.bot['id']}:no-network")
        self._world = world
        self.sent: list[Sent] = []

    async def call(self, method: str, /, **params: Any) -> Any:
        """Like TgClient.call."""
        given = {name: value for name, value in params.items() if value is not None}
        return await self.upload(method, *encode_params(given))

    async def post(self, method: str, body: bytes) -> None:
        """Like TgClient.post."""
        await self.upload(method, body, ())

    async def upload(self, method: str, body: bytes, files: Files) -> Any:
        """Like TgClient.upload."""
        params = unpacked(body)
        for number, (at, file) in enumerate(files):
            name = str(at[0]) if len(at) == 1 else f"file{number}"
            if len(at) > 1:
                put(params, at, f"attach://{name}")
            params[name] = Upload(file.filename, await _content(file), file.mime)
        return self._answer(method, {name: value for name, value in params.items() if value is not None})

    async def get_updates(self, *_: Any, **__: Any) -> Any:
        """Raise: updates are not polled in a test."""
        raise RuntimeError("in a test of handlers the updates come from what people say and press")

    async def download(self, file: str | File, destination: Any, **_: Any) -> Path:
        """Save a file that was sent; a generated one has its file_id as content."""
        file_id = file if isinstance(file, str) else file.file_id
        known = self._world.files.find(file_id)
        found = self._world.files.download(known.path) if known else None
        path = Path(destination)
        path.write_bytes(found[1] if found else file_id.encode())  # noqa: ASYNC240 - nothing else runs in a test
        return path

    def _answer(self, method: str, params: dict[str, Any]) -> Any:
        name = METHODS[method.lower()].name if method.lower() in METHODS else method
        try:
            result = run(self._world, method.lower(), params, strict=True)
        except ApiError as error:
            self.sent.append(Sent(name, params, None, error.description))
            raise self._error(name, Answer(error.code, refused(error), None)) from None
        if isinstance(result, Described):
            result = result.result
        self.sent.append(Sent(name, params, result, ""))
        return result


async def _content(file: InputFile) -> bytes:
    return b"".join([piece async for piece in file.pieces(await file.size())])
