"""Multinomial logistic regression on embeddings: the head that wins while labels are few.

Minimises C · Σᵢ wᵢ · H(tᵢ, softmax(W xᵢ + b)) + ½‖W‖² + ½‖b‖² by full-batch L-BFGS, the objective of scikit-learn's
LogisticRegression except that the bias is penalised too: a category without a single label then keeps a finite bias.
Targets may be labels or rows of probabilities (soft labels). Deterministic on CPU for a given number of threads.

C = 1 is ruinous with few labels on unit embeddings; it has to be chosen (`held_out_scores`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

Matrix = npt.NDArray[np.float64]
GRID = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def fit_linear(
    x: npt.ArrayLike,
    targets: Matrix,
    weights: npt.ArrayLike,
    *,
    C: float,
    start: Matrix | None = None,
    exact: bool = True,
) -> Matrix:
    """[W; b] as [d + 1, K] for embeddings ``x`` [n, d], ``targets`` [n, K] (rows sum to 1) and ``weights`` [n] ≥ 0.

    ``exact`` works in float64 to a gradient of 1e-6; without it, in float32 to 1e-4: enough to choose C, at a third of
    the time. ``start`` [d + 1, K] warms it up. Raises ValueError where the shapes do not fit or weights are negative.
    """
    kind = torch.float64 if exact else torch.float32
    rows = torch.as_tensor(with_bias(x), dtype=kind)
    wanted = torch.as_tensor(targets, dtype=kind)
    w = torch.as_tensor(np.asarray(weights), dtype=kind)
    if len(rows) != len(wanted) or w.shape != (len(rows),) or bool((w < 0).any()):
        raise ValueError(f"{len(rows)} embeddings, {len(wanted)} targets and {len(w)} weights (≥ 0) do not fit")
    total = float(w.sum())
    if total <= 0:
        return np.zeros((rows.shape[1], wanted.shape[1]))
    first = (
        torch.zeros(rows.shape[1], wanted.shape[1], dtype=kind) if start is None else torch.as_tensor(start, dtype=kind)
    )
    solution = _minimise(rows, wanted, w / total, penalty=1.0 / (C * total), start=first, exact=exact)
    return np.asarray(solution.numpy(), dtype=np.float64)


def held_out_scores(
    x: npt.ArrayLike,
    targets: Matrix,
    weights: Matrix,
    folds: npt.NDArray[np.integer],
    grid: Sequence[float] = GRID,
) -> Iterator[tuple[float, Matrix]]:
    """(C, scores [n, K]) of each row by a head that was fitted without the row's fold.

    ``folds`` holds the fold of each row, or −1 for rows that every fit sees (their scores stay 0). Within a fold each fit
    starts from that of the next smaller C.
    """
    rows = np.asarray(x, dtype=np.float64)
    scores = {C: np.zeros_like(targets) for C in sorted(grid)}
    for fold in np.unique(folds[folds >= 0]):
        inside = folds == fold
        start = None
        for C, table in scores.items():
            start = fit_linear(rows[~inside], targets[~inside], weights[~inside], C=C, start=start, exact=False)
            table[inside] = with_bias(rows[inside]) @ start
    yield from scores.items()


def with_bias(x: npt.ArrayLike) -> Matrix:
    """``x`` [n, d] with a column of ones, [n, d + 1]."""
    rows = np.asarray(x, dtype=np.float64)
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def _minimise(
    rows: torch.Tensor, wanted: torch.Tensor, w: torch.Tensor, *, penalty: float, start: torch.Tensor, exact: bool
) -> torch.Tensor:
    """Minimise Σ w·cross-entropy + penalty/2·‖θ‖², Σ w = 1, with the gradient written out (autograd costs twice)."""
    theta = start.clone().contiguous().requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [theta],
        max_iter=1000 if exact else 200,
        max_eval=2000 if exact else 250,
        history_size=10,
        tolerance_grad=1e-6 if exact else 1e-4,
        tolerance_change=1e-12 if exact else 1e-7,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        with torch.no_grad():
            z = rows @ theta
            normaliser = torch.logsumexp(z, dim=1)
            value = (w * (normaliser - (wanted * z).sum(dim=1))).sum() + penalty / 2 * (theta * theta).sum()
            wrong = (torch.exp(z - normaliser[:, None]) - wanted) * w[:, None]
            theta.grad = (rows.T @ wrong + penalty * theta).contiguous()
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return theta.detach()
