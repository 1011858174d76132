"""The Fisher information: per sample, against autograd one sample at a time."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from learning.core.continual.fisher import fisher_diagonal
from learning.core.continual.networks import build


def by_hand(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """E[(∂ log p/∂θ)²], by one backward pass per sample and answer."""
    total = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for i, row in enumerate(x):
        p = functional.softmax(net(row[None]), dim=-1)[0].detach()
        answers = range(len(p)) if y is None else [int(y[i])]
        for k in answers:
            net.zero_grad()
            torch.autograd.backward(functional.log_softmax(net(row[None]), dim=-1)[0, k])
            share = float(p[k]) if y is None else 1.0
            for name, q in net.named_parameters():
                assert q.grad is not None
                total[name] += share * q.grad.square() / len(x)
    return total


def world(kind: str) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    net = build(kind, 6, 4, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return net, torch.randn(9, 6, generator=generator), torch.randint(0, 4, (9,), generator=generator)


@pytest.mark.parametrize("kind", ["linear", "mlp", "prototype"])
@pytest.mark.parametrize("empirical", [False, True])
def test_it_equals_the_mean_of_squared_gradients(kind: str, empirical: bool) -> None:
    net, x, y = world(kind)
    found = fisher_diagonal(net, x, y if empirical else None)
    wanted = by_hand(net, x, y if empirical else None)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)


def test_it_does_not_shrink_with_the_number_of_samples_as_the_square_of_a_mean_does() -> None:
    net, x, y = world("mlp")
    once, often = fisher_diagonal(net, x, y), fisher_diagonal(net, x.repeat(20, 1), y.repeat(20))
    torch.testing.assert_close(once["out.weight"], often["out.weight"], rtol=1e-4, atol=1e-7)


def test_weights_count_like_copies() -> None:
    net, x, _ = world("linear")
    weights = torch.tensor([3.0] + [1.0] * 8)
    copies = torch.cat([x[:1], x[:1], x])
    torch.testing.assert_close(
        fisher_diagonal(net, x, weights=weights)["out.bias"], fisher_diagonal(net, copies)["out.bias"]
    )
