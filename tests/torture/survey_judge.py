"""Judges what people did in the survey against what they heard of it, with the survey's model. Pure.

The messages of a chat come in their order. The answer to a press waits for none of them: it comes at any moment after
the press, and once.

| anomaly    | what it means                                                                              |
|------------|--------------------------------------------------------------------------------------------|
| lost       | a reply, or a time-out, that never came                                                    |
| skipped    | a reply that came before another one of the same update                                    |
| stray      | a reply that the model does not say there: a step left out, an update handled twice, ...   |
| sent twice | the same reply again, though no kill came before it was noted as sent                      |
| early      | a time-out before its time                                                                 |
| late       | a time-out long after its time, or after the next start                                    |
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from telegram.load.checkers.checker import Anomaly
from tests.torture.survey_model import IDLE, TIMED_OUT, Act, Reply, Survey, says

LATE_MAX_S: Final = 30.0
"""A bound for a time-out that is forgotten, not a measure of speed."""

_LATE: Final = says(TIMED_OUT)


class Gap(NamedTuple):
    """The time (Unix time) from a kill to the next start. `pending`: by chat, the calls that were not noted as sent at the kill."""

    began: float
    ended: float
    pending: Mapping[int, Collection[Reply]]


class Heard(NamedTuple):
    """A call that Telegram has executed at Unix time `at`; `mark`: of its buttons."""

    at: float
    reply: Reply
    mark: str = ""


class Story(NamedTuple):
    """What one person did and heard, each in its order."""

    acts: Sequence[Act]
    heard: Sequence[Heard]


class Findings(NamedTuple):
    """`late_s`: of each time-out, how long after the first moment at which it could come.

    `steps`: at which step each update met the survey, `way`: when it came to which step; of the person.
    """

    anomalies: list[Anomaly]
    repeated: int
    late_s: list[float]
    steps: dict[int, str]
    way: list[tuple[float, str]]
    slept: int
    """Time-outs whose moment lay in a time when nobody ran."""


class _BrokenError(Exception):
    """The story does not go on as the model says; arguments: kind and details."""


class _Reading:
    """One person's story, from its beginning to its end or the first thing that is wrong."""

    def __init__(self, chat_id: int, story: Story, gaps: Sequence[Gap], timeout_s: float) -> None:
        self._chat_id = chat_id
        self._acts = story.acts
        self._heard = [heard for heard in story.heard if not _is_answer(heard.reply)]
        self._answers: dict[str, list[float]] = {}
        for at, reply, _ in story.heard:
            if _is_answer(reply):
                self._answers.setdefault(reply.what, []).append(at)
        self._gaps = gaps
        self._timeout_s = timeout_s
        self._survey = Survey()
        self._place = 0  # in what was heard
        self._last: Heard | None = None
        self._first_at = 0.0  # of the replies that are equal to the last one, in a row
        self._set = (0.0, 0.0)  # the time-out was set between these moments
        self.repeated = self.slept = 0
        self.late_s: list[float] = []
        self.steps: dict[int, str] = {}
        self.way: list[tuple[float, str]] = []

    def read(self) -> None:
        """Raise _BrokenError at the first thing that is wrong."""
        for act in self._acts:
            if self._survey.is_open and self._follows(_LATE):
                self._time_out()
            self.steps[act.update_id] = self._survey.step
            replies, was_taken = self._survey.take(act)
            messages = [reply for reply in replies if not _is_answer(reply)]
            answered = [self._answered(act, reply) for reply in replies if _is_answer(reply)]
            for number, reply in enumerate(messages):
                self._expect(reply, messages[number + 1 :])
            if was_taken and self._last is not None:
                self._set = (act.at, max(self._last.at, *answered, act.at))
                self.way.append((act.at, self._survey.step))
        if self._survey.is_open:
            self._time_out()
        if (more := self._next()) is not None:
            raise _BrokenError("stray", f"{more.reply} after everything")
        if self._answers:
            raise _BrokenError("stray", f"an answer to {', '.join(self._answers)}, which was not pressed")

    def _answered(self, act: Act, reply: Reply) -> float:
        """Take the answer to a press out of what was heard; return when it came first."""
        first, *again = self._answers.pop(reply.what, ()) or (None,)
        if first is None:
            raise _BrokenError("lost", f"{reply} at the step {self.steps[act.update_id]}")
        if first < act.at:
            raise _BrokenError("stray", f"{reply} before the press")
        for at in again:
            if not self._is_explained(reply, first, at):
                raise _BrokenError("sent twice", f"{reply}, {at - first:.3f} s later again")
            self.repeated += 1
        return first

    def _follows(self, reply: Reply) -> bool:
        """Whether this was heard next, repeats aside."""
        last = self._last and self._last.reply
        return next((each.reply for each in self._heard[self._place :] if each.reply != last), None) == reply

    def _next(self) -> Heard | None:
        """What was heard next, repeats aside."""
        for heard in self._heard[self._place :]:
            if self._last is None or heard.reply != self._last.reply:
                return heard
            if not self._is_explained(heard.reply, self._first_at, heard.at):
                raise _BrokenError(
                    "sent twice", f"{heard.reply}, {heard.at - self._last.at:.3f} s later again"
                )
            self._place += 1
            self.repeated += 1
        return None

    def _expect(self, reply: Reply, later: Sequence[Reply] = ()) -> Heard:
        heard = self._next_equal(reply)
        if heard is None:
            heard = self._next()
            self._first_at = heard.at if heard else 0.0
        if heard is None:
            raise _BrokenError("lost", f"{reply} at the step {self._survey.step}")
        if heard.reply != reply:
            kind = "skipped" if heard.reply in later else "stray"
            raise _BrokenError(kind, f"{heard.reply} instead of {reply} at the step {self._survey.step}")
        self._place += 1
        self._last = heard
        self._survey.hear(reply, heard.mark)
        return heard

    def _next_equal(self, reply: Reply) -> Heard | None:
        """What was heard next, if the model itself says the same twice in a row."""
        if self._last is None or reply != self._last.reply or self._place == len(self._heard):
            return None
        heard = self._heard[self._place]
        return heard if heard.reply == reply else None

    def _time_out(self) -> None:
        heard = self._expect(_LATE)
        earliest, latest = (moment + self._timeout_s for moment in self._set)
        if heard.at < earliest:
            raise _BrokenError("early", f"a time-out {earliest - heard.at:.3f} s before its time")
        asleep = [gap for gap in self._gaps if gap.began <= heard.at and gap.ended > latest]
        late_s = heard.at - max([latest, *(gap.ended for gap in asleep)])
        if late_s > LATE_MAX_S:
            raise _BrokenError("late", f"a time-out {late_s:.3f} s after its time")
        self.late_s.append(late_s)
        self.slept += any(gap.began < latest < gap.ended for gap in asleep)
        self._survey.time_out()
        self.way.append((heard.at, IDLE))

    def _is_explained(self, reply: Reply, first_at: float, again_at: float) -> bool:
        return any(
            reply in gap.pending.get(self._chat_id, ()) and first_at < gap.ended and again_at > gap.began
            for gap in self._gaps
        )


def _is_answer(reply: Reply) -> bool:
    return reply.method == "answerCallbackQuery"


def judge(stories: Mapping[int, Story], gaps: Sequence[Gap], timeout_s: float) -> list[Findings]:
    """Judge the story of each chat."""
    return [_judged(chat_id, story, gaps, timeout_s) for chat_id, story in stories.items()]


def _judged(chat_id: int, story: Story, gaps: Sequence[Gap], timeout_s: float) -> Findings:
    reading, anomalies = _Reading(chat_id, story, gaps, timeout_s), []
    try:
        reading.read()
    except _BrokenError as broken:
        anomalies.append(Anomaly(broken.args[0], chat_id, broken.args[1]))
    return Findings(anomalies, reading.repeated, reading.late_s, reading.steps, reading.way, reading.slept)
