"""GET /file/bot<token>/<file_path>: downloads after getFile, whole or a range (RFC 9110, section 14).

Users send any files, also HTML and SVG, so the headers make a browser save them and neither show nor run them (RFC 6266,
Content-Disposition; Fetch Standard, X-Content-Type-Options; Content Security Policy, sandbox).
"""

import re
from urllib.parse import unquote

from aiohttp import web

from telegram.fake.protocol.answers import ApiError
from telegram.fake.world.files import Files

from .replies import Reply

_PATH = re.compile(r"/file/bot(?P<token>[^/]+)/(?:test/)?(?P<path>.+)")
_NOT_TO_RUN = (
    "Content-Disposition: attachment\r\nX-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: sandbox; default-src 'none'\r\n"
)
_TYPE = re.compile(
    r"[!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+", re.ASCII
)  # RFC 9110, section 8.3.1; users choose it
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


def download(files: Files, token: str, request: web.BaseRequest) -> Reply | None:
    """Return the reply; None if the request is not for a file, always on a local server. ApiError 401 or 404."""
    found = _PATH.fullmatch(unquote(request.raw_path.partition("?")[0]))
    if found is None or files.local or request.method != "GET":
        return None
    if found["token"] != token:
        raise ApiError(401, "Unauthorized")
    there = files.download(found["path"])
    if there is None:
        raise ApiError(404, "Not Found")
    file, content = there
    content_type = file.mime_type if _TYPE.fullmatch(file.mime_type) else "application/octet-stream"
    return _part(content, request.headers.get("Range", ""), content_type)


def _part(content: bytes, wanted: str, content_type: str) -> Reply:
    """Return the requested range; the whole file without a Range header, and for several ranges."""
    size = len(content)
    found = _RANGE.fullmatch(wanted)
    if found is None or found[0] == "bytes=-":
        return Reply(
            200, content, content_type=content_type, headers=f"Accept-Ranges: bytes\r\n{_NOT_TO_RUN}"
        )
    if found[1]:
        start, stop = int(found[1]), int(found[2]) + 1 if found[2] else size
    else:
        start, stop = max(size - int(found[2]), 0), size
    stop = min(stop, size)
    if start >= stop:
        return Reply(416, b"", content_type=content_type, headers=f"Content-Range: bytes */{size}\r\n")
    covered = f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n"
    return Reply(206, content[start:stop], content_type=content_type, headers=covered + _NOT_TO_RUN)
