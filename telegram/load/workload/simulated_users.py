"""Simulated users for a user's own handlers: chooses a user's next action from the bot's newest message. Pure.

By default users send the router's commands, press the buttons of the message, and write a text when they are asked.
A text that was accepted as the answer to a question is remembered and tried first the next time. With a script, each
user repeats its steps.
"""

import random
import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from telegram.dialogue import Router
from telegram.dialogue.router.kinds import commands_of

TEXTS: Final = ("Ann", "42", "yes", "ann@example.org", "2026-12-24", "12:30", "+4912345678", "a few words")
"""Answers that are tried in turn for a question of the bot, until one is accepted."""

PATIENCE_S: Final = 3.0
"""Time after which a user whose update was handled without an answer does something else."""

_COMMAND_SHARE: Final = 0.02  # probability of a command although there is a button or a question
_RARE: Final = 0.05  # weight of buttons that lead back or cancel
_LEAVING: Final = re.compile(
    r"\b(back|cancel|abort|stop|quit|previous|restart)\b|«|назад|отмен", re.IGNORECASE
)
_NUMBERS: Final = re.compile(r"\d+")
_QUESTIONS_MAX: Final = 1000  # stored


class ActionKind(Enum):
    """Kinds of actions."""

    WRITE = "text"
    PRESS = "press"
    KEY = "key"


class Action(NamedTuple):
    """A user's action: write `text`, press the inline button with this data, or the reply keyboard's button with this label."""

    chat_id: int
    way: ActionKind
    text: str
    message_id: int = 0
    """Of the message with the inline button."""


class Shown(NamedTuple):
    """What a user sees of the bot: its newest message (Telegram's Message) and the labels of the reply keyboard."""

    message: dict[str, Any] | None = None
    keys: Sequence[Sequence[str]] = ()

    @property
    def mark(self) -> object:
        """A value that changes when the bot sends or edits a message."""
        if self.message is None:
            return None
        return self.message["message_id"], self.message.get("edit_date"), self.message.get("text")

    @property
    def question(self) -> str:
        """The bot's text without numbers."""
        return "" if self.message is None else _NUMBERS.sub("", str(self.message.get("text", ""))).strip()

    def buttons(self, chat_id: int) -> list[tuple[str, Action]]:
        """Return the labels of all buttons, each with its action."""
        message = self.message or {}
        rows = (message.get("reply_markup") or {}).get("inline_keyboard", [])
        pressed = [
            (
                button["text"],
                Action(chat_id, ActionKind.PRESS, button["callback_data"], message["message_id"]),
            )
            for row in rows
            for button in row
            if "callback_data" in button
        ]
        return pressed + [(key, Action(chat_id, ActionKind.KEY, key)) for row in self.keys for key in row]


class Step(NamedTuple):
    """One line of a script: a text to write, or the label or data of a button to press."""

    presses: bool
    text: str


class Commands(NamedTuple):
    """The commands that a router takes, without the slash: those that start a handler or a flow, and those of flows' states only."""

    begin: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, router: Router) -> "Commands":
        """Return the commands in the filters of message handlers."""
        begin = router.commands()
        every = commands_of(router.entries(), all_states=True)
        return cls(tuple(begin), tuple(each for each in every if each not in begin))


