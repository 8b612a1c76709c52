"""The output of a load test in a terminal: a live view (or a line per second), and the result."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from telegram.botapi.printable import printable
from telegram.load.checkers.recording import Recording
from telegram.load.results.report_data import percentile
from telegram.load.workload.load_test import Now, Show
from telegram.service.secrecy import without_password
from telegram.settings.load_test import Load

_REFRESH_S: Final = 0.5
_RATE_OVER_S: Final = 3.0
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_HISTORY: Final = 40
_WIDTH_MAX: Final = 100
_FAULTS: Final = {
    "kill": "kill -9 and restart",
    "stop": "the bot's process is stopped (SIGSTOP)",
    "429": "Telegram answers: too many requests",
    "5xx": "Telegram answers with server errors",
    "slow": "Telegram answers slowly",
    "cut": "connections are cut",
}
PROMISES: Final = {
    "lost": "no update is lost",
    "stray": "no handling or reply without an update",
    "swapped": "each chat's order is kept",
    "overlapping": "one handler at a time in a chat",
    "handled again": "no update is handled again without a reason",
    "starved": "every chat gets its turn",
    "committed twice": "each update is committed once",
    "skipped": "every commit has its reply",
    "forgotten": "no state is lost",
    "sent twice": "no reply is repeated without a reason",
    "given up": "no update is given up",
    "untaken": "the handlers take the updates",
    "exit": "the bot stops gracefully, and only when asked to",
}


@contextmanager
def watching(options: Load, out: TextIO) -> Iterator[Show]:
    """Show a running test on `out`, at a limited rate; the body calls the returned function with each new state."""
    if not out.isatty():
        yield _Lines(out).show
        return
    console = Console(file=out)
    view = _View(options)
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(now: Now) -> None:
            if view.see(now):
                live.update(view.render(), refresh=True)

        yield show


class _Speed:
    """Handled updates per second, over the last _RATE_OVER_S seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque([(0.0, 0)])

    def of(self, now: Now) -> float:
        self._seen.append((now.sample.at_s, now.sample.handled))
        while len(self._seen) > 2 and self._seen[0][0] < now.sample.at_s - _RATE_OVER_S:
            self._seen.popleft()
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        return (after - before) / (ended - began) if ended > began else 0.0


class _Lines:
    """Writes one plain line per second, for files and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._speed = _Speed()
        self._next = 0.0

    def show(self, now: Now) -> None:
        sample = now.sample
        if sample.at_s < self._next:
            return
        self._next = sample.at_s // 1 + 1
        fault = f"  {now.fault}" if now.fault else ""
        self._out.write(
            f"{sample.at_s:4.0f} s  {sample.sent} sent  {sample.handled} handled  {self._speed.of(now):.0f}/s"
            f"  backlog {sample.backlog}  active {sample.active_lanes}  p99 {sample.p99_ms:.0f} ms"
            f"  anomalies {sample.anomalies}{fault}\n"
        )
        self._out.flush()


class _View:
    """The live view; its height does not change."""

    def __init__(self, options: Load) -> None:
        self._options = options
        self._speed = _Speed()
        self._rates: deque[float] = deque(maxlen=_HISTORY)
        self._waits: deque[float] = deque(maxlen=_HISTORY)
        self._backlogs: deque[float] = deque(maxlen=_HISTORY)
        self._next = 0.0
        self._now: Now | None = None

    def see(self, now: Now) -> bool:
        """Take a new state; return whether it is time to redraw."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _REFRESH_S
        self._now = now
        self._rates.append(self._speed.of(now))
        self._waits.append(now.sample.p99_ms)
        self._backlogs.append(now.sample.backlog)
        return True

    def render(self) -> RenderableType:
        if self._now is None:
            return Text("")
        sample, options = self._now.sample, self._options
        progress = Table.grid(padding=(0, 1))
        progress.add_row(
            Text(f"{sample.at_s:4.0f} s"),
            ProgressBar(total=options.updates, completed=sample.handled, width=46),
            Text(f"{sample.handled:,} of {options.updates:,} updates handled"),
        )
        figures = Table.grid(padding=(0, 2))
        figures.add_column(style="dim")
        figures.add_column(justify="right", min_width=9)
        figures.add_column(style="cyan", no_wrap=True)
        figures.add_row("updates a second", f"{self._rates[-1]:,.0f}", sparks(self._rates))
        figures.add_row("waiting", f"{sample.backlog:,}", sparks(self._backlogs))
        figures.add_row("99 % wait less than", _ms(sample.p99_ms), sparks(self._waits))
        figures.add_row("chats at work", f"{sample.active_lanes:,}", "")
        figures.add_row("calls to Telegram", f"{self._now.replies:,}", "")
        anomalies = Text(f"{sample.anomalies:,}", style="bold red" if sample.anomalies else "bold green")
        figures.add_row("anomalies", anomalies, "")
        fault = _FAULTS.get(self._now.fault, "")
        kills = f", killed {self._now.kills} times so far" if self._now.kills else ""
        happens = (
            Text(fault, style="bold yellow") if fault else Text(f"{self._now.phase}{kills}", style="dim")
        )
        return Group(progress, figures, Text.assemble(("now  ", "dim"), happens))


