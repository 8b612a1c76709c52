"""Methods for the topics of a forum."""

from collections.abc import Callable

from telegram.fake.protocol.answers import Json, bad_request
from telegram.fake.protocol.params import Params, integer, text
from telegram.fake.world import World
from telegram.fake.world.members import check_right
from telegram.fake.world.messages import GENERAL_TOPIC
from telegram.fake.world.people import Chat

NAME_MAX = 128  # Telegram Bot API, createForumTopic
_COLOUR = 7_322_096


def create_forum_topic(world: World, params: Params) -> Json:
    """Create a topic; its id is that of the service message."""
    chat = _forum(world, params)
    topic: Json = {"name": _name(params), "icon_color": integer(params, "icon_color") or _COLOUR}
    if text(params, "icon_custom_emoji_id"):
        topic["icon_custom_emoji_id"] = text(params, "icon_custom_emoji_id")
    message = world.announce(chat, {"forum_topic_created": topic, "is_topic_message": True})
    chat.about.topics[message["message_id"]] = topic | {"closed": False}
    return topic | {"message_thread_id": message["message_id"]}


def edit_forum_topic(world: World, params: Params) -> bool:
    """Edit name and icon of a topic; absent ones are unchanged."""
    chat, thread_id, topic = _topic(world, params)
    wanted = {name: text(params, name) for name in ("name", "icon_custom_emoji_id") if text(params, name)}
    if not wanted or wanted.items() <= topic.items():
        raise bad_request("TOPIC_NOT_MODIFIED")
    topic |= wanted
    _announce(world, chat, thread_id, {"forum_topic_edited": wanted})
    return True


def edit_general_forum_topic(world: World, params: Params) -> bool:
    """Rename the general topic."""
    _name(params)
    return edit_forum_topic(world, params | {"message_thread_id": GENERAL_TOPIC})


def opener(*, closed: bool, general: bool = False) -> Callable[[World, Params], bool]:
    """Return the method that closes or reopens a topic."""

    def set_closed(world: World, params: Params) -> bool:
        chat, thread_id, topic = _topic(
            world, params | ({"message_thread_id": GENERAL_TOPIC} if general else {})
        )
        if topic["closed"] == closed:
            raise bad_request("TOPIC_NOT_MODIFIED")
        topic["closed"] = closed
        _announce(world, chat, thread_id, {"forum_topic_closed" if closed else "forum_topic_reopened": {}})
        return True

    return set_closed


def delete_forum_topic(world: World, params: Params) -> bool:
    """Delete a topic and its messages."""
    chat, thread_id, _ = _topic(world, params)
    if thread_id == GENERAL_TOPIC:
        raise bad_request("TOPIC_ID_INVALID")
    world.delete_topic(chat.id, thread_id)
    return True


def hider(*, hidden: bool) -> Callable[[World, Params], bool]:
    """Return the method that hides or unhides the general topic."""

    def set_hidden(world: World, params: Params) -> bool:
        chat = _forum(world, params)
        general = _general(chat)
        if general.get("hidden", False) == hidden:
            raise bad_request("TOPIC_NOT_MODIFIED")
        general |= {"hidden": hidden, "closed": hidden}
        world.announce(chat, {"general_forum_topic_hidden" if hidden else "general_forum_topic_unhidden": {}})
        return True

    return set_hidden


def _forum(world: World, params: Params) -> Chat:
    chat = world.chat_for_bot(params)
    if chat.is_plain or not chat.about.is_forum:
        raise bad_request("the chat is not a forum")
    check_right(chat, world.bot["id"], world.now(), "can_manage_topics")
    return chat


def _topic(world: World, params: Params) -> tuple[Chat, int, Json]:
    chat = _forum(world, params)
    thread_id = integer(params, "message_thread_id")
    topic = _general(chat) if thread_id == GENERAL_TOPIC else chat.about.topics.get(thread_id)
    if topic is None:
        raise bad_request("TOPIC_ID_INVALID")
    return chat, thread_id, topic


def _general(chat: Chat) -> Json:
    return chat.about.topics.setdefault(
        GENERAL_TOPIC, {"name": "General", "icon_color": _COLOUR, "closed": False}
    )


def _name(params: Params) -> str:
    name = text(params, "name").strip()
    if not 0 < len(name) <= NAME_MAX:
        raise bad_request("TOPIC_TITLE_EMPTY" if not name else "TOPIC_TITLE_TOO_LONG")
    return name


def _announce(world: World, chat: Chat, thread_id: int, content: Json) -> None:
    world.announce(chat, content | {"message_thread_id": thread_id, "is_topic_message": True})
