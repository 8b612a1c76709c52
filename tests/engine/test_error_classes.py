"""What becomes of a call for each answer that Telegram's server gives: its words, the class, the outcome."""

import json
from typing import Any, NamedTuple

import pytest

from engine import Delivery, Effects, Envelope, Lease, Park, Queue, Reject, Retry, Work
from telegram.botapi.calls import Files, encode_call
from telegram.botapi.errors import (
    ApiError,
    Conflict,
    NotSent,
    OutcomeUnknown,
    Refused,
    RetryAfter,
    ServerTrouble,
    TelegramError,
    Unauthorized,
    UploadCut,
    api_error,
)
from telegram.botapi.repeatable import makes_something
from telegram.botapi.schema import load
from telegram.service.sender import Sender
from telegram.settings.bot_config import UnknownOutcome
from tests.kit.virtual import run_virtual


class Server:
    """Answers with what its script says: an error, or None for ok; in the end with ok."""

    def __init__(self, *script: TelegramError | None) -> None:
        self.sent: list[dict[str, Any]] = []
        self.script = list(script)

    async def post(self, method: str, body: bytes) -> None:
        self.sent.append({"method": method, **json.loads(body)})
        if self.script and (error := self.script.pop(0)) is not None:
            raise error

    async def upload(self, method: str, body: bytes, files: Files) -> None:
        await self.post(method, body)


def delivery(method: str = "sendMessage", *, attempt: int = 1, **params: Any) -> Work:
    head = Envelope(1, "chat:1", "", encode_call(method, {"chat_id": 1, "text": "hi", **params}))
    return Work(Delivery(Lease(Queue.OUTBOX, head.key, 1), head, attempt, None))


def outcome(server: Server, given: Work, unknown_outcome: UnknownOutcome = "repeat") -> str:
    sender = Sender(server, unknown_outcome=unknown_outcome, jitter=lambda: 0.0)

    async def send() -> Effects:
        return await sender(given)

    try:
        assert run_virtual(send()) == Effects()
    except Reject as verdict:
        return f"dead: {verdict}"
    except Park as wish:
        return f"waits {wish.delay_s:g} s"
    except Retry:
        return "again"
    return "done"


HTML = b"<html><head><title>413 Request Entity Too Large</title></head></html>"


class Answer(NamedTuple):
    """A status and the server's words (bytes: a front's), for a method; what they are, and what becomes of the call."""

    code: int
    says: str | bytes
    kind: type[ApiError]
    becomes: str  # "dead": with Telegram's reason
    method: str = "sendMessage"

    def error(self) -> ApiError:
        body = self.says
        if isinstance(body, str):
            body = json.dumps({"ok": False, "error_code": self.code, "description": body}).encode()
        return api_error(self.method, self.code, body)


BAD, FORBIDDEN = "Bad Request: ", "Forbidden: "
ANSWERS = [
    # a peer that the bot never saw
    Answer(400, BAD + "chat not found", Refused, "dead"),
    Answer(400, BAD + "private chat not found", Refused, "dead"),
    Answer(400, BAD + "PEER_ID_INVALID", Refused, "dead"),
    # a group that moved, without its new id
    Answer(400, BAD + "group chat was upgraded to a supergroup chat", Refused, "dead"),
    # so already, or too late
    Answer(400, BAD + "message is not modified: specified new message content and reply markup are exactly"
           " the same as a current content and reply markup of the message", Refused, "done", "editMessageText"),
    Answer(400, BAD + "message to delete not found", Refused, "done", "deleteMessage"),
    Answer(400, BAD + "query is too old and response timeout expired or query ID is invalid", Refused, "done",
           "answerCallbackQuery"),
    # a message that is gone, or too old
    Answer(400, BAD + "message to edit not found", Refused, "done", "editMessageText"),
    Answer(400, BAD + "message to be replied not found", Refused, "dead"),
    Answer(400, BAD + "message can't be edited", Refused, "dead", "editMessageText"),
    Answer(400, BAD + "message can't be deleted for everyone", Refused, "dead", "deleteMessage"),
    # our own slips
    Answer(400, BAD + "can't parse entities: Unsupported start tag \"x\" at byte offset 0", Refused, "dead"),
    Answer(400, BAD + "message text is empty", Refused, "dead"),
    Answer(400, BAD + "message is too long", Refused, "dead"),
    Answer(400, BAD + "reply markup is too long", Refused, "dead"),
    Answer(400, BAD + "BUTTON_DATA_INVALID", Refused, "dead"),
    # a topic that is gone
    Answer(400, BAD + "message thread not found", Refused, "done"),
    Answer(400, BAD + "TOPIC_CLOSED", Refused, "dead"),
    Answer(400, BAD + "TOPIC_DELETED", Refused, "done"),
    # rights
    Answer(400, BAD + "not enough rights to send text messages to the chat", Refused, "dead"),
    Answer(400, BAD + "CHAT_WRITE_FORBIDDEN", Refused, "dead"),
    Answer(400, BAD + "CHAT_RESTRICTED", Refused, "dead"),
    # files
    Answer(400, BAD + "wrong file_id or the file is temporarily unavailable", Refused, "again", "sendPhoto"),
    Answer(400, BAD + "file is too big", Refused, "dead", "getFile"),
    Answer(400, BAD + "failed to get HTTP URL content", Refused, "dead", "sendPhoto"),
    Answer(400, BAD + "wrong type of the web page content", Refused, "dead", "sendPhoto"),
    Answer(400, BAD + "wrong HTTP URL specified", Refused, "dead", "sendPhoto"),
    # the token does not count here: the poller ends the bot
    Answer(400, "Logged out", Unauthorized, "waits 60 s"),
    Answer(401, "Unauthorized", Unauthorized, "waits 60 s"),
    Answer(401, "Unauthorized: invalid token specified", Unauthorized, "waits 60 s"),
    Answer(421, "Misdirected Request", Unauthorized, "waits 60 s"),
    # a peer out of reach: dropped, unless it has never started the bot
    Answer(403, FORBIDDEN + "bot was blocked by the user", Refused, "done"),
    Answer(403, FORBIDDEN + "user is deactivated", Refused, "done"),
    Answer(403, FORBIDDEN + "bot was kicked from the supergroup chat", Refused, "done"),
    Answer(403, FORBIDDEN + "bot is not a member of the channel chat", Refused, "done"),
    Answer(403, FORBIDDEN + "the group chat was deleted", Refused, "done"),
    Answer(403, FORBIDDEN + "bot can't initiate conversation with a user", Refused, "dead"),
    # the rest
    Answer(404, "Not Found", Refused, "dead"),
    Answer(404, "Not Found", Unauthorized, "waits 60 s", "getMe"),
    Answer(409, "Conflict: terminated by other getUpdates request", Conflict, "again", "getUpdates"),
    Answer(413, "Request Entity Too Large", Refused, "dead", "sendDocument"),
    Answer(413, HTML, Refused, "dead", "sendDocument"),
    Answer(429, "Too Many Requests: retry later", RetryAfter, "waits 5 s"),
    Answer(420, "FLOOD_WAIT_3", RetryAfter, "waits 5 s"),
    Answer(500, "Internal Server Error: restart", ServerTrouble, "again"),
    Answer(502, HTML, ServerTrouble, "again"),
    Answer(504, HTML, ServerTrouble, "again"),
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer.code} {str(answer.says)[:50]}")
def test_what_becomes_of_the_call(answer: Answer) -> None:
    error = answer.error()
    assert type(error) is answer.kind
    became = outcome(Server(error), delivery(answer.method))
    assert became == (f"dead: {error}" if answer.becomes == "dead" else answer.becomes)


