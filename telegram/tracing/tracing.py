"""The traces of one bot: wrappers around its handlers, its store and its client. Without them nothing of this module runs.

A wrapper does what it wraps does, and never waits for a span: those that have ended are only put into the exporter's queue.
Of a trace that is not sampled no span is made.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from opentelemetry import context as contexts
from opentelemetry.trace import Span, Status, StatusCode, get_current_span, set_span_in_context
from yarl import URL

from engine import Call, Delivery, Effects, Envelope, Handler, Park, Post, Queue, Right, SqlFailed, Work
from engine.current import current_delivery
from engine.outcome import split_trace
from engine.store import FullStore
from telegram.botapi.calls import Files
from telegram.botapi.errors import ApiError
from telegram.botapi.named import with_update
from telegram.dialogue.routes.observe import Joined, Routed
from telegram.service.sender import Poster
from telegram.tracing.spans import Root, Spans

T = TypeVar("T")

_requests: Final[ContextVar[int]] = ContextVar("requests", default=0)
"""Requests of the running delivery of the outbox so far: a correction of a call is sent again at once."""


class Tracing:
    """What a Bot needs of traces (telegram/service/assembly.py).

    `source_wall` returns Unix time by the clock of the source of updates, `wall` by the store's.
    """

    def __init__(
        self, spans: Spans, server: URL, *, source_wall: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        """`server`: the Bot API server."""
        self._spans = spans
        self._server = server
        self._source_wall = source_wall
        self._wall = wall

    def store(self, store: FullStore) -> FullStore:
        """Return the store, with spans of what is appended and of what becomes of deliveries."""
        return cast("FullStore", _TracedStore(store, self._spans, self._began_ns))

    def handler(self, handler: Handler) -> Handler:
        """Return a handler with a span for each run, which is current in it; its calls know their update."""
        return _TracedHandler(handler, self._spans, self._began_ns)

    def poster(self, poster: Poster) -> Poster:
        """Return what the sender sends by, with a span for each request."""
        return _TracedPoster(poster, self._spans, self._server)

    def observe(self, event: object) -> None:
        """Note in the current span which handler was found, and which updates are handled with it."""
        if isinstance(event, Routed):
            if event.handler is not None:
                name = getattr(event.handler, "__qualname__", type(event.handler).__qualname__)
                get_current_span().set_attribute("code.function.name", name)
        elif isinstance(event, Joined):
            span = get_current_span()
            span.add_link(self._spans.root(Queue.INBOX, event.update_id).span)
            self._spans.joined(event.delivery, event.update_id, span.get_span_context())

    def _began_ns(self, queue: Queue, envelope: Envelope) -> int:
        """Return when an envelope came, in Unix time by this machine's clock; now if that is unknown."""
        if not envelope.at:
            return self._spans.now_ns()
        is_update = queue is Queue.INBOX and not envelope.is_timer
        wall = self._source_wall if is_update else self._wall
        return self._spans.now_ns() - int((wall() - envelope.at) * 1e9)


class _TracedHandler:
    def __init__(self, handler: Handler, spans: Spans, began_ns: Callable[[Queue, Envelope], int]) -> None:
        self._handler: Any = handler
        self._spans = spans
        self._began_ns = began_ns

    def __getattr__(self, name: str) -> Any:
        """Return a hook of the handler; those that return calls are wrapped, if it has them."""
        hook = getattr(self._handler, name)
        if name == "failed":
            return lambda delivery, given_up: _from(delivery, hook(delivery, given_up))
        if name == "sql_failed":

            async def decide(work: Work, error: SqlFailed) -> Effects:
                root = self._spans.root_of(work.delivery)
                return await self._traced(work, root, lambda work: hook(work, error))

            return decide
        return hook

    async def __call__(self, work: Work) -> Effects:
        delivery = work.delivery
        root = self._spans.root_of(delivery)
        if root.is_sampled and delivery.attempt == 1 and not delivery.begun:
            began_ns = self._began_ns(delivery.lease.queue, delivery.envelope)
            self._spans.waited(delivery, root, began_ns)
        return await self._traced(work, root, self._handler)

    async def _traced(self, work: Work, root: Root, handler: Handler) -> Effects:
        # The context is not reset: the engine runs each handler in one of its own.
        delivery = work.delivery
        if not root.is_sampled:
            contexts.attach(root.context)
            return _with_source(delivery, await handler(work))
        span = self._spans.start("process", delivery, root)
        contexts.attach(set_span_in_context(span, root.context))
        try:
            effects = await handler(work)
        except Park as parked:
            span.add_event("parked", {"chatlane.reason": self._spans.words(parked.reason, delivery)})
            raise
        except BaseException as error:
            self._spans.fail(span, error, delivery)
            raise
        finally:
            span.end(self._spans.now_ns())
        return _with_source(delivery, effects)


