"""`top`: the running bot in a terminal, once a second, until Ctrl+C."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from telegram.botapi.printable import printable
from telegram.operating.letters import Json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from telegram.operating.asked import Asked

_EVERY_S: Final = 1.0
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_HISTORY: Final = 40
_ROWS: Final = 12


async def watch(asked: "Asked") -> None:
    """Show the bot until cancelled. ValueError of one line if there is none, or rich is missing."""
    if not asked.is_running:
        raise ValueError("top: no bot runs on this store; `stats` and `lanes` show what it has")
    try:
        from rich.live import Live
    except ModuleNotFoundError:
        raise ValueError("top needs rich: pip install 'chatlane[top]', or pip install rich") from None
    samples: deque[Json] = deque(maxlen=_HISTORY)
    with Live(auto_refresh=False, screen=True) as live:
        while True:
            live.update(await _look(asked, samples), refresh=True)
            await asyncio.sleep(_EVERY_S)


async def _look(asked: "Asked", samples: "deque[Json]") -> "RenderableType":
    since = samples[-1]["number"] if samples else 0
    stats, running, lanes, new = await asyncio.gather(
        asked.ask("stats", {}),
        asked.ask("running", {}),
        asked.ask("lanes", {"limit": _ROWS}),
        asked.ask("samples", {"since": since}),
    )
    samples.extend(new["samples"])
    return view(stats, running["running"], lanes["lanes"], list(samples))


def view(stats: Json, running: list[Json], lanes: list[Json], samples: list[Json]) -> "RenderableType":
    """Return the picture of one moment."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text(printable(stats["bot"]) or "bot", "bold")
    for process in stats.get("processes") or [stats["process"]]:
        if process is not None:
            where = f"process {process['pid']} on {printable(process['host'])}"
            head.append(f"\n{where}  {process['state']}  up {process['up_s']:.0f} s", "not bold")
    rates = Table.grid(padding=(0, 2))
    for name in ("received", "handled", "sent", "failed", "dead", "flood"):
        values = [float(each[name]) for each in samples if each[name] is not None]
        rates.add_row(name, f"{values[-1]:.1f}/s" if values else "-", sparks(values))
    for name in ("reply_p50", "reply_p95", "handler_p95"):
        times = [each[name] for each in samples if each[name] is not None]
        rates.add_row(name.replace("_p", " p"), f"<= {times[-1]:g} s" if times else "-", sparks(times))
    queues = Table("queue", "pending", "ready", "leased", "parked", "oldest", "", box=None)
    for name, queue in stats["queues"].items():
        counts = [str(queue[each]) for each in ("pending", "ready", "leased", "parked")]
        paused = Text("paused", "bold yellow") if queue["paused"] else Text("")
        queues.add_row(
            name, *counts, "-" if queue["oldest_s"] is None else f"{queue['oldest_s']:.1f} s", paused
        )
    runs = Table("running", "s", "attempt", "where", box=None)
    for run in running[:_ROWS]:
        runs.add_row(
            printable(run["key"]), f"{run['running_s']:.1f}", str(run["attempt"]), printable(run["where"])
        )
    waiting = Table("lane", "pending", "age s", "status", box=None)
    for lane in lanes:
        age = "-" if lane["age_s"] is None else f"{lane['age_s']:.1f}"
        status = printable(f"{lane['status']} {lane['held'] or lane['reason']}")
        waiting.add_row(printable(lane["key"]), str(lane["depth"]), age, status)
    dead = Text(f"dead letters {stats['dead']}", "bold red" if stats["dead"] else "")
    return Group(head, Text(""), rates, Text(""), queues, dead, Text(""), runs, Text(""), waiting)


def sparks(values: list[float]) -> str:
    """Return the values as a line of bars."""
    highest = max(values, default=0.0)
    if not highest:
        return ""
    return "".join(_SPARKS[min(7, int(8 * value / highest))] for value in values)