def test_what_the_server_says_of_a_wait_counts() -> None:
    body = b'{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":35}}'
    assert outcome(Server(api_error("sendMessage", 429, body)), delivery()) == "waits 35 s"


def test_a_file_that_is_temporarily_unavailable_is_tried_once_more() -> None:
    says = "Bad Request: wrong file_id or the file is temporarily unavailable"
    given = delivery("sendPhoto", attempt=2)
    assert outcome(Server(Refused("sendPhoto", 400, says)), given) == f"dead: sendPhoto: 400 {says}"


# ---- unknown outcomes

UNKNOWN = [
    ServerTrouble("sendMessage", 500, "Internal Server Error: restart"),
    OutcomeUnknown("sendMessage", "no answer in 30 s"),
]
NOT_EXECUTED = [
    NotSent("sendMessage", "connection refused"),
    UploadCut("sendMessage", "reset after 5 bytes"),
    RetryAfter("sendMessage", 429, "x"),
    Conflict("sendMessage", 409, "x"),
]
CREATING = """
    addStickerToSet close convertGiftToStars copyMessage copyMessages createChatInviteLink
    createChatSubscriptionInviteLink createForumTopic createInvoiceLink createNewStickerSet exportChatInviteLink
    forwardMessage forwardMessages giftPremiumSubscription logOut postStory refundStarPayment
    replaceManagedBotToken replaceStickerInSet repostStory savePreparedInlineMessage savePreparedKeyboardButton
    sendAnimation sendAudio sendChatJoinRequestWebApp sendChecklist sendContact sendDice sendDocument sendGame
    sendGift sendInvoice sendLivePhoto sendLocation sendMediaGroup sendMessage sendPaidMedia sendPhoto sendPoll
    sendRichMessage sendSticker sendVenue sendVideo sendVideoNote sendVoice transferBusinessAccountStars
    transferGift upgradeGift uploadStickerFile
"""


@pytest.mark.parametrize("error", UNKNOWN, ids=repr)
def test_an_unknown_outcome_follows_the_policy(error: TelegramError) -> None:
    assert outcome(Server(error), delivery()) == "again"
    given_up = outcome(Server(error), delivery(), "give-up")
    assert given_up == f"dead: outcome unknown, not tried again: {error}"
    assert outcome(Server(error), delivery("editMessageText"), "give-up") == "again"


@pytest.mark.parametrize("error", NOT_EXECUTED, ids=repr)
def test_what_was_surely_not_executed_is_never_given_up(error: TelegramError) -> None:
    assert outcome(Server(error), delivery(), "give-up") == outcome(Server(error), delivery())


def test_which_methods_make_something() -> None:
    """A method that comes with a new version of the Bot API counts as one, until somebody has looked at it."""
    assert sorted(filter(makes_something, load().methods)) == sorted(CREATING.split())
    assert all(map(makes_something, ("teleportChat", "setup", "editDreams", "getRich", "SENDMESSAGE")))
    assert not makes_something("deletemessage")
