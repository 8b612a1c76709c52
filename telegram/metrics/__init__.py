"""Health and metrics of a bot service: /healthz, /readyz and /metrics (docs/operating.md). Only telegram/command uses it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

from telegram.listening import read_address
from telegram.settings.metrics_settings import MetricsSettings

if TYPE_CHECKING:
    from telegram.metrics.health import Asked
    from telegram.metrics.monitoring import Monitoring


def monitored(
    settings: MetricsSettings, client: "Asked", wall: Callable[[], float]
) -> "AbstractAsyncContextManager[Monitoring | None]":
    """Return the monitoring of these settings, to be entered on the event loop; None if METRICS_LISTEN is not set."""
    if settings.metrics_listen is None:
        return nullcontext()
    from telegram.metrics.monitoring import Monitoring  # late: its library costs memory and time

    token = settings.metrics_token.get_secret_value() if settings.metrics_token else ""
    return Monitoring(read_address(settings.metrics_listen), token, client, wall)
