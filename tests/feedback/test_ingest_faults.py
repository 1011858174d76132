"""Nothing acknowledged is lost while web, worker and PostgreSQL are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.servers import ROOT


@pytest.mark.processes
@pytest.mark.usefixtures("tables")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("events", [384, pytest.param(10_000, marks=pytest.mark.soak)])
def test_no_acknowledged_event_is_lost_whatever_is_killed(tmp_path, events):
    report = tmp_path / "ingest.json"
    command = [
        sys.executable, "-m", "benchmarks.ingest", "--only-faults", "--fault-events", str(events), "--inquiries", "100",
        "--json", str(report),
    ]  # fmt: skip
    # The benchmark's stack has a home of its own; with servers named by URL it would share the suite's database.
    environment = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(report.read_text())
    assert figures["killed"] == ["web", "postgresql", "worker"]
    assert (figures["lost"], figures["refused"], figures["acknowledged"], figures["miscounted"]) == (0, 0, events, 0)
