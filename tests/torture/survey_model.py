"""What handlers/survey.py has to say to whatever a person does, written down a second time. Pure."""

from typing import Final, Literal, NamedTuple

TIMEOUT_S: Final = 4.0
"""Of the campaign's survey: many moments at which nobody runs, and still time to answer."""

WELCOME: Final = "Three questions. You can leave with /cancel and return with “Back”."
CANCELLED: Final = "Cancelled. Nothing was kept."
TIMED_OUT: Final = "The survey has timed out. Begin again with /survey."
NO_ANSWER: Final = "Please answer the question, or leave with /cancel."
NO_NUMBER: Final = "Please write a number, like 42."
TOO_LONG: Final = "name: This is too long. The maximum number of characters is 50."
TOO_YOUNG: Final = "age: Please write a number of at least 13."
QUESTIONS: Final = {
    "name": "What is your name?",
    "age": "How old are you?",
    "topic": "What do you want to hear about?",
}
TOPICS: Final = {"topic:releases": "releases", "topic:events": "events"}

IDLE: Final = "no survey"
TIME_OUT: Final = "time-out"
STEPS: Final = (IDLE, *QUESTIONS, "summary")


class Act(NamedTuple):
    """What somebody did at Unix time `at`, before Telegram took it: wrote a text, pressed a button, sent a sticker.

    `value`: the text, or the button's data; `query`: the id of the press; `mark`: of the button.
    """

    update_id: int
    at: float
    kind: Literal["text", "button", "sticker"]
    value: str = ""
    query: str = ""
    mark: str = ""


class Reply(NamedTuple):
    """A call of the bot: the method, and the text or (answerCallbackQuery) the press that it answers."""

    method: str
    what: str


def says(text: str) -> Reply:
    return Reply("sendMessage", text)


def edits(text: str) -> Reply:
    return Reply("editMessageText", text)


class Survey:
    """One person's way through the survey."""

    def __init__(self) -> None:
        self.step = IDLE
        self._before: list[str] = []
        self._name = self._age = self._topic = ""
        self._offered: set[str] = set()
        """The marks of the buttons that were sent since it came to this step: no other is taken."""

    @property
    def is_open(self) -> bool:
        """Whether it has begun and not ended."""
        return self.step != IDLE

    def take(self, act: Act) -> tuple[list[Reply], bool]:
        """What comes of an act, and whether it was the survey's business: then its time-out begins anew."""
        if act.kind != "button":
            if act.value == "/survey":
                return self._begin(), True
            return self._message(act) if self.is_open else (self._echo(act), False)
        is_offered = self.is_open and act.mark in self._offered
        replies, was_taken = self._button(act.value) if is_offered else ([], False)
        return [*replies, Reply("answerCallbackQuery", act.query)], was_taken

    def hear(self, reply: Reply, mark: str) -> None:
        """It was sent, with buttons of this mark."""
        if self.step in {"age", "topic", "summary"} and reply == self._question():
            self._offered.add(mark)

    def time_out(self) -> None:
        """Nobody answered."""
        self.step = IDLE

    def _begin(self) -> list[Reply]:
        """Also in the middle of it."""
        self._before = []
        self._come_to("name")
        return [says(WELCOME), self._question()]

    def _echo(self, act: Act) -> list[Reply]:
        return [says(act.value)] if act.kind == "text" and not act.value.startswith("/") else []

    def _message(self, act: Act) -> tuple[list[Reply], bool]:
        if act.value == "/cancel":
            self.step = IDLE
            return [says(CANCELLED)], True
        wrong = self._wrong(act)
        if wrong:
            return [says(wrong), self._question()], True
        if self.step == "name":
            self._name = act.value
            return [self._go("age")], True
        self._age = act.value
        return [self._go("topic")], True

    def _wrong(self, act: Act) -> str:
        if act.kind != "text" or act.value.startswith("/") or self.step not in {"name", "age"}:
            return NO_ANSWER
        if self.step == "name":
            return TOO_LONG if len(act.value) > 50 else ""
        if not act.value.isdecimal():
            return NO_NUMBER
        return TOO_YOUNG if int(act.value) < 13 else ""

    def _button(self, data: str) -> tuple[list[Reply], bool]:
        if data == "back":
            self._come_to(self._before.pop())
            return [self._question()], True
        if self.step == "topic" and data in TOPICS:
            self._topic = TOPICS[data]
            return [edits(f"You want to hear about {self._topic}."), self._go("summary")], True
        if self.step == "summary" and data == "confirm":
            self.step = IDLE
            return [edits(f"Registered: {self._name}, {self._age}, {self._topic}.")], True
        return [], False

    def _go(self, step: str) -> Reply:
        self._before.append(self.step)
        self._come_to(step)
        return self._question()

    def _come_to(self, step: str) -> None:
        self.step = step
        self._offered.clear()

    def _question(self) -> Reply:
        return says(QUESTIONS.get(self.step) or f"{self._name}, {self._age}, {self._topic}. Is that right?")


def shown(text: str) -> str | None:
    """The step at which the bot asks so; None if more is to come."""
    if text.endswith("Is that right?"):
        return "summary"
    if text in {WELCOME, NO_ANSWER, NO_NUMBER, TOO_LONG, TOO_YOUNG} or text.startswith("You want"):
        return None
    return next((step for step, question in QUESTIONS.items() if text == question), IDLE)
