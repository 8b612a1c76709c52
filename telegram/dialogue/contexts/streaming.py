"""`ctx.stream()`: an answer that grows while the handler makes it, e.g. that of a language model.

| chat                                      | what grows                                                                      |
|-------------------------------------------|---------------------------------------------------------------------------------|
| private                                   | a draft (sendMessageDraft): no message, Telegram removes it by itself           |
| group, channel, business account, or if   | a message that is edited, within the limits of the chat, as the service's       |
| Telegram refuses the draft                | sender counts them (telegram/service/pace.py)                                   |

It is plain text while it grows: markup of a `parse_mode` is not complete then. The final text, formatted, is committed with
the handler's effects: sent, or in place of the growing message. What grows is optional feedback: nothing of it is raised in
the handler. A handler that runs again (also after a restart by `on_new`) continues with its draft or message; the message of a
handler that is stopped, or whose update is given up, is deleted. After a kill, a draft is gone within 30 s, and a message stays
as it was.

Rules of Telegram: drafts are for private chats only ("TEXTDRAFT_PEER_INVALID" elsewhere: openclaw/openclaw#32469,
fastagent-sh/fastagent#96), live for 30 s, have a `draft_id` other than 0, and one without a text is shown as "Thinking..."
(Telegram Bot API, sendMessageDraft). Apps remove a draft when the bot sends a message; a bot cannot (grammyjs/stream#2). Drafts
can meet a 429, too (lsdefine/GenericAgent#214).
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from zlib import crc32

import structlog

from telegram.botapi.errors import NotSent, Refused, RetryAfter
from telegram.botapi.late import outcome_of_refusal
from telegram.botapi.parameters import check_call
from telegram.client import TgClient
from telegram.dialogue.contexts.long import SETTLE_S, ended
from telegram.text import Text, split

if TYPE_CHECKING:
    from telegram.dialogue.contexts.tools import Tools

log = structlog.get_logger(__name__)

DRAFT_EVERY_S: Final = 0.5
EDIT_EVERY_S: Final = 1.5
"""Telegram's limit per chat is about one message a second, edits included (telegram/service/pace.py); the rest is for others."""

GROUP_EDIT_EVERY_S: Final = 4.0
"""In a group 20 messages a minute; a quarter is left for others."""

EVERY_MAX_S: Final = 30.0
"""Longest pause: it doubles with each 429."""

DRAFT_AGAIN_S: Final = 20.0
"""A draft that does not grow is sent again after this long: Telegram shows it for 30 s (Telegram Bot API, sendMessageDraft)."""

_WHERE: Final = frozenset(("message_thread_id", "direct_messages_topic_id", "business_connection_id"))
"""Parameters of sendMessage that say where an answer grows, besides the chat."""

_DRAFT_ID_MAX: Final = 2**31 - 1
_FORBIDDEN: Final = 403
_FORMAT: Final = ("parse_mode", "link_preview_options")
_FINAL_ONLY: Final = ("parse_mode", "reply_markup", "fallback")


class Pacing(Protocol):
    """The rate limiter of the bot's sender (telegram/service/pace.py)."""

    def wait_s(self, lane: str, method: str, body: bytes, now: float) -> float:
        """Return how many seconds a call has to wait before it asks again; 0: it is counted as sent now."""

    def refused(self, lane: str, retry_after_s: float, now: float) -> None:
        """Record a 429."""


