"""Values of parameters and fields that Telegram names in its documentation only, as constants and as types.

`parse_mode=ParseMode.HTML` and `parse_mode="HTML"` are the same; a type checker rejects any other text.
"""

from typing import TYPE_CHECKING, Final, Literal


class ParseMode:
    """Telegram Bot API, Formatting options. MARKDOWN is the legacy mode."""

    HTML: Final = "HTML"
    MARKDOWN_V2: Final = "MarkdownV2"
    MARKDOWN: Final = "Markdown"


FallbackStr = Literal["plain"]
"""What becomes of a text whose markup Telegram cannot parse: it is sent as plain text."""


class ChatType:
    """Telegram Bot API, Chat: type. SENDER occurs in inline queries only (InlineQuery: chat_type)."""

    PRIVATE: Final = "private"
    GROUP: Final = "group"
    SUPERGROUP: Final = "supergroup"
    CHANNEL: Final = "channel"
    SENDER: Final = "sender"


class ChatAction:
    """Telegram Bot API, sendChatAction: action."""

    TYPING: Final = "typing"
    UPLOAD_PHOTO: Final = "upload_photo"
    RECORD_VIDEO: Final = "record_video"
    UPLOAD_VIDEO: Final = "upload_video"
    RECORD_VOICE: Final = "record_voice"
    UPLOAD_VOICE: Final = "upload_voice"
    UPLOAD_DOCUMENT: Final = "upload_document"
    CHOOSE_STICKER: Final = "choose_sticker"
    FIND_LOCATION: Final = "find_location"
    RECORD_VIDEO_NOTE: Final = "record_video_note"
    UPLOAD_VIDEO_NOTE: Final = "upload_video_note"


class ChatMemberStatus:
    """Telegram Bot API, ChatMember: status."""

    CREATOR: Final = "creator"
    ADMINISTRATOR: Final = "administrator"
    MEMBER: Final = "member"
    RESTRICTED: Final = "restricted"
    LEFT: Final = "left"
    KICKED: Final = "kicked"


class PollType:
    """Telegram Bot API, sendPoll: type."""

    REGULAR: Final = "regular"
    QUIZ: Final = "quiz"


class DiceEmoji:
    """Telegram Bot API, sendDice: emoji."""

    DICE: Final = "🎲"
    DARTS: Final = "🎯"
    BASKETBALL: Final = "🏀"
    FOOTBALL: Final = "⚽"
    BOWLING: Final = "🎳"
    SLOT_MACHINE: Final = "🎰"


STARS: Final = "XTR"
"""The currency of Telegram Stars (Telegram Bot API, sendInvoice)."""

if TYPE_CHECKING:
    ParseModeStr = Literal["HTML", "MarkdownV2", "Markdown"]
    ChatTypeStr = Literal["private", "group", "supergroup", "channel", "sender"]
    ChatActionStr = Literal[
        "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
        "choose_sticker", "find_location", "record_video_note", "upload_video_note",
    ]  # fmt: skip
    PollTypeStr = Literal["regular", "quiz"]
    DiceEmojiStr = Literal["🎲", "🎯", "🏀", "⚽", "🎳", "🎰"]
else:  # a newer server may know more values, so at run time any text is one
    ParseModeStr = ChatTypeStr = ChatActionStr = PollTypeStr = DiceEmojiStr = str
