"""`python -m tests.torture`: all campaigns, a line a second, at the end a table and out/torture.json."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tests.torture import (
    disk,
    events,
    events_http,
    kill,
    limits,
    named,
    payments,
    pg_failover,
    pg_frozen,
    pg_kills,
    pg_lines,
    pg_supervised,
    poison,
    policies,
    shop,
    sigterm,
    storm,
    stubborn,
    survey,
    throughput,
    trouble,
    webhook,
)
from tests.torture.report import Plan, Result, Tell, table

CAMPAIGNS: Final[dict[str, Callable[[Plan, Tell], Awaitable[Result]]]] = {
    "throughput": throughput.run,
    "kill": kill.run,
    "sigterm": sigterm.run,
    "trouble": trouble.run,
    "storm": storm.run,
    "survey": survey.run,
    "disk": disk.run,
    "poison": poison.run,
    "stubborn": stubborn.run,
    "payments": payments.run,
    "limits": limits.run,
    "events": events.run,
    "events-http": events_http.run,
    "named": named.run,
    "policies": policies.run,
    "shop": shop.run,
    "webhook": webhook.run,
    "postgres-kills": pg_kills.run,
    "postgres-failover": pg_failover.synchronous,
    "postgres-failover-async": pg_failover.asynchronous,
    "postgres-frozen": pg_frozen.run,
    "postgres-lines": pg_lines.run,
    "postgres-rolling": pg_supervised.rolling,
    "postgres-supervised": pg_supervised.killed,
    "postgres-unsupervised": pg_supervised.killed_alone,
}
_POSTGRES: Final = [name for name in CAMPAIGNS if name.startswith("postgres-")]
DEFAULT: Final = Plan()
OUT: Final = Path("out/torture.json")
_TELL_EVERY_S: Final = 1.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--campaign", choices=[*CAMPAIGNS, "postgres", "all"], default="all")
    parser.add_argument("--seed", type=int, default=DEFAULT.seed)
    parser.add_argument(
        "--rounds", "--kills", type=int, default=DEFAULT.rounds, help="how many kills, how many SIGTERMs"
    )
    parser.add_argument("--updates", type=int, default=DEFAULT.updates)
    parser.add_argument("--chats", type=int, default=DEFAULT.chats)
    parser.add_argument(
        "--outage", type=float, default=DEFAULT.outage_s, help="seconds that the server is down"
    )
    parser.add_argument(
        "--fault", type=float, default=DEFAULT.fault_s, help="seconds of each other fault of the server"
    )
    parser.add_argument("--minutes", type=float, default=DEFAULT.minutes, help="how long the storm lasts")
    parser.add_argument(
        "--window", type=float, default=DEFAULT.window_s, help="seconds of storm between two verdicts"
    )
    return parser.parse_args()


def _teller(campaign: str) -> Tell:
    """A line a second, and each one to keep: rewritten on a terminal, one below the other in a file."""
    began = time.monotonic()
    told_at = began
    end = "\r" if sys.stdout.isatty() else "\n"

    def tell(text: str, /, *, keep: bool = False) -> None:
        nonlocal told_at
        if keep or time.monotonic() - told_at >= _TELL_EVERY_S:
            told_at = time.monotonic()
            print(f"{campaign} {told_at - began:4.0f} s: {text:<60}", end="\n" if keep else end, flush=True)

    return tell


async def _run(names: list[str], plan: Plan) -> list[Result]:
    results = []
    for name in names:
        results.append(await CAMPAIGNS[name](plan, _teller(name)))
        print("\n".join(results[-1].lines()), flush=True)
    return results


def main() -> int:
    """Return 0 if every promise was kept."""
    given = _arguments()
    names = {"all": list(CAMPAIGNS), "postgres": _POSTGRES}.get(given.campaign, [given.campaign])
    plan = Plan(
        seed=given.seed,
        rounds=given.rounds,
        updates=given.updates,
        chats=given.chats,
        outage_s=given.outage,
        fault_s=given.fault,
        minutes=given.minutes,
        window_s=given.window,
    )
    results = asyncio.run(_run(names, plan))
    print(f"\n{table(results)}")
    OUT.parent.mkdir(exist_ok=True)
    report = {"plan": plan._asdict(), "results": [result.as_json() for result in results]}
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(result.is_good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
