"""SFT, DPO and KTO of a causal language model's LoRA adapter (Hu et al. 2021), by the losses of `core.preference`.

The reference is the model without its adapter, so it takes no memory of its own; its log-probabilities are worked out once
before the first step and kept with the state, since they never change. A state that is kept resumes to the same adapter: rows
are drawn by step number, and nothing else is random.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learning.core.language.base import LanguageModelError
from learning.core.language.rows import Rows, Tokens, log_probabilities
from learning.core.preference import losses

METHODS = ("sft", "dpo", "kto")


@dataclass(frozen=True)
class TuningConfig:
    """One set of knobs; raises LanguageModelError naming the field that makes no sense."""

    method: str = "dpo"
    epochs: int = 3
    batch: int = 8  # rows of a step: two sequences each, but for SFT
    learning_rate: float = 2e-4
    sft: float = (
        1.0  # DPO: how much the chosen reply's own likelihood counts beside the margin (Pang et al. 2024, eq. 1)
    )
    beta: float = 0.1  # how dear leaving the reference is, in DPO and KTO
    rank: int = 8  # of the adapter's matrices
    alpha: float = 16.0  # the adapter is scaled by alpha / rank
    limit: int = 512  # tokens of prompt and reply
    keep_every: int = 25  # steps between two states that are kept
    cache_reference: bool = True  # off: the reference is asked anew at each step (to compare)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise LanguageModelError(f"method: {self.method!r} is none of {', '.join(METHODS)}.")
        for name in ("epochs", "batch", "learning_rate", "beta", "rank", "alpha", "limit", "keep_every"):
            if not getattr(self, name) > 0:
                raise LanguageModelError(f"{name} must be positive, not {getattr(self, name)!r}.")


@dataclass(frozen=True)
class State:
    """Where a tuning stands after ``step`` steps: adapter, optimiser, and the reference's log-probabilities [n, 2]."""

    step: int
    adapter: dict[str, Tensor]
    optimiser: dict[str, Any]
    reference: Tensor | None

    def to_bytes(self) -> bytes:
        out = io.BytesIO()
        torch.save(vars(self), out)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """Read by the reader that runs no code."""
        return cls(**torch.load(io.BytesIO(data), weights_only=True))


def with_adapter(model: Any, config: TuningConfig) -> Any:
    """The model with a fresh adapter on every linear layer, which changes nothing yet; the same for the same seed."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        wanted = LoraConfig(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        return get_peft_model(model, wanted)


def tune(
    model: Any, rows: Rows, config: TuningConfig, *, state: State | None = None,
    keep: Callable[[State], None] = lambda _: None, report: Callable[[float], None] = lambda _: None,
) -> list[float]:  # fmt: skip
    """Train the adapter of ``model`` in place; returns the loss of every step that was taken here.

    ``keep`` is given the state every `keep_every` steps, ``report`` the share that is done; what either raises ends the
    tuning there. Raises LanguageModelError without rows.
    """
    if not len(rows):
        raise LanguageModelError("There is nothing to learn from: no example fits.")
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=0.0)
    reference = state.reference if state is not None else None
    if state is not None:
        _restore(model, optimiser, state)
    elif config.cache_reference and config.method != "sft":
        reference = reference_of(model, rows, config.batch)
    steps, found = steps_of(rows, config), []
    for step in range(state.step if state is not None else 0, steps):
        optimiser.zero_grad()
        loss = _loss(model, rows, drawn(rows, step, config), reference, config)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        found.append(float(loss.detach()))
        report((step + 1) / steps)
        if (step + 1) % config.keep_every == 0 and step + 1 < steps:
            keep(State(step + 1, adapter_of(model), optimiser.state_dict(), reference))
    return found


def steps_of(rows: Rows, config: TuningConfig) -> int:
    return config.epochs * -(-len(rows) // config.batch)


def drawn(rows: Rows, step: int, config: TuningConfig) -> list[int]:
    """The rows of a step: every epoch goes through all of them in an order of its own."""
    each = -(-len(rows) // config.batch)
    order = np.random.default_rng([config.seed, step // each]).permutation(len(rows))
    at = step % each * config.batch
    return [int(i) for i in order[at : at + config.batch]]


def adapter_of(model: Any) -> dict[str, Tensor]:
    """The adapter's tensors by name, as copies."""
    from peft import get_peft_model_state_dict

    return {name: t.detach().cpu().clone() for name, t in get_peft_model_state_dict(model).items()}


def reference_of(model: Any, rows: Rows, batch: int) -> Tensor:
    """log π_ref of both sequences of each row [n, 2]: the model without its adapter."""
    with torch.no_grad(), model.disable_adapter():
        return torch.stack([in_batches(model, side, batch) for side in (rows.first, rows.second)], dim=1)


def in_batches(model: Any, sequences: Sequence[Tokens], batch: int) -> Tensor:
    """log π of each sequence [n], without gradient, on the processor."""
    with torch.no_grad():
        parts = [log_probabilities(model, sequences[i : i + batch]).cpu() for i in range(0, len(sequences), batch)]
    return torch.cat(parts)


def _restore(model: Any, optimiser: torch.optim.Optimizer, state: State) -> None:
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, state.adapter)
    optimiser.load_state_dict(state.optimiser)


def _loss(model: Any, rows: Rows, at: list[int], reference: Tensor | None, config: TuningConfig) -> Tensor:
    first = [rows.first[i] for i in at]
    device = next(model.parameters()).device
    weight = torch.as_tensor(rows.weight[at], device=device)
    length = torch.tensor([len(s.ids) - s.start for s in first], device=device)
    if config.method == "sft":
        return losses.mean(losses.sft(log_probabilities(model, first)) / length, weight)
    both = first + [rows.second[i] for i in at]
    logp = log_probabilities(model, both).view(2, len(at))
    if reference is not None:
        ref = reference[at].T.to(device)
    else:
        with torch.no_grad(), model.disable_adapter():
            ref = log_probabilities(model, both).view(2, len(at))
    if config.method == "dpo":
        preferred = losses.dpo(losses.margin(logp[0], logp[1], ref[0], ref[1]), beta=config.beta)
        return losses.mean(preferred + config.sft * losses.sft(logp[0]) / length, weight)
    liked = torch.as_tensor(rows.liked[at], device=device)
    baseline = losses.kto_baseline(logp[1], ref[1])
    return losses.mean(losses.kto(logp[0] - ref[0], liked, baseline, beta=config.beta), weight)
