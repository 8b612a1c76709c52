"""Stores the replies of the bot under test on disk and checks them in parts, so that a million of them fit into memory."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from telegram.fake import Call
from telegram.load.bot.evidence import Evidence
from telegram.load.checkers.checker import Anomaly, BotReply, Interruption, SentText, check
from telegram.load.checkers.handlings import SHOWN_MAX
from telegram.load.checkers.ledger import Ledger

_UPDATES_AT_ONCE: Final = 100_000  # checked together; about 100 MB of memory


def text_of(place: int) -> str:
    """Return the text of the update at this place of the ledger."""
    return f"text {place}"


class Replies:
    """Collects the replies of telegram/load/bot/counting.py in files; all replies of a chat are in the same one."""

    def __init__(self, folder: Path, updates: int) -> None:
        self.total = 0
        self.repeated = 0
        self.counts: Counter[str] = Counter()
        self.anomalies: list[Anomaly] = []
        """The first SHOWN_MAX of each kind."""

        self.anomalies_by_chat: Counter[int] = Counter()
        self.answered = 0
        """Number of updates with a reply."""

        self._answered = bytearray()
        self._parts = [folder / f"replies-{n}" for n in range(1 + updates // _UPDATES_AT_ONCE)]
        self._open = ExitStack()
        self._files = [self._open.enter_context(path.open("w")) for path in self._parts]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def see(self, calls: Iterable[Call], ledger: Ledger) -> None:
        """Add calls, in the order of execution; only executed sendMessage calls count."""
        for call in calls:
            if not call.delivered or call.method != "sendMessage":
                continue
            self.total += 1
            chat_id = call.chat_id or 0
            self._files[chat_id % len(self._files)].write(
                f"{chat_id} {call.at!r} {int(call.status == 200)} {call.text}\n"
            )
            place = Evidence.parse(call.text).update_id - ledger.first_id
            if len(self._answered) <= place:
                self._answered.extend(bytes(place + 1 - len(self._answered)))
            self.answered += not self._answered[place]
            self._answered[place] = 1

    def judge(
        self,
        ledger: Ledger,
        interruptions: Sequence[Interruption],
        given_up: Collection[int] = (),
        *,
        complete: bool = True,
    ) -> None:
        """Check all replies (telegram/load/checkers/checker.py), without the updates `given_up`; call it once, at the end.

        Unless `complete`, updates without a reply are not lost.
        """
        self._open.close()
        for number, path in enumerate(self._parts):
            sent = [
                SentText(update.chat_id, update.update_id, text_of(place))
                for place, update in enumerate(ledger.all_updates())
                if update.chat_id % len(self._parts) == number and update.update_id not in given_up
            ]
            with path.open() as file:
                verdict = check(sent, map(_parse, file), interruptions)
            self.repeated += verdict.repeated
            for anomaly in verdict.anomalies:
                if anomaly.kind == "lost" and not complete:
                    continue
                self.counts[anomaly.kind] += 1
                self.anomalies_by_chat[anomaly.chat_id] += 1
                if self.counts[anomaly.kind] <= SHOWN_MAX:
                    self.anomalies.append(anomaly)


def _parse(line: str) -> BotReply:
    chat_id, at, answered, text = line.rstrip("\n").split(" ", 3)
    return BotReply(int(chat_id), Evidence.parse(text), float(at), answered == "1")
