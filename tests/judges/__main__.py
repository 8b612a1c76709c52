"""`python -m tests.judges`: bots written with other people's frameworks, unchanged, at the fake server.

Only the base URL and the token are not Telegram's. `make judges` installs the frameworks; one that is not there is skipped.
The exit code is 1 when anything went wrong, and when nobody was there.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from telegram.fake import FakeServer
from tests.judges.clients import CLIENTS, HERE, BotProcess, Client
from tests.judges.steps import Visit, draw
from tests.judges.verdict import Verdict, Wrong, table, versions


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make judges ARGS=...", description=__doc__)
    parser.add_argument("only", nargs="*", help="clients whose name contains one of these; default: all")
    parser.add_argument(
        "--strict", action="store_true", help="the server refuses what the schema does not say"
    )
    return parser.parse_args()


async def judge(client: Client, name: str, *, strict: bool) -> Verdict:
    """One client's bot through every step; one that never came up, or has ended, is asked nothing more."""
    if missing := client.missing():
        return Verdict(name, {}, missing)
    steps: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="chatlane-judges-") as folder:
        draw(Path(folder))
        async with (
            FakeServer(seed=1, strict=strict) as server,
            BotProcess(client, server.url, server.token, Path(folder)) as bot,
        ):
            visit = Visit(server)
            for step, run in visit.steps.items():
                visit.begin(step)
                try:
                    await run()
                    steps[step] = ""
                except Wrong as problem:
                    steps[step] = str(problem)
                except (LookupError, ValueError) as unexpected:  # something is missing, or there twice
                    steps[step] = repr(unexpected)
                except TimeoutError:
                    refusals = ", ".join(visit.refusals()) or "none"
                    steps[step] = f"no report; refused calls: {refusals}; its log ends:\n{bot.log_tail()}"
                    if step == "start" or bot.has_ended:
                        break
    return Verdict(name, steps)


async def _all(clients: list[Client], *, strict: bool) -> list[Verdict]:
    pins = "".join(lock.read_text() for lock in HERE.glob("*.lock"))
    known = versions(pins, (HERE / "package-lock.json").read_text())
    return [
        await judge(client, f"{client.package} {known[client.package]}", strict=strict) for client in clients
    ]


def main() -> int:
    """Run, print the table."""
    given = _arguments()
    wanted = [word.lower() for word in given.only] or [""]
    clients = [client for client in CLIENTS if any(word in client.package for word in wanted)]
    began = time.monotonic()
    verdicts = asyncio.run(_all(clients, strict=given.strict))
    print(table(verdicts, list(Visit(FakeServer()).steps)))
    print(f"{time.monotonic() - began:.0f} s")
    judged = [verdict for verdict in verdicts if not verdict.skipped]
    return 0 if judged and all(verdict.is_good for verdict in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
