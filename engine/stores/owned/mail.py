"""Mail between the sessions of a store: what concerns a lane that another session owns.

Mail are rows that are written in the transaction that causes them, and that the owner of the lane's share files, in the order
of their numbers, in a transaction that deletes them. A bell tells sessions that there may be some; a regular look finds
what it missed.

| mail      | written by                                   | filed by the owner                                   |
|-----------|----------------------------------------------|------------------------------------------------------|
| `arrived` | who appends an update (its row is in the inbox) | put into its lane, unless that is full             |
| `alias`   | who appends an alias                         | noted, before what arrives for it                    |
| `call`    | a commit of another lane                     | put on the outbox                                    |
| `post`    | a commit of another lane, or another process | set as a timer                                       |
| `state`   | a commit of another lane                     | read anew: it is cached no longer                    |
| `replay`, `discard`, `hold`, `unhold` | an operator      | done                                                 |

The order of a lane's calls to another lane, and of what arrives, holds when shares move: after a share was taken, calls to other
lanes and updates go by mail, also to this session's own, until all mail of before is filed (`_by_mail`, `_arrives_by_mail`).
A call's id is given when it is filed. Who gets the right to append files what the former one has appended for it before it appends.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from engine.embedded.at_hand import Name
from engine.embedded.lane import Lane
from engine.errors import StateChanged, StoreUnavailable, TooManyTimers
from engine.model import TIMER_IDS, Call, Delivery, Effects, Envelope, Post, Queue
from engine.store import ALL_LANES, ID_MASK
from engine.stores.owned.group import Group, Row
from engine.stores.owned.reads import Read
from engine.stores.owned.store import OwnedStore
from engine.stores.owned.timers import Changes

if TYPE_CHECKING:
    from engine.stores.owned.shares import Shares


log = structlog.get_logger(__name__)


class Mail(NamedTuple):
    """A row of mail; `key` is that of the lane, the rest depends on the kind (the table above). For an update, from its row."""

    n: int
    kind: str
    key: str
    scope: str
    place: int
    at: float
    body: bytes


_REQUESTS: Final = {"replay", "discard", "hold", "unhold"}
_KINDS: Final = {"arrived", "alias", "call", "post", "state", *_REQUESTS}
"""Other kinds are of a later version, and wait for a process that knows them."""

_MAIL_MAX: Final = 500  # per reading, so that other requests do not wait long
_AGAIN_S: Final = 0.5  # pause before a request of an operator is tried again


class MailingStore(OwnedStore):
    """A store with one session of several: effects on lanes of other sessions, and what they want of this one's lanes."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._shares: Shares  # of `_loaded`
        self._by_mail = True  # calls and posts to other lanes
        self._arrives_by_mail = False  # what is appended, also for lanes of this session
        self._filing = asyncio.Lock()
        self._mailed = 0  # how many were mailed by this session
        self._refused: set[int] = set()  # mail with posts for which there was no room
        self._requests: deque[Mail] = deque()  # of operators, that are filed and not done
        self._fulfilling: asyncio.Task[None] | None = None

    # -- effects -------------------------------------------------------------------------------------------------------

    async def commit(self, delivery: Delivery, effects: Effects, *, more: bool) -> Delivery | None:
        far = [name for name in self._new_states(delivery, effects) if self._is_far(name[0])]
        try:
            return await super().commit(delivery, effects, more=more)
        except StateChanged:  # by another session: what is cached may be outdated
            for name, _ in self._former_states(delivery, effects):
                self._states.drop(name)
            raise
        finally:  # others change them, and this session may own their lane by now
            for name in far:
                self._states.drop(name)

    async def state(self, key: str, scope: str) -> bytes | None:
        name = (self._aliases.lane(key), scope)
        if not self._is_far(name[0]):
            return await super().state(key, scope)
        self._states.drop(name)
        try:
            return await super().state(key, scope)
        finally:
            self._states.drop(name)

    def _set_states(
        self,
        group: Group,
        lane: Lane,
        states: Mapping[Name, bytes | None],
        was: Iterable[tuple[Name, bytes | None]],
    ) -> None:
        super()._set_states(group, lane, states, was)
        for name, before in was:
            group.expect_state(*name, before)
        self._mail(group, [("state", key, scope, 0, 0.0, b"") for key, scope in states if self._is_far(key)])

    def _goes_by_mail(self, key: str, of: str) -> bool:
        return key != of and (self._by_mail or not self._shares.owns(key))

    def _send(self, group: Group, calls: tuple[Call, ...], of: str) -> list[Envelope]:
        lane_of = self._aliases.lane
        at = self._wall()
        mailed = [call for call in calls if self._goes_by_mail(lane_of(call.key), of)]
        self._mail(group, [("call", lane_of(call.key), "", 0, at, call.body) for call in mailed])
        if mailed:
            calls = tuple(call for call in calls if not self._goes_by_mail(lane_of(call.key), of))
        return super()._send(group, calls, of)

    def _sent(self, calls: list[Envelope]) -> None:
        super()._sent([call for call in calls if self._shares.owns(call.key)])

    def _post(self, group: Group, posts: Sequence[Post], of: str = "") -> Changes:
        now = self._clock()
        mailed = [post for post in posts if self._goes_by_mail(post.key, of)]
        self._mail(
            group, [("post", key, scope, 0, now + after_s, body) for key, scope, body, after_s in mailed]
        )
        if mailed:
            posts = [post for post in posts if not self._goes_by_mail(post.key, of)]
        return super()._post(group, posts, of)

    def _mail(self, group: Group, rows: Sequence[Row]) -> None:
        if rows:
            group.insert("mail", *rows)
            self._mailed += len(rows)

    def _is_far(self, key: str) -> bool:
        return key != ALL_LANES and not self._shares.owns(key)

    async def _ask_owner(
        self, what: str, key: str, number: int = 0, scope: str = "", body: bytes = b""
    ) -> bool:
        self._mail(self._writer.group(), [(what, key, scope, number, 0.0, body)])
        await self._writer.done(lambda: None)
        return True

    # -- mail ----------------------------------------------------------------------------------------------------------

    async def _file_mail(self) -> None:
        """File all mail that is there."""
        async with self._filing:
            await self._file_all()

    async def _file_all(self) -> None:
        while True:
            mailed = self._mailed
            everything = self._by_mail or bool(self._refused)
            filing = await self._writer.read_rows(Read.MAIL, (_MAIL_MAX, everything), self._file)
            if filing:
                for outcome in await asyncio.gather(*filing, return_exceptions=True):
                    if isinstance(outcome, BaseException) and not isinstance(outcome, TooManyTimers):
                        raise outcome
            elif mailed == self._mailed:
                self._by_mail = self._arrives_by_mail = False
                return

    async def settle_mail(self) -> None:
        """File all mail, and do what operators have asked in it."""
        await self._file_mail()
        if self._fulfilling is not None:
            await asyncio.wait([self._fulfilling])

    def _file(self, rows: list[Row]) -> list["asyncio.Future[None]"]:
        """File mail in the moment in which it was read: a share that is given up later is so after what is written here."""
        mail = [Mail(*row) for row in rows]
        mail = [each for each in mail if each.kind in _KINDS and self._shares.owns(each.key)]
        if not mail:
            return []
        group = self._writer.group()
        posts = [each for each in mail if each.kind == "post"]
        for each in mail:
            if each.kind != "post":
                group.delete("mail", each.n)
            if each.kind == "state":
                self._states.drop((each.key, each.scope))
        calls = [
            Envelope(self._call_ids.next(), each.key, "", each.body, each.at)
            for each in mail
            if each.kind == "call"
        ]
        group.insert("outbox", *calls)

        def filed() -> None:
            self._aliases.add({each.scope: each.key for each in mail if each.kind == "alias"})
            self._arrive([each for each in mail if each.kind == "arrived"])
            self._sent(calls)
            self._requests += [each for each in mail if each.kind in _REQUESTS]
            if self._requests and (self._fulfilling is None or self._fulfilling.done()):
                self._fulfilling = asyncio.create_task(self._fulfil_all(), name="requests of operators")

        return [self._writer.done(filed), *map(self._file_post, posts)]

    def _arrive(self, mail: Sequence[Mail]) -> None:
        inbox = self._queues[Queue.INBOX]
        updates = []
        full = []
        for each in mail:
            if not self._shares.owns(each.key):
                continue
            envelope = Envelope(each.place & ID_MASK, each.key, each.scope, each.body, each.at)
            updates.append(envelope)
            if inbox.lanes.depth(each.key) < self._limits.lane_depth_max:
                inbox.add(each.place, envelope)
            else:
                full.append((each.place, envelope))
        for place, envelope in full:
            self._bury_full(place, envelope)
        if updates and self._arrived is not None:
            self._arrived(updates)

    def _bury_full(self, place: int, envelope: Envelope) -> None:
        group = self._writer.group()
        group.delete("inbox", place)
        number = self._letters.bury(group, Queue.INBOX, envelope, 0, "lane full", at=self._wall())

        def buried() -> None:
            self._queues[Queue.INBOX].lanes.appended += 1
            self._letters.lane_full(envelope.key, number)

        self._writer.done(buried).add_done_callback(lambda done: done.cancelled() or done.exception())

    def _file_post(self, mail: Mail) -> "asyncio.Future[None]":
        group = self._writer.group()
        group.delete("mail", mail.n)
        if mail.n in self._refused:
            self._refused.discard(mail.n)
            lanes = self._queues[Queue.INBOX].lanes
            envelope = Envelope(TIMER_IDS + mail.n, mail.key, mail.scope, mail.body, mail.at)
            why = "the lane has too many timers"
            number = self._letters.bury(group, Queue.INBOX, envelope, 0, why, at=self._wall())

            def buried() -> None:
                lanes.appended += 1
                self._letters.buried(Queue.INBOX, mail.key, number)

            return self._writer.done(buried)
        post = Post(mail.key, mail.scope, mail.body, max(0.0, mail.at - self._clock()))
        changes = super()._post(group, (post,))
        filing = self._writer.done(lambda: self._timers.apply(changes))
        filing.add_done_callback(lambda done: self._note_refused(mail.n, done))
        return filing

    def _note_refused(self, n: int, filing: "asyncio.Future[None]") -> None:
        if not filing.cancelled() and isinstance(filing.exception(), TooManyTimers):
            self._refused.add(n)

    async def _fulfil_all(self) -> None:
        """Do what operators have asked of another session, in this order: a lane is held, then no longer."""
        while self._requests and self._ended is None:
            try:
                await self._fulfil(self._requests[0])
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            except Exception:
                log.exception("unexpected error in a request of an operator", request=self._requests[0].kind)
            self._requests.popleft()

    async def _fulfil(self, request: Mail) -> None:
        match request.kind:
            case "replay":
                await self.replay(request.place)
            case "discard":
                await self.discard(request.place)
            case "hold":
                await self.hold(Queue(request.scope), request.key, request.body.decode())
            case _:
                await self.unhold(Queue(request.scope), request.key)
