"""Gates on what would be installed: parity, size, latency, encoder, leakage."""

from __future__ import annotations

import time

import numpy as np

from learning.core.calibration import wilson
from learning.gates.evidence import Evidence
from learning.gates.result import Result

SAMPLE = 200
DECIDED = 0.5  # of the texts have to be comparable at all: a pool of near-copies would otherwise pass unseen
SAME = 0.9999  # cosine of two texts that differ in nothing an encoder sees


def parity(e: Evidence) -> Result:
    """The served head against the trained one: no probability differs, no answer flips."""
    x = np.concatenate([e.train.x, e.test.x])[:1000]
    if not len(x):
        return Result("parity", True, None, e.thresholds.parity, "no labeled text to compare on")
    if e.trained.undecided is not None:
        known, x = len(x), x[~e.trained.undecided(x)]
        if len(x) < DECIDED * known:
            said = f"only {len(x)} of {known} texts have neighbours that rounding cannot change: too few to compare on"
            return Result("parity", False, None, e.thresholds.parity, said)
    if tuple(e.trained.categories) != tuple(e.head.categories):
        return Result("parity", False, None, e.thresholds.parity, "the served head has other categories")
    trained, served = np.asarray(e.trained.probabilities(x)), e.head.predict(x)
    gap = float(np.abs(trained - served).max())
    rows = np.arange(len(x))
    lost = trained.max(axis=1) - trained[rows, served.argmax(axis=1)]
    flips = int((lost > e.thresholds.parity).sum())
    detail = f"largest difference of a probability after export on {len(x)} texts, {flips} flips"
    return Result("parity", bool(gap <= e.thresholds.parity and not flips), gap, e.thresholds.parity, detail)


def size(e: Evidence) -> Result:
    found = e.bundle_bytes / 2**20
    return Result("size", found <= e.thresholds.size_mb, found, e.thresholds.size_mb, "MiB of the bundle")


def latency(e: Evidence) -> Result:
    """CPU time, which other work on the machine does not change much; the best of some, since it can only be too long."""
    one = np.zeros((1, e.head.dimension), dtype=np.float32)
    e.head.predict(one)
    found = min(_cpu_ms(e, one) for _ in range(20))
    return Result("latency", found <= e.thresholds.latency_ms, found, e.thresholds.latency_ms, "CPU ms of one answer")


def encoder(e: Evidence) -> Result:
    """Known texts, embedded anew by what is installed, must get the answers of the embeddings that were trained on.

    Stops a wrong tokenizer, a damaged graph, and a variant (int8, student) that is not what the head was fitted on.
    """
    name, limit = "encoder", e.thresholds.encoder_flips
    known = e.test if e.test.texts else e.train
    if e.encode is None or not known.texts:
        return Result(name, True, None, limit, "no text to embed anew")
    n = min(len(known), SAMPLE)
    fresh = e.encode(list(known.texts[:n]))
    if fresh.shape[1:] != known.x.shape[1:]:
        return Result(name, False, None, limit, f"embeddings have {fresh.shape[1]} numbers, not {known.x.shape[1]}")
    before, after = e.candidate.answers(known.x[:n]), e.candidate.answers(fresh)
    flips = sum(a != b for a, b in zip(before, after, strict=True))
    share = wilson(flips, n)
    cosine = float(np.einsum("ij,ij->i", known.x[:n], fresh).mean())
    detail = f"{flips} of {n} answers change when texts are embedded anew; mean cosine {cosine:.4f}"
    return Result(name, share.low <= limit, share.estimate, limit, detail)


def leakage(e: Evidence) -> Result:
    """No test text or near-duplicate of it may have been trained on; of texts that merely embed alike, few."""
    shared = set(e.train.groups) & set(e.test.groups)
    same = 0
    for at in range(0, len(e.test), 512):
        if len(e.train):
            same += int(((e.test.x[at : at + 512] @ e.train.x.T).max(axis=1) >= SAME).sum())
    leaked = sum(g in shared for g in e.test.groups)
    alike = wilson(same, len(e.test)) if len(e.test) else None
    passed = leaked == 0 and (alike is None or alike.low <= e.thresholds.leakage)
    value = max(leaked, same) / max(len(e.test), 1)
    detail = f"of {len(e.test)} test texts {leaked} were trained on; {same} embed like one that was"
    return Result("leakage", passed, value, e.thresholds.leakage, detail)


def _cpu_ms(e: Evidence, one: np.ndarray) -> float:
    begun = time.process_time()
    for _ in range(5):
        e.head.predict(one)
    return 1000 * (time.process_time() - begun) / 5
