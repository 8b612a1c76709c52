"""OpenTelemetry traces of a bot service (docs/operating.md). Only telegram/command uses it.

- identity: the trace of an update, which each process finds by itself
- spans: what becomes a span, and with which attributes
- tracing: the wrappers around the handlers, the store and the client
- export: the SDK, the exporter, and the end of both
"""

from telegram.tracing.identity import trace_id_of

__all__ = ["trace_id_of"]
