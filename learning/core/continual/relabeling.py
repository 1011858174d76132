"""When the meaning of labels changes: what a learner keeps must follow, or it protects what is wrong.

A taxonomy change maps each old category to one new category (renamed, merged), or splits it: then only the items say
where they went. Statistics follow exactly (learning/core/heads/ridge.py); a network keeps its hidden layers, its outputs
move with their categories, and nothing of the changed outputs stays protected (EWC, LwF, stored scores).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from learning.core.continual.learner import ContinualLearner
from learning.core.continual.networks import grow


@dataclass(frozen=True)
class TaxonomyChange:
    """``moved`` old → new position for renamed and merged categories; ``split`` item → new position."""

    classes: int
    moved: Mapping[int, int] = field(default_factory=dict)
    split: Mapping[int, int] = field(default_factory=dict)

    def __call__(self, item: int, label: int) -> int:
        """The new label of an item."""
        return self.split.get(item, self.moved.get(label, label))

    @property
    def changed(self) -> set[int]:
        """Categories that mean something else now than before."""
        return (
            {old for old, new in self.moved.items() if old != new} | set(self.moved.values()) | set(self.split.values())
        )


def relabel(learner: ContinualLearner, change: TaxonomyChange) -> None:
    """Carry a learner over to the new categories. Raises ValueError for a network whose outputs are fixed."""
    grow(learner.net, change.classes)
    learner.classes = change.classes
    move_outputs(learner.net, change.moved)
    if learner.buffer is not None:
        learner.buffer.relabel(change)
    learner.forget_scores()
    for keeper in (learner.ewc, learner.lwf):
        if keeper is not None:
            keeper.release(learner.net, change.changed)


def move_outputs(net: nn.Module, moved: Mapping[int, int]) -> None:
    """The outputs of renamed categories move; a merged one gets, for each weight, the mean of those that form it.

    What is left behind at an old position answers nothing any more (a low bias).
    """
    out = net.out
    assert isinstance(out, nn.Linear)
    with torch.no_grad():
        weight, bias = out.weight.clone(), out.bias.clone()
        for target in set(moved.values()):
            sources = [old for old, new in moved.items() if new == target]
            if target not in moved and bool(weight[target].any()):
                sources.append(target)  # it exists and takes others in
            out.weight[target], out.bias[target] = weight[sources].mean(dim=0), bias[sources].mean()
        for old in set(moved) - set(moved.values()):
            out.weight[old], out.bias[old] = 0.0, bias.min() - 1.0
