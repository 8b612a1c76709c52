"""The report of a load test: its texts, that it sends no requests, and its rendering in a browser."""

import json
import random
import re
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import expect

from telegram.load.checkers.checker import Anomaly
from telegram.load.checkers.recording import ChatClass, FaultMark, Handling, Lane, Recording, Sample
from telegram.load.results.report import summary, tiles, verdict, write_report
from telegram.load.results.report_data import drawing, overlapping, percentile
from tests.kit.page import CHROMIUM, chromium

KINDS = ("lost", "stray", "swapped", "committed twice", "skipped", "forgotten", "overlapping", "sent twice")
EVIL = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><b>&amp;"
)
KILLS = (FaultMark("kill", 8.2, 9.1), FaultMark("kill", 21.4, 22.6))
FAULTS = (
    *KILLS,
    *(FaultMark("429", 13.0, 15.0), FaultMark("5xx", 16.0, 17.5), FaultMark("slow", 25.0, 28.0)),
    *(FaultMark("cut", 29.0, 29.4), FaultMark("stop", 31.0, 32.2)),
)
NOTHING = Recording(
    command="python run.py load",
    began_at=1_790_000_000.0,
    settings={},
    versions={},
    took_s=0.0,
    samples=(),
    faults=(),
    classes=(),
    lanes=(),
    counts={},
    anomaly_kinds=dict.fromkeys(KINDS, 0),
    anomalies=(),
)


# -- generated recordings ------------------------------------------------------------------------------------


def handled(sent, rng, handler_s, downs):
    """One chat's handlings, one after another, by processes that are killed or frozen now and then."""
    found, free_s = [], 0.0
    for update_id, sent_s in sent:
        is_done = False
        while not is_done:
            begin_s = max(sent_s + 0.004, free_s)
            for down in downs:
                if down.began_s <= begin_s < down.ended_s:
                    begin_s = down.ended_s + rng.uniform(0, 0.03)
            process = 1 + sum(down.kind == "kill" and down.ended_s <= begin_s for down in downs)
            end_s = begin_s + handler_s * rng.uniform(0.9, 1.3)
            hit = next((down for down in downs if begin_s < down.began_s < end_s), None)
            if hit and hit.kind == "kill":
                found.append(Handling(update_id, begin_s, hit.began_s, "cut", process))
                free_s = hit.ended_s
                continue
            end_s += hit.ended_s - hit.began_s if hit else 0
            is_failing = rng.random() < 0.002
            found.append(Handling(update_id, begin_s, end_s, "fail" if is_failing else "end", process))
            free_s = end_s + (0.2 if is_failing else rng.uniform(0.0005, 0.003))
            is_done = not is_failing
    return tuple(found)


