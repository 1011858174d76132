"""The `topics` job: gather a project's texts, play a round over each of its maps, and write what came of it.

What a run works on is fixed at its first attempt (seed, newest member, kind of round) and kept in the job's checkpoint: an
attempt that takes over plays the same round over the same texts. A map that has been written is not played again. Numbers
are computed without a transaction; the one that writes them is fenced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Max
from django.utils import timezone

from feedback.jobs import Running
from learning import topic_texts
from learning.core.topics.cluster import Config, warm_up
from learning.core.topics.rounds import Known, play
from learning.models import Topic, TopicMember, TopicRun
from learning.topic_summaries import said, summarised
from learning.topic_texts import Texts
from learning.topic_writing import Gone, Written, splits, write

LEAST = 30  # texts; fewer are no map
REFIT_EVERY = timedelta(days=7)
GATHERING = 0.2  # of a run's work
TRIES = 3  # of a summary whose texts are erased while it is made


def run_topics(running: Running, config: Config | None = None) -> dict[str, Any]:
    """Handler of `topics` jobs. Its result names each map's run, births and size."""
    config = config or Config()
    plan = running.job.checkpoint or _plan(running)
    running.report(GATHERING, "finding topics")
    warm()
    results = []
    for n, (sha, kind) in enumerate(sorted(plan["maps"].items())):
        step = _step(running, GATHERING + (1 - GATHERING) * n / len(plan["maps"]), (1 - GATHERING) / len(plan["maps"]))
        done = TopicRun.objects.filter(job=running.job, encoder_sha=sha).first()
        written = done or _map(running, plan, sha, kind, config, step)
        results.append({"encoder": sha[:12], "kind": kind, "run": written.pk if written else None})
    return {"maps": results}


@functools.cache
def warm() -> None:
    """Compile umap's and hdbscan's loops: once per worker process."""
    warm_up(Config(layouts=1, sizes=1, epochs=10))


def _plan(running: Running) -> dict[str, Any]:
    """What this run is about, kept before anything is computed."""
    project_id, params = running.job.project_id, running.job.params
    running.report(0.0, "gathering texts")

    def report(done: int) -> None:
        running.report(GATHERING * done / (done + 2000), f"gathering texts: {done}")

    topic_texts.gather(project_id=project_id, fence=running.hold, report=report)
    upto = TopicMember.objects.filter(project_id=project_id).aggregate(last=Max("pk"))["last"] or 0
    maps = topic_texts.maps_of(project_id=project_id)
    runs = TopicRun.objects.filter(project_id=project_id).count()
    plan = {
        "seed": int(params.get("seed", runs)), "upto": upto, "at": timezone.now().isoformat(),
        "maps": {sha: _kind(project_id, sha, refit=bool(params.get("refit"))) for sha in maps},
    }  # fmt: skip
    running.save_checkpoint(plan)
    return plan


def _kind(project_id: int, encoder_sha: str, *, refit: bool) -> str:
    """First topics where there are none, everything anew when asked for or a week has passed, else the novel remainder."""
    runs = TopicRun.objects.filter(project_id=project_id, encoder_sha=encoder_sha)
    if not Topic.objects.filter(project_id=project_id, encoder_sha=encoder_sha, died_at=None).exists():
        return TopicRun.Kind.FIT.value
    whole = runs.exclude(kind=TopicRun.Kind.EXTEND).order_by("-pk").first()
    old = whole is not None and whole.created_at < timezone.now() - REFIT_EVERY
    return (TopicRun.Kind.REFIT if refit or old else TopicRun.Kind.EXTEND).value


def _step(running: Running, begin: float, span: float) -> Callable[[float], None]:
    def step(share: float) -> None:
        running.report(begin + span * share, "finding topics")

    return step


def _map(
    running: Running, plan: dict[str, Any], sha: str, kind: Any, config: Config, step: Callable[[float], None]
) -> TopicRun | None:
    """Play and write one map; None where it has too few texts."""
    project_id = running.job.project_id
    parted = splits(project_id)
    texts = topic_texts.read(project_id=project_id, encoder_sha=sha, pk__lte=plan["upto"])
    if len(texts) < LEAST:
        return None
    found = play(kind, _known(texts), next_id=_next_number(project_id), seed=plan["seed"], config=config, step=step)
    row = {
        "project_id": project_id, "job": running.job, "encoder_sha": sha, "kind": kind, "seed": plan["seed"],
        "config": asdict(config), "reference_sha": texts.sha256, "texts": len(texts),
        "new_texts": int((texts.topics < 0).sum()), "topics": len(np.unique(found.ids)), "noise": int(found.noise.sum()),
        "stability": found.stability,
    }  # fmt: skip
    at = datetime.fromisoformat(plan["at"])
    for _ in range(TRIES):
        words = said(project_id=project_id, encoder_sha=sha, upto=plan["upto"])
        rows = np.searchsorted(texts.ids, words.ids)
        ids, points = found.ids[rows], found.points[rows]
        figures = summarised(words, texts.x[rows], ids, found.noise[rows], points, now=at)
        written = Written(
            words.ids, texts.x[rows], ids, found.noise[rows], found.settled[rows], points, figures, at, parted
        )
        try:
            return write(running, row, written, found.events)
        except Gone:  # an erasure came in between: say it again without what is gone
            continue
    raise Gone("texts were erased each time they were summed up")


def _known(texts: Texts) -> Known:
    return Known(texts.x, texts.topics, texts.noise, texts.settled & (texts.topics >= 0), texts.points)


def _next_number(project_id: int) -> int:
    last = Topic.objects.filter(project_id=project_id).aggregate(last=Max("number"))["last"]
    return 1 if last is None else int(last) + 1
