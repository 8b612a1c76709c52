"""Methods that send messages without files, and those that forward and copy."""

from collections.abc import Callable

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.markup import reply_markup
from telegram.fake.protocol.params import Params, boolean, integer, text
from telegram.fake.protocol.shapes import schema
from telegram.fake.world import World
from telegram.fake.world.messages import (
    caption_content,
    check_length,
    content_of,
    object_of,
    origin_of,
    post,
    source,
    text_content,
    topic_of,
)

from .samples import Samples

_DICE_MAX = {"🎲": 6, "🎯": 6, "🎳": 6, "🏀": 5, "⚽": 5, "🎰": 64}
_MANY_MAX = 100  # Telegram Bot API, forwardMessages and copyMessages


def send_message(world: World, params: Params) -> Json:
    """Send a text. Refused: an empty or too long text, an invalid markup, an unknown chat, a user who blocked the bot."""
    content = text_content(params)
    markup = reply_markup(params)
    chat = world.chat_for_bot(params)
    check_length(content)
    return post(world, chat, content, markup, params)


def send_message_draft(world: World, params: Params) -> bool:
    """Show a draft of a message in a private chat. Refused: other chats, `draft_id` 0, a too long text.

    Without a text it is shown as "Thinking..." (Telegram Bot API, sendMessageDraft; tdlib/telegram-bot-api, Client.cpp,
    process_send_message_draft_query: an empty text passes). The text of the refusal for `draft_id` is not known.
    """
    content = text_content(params) if text(params, "text") else {"text": ""}
    chat = world.chat_for_bot(params)
    check_length(content)
    if chat.kind != "private":
        raise bad_request("TEXTDRAFT_PEER_INVALID")
    if not integer(params, "draft_id"):
        raise bad_request("DRAFT_ID_INVALID")
    topic_of(world, chat, integer(params, "message_thread_id"))
    world.show_draft(chat, {**content, "draft_id": integer(params, "draft_id")})
    return True


def send_location(world: World, params: Params) -> Json:
    """Send a location; with `live_period` a live one."""
    return send(world, params, {"location": location(params)})


def send_venue(world: World, params: Params) -> Json:
    """Send a venue."""
    venue = {"location": location(params), "title": text(params, "title"), "address": text(params, "address")}
    return send(world, params, {"venue": venue | _given(params, "Venue"), "location": venue["location"]})


def send_contact(world: World, params: Params) -> Json:
    """Send a contact."""
    return send(world, params, {"contact": _given(params, "Contact")})


def send_dice(world: World, params: Params) -> Json:
    """Send a dice; its value is predictable for tests: it comes from `World.number`, which counts up."""
    emoji = text(params, "emoji") or "🎲"
    if emoji not in _DICE_MAX:
        raise bad_request("DICE_EMOJI_INVALID")
    return send(
        world, params, {"dice": {"emoji": emoji, "value": (world.number() - 1) % _DICE_MAX[emoji] + 1}}
    )


def send_invoice(world: World, params: Params) -> Json:
    """Send an invoice; its total is the sum of the prices."""
    total = sum(integer(price, "amount") for price in object_of(params, "prices") or [])
    if text(params, "currency") == "XTR" and len(object_of(params, "prices") or []) != 1:
        raise bad_request("STARS_INVOICE_INVALID")
    if text(params, "currency") != "XTR" and not text(params, "provider_token"):
        raise bad_request("PAYMENT_PROVIDER_INVALID")  # Telegram Bot API, sendInvoice: empty for Stars only
    invoice = {name: text(params, name) for name in ("title", "description", "currency", "start_parameter")}
    return send(world, params, {"invoice": invoice | {"total_amount": total}})


def send_game(world: World, params: Params) -> Json:
    """Send a game; any short name is accepted."""
    game = Samples({"title": text(params, "game_short_name"), "date": int(world.now())}).of(["Game"])
    return send(world, params, {"game": game})


def send_checklist(world: World, params: Params) -> Json:
    """Send a checklist; an unknown business connection is refused."""
    return send(world, params, {"checklist": checklist(params)})


def checklist(params: Params) -> Json:
    """Return the `Checklist` for the InputChecklist of a call."""
    given = object_of(params, "checklist")
    tasks = [{"id": task["id"], "text": task["text"]} for task in given["tasks"]]
    return {"title": given["title"], "tasks": tasks} | {
        name: True for name in ("others_can_add_tasks", "others_can_mark_tasks_as_done") if given.get(name)
    }


