"""Methods without state: the result has the right type, with sample values.

The chat, user, message and business connection of the call must exist.
"""

from collections.abc import Callable
from typing import Any

from telegram.botapi.schema import Method
from telegram.fake.protocol.answers import bad_request
from telegram.fake.protocol.params import Params, integer, text
from telegram.fake.protocol.shapes import schema
from telegram.fake.world import World

from .samples import Samples

_EMPTY = {
    "getUserProfileAudios": {"total_count": 0, "audios": []},
    "getUserChatBoosts": {"boosts": []},
    "getStarTransactions": {"transactions": []},
    "getMyStarBalance": {"amount": 0},
    "getAvailableGifts": {"gifts": []},
    "getUserPersonalChatMessages": [],
    "getGameHighScores": [],
}
"""Empty results of methods that list past events."""


def sample_method(name: str) -> Callable[[World, Params], Any]:
    """Return an implementation of the method of this name."""

    def run(world: World, params: Params) -> Any:
        known = _look_up(world, params)
        if name in _EMPTY:
            return _EMPTY[name]
        return _result(schema().methods[name], known, params)

    return run


def _look_up(world: World, params: Params) -> dict[str, Any]:
    """Return the known values for a sample result; ApiError if the call refers to something unknown."""
    known: dict[str, Any] = {"date": int(world.now()), "send_date": int(world.now()), "user": world.bot}
    if (
        text(params, "business_connection_id")
        and text(params, "business_connection_id") not in world.business
    ):
        raise bad_request("business connection not found")
    if "user_id" in params:
        known["user"] = world.user(params)
    if text(params, "chat_id"):
        chat = world.chat_for_bot(params)
        known["chat"] = chat.chat()
        if integer(params, "message_id") and chat.find(integer(params, "message_id")) is None:
            raise bad_request("message not found")
    else:
        known["chat"] = {"id": world.bot["id"], "type": "private", "first_name": world.bot["first_name"]}
    return known


def _result(method: Method, known: dict[str, Any], params: Params) -> Any:
    """Return a sample result; string fields with the name of a parameter get its value."""
    fields = {field.name: field.types for field in method.params}
    returned = schema().types.get(method.returns[0])
    for field in returned.fields if returned else ():
        given = params.get(field.name)
        if fields.get(field.name) == field.types == ("String",) and given is not None:
            known[field.name] = text(params, field.name)
    if "True" in method.returns:
        return True
    return Samples(known).of(method.returns, method.name)
