"""The SDK's side: ids that are given, the exporter, and an end within a time limit.

Spans are exported by a thread of the SDK, from a queue of OTEL_BSP_MAX_QUEUE_SIZE spans (2048); those that do not fit are
dropped. While the collector is away the bot does not wait for it.
"""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, Self

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import Status

from telegram.botapi.errors import redact
from telegram.service.secrecy import without_password

log = structlog.get_logger(__name__)

FLUSH_S: Final = 0.5
"""Maximum time at a stop for what is in the queue."""

SCOPE: Final = "chatlane"
"""The instrumentation scope of our own spans."""

_given: Final[ContextVar[tuple[int, int] | None]] = ContextVar("given", default=None)


class Given(IdGenerator):
    """Random ids, except for a span that is started in `ids`."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    @contextmanager
    def ids(self, trace_id: int, span_id: int) -> Iterator[None]:
        """Give these ids to the span without a parent that is started inside. Without an await inside."""
        token = _given.set((trace_id, span_id))
        try:
            yield
        finally:
            _given.reset(token)

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        given = _given.get()
        return self._random.generate_trace_id() if given is None else given[0]

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        given = _given.get()
        return self._random.generate_span_id() if given is None else given[1]

    def is_trace_id_random(self) -> bool:
        """Return whether the last 56 bits of ids are random, or a hash: True."""
        return True


def new_provider(given: Given, sampler: Sampler | None = None) -> TracerProvider:
    """Return a provider without an exporter. OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and OTEL_TRACES_SAMPLER are read."""
    found = Resource.create()
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": "chatlane"}))
    return TracerProvider(sampler, found, shutdown_on_exit=False, id_generator=given)


class Export:
    """Exports the spans of a provider while it is entered; then it takes at most FLUSH_S for what is left.

    If the program has set no provider of its own, this one becomes the global one: what a handler traces is exported with it.
    """

    def __init__(self, provider: TracerProvider, exporter: SpanExporter, token: str, where: str) -> None:
        """`where` names the collector in the log."""
        self._provider = provider
        self._exporter = _Watched(exporter, token)
        self._where = without_password(where)

    async def __aenter__(self) -> Self:
        self._exporter.heard.attach()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        if not isinstance(trace.get_tracer_provider(), TracerProvider):
            trace.set_tracer_provider(self._provider)
        log.info("traces are exported", to=self._where)
        return self

    async def __aexit__(self, *_: object) -> None:
        # A thread that is not waited for: the SDK's own time-outs are longer than a stop.
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=end, name="the end of traces", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_S):
                await ended.wait()
        except TimeoutError:
            log.warning("traces were not exported in time", limit_s=FLUSH_S)
        finally:
            self._exporter.heard.detach()


class _Watched(SpanExporter):
    """Exports as `exporter` does, without the token, and logs the first failure of several. Runs in the SDK's thread."""

    def __init__(self, exporter: SpanExporter, token: str) -> None:
        self._exporter = exporter
        self._token = token
        self._dropped = 0
        self.heard = _Heard()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export([redacted(span, self._token) for span in spans])
            reason = self.heard.text
        except Exception as error:  # noqa: BLE001 - the SDK would log each one
            result, reason = SpanExportResult.FAILURE, str(error)
        if result is not SpanExportResult.SUCCESS:
            if not self._dropped:
                reason = without_password(redact(reason, self._token))
                log.warning("traces cannot be exported and are dropped", reason=reason)
            self._dropped += len(spans)
        elif self._dropped:
            log.warning("traces are exported again", dropped=self._dropped)
            self._dropped = 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Heard(logging.Handler):
    """Keeps the text of the last line that the exporter logs, a line for each try, out of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._logger = logging.getLogger("opentelemetry.exporter")

    def attach(self) -> None:
        """Listen from now on."""
        self._logger.addHandler(self)
        self._logger.propagate = False

    def detach(self) -> None:
        """Leave the lines to the log again."""
        self._logger.removeHandler(self)
        self._logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def redacted(span: ReadableSpan, token: str) -> ReadableSpan:
    """Return the span without the token in its strings: libraries that trace HTTP write URLs. Our own spans have none."""
    scope = span.instrumentation_scope
    if scope is not None and scope.name == SCOPE:
        return span

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value, token).encode("utf-8", "backslashreplace").decode()  # else its batch is lost
        return tuple(map(clean, value)) if isinstance(value, Sequence) else value

    def cleaned(attributes: Any) -> dict[str, Any]:
        return {name: clean(value) for name, value in (attributes or {}).items()}

    status = span.status
    return ReadableSpan(
        name=clean(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=cleaned(span.attributes),
        events=[Event(clean(each.name), cleaned(each.attributes), each.timestamp) for each in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(status.status_code, clean(status.description)) if status.description else status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=scope,
    )
