"""Calls played on a store and on the model of the contract, and the one held against the other after each step."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine

from engine import Call, Delivery, Effects, Envelope, Limits, Post, Queue, StateChange, Timer
from tests.kit.explain import Ask, explain
from tests.kit.model import Model
from tests.kit.observed import WALL_S, Memory, Postgres, Sqlite
from tests.kit.view import plain_delivery
from tests.kit.virtual import VirtualLoop

INSTANT_S = 2.0**-10  # time passes only when nothing is left to do; a sum of these is exact
LIMITS = Limits(lane_depth_max=4, dead_max=3, dead_per_lane_max=2, lane_timers_max=3)
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - what a sync costs is not the matter here


class Player(RuleBasedStateMachine):
    """One store and its model. What was claimed is kept, the current and the stale."""

    kind: ClassVar[type[Memory | Sqlite | Postgres]]
    loop_kind: ClassVar[type[VirtualLoop]] = VirtualLoop
    limits: ClassVar[Limits] = LIMITS

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(
            tempfile.mkdtemp(prefix="chatlane-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        )
        self.loop = self.loop_kind()
        self.store = self.kind(self.limits, self.folder)
        self.model = Model(self.limits, WALL_S)
        self.deliveries: list[Delivery] = []
        self.waiting: list[Ask] = []  # claims
        self.gone: frozenset[int] = frozenset()  # sessions that crashed
        self.bodies = 0
        self.loop.run_until_complete(self.store.open())

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(self._end())
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)

    async def _end(self) -> None:
        tasks = [ask.task for ask in self.waiting if ask.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.store.end()

    def current(self) -> list[Delivery]:
        """Return the deliveries that can still be settled."""
        return [delivery for delivery in self.deliveries if self.model.is_current(plain_delivery(delivery))]

    def updates_in_hand(self) -> list[Delivery]:
        deliveries = [each for each in self.current() if each.lease.queue is Queue.INBOX]
        return [each for each in deliveries if not each.envelope.is_timer]

    def heads(self) -> list[Envelope]:
        heads = [lane.items[0] for (queue, _), lane in self.model.lanes.items() if queue is Queue.INBOX]
        return [head.envelope for head in heads if not head.timer]

    def settled(self) -> list[Delivery]:
        """Return the deliveries that were settled under a lease that is still in force."""
        held = [delivery for delivery in self.deliveries if self.model.is_held(delivery.lease)]
        return [delivery for delivery in held if delivery not in self.current()]

    def ask(self, chosen: Any, deliveries: list[Delivery] | None = None) -> Ask | None:
        """Return what was chosen as a call, if there is something to do it with."""
        name, *more = chosen
        if name == "append":
            batch = [Envelope(id_, key, scope, self._body()) for id_, key, scope in more[0]]
            return self._of(0, name, batch, (), self._posts(more[1] if more[1:] else ()))
        if name == "state":
            return self._of(0, name, *more)
        if name == "claim":
            return self._of(*more[:1], name, more[1])
        if name == "replay":
            numbers = [letter.number for letter, _ in self.model.dead]
            return self._of(0, name, numbers[more[0]] if more[0] < len(numbers) else 99)
        if not (among := self.current() if deliveries is None else deliveries):
            return None
        delivery = among[-1 - more.pop(0) % len(among)]
        if name == "commit":
            state, to, keep, *rare = more
            effects = self._effects(state, to, *rare)
            if delivery.lease.queue is Queue.OUTBOX:
                effects = effects._replace(timers=())  # a slip (Effects.check)
            return self._of(0, name, delivery, effects, more=keep)
        if name == "park":
            delay_s, counted, reason, to = more
            return self._of(0, name, delivery, delay_s, counted=counted, reason=reason, calls=self._calls(to))
        if name == "bury":
            return self._of(0, name, delivery, more[0], self._calls(more[1]))
        return self._of(0, name, delivery, *more)

    def _calls(self, to: list[str]) -> tuple[Call, ...]:
        return tuple(Call(key, self._body()) for key in to)

    def _posts(self, posts: Any) -> tuple[Post, ...]:
        return tuple(Post(key, scope, self._body(), after_s) for key, scope, after_s in posts)

    def _effects(
        self, state: Any, to: Any, timers: Any = (), also: int = 0, changes: Any = (), posts: Any = ()
    ) -> Effects:
        return Effects(
            self._calls(to),
            state,
            tuple(Timer(name, after_s, self._body(), scope) for name, after_s, scope in timers),
            also,
            tuple(
                StateChange(key, scope, self.model.state(key, scope) if is_right else b"z", new)
                for key, scope, is_right, new in changes
            ),
            self._posts(posts),
        )

    def play_one(self, name: str, *args: Any, **named: Any) -> Any:
        ask = self._of(0, name, *args, **named)
        self.play([ask])
        return ask.answer

    def play(
        self,
        asks: Sequence[Ask | None],
        cuts: Any = (),
        *,
        crash: int | None = None,
        who: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Ask all this at once, cut some off after so many turns of the loop, and hold the store to its answers."""
        told = self.waiting + [ask for ask in asks if ask]
        for ask in told:
            ask.depths = self.model.depths()
        who %= len(self.store.sessions)
        crashed = self.store.names[who] if crash is not None else None
        asked_at = self.loop.time()
        self.loop.run_until_complete(self._play(told, cuts, crash, who, seconds))
        for ask in told:
            ask.note_outcome()
            note(f"at {asked_at}: {ask}")
        self.waiting = [ask for ask in told if ask.outcome == "waiting"]
        assert {ask.name for ask in self.waiting} <= {"claim"}, "everything else is answered at once"
        self._judge([ask for ask in told if ask.outcome != "waiting"], asked_at, crashed)
        self.deliveries += [ask.answer for ask in told if isinstance(ask.answer, Delivery)]
        del self.deliveries[:-12]

    async def _play(self, asks: list[Ask], cuts: Any, crash: int | None, who: int, seconds: float) -> None:
        for ask in asks:
            if ask.task is None:
                ask.start(self.store.sessions[self.store.names.index(ask.session)])
        name = self.store.names[who]
        last = max((turn for turn, _ in [*cuts, (crash, None)] if turn is not None), default=-1)
        for turn in range(last + 1):
            for cut, ask in cuts:
                if cut == turn:
                    ask.task.cancel()
            if crash == turn:
                self.store.abandon(who)
                dying = [ask.task for ask in asks if ask.session == name and ask.task]
                for task in dying:
                    task.cancel()
                await asyncio.gather(*dying, return_exceptions=True)
                await self.store.recover()
            await asyncio.sleep(0)
        await self.store.pass_time(seconds)
        await asyncio.sleep(INSTANT_S)
        await self.store.settle()

    def _judge(self, asks: list[Ask], asked_at: float, crashed: int | None) -> None:
        view = self.loop.run_until_complete(self.store.view())
        ready = {queue: self.store.ready(queue) for queue in Queue}
        waiting = {ask.args[0] for ask in self.waiting}
        tried: list[Model] = []

        def fits(model: Model) -> Model | None:
            model = model.copy()
            if crashed is not None and self.store.reopens:
                model.reopen()
            model.now = model.until
            model.happen()
            tried.append(model)
            if (
                model.view() != view
                or not all(model.ready_in_order(queue, names) for queue, names in ready.items())
                or any(ready[queue] for queue in waiting)
                or (waiting and model.leased_to(self.gone))
            ):
                return None
            return model

        before = self.model.copy()
        before.now, before.until = asked_at, self.loop.time()
        if before.leased_to(self.gone):
            asks = [*asks, Ask("take_over", (self.gone,), outcome="cut")]
        if crashed is not None and not self.store.reopens:
            self.gone |= {crashed}
            asks = [*asks, Ask("take_over", ({crashed},), outcome="cut")]
        found = explain(before, asks, fits)
        assert found is not None, self._unexplained(before, asks, tried, f"{view}\nready {ready}, {waiting=}")
        self.model = found

    def _unexplained(self, before: Model, asks: list[Ask], tried: list[Model], seen: str) -> str:
        lines = ["no order of these calls explains their answers and what came of them:", *map(str, asks)]
        lines += [f"before: {before.view()}", f"after:  {seen}"]
        lines += [f"should: {model.view()}" for model in tried[:3]]
        return "\n".join(lines)

    def _of(self, who: int, name: str, *args: Any, **named: Any) -> Ask:
        return Ask(name, args, named, self.store.names[who % len(self.store.names)])

    def _body(self) -> bytes:
        self.bodies += 1
        return b"%d" % self.bodies
