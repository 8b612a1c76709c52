"""One update in a flow: finds the handler, follows its outcome, saves the state."""

from collections.abc import Iterator, Sequence
from enum import Enum
from functools import partial
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from engine import Reject
from telegram.dialogue.contexts.answers import tell
from telegram.dialogue.contexts.context import Context
from telegram.dialogue.contexts.invalid import Invalid, invalid_of
from telegram.dialogue.contexts.signature import check_returned
from telegram.dialogue.contexts.updates import CallbackContext, TimerContext
from telegram.dialogue.flows.awaiting import WAITS, note_waiting
from telegram.dialogue.flows.offers import is_offered_by, offers_of
from telegram.dialogue.flows.outcomes import Back, End, check_outcome
from telegram.dialogue.flows.plan import Plan, Step
from telegram.dialogue.routes.route import PLAIN, Match
from telegram.dialogue.state.kept import check_models, fields_of, read_fields, written
from telegram.dialogue.state.scopes import OWN, USER, place_of_scope

HISTORY_MAX: Final = 50
_TIMEOUT: Final = "~timeout"
_ARMED: Final = "armed"
"""Key in the payload of a time-out: the turn that set it, which is also in the flow's record."""


class Frame:
    """A running flow: its state, its data, and its previous states."""

    __slots__ = ("data", "flow", "history", "state")

    def __init__(self, flow: Plan[Any, Any, Any], state: Enum, data: BaseModel, history: list[str]) -> None:
        self.flow = flow
        self.state = state
        self.data = data
        self.history = history

    def record(self) -> dict[str, Any]:
        """Return the stored form. NotKept for data that JSON would change."""
        data = written(self.data, f"flow {self.flow.name}: data")
        return {
            "flow": self.flow.name,
            "version": self.flow.version,
            "state": self.state.value,
            "data": data,
            "history": self.history,
        }


