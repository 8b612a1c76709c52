"""What is refused before several processes start, and what differs in each of them."""

import socket
import subprocess
import sys
from typing import Any

import pytest

from telegram.command import processes
from telegram.command.settings import Settings, WrongSettingError
from telegram.listening import Listener
from telegram.load.bot.service import ROOT
from telegram.process.supervised import Place, Supervised
from telegram.process.systemd import Systemd
from tests.kit.bounds import WITHIN_S

DATABASE = "postgres://bot@db.example.org/bots"


def settings(**given: Any) -> Settings:
    named: dict[str, Any] = {"bot_token": "1:x", "store_url": DATABASE, **given}
    return Settings(_env_file=None, _cli_parse_args=[], **named)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"processes": 2, "store_url": "sqlite:x.db"}, "a file belongs to one"),
        ({"processes": 2, "store_url": "memory:"}, "a file belongs to one"),
        ({"processes": 2, "bot_token": None}, "the sandbox has one process"),
        ({"processes": 2, "reload": True}, "--reload is for one process"),
        ({"processes": 2, "metrics_listen": "127.0.0.1:65535"}, "METRICS_LISTEN: each process has the next port"),
        ({"processes": 3, "admin_listen": "127.0.0.1:65534"}, "ADMIN_LISTEN: each process has the next port"),
        ({"role": "work", "store_url": "sqlite:x.db"}, "ROLE is for several processes"),
        ({"role": "poll", "bot_token": None}, "ROLE is for several processes"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(given, says):
    with pytest.raises(WrongSettingError, match=says) as raised:
        processes.check(settings(**given))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [
        {"store_url": "sqlite:x.db"},
        {"processes": 2, "role": "work", "metrics_listen": "127.0.0.1:65534"},
        {"role": "poll"},
    ],
)
def test_what_can_be_is_not_refused(given):
    processes.check(settings(**given))


def test_each_process_has_ports_of_its_own(monkeypatch):
    monkeypatch.setattr(Listener, "shares_ports", False)
    given = settings(
        processes=3,
        metrics_listen="[::1]:9000",
        admin_listen="127.0.0.1:0",
        events_listen="127.0.0.1:9100",
        events_token="x" * 16,
    )
    assert processes.settings_of(given, None) is given
    assert not Listener.shares_ports
    third = processes.settings_of(given, Place(2, 5))
    assert (third.metrics_listen, third.admin_listen) == ("[::1]:9002", "127.0.0.1:0")
    assert third.events_listen == "127.0.0.1:9100"
    assert Listener.shares_ports
    addresses = [str(address) for address in processes._addresses(given)]
    assert addresses == ["[::1]:9000", "[::1]:9001", "[::1]:9002", *3 * ["127.0.0.1:0"], "127.0.0.1:9100"]


def test_a_port_that_another_program_shares_is_taken():
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        (address,) = processes._addresses(settings(webhook_url="https://x.org/u", webhook_listen=taken))
        with pytest.raises(OSError, match=f"cannot listen on {taken}"):
            processes._check_free(address)
    processes._check_free(address)


def test_a_process_reports_to_who_has_started_it():
    assert type(processes.reporter({}, None)) is Systemd
    ours, its = socket.socketpair()
    with ours:
        reports = processes.reporter({}, Place(0, its.detach()))
        assert isinstance(reports, Supervised)
        reports._stream.close()


def test_all_code_that_ends_sessions_is_loaded_at_the_start():
    """Its files may be those of another version when a process dies: `pip install` before `kill -HUP`."""
    program = """
import sys
from engine.stores import revoker
before = "engine.stores.postgres.tools.revoking" in sys.modules
revoker("postgres://bot@db/bots", "1")
print(before, "engine.stores.postgres.tools.revoking" in sys.modules, "asyncpg" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=WITHIN_S,
    )
    assert done.stdout.split() == ["False", "True", "True"]
