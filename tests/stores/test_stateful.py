"""Every store against the model of the contract: random calls, alone and at once, cut off, crashed, opened again.

After each step everything that can be observed of the store is what the model says, and the invariants of the
design hold. `make test` runs the same examples each time; CHATLANE_EXAMPLES=N runs N others for each store (with
`--hypothesis-seed=S` the same again).
"""

import contextlib
import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from engine import KEEP, Effects, Envelope, Queue
from engine.store import ID_FALL_MAX
from engine.stores.sqlite.file import StoreFile
from tests.kit.database import Server
from tests.kit.explain import Ask
from tests.kit.observed import Memory, Postgres, Sqlite
from tests.kit.patient import PatientLoop
from tests.kit.player import LIMITS, Player

EXAMPLES = int(os.environ.get("CHATLANE_EXAMPLES", "0"))
SHRINKING_S = 60  # a failure in hand is better than a small one tomorrow
TURNS = 12  # of the event loop, at most, before somebody is cut off
HIGH = 5 * ID_FALL_MAX
IDS = [*range(10, 18), *range(HIGH - ID_FALL_MAX + 2, HIGH - ID_FALL_MAX + 6), *range(HIGH, HIGH + 8)]

# What may be asked, before it is known what is there: a name, and what else there is to choose.
keys = st.sampled_from(["chat:1", "chat:1", "chat:2", "chat:3"])
scopes = st.sampled_from(["", "7"])
queues = st.sampled_from([Queue.INBOX, Queue.INBOX, Queue.OUTBOX])
which = st.integers(0, 3)
reasons = st.sampled_from(["slow down", "x", ""])
states = st.sampled_from([KEEP, None, b"", b"a", b"b"])
turns = st.integers(0, TURNS)

appends = st.tuples(
    st.just("append"), st.lists(st.tuples(st.sampled_from(IDS), keys, scopes), min_size=1, max_size=4)
)
posted = st.lists(st.tuples(keys, scopes, st.sampled_from([0.0, 0.0, 0.0, 0.5, 60.0])), max_size=3)
posting = st.tuples(
    st.just("append"), st.lists(st.tuples(st.sampled_from(IDS), keys, scopes), max_size=1), posted.filter(len)
)
claims = st.tuples(st.just("claim"), st.integers(0, 1), queues)
to = st.lists(keys, max_size=2)
timers = st.lists(
    st.tuples(
        st.sampled_from("tu"),
        st.sampled_from([None, 0.0, 0.0, 0.5, 60.0, 3600.0]),
        st.sampled_from([None, None, "", "7"]),
    ),
    max_size=3,
)
changes = st.lists(
    st.tuples(keys, scopes, st.sampled_from([True, True, True, False]), st.sampled_from([None, b"a", b"c"])),
    max_size=2,
    unique_by=lambda change: change[:2],
)
plain_commits = st.tuples(st.just("commit"), which, states, to, st.booleans())
commits = st.one_of(
    plain_commits,
    st.tuples(
        st.just("commit"),
        which,
        states,
        to,
        st.booleans(),
        timers,
        st.sampled_from([0, 0, 0, 1, 2]),
        changes,
        posted,
    ),
)
peeks = st.tuples(st.just("peek"), which, st.integers(0, 3))
looks = st.tuples(st.just("state"), keys, scopes)
parks = st.tuples(
    st.just("park"), which, st.sampled_from([0.0, 0.5, 60.0, 3600.0]), st.booleans(), reasons, to
)
buries = st.tuples(st.just("bury"), which, reasons, to)
releases = st.tuples(st.just("release"), which)
replays = st.tuples(st.just("replay"), which)
on_delivery = st.one_of(commits, parks, buries, releases, peeks)
anything = st.one_of(appends, posting, claims, commits, on_delivery, replays, looks)


