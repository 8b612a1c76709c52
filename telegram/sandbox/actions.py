"""Performs the actions of the sandbox's page (forms.py) in the fake Telegram and on the store's dead letters."""

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Sequence
from itertools import cycle
from typing import Final

from pydantic import ValidationError

from engine import StoreUnavailable
from engine.store import Operator
from telegram.fake.protocol.answers import Json
from telegram.fake.protocol.markup import CALLBACK_DATA_BYTES_MAX
from telegram.fake.server.clock import MovableClock
from telegram.fake.text.entities import utf16_length
from telegram.fake.world import World
from telegram.fake.world.messages import CAPTION_MAX, TEXT_MAX
from telegram.sandbox.forms import (
    ACTION,
    Action,
    AddGroup,
    AddPerson,
    Ask,
    Block,
    Burst,
    Choose,
    Edit,
    Key,
    Look,
    Pass,
    Press,
    Promote,
    React,
    Replay,
    Say,
    Send,
)
from telegram.sandbox.lanes import LaneBoard
from telegram.sandbox.samples import contents, own_photo

BURST: Final = 20
_PEOPLE_MAX: Final = 50
_GROUPS_MAX: Final = 50
_ANSWERS_MAX: Final = 100  # inline queries whose results are kept
_PICTURE_BYTES_MAX: Final = 2 << 20
_PICTURES: Final = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp"}
)  # no SVG: it may contain scripts

_NOT_ASKED_FOR: Final = "Telegram does not deliver this: the bot has not requested this kind of update"


class Refused(Exception):  # noqa: N818 - an answer to the page
    """The action cannot be performed; the text is the reason for the user."""


