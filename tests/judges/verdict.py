"""What is made of a judgement: facts compared, a table printed. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from telegram.fake import Call

OK: Final = "ok"
FAILED: Final = "FAILED"
NOT_REACHED: Final = "-"

Facts = dict[str, Any]


class Wrong(Exception):  # noqa: N818 - reads as it is meant
    """A step did not go as it should; the words are for the one who reads the table."""


class Verdict(NamedTuple):
    """What one client says of the fake: per step nothing (all is well) or what went wrong; `skipped` tells why it was not run."""

    client: str
    steps: dict[str, str]
    skipped: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong; a skipped client has no objections."""
        return not any(self.steps.values())


def told(step: str, text: str) -> Facts | None:
    """The facts that a text of the bot reports about a step; None for any other text."""
    name, _, rest = text.partition(" ")
    if name != step or not rest.startswith("{"):
        return None
    facts: Facts = json.loads(rest)
    return facts


def differences(expected: Facts, found: Facts) -> list[str]:
    """One phrase for each fact that the client sees differently."""
    return [
        f"{name} is {expected.get(name)!r}, the client says {found.get(name)!r}"
        for name in {**expected, **found}
        if expected.get(name) != found.get(name) or (name in expected) != (name in found)
    ]


def refused(calls: Iterable[Call]) -> list[str]:
    """The calls that the server did not answer with 200, as "method status"."""
    return [f"{call.method} {call.status}" for call in calls if call.status != 200]


def table(verdicts: Sequence[Verdict], steps: Sequence[str]) -> str:
    """One line a client, and below it in words what went wrong."""
    widths = [
        max(map(len, ["", *(verdict.client for verdict in verdicts)])),
        *(max(len(FAILED), len(step)) for step in steps),
    ]
    rows = [["", *steps], *([verdict.client, *_cells(verdict, steps)] for verdict in verdicts)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    for verdict in verdicts:
        lines += [
            f"{verdict.client}, {step}: {problem}" for step, problem in verdict.steps.items() if problem
        ]
    return "\n".join(lines)


def versions(pins: str, package_lock: str) -> Mapping[str, str]:
    """Which versions of which packages the two lock files (pip's, npm's) name."""
    found = (line.split()[0].partition("==") for line in pins.splitlines() if "==" in line)
    python = {name: version for name, _, version in found}
    npm = json.loads(package_lock)["packages"]
    return python | {
        path.removeprefix("node_modules/"): each["version"] for path, each in npm.items() if path
    }


def _cells(verdict: Verdict, steps: Sequence[str]) -> list[str]:
    if verdict.skipped:
        return [f"skipped: {verdict.skipped}"]
    return [
        (FAILED if verdict.steps[step] else OK) if step in verdict.steps else NOT_REACHED for step in steps
    ]
