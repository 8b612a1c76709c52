"""Methods that answer queries: button presses, inline queries, payments, requests to join. Each can be answered once."""

from collections.abc import Callable

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.params import Params, boolean, text
from telegram.fake.world import World
from telegram.fake.world.messages import object_of

CALLBACK_TEXT_MAX = 200
INLINE_RESULTS_MAX = 50
_TOO_OLD = "query is too old and response timeout expired or query ID is invalid"


def answer_callback_query(world: World, params: Params) -> bool:
    """Answer a press. Refused: a query that is unknown, answered, or too old."""
    note = text(params, "text")
    if len(note) > CALLBACK_TEXT_MAX:
        raise bad_request("MESSAGE_TOO_LONG")
    query = _take(world, "callback_query", text(params, "callback_query_id"))
    world.emit(
        "answer",
        callback_query_id=query["id"],
        user_id=query.get("from", {}).get("id"),
        text=note,
        show_alert=boolean(params, "show_alert"),
    )
    return True


def answer_inline_query(world: World, params: Params) -> bool:
    """Answer an inline query. Refused: as above, and too many results, or two with the same id."""
    results = object_of(params, "results") or []
    if len(results) > INLINE_RESULTS_MAX:
        raise bad_request("RESULTS_TOO_MUCH")
    if len({result["id"] for result in results}) < len(results):
        raise bad_request("RESULT_ID_DUPLICATE")
    query = _take(world, "inline_query", text(params, "inline_query_id"))
    world.emit("inline_answer", inline_query_id=query["id"], inline_query=query, results=results)
    return True


def payment_answerer(kind: str) -> Callable[[World, Params], bool]:
    """Return the method that accepts a shipping or pre-checkout query, or declines it with a reason."""

    def answer(world: World, params: Params) -> bool:
        is_yes = boolean(params, "ok")
        if not is_yes and not text(params, "error_message"):
            raise bad_request("error message is empty")
        if is_yes and kind == "shipping_query" and not object_of(params, "shipping_options"):
            raise bad_request("shipping options must be non-empty")
        query = _take(world, kind, text(params, f"{kind}_id"))
        world.emit("payment_answer", query_id=query["id"], ok=is_yes)
        return True

    return answer


def answer_chat_join_request_query(world: World, params: Params) -> bool:
    """Approve or decline a request to join, or leave it to the chat's administrators ("queue")."""
    result = text(params, "result")
    if result not in ("approve", "decline", "queue"):
        raise bad_request("wrong result specified")
    query = _take(world, "chat_join_request", text(params, "chat_join_request_query_id"))
    chat = world.chat_for_bot({"chat_id": query["chat"]["id"]})
    if result != "queue":
        chat.about.join_requests.discard(query["from"]["id"])
    if result == "approve":
        world.set_member(chat, query["from"], {"status": "member"}, by=world.bot)
    return True


def answer_guest_query(world: World, params: Params) -> Json:
    """Answer a guest query; return a SentGuestMessage with an inline_message_id."""
    _take(world, "guest_message", text(params, "guest_query_id"))
    return _sent_via_the_bot(world)


def answer_web_app_query(world: World, _params: Params) -> Json:
    """Like answerGuestQuery. Web Apps are not simulated, so any query id is accepted."""
    return _sent_via_the_bot(world)


def _sent_via_the_bot(world: World) -> Json:
    inline_message_id = f"fake-inline-{world.number()}"
    world.keep_inline(inline_message_id, {})
    return {"inline_message_id": inline_message_id}


def get_business_connection(world: World, params: Params) -> Json:
    """Return a business connection as in its update."""
    found = world.business.get(text(params, "business_connection_id"))
    if found is None:
        raise bad_request("business connection not found")
    return found


def _take(world: World, kind: str, query_id: str) -> Json:
    query = world.take_query(kind, query_id)
    if query is None:
        raise bad_request(_TOO_OLD)
    return query
