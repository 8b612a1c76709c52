"""Evaluates a finished load test: runs both checkers and puts all results into a Recording."""

import json
import os
import platform
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from engine import DeadLetter, Queue
from engine.stores import open_store
from telegram.load.checkers import handlings
from telegram.load.checkers.checker import Anomaly
from telegram.load.checkers.handlings import SHOWN_MAX
from telegram.load.checkers.recording import ChatClass, FaultMark, Handling, Lane, Recording
from telegram.load.workload.load_test import LoadTest
from telegram.load.workload.simulated_users import SimulatedUsers
from telegram.service.secrecy import without_password
from telegram.settings.load_test import Load

_LANES: Final = 14
_LANE_HANDLINGS_MAX: Final = 5_000  # of one chat
_LETTERS_MAX: Final = 100_000  # engine.Limits
_LANE_FULL: Final = "lane full"  # allowed: engine.Limits.lane_depth_max
BY_REPLIES: Final = ("committed twice", "skipped", "forgotten", "sent twice")
_UNTAKEN_MAX: Final = 0.5
"""Maximum share of updates without a handler; a test with more of them is meaningless."""

_LIBRARIES: Final = ("aiohttp", "pydantic", "uvloop")
_NS: Final = 1_000_000_000


async def dead_letters(store_url: str, token: str) -> list[DeadLetter]:
    """Return the dead letters of the bot, which must have ended; none for a store in memory."""
    if store_url == "memory:":
        return []
    store = await open_store(store_url, token.partition(":")[0])
    try:
        return await store.dead_letters(_LETTERS_MAX)
    finally:
        await store.close()


def conclude(test: LoadTest, letters: Sequence[DeadLetter], command: str) -> Recording:
    """Check a finished test; `letters`: the dead letters, `command`: the command line."""
    judge, replies = test.judge, test.replies
    given_up = test.given_up | {
        letter.envelope.id: letter.reason for letter in letters if letter.queue is Queue.INBOX
    }
    judge.finish(given_up, complete=test.is_complete)
    counted, first = judge.counts, [*judge.anomalies]
    kinds = [*handlings.KINDS]
    if replies is not None:
        replies.judge(judge.ledger, test.faults.interruptions, given_up, complete=test.is_complete)
        # An anomaly that both checkers find is counted once.
        first += [anomaly for anomaly in replies.anomalies if not judge.counts[anomaly.kind]]
        counted = judge.counts | replies.counts  # the larger of both
        kinds += BY_REPLIES
    own = _of_the_bot(test, given_up)
    counted += Counter(anomaly.kind for anomaly in own)
    kinds += ["given up", "exit"] if replies is not None else ["untaken", "exit"]
    return Recording(
        command=command,
        began_at=test.began_at,
        settings=_settings(test.options),
        versions=_versions(),
        took_s=round(test.took_s, 3),
        samples=tuple(test.samples),
        faults=tuple(_since(mark, test.began_ns) for mark in test.faults.marks),
        classes=tuple(_classes(test)),
        lanes=tuple(_lanes(test)),
        counts=_counts(test, given_up, letters),
        anomaly_kinds={kind: counted[kind] for kind in kinds},
        anomalies=tuple(_first_of_each(first + own)),
        is_complete=test.is_complete,
    )


def _settings(options: Load) -> dict[str, Any]:
    """Return the options, without the password of the store's URL."""
    settings = options.model_dump(mode="json", by_alias=True)
    return {**settings, "store": without_password(options.store)}


def as_json(recording: Recording) -> str:
    """Return a Recording as JSON; named tuples become objects."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return {name: plain(part) for name, part in value._asdict().items()}
        if isinstance(value, tuple | list):
            return [plain(part) for part in value]
        return value

    return json.dumps(plain(recording) | {"good": recording.is_good})


def save_json(recording: Recording, path: Path) -> None:
    """Write a Recording as JSON; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json(recording) + "\n")


def _of_the_bot(test: LoadTest, given_up: Mapping[int, str]) -> list[Anomaly]:
    """Return the anomalies that the checkers do not find."""
    found = []
    if test.died:
        found.append(Anomaly("exit", 0, f"the bot ended by itself: {test.died}"))
    untaken, sent = len(test.handler_events["untaken"]), test.judge.ledger.updates
    failed = sum(reason != _LANE_FULL for reason in given_up.values())
    if test.users is not None and untaken + failed > sent * _UNTAKEN_MAX:
        and_failed = f", and {failed:,} were given up" if failed else ""
        why = f"{untaken:,} of {sent:,} matched no handler{and_failed}: that tests nothing; see --script"
        found.append(Anomaly("untaken", 0, why))
    if test.exit_code:
        found.append(Anomaly("exit", 0, f"exit code {test.exit_code} after SIGTERM"))
    if test.replies is not None:
        chats = {
            update.update_id: update.chat_id
            for update in test.judge.ledger.all_updates()
            if update.update_id in given_up
        }
        found += [
            Anomaly("given up", chats.get(update_id, 0), f"update {update_id}: {reason}")
            for update_id, reason in given_up.items()
            if reason != _LANE_FULL
        ]
    return found