class StoreMachine(Player):
    """One store and its model. What was claimed is kept, the current and the stale."""

    # -- one call ---------------------------------------------------------------------------------------------

    @rule(chosen=appends)
    def append(self, chosen: Any) -> None:
        self.play([self.ask(chosen)])

    @rule(chosen=posting)
    def post(self, chosen: Any) -> None:
        self.play([self.ask(chosen)])

    @precondition(lambda self: len(self.waiting) < 3)
    @rule(chosen=claims)
    def claim(self, chosen: Any) -> None:
        self.play([self.ask(chosen)])

    @precondition(lambda self: self.current())
    @rule(chosen=commits)
    def commit(self, chosen: Any) -> None:
        self.play([self.ask(chosen)])

    @precondition(lambda self: self.current())
    @rule(chosen=on_delivery)
    def settle(self, chosen: Any) -> None:
        self.play([self.ask(chosen)])

    @precondition(lambda self: self.deliveries)
    @rule(chosen=on_delivery)
    def settle_what_may_be_stale(self, chosen: Any) -> None:
        self.play([self.ask(chosen, self.deliveries)])

    @precondition(lambda self: self.settled())
    @rule(chosen=st.one_of(commits, on_delivery))
    def settle_again_under_the_same_lease(self, chosen: Any) -> None:
        self.play([self.ask(chosen, self.settled())])

    @precondition(lambda self: self.current())
    @rule(count=st.integers(2, 4), state=states)
    def commit_one_after_the_other_and_the_first_again(self, count: int, state: Any) -> None:
        first = delivery = self.current()[-1]
        while delivery is not None and count:
            count -= 1
            delivery = self.play_one("commit", delivery, Effects(state=state), more=True)
        self.play_one("commit", first, Effects(state=b"again"), more=True)

    @precondition(lambda self: self.current())
    @rule(
        counted=st.lists(st.booleans(), min_size=1, max_size=3),
        then=st.sampled_from(["park", "commit", "bury"]),
        crash=st.booleans(),
    )
    def fail_again_and_again(self, counted: list[bool], then: str, crash: bool) -> None:
        delivery = self.current()[-1]
        for count in counted:
            self.play_one("park", delivery, 0.0, counted=count, reason="")
            if self.waiting or len(self.model.longest_ready(delivery.lease.queue)) != 1:
                return
            delivery = self.play_one("claim", delivery.lease.queue)
        self.play(
            [
                self.ask(
                    (
                        then,
                        0,
                        *{"park": (60.0, False, "x", []), "commit": (KEEP, [], True), "bury": ("x", [])}[
                            then
                        ],
                    )
                )
            ]
        )
        if crash:
            self.play([], crash=0)

    @precondition(lambda self: self.updates_in_hand())
    @rule(
        limit=st.integers(1, 3), between=appends, also=st.integers(0, 3), timers=timers, crash=st.booleans()
    )
    def peek_and_ack_what_was_peeked(
        self, limit: int, between: Any, also: int, timers: Any, crash: bool
    ) -> None:
        held = self.updates_in_hand()[-1]
        self.play_one("peek", held, limit)
        self.play([self.ask(between)])
        self.play([self.ask(("commit", 0, b"a", [], True, timers, also, []), [held])])
        if crash:
            self.play([], crash=0)

    @precondition(lambda self: len(self.current()) > 1)
    @rule(
        name=st.tuples(keys, scopes),
        news=st.lists(st.sampled_from([None, b"a", b"b"]), min_size=2, max_size=2),
    )
    def change_a_state_from_two_lanes_at_once(self, name: Any, news: Any) -> None:
        self.play(
            [
                self.ask(("commit", number, KEEP, [], True, [], 0, [(*name, True, new)]))
                for number, new in enumerate(news)
            ]
        )

    @precondition(lambda self: self.updates_in_hand())
    @rule(
        wishes=st.lists(timers, min_size=2, max_size=3),
        seconds=st.sampled_from([0.0, 0.5, 60.0]),
        crash=st.booleans(),
    )
    def set_timers_again_and_again(self, wishes: Any, seconds: float, crash: bool) -> None:
        delivery = self.updates_in_hand()[-1]
        for wish in wishes:
            if delivery is None:
                return
            delivery = self.play_one("commit", delivery, self._effects(KEEP, [], wish), more=True)
            self.play([], seconds=seconds)
        if crash:
            self.play([], crash=0)

    @precondition(lambda self: self.heads())
    @rule(which=which, below=st.integers(1, 4), scope=scopes)
    def append_late(self, which: int, below: int, scope: str) -> None:
        heads = self.heads()
        head = heads[which % len(heads)]
        self.play_one("append", [Envelope(max(0, head.id - below), head.key, scope, self._body())])

    @precondition(lambda self: self.updates_in_hand())
    @rule(
        below=st.lists(st.integers(1, 6), min_size=2, max_size=3, unique=True),
        then=st.sampled_from([("park", 60.0, True, "x", []), ("release",)]),
        crash=st.booleans(),
    )
    def append_late_behind_a_head_in_hand(self, below: list[int], then: Any, crash: bool) -> None:
        held = self.updates_in_hand()[-1]
        *late, last = [
            held.envelope._replace(id=max(0, held.envelope.id - b), body=self._body()) for b in below
        ]
        self.play_one("append", late)
        self.play([self.ask((then[0], 0, *then[1:]), [held])])
        self.play_one("append", [last])
        if crash:
            self.play([], crash=0)

    @precondition(lambda self: self.current())
    @rule(
        posts=st.lists(posted, min_size=2, max_size=3),
        state=states,
        then=st.sampled_from(["crash", "again", ""]),
    )
    def post_again_and_again_from_a_lane(self, posts: Any, state: Any, then: str) -> None:
        first = delivery = self.current()[-1]
        for each in posts:
            if delivery is None:
                break
            effects = self._effects(KEEP if delivery.lease.queue is Queue.OUTBOX else state, [], posts=each)
            delivery = self.play_one("commit", delivery, effects, more=True)
        if then == "again":  # its answer was lost, say: it changes nothing
            self.play_one("commit", first, self._effects(KEEP, [], posts=[("chat:1", "", 0.0)]), more=True)
        if then == "crash":
            self.play([], crash=0)

    @precondition(lambda self: not self.model.longest_ready(Queue.INBOX))
    @rule(chosen=appends, cut=st.integers(0, 9))
    def wake_one_of_two_and_cut_it_off(self, chosen: Any, cut: int) -> None:
        while len(asleep := [ask for ask in self.waiting if ask.args == (Queue.INBOX,)]) < 2:
            self.play_one("claim", Queue.INBOX)
        self.play([self.ask(chosen)], [(cut, asleep[0])])

    @precondition(lambda self: self.model.dead)
    @rule(chosen=replays)
    def replay(self, chosen: Any) -> None:
        self.play([self.ask(chosen)])

    @precondition(lambda self: self.model.dead and self.current())
    @rule(chosen=replays)
    def replay_and_bury_another(self, chosen: Any) -> None:
        self.play([self.ask(chosen)])
        self.play_one("bury", self.current()[-1], "x")

    # -- several at once, and what happens to them ------------------------------------------------------------

    @rule(
        chosen=st.lists(
            st.tuples(anything, st.sampled_from([False, False, True]), st.none() | turns),
            min_size=2,
            max_size=4,
        ),
        cut_waiting=st.none() | turns,
        crash=st.none() | st.none() | turns,
        who=st.integers(0, 1),
        full=st.sampled_from([False, False, False, True]),
    )
    def at_once(self, chosen: Any, cut_waiting: int | None, crash: int | None, who: int, full: bool) -> None:
        self.store.fill_disk(full and crash is None)
        asks, cuts = [], []
        for choice, stale, cut in chosen:
            if ask := self.ask(choice, self.deliveries if stale else None):
                asks.append(ask)
                cuts.append((cut, ask))
        cuts += [(cut_waiting, ask) for ask in self.waiting[:1]]
        self.play(asks, cuts, crash=crash, who=who)
        self.store.fill_disk(False)

    @rule(chosen=st.one_of(appends, posting), other=st.one_of(appends, posting), cut=st.integers(0, 9))
    def cut_off_an_append_and_append_again(self, chosen: Any, other: Any, cut: int) -> None:
        asks = [ask for ask in map(self.ask, (chosen, other)) if ask]
        self.play(asks, [(cut, ask) for ask in asks[:1]])
        self.play([self.ask(chosen)])

    @precondition(lambda self: self.current())
    @rule(chosen=commits, cuts=st.tuples(turns, turns))
    def commit_the_same_twice_at_once_and_cut_both_off(self, chosen: Any, cuts: Any) -> None:
        asks = [ask for ask in (self.ask(chosen), self.ask(chosen)) if ask]
        self.play(asks, list(zip(cuts, asks, strict=True)))

    @precondition(lambda self: self.current())
    @rule(chosen=st.lists(st.one_of(appends, posting, on_delivery), min_size=2, max_size=4))
    def ask_when_the_disk_is_full_and_again(self, chosen: Any) -> None:
        asks = [ask for ask in map(self.ask, chosen) if ask]
        self.store.fill_disk(True)
        self.play(asks)
        self.store.fill_disk(False)
        self.play([Ask(ask.name, ask.args, ask.named, ask.session) for ask in asks])

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 2))
    def cut_off_a_waiting_claim(self, index: int) -> None:
        self.play([], [(0, self.waiting[index % len(self.waiting)])])

    @rule(seconds=st.sampled_from([0.5, 0.5, 60.0, 3600.0, 3 * 86_400.0]))
    def pass_time(self, seconds: float) -> None:
        self.play([], seconds=seconds)

    @rule(who=st.integers(0, 1))
    def crash(self, who: int) -> None:
        self.play([], crash=0, who=who)

    @rule(who=st.integers(0, 1))
    def close_and_open(self, who: int) -> None:
        who %= len(self.store.sessions)
        self.play([], [(0, ask) for ask in self.waiting if ask.session == self.store.names[who]])
        name = self.store.names[who]
        self.loop.run_until_complete(self.store.close(who))
        if self.store.reopens:
            self.model.reopen()
        else:
            self.model.take_over({name})
        self.play([])