class Turn:
    """The handling of one update by `flow`. The innermost flow is the last frame."""

    def __init__(self, flow: Plan[Any, Any, Any], ctx: Context) -> None:
        self._flow = flow
        self._ctx = ctx
        self._conversation = ctx.conversation(flow.scope)
        self._frames: list[Frame] = []
        self._arrived = False  # whether this update has entered a state

    # ---- finding the handler

    def state(self) -> str | None:
        """Return the value of the flow's state, None if it does not run."""
        records = self._records()
        return records[0]["state"] if records else None

    def take(self) -> Match | None:
        """Return the handler for the update in the flow's state, or one that begins the flow; None if there is none."""
        if records := self._records():
            try:
                self._frames = self._load(records)
            except _Mismatch as mismatch:
                return Match(partial(self._resolve, mismatch), PLAIN, self._resolve)
        for index, step in self._candidates():
            if (values := _values(step, self._ctx)) is not None:
                run = partial(self._enter if index is None else partial(self._step, index), step, values)
                return Match(run, step.route.options, step.route.handler)
        return None

    def _records(self) -> list[dict[str, Any]]:
        record = self._conversation.flow
        return record["stack"] if record and record["stack"][0]["flow"] == self._flow.name else []

    def _candidates(self) -> Iterator[tuple[int | None, Step]]:
        """Yield the steps that may handle the update, each with the index of its frame (None: it begins the flow anew).

        In this order: the state's own, those for all states from the inside out, the entries, and `otherwise`.
        """
        innermost = len(self._frames) - 1
        ctx = self._ctx
        if isinstance(ctx, TimerContext) and ctx.timer == _TIMEOUT:
            if not self._is_armed(ctx):
                return
            for index in range(innermost, -1, -1):
                if late := self._frames[index].flow.timeouts.get(self._frames[index].state):
                    yield index, late.step
                    return
            return
        is_offered = not self._frames or is_offered_by(self._flow, ctx, self._conversation.flow)
        if self._frames and is_offered:
            frame = self._frames[innermost]
            for step in frame.flow.steps[frame.state]:
                yield innermost, step
        for index in range(innermost, -1, -1) if is_offered else ():
            for step in self._frames[index].flow.steps_anywhere:
                yield index, step
        for step in self._flow.entries:
            yield None, step
        if self._frames and is_offered:
            for step in frame.flow.steps_else:
                yield innermost, step

    def _is_armed(self, ctx: TimerContext) -> bool:
        """Return whether this time-out is the one that the flow set last, in any lane.

        A flow of scope USER may continue in another lane than that of its time-out, and cannot remove it from there.
        Time-outs and records of older versions have no turn: they match each other.
        """
        armed = (self._conversation.flow or {}).get("timer")
        return ctx.payload.get(_ARMED) == (None if isinstance(armed, bool) else armed)

    # ---- running it

    async def begin(self, data: BaseModel, state: Enum) -> None:
        """Begin the flow in `state`; ValidationError for invalid data."""
        self._open()
        frame = Frame(self._flow, state, data, [])
        _revalidate(frame)
        self._frames = [frame]
        await self._arrive()
        self._save()

    def _open(self) -> None:
        """Set the chat of the flow's replies if the update has none, and the scope that marks its buttons."""
        ctx = self._ctx
        ctx.marks = self._flow.scope
        if ctx.chat_id is None and ctx.home is None:
            ctx.home = (self._conversation.flow or {}).get("home")
            if ctx.home is None and isinstance(ctx, CallbackContext):  # under a message sent via the bot
                ctx.home = ctx.privately()

    async def _enter(self, step: Step, values: Sequence[Any], *more: Any) -> None:
        self._open()
        data = self._flow.data()
        outcome = await step.route.call(self._ctx, data, *values, *more)
        check_outcome(self._flow.name, step.route.handler, step.targets, outcome)
        if isinstance(outcome, Enum):
            try:
                await self.begin(data, outcome)
            except ValidationError as error:
                raise invalid_of(error, self._ctx) from None
        elif isinstance(outcome, End):
            self._frames = []
            self._save()

    async def _step(self, index: int, step: Step, values: Sequence[Any], *more: Any) -> None:
        self._open()
        frame = self._frames[index]
        try:
            try:
                outcome = await step.route.call(self._ctx, frame.data, *values, *more)
                check_outcome(frame.flow.name, step.route.handler, step.targets, outcome)
                _revalidate(frame)
                await self._go(index, outcome)
            except ValidationError as error:
                raise invalid_of(error, self._ctx) from None
        except Invalid as invalid:
            await self._ask_again(invalid.text)
            return
        self._save()

    async def _go(self, index: int, outcome: Any) -> None:
        """Follow an outcome of the frame `index`, ending and beginning sub-flows."""
        while outcome is not None:
            frame = self._frames[index]
            del self._frames[index + 1 :]
            if isinstance(outcome, Back):
                if frame.history:
                    frame.state = frame.flow.states(frame.history.pop())
                elif index:
                    del self._frames[index]
                    index -= 1
                    continue
                await self._arrive()
                return
            if not isinstance(outcome, End):
                if outcome is not frame.state:
                    frame.history = [*frame.history, frame.state.value][-HISTORY_MAX:]
                frame.state = outcome
                await self._arrive()
                return
            del self._frames[index]
            if not index:
                return
            index -= 1
            outer = self._frames[index]
            takes = outer.flow.sub_flows[outer.state]
            outcome = await takes.run(self._ctx, outer.data, outcome.value)
            _revalidate(outer)
            if outcome is None:
                raise TypeError(f"{outer.flow.name}: what takes a sub-flow's value must lead somewhere")
            check_outcome(outer.flow.name, takes.handler, takes.targets, outcome)

    async def _arrive(self) -> None:
        """Begin the sub-flows of the innermost state, and send its prompt."""
        frame = self._frames[-1]
        while (sub := frame.flow.sub_flows.get(frame.state)) is not None:
            frame = Frame(sub.flow, sub.flow.first, sub.flow.data(), [])
            self._frames.append(frame)
        self._arrived = True
        prompt = frame.flow.prompts.get(frame.state)
        if prompt is not None:
            check_returned(prompt.run, await prompt.run(self._ctx, frame.data))
            _revalidate(frame)

    async def _ask_again(self, why: str) -> None:
        """Discard the handler's effects and changes; send the reason, and the prompt again."""
        ctx = self._ctx
        ctx.discard()
        self._conversation = ctx.conversation(self._flow.scope)
        self._frames = self._load(self._records())
        tell(ctx, why)
        await self._arrive()
        self._arrived = False  # the buttons offered before are still valid
        self._save()

    async def _resolve(self, mismatch: "_Mismatch") -> None:
        flow = mismatch.flow
        if flow.mismatch_handler is None:
            raise Reject(
                f"the flow {flow.name} cannot read its data (version {mismatch.version}, this one is {flow.version}): "
                f"{mismatch.error}"
            )
        outcome = await flow.mismatch_handler(self._ctx, mismatch.data, mismatch.error)
        if flow.mismatch_targets is not None:
            check_outcome(flow.name, flow.mismatch_handler, flow.mismatch_targets, outcome)
        if isinstance(outcome, End):
            self._frames = []
            self._save()
        elif outcome is not None:
            await Turn(flow, self._ctx).begin(flow.data(), outcome)

    # ---- the stored state

    def _load(self, records: list[dict[str, Any]]) -> list[Frame]:
        flow = self._flow
        frames: list[Frame] = []
        for record in records:
            if frames:
                above = frames[-1]
                sub = above.flow.sub_flows.get(above.state)
                if sub is None or sub.flow.name != record["flow"]:
                    error = ValueError(f"no flow {record['flow']} runs in {above.state} any more")
                    raise _Mismatch(above.flow, record, error)
                flow = sub.flow
            frames.append(_frame(flow, record))
        return frames

    def _save(self) -> None:
        """Write the frames to the conversation, and set the time-out of the innermost state that has one."""
        if self._flow.scope != USER and self._ctx.memory.has(WAITS):
            note_waiting(self._ctx, [(frame.flow, frame.state) for frame in self._frames], self._flow.scope)
        had = self._conversation.flow or {}
        late = next(
            (found for frame in reversed(self._frames) if (found := frame.flow.timeouts.get(frame.state))),
            None,
        )
        ctx = self._ctx
        place = None if self._flow.scope == OWN else place_of_scope(self._flow.scope, ctx)
        scope = None if place is None else place.timers
        if late is not None:
            ctx.plan_timer(_TIMEOUT, late.after_s, {_ARMED: ctx.turn}, scope)
        elif had.get("timer"):
            ctx.plan_timer(_TIMEOUT, None, None, scope)
        if not self._frames:
            self._conversation.flow = None
            return
        self._conversation.flow = {
            "stack": [frame.record() for frame in self._frames],
            "timer": ctx.turn if late is not None else False,
        }
        if self._arrived or "offers" in had or not had:  # else an older record, until its next state
            takes = any([frame.flow.takes_buttons for frame in self._frames])  # noqa: C419 - twice as fast
            if takes or ctx.offered or "offers" in had:
                self._conversation.flow |= offers_of(ctx, {} if self._arrived else had, takes=takes)
        if self._flow.scope == USER and (home := ctx.speaks_in()) is not None:
            self._conversation.flow["home"] = home  # for a later update without a chat


class _Mismatch(Exception):  # noqa: N818 - handled by the flow
    """Stored data that is not valid for the flow any more."""

    def __init__(self, flow: Plan[Any, Any, Any], record: dict[str, Any], error: Exception) -> None:
        super().__init__(str(error))
        self.flow = flow
        self.version = record.get("version")
        self.data: dict[str, Any] = record.get("data") or {}
        self.error = error


def _frame(flow: Plan[Any, Any, Any], record: dict[str, Any]) -> Frame:
    try:
        data = record["data"]
        if record["version"] != flow.version and flow.migrate is not None:
            data = flow.migrate(record["version"], data)
        return Frame(flow, flow.states(record["state"]), read_fields(flow.data, data), record["history"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _Mismatch(flow, record, error) from None


def _values(step: Step, ctx: Context) -> list[Any] | None:
    kinds = step.route.kinds
    return step.route.values(ctx) if kinds is None or ctx.kind in kinds else None


def _revalidate(frame: Frame) -> None:
    """Validate the data against its model after a handler has changed it: assignments are not validated."""
    given = frame.data
    frame.data = read_fields(frame.flow.data, fields_of(given), strict=None)
    check_models(given, frame.data, f"flow {frame.flow.name}: data")