def sparks(values: Sequence[float]) -> str:
    """Return a sparkline of the values; "" if all are 0."""
    most = max(values, default=0.0)
    if not most:
        return ""
    return "".join(_SPARKS[round(value / most * (len(_SPARKS) - 1))] for value in values)


def introduce(options: Load, out: TextIO) -> None:
    """Print the parameters of the test, and how to end it."""
    whose = options.handlers or f"handlers of {options.handler_ms:g} ms"
    faults = ", ".join(options.fault_kinds) or "none"
    text = (
        f": {options.chats:,} chats write {options.updates:,} updates, {options.rate:,g} a second ({options.skew}), to "
        f"{whose} ({options.engine}, {without_password(options.store)}). Faults: {faults}. Ctrl+C ends it early."
    )
    _console(out).print(Text.assemble(("Load test", "bold"), printable(text)))


def conclude(recording: Recording, options: Load, out: TextIO, *, complete: bool) -> None:
    """Print the results, and the path of the report."""
    console = _console(out)
    handled_s = max((sample.at_s for sample in recording.samples), default=0.0)
    rate = recording.counts["handled"] / handled_s if handled_s else 0.0
    figures = {name: f"{count:,}" for name, count in recording.counts.items()}
    figures |= {"updates a second": f"{rate:,.0f}", "seconds": f"{recording.took_s:,.0f}"}
    facts = Table.grid(padding=(0, 2))
    for name, figure in figures.items():
        facts.add_row(Text(printable(name), "dim"), Text(figure, justify="right"))
    console.print(Padding(facts, (1, 1)))
    waits = Table("who", "updates", "p50", "p99", "longest wait", box=None, header_style="dim")
    for column in waits.columns[1:]:
        column.justify = "right"
    for each in recording.classes:
        shares = [_ms(percentile(each.latencies_ms, share)) for share in (0.5, 0.99, 1)]
        waits.add_row(each.name, f"{len(each.latencies_ms):,}", *shares)
    console.print(waits, "")
    kinds = Table("promise", "broken", "first example", box=None, header_style="dim")
    kinds.columns[1].justify = "right"
    first = {anomaly.kind: anomaly for anomaly in reversed(recording.anomalies)}
    for kind, count in recording.anomaly_kinds.items():
        example = f"chat {first[kind].chat_id}: {printable(first[kind].details)}" if kind in first else ""
        style = "red" if count else ""
        kinds.add_row(
            Text(PROMISES.get(kind, f"nothing {kind}"), style), Text(f"{count:,}", style), Text(example)
        )
    console.print(kinds, "")
    if not complete:
        console.print("[yellow]The test was interrupted: updates that still waited are not checked.[/yellow]")
    found = ", ".join(f"{count:,} {kind}" for kind, count in recording.anomaly_kinds.items() if count)
    console.print(Text(f"BROKEN: {found}", "bold red") if found else Text("all promises kept", "bold green"))
    console.print(Text(printable(f"report: {options.report}")), soft_wrap=True)


def _console(out: TextIO) -> Console:
    console = Console(file=out)
    console.width = min(console.width, _WIDTH_MAX) if out.isatty() else _WIDTH_MAX
    return console


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"