def send_rich_message(world: World, params: Params) -> Json:
    """Send a rich message; HTML and Markdown become one paragraph, files in blocks are samples."""
    return send(world, params, {"rich_message": rich_message(params)})


def rich_message(params: Params) -> Json:
    """Return the `RichMessage` for the InputRichMessage of a call."""
    given = object_of(params, "rich_message") or {}
    written = given.get("html") or given.get("markdown")
    if not written and not given.get("blocks"):
        raise bad_request("rich message must be non-empty")
    if written:
        return {"blocks": [{"type": "paragraph", "text": written}]}
    return {"blocks": [_block(block) for block in given["blocks"]]}


def _block(given: Json) -> Json:
    sent, made = (
        next(
            each
            for name in schema().types[union].subtypes
            if (each := schema().types[name]).fields[0].const == given["type"]
        )
        for union in ("InputRichBlock", "RichBlock")
    )
    same = {field.name for field in made.fields if field in sent.fields}
    made_up: Json = Samples().of([made.name])
    return made_up | {name: value for name, value in given.items() if name in same}


def send(world: World, params: Params, content: Json, permission: str = "can_send_other_messages") -> Json:
    """Send content that needs no further checks, with the markup of the call."""
    markup = reply_markup(params)
    return post(world, world.chat_for_bot(params), content, markup, params, permission)


def location(params: Params) -> Json:
    """Return the `Location` of a call."""
    found: Json = {name: float(params[name]) for name in ("latitude", "longitude")}
    if not (-90 <= found["latitude"] <= 90 and -180 <= found["longitude"] <= 180):
        raise bad_request("wrong latitude or longitude specified")
    if text(params, "horizontal_accuracy"):
        found["horizontal_accuracy"] = float(params["horizontal_accuracy"])
    numbers = ("live_period", "heading", "proximity_alert_radius")
    return found | {name: integer(params, name) for name in numbers if integer(params, name)}


def _given(params: Params, type_name: str) -> Json:
    """Return the string fields of a type that are parameters of the call."""
    fields = schema().types[type_name].fields
    return {
        field.name: text(params, field.name)
        for field in fields
        if field.types == ("String",) and text(params, field.name)
    }


# -- forwarding and copying ----------------------------------------------------------------------------------------


def forward_message(world: World, params: Params) -> Json:
    """Forward a message; the copy has its origin."""
    chat = world.chat_for_bot(params)
    original = source(world, params, "message to forward", integer(params, "message_id"))
    if original.get("has_protected_content"):
        raise bad_request("message can't be forwarded")
    return post(world, chat, content_of(original) | {"forward_origin": origin_of(original)}, None, params)


def forward_messages(world: World, params: Params) -> list[Json]:
    """Forward messages; unknown ones are skipped, refused if all are unknown. Return a list of MessageId."""
    return _many(world, params, "forward", forward_message)


def copy_message(world: World, params: Params) -> Json:
    """Copy a message without its origin; return a MessageId."""
    markup = reply_markup(params)
    chat = world.chat_for_bot(params)
    original = source(world, params, "message to copy", integer(params, "message_id"))
    content = content_of(original)
    if "caption" in params and "text" not in content:
        content = {name: value for name, value in content.items() if not name.startswith("caption")}
        content |= caption_content(params)
    message = post(world, chat, content, markup, params)
    return {"message_id": message["message_id"]}


def copy_messages(world: World, params: Params) -> list[Json]:
    """Copy messages; unknown ones are skipped, refused if all are unknown. Return a list of MessageId."""
    remaining = params | ({"caption": ""} if boolean(params, "remove_caption") else {})
    return _many(world, remaining, "copy", copy_message)


def _many(world: World, params: Params, verb: str, one: Callable[[World, Params], Json]) -> list[Json]:
    ids = object_of(params, "message_ids") or []
    if not 1 <= len(ids) <= _MANY_MAX:
        raise bad_request(f"there must be 1 to {_MANY_MAX} messages to {verb}")
    chat = world.chat_for_bot(params, "from_chat_id")
    known = [message_id for message_id in map(int, ids) if chat.find(message_id)]
    if not known:
        raise bad_request(f"there are no messages to {verb}")
    return [
        {"message_id": one(world, params | {"message_id": message_id})["message_id"]} for message_id in known
    ]
