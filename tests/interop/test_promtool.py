"""Alert rules and dashboard: promtool takes every query, each alert fires, and every metric they name exists."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from feeds.ipfilter import metrics as filter_metrics
from feeds.ipfilter import nftables
from feeds.ipfilter.filter import Filter
from feeds.ipfilter.kernel import Count, InKernel
from feeds.ipfilter.plan import Plan
from feeds.metrics import FeedCollector
from feeds.store import Store
from resolver.frames import ZoneLoaded
from resolver.metrics import Figures, ResolverCollector, Standing, exposition

pytestmark = pytest.mark.interop

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RULES = DEPLOY / "prometheus" / "blocker.rules.yml"
TESTS = DEPLOY / "prometheus" / "blocker.rules.test.yml"
DASHBOARD = DEPLOY / "grafana" / "blocker.json"
CORE_PANELS = {
    "row",
    "stat",
    "timeseries",
    "table",
    "gauge",
    "bargauge",
    "text",
    "barchart",
    "heatmap",
    "state-timeline",
}


@pytest.fixture
def promtool(need_program: Callable[[str, str], str]) -> Callable[..., None]:
    program = need_program("promtool", "prometheus")

    def check(*words: str | Path) -> None:
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    return check


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    return [panel for outer in dashboard["panels"] for panel in (outer, *outer.get("panels", []))]


def queries() -> list[str]:
    """The dashboard's queries with its variables filled in, as Grafana does."""
    found = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    return [expr.replace("$__rate_interval", "5m").replace("$instance", ".*") for expr in found]


def test_promtool_takes_the_alert_rules(promtool: Callable[..., None]) -> None:
    promtool("check", "rules", RULES)


def test_every_alert_fires_on_its_fault_and_is_silent_before(promtool: Callable[..., None]) -> None:
    promtool("test", "rules", TESTS)
    text = TESTS.read_text("utf-8")
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text("utf-8")))
    fires = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n\s+- exp_labels", text))
    assert fires == alerts


def test_promtool_takes_every_query_of_the_dashboard(promtool: Callable[..., None], tmp_path: Path) -> None:
    assert len(queries()) > 15
    rules = [{"record": f"panel:query:{n}", "expr": expr} for n, expr in enumerate(queries())]
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")
    assert not any("$" in expr for expr in queries())


def test_the_dashboard_needs_no_plugin_and_keeps_its_address() -> None:
    assert {panel["type"] for panel in panels()} <= CORE_PANELS
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    assert dashboard["uid"] == "blocker-isp"
    assert "id" not in dashboard
    numbers = [panel["id"] for panel in panels()]
    assert len(numbers) == len(set(numbers))


def exposed(tmp_path: Path) -> Iterator[str]:
    """The text of every exposition that an ISP scrapes."""
    registry = CollectorRegistry()
    registry.register(FeedCollector(Store(tmp_path)))
    yield generate_latest(registry).decode()
    zone = ZoneLoaded("list.rpz", 1, 2, {}, "given")
    yield exposition(ResolverCollector(Figures(), Standing(zones=(zone,)), (), "1")).decode()
    uses = nftables.uses(["forward"])
    plan = Plan("nftables", 1, InKernel(Filter(), uses, {"gambling4": Count(1, 60)}), Filter(), uses)
    yield filter_metrics.text(plan, datetime.now(UTC), 0).decode()


def test_every_metric_that_an_alert_or_a_panel_names_is_exposed(tmp_path: Path) -> None:
    # prometheus_client writes TYPE lines of counters with their _total.
    there = set(re.findall(r"^# TYPE (\S+)", "\n".join(exposed(tmp_path)), re.M))
    named = set(re.findall(r"\bblocker_[a-z0-9_]+", "\n".join([*queries(), *_expressions()])))
    assert len(named) > 20
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} - there == set()


def _expressions() -> list[str]:
    """The alert rules' expressions: the lines after `expr:` to the next key."""
    return re.findall(r"expr: (.*?)\n\s+(?:for|labels):", RULES.read_text("utf-8"), re.S)


def test_no_alert_nor_panel_could_show_a_name_or_a_client() -> None:
    # `zone` is a policy zone that the operator configured, never what somebody asked for.
    labels = set(re.findall(r"\{\{\s*\.?\$?(?:labels\.)?(\w+)\s*\}\}", DASHBOARD.read_text() + RULES.read_text()))
    assert labels <= {
        "instance", "job", "kind", "result", "outcome", "category", "action", "upstream", "family", "set", "change",
        "value", "zone",
    }  # fmt: skip
