"""A proxy between the client and the Bot API server: HTTP (CONNECT) or SOCKS 5. TLS goes through it, to the server itself.

Names are resolved by the proxy. User and password are in secret types, and in no error.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import aiohttp
from pydantic import SecretStr
from yarl import URL

Kind = Literal["http", "socks5"]

_KINDS: Final[Mapping[str, Kind]] = {
    "http": "http",
    "socks5": "socks5",
    "socks5h": "socks5",
}
_PORTS: Final[Mapping[Kind, int]] = {"http": 8080, "socks5": 1080}
_LOGIN_BYTES_MAX: Final = 255  # RFC 1929, section 2
_LIBRARY: Final = "aiohttp-socks"


class Proxy(NamedTuple):
    """Where the proxy is, and its login; an empty user means none."""

    kind: Kind
    host: str
    port: int
    user: SecretStr = SecretStr("")
    password: SecretStr = SecretStr("")

    def connector(self, *, limit: int, keepalive_timeout: float) -> aiohttp.TCPConnector:
        """Return a connector whose connections go through it; for HTTP `request` has what else is needed."""
        if self.kind == "http":
            return aiohttp.TCPConnector(limit=limit, keepalive_timeout=keepalive_timeout)
        from aiohttp_socks import ProxyConnector, ProxyType  # late: an optional library

        return ProxyConnector(
            host=self.host,
            port=self.port,
            proxy_type=ProxyType.SOCKS5,
            rdns=True,
            username=self.user.get_secret_value() or None,
            password=self.password.get_secret_value() if self.user.get_secret_value() else None,
            limit=limit,
            keepalive_timeout=keepalive_timeout,
        )

    def request(self) -> dict[str, Any]:
        """Return the arguments of aiohttp.ClientRequest for this proxy."""
        if self.kind != "http":
            return {}
        found: dict[str, Any] = {"proxy": URL.build(scheme="http", host=self.host, port=self.port)}
        if user := self.user.get_secret_value():
            login = aiohttp.encode_basic_auth(user, self.password.get_secret_value())
            found["proxy_headers"] = {"Proxy-Authorization": login}
        return found

    def refusals(self) -> tuple[type[Exception], ...]:
        """Return the errors of a connection that the proxy refuses, besides aiohttp's and OSError."""
        if self.kind == "http":
            return ()
        from aiohttp_socks import (  # late: an optional library
            ProxyConnectionError,
            ProxyError,
            ProxyTimeoutError,
        )

        return ProxyConnectionError, ProxyError, ProxyTimeoutError, EOFError


def read_proxy(text: str) -> Proxy:
    """Read "http://HOST:PORT" or "socks5://USER:PASSWORD@HOST:PORT"; ValueError of one line without user and password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _malformed() from None
    kind = _KINDS.get(parts.scheme)
    if kind is None or not parts.hostname or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _malformed()
    if any(character.isspace() or not character.isprintable() for character in text):
        raise _malformed()
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if max(len(user.encode()), len(password.encode())) > _LOGIN_BYTES_MAX or (password and not user):
        raise ValueError("its user and password have at most 255 bytes each, and a password needs a user")
    if kind == "http" and ":" in user:
        raise ValueError("the user of an HTTP proxy has no colon")
    if kind != "http":
        _need_library(parts.scheme)
    return Proxy(kind, parts.hostname, port or _PORTS[kind], SecretStr(user), SecretStr(password))


def check_target(proxy: Proxy, url: URL) -> None:
    """Raise ValueError for a server that this proxy cannot reach."""
    if proxy.kind == "http" and url.scheme == "http":
        raise ValueError(
            "an HTTP proxy passes only https:// on: use a SOCKS proxy, or none, for a server with http://"
        )


def _malformed() -> ValueError:
    return ValueError("it is not a proxy like http://HOST:PORT or socks5://USER:PASSWORD@HOST:PORT")


def _need_library(scheme: str) -> None:
    try:
        import aiohttp_socks  # noqa: F401 - whether it is there
    except ModuleNotFoundError as error:
        if cast("str", error.name).partition(".")[0] not in {"aiohttp_socks", "python_socks"}:
            raise
        raise ValueError(f"{scheme}:// needs {_LIBRARY}: pip install {_LIBRARY}") from None
