"""Gates on how answers behave: a project's own expectations, perturbed texts, noise."""

from __future__ import annotations

import numpy as np

from learning.core.calibration import wilson
from learning.gates.checks import PERTURBATIONS
from learning.gates.evidence import Evidence
from learning.gates.result import ENOUGH, Result

SAMPLE = 60
NOISE = 0.02


def functionality(e: Evidence) -> Result:
    """Texts that the project says must be answered so."""
    limit, cases = e.thresholds.functionality, e.checks.functionality
    if not cases or e.encode is None:
        return Result("functionality", True, None, limit, "the project has no such checks")
    answers = e.candidate.answers(e.encode([c.text for c in cases]))
    wrong = [f"{c.category} was answered with {a}" for c, a in zip(cases, answers, strict=True) if a != c.category]
    share = 1 - len(wrong) / len(cases)
    return Result(
        "functionality", share >= limit, share, limit, f"{len(cases)} texts; " + ("; ".join(wrong[:3]) or "all")
    )


def directional(e: Evidence) -> Result:
    """Words that must move a probability up or down."""
    limit = e.thresholds.directional
    cases = [c for c in e.checks.directional if c.category in e.head.categories]
    if not cases or e.encode is None:
        return Result("directional", True, None, limit, "the project has no such checks")
    before = e.head.predict(e.encode([c.text for c in cases]))
    after = e.head.predict(e.encode([f"{c.text} {c.add}" for c in cases]))
    at = [e.head.categories.index(c.category) for c in cases]
    moved = [
        float(after[i, k] - before[i, k]) * (1 if c.expect == "up" else -1)
        for i, (c, k) in enumerate(zip(cases, at, strict=True))
    ]
    share = float(np.mean([m > 0 for m in moved]))
    return Result("directional", share >= limit, share, limit, f"{len(cases)} texts whose probability must move")


def invariance(e: Evidence) -> Result:
    """Case, typos, greetings, names and numbers must not change answers, or no more than they do in service."""
    limit = e.thresholds.invariance
    texts = list(e.test.texts[:SAMPLE])
    if e.encode is None or not texts or not e.checks.invariance:
        return Result("invariance", True, None, limit, "no text to perturb")
    if len(texts) < ENOUGH:
        return Result("invariance", True, None, limit, f"{len(texts)} test texts cannot show it; {ENOUGH} are needed")
    plain = e.encode(texts)
    known = {judged.name: judged.answers(plain) for judged in (e.candidate, e.serving)}
    worst, fragile = 0.0, []
    for name in e.checks.invariance:
        rng = np.random.default_rng(0)
        x = e.encode([PERTURBATIONS[name](text, rng) for text in texts])
        flips = [
            sum(a != b for a, b in zip(known[j.name], j.answers(x), strict=True)) for j in (e.candidate, e.serving)
        ]
        worst = max(worst, flips[0] / len(texts))
        if wilson(flips[0], len(texts)).low > limit and flips[0] > flips[1]:
            fragile.append(name)
    detail = f"largest share of answers that change, of {', '.join(e.checks.invariance)}, on {len(texts)} texts"
    return Result(
        "invariance", not fragile, worst, limit, detail + (f"; fragile: {', '.join(fragile)}" if fragile else "")
    )


def robustness(e: Evidence) -> Result:
    """Noise of 2 % of an embedding's length, about what another machine's arithmetic and float16 add up to and more."""
    limit, x = e.thresholds.robustness, e.test.x if len(e.test) >= ENOUGH else np.concatenate([e.test.x, e.train.x])
    if not len(x):
        return Result("robustness", True, None, limit, "no labeled text")
    noise = np.random.default_rng(0).standard_normal(x.shape)
    moved = x + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    moved = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
    before, after = e.candidate.answers(x), e.candidate.answers(moved)
    share = wilson(sum(a != b for a, b in zip(before, after, strict=True)), len(x))
    detail = f"answers of {len(x)} texts that change under noise of {100 * NOISE:.0f} %"
    return Result("robustness", share.low <= limit, share.estimate, limit, detail)
