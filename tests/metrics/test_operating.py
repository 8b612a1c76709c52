"""The guide, the dashboard and the alert rules name metrics that exist; promtool accepts the rules and their use."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from telegram.metrics.exposition import COUNTER, HISTOGRAM, KINDS
from tests.kit.docs import modules

DOCS = Path(__file__).parents[2] / "docs"
RULES = DOCS / "deploy/prometheus/alerts.yml"
PROMTOOL = shutil.which("promtool")
SAMPLES = {
    f"{name}{suffix}"
    for name, kind in KINDS.items()
    for suffix in (
        ["_total"]
        if kind.type is COUNTER
        else ["_bucket", "_sum", "_count"]
        if kind.type is HISTOGRAM
        else [""]
    )
}
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool on PATH (Debian: prometheus)")

# What a test of the rule sees: the series, and when the alert has to fire.
TROUBLE = {
    "ChatlaneDown": (['up{job="chatlane"} 0+0x20'], "10m"),
    "ChatlaneNotReady": (["chatlane_ready 0+0x20"], "10m"),
    "ChatlaneAllStandBy": (
        ['chatlane_standby{instance="a"} 1+0x20', 'chatlane_standby{instance="b"} 1+0x20'],
        "10m",
    ),
    "ChatlaneSourceStale": (['chatlane_problem{problem="source"} 1+0x20'], "10m"),
    "ChatlaneOldestTooOld": (['chatlane_oldest_seconds{queue="inbox"} 301+60x20'], "10m"),
    "ChatlaneDeadLetters": (['chatlane_dead_letters_total{queue="inbox"} 0+1x20'], "10m"),
    "ChatlaneCallsRefused": (
        [
            'chatlane_calls_total{method="sendMessage",code="400"} 0+10x40',
            'chatlane_calls_total{method="sendMessage",code="200"} 0+100x40',
        ],
        "30m",
    ),
    "ChatlaneFloodControl": (['chatlane_calls_total{method="sendMessage",code="429"} 0+2x20'], "10m"),
    "ChatlaneStoreFails": (['chatlane_store_errors_total{call="commit"} 0+1x20'], "10m"),
    "ChatlaneStoreSlow": (
        [
            'chatlane_store_seconds_bucket{call="commit",le="1.0"} 0+1x20',
            'chatlane_store_seconds_bucket{call="commit",le="2.5"} 0+10x20',
            'chatlane_store_seconds_bucket{call="commit",le="+Inf"} 0+10x20',
        ],
        "15m",
    ),
    "ChatlaneLoopLag": (
        [
            'chatlane_loop_lag_seconds_bucket{le="0.5"} 0+1x20',
            'chatlane_loop_lag_seconds_bucket{le="1.0"} 0+10x20',
            'chatlane_loop_lag_seconds_bucket{le="+Inf"} 0+10x20',
        ],
        "15m",
    ),
    "ChatlaneLeasesLost": (['chatlane_leases_lost_total{queue="inbox",call="commit"} 0+1x20'], "10m"),
    "ChatlaneTelegramError": (["chatlane_telegram_last_error_timestamp_seconds 300+0x20"], "10m"),
}
QUIET = [
    'up{job="chatlane"} 1+0x40', "chatlane_ready 1+0x40", "chatlane_store_up 1+0x40",
    'chatlane_problem{problem="source"} 0+0x40', 'chatlane_standby{instance="a"} 0+0x40', 'chatlane_standby{instance="b"} 1+0x40',
    'chatlane_oldest_seconds{queue="inbox"} 1+0x40', 'chatlane_dead_letters_total{queue="inbox"} 3+0x40',
    'chatlane_calls_total{method="sendMessage",code="200"} 0+100x40', 'chatlane_calls_total{method="sendMessage",code="429"} 1+0x40',
    'chatlane_store_errors_total{call="commit"} 2+0x40', 'chatlane_leases_lost_total{queue="inbox",call="commit"} 2+0x40',
    'chatlane_store_seconds_bucket{call="commit",le="0.001"} 0+9x40', 'chatlane_store_seconds_bucket{call="commit",le="+Inf"} 0+9x40',
    'chatlane_loop_lag_seconds_bucket{le="0.001"} 0+9x40', 'chatlane_loop_lag_seconds_bucket{le="+Inf"} 0+9x40',
]  # fmt: skip


def alerts() -> list[str]:
    return re.findall(r"alert: (\w+)", RULES.read_text())


def test_the_dashboard_and_the_rules_name_metrics_that_exist():
    dashboard = json.loads((DOCS / "deploy/grafana/chatlane.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += re.findall(r"expr: (.*)", RULES.read_text())
    names = {name for query in queries for name in re.findall(r"\bchatlane_\w+", query)}
    assert len(names) > 10
    assert names <= SAMPLES


def test_the_guide_has_each_metric_and_each_alert():
    guide = (DOCS / "operating.md").read_text()
    for name, kind in KINDS.items():
        assert f"| `{name}{'_total' if kind.type is COUNTER else ''}` |" in guide
    for alert in alerts():
        assert f"| `{alert}` |" in guide
    assert set(re.findall(r"chatlane_\w+", guide)) <= SAMPLES | set(KINDS)


@needs_promtool
def test_promtool_accepts_the_rules():
    subprocess.run([str(PROMTOOL), "check", "rules", RULES], check=True, capture_output=True)


@needs_promtool
@pytest.mark.parametrize("alert", alerts())
def test_an_alert_fires_for_its_trouble_and_not_for_a_quiet_bot(alert, tmp_path):
    series, at = TROUBLE[alert]
    for given, fires in ((series, True), (QUIET, False)):
        # An alert that must fire is asked for as none: promtool then prints it.
        test = {
            "interval": "1m",
            "input_series": [
                dict(zip(("series", "values"), each.rsplit(" ", 1), strict=True)) for each in given
            ],
            "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}],
        }
        file = tmp_path / "test.yml"
        file.write_text(
            json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]})
        )
        ran = subprocess.run(
            [str(PROMTOOL), "test", "rules", file], capture_output=True, text=True, check=False
        )
        said = ran.stdout + ran.stderr
        assert (ran.returncode != 0) == fires, said
        assert not fires or f'alertname="{alert}"' in said, said


def test_the_guide_has_no_python():
    with modules("operating.md") as made:
        assert not made