class Stream:
    """A growing answer. Created by `ctx.stream`; used by `async with`."""

    def __init__(
        self,
        client: TgClient | None,
        place: dict[str, Any],
        params: Mapping[str, Any],
        collect: Callable[..., None],
        *,
        draft_id: int,
        can_stop: bool,
        pace: Pacing | None,
        message_id: int | None,
        remember: Callable[[int | None], None],
    ) -> None:
        self._client = client
        self._place = place
        self._params = dict(params)
        self._collect = collect
        self._draft = {"draft_id": draft_id, **({"can_stop": True} if can_stop else {})}
        self._pace = pace
        self._remember = remember
        self._message_id = message_id
        chat_id = place["chat_id"]
        is_private = (
            isinstance(chat_id, int) and chat_id > 0 and place.keys() <= {"chat_id", "message_thread_id"}
        )
        self._is_draft = is_private and message_id is None
        self._edit_every_s = EDIT_EVERY_S if isinstance(chat_id, int) and chat_id > 0 else GROUP_EDIT_EVERY_S
        self._every_s = DRAFT_EVERY_S if self._is_draft else self._edit_every_s
        self._parts: list[Text | str] = []
        self._shown: str | None = None
        self._changed = asyncio.Event()
        self._calling = asyncio.Lock()  # held during a call
        self._writer: asyncio.Task[None] | None = None
        self._is_finished = False

    def write(self, part: Text | str, /) -> None:
        """Append a part: a text, or a formatted one (telegram.text). It is shown soon."""
        if not isinstance(part, Text | str):
            raise TypeError(f"write() takes a text, not {type(part).__name__}")
        if self._is_finished:
            raise RuntimeError("write() after the end of `async with ctx.stream()`: this part would be lost")
        self._parts.append(part)
        self._changed.set()

    @property
    def text(self) -> str:
        """What was written up to now, without formatting."""
        return "".join(part.text if isinstance(part, Text) else part for part in self._parts)

    async def __aenter__(self) -> Self:
        if self._client is not None:
            self._writer = asyncio.create_task(self._write(self._client))
            if self._is_draft:
                self._changed.set()  # "Thinking..."
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_finished = True
        if error is not None:
            await self.end()
            return
        with suppress(TimeoutError):  # a running call could arrive after the final text
            async with asyncio.timeout(SETTLE_S):
                await self._calling.acquire()
        await self.end()
        self._finish()

    # -- for the inbox's handler, as of Progress

    async def settle(self) -> None:
        """Do nothing: the end of the block has collected the final text."""

    async def end(self) -> None:
        """Stop showing at once."""
        if self._writer is not None:
            await ended(self._writer)

    def stopped(self) -> None:
        """Collect the deletion of the growing message: its handler was stopped."""
        if self._message_id is not None:
            delete(self._collect, self._place, self._message_id)

    # -- the final text

    def _finish(self) -> None:
        """Collect the final text, in as many messages as it takes."""
        pieces = split(Text(*self._parts))
        markup = self._params.pop("reply_markup", None)
        if "parse_mode" in self._params:
            self._params.setdefault("fallback", "plain")
        may_edit = bool(pieces) and (markup is None or len(pieces) > 1 or _is_inline(markup))
        if self._message_id is not None and not may_edit:
            delete(self._collect, self._place, self._message_id)
        for number, (text, entities) in enumerate(pieces):
            given: dict[str, Any] = {"text": text}
            if entities:
                given["entities"] = entities
            if markup is not None and number == len(pieces) - 1:
                given["reply_markup"] = markup
            if number == 0 and self._message_id is not None and may_edit:
                known = {name: self._params[name] for name in (*_FORMAT, "fallback") if name in self._params}
                self._collect("editMessageText", **(self._it(self._message_id) | known | given))
            else:
                self._collect("sendMessage", **(self._place | self._params | given))

    def _it(self, message_id: int) -> dict[str, Any]:
        place = {name: self._place.get(name) for name in ("chat_id", "business_connection_id")}
        return {**place, "message_id": message_id}

    # -- while it grows

    async def _write(self, client: TgClient) -> None:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAFT_AGAIN_S if self._is_draft else None):
                    await self._changed.wait()
            await asyncio.sleep(next_at - loop.time())
            if not self._is_draft:
                await self._turn(loop)
            async with self._calling:
                again_s = 0.0
                was_changed = self._changed.is_set()
                self._changed.clear()
                try:
                    await self._show(client, self._newest(), is_again=not was_changed)
                except RetryAfter as error:
                    again_s = error.retry_after_s
                    self._every_s = min(EVERY_MAX_S, self._every_s * 2)
                    if self._pace is not None:
                        self._pace.refused(self._lane, again_s, loop.time())
                    self._changed.set()  # it was not executed
                except Refused as error:
                    if not self._goes_on(error):
                        return
                except Exception as error:  # noqa: BLE001 - optional feedback
                    log.debug("a growing answer was not shown", reason=str(error))
                    if not self._is_draft and self._message_id is None and not isinstance(error, NotSent):
                        return  # there may be a message whose id is not known: no second one
                next_at = loop.time() + max(again_s, self._every_s)

    @property
    def _lane(self) -> str:
        return f"chat:{self._place['chat_id']}"

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the chat's limits allow a message, and count it."""
        if (pace := self._pace) is None:
            return
        method = "sendMessage" if self._message_id is None else "editMessageText"
        wait_s = pace.wait_s(self._lane, method, b"{}", loop.time())
        while wait_s:
            await asyncio.sleep(wait_s)
            wait_s = pace.wait_s(self._lane, method, b"{}", loop.time())

    def _newest(self) -> str:
        """Return what is shown: the text, above 4,096 characters its last piece."""
        pieces = split(self.text)
        return pieces[-1][0] if pieces else ""

    async def _show(self, client: TgClient, text: str, *, is_again: bool) -> None:
        if self._is_draft:
            if text != self._shown or is_again:
                await client.call("sendMessageDraft", **self._place, **self._draft, text=text or None)
        elif not text or text == self._shown:
            return
        elif self._message_id is None:
            params = {name: value for name, value in self._params.items() if name not in _FINAL_ONLY}
            sent = await client.call("sendMessage", **{**self._place, **params, "text": text})
            self._message_id = sent["message_id"]
            self._remember(self._message_id)
        else:
            await client.call("editMessageText", **self._it(self._message_id), text=text)
        self._shown = text

    def _goes_on(self, error: Refused) -> bool:
        """Return whether to show more after a refusal: by a message if a draft was refused, by a new one if it is gone."""
        log.debug("a growing answer was refused", reason=str(error))
        if error.code == _FORBIDDEN:
            return False
        if self._is_draft:
            if self.text:  # older servers refuse a draft without a text
                self._is_draft, self._shown = False, None
                self._every_s = self._edit_every_s
                self._changed.set()
            return True
        if outcome_of_refusal(error) == "done":  # "not modified"
            return True
        if self._message_id is None:
            return False
        self._message_id = None
        self._remember(None)
        return False


