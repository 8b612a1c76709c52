"""systemd hears when the bot is ready and stops, and the loop's heartbeat; nothing without NOTIFY_SOCKET."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from telegram.process.systemd import Systemd
from tests.kit.virtual import run_virtual


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@chatlane-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind("\0" + name[1:] if name.startswith("@") else name)
        receiving.setblocking(False)
        yield name, receiving


def all_of(receiving: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(receiving.recv(4096).decode())
        except BlockingIOError:
            return found


def test_the_life_of_a_service(heard):
    name, receiving = heard

    async def live() -> None:
        async with Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"}) as systemd:
            await asyncio.sleep(3.0)
            systemd.ready()
            await asyncio.sleep(4.0)
            systemd.stopping()

    run_virtual(live())
    longer = "EXTEND_TIMEOUT_USEC=30000000"
    said = all_of(receiving)
    assert said[:4] == ["WATCHDOG=1", longer, "WATCHDOG=1", longer]
    assert said[4:] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}]
)
def test_without_a_watchdog_there_is_no_heartbeat(heard, more):
    name, receiving = heard

    async def live() -> None:
        async with Systemd({"NOTIFY_SOCKET": name, **more}) as systemd:
            systemd.ready()
            await asyncio.sleep(60.0)

    run_virtual(live())
    assert all_of(receiving) == ["READY=1"]


@pytest.mark.parametrize("name", ["", "/no/such/socket", "@", "vsock:2:1234", "/" + "a" * 500])
async def test_no_socket_changes_nothing(name):
    async with Systemd({"NOTIFY_SOCKET": name}) as systemd:
        systemd.ready()
        systemd.stopping()


async def test_a_full_socket_does_not_block(heard):
    name, receiving = heard
    async with Systemd({"NOTIFY_SOCKET": name}) as systemd:
        for _ in range(2000):
            systemd.ready()
    assert "READY=1" in all_of(receiving)
