"""Pages for GET requests, some of whose content needs a bearer token: an application for telegram/listening."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from telegram.listening import bearer_of, is_secret

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Page = Callable[[bool], Awaitable[web.Response]]
"""Answers a GET; the argument: whether the request has the token, or none is needed."""


def application(pages: Mapping[str, Page], token: str = "") -> web.Application:
    """Return an application that serves `pages`, by path. `token`: the bearer token; empty: none is needed."""
    expected = token.encode()

    async def answer(request: web.Request) -> web.Response:
        if request.method not in {"GET", "HEAD"}:
            response = web.Response(status=405, headers={"Allow": "GET, HEAD"})
        elif (page := pages.get(request.path)) is None:
            response = web.Response(status=404)
        else:
            given = bearer_of(request.headers.get("Authorization", ""))
            response = await page(not expected or is_secret(given, expected))
        response.headers.update(_HEADERS)
        response.force_close()
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app