def recording(*, seed=1, chats=200, updates=10_000, took_s=36.0, faults=FAULTS, handler_s=0.02, sampled=16):
    """A good test of a bot with one flooding chat; plausible data, not a simulation."""
    rng = random.Random(seed)
    downs = [mark for mark in faults if mark.kind in {"kill", "stop"}]  # nothing begins in them
    writers = sorted(
        (rng.uniform(0.5, took_s - 3), 0 if rng.random() < 0.05 else rng.randrange(1, chats))
        for _ in range(updates)
    )
    sent: dict[int, list[tuple[int, float]]] = {chat: [] for chat in range(chats)}
    for update_id, (sent_s, chat) in enumerate(writers, 5_000_000):
        sent[chat].append((update_id, sent_s))
    lanes = {chat: handled(of_chat, rng, handler_s, downs) for chat, of_chat in sent.items()}
    done = {each.update_id: each.end_s for lane in lanes.values() for each in lane if each.outcome == "end"}
    waited = {chat: [(done[one] - at) * 1000 for one, at in sent[chat]] for chat in sent}
    all_sent = {one: at for of_chat in sent.values() for one, at in of_chat}
    busiest = sorted(sent, key=lambda chat: -len(sent[chat]))[:sampled]
    return NOTHING._replace(
        command="python run.py load --chats 200 --updates 10000 --faults kill,429,5xx,slow,cut,stop --seed 1",
        settings={
            "chats": chats,
            "updates": updates,
            "handler_ms": handler_s * 1000,
            "store": "sqlite",
            "handlers": None,
            "workers": 64,
        },
        versions={
            "chatlane": "0.1.0",
            "Python": "3.11.2",
            "SQLite": "3.40.1",
            "system": "Linux x86_64, 2 CPUs",
        },
        took_s=took_s,
        samples=samples(all_sent, done, lanes, took_s),
        faults=faults,
        classes=(
            ChatClass("the flooding chat", 1, tuple(sorted(waited[0]))),
            ChatClass(
                f"the other {chats - 1} chats",
                chats - 1,
                tuple(sorted(ms for chat, of_chat in waited.items() if chat for ms in of_chat)),
            ),
        ),
        lanes=tuple(
            Lane(f"chat:{1000 + chat}", tuple(at for _, at in sent[chat]), lanes[chat]) for chat in busiest
        ),
        counts={
            "updates": updates,
            "replies": updates + 7,
            "repeated replies (allowed)": 7,
            "kills": sum(mark.kind == "kill" for mark in faults),
            "handlers cut off and run again": sum(
                each.outcome == "cut" for lane in lanes.values() for each in lane
            ),
        },
    )


def samples(sent_s, done, lanes, took_s):
    found = []
    for second in range(1, int(took_s) + 1):
        sent = sum(at <= second for at in sent_s.values())
        handled = sum(at <= second for at in done.values())
        recent = sorted((at - sent_s[one]) * 1000 for one, at in done.items() if second - 2 < at <= second)
        active = sum(any(each.begin_s <= second < each.end_s for each in lane) for lane in lanes.values())
        found.append(
            Sample(float(second), sent, handled, sent - handled, active, percentile(recent, 0.99), 0)
        )
    return tuple(found)


def broken(good):
    """The same test of a bot without lanes."""
    first = good.lanes[1]
    places = [place for place, each in enumerate(first.handlings) if each.outcome == "end"][20:26:2]
    handlings = list(first.handlings)
    for place in places:
        later = handlings[place + 1]
        begin_s = handlings[place].end_s - 0.012
        handlings[place + 1] = later._replace(begin_s=begin_s, end_s=begin_s + 0.025)
    kinds = {**good.anomaly_kinds, "lost": 12, "swapped": 3, "overlapping": 3}
    one, two = handlings[places[0]], handlings[places[0] + 1]
    return good._replace(
        lanes=(good.lanes[0], first._replace(handlings=tuple(handlings)), *good.lanes[2:]),
        anomaly_kinds=kinds,
        anomalies=(
            Anomaly("lost", 1017, "SentText(chat_id=1017, update_id=5000123, text='17-3')"),
            Anomaly(
                "swapped",
                1001,
                f"answered: 1-20|{one.update_id}|20|1|2|77 after 1-21|{two.update_id}|21|3|4|77",
            ),
            Anomaly(
                "overlapping",
                1001,
                f"1-20|{one.update_id}|20|100|220|77 with 1-21|{two.update_id}|21|190|320|77",
            ),
        ),
    )


# -- texts -----------------------------------------------------------------------------------------------


GOOD = recording(updates=2_000, chats=50)


class Page(HTMLParser):
    """Collects the URLs that a browser would fetch, the text of each element by id, and all tags, without scripts and data."""

    def __init__(self, text):
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self._inside: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [
            value or "" for name, value in attributes if name in {"src", "href", "srcset", "action"}
        ]
        if tag in {"script", "style"}:
            self._inside = self.scripts if tag == "script" else self.styles
            self._inside.append("")

    def handle_endtag(self, tag):
        if tag in {"script", "style"}:
            self._inside = None

    def handle_data(self, data):
        if self._inside is None:
            self.text += data
        else:
            self._inside[-1] += data

    @property
    def drawn(self):
        return json.loads(self.scripts[0])


