"""When no prepared reply is likely to help: the score of "ask a person", from what replies are expected to be worth.

A person is worth a fixed approval, ``below``. Where the best eligible reply is expected to please less, the person should be
asked; how much less decides how surely. On each known inquiry that asks for log-odds

    s(x) − log Σ exp(score of eligible replies) = sharpness · (below − best expected approval)

and s is the linear function of the embedding that comes closest to it (ridge regression, closed form). So the person is a
candidate like any other: a column of the policy, with a probability that is logged.
"""

from __future__ import annotations

import numpy as np

from learning.core.preference.evidence import Flags, Floats
from learning.core.preference.policy import ReplyPolicy

SHARPNESS = 40.0  # a tenth of approval below the bar asks a person in 98 of 100 cases
MOST = 6.0  # log-odds beyond which nothing is gained
RIDGE = 1.0


def with_person(
    policy: ReplyPolicy, x: Floats, eligible: Flags, approval: Floats, *, below: float, weights: Floats | None = None
) -> ReplyPolicy:
    """``policy`` with a person who is asked where ``approval`` [n, R], the expected P(up), stays under ``below``.

    ``x`` [n, d] are known inquiries and ``eligible`` [n, R] what could be sent. Raises ValueError for a bar outside (0, 1)
    or without any inquiry to learn from.
    """
    if not 0 < below < 1:
        raise ValueError("What a person is worth lies between 0 and 1.")
    rows = eligible.any(axis=1)
    if not rows.any():
        raise ValueError("There is no inquiry to learn from whom to ask.")
    x, eligible = x[rows], eligible[rows]
    best = np.where(eligible, approval[rows], -np.inf).max(axis=1)
    plain = policy.without_person().folded()
    wanted = np.clip(SHARPNESS * (below - best), -MOST, MOST) + _log_sum(plain.scores(x), eligible)
    slope, offset = _ridge(x, wanted, np.ones(len(x)) if weights is None else weights[rows])
    return plain.with_column(slope.astype(np.float32), offset)


def column_of(policy: ReplyPolicy) -> tuple[Floats, float] | None:
    """The person's weights [d] and bias of a policy, so that another one may keep them; None where nobody is asked."""
    if policy.person is None:
        return None
    folded = policy.folded()
    return folded.weights[:, policy.person], float(folded.bias[policy.person])


def _log_sum(scores: Floats, eligible: Flags) -> Floats:
    masked = np.where(eligible, scores, -np.inf)
    top = masked.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(masked - top).sum(axis=1)))


def _ridge(x: Floats, wanted: Floats, weights: Floats) -> tuple[Floats, float]:
    """Weighted ridge with a free offset: ([d], scalar)."""
    total = max(float(weights.sum()), 1e-12)
    centre, mean = weights @ x / total, float(weights @ wanted / total)
    z = (x - centre).astype(np.float64)
    gram = z.T @ (z * weights[:, None]) + RIDGE * np.eye(x.shape[1])
    slope = np.linalg.solve(gram, z.T @ (weights * (wanted - mean)))
    return slope, mean - float(centre @ slope)


def asked(policy: ReplyPolicy, x: Floats, eligible: Flags) -> Floats:
    """P(ask a person) of each inquiry [n]; all 0 for a policy without one."""
    if policy.person is None:
        return np.zeros(len(x))
    allowed = np.hstack([eligible, np.ones((len(eligible), 1), dtype=bool)])
    return np.asarray(policy.probabilities(x, allowed)[:, policy.person])