def _is_inline(markup: Any) -> bool:
    return "inline_keyboard" in (markup if isinstance(markup, Mapping) else vars(markup))


def made(
    tools: "Tools",
    key: str,
    number: int,
    place: dict[str, Any],
    params: dict[str, Any],
    collect: Callable[..., None],
    *,
    can_stop: bool,
) -> Stream:
    """Return the stream `number` of the update whose idempotency key is `key`; `params` as of sendMessage.

    TypeError for a wrong parameter, ValueError for entities.
    """
    if params.get("entities") is not None:
        raise ValueError("stream() has no entities: write formatted parts, as bold(...)")
    params = {name: value for name, value in params.items() if value is not None or name == "fallback"}
    place = {**place, **{name: params.pop(name) for name in _WHERE & params.keys()}}
    checked = {name: value for name, value in params.items() if name != "fallback"}
    check_call("sendMessage", {**place, "text": "...", **checked})
    name = _name(key, number)
    return Stream(
        tools.client,
        place,
        params,
        collect,
        draft_id=crc32(name.encode()) % _DRAFT_ID_MAX + 1,
        can_stop=can_stop,
        pace=tools.pace,
        message_id=tools.shown.get(name),
        remember=partial(tools.remember, name),
    )


def _name(key: str, number: int) -> str:
    """Return the name under which the message of a growing answer is remembered (Tools.shown)."""
    return f"{key}/stream {number}"


def forget(tools: "Tools", key: str, place: Mapping[str, Any], collect: Callable[..., None]) -> None:
    """Collect the deletion of the growing messages of an update."""
    number = 0
    while (message_id := tools.shown.get(_name(key, number))) is not None:
        delete(collect, place, message_id)
        number += 1


def delete(collect: Callable[..., None], place: Mapping[str, Any], message_id: int) -> None:
    """Collect the deletion of a growing message."""
    if (connection := place.get("business_connection_id")) is not None:
        collect("deleteBusinessMessages", business_connection_id=connection, message_ids=[message_id])
    else:
        collect("deleteMessage", chat_id=place["chat_id"], message_id=message_id)
