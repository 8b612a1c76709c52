"""Traces of a bot in the test's memory, and what is asked of them."""

import time
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import Link
from yarl import URL

from engine import Queue
from telegram.service.logs import ErrorTexts
from telegram.tracing.export import Given, new_provider
from telegram.tracing.identity import identity
from telegram.tracing.spans import Spans
from telegram.tracing.tracing import Tracing
from tests.kit.stage import Stage


class Traced:
    """The traces of one process of the stage's bot."""

    def __init__(
        self, stage: Stage, sampler: Sampler = ALWAYS_ON, *, lanes: bool = False, texts: bool = False
    ) -> None:
        self._exporter = InMemorySpanExporter()
        self.bot_id = stage.fake.token.partition(":")[0]
        given = Given()
        self.provider: TracerProvider = new_provider(given, sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        shown = ErrorTexts(stage.fake.token, texts=texts)
        self.tracing = Tracing(
            Spans(self.provider, given, self.bot_id, shown, lanes=lanes),
            URL(stage.fake.url),
            source_wall=time.time,
            wall=time.time,
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in the order of their ends."""
        return self._exporter.get_finished_spans()

    def of(self, number: int, queue: Queue = Queue.INBOX) -> list[ReadableSpan]:
        """The spans of the trace of an update or timer, or of a call that comes from none."""
        return of_trace(self.spans, identity(self.bot_id, queue, number).trace_id)


def of_trace(spans: Sequence[ReadableSpan], trace_id: int) -> list[ReadableSpan]:
    """Spans of a trace, by their begin."""
    found = [span for span in spans if span.context is not None and span.context.trace_id == trace_id]
    return sorted(found, key=lambda span: span.start_time or 0)


def names(spans: Sequence[ReadableSpan]) -> list[str]:
    """Their names, sorted."""
    return sorted(span.name for span in spans)


def parent_of(span: ReadableSpan, spans: Sequence[ReadableSpan]) -> str | None:
    """The name of the parent; None: it has none. KeyError if it is not among `spans`."""
    if span.parent is None:
        return None
    return {each.context.span_id: each.name for each in spans if each.context is not None}[
        span.parent.span_id
    ]


def the(name: str, spans: Sequence[ReadableSpan]) -> ReadableSpan:
    """The only span of this name."""
    (found,) = [span for span in spans if span.name == name]
    return found


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """What is in it."""
    return dict(span.attributes or {})


def everything(spans: Sequence[ReadableSpan]) -> str:
    """All that is in the spans, as text."""
    return "\n".join(span.to_json() for span in spans)


def links(span: ReadableSpan) -> list[int]:
    """The traces to which a span links."""
    return [link.context.trace_id for link in span.links if isinstance(link, Link)]
