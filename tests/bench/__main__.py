"""The command line of the benchmarks."""

import argparse
import logging
from pathlib import Path

import structlog

from tests.bench import (
    backlog,
    dialogue,
    dispatch,
    echo,
    files,
    intake,
    isolation,
    metered,
    operator,
    postgres,
    steady,
    traced,
    types,
)
from tests.bench.report import Row, save, show

TABLES = {
    "dispatch": ("No-op dispatch", dispatch.run),
    "dialogue": ("A step of a conversation", dialogue.run),
    "echo": ("Echo over HTTP, 64 calls at a time", echo.run),
    "metered": ("What metrics cost", metered.run),
    "traced": ("What traces cost", traced.run),
    "steady": ("A steady 200 updates a second", steady.run),
    "isolation": ("A flood in one chat", isolation.run),
    "backlog": ("A large backlog", backlog.run),
    "operator": ("The operator's page", operator.run),
    "postgres": ("PostgreSQL", postgres.run),
    "types": ("Types and a bot, beside aiogram (CPU and memory over pydantic's own)", types.run),
    "intake": ("A hostile reply of getUpdates, from 1 KB to 32 MB", intake.run),
    "files": ("A large file, there and back", files.run),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("tables", nargs="*", help=f"which of {', '.join(TABLES)}; default: all")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of which the median is given (default 5)"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the amounts of work, for a quick look")
    parser.add_argument("--json", type=Path, default=Path("out/bench.json"), help="where the numbers go")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if unknown := set(args.tables) - set(TABLES):
        parser.error(f"no such table: {', '.join(sorted(unknown))}")
    results: dict[str, list[Row]] = {}
    for name in args.tables or TABLES:
        title, run = TABLES[name]
        results[name] = run(args.rounds, args.scale)
        show(title, results[name])
    save(args.json, results)


if __name__ == "__main__":
    main()
