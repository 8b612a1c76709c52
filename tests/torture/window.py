"""Judging a run of hours in pieces: what one window leaves behind is what the next one starts from. Pure."""

from collections.abc import Iterable, Sequence

from telegram.load.checkers.checker import IN_FLIGHT_MAX_S, BotReply, Interruption, SentText, Verdict, check


class Windows:
    """Judges one window after the other as parts of one run: of each chat it remembers the last update and its reply.

    These two stand before what the next window brings, so that an order, a count or a state that broke between two
    windows is an anomaly of the later one.
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[SentText, BotReply]] = {}

    def judge(
        self, sent: Sequence[SentText], seen: Sequence[BotReply], gaps: Sequence[Interruption]
    ) -> Verdict:
        """Judge the next window, at whose beginning and end everything was answered."""
        last = self._last.values()
        verdict = check(
            [*(line for line, _ in last), *sent],
            map(self._counted_anew, [*(reply for _, reply in last), *seen]),
            gaps,
        )
        self._remember(sent, seen)
        return verdict._replace(updates=len(sent), replies=len(seen))

    def _counted_anew(self, reply: BotReply) -> BotReply:
        """Count from the remembered reply on: to the judge, a chat's count begins with 1."""
        if reply.chat_id not in self._last:
            return reply
        _, last = self._last[reply.chat_id]
        counted = reply.evidence.counted - last.evidence.counted
        return reply._replace(evidence=reply.evidence._replace(counted=counted))

    def _remember(self, sent: Iterable[SentText], seen: Iterable[BotReply]) -> None:
        replies = {(reply.chat_id, reply.evidence.update_id): reply for reply in seen}
        for line in sent:
            if reply := replies.get((line.chat_id, line.update_id)):
                self._last[line.chat_id] = (line, reply)


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """Sum up the verdicts of several windows."""
    total = Verdict(0, 0, 0, 0, ())
    for each in verdicts:
        total = Verdict(
            total.updates + each.updates,
            total.replies + each.replies,
            total.repeated + each.repeated,
            max(total.chats_at_once, each.chats_at_once),
            total.anomalies + each.anomalies,
        )
    return total


def stretched(gaps: Iterable[Interruption], freezes: Sequence[Interruption]) -> list[Interruption]:
    """Let a gap begin with the freeze before it, where the bot had no time to take the answers that came until then."""
    found = []
    for began, ended in gaps:
        for freeze in reversed(freezes):
            if freeze.began < began < freeze.ended + IN_FLIGHT_MAX_S:
                began = freeze.began  # noqa: PLW2901 - and an even earlier one may have ended just before that
        found.append(Interruption(began, ended))
    return found
