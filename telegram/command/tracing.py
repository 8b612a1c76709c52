"""Traces as the settings and OpenTelemetry's variables say."""

from collections.abc import Callable, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from dotenv import dotenv_values
from yarl import URL

from telegram.client import TgClient
from telegram.command.settings import Settings
from telegram.service.logs import ErrorTexts

if TYPE_CHECKING:
    from telegram.tracing.tracing import Tracing

log = structlog.get_logger(__name__)

_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOL: Final = "http/protobuf"


def read_variables(environ: MutableMapping[str, str], file: Path) -> None:
    """Add the OTEL_ variables of a file like .env, for the SDK, which reads the environment only.

    ValueError for a protocol that there is not.
    """
    for name, value in dotenv_values(file).items():
        if name.startswith("OTEL_") and value:
            environ.setdefault(name, value)
    for name in _PROTOCOLS:
        if protocol := environ.get(name):
            if protocol != _PROTOCOL:
                raise ValueError(f"{name}: there is {_PROTOCOL} only, usually at port 4318")
            break


async def traced(
    settings: Settings,
    environ: MutableMapping[str, str],
    stack: AsyncExitStack,
    client: TgClient,
    server: str,
    wall: Callable[[], float],
) -> "Tracing | None":
    """Return the traces of a bot at the Bot API server `server`, exported until `stack` ends; None: there are none.

    `wall` returns Unix time by the store's clock. ValueError, one line, if a library is missing or a variable is wrong.
    """
    if settings.traces == "none":
        return None
    read_variables(environ, Path(".env"))
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        log.info("no traces: OTEL_SDK_DISABLED is true")
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from telegram.tracing.export import Export, Given, new_provider
        from telegram.tracing.spans import Spans
        from telegram.tracing.tracing import Tracing
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise ValueError("TRACES=otlp needs OpenTelemetry: pip install 'chatlane[otel]'") from None
    given = Given()
    provider = new_provider(given)
    where = next((found for name in _ENDPOINTS if (found := environ.get(name))), "http://localhost:4318")
    await stack.enter_async_context(Export(provider, OTLPSpanExporter(), settings.token, where))
    texts = ErrorTexts(settings.token, texts=settings.shows_texts)
    spans = Spans(provider, given, str(client.bot_id), texts, lanes=settings.traces_lanes)
    return Tracing(spans, URL(server), source_wall=client.time, wall=wall)