def written(recording, folder):
    path = folder / "out" / "report.html"
    write_report(recording, path)
    return Page(path.read_text())


def squeezed(text):
    return re.sub(r"\s+", " ", text)


def test_a_good_test_is_summed_up_in_one_sentence():
    assert verdict(GOOD) == (
        "All promises kept: 2,000 updates in 50 chats, none lost, none swapped, none committed twice."
    )


def test_only_what_was_looked_for_is_claimed():
    assert verdict(GOOD._replace(anomaly_kinds={"lost": 0, "starved": 0})).endswith("50 chats, none lost.")


def test_the_summary_names_each_broken_guarantee():
    assert verdict(broken(GOOD)) == "Broken: 12 updates lost, 3 updates swapped, 3 overlaps within a chat."
    assert (
        verdict(GOOD._replace(anomaly_kinds={"lost": 1, "odd": 2})) == "Broken: 1 update lost, 2 times odd."
    )


def test_a_test_without_updates_shows_nothing():
    assert verdict(NOTHING) == "Nothing was shown: no update was sent."


def test_the_faults_are_listed():
    assert summary(GOOD).endswith(
        "the test caused 2 kills of the bot's process (kill -9), 1 period of “too many requests” (429), 1 period of"
        " server errors (5xx), 1 period of slow answers, 1 period of cut connections and 1 freeze of the process (SIGSTOP)."
    )
    assert (
        summary(NOTHING)
        == "The test began on 2026-09-21 at 14:13:20 UTC and ran 0.0 ms. No fault was caused."
    )


def test_the_tiles_show_each_count_once():
    shown = {
        name: figure for name, figure, _ in tiles(GOOD._replace(counts={**GOOD.counts, "chats at once": 64}))
    }
    assert len(shown) == len(tiles(GOOD))
    assert shown["updates"] == "2,000"
    assert shown["kills"] == "2"
    assert shown["handlers at once"] == "64"
    handled_by = next(sample.at_s for sample in GOOD.samples if sample.handled == 2_000)
    assert shown["updates per second"] == f"{2_000 / handled_by:.0f}"


def test_the_waits_are_those_of_all_classes_together():
    classes = (ChatClass("a", 1, (1.0, 2.0, 3000.0)), ChatClass("b", 9, tuple(map(float, range(4, 101)))))
    shown = {name: (figure, note) for name, figure, note in tiles(NOTHING._replace(classes=classes))}
    assert shown["typical wait"][0] == "51 ms"
    assert shown["wait of nearly all"][0] == "100 ms"
    assert "longest 3.00 s" in shown["wait of nearly all"][1]


def test_a_percentile_is_a_value_that_was_measured():
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 0.999, 1)] == [1, 50, 99, 100, 100]
    assert percentile([], 0.5) == 0


def test_a_report_of_a_test_that_was_ended_early_has_a_note():
    assert verdict(GOOD._replace(is_complete=False)).startswith("Ended early, and all promises kept")


def test_the_page_shows_verdict_guarantees_and_command(tmp_path):
    page = written(broken(GOOD), tmp_path)
    text = squeezed(page.text)
    assert verdict(broken(GOOD)) in text
    assert "not set" in text
    assert summary(GOOD) in text
    assert all(kind in text for kind in KINDS)
    assert "First: chat 1017 SentText(chat_id=1017" in text.replace("chat 1017SentText", "chat 1017 SentText")
    assert GOOD.command in text
    assert "3 of them began before an earlier one of the same chat had ended" in text
    assert "none overlaps another one" in squeezed(written(GOOD, tmp_path).text)


# -- diagrams --------------------------------------------------------------------------------------------


def test_overlaps_are_found():
    def run(begin_s, end_s):
        return Handling(1, begin_s, end_s, "end", 1)

    assert overlapping([run(0, 1), run(1, 2), run(2, 3)]) == []
    assert overlapping([run(0, 5), run(1, 2), run(3, 4), run(5, 6)]) == [1, 2]


