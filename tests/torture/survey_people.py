"""The people of the survey's campaign: they read what the bot says, and answer, err, go back, press twice, leave."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from telegram.dialogue.buttons.marks import read_mark
from telegram.fake import Call, FakeServer
from tests.torture.survey_judge import Heard, Story
from tests.torture.survey_model import IDLE, TIMED_OUT, Act, Reply, shown

PATIENCE_S: Final = 45.0
"""Whoever has heard nothing for this long gives up; the judge will find out why."""

_PAUSE_MAX_S: Final = 0.25
_STALE_S: Final = (
    5.0  # nothing has come: perhaps a /cancel just after the time-out, to which nobody says a word
)
_STICKER: Final = {
    "sticker": {
        "file_id": "s",
        "file_unique_id": "s",
        "type": "regular",
        "width": 512,
        "height": 512,
        "is_animated": False,
        "is_video": False,
    }
}

WAIT: Final = "wait for the time-out"
STICKER: Final = "a sticker"
BUTTONS: Final = frozenset({"back", "confirm", "topic:releases", "topic:events"})
_TOPIC, _TOPIC_2 = "topic:releases", "topic:events"

HABITS: Final[dict[str, dict[tuple[str, ...], int]]] = {
    IDLE: {("/survey",): 16, ("/survey", "/survey"): 1, ("{}",): 2, ("back",): 1},
    "name": {
        ("{}",): 12, ("{}", "42"): 2, (STICKER,): 1, ("/cancel",): 1, ("/survey",): 1, ("x" * 51,): 1, (WAIT,): 2,
    },
    "age": {
        ("42",): 12, ("77", "78"): 1, ("young",): 2, ("7",): 1, ("back",): 3, ("back", "back"): 1, ("/cancel",): 1,
        (WAIT,): 2,
    },
    "topic": {
        (_TOPIC,): 5, (_TOPIC_2,): 5, (_TOPIC, _TOPIC): 3, (_TOPIC, _TOPIC_2): 1, ("{}",): 1, ("back",): 2,
        ("back", _TOPIC): 1, ("/cancel",): 1, (WAIT,): 2,
    },
    "summary": {
        ("confirm",): 8, ("confirm", "confirm"): 4, ("back",): 2, ("back", "back"): 1, ("{}",): 1, (STICKER,): 1,
        ("/cancel",): 1, (WAIT,): 2,
    },
}  # fmt: skip
"""What people do at each step, several things at once if they are impatient, and how often; {}: a new text."""


class Person:
    """Somebody in a private chat with the bot. `free`: nobody acts while it is not set."""

    def __init__(self, chat_id: int, server: FakeServer, free: asyncio.Event, rng: random.Random) -> None:
        self.chat_id = chat_id
        self.acts: list[Act] = []
        self.heard: list[Heard] = []
        self.met: dict[int, str] = {}
        """Update -> the step that was shown when it was made."""
        self.waits = False
        self._server = server
        self._free = free
        self._rng = rng
        self._news = asyncio.Event()
        self._presses = count(1)

    @property
    def story(self) -> Story:
        """All that happened."""
        return Story(self.acts, self.heard)

    def hear(self, call: Call) -> None:
        """The bot has called."""
        what = str(call.params.get("callback_query_id") or call.text)
        marks = {str(read_mark(data)[0]) for data in _buttons(call.params.get("reply_markup"))}
        self.heard.append(Heard(call.at, Reply(call.method, what), "".join(sorted(marks))))
        self._news.set()

    async def live(self, is_over: Callable[[], bool]) -> None:
        """One survey after the other."""
        while not is_over():
            await self._free.wait()
            step = await self._step()
            habits = HABITS[step]
            (doing,) = self._rng.choices(list(habits), list(habits.values()))
            if doing == (WAIT,):
                await self._wait_for_time_out()
                continue
            self._news.clear()
            acted = [self._do(what.format(f"{self.chat_id} says {len(self.acts)}"), step) for what in doing]
            if any(acted):
                await self._hear(_STALE_S)
            await asyncio.sleep(self._rng.uniform(0, _PAUSE_MAX_S))

    async def _step(self) -> str:
        """The step that the bot's last words show."""
        while True:
            texts = [heard.reply.what for heard in self.heard if heard.reply.method != "answerCallbackQuery"]
            step = shown(texts[-1]) if texts else IDLE
            if step is not None:
                return step
            if not await self._hear(_STALE_S):
                return IDLE

    async def _hear(self, patience_s: float) -> bool:
        """Return whether something came."""
        try:
            async with asyncio.timeout(patience_s):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    async def _wait_for_time_out(self) -> None:
        self.waits = True
        while self.heard[-1].reply.what != TIMED_OUT and await self._hear(PATIENCE_S):
            pass
        self.waits = False

    def _do(self, what: str, step: str) -> bool:
        """Write it, or press the button; False if nobody sees such a button."""
        world, at, query = self._server.world, time.time(), ""
        if what in BUTTONS:
            if (found := self._button(what)) is None:
                return False
            message, carried = found
            query = f"{self.chat_id}-{next(self._presses)}"
            press = {
                "id": query,
                "from": message["chat"] | {"is_bot": False},
                "message": message,
                "chat_instance": "1",
                "data": carried,
            }
            mark = str(read_mark(carried)[0])
            act = Act(world.push("callback_query", press), at, "button", what, query, mark)
        elif what == STICKER:
            act = Act(world.send_message(self.chat_id, self.chat_id, "", **_STICKER), at, "sticker")
        else:
            act = Act(world.send_message(self.chat_id, self.chat_id, what), at, "text", what)
        self.acts.append(act)
        self.met[act.update_id] = step
        return True

    def _button(self, data: str) -> tuple[dict[str, Any], str] | None:
        """The newest message with a button of this data, and all that the button carries."""
        for message in reversed(self._server.world.messages(self.chat_id)):
            for carried in _buttons(message.get("reply_markup")):
                if read_mark(carried)[1] == data:
                    return dict(message), carried
        return None


def _buttons(markup: Any) -> list[str]:
    """What the buttons of a keyboard carry."""
    keyboard = json.loads(markup) if isinstance(markup, str) else markup or {}
    return [button.get("callback_data", "") for row in keyboard.get("inline_keyboard", []) for button in row]
