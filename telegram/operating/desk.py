"""The actions by name, as the page, the socket and the command line ask for them.

`ask` checks the parameters and the role, records what changes or shows something (audit.py), and bounds the time. Reading
without texts is not recorded.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from engine import Queue, StoreError, StoreUnavailable
from telegram.operating.audit import AuditLog, Who
from telegram.operating.letters import HASH_LENGTH, Json
from telegram.operating.operating import Operating

log = structlog.get_logger(__name__)

TIME_S: Final = 10.0
LETTERS_MAX: Final = 1_000
_Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
_Hash = Annotated[str, Field(pattern=f"^[0-9a-f]{{{HASH_LENGTH}}}$")]


def _printable(key: str) -> str:
    if not key.isprintable():
        raise ValueError("a key has printable characters only")
    return key


_Key = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]


class NotAllowed(Exception):  # noqa: N818 - an answer
    """The role may not do this, or a number of letters was not confirmed."""


def read_params(body: bytes) -> dict[str, Any]:
    """Return parameters from JSON; ValueError of one line."""
    try:
        params = json.loads(body)
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise ValueError("the parameters are no JSON object")  # noqa: TRY004 - text of a stranger
    return params


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Nothing(_Model):
    pass


class _Lanes(_Model):
    queue: Queue = Queue.INBOX
    by: Literal["age", "depth"] = "age"
    limit: int = Field(default=50, ge=1, le=200)


class _Page(_Model):
    limit: int = Field(default=50, ge=1, le=1000)
    below: _Number | None = None


class _Number1(_Model):
    number: _Number


class _Since(_Model):
    since: int = Field(default=0, ge=0)


class _Live(_Lanes):
    since: int = Field(default=0, ge=0)


class _Limit(_Model):
    limit: int = Field(default=50, ge=1, le=500)


class Letter(_Model):
    """A dead letter by its number and the hash of what it contains."""

    number: _Number
    hash: _Hash


class _Letters(_Model):
    letters: list[Letter] = Field(min_length=1, max_length=LETTERS_MAX)
    confirm: int | None = None


class _ByNumber(_Model):
    numbers: list[_Number] = Field(min_length=1, max_length=LETTERS_MAX)


class _Lane(_Model):
    queue: Queue = Queue.INBOX
    key: _Key


class _Queue(_Model):
    queue: Queue = Queue.OUTBOX


class Action(NamedTuple):
    """`changes`: something, so that a reader may not; `is_noted`: in the audit log."""

    params: type[_Model]
    run: Callable[[Any, Who], Awaitable[Json]]
    changes: bool
    is_noted: bool


class Desk:
    """What one bot's operators may ask for."""

    def __init__(self, operating: Operating, audit: AuditLog, *, logs: bool = False) -> None:
        """`logs`: what is recorded is a line of the bot's log, too."""
        self._operating = operating
        self._logs = logs
        self.audit = audit
        reads: dict[str, tuple[type[_Model], Callable[[Any, Who], Awaitable[Json]]]] = {
            "stats": (_Nothing, lambda _, __: operating.stats()),
            "lanes": (_Lanes, lambda asked, _: operating.lanes(asked.queue, asked.by, asked.limit)),
            "running": (_Nothing, lambda _, __: operating.running()),
            "dead": (_Page, lambda asked, _: operating.dead(asked.limit, asked.below)),
            "samples": (_Since, self._samples),
            "live": (_Live, self._live),
            "audit": (_Limit, self._tail),
            "invariants": (_Nothing, lambda _, __: operating.invariants()),
        }
        shows: dict[str, tuple[type[_Model], Callable[[Any, Who], Awaitable[Json]]]] = {
            "letter": (_Number1, lambda asked, _: operating.letter(asked.number)),
            "texts": (_Page, lambda asked, _: operating.dead(asked.limit, asked.below, texts=True)),
        }
        writes: dict[str, tuple[type[_Model], Callable[[Any, Who], Awaitable[Json]]]] = {
            "replay": (_Letters, self._replay),
            "replay-numbers": (_ByNumber, self._replay_numbers),
            "discard": (_Letters, self._discard),
            "park": (
                _Lane,
                lambda asked, who: _result(operating.park(asked.queue, asked.key, f"parked by {who.name}")),
            ),
            "release": (_Lane, lambda asked, _: _result(operating.release(asked.queue, asked.key))),
            "pause": (
                _Queue,
                lambda asked, who: _result(operating.pause(asked.queue, f"paused by {who.name}")),
            ),
            "resume": (_Queue, lambda asked, _: _result(operating.resume(asked.queue))),
            "drain": (_Nothing, lambda _, __: _result(operating.drain())),
        }
        self.actions: Mapping[str, Action] = {
            **{name: Action(*each, changes=False, is_noted=False) for name, each in reads.items()},
            **{name: Action(*each, changes=False, is_noted=True) for name, each in shows.items()},
            **{name: Action(*each, changes=True, is_noted=True) for name, each in writes.items()},
        }

    async def ask(self, name: str, params: Mapping[str, Any], who: Who) -> Json:
        """Do it, and return the answer.

        KeyError for an unknown name, ValueError for wrong parameters, NotAllowed, StoreUnavailable (AuditFailed: nothing was
        done).
        """
        action = self.actions[name]
        try:
            asked = action.params.model_validate(params)
        except ValidationError as error:
            raise ValueError(_one_line(error)) from None
        about = asked.model_dump(mode="json", exclude={"confirm"})
        if not action.is_noted:
            return await _done(action.run(asked, who))
        if action.changes and not who.may_write:
            await self.audit.note(who, name, about, "refused: this role may only look")
            raise NotAllowed("this role may only look")
        if isinstance(asked, _Letters) and len(asked.letters) > 1 and asked.confirm != len(asked.letters):
            raise NotAllowed(f"confirm {len(asked.letters)} letters: nothing was done")
        await self.audit.note(who, name, about, "begun")
        try:
            answer = await _done(action.run(asked, who))
        except StoreUnavailable as error:
            await self._note_result(who, name, about, f"failed: {error}")
            raise
        result = str(answer.get("result", "shown"))
        await self._note_result(who, name, about, result)
        if self._logs:
            log.info("operator", who=who.name, what=name, result=result)
        return answer

    async def _note_result(self, who: Who, name: str, about: Json, result: str) -> None:
        try:
            await self.audit.note(who, name, about, result)
        except StoreUnavailable as error:  # it is done, and the line before says that it was begun
            log.warning("the result of an operator's action is not recorded", what=name, reason=str(error))

    # -- parts of the actions ------------------------------------------------------------------------------------

    async def _samples(self, asked: _Since, _: Who) -> Json:
        return self._operating.samples(asked.since)

    async def _live(self, asked: _Live, _: Who) -> Json:
        operating = self._operating
        return {
            "stats": await operating.stats(),
            "lanes": await operating.lanes(asked.queue, asked.by, asked.limit),
            "running": await operating.running(),
            **operating.samples(asked.since),
        }

    async def _tail(self, asked: _Limit, _: Who) -> Json:
        return {"entries": await self.audit.tail(asked.limit)}

    async def _replay(self, asked: _Letters, _: Who) -> Json:
        return results_of(
            {each.number: await self._operating.replay(each.number, each.hash) for each in asked.letters}
        )

    async def _replay_numbers(self, asked: _ByNumber, _: Who) -> Json:
        return results_of({number: await self._operating.replay(number, None) for number in asked.numbers})

    async def _discard(self, asked: _Letters, _: Who) -> Json:
        return results_of(
            {each.number: await self._operating.discard(each.number, each.hash) for each in asked.letters}
        )


async def _done(work: Awaitable[Json]) -> Json:
    try:
        async with asyncio.timeout(TIME_S):
            return await work
    except TimeoutError:
        raise StoreUnavailable("the store does not answer in time") from None
    except StoreError as error:  # it is lost: a person has to do something
        raise StoreUnavailable(str(error)) from None


async def _result(done: Awaitable[str]) -> Json:
    return {"result": await done}


def results_of(by_number: Mapping[Any, str]) -> Json:
    """Return the answer for several letters: the result of each by its number, and how many have which."""
    counts: dict[str, int] = {}
    for result in by_number.values():
        counts[result] = counts.get(result, 0) + 1
    return {
        "result": ", ".join(f"{number} {result}" for result, number in counts.items()),
        "letters": {str(number): result for number, result in by_number.items()},
    }


def _one_line(error: ValidationError) -> str:
    wrong = [
        f"{'.'.join(map(str, each['loc'])) or 'the parameters'}: {each['msg']}" for each in error.errors()[:5]
    ]
    return "; ".join(wrong)
