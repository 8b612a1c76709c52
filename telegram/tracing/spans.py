"""What becomes a span. Names and attributes follow OpenTelemetry's semantic conventions for messaging and for HTTP clients.

    append inbox                      PRODUCER  from the receipt until the update is durable: the first span of the trace
    wait inbox, wait outbox           INTERNAL  until a worker has it for the first time; of a timer the first span of its trace
    process inbox, process outbox     CONSUMER  each run of a handler, or of the sender
      POST /bot{token}/sendMessage    CLIENT    each request of the sender
      ...                                       what the handler traces itself
    commit, park, bury, release       CLIENT    what becomes of the delivery in the store ("settle")
    joined inbox                      INTERNAL  the update is handled with another one, to which it links

Attributes have no texts, no names of users and no token; keys of lanes, which have ids of chats and users, on demand only.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from engine import Delivery, Queue
from engine.current import about
from engine.outcome import described, storable
from telegram.service.logs import ErrorTexts
from telegram.tracing.export import SCOPE, Given
from telegram.tracing.identity import identity, source_of

log = structlog.get_logger(__name__)

_OPERATIONS: Final[Mapping[str, tuple[str, SpanKind]]] = {
    "append": ("send", SpanKind.PRODUCER),
    "wait": ("", SpanKind.INTERNAL),
    "process": ("process", SpanKind.CONSUMER),
    "commit": ("settle", SpanKind.CLIENT),
    "park": ("settle", SpanKind.CLIENT),
    "bury": ("settle", SpanKind.CLIENT),
    "release": ("settle", SpanKind.CLIENT),
    "joined": ("", SpanKind.INTERNAL),
}
"""The messaging.operation.type of each operation, and the kind of its span."""

_ROOTS: Final = 10_000


class Root(NamedTuple):
    """The first span of a trace, which another process may have made: the parent of the others."""

    context: Context
    span: SpanContext
    is_sampled: bool


class Spans:
    """Makes the spans of one bot. `lanes`: whether they have keys of lanes; `at_ns` returns Unix time in nanoseconds."""

    def __init__(
        self,
        provider: TracerProvider,
        given: Given,
        bot_id: str,
        texts: ErrorTexts,
        *,
        lanes: bool = False,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`given` is the generator of ids of `provider`."""
        self._tracer = provider.get_tracer(SCOPE)
        self._sampler = provider.sampler
        self._given = given
        self._bot_id = bot_id
        self._texts = texts
        self._lanes = lanes
        self.now_ns = now_ns
        self.root: Callable[[Queue, int], Root] = lru_cache(maxsize=_ROOTS)(self._root)
        """The root of the trace of an update or timer (INBOX), or of a call that comes from none (OUTBOX)."""

    def root_of(self, delivery: Delivery) -> Root:
        """Return the root of the trace of a delivery."""
        return self.root(*source_of(delivery))

    def _root(self, queue: Queue, number: int) -> Root:
        trace_id, span_id = identity(self._bot_id, queue, number)
        # As the root's own sampler decides: by the trace's id, so that all processes agree.
        decision = self._sampler.should_sample(Context(), trace_id, f"append {queue.value}").decision
        is_sampled = decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
        span = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
        return Root(set_span_in_context(NonRecordingSpan(span), Context()), span, is_sampled)

    def start(
        self, operation: str, delivery: Delivery, root: Root, *, more: Mapping[str, Any] | None = None
    ) -> Span:
        """Start a span of a delivery, with these further attributes."""
        attributes = self._attributes(operation, delivery.lease.queue, delivery.envelope.id)
        attributes["chatlane.attempt"] = delivery.attempt
        attributes["chatlane.fence"] = delivery.lease.fence
        if self._lanes:
            attributes["chatlane.lane"] = delivery.lease.key
            attributes["chatlane.scope"] = delivery.envelope.scope
        attributes |= more or {}
        name, kind = _name(operation, delivery.lease.queue), _OPERATIONS[operation][1]
        return self._tracer.start_span(name, root.context, kind, attributes, start_time=self.now_ns())

    def appended(self, number: int, root: Root, began_ns: int, key: str, scope: str) -> None:
        """Make the first span of an update's trace: it came at `began_ns`, and is durable now."""
        attributes = self._attributes("append", Queue.INBOX, number)
        if self._lanes:
            attributes |= {"chatlane.lane": key, "chatlane.scope": scope}
        self._first("append", Queue.INBOX, root, attributes, began_ns)

    def waited(self, delivery: Delivery, root: Root, began_ns: int) -> None:
        """Make the span of the time that a delivery waited for a worker; the first span of a trace if there is none before."""
        envelope, queue = delivery.envelope, delivery.lease.queue
        attributes = self._attributes("wait", queue, envelope.id)
        if envelope.is_timer:
            attributes["chatlane.timer"] = True
        if envelope.is_timer or source_of(delivery)[0] is Queue.OUTBOX:
            self._first("wait", queue, root, attributes, began_ns)
            return
        now_ns = self.now_ns()
        span = self._tracer.start_span(
            _name("wait", queue), root.context, attributes=attributes, start_time=min(began_ns, now_ns)
        )
        span.end(now_ns)

    def _first(
        self, operation: str, queue: Queue, root: Root, attributes: dict[str, Any], began_ns: int
    ) -> None:
        now_ns = self.now_ns()
        kind = _OPERATIONS[operation][1]
        with self._given.ids(root.span.trace_id, root.span.span_id):
            span = self._tracer.start_span(
                _name(operation, queue), Context(), kind, attributes, start_time=min(began_ns, now_ns)
            )
        span.end(now_ns)

    def request(self, method: str, parent: Context, attributes: Mapping[str, Any]) -> Span:
        """Start a span of a request to the Bot API."""
        return self._tracer.start_span(
            f"POST /bot{{token}}/{method}",
            parent,
            SpanKind.CLIENT,
            {**attributes, "chatlane.method": method},
            start_time=self.now_ns(),
        )

    def joined(self, delivery: Delivery, update_id: int, handled: SpanContext) -> None:
        """Note in the trace of an update that the handler of `delivery` handles it, too."""
        root = self.root(Queue.INBOX, update_id)
        if root.is_sampled:
            now_ns = self.now_ns()
            attributes = self._attributes("joined", delivery.lease.queue, update_id)
            links = (Link(handled),)
            span = self._tracer.start_span(
                "joined inbox", root.context, attributes=attributes, links=links, start_time=now_ns
            )
            span.end(now_ns)

    def fail(self, span: Span, error: BaseException, delivery: Delivery) -> None:
        """Note in a span the error that ended it, with its texts as they are in the log."""
        kind = type(error).__qualname__
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, kind))
        with about(delivery):
            try:
                event = {
                    "exception.type": kind,
                    "exception.message": self._texts.line(described(error)),
                    "exception.stacktrace": self._texts.trace(error),
                }
            except Exception:  # the author's code: the error itself decides about the delivery
                log.exception("an error could not be written into its span")
            else:
                span.add_event("exception", event)

    def words(self, text: str, delivery: Delivery) -> str:
        """Return a text about a delivery as it may be in a span."""
        with about(delivery):
            return self._texts.line(storable(text))

    def _attributes(self, operation: str, queue: Queue, number: int) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "messaging.system": SCOPE,
            "messaging.destination.name": queue.value,
            "messaging.operation.name": operation,
            "messaging.message.id": str(number),
        }
        if kind := _OPERATIONS[operation][0]:
            attributes["messaging.operation.type"] = kind
        return attributes


def _name(operation: str, queue: Queue) -> str:
    return f"{operation} {queue.value}"
