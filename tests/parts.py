"""`python -m tests.parts [pytest's arguments]`: lint and all tests, in parts that run at the same time.

Tests with processes or a browser mostly wait. What a part has written is printed when it has ended. A part that still runs after
`--within` seconds is ended, and prints where it was (pytest enables faulthandler), so that the output of all is seen.
"""

import argparse
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

LOGS: Final = Path(__file__).parents[1] / ".venv"
NO_TESTS: Final = 5  # pytest's code if no test of the part is among those that were asked for
_TELL_EVERY_S: Final = 60.0
_LET_GO_S: Final = 20.0  # for what the tests have at their ends
_KILLED_S: Final = 60.0


class Part:
    """A command that runs, and what it writes."""

    def __init__(self, title: str, command: Sequence[str], log: Path) -> None:
        self.title = title
        self.code: int | None = None
        self.cpu_s = 0.0
        self._log = log
        self._began = time.monotonic()
        self.took_s = 0.0
        with log.open("wb") as file:
            # A session of its own: what remains of it can be ended, and nothing of it holds our output open.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    def wait(self) -> None:
        """Return when it has ended."""
        _, status, used = os.wait4(self._process.pid, 0)
        self.code = self._process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = used.ru_utime + used.ru_stime
        self.took_s = time.monotonic() - self._began

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its first process."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End all that is left of it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def show(self) -> None:
        """Print what it has written."""
        how = "ok" if self.code in {0, NO_TESTS} else f"exit code {self.code}"
        print(f"\n== {self.title}: {how}, {self.took_s:.0f} s, {self.cpu_s:.0f} s of CPU", flush=True)
        print(self._log.read_text(errors="replace").rstrip(), flush=True)


def run(parts: Sequence[Part], within_s: float) -> None:
    """Wait for all, and show each; those that still run after `within_s` seconds, or when this process is asked to end, are ended."""
    ended: queue.SimpleQueue[Part] = queue.SimpleQueue()
    running = list(parts)

    def wait(part: Part) -> None:
        part.wait()
        ended.put(part)

    def show_until(moment: float) -> None:
        while running and (left_s := moment - time.monotonic()) > 0:
            try:
                part = ended.get(timeout=min(left_s, _TELL_EVERY_S))
            except queue.Empty:
                print(f"running: {', '.join(each.title for each in running)}", flush=True)
                continue
            running.remove(part)
            part.show()

    for each in parts:
        threading.Thread(target=wait, args=(each,), daemon=True).start()
    how = signal.SIGINT
    try:
        show_until(time.monotonic() + within_s)
        how = signal.SIGABRT
        if running:
            print(f"after {within_s:.0f} s these are ended: {', '.join(each.title for each in running)}")
    finally:
        for each in running:
            each.signal(how)
        show_until(time.monotonic() + _LET_GO_S)
        for each in running:
            each.kill()
        show_until(time.monotonic() + _KILLED_S)


def code_of(lint: int | None, tests: Sequence[int | None]) -> int:
    """Return the exit code of all."""
    if lint != 0:
        return lint or 1
    if all(code == NO_TESTS for code in tests):
        return NO_TESTS
    return next((code or 1 for code in tests if code not in {0, NO_TESTS}), 0)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parts", description=__doc__, add_help=False)
    parser.add_argument("--within", type=float, default=3600.0, metavar="SECONDS")
    given, others = parser.parse_known_args(arguments)
    quick = ("-m", "not processes and not browser", "--part")
    tests = {
        "tests, one half": (*quick, "0/2"),
        "tests, the other half": (*quick, "1/2"),
        **{f"with processes, part {n} of 3": ("-m", "processes", "--part", f"{n}/3") for n in range(3)},
        "in a browser": ("-m", "browser"),
        "on uvloop": (*quick[:2], "--on-uvloop"),
    }

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    parts = [
        Part(title, (sys.executable, "-m", "pytest", *words, *others), LOGS / f"part{number}.log")
        for number, (title, words) in enumerate(tests.items())
    ]
    lint = Part("lint", ("make", "-s", "lint"), LOGS / "lint.log")
    run([*parts, lint], given.within)
    return code_of(lint.code, [part.code for part in parts])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
