"""The page's server: its files, login and logout, and the desk's actions as JSON.

    POST /login {"secret"}      the cookie of a session          GET  /api/NAME?...     what only looks
    POST /logout                ends it                          POST /api/NAME {...}   what changes or shows something
    GET  /api/session           role, CSRF token; who: null without a session

A program may send `Authorization: Bearer SECRET` instead of cookie and CSRF token. Every answer has the same headers.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import structlog
from aiohttp import web

from engine import StoreUnavailable
from telegram.board import FILES as SHARED
from telegram.listening import Address, Listener, Network, NotTakenError, read_body, sender_of
from telegram.operating.audit import AuditFailed, Who
from telegram.operating.desk import Desk, NotAllowed, read_params
from telegram.operating.page.access import LASTS_S, Gate, Place, Refusal, Session, Sessions, is_equal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 64
_GRACE_S: Final = 0.5
_BODY_MAX: Final = 128 << 10
_LOGIN_MAX: Final = 4 << 10
_FOLDER: Final = Path(__file__).parent
_OWN: Final = ("page.html", "page.css", "page.js", "api.js", "plots.js", "views.js", "letters.js")
FILES: Final = {**SHARED, **{name: _FOLDER / name for name in _OWN}}
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}
_SECURE: Final = {"Strict-Transport-Security": "max-age=31536000"}


class PageServer:
    """Serves the page while it is entered."""

    def __init__(
        self,
        desk: Desk,
        address: Address,
        gate: Gate,
        sessions: Sessions,
        proxies: Sequence[Network] = (),
    ) -> None:
        """`proxies`: networks of proxies whose X-Forwarded-For is believed."""
        self._desk = desk
        self._gate = gate
        self._sessions = sessions
        self._proxies = proxies
        self._listener = Listener(address, connections_max=CONNECTIONS_MAX)
        self._app = web.Application(client_max_size=_BODY_MAX)
        self._app.router.add_route("*", "/{path:.*}", self._answer)
        self._files = {name: path.read_bytes() for name, path in FILES.items()}

    @property
    def address(self) -> Address:
        """Where it listens, with the port that was picked."""
        return self._listener.address

    async def __aenter__(self) -> Self:
        await self._listener.start(self._app)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.stop(_GRACE_S)

    async def _answer(self, request: web.Request) -> web.Response:
        place = Place("", is_secure=False)
        try:
            place = self._gate.place(request.headers)
            response = await self._route(request, place)
        except Refusal as refusal:
            response = _said(refusal.reason, refusal.status)
            if refusal.retry_after_s:
                response.headers["Retry-After"] = str(int(refusal.retry_after_s) + 1)
        except NotTakenError as error:
            response = _said(str(error), error.status)
        except NotAllowed as error:
            response = _said(str(error), 409 if "confirm" in str(error) else 403)
        except ValueError as error:
            response = _said(str(error), 400)
        except StoreUnavailable as error:
            response = _said(str(error), 503)
        except Exception:
            log.exception("unexpected error at the operator's page", path=request.path)
            response = _said("unexpected error: the bot's log has it", 500)
        response.headers.update(_HEADERS)
        if place.is_secure:
            response.headers.update(_SECURE)
        return response

    async def _route(self, request: web.Request, place: Place) -> web.Response:
        path, is_write = request.path, request.method == "POST"
        if request.method not in {"GET", "HEAD", "POST"}:
            raise Refusal(405, "GET and POST only")
        bearer = request.headers.get("Authorization")
        self._gate.check_source(
            request.headers, place, is_write=is_write, is_page=path == "/", is_program=bearer is not None
        )
        if is_write and request.content_type != "application/json":
            raise Refusal(415, "application/json only")
        if path.startswith("/api/"):
            return await self._api(request, place, path.removeprefix("/api/"), bearer)
        posts: dict[str, Callable[[web.Request, Place], Awaitable[web.Response]]] = {
            "/login": self._login,
            "/logout": self._logout,
        }
        if is_write and path in posts:
            return await posts[path](request, place)
        if not is_write and (name := path[1:] or "page.html") in self._files:
            body = self._files[name]
            return web.Response(body=body, content_type=_TYPES[Path(name).suffix], charset="utf-8")
        raise Refusal(404 if not is_write and path not in posts else 405, "there is no such page")

    # -- login -----------------------------------------------------------------------------------------------------

    async def _login(self, request: web.Request, place: Place) -> web.Response:
        secret = read_params(await read_body(request, _LOGIN_MAX)).get("secret")
        if not isinstance(secret, str):
            raise Refusal(400, "secret: a text is needed")
        address = self._sender(request)
        try:
            cookie, session = self._sessions.login(secret, address)
        except Refusal as refusal:
            if refusal.status == 401:  # those beyond the limit would fill the disk
                await self._note(Who("nobody", may_write=False, where=address), "login", "wrong secret")
            raise
        await self._desk.audit.note(session.who, "login", {}, "done")
        response = _session(session)
        response.set_cookie(
            place.cookie,
            cookie,
            max_age=int(LASTS_S),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=place.is_secure,
        )
        return response

    async def _logout(self, request: web.Request, place: Place) -> web.Response:
        session = self._session(request, place)
        self._check_token(request, session)
        self._sessions.logout(request.cookies[place.cookie])
        await self._note(session.who, "logout", "done")
        response = web.json_response({})
        response.del_cookie(place.cookie, path="/", httponly=True, samesite="Strict", secure=place.is_secure)
        return response

    async def _note(self, who: Who, what: str, result: str) -> None:
        try:
            await self._desk.audit.note(who, what, {}, result)
        except AuditFailed as error:
            log.warning("not recorded", what=what, reason=str(error))

    def _session(self, request: web.Request, place: Place) -> Session:
        return self._sessions.of(request.cookies.get(place.cookie))

    def _own_session(self, request: web.Request, place: Place) -> web.Response:
        try:
            return _session(self._session(request, place))
        except Refusal:
            return web.json_response({"who": None})

    def _sender(self, request: web.Request) -> str:
        return sender_of(request, self._proxies) or "unknown"

    @staticmethod
    def _check_token(request: web.Request, session: Session) -> None:
        if not is_equal(request.headers.get("X-CSRF-Token", ""), session.csrf):
            raise Refusal(403, "the CSRF token is missing or wrong")

    # -- the desk --------------------------------------------------------------------------------------------------

    async def _api(self, request: web.Request, place: Place, name: str, bearer: str | None) -> web.Response:
        is_write = request.method == "POST"
        if name == "session" and not is_write and bearer is None:
            return self._own_session(request, place)
        if bearer is not None:
            who = self._program(bearer, self._sender(request))
        else:
            session = self._session(request, place)
            who = session.who
            if is_write:
                self._check_token(request, session)
        action = self._desk.actions.get(name)
        if action is None:
            raise Refusal(404, "there is no such action")
        if action.is_noted != is_write:
            raise Refusal(405, "POST what changes or shows something, GET what only looks")
        params: dict[str, Any] = (
            read_params(await read_body(request, _BODY_MAX)) if is_write else dict(request.query)
        )
        return web.json_response(await self._desk.ask(name, params, who), dumps=_dumps)

    def _program(self, bearer: str, address: str) -> Who:
        kind, _, secret = bearer.partition(" ")
        if kind.lower() != "bearer":
            raise Refusal(401, "Bearer is the one kind of authorization")
        may_write = self._sessions.check(secret.strip(), address)
        return Who("program with the secret", may_write, address)


def _session(session: Session) -> web.Response:
    return web.json_response(
        {"who": session.who.name, "may_write": session.who.may_write, "csrf": session.csrf}
    )


def _said(error: str, status: int) -> web.Response:
    return web.json_response({"error": error}, status=status)


def _dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
