"""A continual learner between two experiences: as plain arrays and references, and back.

Kept are the weights of a linear network, its online Fisher with the weights that it is centred on, the former network of
LwF, and the buffer: references with the scores that the network gave them. No text and no embedding of an item is in it; an
item whose reference is not known any more when the learner is revived is gone.

Rows are named by category, so that a learner is revived for other categories than it was kept with: those that stayed keep
their rows wherever they stand now, new ones start at zero, and nothing of those that mean something else now is protected.
Networks with other than one linear layer, and EWC with one anchor per experience, are not kept (ValueError).
"""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from learning.core.continual.buffers import Herding, Reservoir
from learning.core.continual.learner import ContinualLearner, Fetch, Options
from learning.core.continual.networks import LinearNet

Floats = npt.NDArray[np.float32]
WEIGHT, BIAS = "out.weight", "out.bias"


@dataclass(frozen=True)
class Kept:
    """``arrays`` are float32 with one row per category, but for ``scores`` [items, K] (NaN where nothing was stored).

    ``categories`` [K] and ``known`` (those that LwF asks about) are names; ``ranks`` are those of herding.
    """

    options: Options
    categories: tuple[str, ...]
    experiences: int
    arrays: Mapping[str, Floats]
    items: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True)
class Present:
    """What a learner is revived for: categories [K], and of each item that may still be replayed its number and label.

    ``learned`` counts the items of each label that were learned before, ``changed`` are categories that mean something else.
    """

    dimension: int
    categories: Sequence[str]
    numbers: Mapping[str, int]
    labels: Mapping[str, int]
    learned: Mapping[int, int] = field(default_factory=dict)
    changed: Collection[str] = ()


def keep(
    learner: ContinualLearner, categories: Sequence[str], names: Callable[[int], str | None], experiences: int
) -> Kept:
    """``names`` gives the reference of an item; None leaves it out. Raises ValueError for what cannot be kept."""
    net = _linear(learner)
    arrays = {"weight": _numpy(net.out.weight), "bias": _numpy(net.out.bias)}
    if learner.ewc is not None and learner.ewc.anchors:
        if learner.ewc.gamma is None:
            raise ValueError("only the online variant of EWC is kept: give ewc_gamma")
        fisher, old = learner.ewc.anchors[-1]
        arrays |= {"fisher_weight": _numpy(fisher[WEIGHT]), "fisher_bias": _numpy(fisher[BIAS])}
        arrays |= {"old_weight": _numpy(old[WEIGHT]), "old_bias": _numpy(old[BIAS])}
    known: tuple[str, ...] = ()
    if learner.lwf is not None and isinstance(learner.lwf.former, LinearNet):
        former = learner.lwf.former
        arrays |= {"former_weight": _numpy(former.out.weight), "former_bias": _numpy(former.out.bias)}
        known = tuple(categories[k] for k in learner.lwf.known)
    numbers = [] if learner.buffer is None else learner.buffer.items.tolist()
    named = [(item, name) for item in numbers if (name := names(item)) is not None]
    if learner.options.der and named:
        arrays["scores"] = np.stack([learner.stored_scores(item) for item, _ in named])
    ranks = tuple(learner.buffer.ranks[i] for i, _ in named) if isinstance(learner.buffer, Herding) else ()
    return Kept(learner.options, tuple(categories), experiences, arrays, tuple(name for _, name in named), ranks, known)