def test_what_was_handled_is_drawn_as_it_was(tmp_path):
    drawn = written(broken(GOOD), tmp_path).drawn
    lane, drawn_lane = GOOD.lanes[0], drawn["lanes"][0]
    assert drawn_lane["key"] == lane.key
    assert drawn_lane["id"] == [each.update_id for each in lane.handlings]
    assert drawn_lane["begin"] == pytest.approx([each.begin_s for each in lane.handlings], abs=1e-5)
    assert drawn_lane["end"] == pytest.approx([each.end_s for each in lane.handlings], abs=1e-5)
    assert {"cut", "end"} <= {outcome for lane in drawn["lanes"] for outcome in lane["outcome"]}
    assert [len(lane["overlapping"]) for lane in drawn["lanes"][:3]] == [0, 3, 0]
    assert [(each["kind"], each["from"], each["to"]) for each in drawn["faults"]] == list(FAULTS)


def test_the_series_are_rates_between_samples():
    samples = (
        Sample(2.0, 10, 4, 6, 3, 1.5, 0),
        Sample(2.0, 10, 4, 6, 3, 1.5, 0),
        Sample(3.0, 30, 29, 1, 2, 2.5, 0),
    )
    assert drawing(NOTHING._replace(samples=samples))["series"] == {
        "at": [2.0, 3.0],
        "sent": [5.0, 20.0],
        "handled": [2.0, 25.0],
        "backlog": [6, 1],
        "p99": [1.5, 2.5],
        "active": [3, 2],
    }


def test_a_curve_ends_with_the_slowest_update():
    classes = (ChatClass("one", 1, tuple(map(float, range(1, 1001)))), ChatClass("none", 1, ()))
    (curve,) = drawing(NOTHING._replace(classes=classes))["classes"]
    assert (curve["nines"][0], curve["ms"][0]) == (0, 1)
    assert (curve["nines"][-1], curve["ms"][-1]) == (3, 1000 * 0.999)
    assert curve["ms"] == sorted(curve["ms"])


def test_the_lanes_begin_at_the_first_kill_and_can_be_seen_whole():
    drawn = drawing(GOOD)
    jumps = {jump["label"]: (jump["from"], jump["to"]) for jump in drawn["jumps"]}
    assert next(iter(jumps)) == "first kill"
    assert list(jumps)[-2:] == ["beginning", "everything"]
    assert jumps["first kill"][0] < 8.2 < 9.1 < jumps["first kill"][1] < 15
    assert jumps["everything"] == (0, GOOD.took_s)
    assert drawing(broken(GOOD))["jumps"][0]["label"] == "first overlap"
    assert drawing(GOOD._replace(faults=(FaultMark("kill", 0.1, 0.2),)))["jumps"][0]["from"] == 0
    assert drawing(GOOD._replace(faults=FAULTS[2:] + KILLS))["jumps"][0]["label"] == "first kill"
    assert (
        drawing(GOOD._replace(faults=(FaultMark("429", 1.0, 2.0), *KILLS)))["jumps"][0]["label"]
        == "first kill"
    )


# -- offline, complete, escaped --------------------------------------------------------------------------


def test_the_file_makes_no_requests(tmp_path):
    page = written(GOOD, tmp_path)
    assert page.fetched == ["data:,"]
    assert not re.search(r"@import|url\(", "".join(page.styles))
    assert len(page.scripts) == 3
    assert "plotly.js v" in page.scripts[1]
    assert not re.search(r"https?://", page.scripts[2] + page.text + "".join(page.styles))
    policy = re.search(r'Security-Policy" content="([^"]+)"', (tmp_path / "out" / "report.html").read_text())
    assert policy
    assert policy[1].startswith("default-src 'none'; ")
    assert "script-src 'unsafe" not in policy[1]


