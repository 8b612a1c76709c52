"""The desk of a page at one of several processes of a bot: it answers for all of them.

Each process knows its own lanes. What looks is asked of all, through the database (engine/stores/postgres/tools/desk.py), and the
answers are merged; what parks or releases is noted in the store and sent to each. Without the others a look shows this process.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from engine import StoreError, StoreUnavailable
from telegram.operating.audit import AuditLog, Who
from telegram.operating.database import ASKED_OF_ALL, DONE_BY_ALL, is_meant, merged
from telegram.operating.desk import Desk, NotAllowed
from telegram.operating.letters import Json
from telegram.operating.operating import Operating

if TYPE_CHECKING:
    from engine.stores.postgres.tools.desk import Answered, Operators

log = structlog.get_logger(__name__)

_LOOK_S: Final = 2.0
_DO_S: Final = 10.0


class SharedDesk(Desk):
    """`process` is the name under which this process answers. To be entered."""

    def __init__(
        self, operating: Operating, audit: AuditLog, *, store_url: str, bot: str, process: str
    ) -> None:
        super().__init__(operating, audit, logs=True)
        self._url = store_url
        self._bot = bot
        self._process = process
        self._operators: Operators | None = None
        self._one_at_a_time = asyncio.Lock()  # a connection does one thing at a time

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()

    async def ask(self, name: str, params: Mapping[str, Any], who: Who) -> Json:
        """See Desk. `drain` has a further parameter, `process`: the one to drain, else this one."""
        params = dict(params)
        target = params.pop("process", None) if name == "drain" else None
        if isinstance(target, str) and not is_meant(self._process, target) and who.may_write:
            return await self._drain(target, who)
        answer = await super().ask(name, params, who)
        if name in DONE_BY_ALL:
            return merged(name, params, [answer, *await self._done_by_others(name, params, who)])
        if name in ASKED_OF_ALL:
            try:
                others = await self._ask_others(name, params, who, _LOOK_S)
            except StoreUnavailable as error:
                log.debug("other processes cannot be asked", reason=str(error))
                return answer
            good = [json.loads(each.body) for each in others.values() if each.status == 200]
            return merged(name, params, [answer, *good])
        return answer

    async def _done_by_others(self, name: str, params: Json, who: Who) -> list[Json]:
        others = await self._ask_others(name, params, who, _DO_S)
        if wrong := [each.body for each in others.values() if each.status != 200]:
            raise StoreUnavailable(f"it is noted, but not everywhere in force ({wrong[0]}): repeat it")
        return [json.loads(each.body) for each in others.values()]

    async def _drain(self, target: str, who: Who) -> Json:
        answers = await self._ask_others("drain", {}, who, _DO_S, target)
        if len(answers) != 1:
            raise NotAllowed("there is no such process")
        (answer,) = answers.values()
        if answer.status != 200:
            raise StoreUnavailable(answer.body)
        done: Json = json.loads(answer.body)
        return done

    async def _ask_others(
        self, name: str, params: Json, who: Who, wait_s: float, target: str = ""
    ) -> "Mapping[str, Answered]":
        """Return the answers of the other processes; StoreUnavailable if one of them is silent, or they cannot be reached."""
        async with self._one_at_a_time:
            try:
                operators = self._operators or await self._connect()
                listed = await operators.processes()
                others = [each for each in listed if each != self._process]
                if target:
                    others = [each for each in others if is_meant(each, target)]
                answers = (
                    await operators.ask(others, name, json.dumps(params), who.name, wait_s) if others else {}
                )
            except (StoreError, StoreUnavailable) as error:
                await self._disconnect()
                raise StoreUnavailable(str(error)) from None
            except BaseException:  # cut off: the connection may be in the middle of something
                await self._disconnect()
                raise
        if name in DONE_BY_ALL and len(answers) < len(others):
            silent = ", ".join(each.partition("#")[0] for each in others if each not in answers)
            raise StoreUnavailable(f"it is noted, but {silent} did not answer: repeat it")
        return answers

    async def _connect(self) -> "Operators":
        from engine.stores.postgres.tools.desk import Operators  # late: its driver is optional

        self._operators = await Operators(self._url, self._bot).__aenter__()
        return self._operators

    async def _disconnect(self) -> None:
        operators, self._operators = self._operators, None
        if operators is not None:
            await operators.__aexit__()
