"""The challenger: a network that goes on learning from training to training, beside the closed form that starts anew each time.

Its experience is what has been labeled, or labeled otherwise, since the state that it goes on from; what keeps it from
forgetting is the method's (EWC + replay, DER++, LwF: learning/core/continual). The buffer holds references to labeled
inquiries; their embeddings are read when they are replayed. A linear network on the embedding is a head like any other: it is
exported, judged, served and followed live as the closed form is. Which of the two serves, the calibrate fold decides: it
trains neither, and the test fold is left for the gates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Category, Fold
from learning.continual_states import Before
from learning.core import calibration as cal
from learning.core.continual.learner import ContinualLearner, Experience, Options
from learning.core.continual.methods import METHODS
from learning.core.continual.networks import LinearNet
from learning.core.continual.state import Kept, Present, keep, revive
from learning.core.heads.training import TrainedHead
from learning.fitting import ENOUGH_TO_CALIBRATE, SEED
from learning.snapshots import Material
from serving import zero_shot

# A category means something else when more than this share of its labels came from elsewhere or went there.
MOVED = 0.1
Progress = Callable[[float], None]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """The head that is served, and what the next training goes on from."""

    head: TrainedHead
    kept: Kept


def settable(method: str, options: Options) -> dict[str, Any]:
    """Those of the options that a project may set, as they were."""
    return {name: getattr(options, name) for name in METHODS[method].settable}


def can_challenge(material: Material) -> str:
    """Why a challenger cannot be trained on these labels yet; empty where it can."""
    dataset = material.dataset
    train, calibrate = dataset.fold(Fold.TRAIN), int(dataset.fold(Fold.CALIBRATE).sum())
    if len({r.category for r, inside in zip(dataset.rows, train, strict=True) if inside}) < 2:
        return "a challenger needs labels of two categories"
    if calibrate < ENOUGH_TO_CALIBRATE:
        return f"a challenger is compared on {ENOUGH_TO_CALIBRATE} labels of the calibrate fold; there are {calibrate}"
    return ""


def names_of(material: Material) -> tuple[str, ...]:
    """What each category is called in a state: its id, so that a new key is no new category."""
    ids = Category.objects.filter(project_id=material.dataset.project_id, key__in=material.categories)
    known = dict(ids.values_list("key", "pk"))
    return tuple(str(known.get(key, f"key:{key}")) for key in material.categories)


def fit(
    method: str,
    options: Mapping[str, Any],
    material: Material,
    names: Sequence[str],
    closed: TrainedHead,
    before: Before | None,
    report: Progress,
) -> Fitted:
    """Learn what has come since ``before``. ``closed`` is the closed form of the same labels: it lends the feature map, and
    the ridge by which live labels are followed. Raises ValueError for options that the method does not have."""
    given = Options(**METHODS[method].with_options(options), seed=SEED)
    world = _World.of(material, names, before.known if before else {})
    if before is None:
        learner = ContinualLearner(material.dataset.x.shape[1], len(names), given, world.fetch)
    else:
        learner = revive(before.kept, world.present, world.fetch, given)
    learner.report = report
    replayed = 0 if learner.buffer is None else len(learner.buffer.labels)
    if len(world.fresh):
        learner.learn(world.experience)
    experiences = (before.kept.experiences if before else 0) + 1
    kept = keep(learner, names, world.name, experiences)
    told = {
        "experience": len(world.fresh), "replayed": replayed, "experiences": experiences,
        "changed_categories": [k for k, name in zip(material.categories, names, strict=True) if name in world.changed],
    }  # fmt: skip
    return Fitted(_head(method, learner, material, closed, given, told), kept)


def head_of(
    method: str, kept: Kept, material: Material, names: Sequence[str], closed: TrainedHead, told: Mapping[str, Any]
) -> Fitted:
    """The same from a state that was kept by an attempt before this one."""
    present = Present(material.dataset.x.shape[1], names, {}, {})
    learner = revive(kept, present, lambda items: np.zeros((len(items), present.dimension)))
    return Fitted(_head(method, learner, material, closed, kept.options, told), kept)


@dataclass(frozen=True)
class _World:
    """Items are rows of the dataset, and after them the categories' own texts, which every experience has."""

    material: Material
    names: Sequence[str]
    known: Mapping[str, tuple[str, int]]
    fresh: NDArray[np.int64]
    y: NDArray[np.int64]
    prototypes: Floats
    changed: frozenset[str]

    @classmethod
    def of(cls, material: Material, names: Sequence[str], known: Mapping[str, tuple[str, int]]) -> _World:
        dataset = material.dataset
        train = np.flatnonzero(dataset.fold(Fold.TRAIN))
        rows = dataset.rows
        fresh = [at for at in train.tolist() if known.get(str(rows[at].inquiry), ("", -1))[1] != rows[at].revision]
        y = dataset.labels(material.categories)
        prototypes = np.stack([zero_shot.prototype(t) for t in material.texts])
        now = {str(rows[at].inquiry): names[y[at]] for at in train.tolist()}
        changed = _changed({i: c for i, (c, _) in known.items()}, now)
        return cls(material, names, known, np.array(fresh, dtype=np.int64), y, prototypes, changed)

    @property
    def experience(self) -> Experience:
        texts = np.flatnonzero(np.linalg.norm(self.prototypes, axis=1) > 0)
        items = np.concatenate([self.fresh, len(self.y) + texts])
        weights = np.concatenate([self.material.dataset.weights()[self.fresh], np.ones(len(texts))])
        return Experience(items, self.fetch(items), np.concatenate([self.y[self.fresh], texts]), weights)

    @property
    def present(self) -> Present:
        """What may be replayed: labels of the train fold that were learned before and are as they were."""
        rows, fresh = self.material.dataset.rows, set(self.fresh.tolist())
        train = np.flatnonzero(self.material.dataset.fold(Fold.TRAIN)).tolist()
        old = {str(rows[at].inquiry): at for at in train if at not in fresh}
        labels = {name: int(self.y[at]) for name, at in old.items()}
        learned = dict(Counter(labels.values()))
        return Present(self.material.dataset.x.shape[1], self.names, old, labels, learned, self.changed)

    def fetch(self, items: NDArray[np.int64]) -> Floats:
        return np.concatenate([self.material.dataset.x, self.prototypes])[items]

    def name(self, item: int) -> str | None:
        return str(self.material.dataset.rows[item].inquiry) if item < len(self.y) else None


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> frozenset[str]:
    """Categories of which more than `MOVED` of the labels went elsewhere, or came from elsewhere."""
    moved = [(before[i], now[i]) for i in before.keys() & now.keys() if before[i] != now[i]]
    gone, come = Counter(a for a, _ in moved), Counter(b for _, b in moved)
    had, has = Counter(before.values()), Counter(now.values())
    return frozenset(
        {c for c, n in gone.items() if n > MOVED * had[c]} | {c for c, n in come.items() if n > MOVED * has[c]}
    )


