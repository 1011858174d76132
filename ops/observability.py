"""Writes ops/prometheus/rules.yml and the dashboards of ops/grafana from the metrics that exist and the service levels.

    python ops/observability.py            writes them
    python ops/observability.py --check    says (status 1) where they are not what would be written

Each web replica reports the same figures of the database: these are joined by `max`, counts of each process by `sum`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402

django.setup()

from config import observability as _observability  # noqa: E402, F401 - metrics register by being imported
from feedback import service_level as slo  # noqa: E402
from feedback.metrics import Metric, known  # noqa: E402

RULES = ROOT / "ops" / "prometheus" / "rules.yml"
GRAFANA = ROOT / "ops" / "grafana" / "dashboards"
# What the service level is promised for: what apps call, not the pages of people.
PROMISED = 'endpoint=~"inquiries|predict|feedback"'
Document = dict[str, Any]


def window(minutes: int) -> str:
    """
    >>> window(5), window(360), window(4320)
    ('5m', '6h', '3d')
    """
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"


def bad_share(objective: slo.Objective, span: str) -> str:
    """The share of bad events in a span, as PromQL."""
    if objective is slo.AVAILABILITY:
        requests = f"enso_http_requests_total{{{PROMISED}%s}}[{span}]"
        bad, every = requests % ', status=~"5.."', requests % ""
        # Without an error there is no such series: that is 0, not "no data".
        return f"(sum(rate({bad})) or vector(0)) / sum(rate({every}))"
    good = f'enso_http_request_seconds_bucket{{{PROMISED}, le="{slo.LATENCY_SECONDS}"}}[{span}]'
    every = f"enso_http_request_seconds_count{{{PROMISED}}}[{span}]"
    return f"1 - sum(rate({good})) / sum(rate({every}))"


def recorded() -> list[Document]:
    spans = sorted({m for w in slo.WINDOWS for m in (w.long_minutes, w.short_minutes)})
    rules = [
        {"record": f"enso:{o.name}:bad_share_{window(m)}", "expr": bad_share(o, window(m))}
        for o in slo.OBJECTIVES
        for m in spans
    ]
    for o in slo.OBJECTIVES:
        left = f"1 - ({bad_share(o, f'{o.days}d')}) / {o.budget:.4g}"
        rules.append({"record": f"enso:{o.name}:budget_left", "expr": left})
    return rules


def burning() -> Iterator[Document]:
    """The pairs of windows of each objective (feedback/service_level.py)."""
    for o in slo.OBJECTIVES:
        for w in slo.WINDOWS:
            limit = f"{w.factor:g} * {o.budget:.4g}"
            long, short = (f"enso:{o.name}:bad_share_{window(m)} > {limit}" for m in (w.long_minutes, w.short_minutes))
            yield alert(
                f"Enso{o.name.title()}Burns{window(w.long_minutes)}", f"{long} and {short}", w.severity,
                f"The error budget of {o.name} burns {w.factor:g} times too fast",
                f"More than {w.factor * o.budget:.2%} of requests were bad over {window(w.long_minutes)} and still are "
                f"(target {o.share:.1%} over {o.days} days).",
            )  # fmt: skip


def alert(name: str, expr: str, severity: str, summary: str, what: str, *, hold: str = "") -> Document:
    return {
        "alert": name, "expr": expr, **({"for": hold} if hold else {}), "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": what, "runbook": f"docs/operations.md#{anchor(name)}"},
    }  # fmt: skip


def anchor(name: str) -> str:
    """Where docs/operations.md says what to do; one place for all windows of an objective.

    >>> anchor("EnsoDown"), anchor("EnsoLatencyBurns3d")
    ('ensodown', 'ensolatencyburns')
    """
    return re.sub(r"burns\w+$", "burns", name.lower())


def symptoms() -> list[Document]:
    """What hurts customers, people or the loop, and what to do about it."""
    return [
        alert("EnsoDown", 'up{job="enso"} == 0', "page", "A web process does not answer",
              "{{ $labels.instance }} has not been scraped for five minutes.", hold="5m"),
        alert("EnsoUnread", 'sum by (project) (increase(enso_answer_reasons_total{reason="unread"}[5m])) > 0', "page",
              "No model can read the inquiries", "Everything of {{ $labels.project }} goes to people: its encoder or head is broken.",
              hold="2m"),
        alert("EnsoFiguresMissing", "min by (group) (enso_metrics_group_up) == 0", "ticket", "Figures cannot be read",
              "The gauges of {{ $labels.group }} fail or take more than two seconds: the alerts on them are blind.", hold="10m"),
        alert("EnsoOutboxLags", "max(enso_outbox_lag_seconds) > 60", "page", "What follows a commit comes late",
              "An event has waited {{ $value | humanizeDuration }}: are the io worker and Redis there?", hold="5m"),
        alert("EnsoOutboxDead", 'max(enso_outbox_events{state="dead"}) > 0', "ticket", "Events were given up",
              "{{ $value }} outbox events failed twelve times: their `error` says why.", hold="1m"),
        alert("EnsoJobSilent", "max by (kind) (enso_jobs_heartbeat_seconds) > 60", "page", "Nobody takes back a lost job",
              "A job of kind {{ $labels.kind }} is silent and not swept: is beat running?", hold="2m"),
        alert("EnsoJobsWait", "max by (kind) (enso_jobs_oldest_seconds) > 7200", "ticket", "Jobs do not end",
              "A job of kind {{ $labels.kind }} was asked for {{ $value | humanizeDuration }} ago.", hold="15m"),
        alert("EnsoJobsDead", 'max by (kind) (enso_jobs{state="dead"}) > 0', "ticket", "A job failed three times",
              "A job of kind {{ $labels.kind }} is dead: its errors are in /api/v1/jobs."),
        alert("EnsoWebhooksFail", 'max by (project) (enso_webhook_notices{state="dead"}) > 0', "ticket", "Webhook notices were given up",
              "{{ $value }} notices of {{ $labels.project }} were not delivered in 28 hours.", hold="5m"),
        alert("EnsoCasesBreached", "max by (project) (enso_escalations_breached) > 0", "page", "Customers wait past their target",
              "{{ $value }} cases of {{ $labels.project }} have passed a target.", hold="10m"),
        alert("EnsoQueueGrowsOld", "max by (project) (enso_queue_oldest_seconds) > 3 * 86400 and on (project) "
              "max by (project) (enso_annotators_needed) > max by (project) (enso_annotators_present)", "ticket",
              "The queue needs more people", "The oldest task of {{ $labels.project }} has waited "
              "{{ $value | humanizeDuration }}: compare enso_annotators_needed.", hold="1h"),
        alert("EnsoAccuracyLow", 'max by (project) (enso_audit_accuracy{bound="high"}) < 0.85 and on (project) '
              "max by (project) (enso_audit_answers) >= 200", "page", "Answers are worse than they may be",
              "Even the upper bound of the audited accuracy of {{ $labels.project }} is {{ $value | humanizePercentage }}.", hold="10m"),
        alert("EnsoDrifts", "max by (project, encoder) (enso_drift_state) == 2", "ticket", "What customers write has changed",
              "The last check of {{ $labels.project }} is beyond chance: a lead, the audited accuracy is the verdict."),
        alert("EnsoLabelsFrozen", "max by (project, model) (enso_model_frozen) == 1", "ticket", "Live labels are held back",
              "The guard set of {{ $labels.project }} fell: look at its page Loop, then thaw or retrain.", hold="15m"),
        alert("EnsoTrainingsRejected", "max by (project) (enso_trainings_rejected) >= 3", "ticket", "Versions keep failing their gates",
              "{{ $value }} trainings of {{ $labels.project }} were rejected within a day."),
    ]  # fmt: skip


def rules() -> Document:
    return {
        "groups": [
            {"name": "enso-service-level", "interval": "30s", "rules": recorded()},
            {"name": "enso-budget", "rules": list(burning())},
            {"name": "enso-symptoms", "rules": symptoms()},
        ]
    }


BOARDS = {
    "service": ("Enso: service", ("enso_http", "enso_metrics", "enso_request_log")),
    "models": ("Enso: models", ("enso_answer", "enso_model", "enso_rollout", "enso_audit", "enso_labels", "enso_trainings", "enso_drift",
                                "enso_escalations_opened")),
    "people": ("Enso: people", ("enso_queue", "enso_escalations", "enso_annotators")),
    "background": ("Enso: background", ("enso_jobs", "enso_outbox", "enso_webhook", "enso_feedback")),
}  # fmt: skip


def board_of(metric: Metric) -> str:
    """The dashboard with the longest prefix of the metric's name. LookupError says that a new metric needs one."""
    found = [(len(p), name) for name, (_, prefixes) in BOARDS.items() for p in prefixes if metric.name.startswith(p)]
    if not found:
        raise LookupError(f"no dashboard of ops/observability.py takes {metric.name}: add its prefix to BOARDS")
    return max(found)[1]


