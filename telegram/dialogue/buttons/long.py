"""Callback data over Telegram's 64 bytes: the button carries a short key, and the data are kept in the store.

    ~=KKKKKKKKKKKKKKKK        K: a hash of the data, so the same data have the same key; a flow's mark stands before it

They are a state of the lane in which a press arrives, that of the message's chat, written in one step with the commit that
sends the button. A press of one whose data are not kept any more is answered as that of an old button.
"""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from telegram.botapi.calls import encode_json
from telegram.botapi.collecting import WrongCall
from telegram.botapi.routing import route
from telegram.dialogue.buttons.callback_data import CALLBACK_BYTES_MAX, DATA_MAX
from telegram.dialogue.state.conversation import Conversation

BUTTONS: Final = "~buttons"
"""The scope of the state."""

KEPT_MAX: Final = 500
"""Maximum number of buttons whose data one lane keeps: the newest. Telegram allows 100 in one keyboard."""

KEPT_BYTES_MAX: Final = 2**17
"""Maximum size of these data in bytes; a keyboard of 100 buttons with DATA_MAX fits."""

_KEY: Final = re.compile(r"~=[A-Za-z0-9_-]{16}")


def key_of(data: str) -> str:
    """Return the key that stands for callback data."""
    return f"~={urlsafe_b64encode(blake2b(data.encode(), digest_size=12).digest()).decode()}"


def is_key(data: str) -> bool:
    """Return whether callback data, without a mark, are a key. (Data of an author's own that look so are kept, too.)"""
    return data[:2] == "~=" and _KEY.fullmatch(data) is not None


def noted_as(data: str) -> str:
    """Return how a flow's record notes the data of a button: over 64 bytes by their key, which takes less room."""
    return data if len(data.encode()) <= CALLBACK_BYTES_MAX else key_of(data)


def kept_as(data: str, long: dict[str, str]) -> str:
    """Put data into `long` under their key, and return that; WrongCall for more than DATA_MAX bytes."""
    if (size := len(data.encode())) > DATA_MAX:
        raise WrongCall(
            f"a button's data has at most {DATA_MAX} bytes in UTF-8, this has {size}: {data!r:.60}"
        )
    key = key_of(data)
    long[key] = data
    return key


def lane_of_presses(method: str, params: Mapping[str, Any]) -> str:
    """Return the lane in which a press under the message of a call arrives; WrongCall if that is not known."""
    chat = {"id": params.get("chat_id")}
    message = {"chat": chat, "business_connection_id": params.get("business_connection_id")}
    query = {"message": message, "inline_message_id": params.get("inline_message_id")}
    lane = route({"callback_query": query}, 0).key
    if lane.startswith("update:"):
        raise WrongCall(
            f"{method}: a button with more than 64 bytes needs the id of its chat, not {params.get('chat_id')!r:.60}"
        )
    return lane


class LongData(Conversation):
    """The state: the data by their keys, the newest last."""

    __slots__ = ("_kept",)

    def __init__(self, was: bytes | None) -> None:
        self.was = was
        self._kept: dict[str, str] = json.loads(was or b"{}")

    def get(self, key: str) -> str | None:
        """Return the data of a key; None if they are not kept."""
        return self._kept.get(key)

    def add(self, new: Mapping[str, str]) -> None:
        """Keep these data, as the newest; beyond the limits the oldest are removed."""
        for key in new:
            self._kept.pop(key, None)
        self._kept.update(new)
        size = sum(len(data.encode()) for data in self._kept.values())
        for key in list(self._kept):
            if len(self._kept) <= KEPT_MAX and size <= KEPT_BYTES_MAX:
                break
            size -= len(self._kept.pop(key).encode())

    def encoded(self) -> bytes | None:
        """Return the state to save."""
        return encode_json(self._kept) if self._kept else None
