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
from telegram.dialogue.buttons.callback_data import CallbackData
from telegram.dialogue.buttons.keyboards import Button, inline, keyboard, no_keyboard
from telegram.dialogue.contexts.conduct import Conduct
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.invalid import Invalid
from telegram.dialogue.contexts.named import NamedMessage
from telegram.dialogue.contexts.queries import (
    CheckoutContext,
    ChosenContext,
    GuestContext,
    InlineContext,
    JoinRequestContext,
    ShippingContext,
)
from telegram.dialogue.contexts.signature import GIVEN as given  # noqa: N811 - authors write it as a default
from telegram.dialogue.contexts.tools import Post, Resource, Tools
from telegram.dialogue.contexts.updates import CallbackContext, ChatContext, MessageContext, TimerContext
from telegram.dialogue.filters.builtin import (
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
from telegram.dialogue.filters.captions import caption, text_or_caption
from telegram.dialogue.filters.conditions import AnyOf, Condition
from telegram.dialogue.filters.limits import throttle
from telegram.dialogue.flows.flow import Flow
from telegram.dialogue.flows.outcomes import BACK, END, Back, End
from telegram.dialogue.inbox.handler import InboxHandler
from telegram.dialogue.languages.texts import Texts
from telegram.dialogue.router.loading import load_router
from telegram.dialogue.router.menus import help_command
from telegram.dialogue.router.refusals import RefusedContext
from telegram.dialogue.router.router import Router
from telegram.dialogue.routes.events import EventContext
from telegram.dialogue.routes.hooks import HANDLED, Handled
from telegram.dialogue.routes.policies import drop
from telegram.dialogue.routes.route import Handler
from telegram.dialogue.routes.schedules import EveryContext
from telegram.dialogue.routes.threads import in_thread
from telegram.dialogue.state.kept import NotKept
from telegram.dialogue.state.scopes import CHAT, OWN, TOPIC, USER
from telegram.dialogue.state.shared import Shared

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
    "EveryContext",
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
    "drop",
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
