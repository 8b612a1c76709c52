"""The supervisor of several processes, over small programs in the place of the bot."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine import StoreUnavailable
from telegram.process import supervisor as module
from telegram.process.child import Child
from telegram.process.supervised import VARIABLE, Place, Supervised, environment_of, take_place
from telegram.process.supervisor import EXIT_WRONG_SETTING, Supervisor, delay_s
from telegram.process.systemd import Systemd, watchdog_of
from telegram.process.terminal import CLOSING_S, Terminal
from tests.kit.bounds import WITHIN_S

pytestmark = pytest.mark.processes

LONG_S = 3600.0
"""Within this time processes stop by themselves, or the test fails."""

PROGRAM = """
import os, select, signal, sys
number, fd = map(int, os.environ["CHATLANE_SUPERVISED"].split(":"))
folder = sys.argv[1]
def say(line):
    os.write(fd, line.encode() + b"\\n")
def stop(*_):
    with open(f"{folder}/stopped-{number}", "a") as file:
        file.write(f"{os.getpid()}\\n")
    if not os.path.exists(f"{folder}/stubborn"):
        os._exit(0)
def stop_at_once(*_):
    with open(f"{folder}/forced-{number}", "a") as file:
        file.write(f"{os.getpid()}\\n")
    os._exit(130)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop_at_once)
say(f"X_CHATLANE_SESSION={os.getpid()}")
if os.path.exists(f"{folder}/wrong") or os.path.exists(f"{folder}/wrong-{number}"):
    sys.exit(2)
with open(f"{folder}/started-{number}", "a") as file:
    file.write(f"{os.getpid()}\\n")
if not os.path.exists(f"{folder}/late-{number}"):
    say("READY=1")
while not select.select([fd], [], [], 0.02)[0]:  # it looks up: a signal may come just before a system call that waits
    pass