def _head(
    method: str,
    learner: ContinualLearner,
    material: Material,
    closed: TrainedHead,
    options: Options,
    told: Mapping[str, Any],
) -> TrainedHead:
    net = learner.net
    assert isinstance(net, LinearNet)
    features = closed.features
    theta = np.zeros((features.width + 1, len(material.categories)))
    theta[-1 - features.dimension : -1] = net.gain * net.out.weight.detach().numpy().T / features.direct
    theta[-1] = net.gain * net.out.bias.detach().numpy()
    dataset = material.dataset
    held_out = dataset.fold(Fold.CALIBRATE)
    x, y = dataset.x[held_out], dataset.labels(material.categories)[held_out]
    scores = features(x) @ theta[:-1] + theta[-1]
    temperature = float(cal.fit_temperature(scores, y))
    return TrainedHead(
        kind=method, categories=material.categories, features=features, weights=theta[:-1], bias=theta[-1],
        temperature=temperature,
        metrics={
            "labels": int(dataset.fold(Fold.TRAIN).sum()), "continual": dict(told),
            "challenge": compare(closed.scores(x) / closed.temperature, scores / temperature, y),
        },
        # The ridge that live labels go into between two trainings, whichever head serves.
        hyperparameters={
            **asdict(options), **{key: closed.hyperparameters[key] for key in ("members", "pseudo_weights")}
        },
        parts={}, shares={},
    )  # fmt: skip


def compare(closed: NDArray[np.float64], network: NDArray[np.float64], y: NDArray[np.int64]) -> dict[str, Any]:
    """Log-loss of scores [n, K] on the same labels. The network wins where it is better by more than the standard error of
    the paired differences (Breiman et al. 1984): between equals, what starts anew each time and forgets nothing serves."""
    rows = np.arange(len(y))
    losses = [-np.log(np.maximum(cal.softmax(s)[rows, y], 1e-12)) for s in (closed, network)]
    gain = losses[0] - losses[1]
    error = float(gain.std(ddof=1) / np.sqrt(len(y))) if len(y) > 1 else float("inf")
    accuracy = [float((s.argmax(axis=1) == y).mean()) for s in (closed, network)]
    return {
        "labels": len(y), "closed_form": {"log_loss": float(losses[0].mean()), "accuracy": accuracy[0]},
        "network": {"log_loss": float(losses[1].mean()), "accuracy": accuracy[1]},
        "gain": float(gain.mean()), "standard_error": error, "won": bool(gain.mean() > error),
    }  # fmt: skip