def _with_source(delivery: Delivery, effects: Effects) -> Effects:
    if isinstance(effects, Effects) and effects.calls:
        return effects._replace(calls=_from(delivery, effects.calls))
    return effects


def _from(delivery: Delivery, calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """Return the calls of a delivery of the inbox with the id of its update."""
    number = delivery.envelope.id
    return tuple(call._replace(body=with_update(call.body, number)) for call in calls)


class _TracedStore:
    """Other attributes are the store's own."""

    def __init__(self, store: FullStore, spans: Spans, began_ns: Callable[[Queue, Envelope], int]) -> None:
        self._store = store
        self._spans = spans
        self._began_ns = began_ns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(
        self,
        right: Right,
        batch: Sequence[Envelope],
        aliases: Sequence[tuple[str, str]] = (),
        posts: Sequence[Post] = (),
    ) -> int:
        new = await self._store.append(right, batch, aliases, posts)
        for envelope in batch if new else ():
            root = self._spans.root(Queue.INBOX, envelope.id)
            if root.is_sampled:
                began_ns = self._began_ns(Queue.INBOX, envelope)
                self._spans.appended(envelope.id, root, began_ns, envelope.key, envelope.scope)
        return new

    # Not `async def`: without a span they cost no coroutine.

    def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Awaitable[Delivery | None]:
        call = self._store.commit(delivery, effects, more=more)
        return self._settled("commit", delivery, call, {"chatlane.calls": len(effects.calls)})

    def park(
        self, delivery: Delivery, delay_s: float, *, counted: bool, reason: str, calls: tuple[Call, ...] = ()
    ) -> Awaitable[None]:
        call = self._store.park(delivery, delay_s, counted=counted, reason=reason, calls=calls)
        return self._settled(
            "park", delivery, call, {"chatlane.delay_s": delay_s, "chatlane.counted": counted}, reason
        )

    def bury(self, delivery: Delivery, reason: str, calls: tuple[Call, ...] = ()) -> Awaitable[None]:
        call = self._store.bury(delivery, reason, calls)
        return self._settled("bury", delivery, call, {}, split_trace(reason)[0])

    def release(self, delivery: Delivery) -> Awaitable[None]:
        return self._settled("release", delivery, self._store.release(delivery), {})

    def _settled(
        self, name: str, delivery: Delivery, call: Awaitable[T], more: Mapping[str, Any], reason: str = ""
    ) -> Awaitable[T]:
        root = self._spans.root_of(delivery)
        if not root.is_sampled:
            return call
        if reason:
            more = {**more, "chatlane.reason": self._spans.words(reason, delivery)}
        span = self._spans.start(name, delivery, root, more=more)
        if name == "bury":
            span.set_status(Status(StatusCode.ERROR, "dead letter"))
        return self._ended(span, delivery, call)

    async def _ended(self, span: Span, delivery: Delivery, call: Awaitable[T]) -> T:
        try:
            return await call
        except BaseException as error:
            self._spans.fail(span, error, delivery)
            raise
        finally:
            span.end(self._spans.now_ns())


class _TracedPoster:
    def __init__(self, poster: Poster, spans: Spans, server: URL) -> None:
        self._poster = poster
        self._spans = spans
        self._url = f"{server.origin()}{server.path.rstrip('/')}/botREDACTED/"
        self._server = {
            "http.request.method": "POST",
            "server.address": server.host or "",
            "server.port": server.port or 443,
        }

    async def post(self, method: str, body: bytes) -> None:
        await self._traced(method, self._poster.post(method, body))

    async def upload(self, method: str, body: bytes, files: Files) -> object:
        return await self._traced(method, self._poster.upload(method, body, files))

    async def _traced(self, method: str, request: Awaitable[T]) -> T:
        context = contexts.get_current()
        if not get_current_span(context).is_recording():
            return await request
        delivery = current_delivery.get()
        before = _requests.get()
        _requests.set(before + 1)
        resent = before + (0 if delivery is None else delivery.attempt - 1)
        more: dict[str, Any] = {"http.request.resend_count": resent} if resent else {}
        span = self._spans.request(
            method, context, {**self._server, "url.full": f"{self._url}{method}", **more}
        )
        try:
            result = await request
        except BaseException as error:
            if isinstance(error, ApiError):
                span.set_attribute("http.response.status_code", error.code)
            kind = str(error.code) if isinstance(error, ApiError) else type(error).__qualname__
            span.set_attribute("error.type", kind)
            span.set_status(Status(StatusCode.ERROR))
            raise
        else:
            span.set_attribute("http.response.status_code", 200)
            return result
        finally:
            span.end(self._spans.now_ns())
