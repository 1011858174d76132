"""Which two replies people are asked to compare, and on which inquiries.

Asked is where the policy in service is least sure: of the inquiries that customers sent lately, those whose two likeliest
replies have almost the same probability. A pair of replies that has been compared often teaches less each time, so its
value is divided by one more than how often it was asked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from feedback import jobs
from feedback.models import Job, Reply
from feedback.problems import Problem, invalid
from labeling import comparing
from labeling.models import Comparison
from serving import policies
from serving.engine import from_bytes
from serving.models import Embedding, PolicyStage, PolicyVersion, ReplyShown
from serving.policy import ServedPolicy

KIND = "compare_replies"
RECENT = 2_000  # showings looked at, newest first
COUNT, MOST = 50, 500


@dataclass(frozen=True)
class Doubt:
    """An inquiry whose two likeliest replies are ``pair``, and how close they are: in (0, 1], 1 is a tie."""

    inquiry_id: Any
    pair: tuple[int, int]
    closeness: float
    shares: tuple[float, float]


def ask(*, project_id: int, count: int = COUNT) -> Job:
    """Have comparisons made. 409 where no policy chooses, 422 for a count out of range."""
    if not 1 <= count <= MOST:
        raise invalid("count", f"Ask for 1 to {MOST} comparisons at a time.")
    if not PolicyVersion.objects.filter(project=project_id, stage=PolicyStage.PRODUCTION).exists():
        raise Problem(409, "no-policy", "No policy chooses replies here: there is nothing to compare.")
    return jobs.enqueue(kind=KIND, project_id=project_id, params={"count": count})


@jobs.handler(KIND, queue="io")
def make(running: jobs.Running) -> dict[str, Any]:
    """Handler of `compare_replies` jobs. Made again after a kill, it makes none twice."""
    project_id, count = running.job.project_id, int(running.job.params.get("count", COUNT))
    running.report(0.1, "looking for close choices")
    doubts = [d for v in _serving(project_id) for d in _doubts(project_id, v)]
    asked = Counter(Comparison.objects.filter(project=project_id).values_list("first_id", "second_id"))
    chosen = most_telling(doubts, asked, count)
    running.report(0.8, f"asking for {len(chosen)} comparisons")
    wanted = [
        comparing.Wanted(
            d.inquiry_id, d.pair, d.closeness,
            {"rule": "close", "shares": {str(r): round(s, 4) for r, s in zip(d.pair, d.shares, strict=True)}},
        )
        for d in chosen
    ]  # fmt: skip
    made = comparing.open_comparisons(project_id=project_id, wanted=wanted)
    return {"made": made, "looked_at": len(doubts)}


def most_telling(doubts: list[Doubt], asked: Counter[tuple[int, int]], count: int) -> list[Doubt]:
    """The ``count`` most valuable: closeness over one more than how often the pair was asked, each choice counted."""
    counts = Counter(asked)
    chosen: list[Doubt] = []
    waiting: dict[tuple[int, int], list[Doubt]] = {}
    for d in sorted(doubts, key=lambda d: d.closeness):  # each pair's closest last
        waiting.setdefault(_ordered(d.pair), []).append(d)
    while waiting and len(chosen) < count:
        pair = max(waiting, key=lambda p: (waiting[p][-1].closeness / (1 + counts[p]), p))
        chosen.append(waiting[pair].pop())
        counts[pair] += 1
        if not waiting[pair]:
            del waiting[pair]
    return chosen


def _ordered(pair: tuple[int, int]) -> tuple[int, int]:
    return (min(pair), max(pair))


def _serving(project_id: int) -> list[PolicyVersion]:
    return list(PolicyVersion.objects.filter(project=project_id, stage=PolicyStage.PRODUCTION))


def _doubts(project_id: int, version: PolicyVersion) -> list[Doubt]:
    policy = ServedPolicy.load(policies.open_bundle(version))
    active = set(Reply.objects.filter(project=project_id, active=True).values_list("pk", flat=True))
    shown = ReplyShown.objects.filter(
        policy__project=project_id, policy__encoder_sha=version.encoder_sha, inquiry__comparisons=None
    )
    rows = list(shown.order_by("-shown_at").values_list("inquiry_id", "candidates")[:RECENT])
    read = Embedding.objects.filter(inquiry__in=[r[0] for r in rows], encoder_sha=version.encoder_sha)
    vectors = dict(read.values_list("inquiry_id", "vector"))
    found = (_doubt(policy, i, candidates, vectors[i], active) for i, candidates in rows if i in vectors)
    return [d for d in found if d is not None]


def _doubt(
    policy: ServedPolicy, inquiry: Any, candidates: dict[str, float], vector: Any, active: set[int]
) -> Doubt | None:
    ids = sorted(i for i in map(int, candidates) if i in active and policy.knows(i))
    if len(ids) < 2:
        return None
    p = policy.probabilities(from_bytes([vector])[0], ids, explore=False)
    best, next_best = p.argsort()[::-1][:2]
    closeness = float(p[next_best] / max(p[best], 1e-12))
    return Doubt(inquiry, (ids[best], ids[next_best]), closeness, (float(p[best]), float(p[next_best])))
