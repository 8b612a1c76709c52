"""The API for authors of handlers: Router, filters, contexts, flows, and the outcomes that a handler may raise."""

from engine.errors import Park, Reject, Retry
from telegram.botapi.constants import (
    STARS,
    ChatAction,
    ChatMemberStatus,
    ChatType,
    DiceEmoji,
    ParseMode,
    PollType,
)
from telegram.dialogue.callback_data import CallbackData
from telegram.dialogue.captions import caption, text_or_caption
from telegram.dialogue.conditions import AnyOf, Condition
from telegram.dialogue.conduct import Conduct
from telegram.dialogue.context import Context
from telegram.dialogue.contexts import CallbackContext, ChatContext, MessageContext, TimerContext
from telegram.dialogue.events import EventContext
from telegram.dialogue.filters import (
    Extract,
    Filter,
    animation,
    any_of,
    audio,
    button,
    button_prefix,
    carries,
    chat_type,
    command,
    contact,
    content,
    data,
    data_prefix,
    document,
    kind,
    location,
    no,
    photo,
    regex,
    sticker,
    successful_payment,
    text,
    video,
    video_note,
    voice,
)
from telegram.dialogue.flows.flow import Flow
from telegram.dialogue.flows.outcomes import BACK, END, Back, End
from telegram.dialogue.hooks import HANDLED, Handled
from telegram.dialogue.inbox import InboxHandler
from telegram.dialogue.invalid import Invalid
from telegram.dialogue.kept import NotKept
from telegram.dialogue.keyboards import Button, inline, keyboard, no_keyboard
from telegram.dialogue.limits import throttle
from telegram.dialogue.loading import load_router
from telegram.dialogue.menus import help_command
from telegram.dialogue.named import NamedMessage
from telegram.dialogue.queries import (
    CheckoutContext,
    ChosenContext,
    GuestContext,
    InlineContext,
    JoinRequestContext,
    ShippingContext,
)
from telegram.dialogue.refusals import RefusedContext
from telegram.dialogue.router import Router
from telegram.dialogue.routes import Handler
from telegram.dialogue.scopes import CHAT, OWN, TOPIC, USER
from telegram.dialogue.shared import Shared
from telegram.dialogue.signature import GIVEN as given  # noqa: N811 - authors write it as a default
from telegram.dialogue.texts import Texts
from telegram.dialogue.threads import in_thread
from telegram.dialogue.tools import Post, Resource, Tools

__all__ = [
    "BACK",
    "CHAT",
    "END",
    "HANDLED",
    "OWN",
    "STARS",
    "TOPIC",
    "USER",
    "AnyOf",
    "Back",
    "Button",
    "CallbackContext",
    "CallbackData",
    "ChatAction",
    "ChatContext",
    "ChatMemberStatus",
    "ChatType",
    "CheckoutContext",
    "ChosenContext",
    "Condition",
    "Conduct",
    "Context",
    "DiceEmoji",
    "End",
    "EventContext",
    "Extract",
    "Filter",
    "Flow",
    "GuestContext",
    "Handled",
    "Handler",
    "InboxHandler",
    "InlineContext",
    "Invalid",
    "JoinRequestContext",
    "MessageContext",
    "NamedMessage",
    "NotKept",
    "Park",
    "ParseMode",
    "PollType",
    "Post",
    "RefusedContext",
    "Reject",
    "Resource",
    "Retry",
    "Router",
    "Shared",
    "ShippingContext",
    "Texts",
    "TimerContext",
    "Tools",
    "animation",
    "any_of",
    "audio",
    "button",
    "button_prefix",
    "caption",
    "carries",
    "chat_type",
    "command",
    "contact",
    "content",
    "data",
    "data_prefix",
    "document",
    "given",
    "help_command",
    "in_thread",
    "inline",
    "keyboard",
    "kind",
    "load_router",
    "location",
    "no",
    "no_keyboard",
    "photo",
    "regex",
    "sticker",
    "successful_payment",
    "text",
    "text_or_caption",
    "throttle",
    "video",
    "video_note",
    "voice",
]
