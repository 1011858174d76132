"""Rules and dashboards name metrics that exist; `promtool` looks at them where it is installed."""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from config import observability as _  # noqa: F401 - every metric is declared
from feedback import service_level as slo
from feedback.metrics import known

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "ops" / "prometheus"
DASHBOARDS = sorted((ROOT / "ops" / "grafana" / "dashboards").glob("*.json"))
RULES = [r for g in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for r in g["rules"]]
ALERTS = {r["alert"]: r for r in RULES if "alert" in r}
SERIES = {name for metric in known.values() for name in metric.series}
RECORDED = {r["record"] for r in RULES if "record" in r}
PROMTOOL = shutil.which("promtool")


def load_writer():
    spec = importlib.util.spec_from_file_location("ops_observability", ROOT / "ops" / "observability.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


writer = load_writer()


def named(expression: str) -> set[str]:
    """Every metric or recorded rule that an expression names."""
    return set(re.findall(r"\benso[_:][a-z0-9_:]*[a-z0-9_]", re.sub(r'"[^"]*"', "", expression)))


def targets(path: Path):
    return [t["expr"] for p in json.loads(path.read_text())["panels"] for t in p["targets"]]


def test_the_worked_examples_hold():
    assert doctest.testmod(writer).failed == 0


def test_the_files_are_those_that_would_be_written():
    for path, text in writer.files().items():
        assert path.read_text() == text, f"{path.name} is stale: run ops/observability.py"


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.get("alert") or r["record"])
def test_a_rule_names_only_what_exists(rule):
    assert named(rule["expr"]) or rule["expr"].startswith("up{")  # Prometheus' own
    assert named(rule["expr"]) <= SERIES | RECORDED


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_a_dashboard_names_only_what_exists(path):
    for expression in targets(path):
        assert named(expression), expression
        assert named(expression) <= SERIES | RECORDED


def test_the_check_would_see_a_metric_that_does_not_exist():
    assert named('sum(rate(enso_no_such_total{x="enso_jobs"}[5m])) / enso:nothing:ever') == {
        "enso_no_such_total",
        "enso:nothing:ever",
    }


def test_labels_that_rules_choose_by_are_those_of_the_metric():
    for expression in [r["expr"] for r in RULES] + [e for p in DASHBOARDS for e in targets(p)]:
        for name, chosen in re.findall(r"\b(enso_[a-z_]+)\{([^}]*)\}", expression):
            (metric,) = [m for m in known.values() if name in m.series]
            assert set(re.findall(r"(\w+)\s*=~?", chosen)) <= {*metric.labels, "le"}, expression


def test_every_metric_is_on_a_dashboard():
    shown = {name for p in DASHBOARDS for e in targets(p) for name in named(e)}
    assert {m.name for m in known.values() if not shown & set(m.series)} == set()


def test_every_metric_is_documented_and_nothing_else():
    text = (ROOT / "docs" / "operations.md").read_text()
    table = text[text.index("| metric |") : text.index("## Service levels")]
    told = set(re.findall(r"`(enso_\w+)`", table))
    assert told == {m.name + ("_total" if m.kind == "counter" else "") for m in known.values()}


def test_every_alert_says_how_loud_it_is_and_where_to_read_on():
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    for name, alert in ALERTS.items():
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{writer.anchor(name)}"
    assert sorted(h.lower() for h in headings) == sorted({writer.anchor(name) for name in ALERTS})


def test_each_objective_has_an_alert_for_each_pair_of_windows():
    for o in slo.OBJECTIVES:
        own = [a for name, a in ALERTS.items() if name.startswith(f"Enso{o.name.title()}Burns")]
        assert [a["labels"]["severity"] for a in own] == [w.severity for w in slo.WINDOWS]
        for alert, w in zip(own, slo.WINDOWS, strict=True):
            assert alert["expr"].count(f"> {w.factor:g} * {o.budget:.4g}") == 2


def test_alertmanager_sends_pages_and_tickets_apart_and_holds_no_secret():
    given = yaml.safe_load((ROOT / "ops" / "alertmanager" / "alertmanager.yml").read_text())
    receivers = {r["name"] for r in given["receivers"]}
    used = {given["route"]["receiver"], *(r["receiver"] for r in given["route"]["routes"])}
    assert receivers == used == {"pages", "tickets"}
    assert all("url_file" in hook and "url" not in hook for r in given["receivers"] for hook in r["webhook_configs"])
    for rule in given["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            name = re.search(r'alertname=~?"([^"]+)"', matcher)
            assert not name or any(re.fullmatch(name[1], known_alert) for known_alert in ALERTS)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's package prometheus) is not installed")
@pytest.mark.parametrize("given", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_agrees(given):
    done = subprocess.run([PROMTOOL, *given], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_says_so_where_a_file_is_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ROOT", tmp_path)
    monkeypatch.setattr(writer, "RULES", tmp_path / "rules.yml")
    monkeypatch.setattr(writer, "GRAFANA", tmp_path / "grafana")
    monkeypatch.setattr(sys, "argv", ["x", "--check"])
    assert writer.main() == 1
    monkeypatch.setattr(sys, "argv", ["x"])
    assert writer.main() == 0
    monkeypatch.setattr(sys, "argv", ["x", "--check"])
    assert writer.main() == 0
