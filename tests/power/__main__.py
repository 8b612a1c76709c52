"""`python -m tests.power`: cut the power so many times; a table, and exit code 1 if the wrong thing happened.

With `--mode hybrid` (production) or `full` nothing may be lost. With `normal` or `off` updates must be lost: otherwise
the disk is too kind, and the first result means nothing.
"""

import argparse
import sys
import time
from collections import Counter

from tests.power.campaign import live

_TELL_EVERY_S = 5.0


def main() -> int:
    """Return 0 if what happened is what has to happen in this mode."""
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=1000, help="power cuts, at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first disk; the next has the next")
    parser.add_argument("--mode", choices=("hybrid", "off", "normal", "full"), default="hybrid")
    parser.add_argument(
        "--trouble", action="store_true", help="full disk, I/O errors and a foreign lock, too"
    )
    parser.add_argument(
        "--lossy", action="store_true", help="a failed sync loses writes for good, as on Linux"
    )
    given = parser.parse_args()

    began = told_at = time.monotonic()
    seed, cuts, confirmed, faults = given.seed, 0, 0, 0
    kinds: Counter[str] = Counter()
    while cuts < given.cuts:
        outcome = live(seed, given.mode, trouble=given.trouble, lossy=given.lossy)
        seed, cuts = seed + 1, cuts + outcome.cuts
        confirmed, faults = confirmed + outcome.confirmed, faults + outcome.faults
        kinds.update(outcome.kinds)
        for finding in outcome.findings[:1]:
            if given.mode in {"hybrid", "full"}:
                print(
                    f"seed {outcome.seed}, cut {outcome.cuts}: {finding.kind}: {finding.detail}", flush=True
                )
        if (now := time.monotonic()) - told_at >= _TELL_EVERY_S:
            told_at = now
            print(f"{now - began:5.0f} s: {cuts} cuts, {kinds.total()} findings", flush=True)

    seconds = time.monotonic() - began
    print(f"mode {given.mode}: {seed - given.seed} disks, {cuts} power cuts, {faults} failed operations,")
    print(f"{confirmed} updates confirmed, {seconds:.0f} s, {cuts / seconds:.0f} cuts/s")
    for kind in sorted({"lost", "corrupt", "effects", "order", *kinds}):
        print(f"  {kind:<12}{kinds[kind]:>6} cuts  {kinds[kind] / cuts:6.1%}")
    is_lossy = given.mode in {"off", "normal"}
    good = kinds["lost"] > 0 if is_lossy else not kinds
    print("as it has to be" if good else "NOT AS IT HAS TO BE")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
