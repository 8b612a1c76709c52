"""The command line's commands for dead letters: `dead` lists them, `replay` puts them back."""

import sys
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg

from engine import DeadLetter
from engine.store import Operator
from telegram.botapi.errors import redact
from telegram.botapi.printable import printable

_NUMBER_MAX: Final = 2**63 - 1  # as a store counts
_REASON_MAX = 1000
_BODY_MAX = 120  # characters that are shown of an update or a call
_BODY_READ_MAX = 10_000  # bytes that are decoded for it


class Dead(BaseModel):
    """List the dead letters, newest first: what was given up, and why."""

    limit: int = Field(default=20, ge=1, description="how many")


class Replay(BaseModel):
    """Put dead letters back into their lanes, each before newer updates."""

    numbers: CliPositionalArg[list[Annotated[int, Field(ge=1, le=_NUMBER_MAX)]]] = Field(
        description="their numbers, as `dead` shows them"
    )


async def show_dead(store: Operator, command: Dead, token: str) -> None:
    """Print dead letters, newest first, without the token."""
    lines = letter_lines(await store.dead_letters(command.limit), token)
    sys.stdout.write("\n".join(lines or ["no dead letters"]) + "\n")


async def replay(store: Operator, command: Replay) -> bool:
    """Put dead letters back, and print how many; return False if one could not be found."""
    missing = [number for number in command.numbers if not await store.replay(number)]
    put_back = len(command.numbers) - len(missing)
    sys.stdout.write(f"{put_back} put back; the bot handles them at its next start\n")
    if missing:
        sys.stderr.write(f"no dead letter has the number {', '.join(map(str, missing))}\n")
    return not missing


def letter_lines(letters: Iterable[DeadLetter], token: str) -> list[str]:
    """Return two printable lines per letter, without the token: reasons and bodies may quote it, or a stranger's text."""
    lines = []
    for letter in letters:
        body = printable(redact(letter.envelope.body[:_BODY_READ_MAX].decode("utf-8", "replace"), token))
        reason = printable(redact(letter.reason[:_REASON_MAX], token))
        lines.append(
            f"{letter.number:>6}  {letter.queue.value:<6}  {printable(letter.envelope.key)}  id {letter.envelope.id}  "
            f"attempts {letter.attempts}  {reason}\n        {body[:_BODY_MAX]}"
        )
    return lines
