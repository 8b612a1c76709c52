"""The server dies, and its standby becomes the server: without loss if that is synchronous; else with a loss that is shown.

Each round makes a new standby (pg_basebackup), kills the server and promotes the standby; the address that the processes know
leads to it then. A synchronous standby has each commit before anyone learns of it. An asynchronous one is behind by what it
had not received when the server died: here all of the last moments, since what sends it is stopped before.
"""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from telegram.load.checkers.checker import BotReply, SentText, Verdict
from tests.kit.database import Server
from tests.torture.pg_stage import PER_S, Fleet, open_fleet
from tests.torture.report import Plan, Result, Tell

if TYPE_CHECKING:
    from telegram.load.bot.evidence import Evidence

_RUNS_S: Final = (0.5, 1.5)
_BEHIND_S: Final = (0.05, 0.4)
_WITHIN_S: Final = 30.0
_SETTLED_S: Final = 5.0
_NOTICED_S: Final = 5.0
"""From a promotion until a process that misses updates has noticed."""

_SYNCHRONOUS: Final = "ALTER SYSTEM SET synchronous_standby_names = '*'"
_STATE: Final = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = $1"
_SENDERS: Final = "SELECT array_agg(pid) FROM pg_stat_replication"


async def synchronous(plan: Plan, tell: Tell) -> Result:
    """Three failovers for ten rounds: no confirmed update is lost, none is swapped or committed twice."""
    began = time.monotonic()
    async with open_fleet(plan, tell, processes=3) as fleet:
        await fleet.sql(
            _be_synchronous
        )  # also the standbys, which copy that: no commit counts without the next one
        await _new_standby(fleet)
        async with fleet.stage.trickle(PER_S):
            for number in range(plan.rounds * 3 // 10):
                await _until_streaming(fleet, "sync")
                await asyncio.sleep(fleet.stage.rng.uniform(*_RUNS_S))
                at = time.time()
                await asyncio.to_thread(fleet.server.stop, signal.SIGKILL)
                await _promote(fleet)
                await asyncio.sleep(fleet.stage.rng.uniform(0, 1.0))
                await _new_standby(fleet)
                fleet.facts["failovers"] += 1
                if not await fleet.recovered(at):
                    fleet.failures.append(f"not recovered from failover {number + 1}")
                    break
                tell(f"{number + 1} failovers, the last one over {fleet.recoveries_s[-1]:.1f} s later")
        return await fleet.end("postgres-failover", began)


async def asynchronous(plan: Plan, tell: Tell) -> Result:
    """A failover for ten rounds: what is lost is counted, and between two failovers all is in order."""
    began = time.monotonic()
    eras = []
    async with open_fleet(plan, tell, processes=3) as fleet:
        async with fleet.stage.trickle(PER_S):
            for number in range(max(1, plan.rounds // 10)):
                await _new_standby(fleet)
                await _until_streaming(fleet, "async")
                await asyncio.sleep(fleet.stage.rng.uniform(*_RUNS_S))
                senders = await fleet.value(_SENDERS)
                for pid in senders:
                    os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(fleet.stage.rng.uniform(*_BEHIND_S))
                at = time.time()
                for pid in senders:
                    os.kill(pid, signal.SIGKILL)
                await asyncio.to_thread(fleet.server.stop, signal.SIGKILL)
                eras.append(time.time())
                await _promote(fleet)
                fleet.facts["failovers"] += 1
                await _note_ended(fleet)
                if not await fleet.recovered(at):
                    fleet.failures.append(f"not recovered from failover {number + 1}")
                    break
                tell(f"{number + 1} failovers, the last one over {fleet.recoveries_s[-1]:.1f} s later")
        await asyncio.sleep(_SETTLED_S)
        await fleet.stop()
        lost = judge(fleet.stage.sent, fleet.stage.replies(), eras)
    facts = {
        **fleet.facts,
        "confirmed updates without an answer": lost.unanswered,
        "commits lost, of which the answer was sent": lost.commits,
        "updates of them handled again, with another answer": lost.again,
        **fleet.facts_of_recoveries(),
    }
    replies = len(fleet.stage.replies())
    verdict = Verdict(len(fleet.stage.sent), replies, lost.repeated, 0, ())
    failures = [*fleet.failures, *lost.wrong]
    return Result("postgres-failover-async", verdict, time.monotonic() - began, facts, failures)


class Lost(NamedTuple):
    """What failovers have cost, and what is `wrong` even so."""

    unanswered: int
    commits: int
    again: int
    repeated: int
    wrong: list[str]


def judge(sent: Sequence[SentText], replies: Sequence[BotReply], eras: Sequence[float]) -> Lost:
    """Return what was lost; `eras`: when a server began that may lack what the former one had.

    Within an era each chat's updates are answered in order, each with one evidence only.
    """
    wrong = []
    answered: dict[int, set[Evidence]] = defaultdict(set)
    in_era: dict[tuple[int, int], list[Evidence]] = defaultdict(list)
    repeated = 0
    for reply in replies:
        era = sum(reply.at >= began for began in eras)
        if reply.evidence in answered[reply.evidence.update_id]:
            repeated += 1  # sent again
            continue
        answered[reply.evidence.update_id].add(reply.evidence)
        in_era[reply.chat_id, era].append(reply.evidence)
    for (chat, era), evidences in in_era.items():
        ids = [each.update_id for each in evidences]
        if ids != sorted(set(ids)):
            wrong.append(f"chat {chat}, after failover {era}: out of order or twice: {ids[:20]}")
    unanswered = sum(line.update_id not in answered for line in sent)
    again = sum(len(each) - 1 for each in answered.values())
    counts: dict[int, list[int]] = defaultdict(list)
    for (chat, _), evidences in sorted(in_era.items()):
        counts[chat] += [each.counted for each in evidences]
    commits = sum(len(each) - each[-1] for each in counts.values())
    return Lost(unanswered, commits, again, repeated, wrong)


async def _be_synchronous(connection: Any) -> None:
    await connection.execute(_SYNCHRONOUS)
    await connection.execute("SELECT pg_reload_conf()")


async def _new_standby(fleet: Fleet) -> None:
    fleet.standby = await asyncio.to_thread(lambda: Server(of=fleet.server, follows=True))


async def _until_streaming(fleet: Fleet, state: str) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while not await fleet.value(_STATE, state):
            await asyncio.sleep(0.02)


async def _promote(fleet: Fleet) -> None:
    """Let the standby be the server; the former one is gone."""
    former, standby = fleet.server, fleet.standby
    if standby is None:
        raise RuntimeError("there is no standby")
    fleet.server, fleet.standby = standby, former
    await fleet.value("SELECT pg_promote()")
    fleet.moved_to(standby)
    await asyncio.to_thread(former.remove)
    fleet.standby = None


async def _note_ended(fleet: Fleet) -> None:
    """Start processes that have noticed the loss, and ended, as a person does; the others go on."""
    give_up = time.monotonic() + _NOTICED_S
    while time.monotonic() < give_up:
        for _, line in await fleet.start_ended():
            if "has lost updates that it had" not in line:
                fleet.failures.append(f"a process has ended: {line}")
            fleet.facts["processes that ended, and said that updates are lost"] += 1
        await asyncio.sleep(0.1)
