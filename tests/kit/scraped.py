"""What a monitored bot serves, read as Prometheus reads it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from telegram.dialogue import Router
from telegram.listening import Address
from telegram.metrics.monitoring import Monitoring
from tests.kit.stage import Stage

Values = dict[tuple[str, ...], float]
"""By name of the sample, then the values of its labels in alphabetical order of their names."""


def values(text: str) -> Values:
    """Parse the text format; duplicates are an error."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = (sample.name, *(sample.labels[label] for label in sorted(sample.labels)))
            assert name not in found, name
            found[name] = sample.value
    return found


async def get(monitoring: Monitoring, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Return status and body."""
    url = f"http://{monitoring.address}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status, await answer.text()


async def scrape(monitoring: Monitoring) -> Values:
    """Return the values of /metrics."""
    status, text = await get(monitoring, "/metrics")
    assert status == 200
    return values(text)


class NoTelegram:
    """A client that has no answer."""

    async def get_webhook_info(self) -> Any:
        from telegram.botapi.errors import NotSent

        raise NotSent("getWebhookInfo", "refused")


@asynccontextmanager
async def monitored_bot(stage: Stage, router: Router, **config: Any) -> AsyncIterator[Monitoring]:
    """A monitored bot that runs, with the fake's clock."""
    from telegram.client import TgClient

    async with (
        TgClient(stage.fake.token, base_url=stage.fake.url, wall=stage.fake.clock) as client,
        Monitoring(Address("127.0.0.1", 0), "", client, stage.fake.clock) as monitoring,
        stage.bot(router, meter=monitoring.counts, **config) as bot,
    ):
        monitoring.serve(stage.store, bot)
        yield monitoring