def hostile():
    classes = (ChatClass(EVIL, 1, (1.0, 2.0)),)
    lanes = tuple(lane._replace(key=EVIL) for lane in GOOD.lanes[:2])
    return GOOD._replace(
        command=EVIL,
        settings={EVIL: EVIL, "nested": [EVIL], "nothing": None},
        versions={EVIL: EVIL + "\ud800"},
        faults=(FaultMark(EVIL, 1.0, 2.0),),
        classes=classes,
        lanes=lanes,
        counts={**GOOD.counts, EVIL: 7},
        anomaly_kinds={"lost": 1, EVIL: 2},
        anomalies=(Anomaly("lost", 5, EVIL), Anomaly(EVIL, 6, EVIL + "\ud800")),
    )


def test_what_comes_from_the_test_is_never_html(tmp_path):
    page = written(hostile(), tmp_path)
    plain = written(GOOD, tmp_path)
    assert page.tags.count("script") == plain.tags.count("script") == 3
    assert not {"img", "iframe"} & set(page.tags)
    assert page.text.count(EVIL) >= 9
    assert page.drawn["lanes"][0]["key"] == EVIL


@pytest.mark.parametrize(
    "scanty",
    [
        NOTHING,
        NOTHING._replace(lanes=(Lane("chat:1", (), ()),), classes=(ChatClass("all", 1, ()),)),
        NOTHING._replace(
            took_s=0.5,
            samples=(Sample(0.0, 0, 0, 0, 0, 0.0, 0), Sample(0.5, 1, 1, 0, 0, 3.0, 0)),
            classes=(ChatClass("the only chat", 1, (3.0,)),),
            lanes=(Lane("chat:1", (0.1,), (Handling(1, 0.1, 0.1, "end", 1),)),),
            faults=(FaultMark("kill", 0.3, 0.3),),
            counts={"updates": 1},
        ),
    ],
    ids=["nothing", "empty lanes", "one update"],
)
def test_a_scanty_test_has_a_report(scanty, tmp_path):
    page = written(scanty, tmp_path)
    assert verdict(scanty) in page.text
    assert page.drawn["end"] > 0
    assert all(jump["from"] < jump["to"] for jump in page.drawn["jumps"])


def test_a_large_test_has_a_report_of_a_reasonable_size(tmp_path):
    lane = tuple(
        Handling(5_000_000 + each, each / 40, each / 40 + 0.02, "end", 1 + each // 500)
        for each in range(5_000)
    )
    lanes = tuple(
        Lane(f"chat:{number}", tuple(each / 40 for each in range(5_000)), lane) for number in range(16)
    )
    empty = written(NOTHING, tmp_path)
    size_of_empty = (tmp_path / "out" / "report.html").stat().st_size
    written(GOOD._replace(lanes=lanes), tmp_path)
    assert (tmp_path / "out" / "report.html").stat().st_size < size_of_empty + 6_000_000
    assert size_of_empty < len(empty.scripts[1]) + 100_000


# -- in a browser ----------------------------------------------------------------------------------------


LOOP: Final = "module"


def in_browser(test):
    """Marks a test that needs Chromium; all share one."""
    reason = "no Chromium on PATH (apt-get install chromium)"
    test = pytest.mark.asyncio(loop_scope=LOOP)(test)
    return pytest.mark.browser(pytest.mark.skipif(CHROMIUM is None, reason=reason)(test))


@pytest_asyncio.fixture(scope="module", loop_scope=LOOP)
async def browser():
    async with chromium() as browser:
        yield browser


@asynccontextmanager
async def opened(browser, recording, path, **options):
    """The report in a browser, from disk; at the end there must be no errors and no requests."""
    write_report(recording, path)
    page = await browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **options})
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url))
    await page.goto(path.as_uri())
    yield page
    assert [line for line in heard if line != path.as_uri() and not line.startswith("data:")] == []
    await page.close()


