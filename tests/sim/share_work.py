"""What the chats' handlers do in the simulated runs of the PostgreSQL store (shares.py), and whether all of it was kept.

A chat's state says what its handlers have done, and is committed with it: so calls, timers, posts, rows of the author's own
tables and states that chats share are compared with the states of the chats in the end, also after a failover that rolls back.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from zlib import crc32

from engine import Call, Delivery, Effects, Post, Sql, StateChange, Timer
from engine.stores.postgres.store import PostgresStore
from tests.sim.database import Tables
from tests.sim.database_statements import OWN, TOTAL

CHATS: Final = [f"chat:{number}" for number in range(9)]
SCOPE: Final = "7"
_NAMES: Final = ("a", "b")
_COMMON: Final = [("~common:0", "s"), ("~common:1", "s")]
_TOTALS: Final = ("x", "y")
_EMPTY: Final = b'{"ids": [], "calls": {}, "timers": {}, "set": 0, "posts": {}, "got": {}, "own": [], "common": [], "looked": {}, "wrong": []}'


class Does(NamedTuple):
    """What handlers of a run do; each run has some of it."""

    timers: bool
    posts: bool
    parks: bool
    letters: bool
    common: bool
    sql: bool
    within: bool

    @classmethod
    def drawn(cls, rng: random.Random) -> "Does":
        """Return each with a chance of one half."""
        return cls(*(rng.random() < 0.5 for _ in cls._fields))


class Parked(NamedTuple):
    """Park the lane."""

    delay_s: float
    is_counted: bool


class Buried:
    """Make it a dead letter."""


class Work:
    """The handlers. `wall` is Unix time."""

    def __init__(self, rng: random.Random, wall: Callable[[], float], fail: Callable[[str], None]) -> None:
        self.does = Does.drawn(rng)
        self.is_calm = False
        self.replayed: set[int] = set()
        """Updates that an operator has replayed, or tried to: they come after later ones."""

        self.discarded: set[int] = set()
        """Updates that an operator has discarded."""

        self.posted: dict[str, bool] = {}
        """What other sources than handlers have posted: whether that was confirmed."""

        self.common = list(_COMMON)
        self._rng = rng
        self._wall = wall
        self._fail = fail

    # -- handling --------------------------------------------------------------------------------------------------------

    async def outcome(self, store: PostgresStore, delivery: Delivery) -> Effects | Parked | Buried:
        """Return what comes of a handler, which runs here."""
        rng, envelope = self._rng, delivery.envelope
        key, id_ = delivery.lease.key, envelope.id
        state = json.loads(delivery.state or _EMPTY)
        if self.does.parks and not self.is_calm and rng.random() < 0.05:
            return Parked(3.0 * rng.random(), rng.random() < 0.5)
        if envelope.is_timer:
            self._take_timer(state, envelope.body.decode())
            return Effects(state=json.dumps(state).encode())
        if self._is_buried(id_):
            return Buried()
        state["ids"].append(id_)
        effects = Effects(tuple(self._calls(state, key, id_)))
        if self.does.timers and rng.random() < 0.3:
            effects = effects._replace(timers=self._timers(state, key))
        if self.does.posts and rng.random() < 0.3:
            effects = effects._replace(posts=self._posts(state, key))
        if self.does.common and rng.random() < 0.2:
            effects = effects._replace(states=await self._shared_state(store, state, id_))
        if self.does.within and rng.random() < 0.2:
            state["own"].append([id_, "within"])
            effects = effects._replace(within=await self._within(store, key, id_))
        if self.does.sql and rng.random() < 0.2:
            state["own"].append([id_, "sql"])
            effects = effects._replace(sql=(Sql(OWN, (key, id_, "sql")),))
        return effects._replace(state=json.dumps(state).encode())

    def _is_buried(self, id_: int) -> bool:
        chosen = self.does.letters and crc32(b"bury %d" % id_) % 12 == 0
        return chosen and not self.is_calm and id_ not in self.replayed

    def decide(self, id_: int) -> str:
        """Return what operators do with this update, if it is a dead letter: "discard" or "replay"."""
        if crc32(b"discard %d" % id_) % 3 == 0:
            self.discarded.add(id_)
            return "discard"
        self.replayed.add(id_)
        return "replay"

    def _calls(self, state: Any, key: str, id_: int) -> list[Call]:
        calls = []
        for to in sorted({key, CHATS[crc32(f"{key} {id_}".encode()) % len(CHATS)]}):
            mine = state["calls"].setdefault(to, [])
            mine.append(f"{key} {len(mine) + 1} {id_} {self._rng.getrandbits(32)}")
            calls.append(Call(to, mine[-1].encode()))
        return calls

    def _timers(self, state: Any, key: str) -> tuple[Timer, ...]:
        name = self._rng.choice(_NAMES)
        if name in state["timers"] and self._rng.random() < 0.3:
            del state["timers"][name]
            return (Timer(name, None),)
        state["set"] += 1
        after_s = self._rng.choice((0.0, 0.1, 5.0)) * self._rng.random()
        token = f"{key} {state['set']} {self._rng.getrandbits(32)}"
        state["timers"][name] = token
        return (Timer(name, after_s, f"timer {self._wall() + after_s} {name} {token}".encode()),)

    def _posts(self, state: Any, key: str) -> tuple[Post, ...]:
        posts = []
        for to in self._rng.sample(CHATS, self._rng.choice((1, 2))):
            number = state["posts"][to] = state["posts"].get(to, 0) + 1
            after_s = 3.0 * self._rng.random() if number % 4 == 0 else 0.0
            posts.append(Post(to, SCOPE, f"post {self._wall() + after_s} {key} {number}".encode(), after_s))
        return tuple(posts)

    def outside_post(self, source: str, number: int) -> tuple[Post, str]:
        """Return a post of another source, and what it is known by."""
        to = self._rng.choice(CHATS)
        after_s = 2.0 * self._rng.random() if number % 3 == 0 else 0.0
        body = f"post {self._wall() + after_s} {source} {number}".encode()
        return Post(to, SCOPE, body, after_s), f"{to} {source} {number}"

    def _take_timer(self, state: Any, body: str) -> None:
        kind, due, name, token = body.split(" ", 3)
        if self._wall() < float(due) - 1e-6:
            self._fail(f"delivered before its time: {body}")
        if kind == "post":
            state["got"].setdefault(name, []).append(int(token))
        elif state["timers"].get(name) != token:
            state["wrong"].append(f"delivered, and not set any more: {body}")
        else:
            del state["timers"][name]

    async def _shared_state(self, store: PostgresStore, state: Any, id_: int) -> tuple[StateChange, ...]:
        """Look at a state of another lane, and perhaps change it."""
        key, scope = self._rng.choice(_COMMON)
        was = await store.state(key, scope)
        known = json.loads(was or b"[]")
        if len(known) < (before := state["looked"].get(key, 0)):
            state["wrong"].append(f"{key} had {before} entries, and has {len(known)}")
        state["looked"][key] = len(known)
        if self._rng.random() < 0.5:
            return ()
        state["common"].append([key, id_])
        state["looked"][key] += 1
        return (StateChange(key, scope, was, json.dumps([*known, id_]).encode()),)

    async def _within(self, store: PostgresStore, key: str, id_: int) -> Any:
        async with (within := store.transaction()):
            await within.execute(OWN, key, id_, "within")
            for each in self._rng.sample(_TOTALS, 2):
                await within.execute(TOTAL, each)
        return within

    # -- judging ---------------------------------------------------------------------------------------------------------

    def lost(self, tables: Tables, said: dict[str, list[int]]) -> int:
        """Return how many updates were neither handled nor discarded."""
        handled = {id_ for key in CHATS for id_ in _state(tables, key)["ids"]}
        return len({id_ for ids in said.values() for id_ in ids} - handled - self.discarded)

    def judge(
        self, tables: Tables, said: dict[str, list[int]], sent: dict[str, list[str]], *, is_whole: bool
    ) -> list[str]:
        """Return what was not kept. `is_whole`: nothing was rolled back."""
        wrong: list[str] = []
        states = {key: _state(tables, key) for key in CHATS}
        for key, state in states.items():
            wrong += [f"{key}: {each}" for each in state["wrong"]]
            wrong += self._judge_updates(key, state["ids"], said[key], is_whole=is_whole)
            if state["timers"]:
                wrong.append(f"{key}: timers were lost: {state['timers']}")
            for to, calls in state["calls"].items():
                wanted = set(calls)
                firsts = [body for body in dict.fromkeys(sent[to]) if body in wanted]
                if firsts != calls:
                    wrong.append(f"{key} to {to}: sent {firsts} instead of {calls}")
            own = [list(row[1:]) for row in tables.rows["own"].values() if row[0] == key]
            if own != state["own"]:
                wrong.append(f"{key}: rows {own} instead of {state['own']}")
            for to, count in state["posts"].items():
                got = states[to]["got"].get(key, [])
                if sorted(got) != list(range(1, count + 1)):
                    wrong.append(f"{key} to {to}: {count} posted, and delivered: {got}")
                at_once = [number for number in got if number % 4]
                if at_once != sorted(at_once):
                    wrong.append(f"{key} to {to}: posts in the order {got}")
        return wrong + self._judge_common(tables, states) + self._judge_outside(states, is_whole=is_whole)

    def _judge_updates(self, key: str, ids: list[int], said: list[int], *, is_whole: bool) -> list[str]:
        wrong = []
        once = [id_ for id_ in ids if id_ not in self.replayed]
        if len(set(ids)) < len(ids) or once != sorted(once):
            wrong.append(f"{key}: handled twice, or out of order: {ids}")
        missing = set(said) - self.discarded - set(ids)
        if is_whole and missing:
            wrong.append(f"{key}: not handled: {sorted(missing)}")
        if is_whole and (both := self.discarded & set(ids)):
            wrong.append(f"{key}: discarded and handled: {both}")
        return wrong

    def _judge_common(self, tables: Tables, states: dict[str, Any]) -> list[str]:
        wrong = []
        for name in _COMMON:
            row = tables.rows["state"].get(name)
            found = sorted(json.loads(row[2])) if row else []
            wanted = sorted(id_ for state in states.values() for of, id_ in state["common"] if of == name[0])
            if found != wanted:
                wrong.append(f"{name}: {found} instead of {wanted}")
        count = sum(how == "within" for state in states.values() for _, how in state["own"])
        totals = {key: tables.rows["total"].get(key, (0,))[0] for key in _TOTALS}
        if set(totals.values()) != {count}:
            wrong.append(f"{totals} instead of {count}")
        return wrong

    def _judge_outside(self, states: dict[str, Any], *, is_whole: bool) -> list[str]:
        wrong = []
        got: Counter[str] = Counter()
        at_once: dict[tuple[str, str], list[int]] = defaultdict(list)
        for to, state in states.items():
            for source, numbers in state["got"].items():
                if source not in states:
                    got.update(f"{to} {source} {number}" for number in numbers)
                    at_once[to, source] = [number for number in numbers if number % 3]
        wrong += [f"post {each}: delivered {count} times" for each, count in got.items() if count > 1]
        if is_whole:
            lost = [each for each, is_sure in self.posted.items() if is_sure and not got[each]]
            wrong += [f"post {each}: lost" for each in lost]
        for (to, source), numbers in at_once.items():
            if numbers != sorted(numbers):
                wrong.append(f"{source} to {to}: posts in the order {numbers}")
        return wrong


def _state(tables: Tables, key: str) -> Any:
    row = tables.rows["state"].get((key, SCOPE))
    return json.loads(row[2] if row else _EMPTY)
