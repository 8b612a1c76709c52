"""What the tests of the fake server share."""

import pytest


class Clock:
    """A wall clock that stands still; a test sets `now` (Unix time)."""

    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()
