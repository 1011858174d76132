"""The diagonal of the Fisher information, per sample.

F_i = E_x E_{y ~ p(y|x)} [ (∂ log p(y|x) / ∂θ_i)² ]: gradients are squared for each sample, then averaged. The square of a
batch's mean gradient is something else, and shrinks with the batch size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

CHUNK = 64
Squares = dict[str, Tensor]


def fisher_diagonal(
    net: nn.Module, x: Tensor, y: Tensor | None = None, weights: Tensor | None = None, *, mass: float = 1.0
) -> Squares:
    """F by parameter name. Labels ``y`` [n] give the empirical Fisher of these; None takes the expectation over the
    model's own answers (the Fisher information itself). ``weights`` [n] weigh the samples; their scale does not matter.

    The expectation costs one backward pass per category; with ``mass`` < 1, it stops once the most probable categories
    of every sample cover that much probability.
    """
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


def _add_squares(net: nn.Module, params: Squares, x: Tensor, labels: Tensor, shares: Tensor, total: Squares) -> None:
    """Add Σ share · (∂ log p(label|x) / ∂θ)² over the samples to ``total``."""

    def loss(p: Squares, row: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(net, p, (row[None],)), label[None])

    for name, gradient in vmap(grad(loss), in_dims=(None, 0, 0))(params, x, labels).items():
        total[name] += torch.tensordot(shares, gradient.square(), dims=1)