def read_script(path: Path) -> tuple[Step, ...]:
    """Read a script: one step per line, `press LABEL` or a text; # begins a comment. ValueError if the first step is no text."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the script {path} cannot be read: {error}") from None
    steps = tuple(
        Step(line.startswith("press "), line.removeprefix("press ").strip())
        for line in map(str.strip, lines)
        if line and not line.startswith("#")
    )
    if not steps:
        raise ValueError(
            f"the script {path} has no step: write a text, a /command or `press LABEL` in each line"
        )
    if steps[0].presses:
        raise ValueError(
            f"the script {path} begins with a press, and nothing is shown then: begin with a text"
        )
    return steps


class _User:
    __slots__ = ("asked", "next_step", "seen", "tried", "waits_since_s")

    def __init__(self) -> None:
        self.seen: object = None  # `Shown.mark` at the user's last action
        self.waits_since_s = float("-inf")
        self.asked = ""  # question that was last answered with a text
        self.tried = ""  # that text
        self.next_step = 0


class SimulatedUsers:
    """All simulated users; with an empty `script` they choose their actions themselves."""

    def __init__(self, commands: Commands, script: Sequence[Step], rng: random.Random) -> None:
        self._commands = commands
        self._script = script
        self._rng = rng
        self._users: dict[int, _User] = {}
        self._accepted: dict[str, str] = {}  # question -> accepted answer
        self._tried: dict[str, int] = {}  # question -> number of texts that were tried
        self.completed_scripts = 0
        """Number of completed scripts."""

    def next(self, chat_id: int, shown: Shown, now_s: float, *, at_work: bool = False) -> Action | None:
        """Return the next action of the user of a chat who sees `shown`; None: the user waits for an answer.

        While the bot is `at_work` on the user's last action, the user's time for an answer does not run: how far
        conversations get does not depend on the machine's speed.
        """
        user = self._users.setdefault(chat_id, _User())
        answered = shown.mark != user.seen
        if not answered and at_work:
            user.waits_since_s = now_s
        if not answered and now_s - user.waits_since_s < PATIENCE_S:
            return None
        self._learn(user, shown, answered=answered)
        user.seen, user.waits_since_s = shown.mark, now_s
        if self._script:
            return self._follow(chat_id, user, shown)
        return self._choose(chat_id, user, shown, answered=answered)

    def _follow(self, chat_id: int, user: _User, shown: Shown) -> Action:
        """Return the next step of the script; it restarts if there is no such button."""
        if user.next_step == len(self._script):
            self.completed_scripts += 1
            user.next_step = 0
        step = self._script[user.next_step]
        if step.presses:
            buttons = shown.buttons(chat_id)
            pressed = next((act for label, act in buttons if step.text in {label, act.text}), None)
            if pressed is not None:
                user.next_step += 1
                return pressed
            user.next_step, step = 0, self._script[0]  # always a text
        user.next_step += 1
        return Action(chat_id, ActionKind.WRITE, step.text)

    def _choose(self, chat_id: int, user: _User, shown: Shown, *, answered: bool) -> Action:
        buttons, question = shown.buttons(chat_id), shown.question
        has_commands = bool(self._commands.begin or self._commands.others)
        asks = question.endswith("?") or question in self._accepted or not has_commands
        if not answered or shown.message is None or self._rng.random() < _COMMAND_SHARE:
            return self._command(chat_id) if has_commands else self._write(chat_id, user, question)
        if buttons:
            weights = [_RARE if _LEAVING.search(f"{label} {act.text}") else 1.0 for label, act in buttons]
            if question in self._accepted or max(weights) < 1:
                return self._write(chat_id, user, question)
            return self._rng.choices([act for _, act in buttons], weights)[0]
        if asks or self._rng.random() < 0.5:
            return self._write(chat_id, user, question)
        return self._command(chat_id)

    def _command(self, chat_id: int) -> Action:
        begin, others = self._commands
        rare = others and (not begin or self._rng.random() < _RARE)
        return Action(chat_id, ActionKind.WRITE, f"/{self._rng.choice(others if rare else begin)}")

    def _write(self, chat_id: int, user: _User, question: str) -> Action:
        written = self._accepted.get(question)
        if written is None:
            number = self._tried.get(question, 0)
            if len(self._tried) < _QUESTIONS_MAX:
                self._tried[question] = number + 1
            written = TEXTS[number % len(TEXTS)]
        user.asked, user.tried = question, written
        return Action(chat_id, ActionKind.WRITE, written)

    def _learn(self, user: _User, shown: Shown, *, answered: bool) -> None:
        """Remember whether the last text was accepted: the bot's next text is then another one."""
        if user.tried and answered and shown.question != user.asked:
            if len(self._accepted) < _QUESTIONS_MAX:
                self._accepted.setdefault(user.asked, user.tried)
        elif user.tried and self._accepted.get(user.asked) == user.tried:
            del self._accepted[user.asked]
        user.asked = user.tried = ""
