"""A timer as it lies in the store: what fires, and where it was set."""

import json
from typing import Any, NamedTuple

from engine import Reject


class Fired(NamedTuple):
    """A timer that is due. `place` has the params for the topic or business connection in which it was set.

    `user_id` is the sender of the update that set it (Context.sender_id): a user, or a chat that speaks for itself.
    """

    name: str
    chat_id: int | None
    user_id: int | None
    place: dict[str, Any]
    payload: dict[str, Any]


def read_timer(body: bytes) -> Fired:
    """Read what `Context.set_timer` wrote; Rejects anything else."""
    try:
        return Fired(**json.loads(body))
    except (ValueError, TypeError):
        raise Reject("the timer is not readable") from None
