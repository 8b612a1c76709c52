"""A simulated user in a chat: their actions are turns of the conversation, and what they see can be asserted."""

from typing import TYPE_CHECKING, Any, NamedTuple

from telegram.dialogue.buttons.callback_data import CALLBACK_BYTES_MAX, CallbackData
from telegram.dialogue.buttons.long import key_of
from telegram.dialogue.buttons.marks import read_mark
from telegram.fake.methods.samples import Samples
from telegram.fake.protocol.shapes import schema
from telegram.fake.world.attachments import KINDS as FILES

if TYPE_CHECKING:
    from telegram.testing.conversations import Conversations

Json = dict[str, Any]
_SHOWN_MAX = 5  # messages that a failed assertion shows


class Seen:
    """A truth value with its reason, which a failed `assert alice.sees(...)` shows."""

    def __init__(self, found: bool, why: str) -> None:
        self._found = found
        self._why = why

    def __bool__(self) -> bool:
        return self._found

    def __repr__(self) -> str:
        return f"<{self._found}: {self._why}>"


class Button(NamedTuple):
    """A button on a user's screen; `data` is None without callback data, `message_id` None for a reply keyboard's."""

    text: str
    data: str | None
    message_id: int | None


class Chat:
    """One user in one chat. Created by `Conversations.chat` and `Group.member`."""

    def __init__(self, bot: "Conversations", chat_id: int, user_id: int) -> None:
        self._bot = bot
        self.id = chat_id
        self.user_id = user_id

    # ---- turns: each returns when all that it caused is handled and sent; with wait=False, when nothing more happens
    # at this moment (slow handlers still run: see `bot.settles()`). Failures of handlers are raised.

    def says(self, text: str, *, wait: bool = True, failing: bool = False, **fields: Any) -> None:
        """Write a text; `fields`: further fields of the Message, like message_thread_id."""
        self._bot.scene.send_message(self.id, self.user_id, text, **fields)
        self._turn(wait, failing)

    def sends(self, *, wait: bool = True, failing: bool = False, **fields: Any) -> None:
        """Send a message of any content: `sends(photo=True, caption="Me")`. True stands for a generated one."""
        contents = {name: _made_up(name) if value is True else value for name, value in fields.items()}
        self._bot.scene.send_message(self.id, self.user_id, "", **contents)
        self._turn(wait, failing)

    def sends_update(self, kind: str, /, *, wait: bool = True, failing: bool = False, **fields: Any) -> None:
        """Cause an update of any kind in this chat by this user; missing required fields are generated."""
        people = {"from": self._user(), "user": self._user(), "chat": self._chat()}
        field = next(each for each in schema().types["Update"].fields if each.name == kind)
        payload = Samples({**people, "date": int(self._bot.now.timestamp())}).of(field.types, kind)
        known = {each.name for each in schema().types[field.types[0]].fields}
        given = {name: value for name, value in people.items() if name in known}
        self._bot.scene.push(kind, {**payload, **given, **fields})
        self._bot.happens(wait=wait, failing=failing)

    def presses(self, button: str | CallbackData, *, wait: bool = True, failing: bool = False) -> None:
        """Press the button with this text on the newest message that has it, else the one with this callback data."""
        wanted = button.pack() if isinstance(button, CallbackData) else button
        there = self._all_buttons()
        found = next((each for each in there if each.text == wanted), None)
        found = found or next(
            (each for each in there if each.data and read_mark(each.data)[1] in {wanted, key_of(wanted)}),
            None,
        )
        if found is None:
            told = ", ".join(f"{each.text!r} ({each.data})" for each in there) or "none"
            raise AssertionError(f"there is no button {wanted!r}; there are: {told}")
        if found.message_id is None:
            self._bot.scene.press_key(self.id, self.user_id, found.text)
            self._turn(wait, failing)
            return
        if found.data is None:
            raise AssertionError(
                f"the bot gets no update when {wanted!r} is pressed: it has no callback data"
            )
        self._bot.scene.toasts.pop(self.user_id, None)
        self._bot.scene.press(self.id, self.user_id, found.message_id, found.data)
        self._bot.happens(wait=wait, failing=failing)

    def presses_inline(
        self, inline_message_id: str, button: str | CallbackData, *, wait: bool = True, failing: bool = False
    ) -> None:
        """Press a button with this data under a message sent via the bot, in a chat without the bot."""
        data = button.pack() if isinstance(button, CallbackData) else button
        data = data if len(data.encode()) <= CALLBACK_BYTES_MAX else key_of(data)
        self._bot.scene.toasts.pop(self.user_id, None)
        self._bot.scene.press_inline(self.user_id, inline_message_id, data)
        self._bot.happens(wait=wait, failing=failing)

    def deletes(self, message_id: int | None = None) -> None:
        """Delete a message of the chat, by default this user's latest. The bot gets no update."""
        own = (
            m["message_id"] for m in reversed(self.messages) if m.get("from", {}).get("id") == self.user_id
        )
        wanted = next(own, None) if message_id is None else message_id
        if wanted is None or not self._bot.scene.delete_message(self.id, wanted):
            raise AssertionError("there is no such message to delete")

    def speaks(self, language_code: str) -> None:
        """Let the user's app have a language, e.g. "ru" or "pt-br"; at first it has none."""
        self._bot.scene.set_language(self.user_id, language_code)

    # ---- the screen

    def sees(self, text: str) -> Seen:
        """Return whether `text` is in the latest message that the bot sent or edited since a user last wrote here."""
        latest = self._bot.scene.latest(self.id)
        return Seen(latest is not None and text in _text_of(latest), self._told(text))

    @property
    def text(self) -> str:
        """The latest message's text or caption; empty if the bot has sent nothing since a user last wrote here."""
        latest = self._bot.scene.latest(self.id)
        return "" if latest is None else _text_of(latest)

    @property
    def buttons(self) -> list[str]:
        """The texts of the buttons under the latest message."""
        return [each.text for each in _buttons(self._bot.scene.latest(self.id) or {})]

    @property
    def toast(self) -> str | None:
        """The answer to this user's latest press: empty if it had no text, None if there was none."""
        return self._bot.scene.toasts.get(self.user_id)

    @property
    def draft(self) -> str | None:
        """The text of the draft that is shown in this private chat (`ctx.stream`), "" for "Thinking..."; None if there is none."""
        found = self._bot.scene.draft(self.id)
        return None if found is None else str(found["text"])

    @property
    def messages(self) -> list[Json]:
        """All messages of the chat in their current form, also those of users, oldest first."""
        return self._bot.scene.messages(self.id)

    # ---- inside

    def _turn(self, wait: bool, failing: bool) -> None:
        self._bot.scene.fresh[self.id].clear()
        self._bot.happens(wait=wait, failing=failing)

    def _all_buttons(self) -> list[Button]:
        markup = self._bot.scene.keyboards.get(self.id, {})
        keys = [each for row in markup.get("keyboard", []) for each in row]
        texts = [each if isinstance(each, str) else each["text"] for each in keys]
        under = [button for message in reversed(self.messages) for button in _buttons(message)]
        return under + [Button(text, None, None) for text in texts]

    def _told(self, text: str) -> str:
        lines = [
            f"{'' if message.get('from', {}).get('is_bot') else '> '}{_text_of(message)[:60]!r}"
            for message in self.messages[-_SHOWN_MAX:]
        ]
        return f"{text!r} in the last of: {', '.join(lines) or 'no message'}"

    def _user(self) -> Json:
        return self._bot.scene.known_user(self.user_id) or {}

    def _chat(self) -> Json:
        return next(chat for chat in self._bot.scene.chats() if chat["id"] == self.id)


class Group:
    """A group, supergroup or channel with the bot."""

    def __init__(self, bot: "Conversations", chat_id: int) -> None:
        self._bot = bot
        self.id = chat_id

    def member(self, name: str) -> Chat:
        """Return the user of this name in the group: the same user as in `Conversations.chat`."""
        return Chat(self._bot, self.id, self._bot.member(name))


def _text_of(message: Json) -> str:
    return str(message.get("text") or message.get("caption") or "")


def _buttons(message: Json) -> list[Button]:
    rows = (message.get("reply_markup") or {}).get("inline_keyboard", [])
    return [
        Button(each["text"], each.get("callback_data"), message["message_id"]) for row in rows for each in row
    ]


def _made_up(name: str) -> Any:
    field = next(each for each in schema().types["Message"].fields if each.name == name)
    named = {"file_id": f"sample {name}", "file_unique_id": f"sample {name}"} if name in FILES else {}
    return Samples(named).of(field.types, name)
