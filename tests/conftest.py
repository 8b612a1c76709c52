"""No test may hang: a deadlock that slipped through is an error with a traceback, not a wait."""

import asyncio
import gc
import random
import signal
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import FrameType
from zlib import crc32

import pytest
import structlog
from hypothesis import HealthCheck, settings

from engine.stores import open_store
from telegram.fake import FakeServer
from telegram.load.bot.service import held_port
from telegram.process.running import new_event_loop
from tests.kit.bounds import WITHIN_S
from tests.kit.stage import STORES, Stage

# How long an example takes depends on what else the machine does.
settings.register_profile(
    "any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
settings.register_profile(
    "random", derandomize=False, max_examples=1000, database=None
)  # --hypothesis-profile

SECONDS_MAX = 180  # on a machine that is busy with other work, too
SECONDS_MAX_WITH_PROCESSES = 300
AGAIN_S = 0.1
_DESCRIPTORS_MAX = 50
_DEAL = 3272
"""Of some thousand numbers the one that deals the modules out to parts of about the same cost; `make test` prints what each has cost."""

PARTS = {"processes": "mark.processes", "browser": "tests.kit.page"}
"""Marks of the tests that `make test` runs apart, and what their modules contain."""

ON_UVLOOP = ("client", "listening", "operating", "test_pages.py", "test_webhook.py", "test_accepting.py")
"""Tests that are run on the event loop of production, too: what they test uses connections itself."""


class OnUvloop:
    """A plugin: asynchronous tests run on uvloop."""

    def pytest_asyncio_loop_factories(self) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        return {"uvloop": new_event_loop}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="modules, and the tests in each, in any order"
    )
    parser.addoption(
        "--on-uvloop", action="store_true", help="only ON_UVLOOP, on the event loop of production"
    )
    parser.addoption("--part", metavar="I/N", help="only the I-th of N parts of the modules, from 0 on")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--on-uvloop"):
        config.pluginmanager.register(OnUvloop())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import only the modules of the run: of its part, or those that have tests with the one mark it asks for."""
    if not collection_path.name.startswith("test_"):
        return None
    if config.getoption("--on-uvloop") and not {*ON_UVLOOP} & {*collection_path.parts}:
        return True
    part, mark = config.getoption("--part"), config.getoption("-m")
    if part is not None:
        number, _, parts = part.partition("/")
        module = collection_path.relative_to(config.rootpath).as_posix()
        if crc32(f"{_DEAL}{module}".encode()) % int(parts) != int(number):
            return True
    return True if mark in PARTS and PARTS[mark] not in collection_path.read_text() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (seed := config.getoption("--shuffle")) is None:
        return
    rng = random.Random(seed)
    places = {name: rng.random() for name in sorted({str(item.path) for item in items})}
    items.sort(key=lambda item: (places[str(item.path)], rng.random()))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """The collector of garbage looks at what is loaded and collected here (it is much) no more."""
    gc.collect()
    gc.freeze()


def _seconds_max(item: pytest.Item) -> float:
    if (marker := item.get_closest_marker("seconds_max")) is not None:
        return float(marker.args[0])
    slow = item.get_closest_marker("processes") or item.get_closest_marker("browser")
    return SECONDS_MAX_WITH_PROCESSES if slow else SECONDS_MAX


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    try:
        yield
    finally:
        signal.setitimer(
            signal.ITIMER_REAL, _seconds_max(item)
        )  # what comes now is pytest's own, and hears it once


@pytest.fixture(scope="session", autouse=True)
def tests_let_go():
    """No test leaves threads or descriptors to those that come after it."""
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join(WITHIN_S)  # that of a store that has just been collected is about to end
    assert threading.enumerate() == [threading.main_thread()]
    descriptors = Path("/proc/self/fd")
    assert not descriptors.exists() or len(list(descriptors.iterdir())) < _DESCRIPTORS_MAX


@pytest.fixture(autouse=True)
def no_test_hangs(request: pytest.FixtureRequest):
    def give_up(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"still running after {seconds:g} s")

    seconds = _seconds_max(request.node)
    before = signal.signal(signal.SIGALRM, give_up)
    # Again and again: the first may be taken for the failure of a handler, which is tried anew.
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    assert not structlog.get_config()["cache_logger_on_first_use"], (
        "the log is set up for those that come after it"
    )


@pytest.fixture
def own_port() -> Iterator[int]:
    """A port on which a test may start servers one after another."""
    with held_port() as port:
        yield port


@pytest.fixture(params=STORES)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """A fake Telegram over HTTP and a store; the test runs on each store."""
    url = request.param if request.param == "memory:" else f"sqlite:{tmp_path / 'bot.db'}"
    async with FakeServer(seed=1) as fake:
        store = await open_store(url, "1", wall=fake.clock)
        yield Stage(fake, store)
        await store.close()
