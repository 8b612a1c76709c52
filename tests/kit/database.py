"""A PostgreSQL server of our own for tests: its folder is temporary, its port free, and only its own process is ended."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_START_S: Final = 60.0
_USER: Final = "chatlane"
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - as other stores of tests
_ROOM_BYTES: Final = 2 << 30
"""Some servers of several parts are there at the same time."""

_OTHER: Final = "postgres"
_READY: Final = "database system is ready to accept"
WHERE_FROM: Final = "no PostgreSQL server here: install it (apt-get install postgresql)"


def binaries() -> Path | None:
    """Return the folder of the newest server on this machine."""
    homes = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    homes += [Path(path).parent for path in (shutil.which("initdb"),) if path]
    return next((home for home in homes if (home / "postgres").exists()), None)


def can_start() -> bool:
    """Return whether `Server` works here."""
    return binaries() is not None


@cache
def _without_privileges() -> tuple[str, ...]:
    """Return the words before a command that make it run as another user than root, as which PostgreSQL refuses to run.

    In a user namespace the files of root stay at hand; where there are none, the user `postgres` or `nobody` is taken.
    """
    if os.geteuid() != 0:
        return ()
    namespace = ("unshare", "--map-user=1000", "--map-group=1000", "--")
    has_namespaces = shutil.which("unshare") is not None
    if (
        has_namespaces
        and subprocess.run(
            [*namespace, "true"], capture_output=True, check=False, timeout=_START_S
        ).returncode
        == 0
    ):
        return namespace
    is_known = (
        subprocess.run(["id", "-u", _OTHER], capture_output=True, check=False, timeout=_START_S).returncode
        == 0
    )
    other = _OTHER if is_known else "nobody"
    return ("setpriv", f"--reuid={other}", f"--regid={_group_of(other)}", "--clear-groups", "--")


def _group_of(user: str) -> str:
    return subprocess.run(
        ["id", "-gn", user], capture_output=True, text=True, check=True, timeout=_START_S
    ).stdout.strip()


class Server:
    """A running server. `settings` are those of postgresql.conf; `fsync` is off unless they say otherwise."""

    def __init__(
        self,
        *,
        files: Iterable[Path] = (),
        of: "Server | None" = None,
        follows: bool = False,
        disk: Path | None = None,
        **settings: str,
    ) -> None:
        """`files` are copied into its folder of data. `of`: a standby of that server, as it is now.

        It is not started, and has that server's port; with `follows` it has a port of its own, is started, and streams.
        `disk` is the folder that its folder is made in; else it is in memory, where that is possible.
        """
        has_room = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM_BYTES
        in_memory = _IN_MEMORY if has_room else None
        self._folder = Path(tempfile.mkdtemp(prefix="chatlane-pg-", dir=disk or in_memory)).absolute()
        self._settings = {
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_wal_size": "96MB",  # else each server fills a GiB of memory with it, and several run at once
            "min_wal_size": "32MB",
            **settings,
        }
        # Held from the first start to the end: between a stop and a start no other program gets the port.
        self._held: socket.socket = _held_port() if of is None or follows else of._held.dup()
        self.port: int = self._held.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        home = binaries()
        assert home is not None
        self._home = home
        if "setpriv" in _without_privileges():
            shutil.chown(self._folder, _without_privileges()[1].removeprefix("--reuid="))
        if of is not None:
            source = ("-h", "127.0.0.1", "-p", str(of.port), "-U", _USER, *(["-R"] if follows else []))
            self._run("pg_basebackup", "-D", self._data, *source, "-X", "stream", "-c", "fast", "--no-sync")
            if follows:
                self.start()
            else:
                shutil.copy(Path(self._data) / "PG_VERSION", Path(self._data) / "standby.signal")
            return
        self._run(
            "initdb", "-D", self._data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        for file in files:
            copy = Path(shutil.copy(file, self._data))
            copy.chmod(0o600)
            shutil.chown(copy, self._folder.stat().st_uid)
        self.start()

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    @property
    def pid(self) -> int:
        """Its first process, whose children are the others."""
        assert self._process is not None
        return self._process.pid

    def url(self, schema: str = "chatlane", user: str = _USER) -> str:
        """Return the STORE_URL of a schema."""
        return f"postgres://{user}@127.0.0.1:{self.port}/postgres?schema={schema}"

    def start(self) -> None:
        """Start it, after `stop` too, and wait until it answers."""
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # If this process is killed the server ends with it.
        dies = ("setpriv", "--pdeathsig", "QUIT", "--") if shutil.which("setpriv") else ()
        command = [*_without_privileges(), *dies, str(self._home / "postgres"), "-D", self._data, *options]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + _START_S
        while self._process.poll() is None and time.monotonic() < until:
            if _READY in (self._folder / "log").read_text():
                return
            time.sleep(0.01)
        self.remove()
        raise AssertionError(f"PostgreSQL does not start: {command}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cleanly, SIGQUIT as after a crash, SIGKILL as the kernel does when there is no memory."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(_START_S)
        while self._has_processes():  # those that a killed server leaves end by themselves
            time.sleep(0.01)

    def _has_processes(self) -> bool:
        for folder in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):
                if str(folder.readlink()) == self._data:
                    return True
        return False

    def remove(self) -> None:
        """Stop it, and delete its folder."""
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._held.close()

    def _run(self, name: str, *arguments: str) -> None:
        command = [*_without_privileges(), str(self._home / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * _START_S)
        assert done.returncode == 0, done.stderr


def _held_port() -> socket.socket:
    """Return a socket that is bound to a free port, as in telegram/load/bot/service.py; PostgreSQL sets SO_REUSEADDR, too."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held