def revive(kept: Kept, now: Present, fetch: Fetch, options: Options | None = None) -> ContinualLearner:
    """The learner for the categories and labels as they are now. ``options`` may differ in all but what is kept by them."""
    learner = ContinualLearner(now.dimension, len(now.categories), options or kept.options, fetch)
    learner.rng = np.random.default_rng([learner.options.seed, kept.experiences])
    before = {name: at for at, name in enumerate(kept.categories)}
    places = [before.get(name, -1) for name in now.categories]
    changed = [k for k, name in enumerate(now.categories) if name in now.changed]
    rows = {name: _moved(array, places) for name, array in kept.arrays.items() if name != "scores"}
    net = _linear(learner)
    _set(net, rows["weight"], rows["bias"])
    if learner.ewc is not None and "fisher_weight" in rows:
        fisher = {WEIGHT: torch.from_numpy(rows["fisher_weight"]), BIAS: torch.from_numpy(rows["fisher_bias"])}
        old = {WEIGHT: torch.from_numpy(rows["old_weight"]), BIAS: torch.from_numpy(rows["old_bias"])}
        learner.ewc.anchors.append((fisher, old))
        learner.ewc.release(net, changed)
    if learner.lwf is not None and "former_weight" in rows:
        learner.lwf.former = copy.deepcopy(net).requires_grad_(False)
        _set(learner.lwf.former, rows["former_weight"], rows["former_bias"])
        learner.lwf.known = [k for k, name in enumerate(now.categories) if name in kept.known]
        learner.lwf.release(net, changed)
    _refill(learner, kept, now, places)
    return learner


def _refill(learner: ContinualLearner, kept: Kept, now: Present, places: list[int]) -> None:
    buffer = learner.buffer
    if buffer is None:
        return
    here = [(at, now.numbers[name], now.labels[name]) for at, name in enumerate(kept.items) if name in now.labels]
    here = here[: buffer.capacity]
    buffer.labels = {item: label for _, item, label in here}
    buffer.seen = {label: float(count) for label, count in now.learned.items()}
    if isinstance(buffer, Herding):
        ranks = kept.ranks or tuple(range(len(kept.items)))
        buffer.ranks = {item: ranks[at] for at, item, _ in here}
    if isinstance(buffer, Reservoir):
        buffer.offered = sum(now.learned.values())
    if "scores" in kept.arrays and not now.changed:
        moved = _moved(np.ascontiguousarray(kept.arrays["scores"].T), places).T
        learner.store_scores({item: moved[at] for at, item, _ in here if not np.isnan(moved[at]).any()})


def to_bytes(kept: Kept) -> bytes:
    """One line of JSON with the checksum of the rest, then the arrays, little-endian. The same always gives the same bytes."""
    names = sorted(kept.arrays)
    body = b"".join(np.ascontiguousarray(kept.arrays[name], dtype="<f4").tobytes() for name in names)
    first = {
        "format": 1, "options": asdict(kept.options), "categories": list(kept.categories), "experiences": kept.experiences,
        "items": list(kept.items), "ranks": list(kept.ranks), "known": list(kept.known),
        "arrays": [[name, list(kept.arrays[name].shape)] for name in names], "crc32": zlib.crc32(body),
    }  # fmt: skip
    return json.dumps(first, sort_keys=True, ensure_ascii=False).encode() + b"\n" + body


def from_bytes(data: bytes) -> Kept:
    """Raises ValueError where a byte is missing or changed."""
    first, _, body = data.partition(b"\n")
    told = json.loads(first)
    if zlib.crc32(body) != told["crc32"]:
        raise ValueError("a continual learner's state was cut off or changed")
    arrays, at = {}, 0
    for name, shape in told["arrays"]:
        size = int(np.prod(shape)) * 4
        arrays[name] = np.frombuffer(body[at : at + size], dtype="<f4").astype(np.float32).reshape(shape)
        at += size
    return Kept(
        Options(**told["options"]), tuple(told["categories"]), told["experiences"], arrays, tuple(told["items"]),
        tuple(told["ranks"]), tuple(told["known"]),
    )  # fmt: skip


def _moved(array: Floats, places: list[int]) -> Floats:
    """Rows in their new places; zeros where a category is new."""
    made = np.zeros((len(places), *array.shape[1:]), dtype=np.float32)
    for now, before in enumerate(places):
        if before >= 0:
            made[now] = array[before]
    return made


def _set(net: LinearNet, weight: Floats, bias: Floats) -> None:
    with torch.no_grad():
        net.out.weight.copy_(torch.from_numpy(weight))
        net.out.bias.copy_(torch.from_numpy(bias))


def _linear(learner: ContinualLearner) -> LinearNet:
    if not isinstance(learner.net, LinearNet):
        raise ValueError(f"a {learner.options.network} network is not kept: only a linear one is")
    return learner.net


def _numpy(values: torch.Tensor) -> Floats:
    return np.array(values.detach().numpy(), dtype=np.float32)