def queries(metric: Metric) -> list[tuple[str, str]]:
    """PromQL and legend of a metric's panel."""
    chosen = '{project=~"$project"}' if "project" in metric.labels else ""
    by, legend = (
        f" by ({', '.join(metric.labels)})" if metric.labels else "",
        " ".join(f"{{{{{x}}}}}" for x in metric.labels),
    )
    if metric.kind == "gauge":
        return [(f"max{by}({metric.name}{chosen})", legend)]
    if metric.kind == "counter":
        return [(f"sum{by}(rate({metric.name}_total{chosen}[$__rate_interval]))", legend)]
    within = f" by ({', '.join((*metric.labels, 'le'))})"
    rate = f"sum{within}(rate({metric.name}_bucket{chosen}[$__rate_interval]))"
    return [(f"histogram_quantile({q}, {rate})", f"p{100 * q:g} {legend}") for q in (0.5, 0.95, 0.99)]


def panel(number: int, title: str, about: str, asked: list[tuple[str, str]], unit: str) -> Document:
    return {
        "id": number, "type": "timeseries", "title": title, "description": about,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {"h": 8, "w": 12, "x": 12 * ((number - 1) % 2), "y": 8 * ((number - 1) // 2)},
        "fieldConfig": {"defaults": {"unit": unit, "custom": {"lineWidth": 2, "fillOpacity": 8}}, "overrides": []},
        "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]}, "tooltip": {"mode": "multi"}},
        "targets": [{"refId": chr(65 + i), "expr": e, "legendFormat": legend} for i, (e, legend) in enumerate(asked)],
    }  # fmt: skip


def first_panels(board: str) -> list[tuple[str, str, list[tuple[str, str]], str]]:
    """What is asked before all else, put together from several metrics."""
    total = 'sum by (project) (rate(enso_answers_total{stored="yes", project=~"$project"}[$__rate_interval]))'
    if board == "service":
        left = [(f"enso:{o.name}:budget_left", o.name) for o in slo.OBJECTIVES]
        share = [(f"enso:{o.name}:bad_share_1h / {o.budget:.4g}", o.name) for o in slo.OBJECTIVES]
        return [
            ("Error budget left", "Of 30 days: 1 is all of it, 0 none.", left, "percentunit"),
            ("Burn rate", "1 spends the budget in exactly 30 days; 14.4 pages.", share, "short"),
        ]
    if board == "models":
        part = 'sum by (project, step, decision) (rate(enso_answers_total{stored="yes", project=~"$project"}[$__rate_interval]))'
        share = [(f"{part} / on (project) group_left {total}", "{{project}} {{step}} {{decision}}")]
        return [("Shares of the cascade", "Which step answered, and what went to a person.", share, "percentunit")]
    if board == "people":
        both = [
            (f'max by (project) (enso_annotators_{w}{{project=~"$project"}})', f"{{{{project}}}} {w}")
            for w in ("needed", "present")
        ]
        return [
            (
                "Annotators needed and present",
                "By Little's law, with the backlog cleared in eight hours.",
                both,
                "short",
            )
        ]
    return []


def dashboard(board: str) -> Document:
    title, _ = BOARDS[board]
    own = [m for m in known.values() if board_of(m) == board]
    asked = first_panels(board) + [(m.name, m.about, queries(m), m.unit) for m in own]
    return {
        "uid": f"enso-{board}", "title": title, "schemaVersion": 39, "version": 1, "refresh": "30s", "editable": False,
        "time": {"from": "now-6h", "to": "now"}, "tags": ["enso"], "timezone": "browser",
        "templating": {"list": [
            {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"},
            {"name": "project", "type": "query", "label": "Project", "multi": True, "includeAll": True, "allValue": ".*", "refresh": 2,
             "datasource": {"type": "prometheus", "uid": "${source}"}, "query": "label_values(enso_queue_tasks, project)"},
        ]},
        "panels": [panel(n, *given) for n, given in enumerate(asked, start=1)],
    }  # fmt: skip


def files() -> dict[Path, str]:
    """Everything that is written, as text."""
    head = "# Written by ops/observability.py: change that, then run it.\n"
    made = {RULES: head + yaml.safe_dump(rules(), sort_keys=False, width=120)}
    return made | {GRAFANA / f"{name}.json": json.dumps(dashboard(name), indent=1) + "\n" for name in BOARDS}


def main() -> int:
    stale = [path for path, text in files().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not what ops/observability.py writes: run it.\n")
        return bool(stale)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files()[path])
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
