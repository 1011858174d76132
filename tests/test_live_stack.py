"""A label over HTTP until it is in the answers, with the process that follows labels killed -9 on the way."""

from __future__ import annotations

import os

import pytest

from benchmarks.harness import load_corpus
from benchmarks.live_stack import served_after


@pytest.mark.processes
@pytest.mark.usefixtures("tables")
@pytest.mark.timeout(600)
def test_no_label_is_lost_or_counted_twice_when_the_follower_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    # The benchmark's stack has a home of its own; with servers named by URL it would share the suite's database.
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert os.environ["ENSO_ENCODERS"]
    figures = served_after(load_corpus(None, size=1000), labels=6, base=120, seed=0, kill=True)
    assert figures["lost"] == 0
    assert figures["served_after_labels"] == 6
