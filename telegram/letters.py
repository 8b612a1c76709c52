"""Dead letters as an operator sees them on the command line."""

from collections.abc import Iterable

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg

from engine import DeadLetter
from telegram.errors import redact

_BODY_MAX = 120  # characters that are shown of an update or a call


class Dead(BaseModel):
    """List the dead letters, newest first: what was given up, and why."""

    limit: int = Field(default=20, ge=1, description="how many")


class Replay(BaseModel):
    """Put dead letters back in their lanes, each before what waits there."""

    numbers: CliPositionalArg[list[int]] = Field(description="their numbers, as `dead` shows them")


def letter_lines(letters: Iterable[DeadLetter], token: str) -> list[str]:
    """Return two lines of text for each letter, without the token: a handler's own errors may quote it."""
    lines = []
    for letter in letters:
        body = redact(letter.envelope.body.decode("utf-8", "replace"), token).replace("\n", " ")
        lines.append(
            f"{letter.number:>6}  {letter.queue.value:<6}  {letter.envelope.key}  id {letter.envelope.id}  "
            f"attempts {letter.attempts}  {redact(letter.reason, token)}\n        {body[:_BODY_MAX]}"
        )
    return lines
