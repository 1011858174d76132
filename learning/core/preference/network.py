"""What the torch learners move: a correction to the reference policy, zero at the start.

correction_r(x) = (x − centre)·(B·e_r + v_r) + relu((x − centre)·A)·h_r + b_r. The bilinear part B (on the centred, unit
vectors e_r of the replies) lets one reply's votes speak for similar replies, v_r is each reply's own, and the hidden
layer is there only where it is asked for. Penalties are Gaussian priors in units of votes, so they need no rescaling
when votes are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from learning.core.preference.evidence import Floats
from learning.core.preference.policy import Hidden, ReplyPolicy


class Correction(nn.Module):
    """Learned difference to a reference's scores; `difference` compares two replies, `everywhere` gives all."""

    def __init__(self, vectors: Floats, centre: Floats, *, hidden: int = 0, rng: np.random.Generator) -> None:
        super().__init__()
        replies, d = vectors.shape
        self.directions: Tensor
        self.register_buffer("directions", torch.as_tensor(directions(vectors), dtype=torch.float32))
        self.centre = np.asarray(centre)
        self.shared = nn.Parameter(torch.zeros(d, d))
        self.own = nn.Parameter(torch.zeros(replies, d))
        self.bias = nn.Parameter(torch.zeros(replies))
        # The inner layer starts random and the outer at zero: the correction is zero, its gradient is not.
        inner = rng.standard_normal((d, hidden)) * (2 / d) ** 0.5
        self.inner = nn.Parameter(torch.as_tensor(inner, dtype=torch.float32)) if hidden else None
        self.outer = nn.Parameter(torch.zeros(replies, hidden)) if hidden else None

    def difference(self, x: Tensor, row: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Correction of reply ``a`` minus that of ``b`` [n], for rows ``row`` [n] of centred inquiries ``x`` [m, d].

        Many comparisons share an inquiry, so the costly product is made once per inquiry.
        """
        score = ((x @ self.shared)[row] * (self.directions[a] - self.directions[b])).sum(1)
        score = score + (x[row] * (self.own[a] - self.own[b])).sum(1) + self.bias[a] - self.bias[b]
        if self.inner is not None and self.outer is not None:
            score = score + (torch.relu(x @ self.inner)[row] * (self.outer[a] - self.outer[b])).sum(1)
        return score

    def everywhere(self, x: Tensor) -> Tensor:
        """Corrections [n, R] of every reply."""
        score = x @ (self.directions @ self.shared.T + self.own).T + self.bias
        if self.inner is not None and self.outer is not None:
            score = score + torch.relu(x @ self.inner) @ self.outer.T
        return score

    def penalty(self, *, shared: float, own: float) -> Tensor:
        """½(shared·‖B‖² + own·(‖v‖² + ‖b‖² + hidden layer))."""
        total = shared * self.shared.square().sum() + own * (self.own.square().sum() + self.bias.square().sum())
        if self.inner is not None and self.outer is not None:
            total = total + own * (self.inner.square().sum() + self.outer.square().sum())
        return total / 2

    def policy(self, reference: ReplyPolicy, *, temperature: float = 1.0) -> ReplyPolicy:
        """``reference`` with this correction added to its scores, as plain arrays."""
        columns = (self.directions @ self.shared.T + self.own).detach().numpy().T.astype(np.float64)
        bias = self.bias.detach().numpy() - self.centre @ columns
        learned = replace(
            reference,
            weights=(reference.weights + columns).astype(np.float32),
            bias=(reference.bias + bias).astype(np.float32),
            temperature=temperature,
        )
        if self.inner is None or self.outer is None:
            return learned
        return replace(learned, hidden=_joined(reference.hidden, self._hidden(self.inner, self.outer)))

    def _hidden(self, inner: Tensor, outer: Tensor) -> Hidden:
        inward = inner.detach().numpy()
        return Hidden(inward, -np.asarray(self.centre @ inward, dtype=np.float32), outer.detach().numpy().T)


def directions(vectors: Floats) -> Floats:
    """Reply vectors [R, d] centred and scaled to length 1: what tells them apart, not what all replies share."""
    centred = vectors - vectors.mean(axis=0)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))


def minimise(objective: Callable[[], Tensor], parameters: Iterable[Tensor], *, iterations: int) -> float:
    """Full-batch L-BFGS with a strong-Wolfe line search; returns the last objective. Deterministic."""
    optimiser = torch.optim.LBFGS(
        list(parameters), max_iter=iterations, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def closure() -> float:
        optimiser.zero_grad()
        loss = objective()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    return float(optimiser.step(closure))  # type: ignore[no-untyped-call]


def _joined(first: Hidden | None, second: Hidden) -> Hidden:
    if first is None:
        return second
    return Hidden(
        np.hstack([first.inward, second.inward]),
        np.concatenate([first.offset, second.offset]),
        np.vstack([first.outward, second.outward]),
    )