stop()
"""


class Fleet:
    """A supervisor that runs, and what its processes have left in the folder."""

    def __init__(self, folder: Path, count: int, **named: Any) -> None:
        self.folder = folder
        self.revoked: list[int] = []
        self.fails = 0
        self.revoking: Any = None
        self.supervisor = Supervisor(
            [sys.executable, "-S", "-c", PROGRAM, str(folder)],
            {},
            count,
            self._revoke,
            drain_timeout_s=LONG_S,
            systemd=Systemd({}),
            **named,
        )
        self.running = asyncio.create_task(self.supervisor.run())

    async def _revoke(self, _: int, session: int) -> bool:
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("away")
        self.revoked.append(session)
        if self.revoking is not None:
            await self.revoking()
        return True

    def pids(self, what: str, number: int) -> list[int]:
        path = self.folder / f"{what}-{number}"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def works(self, number: int, count: int = 1) -> bool:
        """Whether so many processes were started in this place, and the supervisor knows that the last one is ready."""
        started, current = self.pids("started", number), self.supervisor._current.get(number)
        is_last = current is not None and current.works and current.process.pid == started[-1]
        return len(started) >= count and is_last

    async def work(self, *counts: int) -> None:
        """Wait until so many processes were started in each place, and the last ones are ready."""
        await until(lambda: all(self.works(number, count) for number, count in enumerate(counts)))

    async def ended(self) -> int:
        async with asyncio.timeout(WITHIN_S):
            return await self.running


async def until(condition: Any) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAY_S", 0.01)
    monkeypatch.setattr(module, "_REVOKE_EVERY_S", 0.01)
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)


@asynccontextmanager
async def fleet(folder: Path, count: int = 2, **named: Any) -> AsyncIterator[Fleet]:
    running = Fleet(folder, count, **named)
    try:
        yield running
    finally:
        if not running.running.done():
            running.supervisor._hear(signal.SIGTERM)
            await running.ended()


async def test_a_process_that_dies_is_revoked_and_started_again(tmp_path):
    async with fleet(tmp_path) as running:
        await running.work(1, 1)
        (first,) = running.pids("started", 1)
        running.fails = 2  # the store is away for a moment
        os.kill(first, signal.SIGKILL)
        await running.work(1, 2)
        await until(lambda: running.revoked == [first])  # only that of the dead process
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running.ended() == 0
    assert len(running.pids("stopped", 0)) == len(running.pids("stopped", 1)) == 1
    assert running.revoked == [first]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_stops_at_once(tmp_path, monkeypatch, number):
    monkeypatch.setattr(module, "_FORCED_S", LONG_S)
    (tmp_path / "stubborn").touch()
    async with fleet(tmp_path, 1) as running:
        await running.work(1)
        os.kill(os.getpid(), number)
        await until(lambda: running.pids("stopped", 0))
        os.kill(os.getpid(), number)
        assert await running.ended() == 128 + number
    assert running.pids("stopped", 0) == running.pids("forced", 0)


async def test_a_process_that_does_not_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SPARE_S", -LONG_S)
    (tmp_path / "stubborn").touch()
    async with fleet(tmp_path, 1) as running:
        await running.work(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running.ended() == 1


async def test_a_wrong_setting_ends_all_and_is_reported_by_one_process(tmp_path):
    (tmp_path / "wrong").touch()
    with capture_logs() as logs:
        async with fleet(tmp_path, 3) as running:
            assert await running.ended() == EXIT_WRONG_SETTING
    assert [line["process"] for line in logs if line["event"] == "process started"] == [0]


async def test_a_bot_that_cannot_start_concerns_no_other_bot(tmp_path):
    """A token of several was revoked: at the start, and at a rolling restart."""
    (tmp_path / "wrong-0").touch()
    async with fleet(tmp_path, 1, bots=3) as running:
        await until(lambda: running.works(1) and running.works(2))
        with capture_logs() as logs:
            await asyncio.wait_for(
                running.supervisor._ready(0), WITHIN_S
            )  # systemd hears that the others work
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: len(running.pids("started", 2)) == 2 == len(running.pids("started", 1)))
            await until(lambda: running.pids("stopped", 2))
        assert "there is no new process: the others are not replaced" in [line["event"] for line in logs]
        (tmp_path / "wrong-0").unlink()
        await until(lambda: running.supervisor._current[0].works)


async def test_a_bot_with_a_file_is_stopped_before_the_next_process_starts(tmp_path, monkeypatch):
    async with fleet(tmp_path, 1, bots=2, overlaps=False) as running:
        await running.work(1, 1)
        spawn, beside = running.supervisor._spawn, list[Child]()

        async def watched(number: int) -> Child:
            beside.extend(each for each in running.supervisor._children if each.number == number)
            return await spawn(number)

        monkeypatch.setattr(running.supervisor, "_spawn", watched)
        with capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGHUP)
            await running.work(2, 2)
            await until(lambda: "all processes are replaced" in [line["event"] for line in logs])
        assert [running.pids("stopped", number) for number in (0, 1)] == [
            running.pids("started", number)[:1] for number in (0, 1)
        ]
        assert not beside
        whole = [line["event"] for line in logs if "process" in line]
        assert whole == [
            "process started",
            "process started",
        ]  # none before the other one had ended, which is no failure
        assert running.revoked == []


async def test_several_bots_that_cannot_start_end_all(tmp_path):
    (tmp_path / "wrong").touch()
    async with fleet(tmp_path, 2, bots=2) as running:
        assert await running.ended() == EXIT_WRONG_SETTING


async def test_a_wrong_setting_of_one_that_is_started_again_leaves_the_others(tmp_path):
    async with fleet(tmp_path) as running:
        await running.work(1, 1)
        (tmp_path / "wrong").touch()
        with capture_logs() as logs:
            os.kill(running.pids("started", 1)[0], signal.SIGKILL)
            await until(lambda: len([line for line in logs if line.get("exit_code") == 2]) > 1)
        assert not running.running.done()
        (tmp_path / "wrong").unlink()
        await running.work(1, 2)


async def test_all_are_replaced_one_after_the_other(tmp_path):
    async with fleet(tmp_path) as running:
        await running.work(1, 1)
        (tmp_path / "late-0").touch()
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(running.pids("started", 0)) == 2)
        await until(lambda: len(running.supervisor._children) == 3)  # it knows the new one a moment later
        assert not running.pids("stopped", 0)  # the old one works until the new one does
        new = next(each for each in running.supervisor._children if not each.works)
        new.note(b"READY=1")
        await running.work(2, 2)
        await until(lambda: running.pids("stopped", 1) == running.pids("started", 1)[:1])
        assert running.pids("stopped", 0) == running.pids("started", 0)[:1]
        await until(lambda: len(running.supervisor._children) == 2)
    assert running.revoked == []


async def test_the_old_ones_stay_if_the_new_one_cannot_start(tmp_path):
    async with fleet(tmp_path) as running:
        await running.work(1, 1)
        (tmp_path / "wrong").touch()
        with capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGHUP)
            await until(
                lambda: (
                    "there is no new process: the others are not replaced" in [line["event"] for line in logs]
                )
            )
        assert [running.pids("stopped", number) for number in (0, 1)] == [[], []]
        (tmp_path / "wrong").unlink()
        os.kill(os.getpid(), signal.SIGHUP)
        await running.work(2, 2)


async def test_a_program_that_is_gone_for_a_moment_is_waited_for(tmp_path):
    async with fleet(tmp_path) as running:
        await running.work(1, 1)
        program, running.supervisor._command[0] = running.supervisor._command[0], str(tmp_path / "gone")
        with capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(running.pids("started", 1)[0], signal.SIGKILL)
            failed = ("a process cannot be started", "there is no new process: the others are not replaced")
            await until(lambda: {*failed} <= {line["event"] for line in logs})
            await until(lambda: [line["event"] for line in logs].count(failed[0]) > 2)
        running.supervisor._command[0] = program
        await running.work(1, 2)


async def test_a_program_that_is_not_there_is_an_error(tmp_path):
    running = Fleet(tmp_path, 1)
    running.supervisor._command[0] = str(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        await running.ended()


async def test_a_silent_process_is_killed_and_replaced(tmp_path):
    async with fleet(tmp_path, 1, watchdog_s=LONG_S) as running:
        await running.work(1)
        running.supervisor._current[0].heard_at -= 2 * LONG_S
        await running.work(2)
        assert running.revoked == running.pids("started", 0)[:1]


def at_terminal(answers: list[bool]) -> Any:
    """Return a terminal that says at each SIGHUP whether it is being closed: the last answer first."""
    return SimpleNamespace(is_there=False, look=lambda: None, is_being_closed=answers.pop)


async def test_a_terminal_is_looked_at_while_it_is_there(tmp_path):
    looked = asyncio.Event()
    async with fleet(tmp_path, 1) as running:
        stub: Any = SimpleNamespace(is_there=True, look=looked.set)
        running.supervisor._terminal = stub
        await looked.wait()


async def test_a_terminal_that_is_closed_stops_all(tmp_path):
    """gunicorn #594, #2576: an SSH session is closed, and the workers are replaced and run on."""
    async with fleet(tmp_path, 1) as running:
        await running.work(1)
        running.supervisor._terminal = at_terminal([True])
        os.kill(os.getpid(), signal.SIGHUP)
        assert await running.ended() == 0
    assert running.pids("stopped", 0) == running.pids("started", 0)


