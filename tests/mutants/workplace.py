"""A copy of the working tree, as it is now, in which one file at a time is changed and commands run."""

import asyncio
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final, NamedTuple

from tests.mutants.catalogue import ROOT, Mutant

PYTEST: Final = (
    *("-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "tests.mutants.quickest"),
    *(
        "--basetemp",
        ".mutants/tmp",
        "--ignore",
        "tests/mutants/test_mutants.py",
    ),  # that one knows the code as it was
)
_FAILURE: Final = re.compile(r"^(?:FAILED|ERROR) (?P<test>tests/.+?)(?: - (?P<reason>.*))?$", re.MULTILINE)
_OUT_MAX: Final = 1 << 20  # bytes, from the end
# pytest's exit codes; 3 and 4 are its own trouble, below 0: a signal
_PASSED, _INTERRUPTED, _USAGE, _NONE_LEFT = 0, 2, 4, 5


class Ended(NamedTuple):
    """How a command ended; `code` None: it hung, and was killed."""

    code: int | None
    out: str
    took_s: float


class Verdict(NamedTuple):
    """What one run of pytest said: which tests failed, and why the first did."""

    failed: tuple[str, ...]
    reason: str
    took_s: float


class Workplace:
    """One copy; one thing at a time happens in it."""

    def __init__(self, folder: Path, files: Sequence[str]) -> None:
        self._folder = folder
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)

    @contextmanager
    def without(self, mutant: Mutant) -> Iterator[None]:
        """Take the guard away for as long as this lasts."""
        path = self._folder / mutant.file
        text = path.read_text()
        try:
            self._write(path, mutant.mutated(text))
            yield
        finally:
            self._write(path, text)
            shutil.rmtree(self._folder / ".hypothesis", ignore_errors=True)  # what it found in this mutant

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        Path(cache_from_source(str(path))).unlink(missing_ok=True)  # its time stamp is too coarse for us

    async def pytest(self, *arguments: str, timeout_s: float) -> Verdict:
        """Run tests until the first one fails (or `--maxfail` of them); RuntimeError if pytest itself does.

        A test that there is not finds nothing.
        """
        (self._folder / ".mutants").mkdir(exist_ok=True)
        ended = await self.python(*PYTEST, *arguments, timeout_s=timeout_s)
        if ended.code is None:
            return Verdict((f"(hangs for {timeout_s:g} s)",), "", ended.took_s)
        found = list(_FAILURE.finditer(ended.out))
        if found:
            return Verdict(tuple(each["test"] for each in found), found[0]["reason"] or "", ended.took_s)
        if ended.code in {_PASSED, _NONE_LEFT} or (ended.code == _USAGE and "ERROR: not found:" in ended.out):
            return Verdict((), "", ended.took_s)
        if ended.code > _INTERRUPTED:
            raise RuntimeError(ended.out[-2000:])
        return Verdict(
            (f"(pytest ended with {ended.code})",), ended.out[-300:], ended.took_s
        )  # its judge is dead

    async def python(self, *arguments: str, timeout_s: float) -> Ended:
        """Run Python in the copy; whatever it started ends with it, but for what has a session of its own.

        What it says goes to a file: a pipe would be waited for until the last process that has it ends, and for ever if
        nobody reads what a hot loop has written to it.
        """
        began = time.monotonic()
        with TemporaryFile() as out:
            code = await self._run(arguments, out, timeout_s)
            out.seek(max(0, out.seek(0, os.SEEK_END) - _OUT_MAX))
            said = out.read().decode(errors="replace")
        return Ended(code, said, time.monotonic() - began)

    async def _run(self, arguments: Sequence[str], out: IO[bytes], timeout_s: float) -> int | None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments),
            cwd=self._folder,
            env={
                **os.environ,
                "COLUMNS": "300",
                "CHATLANE_DURATIONS": str(self._folder.parent / "durations"),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        code = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    code = await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return code


async def files_to_copy() -> list[str]:
    """Return what git knows of, and what it would add: with all changes that are not committed."""
    git = await asyncio.create_subprocess_exec(
        *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await git.communicate()
    names = sorted(name for name in out.decode().split("\0") if name)
    return [name for name in names if (ROOT / name).is_file()]
