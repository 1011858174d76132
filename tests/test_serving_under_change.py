"""A model swap, its rollback, a canary that grows and a rollout that is ended, over HTTP and under load: nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.servers import ROOT


@pytest.mark.soak
@pytest.mark.processes
@pytest.mark.timeout(1200)
def test_no_request_fails_and_no_inquiry_is_lost_while_models_change(tmp_path):
    report = tmp_path / "serving.json"
    command = [sys.executable, "-m", "benchmarks.serving", "--quick", "--only", "changes", "--json", str(report)]
    environment = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(report.read_text())
    canary = [f"canary at {percent} %" for percent in (1, 5, 25)]
    assert figures["changes"] == ["swap", "rollback", "shadow", *canary, "rollout aborted"]
    assert (figures["lost"], figures["failed_under_change"]) == (0, 0)
    assert figures["acknowledged_under_change"] == figures["sent_under_change"] > 0
    assert {"production", "candidate"} <= set(figures["arms"])
