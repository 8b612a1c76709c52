"""`--reload`, for developing: runs the bot as a child process, and starts it again when a source file changes.

The files below the working directory are looked at, not the loaded modules: a file that could not be imported is watched,
too. The bot is stopped as by a supervisor, so what its handlers had not committed is handled by the new code.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

LOOK_EVERY_S: Final = 0.3
PATIENCE_S: Final = 3.0
"""A handler that runs longer than this at a change is cut off: a second signal stops at once."""

_SUFFIXES: Final = frozenset({".py", ".po", ".env"})
_FILES_MAX: Final = 10_000
_FLAG: Final = "--reload"
_HANGUP: Final = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
"""The terminal was closed: the bot has none, and would run on alone. With `nohup` it is ignored."""


Files = Mapping[str, tuple[int, int]]
"""Time of the last write, in nanoseconds, and size of each file, by path."""


def source_files(folder: Path) -> Files:
    """Return the source files below a folder, without hidden folders and virtual environments."""
    found: dict[str, tuple[int, int]] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [
            each
            for each in folders
            if not each.startswith((".", "__")) and each != "node_modules"
            and not os.path.exists(os.path.join(place, each, "pyvenv.cfg"))  # noqa: PTH110, PTH118 - quick
        ]  # fmt: skip
        for name in names:
            if name.endswith(tuple(_SUFFIXES)) and len(found) < _FILES_MAX:
                path = os.path.join(place, name)  # noqa: PTH118
                try:
                    status = os.stat(path)  # noqa: PTH116
                except OSError:  # removed meanwhile
                    continue
                found[path] = (status.st_mtime_ns, status.st_size)
    return found


def command_without_reload(arguments: Sequence[str]) -> list[str]:
    """Return the command of the child: that of this process, without the flag."""
    return [sys.executable, *(each for each in arguments if each.partition("=")[0] != _FLAG)]


class Reloading:
    """Runs a command until it ends with 0, or this process is signalled. `tell` prints a line for the developer."""

    def __init__(
        self, command: Sequence[str], folder: Path, environ: Mapping[str, str], tell: Callable[[str], object]
    ) -> None:
        self._command = list(command)
        self._folder = folder
        self._environ = dict(environ)
        self._tell = tell
        self._signals: list[int] = []
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Return the exit code of the last child."""
        heard = {signal.SIGINT, signal.SIGTERM}
        if signal.getsignal(_HANGUP) is not signal.SIG_IGN:
            heard.add(_HANGUP)
        before = {number: signal.signal(number, self._heard) for number in heard}
        try:
            while True:
                files = source_files(self._folder)
                self._child = child = self._start()
                if self._signals:  # it came before there was a child
                    child.terminate()
                changed = self._wait_for_change(files)
                if self._signals or changed is None:
                    return self._ended(child)
                self._tell(f"{changed} has changed: starting again")
                self._stop(child)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._child is not None and self._child.poll() is None:
                self._child.kill()
                self._child.wait()

    def _heard(self, number: int, _: FrameType | None) -> None:
        if number == _HANGUP:
            if self._signals:  # the shell sends it, and then the system
                return
            number = signal.SIGTERM
        self._signals.append(number)
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def _start(self) -> subprocess.Popen[bytes]:
        options: dict[str, Any] = {"env": self._environ, "cwd": self._folder}
        if os.name == "posix":
            options["start_new_session"] = (
                True  # Ctrl+C in a terminal reaches this process only, which passes it on
            )
        return subprocess.Popen(self._command, **options)  # noqa: S603 - this program again

    def _wait_for_change(self, files: Files) -> str | None:
        """Return the file that has changed; None if the child has ended with 0, or a signal has come."""
        has_failed = False
        while not self._signals:
            time.sleep(LOOK_EVERY_S)
            now = source_files(self._folder)
            if now != files:
                changed = {*now.items()} ^ {*files.items()}
                return os.path.relpath(min(path for path, _ in changed), self._folder)
            code = None if self._child is None else self._child.poll()
            if code == 0:
                return None
            if code is not None and not has_failed:
                has_failed = True
                self._tell(f"it ended with exit code {code}: waiting for a change")
        return None

    def _stop(self, child: subprocess.Popen[bytes]) -> None:
        """Let the child stop; cut off its handlers after PATIENCE_S."""
        for patience_s in (PATIENCE_S, None):
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(patience_s)
                except subprocess.TimeoutExpired:
                    continue

    def _ended(self, child: subprocess.Popen[bytes]) -> int:
        """Wait for the end after a signal, which was passed on; return the exit code as a shell gives it."""
        code = child.wait()
        return code if code >= 0 else 128 - code
