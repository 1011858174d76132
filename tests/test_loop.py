"""The whole loop on the real stack, with the web process and the learner killed and Redis flushed on the way."""

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
def test_the_loop_finishes_with_the_same_counts_whatever_is_killed(tmp_path):
    report = tmp_path / "loop.json"
    command = [
        sys.executable, "-m", "benchmarks.loop", "--quick", "--budget", "40", "--no-random", "--faults", "--json", str(report),
    ]  # fmt: skip
    # The benchmark's stack has a home of its own; with servers named by URL it would share the suite's database.
    environment = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(report.read_text())
    assert figures["lost"] == 0
    assert [r["labels"] for r in figures["rounds"]] == [0, 20, 40]
    assert figures["annotations"] >= 80
