"""What a conversation remembers between updates: a JSON object in a store's state.

Beside the handlers' own values it holds the flow that is going on, under a name that handlers cannot use.
"""

import json
from typing import Any, Final

from engine import Reject
from telegram.kept import NotKept, encode_kept

_FLOW: Final = "~flow"


class Conversation:
    """The state of one scope: `data`, to be changed in place, and `flow`, the flow's record, if one is going on."""

    __slots__ = ("data", "flow", "was")

    def __init__(self, was: bytes | None) -> None:
        """Read a state; Rejects the update if it is not readable."""
        self.was = was
        self.data = _load(was)
        self.flow: dict[str, Any] | None = self.data.pop(_FLOW, None)

    def encoded(self) -> bytes | None:
        """Return the state to save, None for an empty one. NotKept for what would come back as another value."""
        if _FLOW in self.data:
            raise ValueError(f"{_FLOW!r} is not a name for your data: the flow is kept there")
        if self.flow is None:
            return encode_kept(self.data, "data") if self.data else None
        try:
            return encode_kept({**self.data, _FLOW: self.flow}, "data")
        except NotKept:
            for frame in self.flow["stack"]:  # so that the message names the field
                encode_kept(frame["data"], f"flow {frame['flow']}: data")
            raise


def _load(state: bytes | None) -> dict[str, Any]:
    if state is None:
        return {}
    try:
        data = json.loads(state)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Reject("the conversation state is not readable")
    return data
