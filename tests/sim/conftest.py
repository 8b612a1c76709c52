"""Of the simulated runs nothing is logged."""

from collections.abc import Iterator

import pytest
import structlog

from tests.sim.__main__ import be_quiet


@pytest.fixture
def quiet() -> Iterator[None]:
    """Log nothing within the test."""
    config = structlog.get_config()
    be_quiet()
    yield
    structlog.configure(**config)
