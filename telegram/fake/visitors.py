"""Who may ask the servers that listen on this machine: programs, and pages of their own; no page of another site.

A browser sends requests to 127.0.0.1 for whatever page asks for them. Three headers, which no script can set or leave out
(Fetch Standard, "forbidden request-header"), tell where a request comes from:

Host             the name that the browser was given. A site can let its own name lead to 127.0.0.1, and is of the same
                 origin then (DNS rebinding); it cannot give us another name than its own.
Origin           the page that asks; absent from programs, from addresses that a person types, and from most GETs.
Sec-Fetch-Site   how that page relates to us (W3C, Fetch Metadata Request Headers): "none" is a person's typed address,
                 "same-site" also another port of this machine. Programs and old browsers do not send it.

A program of this machine can send what it likes. What it must not do needs a key (`new_key`).
"""

import re
import secrets
from collections.abc import Mapping
from typing import Final

_OUR_NAME: Final = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
_KEY_BYTES: Final = 24


def refusal(headers: Mapping[str, str]) -> str | None:
    """Return why a request with these headers is not answered; None if it may be."""
    host = headers.get("Host", "")
    if not _OUR_NAME.fullmatch(host):
        return "this server answers to 127.0.0.1 and localhost only"
    if headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        return "this server is not for pages of other sites: type its address yourself"
    origin = headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return "this server is not for pages of other sites"
    return None


def new_key() -> str:
    """Return a random text that nobody guesses."""
    return secrets.token_urlsafe(_KEY_BYTES)


def is_key(given: str, key: str) -> bool:
    """Return whether `given` is the key; the time that it takes does not tell how much of it is right."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), key.encode())
