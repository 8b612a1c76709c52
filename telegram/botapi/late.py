"""Outcomes of refused calls: what to do when the call's object has changed or is gone since the call was collected.

| Telegram refuses the call because                       | outcome                                                      |
|---------------------------------------------------------|--------------------------------------------------------------|
| its effect exists already (`_IS_SO`)                    | done                                                         |
| the query was answered, or has expired                  | done; for a payment, which has failed: dropped               |
| its message or topic was deleted (`_IS_GONE`)           | dropped                                                      |
| the message that it replies to was deleted              | sent without the reply (`without_lost_reply`)                |
| the topic is closed, or the bot lost a right            | dead letter; a replay sends it once that is repaired         |
| the bot was blocked or removed                          | dropped, as are later calls to the chat (peers.py)           |
| the answer to a button press is too long                | sent, shortened (`with_shorter_answer`): the button waits    |

What a handler of refusals takes is neither dropped nor a dead letter (telegram/dialogue/router/refusals.py).
"dropped" logs a warning and makes no dead letter: no replay could ever succeed. Any other refusal is a dead letter.
The texts are the server's (telegram-bot-api, Client.cpp, check_message, check_message_topic, fail_query_with_error).
"""

import json
from typing import Final, Literal

import structlog

from telegram.botapi.calls import encode_json
from telegram.botapi.errors import Refused

log = structlog.get_logger(__name__)

Outcome = Literal["done", "dropped", "dead letter"]

_IS_SO: Final = (
    "message is not modified",
    "message to delete not found",
    "poll has already been closed",
    "chat title is not modified",
    "chat description is not modified",
    "chat_not_modified",
    "topic_not_modified",
    "query is too old",
    "query_id_invalid",  # the same from older servers
    "hide_requester_missing",  # a join request was withdrawn, or answered by an administrator: tucnak/telebot#570
    "user_already_participant",
)
_IS_GONE: Final = (
    "message to edit not found",  # TelegramBotAPI/errors#7, tgbot-collection/ytdlbot#435
    "message_id_invalid",  # of a message sent via the bot
    "message to react not found",
    "message to pin not found",
    "message to unpin not found",
    "message to delete reactions not found",
    "message with poll to stop not found",
    "message thread not found",  # tucnak/telebot#762
    "topic_deleted",
    "topic_id_invalid",
)
ANSWER_MAX: Final = 200
"""UTF-16 units, as Telegram counts elsewhere (Telegram Bot API, answerCallbackQuery: text, 0-200 characters)."""
PAYMENT_ANSWERS: Final = {
    "pre_checkout_query": "answerPreCheckoutQuery",
    "shipping_query": "answerShippingQuery",
}
"""Queries of payments, and the method that answers each: yes, or why not (Telegram Bot API, error_message). Telegram ends a payment that is answered too late, without telling the bot (Telegram Bot API, answerPreCheckoutQuery)."""
_REPLY_IS_GONE: Final = (
    "message to be replied not found",
    "replied message not found",  # older servers: tdlib/telegram-bot-api#469
    "reply message not found",  # aiogram/aiogram#447
)


def outcome_of_refusal(error: Refused) -> Outcome:
    """Return the outcome of a call that was refused with this error, by the table above."""
    if error.says(_IS_SO):
        return "dropped" if error.method in PAYMENT_ANSWERS.values() else "done"
    return "dropped" if error.says(_IS_GONE) else "dead letter"


def without_lost_reply(error: Refused, params: bytes) -> bytes | None:
    """Return the params without the reply, if the reply was refused and the author does not insist on it; else None.

    `allow_sending_without_reply` does the same at Telegram, but not for a reply in another chat or topic (Telegram Bot
    API, ReplyParameters); False insists on the reply.
    """
    if not error.says(_REPLY_IS_GONE):
        return None
    fields = json.loads(params)
    reply = fields.pop("reply_parameters", None)
    if not isinstance(reply, dict) or reply.get("allow_sending_without_reply") is False:
        return None
    return encode_json(fields)


def with_shorter_answer(error: Refused, params: bytes) -> bytes | None:
    """Return the params with a shortened text if it was refused as too long (eternnoir/pyTelegramBotAPI#500); else None."""
    if error.method != "answerCallbackQuery" or not error.says(("message_too_long",)):
        return None
    fields = json.loads(params)
    text = str(fields.get("text", ""))
    cut = text.encode("utf-16-le")[: 2 * (ANSWER_MAX - 1)].decode("utf-16-le", "ignore") + "…"
    if len(cut) > len(text):
        return None
    log.warning("the answer to a press is too long and was cut", characters=len(text))
    return encode_json({**fields, "text": cut})
