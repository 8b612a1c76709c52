"""The jobs of a SQLite store on the event loop itself, for virtual time: on a thread they would run while the clock jumps."""

import asyncio
from collections import deque
from collections.abc import Callable

from engine.stores.sqlite.thread import Failed, Job, Then, outcome


class LoopThread:
    """Runs the jobs in their order, and delivers their outcomes in that order; `later` calls a function some time later."""

    def __init__(self, later: Callable[[Callable[[], object]], object] | None = None) -> None:
        self._later = later or asyncio.get_running_loop().call_soon
        self._jobs: deque[tuple[Job, Failed]] = deque()
        self._outcomes: deque[Then] = deque()

    def submit(self, job: Job, failed: Failed) -> None:
        self._jobs.append((job, failed))
        self._later(self._work)

    def end(self) -> None:
        assert not self._jobs

    def join(self) -> None:
        assert not self._outcomes

    def _work(self) -> None:
        self._outcomes.append(outcome(*self._jobs.popleft()))
        self._later(self._deliver)

    def _deliver(self) -> None:
        self._outcomes.popleft()()