async def test_nohup_outlives_the_terminal(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with fleet(tmp_path, 1) as running:
            await running.work(1)
            answers = [False, True]
            running.supervisor._terminal = at_terminal(answers)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: answers == [False])
            assert not running.supervisor._is_over.is_set()
            assert not running.supervisor._roll.is_set()
            os.kill(os.getpid(), signal.SIGHUP)
            await running.work(2)
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_an_error_at_the_end_of_a_session_concerns_no_other_process(tmp_path):
    """The code of the supervisor is replaced by `pip install` while it runs: what it imports then is of another version."""

    async def fails() -> None:
        raise ImportError("cannot import name 'MOVED'")

    async with fleet(tmp_path) as running:
        await running.work(1, 1)
        running.revoking = fails
        with capture_logs() as logs:
            os.kill(running.pids("started", 1)[0], signal.SIGKILL)
            await until(lambda: any(line["event"] == "others continue later" for line in logs))
            await running.work(1, 2)
        assert not running.running.done()


async def test_a_database_that_does_not_answer_delays_no_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_REVOKE_AT_END_S", 0.0)
    monkeypatch.setattr(module, "REVOKE_FOR_S", 3600.0)
    async with fleet(tmp_path) as running:
        await running.work(1, 1)
        running.revoking = asyncio.Event().wait
        os.kill(running.pids("started", 1)[0], signal.SIGKILL)
        await until(lambda: running.revoked)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running.ended() == 0


async def test_a_process_that_is_not_ready_for_long_is_reported(tmp_path, monkeypatch):
    """uvicorn #1115: a start that hangs, and nothing says which process it is."""
    monkeypatch.setattr(module, "_SLOW_S", 0.01)
    (tmp_path / "late-0").touch()
    with capture_logs() as logs:
        async with fleet(tmp_path, 1):
            await until(lambda: any(line["event"] == "a process is not ready yet" for line in logs))


