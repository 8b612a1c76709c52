"""No test may hang: a deadlock that slipped through is an error with a traceback, not a wait."""

import signal
from types import FrameType

import pytest

SECONDS_MAX = 60
SECONDS_MAX_WITH_PROCESSES = 300


@pytest.fixture(autouse=True)
def no_test_hangs(request: pytest.FixtureRequest):
    def give_up(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"still running after {seconds} s")

    slow = request.node.get_closest_marker("processes") or request.node.get_closest_marker("browser")
    seconds = SECONDS_MAX_WITH_PROCESSES if slow else SECONDS_MAX
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