VALIDATED = """
[...document.querySelectorAll(".plot")].flatMap((plot) => Plotly.validate(plot.data, plot.layout) ?? []).map((one) => one.msg)
"""


def bars(page):
    return page.locator("#lanes .barlayer .point path")


async def window(page):
    begin, end = await page.evaluate("document.getElementById('lanes').layout.xaxis.range")
    return pytest.approx((begin, end))


@in_browser
async def test_the_diagrams_are_drawn_and_can_be_moved(browser, tmp_path):
    async with opened(browser, broken(GOOD), tmp_path / "report.html") as page:
        await expect(page.locator("h1")).to_have_text(verdict(broken(GOOD)))
        await expect(page.locator("#time .scatterlayer .trace:has(path.js-line)")).to_have_count(4)
        await expect(page.locator("#latency .scatterlayer .trace:has(path.js-line)")).to_have_count(2)
        for plot in ("time", "lanes"):
            await expect(page.locator(f"#{plot} .shapelayer path")).to_have_count(len(FAULTS))
        assert await page.evaluate(VALIDATED) == []
        jumps = drawing(broken(GOOD))["jumps"]
        assert await window(page) == (jumps[0]["from"], jumps[0]["to"])
        await expect(page.locator("#lanes .legend")).to_contain_text("OVERLAP")
        await page.get_by_role("button", name="first kill").click()
        await expect(page.locator("#lanes .legend")).to_contain_text("process 2")
        few = await bars(page).count()
        await page.get_by_role("button", name="everything").click()
        assert await window(page) == (0, GOOD.took_s)
        assert await bars(page).count() > 3 * few > 0
        await page.get_by_role("button", name="+", exact=True).click()
        assert await window(page) == (GOOD.took_s / 4, GOOD.took_s * 3 / 4)


@in_browser
async def test_a_diagram_keeps_its_height_when_the_window_changes(browser, tmp_path):
    async with opened(browser, GOOD, tmp_path / "report.html") as page:
        plot = page.locator("#lanes")
        before = await plot.bounding_box()
        await page.set_viewport_size({"width": 600, "height": 900})
        width = str(round(before["width"]))
        await expect(page.locator("#lanes .main-svg").first).not_to_have_attribute("width", width)
        await page.get_by_role("button", name="everything").click()
        after = await plot.bounding_box()
        assert after["width"] < 600
        assert after["height"] == before["height"] > 400


@in_browser
async def test_a_diagram_stays_light_however_much_was_recorded(browser, tmp_path):
    lane = tuple(Handling(each, each / 40, each / 40 + 0.02, "end", 1) for each in range(5_000))
    lanes = tuple(
        Lane(f"chat:{number}", tuple(each / 40 for each in range(5_000)), lane) for number in range(16)
    )
    async with opened(browser, GOOD._replace(lanes=lanes, took_s=125.0), tmp_path / "report.html") as page:
        await page.get_by_role("button", name="everything").click()
        assert 1_000 < await bars(page).count() < 8_000


@in_browser
async def test_in_the_diagrams_names_are_text(browser, tmp_path):
    async with opened(browser, hostile(), tmp_path / "report.html", color_scheme="dark") as page:
        await expect(page.locator("#lanes .ytick text").last).to_have_text("…" + EVIL[-23:])
        await expect(page.locator("#latency .legendtext")).to_have_text(EVIL[:59] + "…")
        await expect(page.locator(".plot img, .plot b, .plot script, main script")).to_have_count(0)
        assert await page.title() == "Chatlane load test"


@in_browser
async def test_an_empty_report_has_a_note_also_on_a_phone(browser, tmp_path):
    async with opened(
        browser, NOTHING, tmp_path / "report.html", viewport={"width": 390, "height": 844}
    ) as page:
        await expect(page.locator(".plot.none")).to_have_count(3)
    async with opened(
        browser, GOOD, tmp_path / "report.html", viewport={"width": 390, "height": 844}
    ) as page:
        await expect(page.locator("#lanes .barlayer")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
