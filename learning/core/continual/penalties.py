"""What holds a network near what it knew: elastic weight consolidation, and distillation from its former self.

EWC (Kirkpatrick et al. 2017, arXiv:1612.00796) adds λ/2 · Σ F_i (θ_i − θ_i,old)² per experience; the online variant
(Schwarz et al. 2018, arXiv:1805.06370) keeps one running F, decayed by γ, around the latest θ. LwF (Li & Hoiem 2016,
arXiv:1606.09282) keeps the answers of the former network on the new texts.

Both protect what was learned, right or wrong: after a change of labels, `release` what stands for the changed ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from learning.core.continual.fisher import fisher_diagonal


class Ewc:
    """``strength`` λ multiplies a Fisher that is summed over samples, so it does not depend on how many there were.

    ``gamma`` None keeps one anchor per experience; a number in (0, 1] is the online variant.
    """

    def __init__(self, strength: float, *, gamma: float | None = None, empirical: bool = False) -> None:
        self.strength, self.gamma, self.empirical = strength, gamma, empirical
        self.anchors: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []  # (F, θ old)

    def penalty(self, net: nn.Module) -> Tensor:
        """λ/2 · Σ F (θ − θ_old)², 0 before the first experience."""
        params = dict(net.named_parameters())
        terms = [
            (fisher[name] * (params[name] - old[name]).square()).sum()
            for fisher, old in self.anchors
            for name in fisher
        ]
        return self.strength / 2 * torch.stack(terms).sum() if terms else torch.zeros(())

    def remember(self, net: nn.Module, x: Tensor, y: Tensor, weights: Tensor) -> None:
        """Take up what the network knows after an experience."""
        fisher = fisher_diagonal(net, x, y if self.empirical else None, weights, mass=0.999)
        fisher = {name: value * float(weights.sum()) for name, value in fisher.items()}
        old = {name: p.detach().clone() for name, p in net.named_parameters()}
        if self.gamma is not None and self.anchors:
            before, _ = self.anchors.pop()
            fisher = {name: value + self.gamma * before[name] for name, value in fisher.items()}
        self.anchors.append((fisher, old))

    def release(self, net: nn.Module, changed: Iterable[int]) -> None:
        """Protect nothing of the outputs of changed categories, and fit the anchors to a network that has grown."""
        rows = list(changed)
        for at, (fisher, old) in enumerate(self.anchors):
            self.anchors[at] = (_fitted(fisher, net, fill=False), _fitted(old, net, fill=True))
            for name in ("out.weight", "out.bias"):
                if name in self.anchors[at][0]:
                    self.anchors[at][0][name][rows] = 0.0


class Lwf:
    """``strength`` · T² · KL(former ‖ present) at temperature T, over the categories that the former network knew."""

    def __init__(self, strength: float, *, temperature: float = 2.0) -> None:
        self.strength, self.temperature = strength, temperature
        self.former: nn.Module | None = None
        self.known: list[int] = []

    def penalty(self, net: nn.Module, x: Tensor) -> Tensor:
        """On a batch of new texts [n, d]; 0 before the first experience."""
        if self.former is None or not self.known:
            return torch.zeros(())
        with torch.no_grad():
            target = functional.log_softmax(self.former(x)[:, self.known] / self.temperature, dim=-1)
        present = functional.log_softmax(net(x)[:, self.known] / self.temperature, dim=-1)
        loss = functional.kl_div(present, target, log_target=True, reduction="batchmean")
        return self.strength * self.temperature**2 * loss

    def remember(self, net: nn.Module, y: Tensor) -> None:
        self.former = copy.deepcopy(net).requires_grad_(False)
        self.known = sorted({*self.known, *(int(label) for label in y.tolist())})

    def release(self, net: nn.Module, changed: Iterable[int]) -> None:
        """Ask nothing more of the former network about changed categories."""
        gone = set(changed)
        self.known = [label for label in self.known if label not in gone]


def _fitted(values: dict[str, Tensor], net: nn.Module, *, fill: bool) -> dict[str, Tensor]:
    """``values`` in the shapes of ``net``: new rows get the network's own numbers (``fill``) or zeros."""
    params = {name: p.detach() for name, p in net.named_parameters()}
    made = {}
    for name, value in values.items():
        if value.shape == params[name].shape:
            made[name] = value.clone()
            continue
        rest = params[name][len(value) :]
        made[name] = torch.cat([value, rest.clone() if fill else torch.zeros_like(rest)])
    return made