class MemoryMachine(StoreMachine):
    kind = Memory


class SqliteMachine(StoreMachine):
    kind = Sqlite


class PostgresMachine(StoreMachine):
    """A post that is under way does not count for the depth of its lane yet, so that the lanes have room here."""

    kind = Postgres
    loop_kind = PatientLoop
    limits = LIMITS._replace(lane_depth_max=100)


def run(machine: type[StoreMachine], examples: int) -> None:
    signal.alarm(0 if EXAMPLES else 250)  # making a failure smaller takes longer than a test may
    chosen = settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=40,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS", SHRINKING_S)
        run_state_machine_as_test(machine, settings=chosen)


def test_memory():
    run(MemoryMachine, 120)


def test_sqlite():
    run(SqliteMachine, 80)


@pytest.mark.skipif(
    not EXAMPLES, reason="a server's pace differs from run to run: CHATLANE_EXAMPLES=100 plays it"
)
def test_postgres(database: Server, monkeypatch: pytest.MonkeyPatch):
    """Where two runs of one example differ, the search ends there: Hypothesis needs runs that repeat."""
    monkeypatch.setattr(Postgres, "url", database.url(), raising=False)
    with contextlib.suppress(FlakyStrategyDefinition):
        run(PostgresMachine, 30)


def test_sqlite_with_nothing_at_hand(monkeypatch: pytest.MonkeyPatch):
    """Every body and every state is read from the file."""
    monkeypatch.setattr("engine.embedded.at_hand.ENVELOPES_BYTES_MAX", 0)
    monkeypatch.setattr("engine.embedded.at_hand.STATES_BYTES_MAX", 0)
    # Else a cache that has dropped nothing knows which states do not exist.
    monkeypatch.setattr(StoreFile, "states", lambda _: 1)
    run(SqliteMachine, 50)
