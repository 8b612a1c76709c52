"""Access control of the local servers: programs and the server's own pages are accepted, pages of other sites are not.

A browser sends requests to 127.0.0.1 on behalf of any page. Three headers, which scripts cannot set or remove (Fetch
Standard, "forbidden request-header"), tell where a request comes from:

Host             the host name in the URL. A site can make its own name resolve to 127.0.0.1 and has the same origin then
                 (DNS rebinding), but it cannot send another name than its own.
Origin           the page that sends the request; absent from programs, typed URLs, and most GET requests.
Sec-Fetch-Site   the relation of that page to the server (W3C, Fetch Metadata Request Headers): "none" for a typed URL,
                 "same-site" also for another port of this machine. Programs and old browsers do not send it.

A program of this machine can send any headers. Actions that it must not perform need a key (`new_key`). The same holds
for a typed address that its site redirects to this machine: Sec-Fetch-Site is "none" then, too.
"""

import logging
import re
import secrets
from collections.abc import Mapping
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError

_OUR_NAME: Final = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
_KEY_BYTES: Final = 24


def refusal(headers: Mapping[str, str]) -> str | None:
    """Return the reason why a request with these headers is refused; None if it is accepted."""
    host = headers.get("Host", "")
    if not _OUR_NAME.fullmatch(host):
        return "this server answers to 127.0.0.1 and localhost only"
    if headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        return "this server is not for pages of other sites: type its address yourself"
    origin = headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return "this server is not for pages of other sites"
    return None


def _is_of_a_malformed_request(record: logging.LogRecord) -> bool:
    return record.exc_info is not None and isinstance(record.exc_info[1], HttpProcessingError)


server_log: Final = logging.getLogger(__name__)
"""aiohttp's logger of a local server. Without malformed requests, which are answered with 400: any page can send them."""
server_log.addFilter(lambda record: not _is_of_a_malformed_request(record))


def new_key() -> str:
    """Return a random key that cannot be guessed."""
    return secrets.token_urlsafe(_KEY_BYTES)


def is_key(given: str, key: str) -> bool:
    """Return whether `given` is the key, compared in constant time."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), key.encode())
