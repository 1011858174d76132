"""The diagonal of the Fisher information, per sample.

F_i = E_x E_{y ~ p(y|x)} [ (∂ log p(y|x) / ∂θ_i)² ]: gradients are squared for each sample, then averaged. The square of a
batch's mean gradient is something else, and shrinks with the batch size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from learning.core.continual.networks import LinearNet

CHUNK = 64
Squares = dict[str, Tensor]


def fisher_diagonal(
    net: nn.Module, x: Tensor, y: Tensor | None = None, weights: Tensor | None = None, *, mass: float = 1.0
) -> Squares:
    """F by parameter name. Labels ``y`` [n] give the empirical Fisher of these; None takes the expectation over the
    model's own answers (the Fisher information itself). ``weights`` [n] weigh the samples; their scale does not matter.

    The expectation costs one backward pass per category; with ``mass`` < 1, it stops once the most probable categories
    of every sample cover that much probability. For a linear network the expectation has a closed form, and is exact.
    """
    if y is None and isinstance(net, LinearNet):
        return _linear_fisher(net, x, torch.ones(len(x)) if weights is None else weights)
    params = {name: p.detach() for name, p in net.named_parameters()}
    total = {name: torch.zeros_like(p) for name, p in params.items()}
    w = torch.ones(len(x)) if weights is None else weights
    for at in range(0, len(x), CHUNK):
        rows, share = x[at : at + CHUNK], w[at : at + CHUNK] / w.sum()
        if y is not None:
            _add_squares(net, params, rows, y[at : at + CHUNK], share, total)
            continue
        with torch.no_grad():
            p, ranked = functional.softmax(functional_call(net, params, (rows,)), dim=-1).sort(dim=-1, descending=True)
        needed = int((p.cumsum(dim=-1) < mass - 1e-6).sum(dim=-1).max()) + 1
        for rank in range(min(needed, p.shape[1])):
            _add_squares(net, params, rows, ranked[:, rank], share * p[:, rank], total)
    return total


def _linear_fisher(net: LinearNet, x: Tensor, weights: Tensor) -> Squares:
    """E_y[(∂ log p(y|x)/∂W_ki)²] = g² · p_k(1 − p_k) · x_i² for scores g·(W x + b)."""
    with torch.no_grad():
        p = functional.softmax(net(x), dim=-1)
        spread = net.gain**2 * p * (1 - p) * (weights / weights.sum())[:, None]
        return {"out.weight": spread.T @ x.square(), "out.bias": spread.sum(dim=0)}


def _add_squares(net: nn.Module, params: Squares, x: Tensor, labels: Tensor, shares: Tensor, total: Squares) -> None:
    """Add Σ share · (∂ log p(label|x) / ∂θ)² over the samples to ``total``."""

    def loss(p: Squares, row: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(net, p, (row[None],)), label[None])

    for name, gradient in vmap(grad(loss), in_dims=(None, 0, 0))(params, x, labels).items():
        total[name] += torch.tensordot(shares, gradient.square(), dims=1)
