"""Small networks over frozen embeddings: linear, MLP, and fixed prototypes on the sphere.

Weights come from a torch.Generator that is passed in; nothing here touches global random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class LinearNet(nn.Module):
    """Multinomial logistic regression: [n, d] → scores [n, K]."""

    def __init__(self, dimension: int, classes: int, generator: torch.Generator, *, gain: float = 10.0) -> None:
        """``gain`` multiplies the scores: on unit embeddings it lets a small step of a weight be felt."""
        super().__init__()
        self.gain = gain
        self.out = _linear(dimension, classes, generator, scale=0.0)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.gain * self.out(x)
        return scores


class MlpNet(nn.Module):
    """One hidden layer with ReLU."""

    def __init__(self, dimension: int, classes: int, generator: torch.Generator, *, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = _linear(dimension, hidden, generator, scale=math.sqrt(2.0))
        self.out = _linear(hidden, classes, generator, scale=1.0)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(functional.relu(self.hidden(x)))
        return scores


class PrototypeNet(nn.Module):
    """Embeddings are turned towards fixed class prototypes, pairwise as far apart as they can be.

    scores = s·cos(A x, prototype), only A [q, d] and s are learned. For K ≤ q + 1 the prototypes are a simplex
    (pairwise cosine −1/(K − 1), Mettes et al. 2019, arXiv:1901.10514); above that, spread by minimising the largest
    cosines.
    """

    def __init__(self, dimension: int, classes: int, generator: torch.Generator, *, width: int | None = None) -> None:
        super().__init__()
        width = width or min(dimension, max(classes - 1, 1))
        self.turn = nn.Linear(dimension, width, bias=False)
        nn.init.orthogonal_(self.turn.weight, generator=generator)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.prototypes: Tensor
        self.register_buffer("prototypes", prototypes_on_sphere(classes, width, generator))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.log_scale.exp() * functional.normalize(self.turn(x), dim=-1) @ self.prototypes.T
        return scores


NETWORKS: Mapping[str, Callable[[int, int, torch.Generator], nn.Module]] = {
    "linear": LinearNet,
    "mlp": MlpNet,
    "prototype": PrototypeNet,
}


def build(kind: str, dimension: int, classes: int, seed: int) -> nn.Module:
    """A fresh network; the same seed gives the same weights. Raises ValueError for an unknown kind."""
    if kind not in NETWORKS:
        raise ValueError(f"there is no network {kind}: {', '.join(NETWORKS)}")
    return NETWORKS[kind](dimension, classes, torch.Generator().manual_seed(seed))


def prototypes_on_sphere(classes: int, width: int, generator: torch.Generator, *, steps: int = 200) -> Tensor:
    """[K, width] unit vectors, maximally separated."""
    if classes <= width + 1:
        return _simplex(classes, width)
    points = torch.randn(classes, width, generator=generator)
    points.requires_grad_(True)
    optimiser = torch.optim.Adam([points], lr=0.05)
    for _ in range(steps):
        unit = functional.normalize(points, dim=-1)
        cosines = unit @ unit.T - 2.0 * torch.eye(classes)
        optimiser.zero_grad()
        torch.autograd.backward(cosines.max(dim=1).values.mean())
        optimiser.step()
    return functional.normalize(points.detach(), dim=-1)


def grow(net: nn.Module, classes: int) -> None:
    """Give the output layer of a linear or MLP network more categories; theirs start at zero. Others raise ValueError."""
    out = getattr(net, "out", None)
    if not isinstance(out, nn.Linear):
        raise ValueError(f"a {type(net).__name__} has no output layer that could grow")
    more = classes - out.out_features
    if more > 0:
        out.weight = nn.Parameter(torch.cat([out.weight.detach(), torch.zeros(more, out.in_features)]))
        out.bias = nn.Parameter(torch.cat([out.bias.detach(), torch.zeros(more)]))
        out.out_features = classes


def _simplex(classes: int, width: int) -> Tensor:
    """Vertices of a regular simplex around the origin: the centred unit basis, in its own K − 1 coordinates."""
    if classes == 1:
        return functional.normalize(torch.ones(1, width), dim=-1)
    centred = np.eye(classes) - 1.0 / classes
    basis, _, _ = np.linalg.svd(centred)
    points = torch.zeros(classes, width)
    points[:, : classes - 1] = torch.as_tensor(centred @ basis[:, : classes - 1], dtype=torch.float32)
    return functional.normalize(points, dim=-1)


def _linear(fan_in: int, fan_out: int, generator: torch.Generator, *, scale: float) -> nn.Linear:
    layer = nn.Linear(fan_in, fan_out)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(fan_out, fan_in, generator=generator) * scale / math.sqrt(fan_in))
        layer.bias.zero_()
    return layer
