"""What people write, press and delete: it becomes updates, and is kept as Telegram would know it."""

import json
from typing import Any, Final

from .answers import Json
from .attachments import know_files
from .entities import commands
from .formatting import formatted, usable
from .params import integer, text
from .people import Chat
from .society import Society

CALLBACKS_MAX = 100_000  # unanswered button presses and other queries remembered
_QUERY_IDS: Final = {
    **dict.fromkeys(("callback_query", "inline_query", "shipping_query", "pre_checkout_query"), "id"),
    "guest_message": "guest_query_id",
    "chat_join_request": "query_id",
}
"""What waits for an answer, and where its id is."""
_OWN_MESSAGES: Final = frozenset({"message", "edited_message", "channel_post", "edited_channel_post"})
_PLAIN_BUTTON: Final = frozenset({"text", "style", "icon_custom_emoji_id"})
_SENDS: Final = _PLAIN_BUTTON | {"request_contact", "request_location"}
_AT: Final = {"latitude": 52.52, "longitude": 13.405}


class Talk(Society):
    """The part of a World that people write and press."""

    # -- what people say --------------------------------------------------------------------------------------

    def say(self, chat_id: int, user_id: int, text: str, **message_fields: Any) -> int:
        """A user writes; returns the update_id (0: the queue did not take it)."""
        person, chat = self._someone(user_id), self._somewhere(chat_id, user_id)
        is_post = chat.kind == "channel"
        message: Json = {
            "message_id": chat.take_message_id(),
            **({"sender_chat": chat.chat()} if is_post else {"from": person.user()}),
            "chat": chat.chat(),
            "date": int(self.now()),
        }
        if text:
            message["text"] = text
        message |= message_fields
        for words, marks in (("text", "entities"), ("caption", "caption_entities")):
            if marks not in message and (found := commands(message.get(words) or "")):
                message[marks] = found
        _know_topic(chat, message)
        know_files(self, message)
        chat.keep(message, self.history)
        self.emit("message", message=message)
        return self._push("channel_post" if is_post else "message", message)

    def edit(self, chat_id: int, user_id: int, message_id: int, text: str) -> int:
        """A user changes the text or caption of an own message, or of any post of a channel; returns the update_id.

        ValueError if there is none.
        """
        chat = self._somewhere(chat_id, user_id)
        message = chat.find(message_id)
        is_post = chat.kind == "channel"
        is_own = is_post or (message is not None and message.get("from", {}).get("id") == user_id)
        if message is None or not is_own or "via_bot" in message:
            raise ValueError("there is no such message of this person")
        words, marks = ("text", "entities") if "text" in message else ("caption", "caption_entities")
        kept = {name: value for name, value in message.items() if name not in (words, marks)}
        found = commands(text)
        edited = self.replace(chat, {**kept, words: text, **({marks: found} if found else {})})
        return self._push("edited_channel_post" if is_post else "edited_message", edited)

    def delete_message(self, chat_id: int, message_id: int) -> bool:
        """A user deletes a message, whoever wrote it: the bot is not told. False if there is none."""
        return self.delete(self._chats[chat_id], message_id)

    # -- what people press --------------------------------------------------------------------------------------

    def press(self, chat_id: int, user_id: int, message_id: int, data: str) -> int:
        """A user presses an inline button; a message that is not remembered comes as an InaccessibleMessage."""
        self._someone(user_id)
        chat = self._somewhere(chat_id, user_id)
        inaccessible = {"chat": chat.chat(), "message_id": message_id, "date": 0}
        shown = {"message": chat.find(message_id) or inaccessible}
        return self._press(user_id, data, shown, str(abs(chat_id) * 2_654_435_761 % 2**62))

    def press_inline(self, user_id: int, inline_message_id: str, data: str) -> int:
        """A user presses a button of a message that was sent via the bot, in a chat that the bot is not told of."""
        self.inline.setdefault(inline_message_id, {})
        shown = {"inline_message_id": inline_message_id}
        return self._press(user_id, data, shown, inline_message_id)

    def shown(self, chat_id: int) -> tuple[Json | None, list[list[str]]]:
        """What a user sees of the bot in a private chat: its newest message, and the labels of the keys below the chat.

        Keys that open something to choose from are left out.
        """
        chat = self._chats.get(chat_id)
        kept = [] if chat is None else chat.messages()
        newest = next(
            (each for each in reversed(kept) if each.get("from", {}).get("id") == self.bot["id"]), None
        )
        rows = self.keyboards.get(chat_id, {}).get("keyboard", [])
        keys = [[{"text": key} if isinstance(key, str) else key for key in row] for row in rows]
        return newest, [[key["text"] for key in row if not key.keys() - _SENDS] for row in keys]

    def press_key(self, chat_id: int, user_id: int, button: str) -> int:
        """A user presses a button of the keyboard in place of the letters: it sends its text, a contact or a place.

        ValueError for a text that no button has, and for buttons that open something to choose from.
        """
        rows = self.keyboards.get(chat_id, {}).get("keyboard", [])
        keys = [{"text": key} if isinstance(key, str) else key for row in rows for key in row]
        found = next((key for key in keys if key["text"] == button), None)
        if found is None:
            raise ValueError(f"there is no key {button!r}; there are: {[key['text'] for key in keys]}")
        if found.get("request_contact"):
            person = self._someone(user_id)
            contact = {"phone_number": f"+{user_id:011}", "first_name": person.first_name, "user_id": user_id}
            return self.say(chat_id, user_id, "", contact=contact)
        if found.get("request_location"):
            return self.say(chat_id, user_id, "", location=dict(_AT))
        if opens := found.keys() - _PLAIN_BUTTON:
            raise ValueError(
                f"{button!r} opens something ({', '.join(sorted(opens))}): say() what is chosen there"
            )
        return self.say(chat_id, user_id, found["text"])

    def ask_inline(self, user_id: int, query: str, chat_id: int = 0) -> int:
        """A user writes the bot's name and `query` in some chat, of which the bot hears the kind only; returns the update_id.

        The results come to listeners as "inline_answer".
        """
        chat = self._chats.get(chat_id)
        kind = chat.kind if chat is not None and chat.members is not None else "sender"
        asked = {
            "id": str(next(self._callback_ids)),
            "from": self._someone(user_id).user(),
            "query": query,
            "offset": "",
            "chat_type": kind,
        }
        self._remember("inline_query", asked)
        self.emit("inline_query", inline_query=asked, chat_id=chat_id)
        return self._push("inline_query", asked)

    def choose_in(self, chat_id: int, user_id: int, result: Json, query: str = "") -> int:
        """A user sends an InlineQueryResult of the bot in a chat with the bot, which gets the message too; returns its update_id.

        A bot gets "messages sent via the bot" whatever its privacy mode is (Telegram, Bots FAQ, "What messages will my bot get?").
        """
        inline_message_id = self.choose(user_id, result, query)
        content = shown_of(result)
        markup = {"reply_markup": result["reply_markup"]} if inline_message_id else {}
        update_id = self.say(chat_id, user_id, content.pop("text", ""), via_bot=self.bot, **content, **markup)
        if inline_message_id:
            self.inline_places[inline_message_id] = chat_id, self._chats[chat_id].last_message_id
        return update_id

    def choose(self, user_id: int, result: Json, query: str = "") -> str:
        """A user sends an InlineQueryResult of the bot; returns the inline_message_id, which the bot is told of too.

        Only if the message has buttons (Telegram Bot API, ChosenInlineResult), else it is empty.
        """
        markup = result.get("reply_markup")
        inline_message_id = f"fake-inline-{self.number()}" if markup else ""
        if inline_message_id:
            content = result.get("input_message_content") or {}
            shown = {"text": content["message_text"]} if "message_text" in content else {}
            self.keep_inline(inline_message_id, {**shown, "reply_markup": markup} if shown else {})
        chosen = {"result_id": result["id"], "from": self._someone(user_id).user(), "query": query}
        named = {"inline_message_id": inline_message_id} if inline_message_id else {}
        self._push("chosen_inline_result", chosen | named)
        return inline_message_id

    # -- any update ---------------------------------------------------------------------------------------------

    def push(self, kind: str, payload: Json) -> int:
        """Any update; chats, people and messages in the usual places of `payload` become known."""
        self._meet(kind, payload)
        self._remember(kind, payload)
        return self._push(kind, payload)

    def push_raw(self, rest: bytes) -> int:
        """Any bytes: the update is `{"update_id":N,` + rest + `}`. What can be read of them becomes known."""
        kind = rest.lstrip(b' "').partition(b'"')[0].decode(errors="replace")
        try:
            payload = json.loads("{" + rest.decode(errors="replace") + "}").get(kind)
        except (ValueError, RecursionError):
            payload = None  # the bot has to live with it, too
        if isinstance(payload, dict):
            self._meet(kind, payload)
            self._remember(kind, payload)
        return self.queue.push(kind, rest)

    # -- inside -------------------------------------------------------------------------------------------------

    def _press(self, user_id: int, data: str, shown: Json, instance: str) -> int:
        query: Json = {
            "id": str(next(self._callback_ids)),
            "from": self._someone(user_id).user(),
            **shown,
            "chat_instance": instance,
            "data": data,
        }
        self._remember("callback_query", query)
        self.emit("callback", callback_query=query)
        return self._push("callback_query", query)

    def _meet(self, kind: str, payload: Json) -> None:
        """Learn chat, person and message from the usual places of an update."""
        user = _object(payload, "from") or _object(payload, "user")
        chat = _object(payload, "chat") or _object(_object(payload, "message"), "chat")
        user_id, chat_id = integer(user, "id"), integer(chat, "id")
        if user_id:
            self._someone(user_id, text(user, "first_name"))
        know_files(self, payload)
        known: Chat | None = None
        if chat_id > 0:
            known = self._somewhere(chat_id, chat_id)
        elif chat_id < 0:
            known = self._somewhere(chat_id, user_id, text(chat, "title"))
        if known is not None and kind in _OWN_MESSAGES and type(payload.get("message_id")) is int:
            _know_topic(known, payload)
            known.keep(payload, self.history)
        if inline_message_id := payload.get("inline_message_id"):
            self.inline.setdefault(str(inline_message_id), {})

    def _remember(self, kind: str, payload: Json) -> None:
        """Keep what the bot may answer, and the business connections that it may use."""
        if kind == "business_connection":
            self.business[text(payload, "id")] = payload
        elif (name := _QUERY_IDS.get(kind)) and payload.get(name):
            self._queries[kind, str(payload[name])] = self.now(), payload
            if len(self._queries) > CALLBACKS_MAX:
                self._queries.popitem(last=False)


def _know_topic(chat: Chat, message: Json) -> None:
    """A message in a topic: so there is one."""
    thread_id = message.get("message_thread_id")
    if message.get("is_topic_message") and isinstance(thread_id, int):
        chat.about.is_forum = chat.about.is_forum or chat.kind == "supergroup"
        chat.about.topics.setdefault(thread_id, {"name": f"Topic {thread_id}", "closed": False})


def shown_of(result: Json) -> Json:
    """What is to be seen of an InlineQueryResult as a message: its text, or a caption and what kind of thing it is."""
    content = result.get("input_message_content") or {}
    if "message_text" in content:
        text, entities = formatted(
            content["message_text"], content.get("parse_mode", ""), usable(content.get("entities") or [])
        )
        return {"text": text, **({"entities": entities} if entities else {})}
    if "latitude" in (place := content or result):
        return {"location": {"latitude": place["latitude"], "longitude": place["longitude"]}}
    named = {"caption": result["caption"]} if result.get("caption") else {}
    return named or {"text": result.get("title") or f"({result['type']})"}


def _object(payload: Json, name: str) -> Json:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}