def _first_of_each(anomalies: Sequence[Anomaly]) -> list[Anomaly]:
    shown: Counter[str] = Counter()
    chosen = []
    for anomaly in anomalies:
        shown[anomaly.kind] += 1
        if shown[anomaly.kind] <= SHOWN_MAX:
            chosen.append(anomaly)
    return chosen


def _counts(test: LoadTest, given_up: Mapping[int, str], letters: Sequence[DeadLetter]) -> dict[str, int]:
    judge, faults = test.judge, test.faults
    counts = {
        "updates": judge.ledger.updates,
        "handled": judge.handled,
        "chats at once": judge.active_most,
    }
    if test.replies is None:
        counts["calls"] = test.calls
    else:
        counts["replies"] = test.replies.total
        counts["repeated replies (allowed)"] = test.replies.repeated
    if test.users is not None:
        counts |= _counts_of_users(test, test.users)
    counts["kills"] = faults.kills
    counts["handlings cut off by kills"] = judge.cut
    counts["handled again after kills (allowed)"] = judge.repeated
    counts["requests that were hit by faults"] = faults.hits
    if judge.failed:
        counts["handlings that failed"] = judge.failed
    for reason, count in Counter(given_up.values()).most_common(SHOWN_MAX):
        counts[f"updates given up: {reason}"] = count
    calls = Counter(letter.reason for letter in letters if letter.queue is Queue.OUTBOX)
    for reason, count in calls.most_common(SHOWN_MAX):
        counts[f"calls given up: {reason}"] = count
    return counts


def _counts_of_users(test: LoadTest, users: SimulatedUsers) -> dict[str, int]:
    """Return the counts of conversations and scripts."""
    done = {name: len(ids) for name, ids in test.handler_events.items()}
    counts = {"updates that no handler took": done["untaken"]}
    if done["enter"]:
        counts["conversations that began"] = done["enter"]
        counts["conversations played to their end"] = done["leave"]
        counts["of a hundred conversations to their end"] = round(100 * done["leave"] / done["enter"])
        counts["conversations ended by a command"] = done["cancel"]
    if test.options.script is not None:
        counts["scripts played to their end"] = users.completed_scripts
    return counts


def _classes(test: LoadTest) -> list[ChatClass]:
    groups = test.distribution.groups(test.judge.ledger.by_chat())
    group_of = {chat: number for number, group in enumerate(groups) for chat in group.chats}
    latencies: list[list[float]] = [[] for _ in groups]
    for update in test.judge.ledger.all_updates():
        if update.ended_ns:
            latencies[group_of[update.chat_id]].append(round((update.ended_ns - update.sent_ns) / 1e6, 2))
    return [
        ChatClass(group.name, len(group.chats), tuple(sorted(found)))
        for group, found in zip(groups, latencies, strict=True)
    ]


def _lanes(test: LoadTest) -> list[Lane]:
    """Return the chats with most anomalies, the busiest, the quietest, and some in between."""
    anomalies_by_chat = test.judge.anomalies_by_chat + (
        test.replies.anomalies_by_chat if test.replies else Counter()
    )
    by_count = [chat for chat, _ in test.judge.ledger.by_chat().most_common()]
    middle = by_count[:: max(1, len(by_count) // 4)]
    order = [chat for chat, _ in anomalies_by_chat.most_common(5) if chat]
    order += [*by_count[:4], *by_count[-3:], *middle, *by_count]
    chosen = list(dict.fromkeys(order))[:_LANES]
    sent: dict[int, list[float]] = {chat: [] for chat in chosen}
    handled: dict[int, list[Handling]] = {chat: [] for chat in chosen}
    for update in test.judge.ledger.all_updates():
        if update.chat_id in sent and len(sent[update.chat_id]) < _LANE_HANDLINGS_MAX:
            sent[update.chat_id].append(round((update.sent_ns - test.began_ns) / _NS, 6))
    for chat, handling in test.judge.ledger.handlings_of(sent, test.began_ns):
        if len(handled[chat]) < _LANE_HANDLINGS_MAX:
            handled[chat].append(handling)
    return [Lane(f"chat:{chat}", tuple(sent[chat]), tuple(handled[chat])) for chat in chosen]


def _since(mark: FaultMark, began_ns: int) -> FaultMark:
    began = began_ns / _NS
    return FaultMark(mark.kind, round(mark.began_s - began, 3), round(mark.ended_s - began, 3))


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    versions |= {name: version(name) for name in _LIBRARIES}
    return versions | {"system": platform.platform(), "processors": str(os.cpu_count())}
