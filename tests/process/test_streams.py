"""Standard streams that are closed, full, or have no reader: of small programs, as the tests' own are captured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from telegram.process import streams
from telegram.process.streams import EXIT_NO_READER
from tests.kit.bounds import WITHIN_S

pytestmark = pytest.mark.processes

ENVIRON = {"PYTHONPATH": str(Path(streams.__file__).parent)}
"""The module alone: the package needs other packages."""

OPENING = """
import sys
from streams import open_standard_streams
open_standard_streams()
with open(sys.argv[1], "w") as file:
    print("to the null device")
    sys.stderr.write("to the null device")
    sys.stdin.read(0)
    file.write(str(file.fileno() > 2))
"""
FLUSHING = """
import sys
from streams import flushed
print("x")
try:
    code = flushed(7)
except BrokenPipeError:
    code = 141
except OSError as error:
    code = error.errno
sys.exit(code)
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path, closed: str):
    """SQLite, "How To Corrupt An SQLite Database File", 1.1: a file that has the number 2 gets error messages.

    libuv, src/unix/core.c, uv__close aborts a process that closes such a number.
    """
    line = f'exec "$@" {closed}'
    command = ["sh", "-c", line, "sh", sys.executable, "-S", "-c", OPENING, str(tmp_path / "result")]
    done = subprocess.run(command, env=ENVIRON, timeout=WITHIN_S, check=False)
    assert (done.returncode, (tmp_path / "result").read_text()) == (0, "True")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_output_that_cannot_be_written_is_an_error_once():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-S", "-c", FLUSHING],
            env=ENVIRON,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=WITHIN_S,
        )
    assert (done.returncode, done.stderr) == (28, b"")  # ENOSPC


def test_a_reader_that_is_gone_ends_a_command_quietly():
    """pygments #2193 and many others: `... | head` ends with "Exception ignored ... BrokenPipeError" and 120."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-S", "-c", FLUSHING]
    with os.fdopen(writing, "wb") as out:
        done = subprocess.run(
            command, env=ENVIRON, stdout=out, stderr=subprocess.PIPE, check=False, timeout=WITHIN_S
        )
    assert (done.returncode, done.stderr) == (EXIT_NO_READER, b"")