class Actions:
    """The actions of all pages; `clock` is the clock of the fake Telegram, which the store uses too."""

    def __init__(self, world: World, lanes: LaneBoard, store: Operator, clock: MovableClock) -> None:
        self._world = world
        self._lanes = lanes
        self._store = store
        self._clock = clock
        self._answers: OrderedDict[str, tuple[str, list[Json]]] = (
            OrderedDict()
        )  # query and results, by query's id

    def inline_answered(self, query_id: str, query: str, results: list[Json]) -> None:
        """Keep the results of an inline query, from which a user may choose."""
        self._answers[query_id] = query, results
        if len(self._answers) > _ANSWERS_MAX:
            self._answers.popitem(last=False)

    async def perform(self, text: str) -> Json | None:
        """Perform the action given as JSON; return the message for this page alone, if any. Raises Refused."""
        try:
            action = ACTION.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Refused(f"{where}: {first['msg']}" if where else first["msg"]) from None
        if isinstance(action, Look):
            return self._look(action.file)
        if isinstance(action, Replay):
            await self._replay(action.number)
            return None
        try:
            self._do(action)
        except ValueError as error:  # the world's reason
            raise Refused(str(error)) from None
        return None

    def _do(self, action: Action) -> None:
        match action:
            case Say() | Press() | Key() | Send() | Edit() | React() | Ask() | Choose() | Promote():
                self._check_place(action.chat, action.user)
                self._act(action)
            case Block():
                self._block(action)
            case Pass():
                self._pass(action.hours)
            case AddPerson():
                self._add_person(action.name)
            case AddGroup():
                self._add_group(action.title)
            case Burst():
                self._burst()

    def _act(self, action: Action) -> None:
        """Perform the action of a user in a chat to which the user belongs."""
        world = self._world
        match action:
            case Say(chat=chat, user=user, text=text):
                _check_length(text, TEXT_MAX)
                self._note(chat, world.send_message(chat, user, text))
            case Press(chat=chat, user=user):
                self._press(action)
            case Key(chat=chat, user=user, text=text):
                self._note(chat, world.press_key(chat, user, text))
            case Send(chat=chat, user=user):
                _check_length(action.caption, CAPTION_MAX)
                own = [own_photo(world, action.picture, action.caption)] if action.picture else None
                for content in own or contents(world, user, action.what, action.caption):
                    self._note(chat, world.send_message(chat, user, "", **content))
            case Edit(chat=chat, user=user, text=text):
                _check_length(text, TEXT_MAX)
                self._note(chat, world.edit(chat, user, action.message, text))
            case React(chat=chat, user=user):
                self._react(action)
            case Ask(chat=chat, user=user):
                _check_taken(world.ask_inline(user, action.query, chat))
            case Choose(chat=chat, user=user):
                self._choose(action)
            case Promote(chat=chat, user=user):
                self._promote(action)

    def _press(self, action: Press) -> None:
        if not 0 < len(action.data.encode()) <= CALLBACK_DATA_BYTES_MAX:
            raise Refused(f"the data of a button has 1 to {CALLBACK_DATA_BYTES_MAX} bytes")
        world = self._world
        place = (action.chat, action.message)
        # CallbackQuery (Telegram Bot API): a message sent via the bot is given by inline_message_id instead of `message`.
        sent_via = next((id_ for id_, there in world.inline_places.items() if there == place), None)
        if sent_via is None:
            self._note(action.chat, world.press(action.chat, action.user, action.message, action.data))
        else:
            _check_taken(world.press_inline(action.user, sent_via, action.data))

    def _react(self, action: React) -> None:
        update_id = self._world.react(action.chat, action.user, action.message, action.emoji)
        if not update_id and not self._world.is_administrator(action.chat):
            raise Refused(
                "the bot gets no update: Telegram delivers reactions only where it is an administrator"
            )
        self._note(action.chat, update_id)

    def _choose(self, action: Choose) -> None:
        query, results = self._answers.get(action.query, ("", []))
        result = next((each for each in results if each["id"] == action.result), None)
        if result is None:
            raise Refused("the result no longer exists")
        self._note(action.chat, self._world.choose_in(action.chat, action.user, result, query))

    def _promote(self, action: Promote) -> None:
        if action.chat > 0:
            raise Refused("a private chat has no administrators")
        self._note(action.chat, self._world.promote(action.chat, by=action.user))
        self._world.emit("administrator", chat_id=action.chat)

    def _block(self, action: Block) -> None:
        self._check_place(action.user, action.user)
        act = self._world.block if action.blocked else self._world.unblock
        self._note(action.user, act(action.user))

    def _pass(self, hours: float) -> None:
        self._clock.advance(hours * 3600)
        self._store.clock_moved()
        self._world.emit("passed", hours=hours, ahead_s=self._clock.ahead_s)

    def _look(self, file_id: str) -> Json:
        """Return an image as a data: URL, the only source that the page's policy allows; "" for other or large files."""
        file = self._world.files.find(file_id)
        found = self._world.files.download(file.path) if file else None
        url = ""
        if file and found and file.mime_type in _PICTURES and len(found[1]) <= _PICTURE_BYTES_MAX:
            url = f"data:{file.mime_type};base64,{b64encode(found[1]).decode()}"
        return {"type": "picture", "file": file_id, "url": url}

    def _add_person(self, name: str) -> None:
        if len(self._world.users()) >= _PEOPLE_MAX:
            raise Refused(f"the sandbox has at most {_PEOPLE_MAX} people")
        user = self._world.add_user(name)
        self._world.emit("joined", user=user, chat=self._chat(user["id"]))

    def _add_group(self, title: str) -> None:
        if len([chat for chat in self._world.chats() if chat["type"] != "private"]) >= _GROUPS_MAX:
            raise Refused(f"the sandbox has at most {_GROUPS_MAX} groups")
        chat = self._world.add_group(title, [person["id"] for person in self._world.users()])
        self._world.emit("joined", user=None, chat=chat)

    def _burst(self) -> None:
        speakers = [(chat["id"], cycle(self._speakers(chat))) for chat in self._world.chats()]
        for number in range(1, BURST + 1):
            for chat_id, people in speakers:
                self._note(chat_id, self._world.send_message(chat_id, next(people), f"{number} of {BURST}"))

    async def _replay(self, number: int) -> None:
        try:
            if not await self._store.replay(number):
                raise Refused(f"there is no dead letter {number}")
        except StoreUnavailable as error:
            raise Refused(f"the store is not available: {error}") from None
        finally:
            self._lanes.dead_letters_changed()

    def _speakers(self, chat: Json) -> Sequence[int]:
        """Return the ids of users who may write in a chat; in a group all, also those who were added later."""
        if chat["type"] == "private":
            return [chat["id"]]
        return [person["id"] for person in self._world.users()]

    def _check_place(self, chat_id: int, user_id: int) -> None:
        chat = self._chat(chat_id)
        if chat is None or user_id not in self._speakers(chat):
            raise Refused("there is no such person in this chat")

    def _chat(self, chat_id: int) -> Json | None:
        return next((chat for chat in self._world.chats() if chat["id"] == chat_id), None)

    def _note(self, chat_id: int, update_id: int) -> None:
        _check_taken(update_id)
        self._lanes.arrived(chat_id, update_id)


def _check_taken(update_id: int) -> None:
    if not update_id:
        raise Refused(_NOT_ASKED_FOR)


def _check_length(text: str, most: int) -> None:
    if utf16_length(text) > most:
        raise Refused(f"a {'message' if most == TEXT_MAX else 'caption'} has at most {most} characters")
