"""Who may use the page, and from where a request may come.

| check | what it refuses |
|---|---|
| Host, exactly one and one of ours | a name of another site that resolves to this address (DNS rebinding) |
| Sec-Fetch-Site, Sec-Fetch-Dest | requests of other sites and other ports; the page in a frame (W3C, Fetch Metadata Request Headers) |
| Origin, on each POST | the same, in browsers without Fetch Metadata; a POST without it, unless it has a bearer token |
| session cookie, HttpOnly and SameSite=Strict | anybody who has not logged in |
| CSRF token in a header, on each POST | a POST that did not read an answer of ours |

Secrets are compared in constant time; of sessions only hashes of their cookies are kept.
"""

import hashlib
import hmac
import re
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from telegram.operating.audit import Who

ATTEMPTS_PER_ADDRESS: Final = 5
ATTEMPTS_IN_ALL: Final = 20
WITHIN_S: Final = 60.0
SESSIONS_MAX: Final = 32
IDLE_S: Final = 1800.0
LASTS_S: Final = 12 * 3600.0

_LOOPBACK: Final = re.compile(r"(127(\.[0-9]{1,3}){3}|localhost|\[::1\])(:[0-9]{1,5})?")
"""No other name: an address cannot be made to mean another host, a name can (DNS rebinding)."""

_SECRET_BYTES: Final = 24


class Headers(Protocol):
    """What is needed of a request's headers."""

    def getall(self, key: str, default: list[str]) -> list[str]:
        """Return all values of a header."""
        ...


class Place(NamedTuple):
    """Where the browser believes to be: the origin of the page. `is_secure`: over TLS, at a proxy."""

    origin: str
    is_secure: bool

    @property
    def cookie(self) -> str:
        """The cookie's name; with the prefix it is of this host and over TLS only (RFC 6265bis, 4.1.3.2).

        It has the port: cookies are those of all ports of a host (RFC 6265, 8.5), where other bots may have their pages.
        """
        port = self.origin.rpartition(":")[2]
        name = f"chatlane-{port}" if port.isdecimal() else "chatlane"
        return f"__Host-{name}" if self.is_secure else name


class Refusal(Exception):  # noqa: N818 - an answer
    """The request is refused: a status and one line."""

    def __init__(self, status: int, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


def new_secret() -> str:
    """Return a random secret that cannot be guessed."""
    return secrets.token_urlsafe(_SECRET_BYTES)


class Gate:
    """Checks where requests come from. `origin`: the page's behind a proxy; `is_loopback`: whether only this machine connects."""

    def __init__(self, origin: str | None, *, is_loopback: bool) -> None:
        self._origin = origin
        self._is_loopback = is_loopback

    def place(self, headers: Headers) -> Place:
        """Return where the browser is, by the Host header; Refusal."""
        hosts = headers.getall("Host", [])
        host = hosts[0].lower() if len(hosts) == 1 else ""
        if self._origin is not None and f"https://{host.removesuffix(':443')}" == self._origin:
            return Place(self._origin, is_secure=True)
        if self._is_loopback and _LOOPBACK.fullmatch(host):
            return Place(f"http://{host}", is_secure=False)
        raise Refusal(403, "this host name is not that of the page (ADMIN_ORIGIN)")

    def check_source(
        self, headers: Headers, place: Place, *, is_write: bool, is_page: bool, is_program: bool
    ) -> None:
        """Raise Refusal for a request of another site. `is_page`: of the page itself, which may be opened by a link."""
        site = _one(headers, "Sec-Fetch-Site")
        is_opened = (_one(headers, "Sec-Fetch-Mode"), _one(headers, "Sec-Fetch-Dest")) == (
            "navigate",
            "document",
        )
        if site not in {None, "same-origin"} and not (
            is_page and not is_write and (site == "none" or is_opened)
        ):
            raise Refusal(403, "this page is not for other sites")
        origins = headers.getall("Origin", [])
        if origins == [self._origin] and not place.is_secure:
            raise Refusal(
                403, "the proxy has to pass the Host header on: nginx, proxy_set_header Host $http_host"
            )
        if any(origin != place.origin for origin in origins) or len(origins) > 1:
            raise Refusal(403, "this page is not for other sites")
        if is_write and not origins and not is_program:
            raise Refusal(403, "a browser says where a request comes from (Origin)")


def _one(headers: Headers, name: str) -> str | None:
    values = headers.getall(name, [])
    return None if not values else values[0] if len(values) == 1 else "several"


@dataclass(slots=True)
class Session:
    """One login. `began` and `seen` are loop times."""

    who: Who
    csrf: str
    began: float
    seen: float


class Sessions:
    """Logins by secret. `secrets_` has the role of each: whether it may write; `clock` is the event loop's."""

    def __init__(self, secrets_: Mapping[str, bool], clock: Callable[[], float]) -> None:
        self._digests = [(_digest(secret), may_write) for secret, may_write in secrets_.items()]
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}
        self._failures: deque[tuple[float, str]] = deque()

    def check(self, secret: str, address: str) -> bool:
        """Return the role of a secret; Refusal if it is none, or there were too many attempts."""
        now = self._clock()
        while self._failures and self._failures[0][0] <= now - WITHIN_S:
            self._failures.popleft()
        mine = sum(each == address for _, each in self._failures)
        if mine >= ATTEMPTS_PER_ADDRESS or len(self._failures) >= ATTEMPTS_IN_ALL:
            wait_s = self._failures[0][0] + WITHIN_S - now
            raise Refusal(429, "too many attempts: wait a minute", retry_after_s=wait_s)
        given = _digest(secret)
        # All are compared: the time does not depend on which one it is.
        roles = [may_write for digest, may_write in self._digests if hmac.compare_digest(digest, given)]
        if not roles:
            self._failures.append((now, address))
            raise Refusal(401, "this secret is not right")
        return any(roles)

    def login(self, secret: str, address: str) -> tuple[str, Session]:
        """Return a new session and the value of its cookie; Refusal."""
        may_write = self.check(secret, address)
        now = self._clock()
        cookie = new_secret()
        name = f"{'operator' if may_write else 'reader'} {_digest(cookie).hex()[:6]}"
        session = Session(Who(name, may_write, address), new_secret(), now, now)
        self._forget_old(now)
        while len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[min(self._sessions, key=lambda each: self._sessions[each].seen)]
        self._sessions[_digest(cookie)] = session
        return cookie, session

    def of(self, cookie: str | None) -> Session:
        """Return the session of a cookie; Refusal if it has ended, or was none."""
        now = self._clock()
        self._forget_old(now)
        session = None if cookie is None else self._sessions.get(_digest(cookie))
        if session is None:
            raise Refusal(401, "log in first")
        session.seen = now
        return session

    def logout(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(cookie), None)

    def _forget_old(self, now: float) -> None:
        for digest, session in list(self._sessions.items()):
            if now - session.seen > IDLE_S or now - session.began > LASTS_S:
                del self._sessions[digest]


def is_equal(given: str, secret: str) -> bool:
    """Return whether two secrets are the same, in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
