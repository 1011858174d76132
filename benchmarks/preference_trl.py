"""The same logits through TRL's own trainers: an independent judge of learning.core.preference.losses.

A reply is one token, the candidates are the vocabulary, so TRL's loss of a one-token completion is the loss of a reply.
The trainers are made without their constructors (which want a data set, a tokenizer and a model on disk): only what
their ``_compute_loss`` reads is set. Written for TRL 1.16; where TRL is absent, `available` says so.
"""

from __future__ import annotations

from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learning.core.preference import losses

BETA, FLIP_RATE = 0.3, 0.1
LOSSES = {"dpo": "sigmoid", "ipo": "ipo", "rdpo": "robust", "kto": "kto"}


def available() -> str | None:
    """None where TRL can be imported, else the sentence that says what is missing."""
    if find_spec("trl") is None:
        return "TRL is not installed (pip install trl): its losses cannot be compared with ours."
    return None


def trl_version() -> str:
    """Version of the installed TRL, or "absent"."""
    try:
        return version("trl")
    except PackageNotFoundError:
        return "absent"


class Case:
    """One random batch: logits of policy and reference [n, R], a chosen and a rejected reply, thumbs, KL replies."""

    def __init__(self, rng: np.random.Generator, *, n: int = 64, replies: int = 20, spread: float = 3.0) -> None:
        self.policy, self.reference = torch.as_tensor(rng.standard_normal((2, n, replies)) * spread)
        self.chosen = torch.as_tensor(rng.integers(0, replies, n))
        self.rejected = (self.chosen + torch.as_tensor(rng.integers(1, replies, n))) % replies
        self.up = torch.as_tensor(rng.random(n) < 0.4)
        self.other = torch.as_tensor(rng.integers(0, replies, n))


def ours(case: Case, kind: str) -> tuple[float, Tensor]:
    """Mean loss and its gradient [n, R] by learning.core.preference.losses."""
    logits = case.policy.clone().requires_grad_()
    policy, reference = losses.log_policy(logits), losses.log_policy(case.reference)
    loss = _ours(case, kind, policy, reference).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return float(loss.detach()), logits.grad


def theirs(case: Case, kind: str) -> tuple[float, Tensor]:
    """Mean loss and its gradient [n, R] by TRL's trainer of that name."""
    logits = case.policy.clone().requires_grad_()
    loss = _kto_loss(case, logits) if kind == "kto" else _pair_loss(case, logits, LOSSES[kind])
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return float(loss.detach()), logits.grad


def max_difference(kind: str, rng: np.random.Generator, *, cases: int = 5) -> float:
    """Largest absolute difference of loss or gradient over random batches."""
    worst = 0.0
    for _ in range(cases):
        case = Case(rng)
        (a, da), (b, db) = ours(case, kind), theirs(case, kind)
        worst = max(worst, abs(a - b), float((da - db).abs().max()))
    return worst


def _ours(case: Case, kind: str, policy: Tensor, reference: Tensor) -> Tensor:
    if kind == "kto":
        shown = torch.where(case.up, case.chosen, case.rejected)
        baseline = losses.kto_baseline(_at(policy, case.other), _at(reference, case.other))
        return losses.kto(_at(policy, shown) - _at(reference, shown), case.up, baseline, beta=BETA)
    margins = losses.margin(
        _at(policy, case.chosen), _at(policy, case.rejected), _at(reference, case.chosen), _at(reference, case.rejected)
    )
    if kind == "rdpo":
        return losses.robust_dpo(margins, beta=BETA, flip_rate=FLIP_RATE)
    return {"dpo": losses.dpo, "ipo": losses.ipo}[kind](margins, beta=BETA)


def _pair_loss(case: Case, logits: Tensor, loss_type: str) -> Tensor:
    from trl import DPOTrainer

    trainer = _trainer(DPOTrainer, case)
    trainer.f_divergence_type, trainer.use_weighting, trainer.label_smoothing = "reverse_kl", False, FLIP_RATE
    trainer.loss_types, trainer.loss_weights, trainer.ld_alpha = [loss_type], [1.0], None
    replies = torch.cat([case.chosen, case.rejected])
    loss: Tensor = trainer._compute_loss(_OneToken(torch.cat([logits, logits])), _inputs(replies), False)
    return loss


def _kto_loss(case: Case, logits: Tensor) -> Tensor:
    from trl import KTOTrainer

    trainer = _trainer(KTOTrainer, case)
    trainer.loss_type, trainer.calculate_KL = "kto", True
    trainer.desirable_weight = trainer.undesirable_weight = 1.0
    inputs = _inputs(torch.where(case.up, case.chosen, case.rejected)) | {"label": case.up}
    inputs |= {f"KL_{name}": value for name, value in _inputs(case.other).items()}
    loss: Tensor = trainer._compute_loss(_OneToken(logits), inputs, False)
    return loss


def _trainer(kind: Any, case: Case) -> Any:
    trainer = object.__new__(kind)
    trainer.accelerator = SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=_same, gather=_same)
    trainer.model = _OneToken(case.policy).eval()
    twice = torch.cat([case.reference, case.reference])
    trainer.ref_model = _OneToken(twice if kind.__name__ == "DPOTrainer" else case.reference)
    trainer.args = SimpleNamespace(gradient_checkpointing_kwargs=None)
    trainer.beta, trainer.aux_loss_enabled, trainer.precompute_ref_logps = BETA, False, False
    trainer._metrics, trainer._total_train_tokens, trainer._tp_size = defaultdict(lambda: defaultdict(list)), 0, 1
    return trainer


class _OneToken(torch.nn.Module):
    """A language model that has read the inquiry: fixed logits [n, R] for the one token that follows."""

    is_gradient_checkpointing = False

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        logp = torch.log_softmax(self.logits, dim=1)
        taken = _at(logp, input_ids[:, 1])[:, None]
        nothing = torch.zeros_like(taken)
        return SimpleNamespace(log_probs=taken, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())


def _inputs(replies: Tensor) -> dict[str, Tensor]:
    ids = torch.stack([torch.zeros_like(replies), replies], dim=1)
    mask = torch.ones_like(ids)
    return {"input_ids": ids, "attention_mask": mask, "completion_mask": mask * torch.tensor([0, 1])}


def _at(logp: Tensor, reply: Tensor) -> Tensor:
    return logp.gather(1, reply[:, None])[:, 0]


def _same(value: Any) -> Any:
    return value
