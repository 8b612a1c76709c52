"""Which parameters of a test are needed in this run, for fixtures that prepare all cases at once."""

from collections.abc import Callable
from typing import Any

import pytest


def chosen(request: pytest.FixtureRequest, test: Callable[..., Any], parameter: str) -> list[Any]:
    """The values of `parameter` among the tests that were selected, in their order."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    return [item.callspec.params[parameter] for item in items if item.function is test]