async def test_signals_go_to_a_process_that_runs_and_reap_none(monkeypatch):
    """CPython gh-87744: `send_signal` reaps a process that has just ended, and its exit code is reported as 255."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    ours, its = socket.socketpair()
    with ours, its:
        process: Any = SimpleNamespace(pid=4711, returncode=None)
        child = Child(0, process, ours)
        child.ask_to_stop(signal.SIGTERM)
        process.returncode = 0  # waited for: the number may be that of another process
        child.kill()
    assert sent == [(4711, signal.SIGTERM)]


REAPING = """
import ctypes, os, subprocess
from telegram.process.child import reap_others
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER (prctl(2)): as process 1 of a container
reading, writing = os.pipe()
other = int(subprocess.check_output(["sh", "-c", f"cat <&{reading} >/dev/null & echo $!"], pass_fds=[reading]))
ours = subprocess.Popen(["sh", "-c", "exit 3"])
os.waitid(os.P_PID, ours.pid, os.WEXITED | os.WNOWAIT)
reap_others({ours.pid})
print("code", ours.wait())
os.close(writing)
os.waitid(os.P_PID, other, os.WEXITED | os.WNOWAIT)
reap_others(set())
reap_others(set())
try:
    os.waitpid(other, os.WNOHANG)
except ChildProcessError:
    print("reaped")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="containers have Linux")
def test_process_1_of_a_container_reaps_the_guards_of_killed_processes():
    """celery #3798, uvicorn-gunicorn-docker #48: without an init process in the container zombies fill its table of processes."""
    done = subprocess.run([sys.executable, "-c", REAPING], capture_output=True, text=True, check=True, timeout=WITHIN_S)  # fmt: skip
    assert done.stdout.split() == ["code", "3", "reaped"]


async def test_a_stop_while_processes_start(tmp_path):
    (tmp_path / "late-0").touch()
    async with fleet(tmp_path) as running:
        await until(lambda: running.pids("started", 0))
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running.ended() == 0
    assert not running.pids("started", 1)


async def test_the_processes_end_with_a_supervisor_that_was_cancelled(tmp_path):
    async with fleet(tmp_path, 1) as running:
        await running.work(1)
        (child,) = running.supervisor._children
        running.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.ended()
        async with asyncio.timeout(WITHIN_S):
            await child.process.wait()
        assert running.pids("stopped", 0) == running.pids("started", 0) == [child.process.pid]


def test_delays_grow_and_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "DELAY_S", 0.5)
    delays = [delay_s(failures) for failures in range(12)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays == sorted(delays)
    assert delays[-1] == delay_s(10_000) == 30.0


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2000000"}, 2.0),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_time_of_systemds_watchdog(environ, expected):
    assert watchdog_of(environ) == expected


def test_a_hangup_is_of_the_terminal_only_if_that_is_lost_now():
    now, has = [0.0], [True]
    terminal = Terminal(lambda: has[0], lambda: now[0])
    assert not terminal.is_being_closed()  # kill -HUP, at a terminal
    has[0] = False
    assert terminal.is_being_closed()
    now[0] += CLOSING_S / 2
    assert terminal.is_being_closed()  # from the shell, and then from the system
    now[0] += CLOSING_S
    assert not terminal.is_being_closed()  # kill -HUP
    has[0] = True
    in_background = Terminal(lambda: has[0], lambda: now[0])
    has[0] = False  # a job that goes on after its shell has ended
    in_background.look()
    assert not in_background.is_being_closed()
    assert not Terminal(lambda: False).is_being_closed()  # a service


# -- the process's side ------------------------------------------------------------------------------------------------


def test_a_process_takes_its_place_once():
    ours, its = socket.socketpair()
    with ours, its:
        os.set_inheritable(its.fileno(), True)
        place = Place(3, its.fileno())
        given = {"HOME": "/", "NOTIFY_SOCKET": "/run/x", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "5"}
        environ = environment_of(given, place)
        assert environ == {"HOME": "/", "WATCHDOG_USEC": "5", VARIABLE: f"3:{its.fileno()}"}
        assert take_place(environ) == place
        assert VARIABLE not in environ
        assert not os.get_inheritable(its.fileno())
        assert take_place(environ) is None
        assert take_place({VARIABLE: "x:y"}) is None


async def test_a_process_reports_and_stops_when_its_supervisor_is_dead(monkeypatch):
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    ours, its = socket.socketpair()
    async with Supervised(Place(0, its.detach()), {"WATCHDOG_USEC": "60000000"}) as reports:
        reports.session(17)
        reports.ready()
        await until(lambda: b"READY" in ours.recv(1000, socket.MSG_PEEK))
        lines = ours.recv(1000).decode().split()
        assert [line for line in lines if "EXTEND" not in line and "WATCHDOG" not in line] == [
            "X_CHATLANE_SESSION=17",
            "READY=1",
        ]
        assert not sent
        ours.close()
        await until(lambda: sent)
        reports.stopping()  # its stream is closed
    assert sent == [(os.getpid(), signal.SIGTERM)]
