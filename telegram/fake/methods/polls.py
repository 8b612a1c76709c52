"""Methods for polls; users vote with `World.vote`."""

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.markup import reply_markup
from telegram.fake.protocol.params import Params, boolean, integer, text
from telegram.fake.text.formatting import formatted
from telegram.fake.world import World
from telegram.fake.world.messages import editable, given_entities, inline, object_of, without

from .sending import send

POLLS_MAX = 10_000  # open to votes; older ones are forgotten
_QUESTION_MAX, _OPTION_MAX, _OPTIONS_MAX = 300, 100, 12  # Telegram Bot API, sendPoll
_FLAGS = ("allows_multiple_answers", "allows_revoting", "members_only")


def send_poll(world: World, params: Params) -> Json:
    """Send a regular poll or a quiz."""
    poll = _poll(world, params)
    message = send(world, params, {"poll": poll}, "can_send_polls")
    world.polls[poll["id"]] = (message["chat"]["id"], message["message_id"])
    if len(world.polls) > POLLS_MAX:
        oldest = next(iter(world.polls))
        del world.polls[oldest]
        world.votes.pop(oldest, None)
    return message


def stop_poll(world: World, params: Params) -> Json:
    """Close a poll and return it. Refused: a poll of another user, a closed one."""
    chat, _, message = editable(world, params)
    if chat is None or "poll" not in message:
        raise bad_request("message with poll to stop not found")
    if message["poll"]["is_closed"]:
        raise bad_request("poll has already been closed")
    poll: Json = message["poll"] | {"is_closed": True}
    markup = inline(reply_markup(params))
    world.replace(chat, without(message, "reply_markup") | {"poll": poll} | markup)
    return poll


def _poll(world: World, params: Params) -> Json:
    kind = text(params, "type") or "regular"
    if kind not in ("regular", "quiz"):
        raise bad_request("unsupported poll type specified")
    question = _text(params, "question", "question_", _QUESTION_MAX)
    options = [
        {"text": option} if isinstance(option, str) else option
        for option in object_of(params, "options") or []
    ]
    if not 1 <= len(options) <= _OPTIONS_MAX:
        raise bad_request(f"poll must have at least 1 and at most {_OPTIONS_MAX} answer options")
    poll: Json = {
        "id": str(5_000_000_000_000_000_000 + world.number()),
        **question,
        "options": [
            {
                "persistent_id": str(n),
                **_text(option, "text", "text_", _OPTION_MAX),
                "voter_count": 0,
            }
            for n, option in enumerate(options)
        ],
        "total_voter_count": 0,
        "is_closed": boolean(params, "is_closed"),
        "is_anonymous": "is_anonymous" not in params or boolean(params, "is_anonymous"),
        "type": kind,
        **{name: boolean(params, name) for name in _FLAGS},
    }
    if kind == "quiz":
        poll |= _quiz(params, len(options))
    for name in ("open_period", "close_date"):
        if integer(params, name):
            poll[name] = integer(params, name)
    return poll


def _quiz(params: Params, options: int) -> Json:
    correct = object_of(params, "correct_option_ids") or []
    if not correct or not all(0 <= int(n) < options for n in correct):
        raise bad_request("wrong correct option ID specified")
    explained = {"explanation": text(params, "explanation")} if text(params, "explanation") else {}
    return {"correct_option_ids": [int(n) for n in correct], **explained}


def _text(given: Json, name: str, prefix: str, longest: int) -> Json:
    body, entities = formatted(
        text(given, name), text(given, f"{prefix}parse_mode"), given_entities(given, f"{prefix}entities")
    )
    what = "poll question" if name == "question" else "poll options"
    if not body:
        raise bad_request(f"{what} must be non-empty")
    if len(body) > longest:
        raise bad_request(f"{what} length must not exceed {longest}")
    return {name: body} | ({f"{name}_entities": entities} if entities else {})
