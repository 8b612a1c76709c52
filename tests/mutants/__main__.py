"""`make mutants`: remove one guard after the other, and say which test found it; 1 if one of them survived.

The test that found a mutant the last time (killers.tsv, which each run brings up to date) is tried first and alone.

With --sim N: how many seeds of the simulation (at most N) it takes to find each of those that a simulation can see.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutants import catalogue, killers
from tests.mutants.catalogue import ROOT, Mutant
from tests.mutants.workplace import Workplace, files_to_copy

HANGS_S: Final = 300.0
"""Far above what the suspects take; a single test has a limit of its own (tests/mutants/quickest.py)."""

LATER_HANG_S: Final = 1800.0
SEED_S: Final = 1.0  # several times what a seed takes
LATER: Final = (("-m", "not processes and not browser"), ("-m", "processes"))
"""What runs when the suspects have found nothing. A browser sees none of these guards."""


class Result(NamedTuple):
    """What became of one mutant; `killer` None: it survived."""

    name: str
    file: str
    breaks: str
    killer: str | None
    reason: str
    took_s: float

    def line(self) -> str:
        """For people."""
        return f"{self.took_s:6.1f} s  {self.name}\n          {self.killer or 'not found'}  {self.reason[:160]}".rstrip()


class Campaign:
    """Tries mutants, in copies of their own; what finds one must be silent about the code as it is."""

    def __init__(self, pristine: Workplace, known: Mapping[str, str], seeds: int) -> None:
        self.left_out: list[str] = []
        """What failed without any mutant, so that it says nothing of mutants."""

        self._pristine = pristine
        self._killers = known
        self._seeds = seeds
        self._checking = asyncio.Lock()
        self._checked: set[tuple[str, ...]] = set()

    async def check(self, *arguments: str) -> None:
        """Leave out what fails as it is; each set of tests is asked once."""
        async with self._checking:
            if arguments not in self._checked:
                self._checked.add(arguments)
                verdict = await self._pristine.pytest(*arguments, "--maxfail=30", timeout_s=LATER_HANG_S)
                self.left_out += verdict.failed
                if verdict.failed:
                    print("FAIL WITHOUT ANY MUTANT, left out:", *verdict.failed, sep="\n  ", flush=True)

    async def by_suspects(self, workplace: Workplace, mutant: Mutant) -> Result:
        """Try the test that found it last, then those that are likely to find it."""
        if (killer := self._killers.get(mutant.name)) is not None:
            result = await self._by_tests(workplace, mutant, (killer,), HANGS_S)
            if result.killer is not None:
                return result
        await self.check(*mutant.suspects)
        return await self._by_tests(workplace, mutant, mutant.suspects, HANGS_S)

    async def by_all(self, workplace: Workplace, mutant: Mutant) -> Result:
        """Try all the others: first the fast ones."""
        for arguments in LATER:
            await self.check(*arguments)
            result = await self._by_tests(workplace, mutant, arguments, LATER_HANG_S)
            if result.killer is not None:
                break
        return result

    async def _by_tests(
        self, workplace: Workplace, mutant: Mutant, arguments: tuple[str, ...], timeout_s: float
    ) -> Result:
        left_out = (f"--{'deselect' if '::' in name else 'ignore'}={name}" for name in self.left_out)
        with workplace.without(mutant):
            verdict = await workplace.pytest(*arguments, *left_out, timeout_s=timeout_s)
        return _result(mutant, verdict.failed[0] if verdict.failed else None, verdict.reason, verdict.took_s)

    async def by_simulation(self, workplace: Workplace, mutant: Mutant) -> Result:
        """Count the seeds until the simulation finds it."""
        sim = ("-m", "tests.sim", "--processes", "1", "--stop-at-first", "--seeds", str(self._seeds))
        with workplace.without(mutant):
            ended = await workplace.python(*sim, timeout_s=60 + SEED_S * self._seeds)
        if ended.code == 0:
            return _result(mutant, None, f"in {self._seeds} seeds", ended.took_s)
        found = re.search(r"^seed (\d+) .*?: (.*)$", ended.out, re.MULTILINE)
        if found is None:
            last_line = ended.out.rstrip().rpartition("\n")[2]
            return _result(mutant, "(the simulation broke down)", last_line, ended.took_s)
        seed, reason = int(found[1]), found[2]
        as_it_is = await self._pristine.python("-m", "tests.sim", "--replay", str(seed), timeout_s=60)
        if as_it_is.code != 0:
            self.left_out.append(f"seed {seed} of the simulation")
        return _result(mutant, f"{seed + 1} seeds", reason, ended.took_s)


def _result(mutant: Mutant, killer: str | None, reason: str, took_s: float) -> Result:
    return Result(mutant.name, mutant.file, mutant.breaks, killer, reason, round(took_s, 1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name or file matches this pattern")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--sim", type=int, metavar="SEEDS", help="try the simulation instead of the tests")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "out" / "mutants.json", help="where results are kept"
    )
    return parser.parse_args()


def _chosen(given: argparse.Namespace) -> list[Mutant]:
    return [
        mutant
        for mutant in catalogue.load()
        if re.search(given.only, f"{mutant.name} {mutant.file}") and (mutant.sim or given.sim is None)
    ]


Attempt = Callable[[Workplace, Mutant], Awaitable[Result]]


async def _try_each(attempt: Attempt, mutants: list[Mutant], workplaces: list[Workplace]) -> list[Result]:
    """Share the mutants out among the workplaces."""
    waiting = deque(enumerate(mutants))
    results: dict[int, Result] = {}

    async def work(workplace: Workplace) -> None:
        while waiting:
            place, mutant = waiting.popleft()
            results[place] = result = await attempt(workplace, mutant)
            print(result.line(), flush=True)
            if result.killer is not None:
                killers.save({result.name: result.killer})

    async with asyncio.TaskGroup() as group:
        for workplace in workplaces:
            group.create_task(work(workplace))
    return [results[place] for place in range(len(mutants))]


async def _try_all(
    given: argparse.Namespace, mutants: list[Mutant], folder: Path
) -> tuple[list[Result], list[str]]:
    files = await files_to_copy()
    workplaces = [Workplace(folder / f"job-{job}", files) for job in range(given.jobs)]
    known = killers.load()
    campaign = Campaign(Workplace(folder / "pristine", files), known, given.sim or 0)
    if given.sim is not None:
        return await _try_each(campaign.by_simulation, mutants, workplaces), campaign.left_out
    if tests := {known[mutant.name].partition("[")[0] for mutant in mutants if mutant.name in known}:
        await campaign.check(*sorted(tests))
    results = await _try_each(campaign.by_suspects, mutants, workplaces)
    survivors = [mutant for mutant, result in zip(mutants, results, strict=True) if result.killer is None]
    found = {result.name: result for result in await _try_each(campaign.by_all, survivors, workplaces)}
    return [found.get(result.name, result) for result in results], campaign.left_out


def main() -> int:
    """Return 0 if every mutant was found, 1 if one survived, 2 if something fails without any mutant."""
    given = _arguments()
    mutants = _chosen(given)
    if not mutants:
        print(f"no mutant matches {given.only!r}", file=sys.stderr)
        return 2
    for mutant in mutants:
        mutant.mutated((ROOT / mutant.file).read_text())  # else nothing begins
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chatlane-mutants-", ignore_cleanup_errors=True) as folder:
        results, left_out = asyncio.run(_try_all(given, mutants, Path(folder)))
    given.json.parent.mkdir(exist_ok=True)
    given.json.write_text(json.dumps([result._asdict() for result in results], indent=1) + "\n")
    survivors = [result for result in results if result.killer is None]
    for result in survivors:
        print(f"SURVIVED: {result.name} ({result.file}): {result.breaks}")
    for name in left_out:
        print(f"FAILS WITHOUT ANY MUTANT: {name}")
    print(f"{len(results)} mutants in {time.monotonic() - began:.0f} s: {len(survivors)} survived")
    return 2 if left_out else 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
