"""A collector of traces on this machine: takes OTLP over HTTP, and keeps what came."""

from collections import defaultdict
from typing import Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Serves /v1/traces while it is entered. `status` is its answer."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.requests = 0
        self.traces: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        """By trace id: name of each span, and the service instance that made it."""

        self.services: set[str] = set()
        self.text = ""
        """All that came, as text."""

        self.parents: dict[str, str] = {}
        """By span id: the id of the parent, "" if there is none."""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.status != 200:
            return web.Response(status=self.status)
        found = ExportTraceServiceRequest.FromString(await request.read())
        self.text += str(found)
        for of_resource in found.resource_spans:
            resource = {each.key: each.value.string_value for each in of_resource.resource.attributes}
            self.services.add(resource["service.name"])
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self.parents[span.span_id.hex()] = span.parent_span_id.hex()
                    self.traces[span.trace_id.hex()].append((span.name, resource["service.instance.id"]))
        return web.Response()
