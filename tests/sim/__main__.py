"""`make sim SEEDS=n`: many simulated runs, on all processors; a failure prints its seed, and the seed replays the run."""

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import MutableMapping
from functools import partial
from typing import Any, Final

import structlog

from tests.sim.loop import process_number
from tests.sim.scenario import Outcome, simulate, simulate_hard
from tests.sim.trouble import Perils

_QUIET: Final = 50  # above every log level
_SHOWN_MAX: Final = 10


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--replay", type=int, help="run this seed alone, and show what the bot logs")
    parser.add_argument(
        "--hard",
        nargs="?",
        const="",
        metavar="PERILS",
        help=f"also those that each seed draws of these, or the ones named: {','.join(Perils._fields)}",
    )
    parser.add_argument("--stop-at-first", action="store_true", help="end with the first failure")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def be_quiet() -> None:
    """The bots of a simulation log a lot, and it is only of interest in a replay."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_QUIET))


def stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say when on virtual time, and in which process, something is logged."""
    return {"at": f"{asyncio.get_running_loop().time():.3f}", "process": process_number(), **event}


def _replay(seed: int, *, hard: str | None) -> int:
    renderer = structlog.dev.ConsoleRenderer(colors=False, sort_keys=False)
    structlog.configure(processors=[stamp, structlog.processors.format_exc_info, renderer])
    outcome = simulate(seed) if hard is None else simulate_hard(seed, hard)
    print(*_lines(outcome), sep="\n")
    return 1 if outcome.failures else 0


def _lines(outcome: Outcome) -> list[str]:
    head = f"seed {outcome.seed} ({outcome.store} store, {outcome.updates} updates, {outcome.virtual_s:.0f} virtual s, perils: {outcome.perils or 'none'})"
    return [f"{head}: {failure}" for failure in outcome.failures] or [f"{head}: good, {dict(outcome.faults)}"]


def main() -> int:
    """Return 0 if every promise was kept in every run."""
    given = _arguments()
    if given.replay is not None:
        return _replay(given.replay, hard=given.hard)
    began = told = time.monotonic()
    faults: Counter[str] = Counter()
    done = updates = 0
    virtual_s = 0.0
    failed: list[Outcome] = []
    seeds = range(given.first, given.first + given.seeds)
    run = simulate if given.hard is None else partial(simulate_hard, names=given.hard)
    with multiprocessing.Pool(given.processes, be_quiet) as pool:
        for outcome in pool.imap_unordered(run, seeds, chunksize=20):
            done += 1
            faults.update(outcome.faults)
            updates += outcome.updates
            virtual_s += outcome.virtual_s
            if outcome.failures:
                failed.append(outcome)
                if len(failed) <= _SHOWN_MAX:
                    print(*_lines(outcome), sep="\n", flush=True)
                if given.stop_at_first:
                    break
            if (now := time.monotonic()) > told + 10:
                told = now
                print(
                    f"{done} of {given.seeds} seeds, {faults.total()} faults, {len(failed)} failed",
                    flush=True,
                )
    took_s = time.monotonic() - began
    print("\n".join(f"  {count:>9,}  {what}" for what, count in faults.most_common()))
    print(
        f"{done:,} seeds, {updates:,} updates, {faults.total():,} faults, {virtual_s / 3600:,.0f} virtual hours"
        f" in {took_s:.0f} s: {len(failed)} failed"
    )
    if failed:
        print(
            f"replay with: python -m tests.sim{'' if given.hard is None else f' --hard {given.hard}'} --replay {min(outcome.seed for outcome in failed)}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
