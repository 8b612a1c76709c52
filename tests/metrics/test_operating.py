"""The guide, the dashboard and the alert rules name metrics that exist. Whether the alerts fire: test_alerts.py."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from telegram.metrics.exposition import COUNTER, HISTOGRAM, KINDS
from tests.kit.bounds import WITHIN_S
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
    subprocess.run(
        [str(PROMTOOL), "check", "rules", RULES], check=True, capture_output=True, timeout=WITHIN_S
    )


def test_the_guide_has_no_python():
    with modules("operating.md") as made:
        assert not made
