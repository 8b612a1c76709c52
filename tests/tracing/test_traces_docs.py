"""The example of docs/traces.md, and that the page names what there is."""

from typing import Any

from opentelemetry.trace import ProxyTracer

from telegram.tracing import spans
from tests.kit.docs import DOCS, modules
from tests.kit.stage import Stage
from tests.kit.traced import Traced, attributes, parent_of, the


async def test_a_span_of_ones_own(stage: Stage):
    traced = Traced(stage)
    with modules("traces.md") as made:
        module: Any = made["traced"]
        assert isinstance(module.tracer, ProxyTracer)  # no provider is set in tests
        module.tracer = traced.provider.get_tracer("traced")
        async with stage.bot(module.router, traces=traced.tracing):
            await stage.says(7, 7, "hello")
    mine = the("look up", traced.spans)
    assert attributes(mine) == {"length": 5}
    assert parent_of(mine, traced.spans) == "process inbox"


def test_the_page_names_each_span():
    page = (DOCS / "traces.md").read_text()
    for operation in spans._OPERATIONS:
        assert operation in page
