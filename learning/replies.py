"""Votes on shown replies → the next reply policy: catalog → evidence → screening → learner → gates → ONNX → promotion.

The first version is what people wrote first: slot 1 in front, the others by exploration. A version that only takes the
catalog's new replies in replaces its parent as it is. Whatever is learned has to pass the gates; else the policy in service
stays, and the version says why. A killed job resumes: variants that are done stand in its checkpoint.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from django.conf import settings
from django.db import transaction
from onnx import numpy_helper

from feedback import jobs
from learning import preferences, reply_gates
from learning.core.preference.evidence import Replies, numbered
from learning.core.preference.learners import DEFAULT, Evidence
from learning.core.preference.person import column_of, with_person
from learning.core.preference.policy import Hidden, ReplyPolicy, export_policy
from learning.core.preference.training import Outcome, TrainingConfig, train_reply_policy
from learning.environment import Environment
from learning.models import GateSettings
from serving import policies, policy_trials, storage
from serving.artifacts import Bundle, write_bundle
from serving.encoder import Encoder
from serving.models import PolicyStage, PolicyVersion
from serving.policy import GRAPH, KIND, Offer
from serving.served import served

SEED = 0
EXPLORATION = 0.1
FIRST = 4.0  # the head start of slot 1: 98 % of what is not explored, between two
NEW = -4.0  # a reply that joins a policy starts behind those that it knows


@dataclass(frozen=True)
class Catalog:
    """The replies that one encoder variant reads, with their unit vectors [R, d]."""

    encoder: Encoder
    offers: tuple[Offer, ...]
    vectors: npt.NDArray[np.float32]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(o.id for o in self.offers)

    @property
    def replies(self) -> Replies:
        """Ways to answer one need in one language are one category."""
        return Replies(self.vectors, numbered(np.array([f"{o.category}\0{o.locale}" for o in self.offers])))


def catalogs(*, project_id: int) -> list[Catalog]:
    """What there is to choose from, by encoder variant; a variant without a choice is left out."""
    found: dict[str, tuple[Encoder, list[Offer]]] = {}
    for offer in policies.offers(project_id=project_id):
        encoder, _ = served.encoder_for(offer.text, offer.locale)
        found.setdefault(encoder.sha256, (encoder, []))[1].append(offer)
    kept = [(e, o) for _, (e, o) in sorted(found.items()) if len({(x.category, x.locale) for x in o}) < len(o)]
    return [Catalog(e, tuple(o), e.encode([x.text for x in o])) for e, o in kept]


def learn_replies(running: jobs.Running) -> dict[str, Any]:
    """Handler of `learn_replies` jobs. `params["start"]` puts first versions into service, else only those that serve learn."""
    every = catalogs(project_id=running.job.project_id)
    done: dict[str, Any] = dict(running.job.checkpoint.get("done", {}))
    for n, catalog in enumerate(every):
        sha = catalog.encoder.sha256
        if sha in done:
            continue
        running.report(0.05 + 0.9 * n / len(every), f"learning from votes on {len(catalog.ids)} replies")
        done[sha] = _learn_variant(running, catalog)
        running.save_checkpoint({"done": done})
    return {"runs": list(done.values())}


def _learn_variant(running: jobs.Running, catalog: Catalog) -> dict[str, Any]:
    serving = policies.in_production(project_id=running.job.project_id, encoder_sha=catalog.encoder.sha256)
    if serving is None:
        if not running.job.params.get("start"):
            return {"encoder": catalog.encoder.sha256, "state": "not started"}
        return _put_into_service(running, catalog, first(catalog), None)
    whole, known = opened(serving), [int(r) for r in policies.open_bundle(serving).manifest["replies"]]
    reference = extended(whole.without_person(), known, catalog.ids)
    if set(catalog.ids) - set(known):
        kept = column_of(whole)
        _put_into_service(running, catalog, reference if kept is None else reference.with_column(*kept), serving)
        serving = policies.in_production(project_id=running.job.project_id, encoder_sha=catalog.encoder.sha256)
        assert serving is not None
    showings = preferences.collect(
        project_id=running.job.project_id, encoder_sha=catalog.encoder.sha256, replies=catalog.ids
    )
    if not len(showings.votes):
        return {"encoder": catalog.encoder.sha256, "state": "waiting", "votes": 0}
    evidence = Evidence(
        showings.x, catalog.replies, showings.votes, showings.weights, reference, comparisons=showings.comparisons,
        logged=showings.logged,
    )  # fmt: skip
    outcome = train_reply_policy(evidence, TrainingConfig(seed=SEED))
    return _judge(running, catalog, serving, reference, showings, outcome)


def _judge(
    running: jobs.Running, catalog: Catalog, serving: PolicyVersion, reference: ReplyPolicy,
    showings: preferences.Showings, outcome: Outcome,
) -> dict[str, Any]:  # fmt: skip
    """Register what was learned with its gates, and promote it or say why not; fenced."""
    below = person_below(running, serving)
    policy = _served(outcome, showings, below)
    bundle, parity = export(
        policy, catalog, serving.exploration, check_on=showings.x[:500], parent=serving, below=below
    )
    thresholds = GateSettings.of(running.job.project_id).thresholds_in_force
    lengths = [len(o.text) for o in catalog.offers]
    results = reply_gates.judge(outcome, showings, reference, lengths, parity, thresholds, policy)
    passed = all(r.passed for r in results)
    gain = None if outcome.gain is None else asdict(outcome.gain)
    with transaction.atomic():
        running.hold()
        version = policies.register(
            project_id=running.job.project_id, bundle=bundle, encoder_sha=catalog.encoder.sha256,
            stage=PolicyStage.STAGING if passed else PolicyStage.REJECTED, gates=[asdict(r) for r in results],
            metrics={"votes": len(showings.votes), "shown": len(showings.x), "gain": gain},
            screening=screening_report(outcome, showings), lineage=_lineage(running, bundle, showings.sha256),
        )  # fmt: skip
        released = passed and policy_trials.release(version_id=version.pk)
    state = "promoted" if released else "on trial" if passed else "rejected"
    why = next((r.detail for r in results if not r.passed), "")
    return {"encoder": catalog.encoder.sha256, "state": state, "version": version.number,
            "votes": len(showings.votes), "why": why}  # fmt: skip


def _put_into_service(
    running: jobs.Running, catalog: Catalog, policy: ReplyPolicy, parent: PolicyVersion | None
) -> dict[str, Any]:
    """A version that nothing was learned for: the first one, or its parent with the catalog's new replies."""
    share = parent.exploration if parent else float(running.job.params.get("exploration", EXPLORATION))
    below = person_below(running, parent)
    bundle, parity = export(policy, catalog, share, check_on=catalog.vectors, parent=parent, below=below)
    with transaction.atomic():
        running.hold()
        version = policies.register(
            project_id=running.job.project_id, bundle=bundle, encoder_sha=catalog.encoder.sha256, gates=[asdict(reply_gates.same(parity))],
            lineage=_lineage(running, bundle, ""),
        )  # fmt: skip
        policies.promote(version_id=version.pk)
    return {"encoder": catalog.encoder.sha256, "state": "started", "version": version.number, "votes": 0}


def person_below(running: jobs.Running, serving: PolicyVersion | None) -> float | None:
    """The approval that a person is worth: what the job names (0 ends it), else what the version in service goes by."""
    asked = running.job.params.get("ask_person_below")
    if asked is None and serving is not None:
        asked = policies.open_bundle(serving).manifest.get("person_below")
    return float(asked) if asked else None


def _served(outcome: Outcome, showings: preferences.Showings, below: float | None) -> ReplyPolicy:
    """What was learned, with a person to ask where the project wants one and the evidence says what replies are worth."""
    if below is None or outcome.approval is None:
        return outcome.policy
    return with_person(outcome.policy, showings.x, showings.logged > 0, outcome.approval, below=below)


def first(catalog: Catalog) -> ReplyPolicy:
    """The reply that people put first leads; nothing depends on the inquiry yet."""
    seen: set[tuple[str, str]] = set()
    bias = []
    for o in catalog.offers:
        bias.append(0.0 if (o.category, o.locale) in seen else FIRST)
        seen.add((o.category, o.locale))
    return ReplyPolicy(np.zeros((catalog.encoder.dim, len(bias)), np.float32), np.array(bias, np.float32))


def extended(policy: ReplyPolicy, known: list[int], wanted: tuple[int, ...]) -> ReplyPolicy:
    """The policy over ``wanted`` replies: columns of those it knows, a late start for the others."""
    at = {reply: n for n, reply in enumerate(known)}
    columns = [at.get(reply, -1) for reply in wanted]
    low = float(policy.bias.min()) + NEW

    def taken(table: npt.NDArray[Any], missing: float) -> npt.NDArray[Any]:
        absent = np.full((*table.shape[:-1], 1), missing, dtype=table.dtype)
        return np.concatenate([table, absent], axis=-1)[..., columns]

    hidden = policy.hidden
    if hidden is not None:
        hidden = replace(hidden, outward=taken(hidden.outward, 0.0))
    return replace(policy, weights=taken(policy.weights, 0.0), bias=taken(policy.bias, low), hidden=hidden)


def opened(version: PolicyVersion) -> ReplyPolicy:
    """The arrays of a version, read from its graph. Raises CorruptBundle."""
    bundle = policies.open_bundle(version)
    graph = onnx.load_from_string(bundle.read(GRAPH)).graph
    held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    hidden = Hidden(held["inward"], held["offset"], held["outward"]) if "inward" in held else None
    person = len(bundle.manifest["replies"]) if bundle.manifest.get("person") else None
    return ReplyPolicy(held["weights"], held["bias"], hidden, temperature=float(held["temperature"]), person=person)


def export(
    policy: ReplyPolicy, catalog: Catalog, exploration: float, *, check_on: npt.NDArray[np.float32], parent: PolicyVersion | None,
    below: float | None = None,
) -> tuple[Bundle, float]:  # fmt: skip
    """The policy as a bundle and its parity. Raises PolicyParityError."""
    graph, parity = export_policy(policy, check_on=check_on)
    meta = {
        "kind": KIND, "replies": list(catalog.ids), "encoder_sha256": catalog.encoder.sha256,
        "temperature": policy.temperature, "exploration": exploration, "preprocessing": {"normalise": "unit"},
        "parent": parent.manifest_sha if parent else None, "person": policy.person is not None, "person_below": below,
    }  # fmt: skip
    bundle = write_bundle(Path(settings.ENSO_ARTIFACTS), {GRAPH: graph}, meta)
    storage.put(bundle.path)
    return bundle, parity


def screening_report(outcome: Outcome, showings: preferences.Showings) -> dict[str, Any]:
    """What was taken from whom: shares per group, replies that a campaign pushes, voters with reasons (by hash)."""
    screening = outcome.screening
    reasons = {hashlib.sha256(showings.voters[v].encode()).hexdigest()[:16]: why
               for v, why in screening.reasons().items()}  # fmt: skip
    return {
        "lost": round(screening.lost, 4),
        "dropped": {name: screening.dropped(group) for name, group in showings.groups.items()},
        "targets": [showings.replies[int(t)] for t in screening.voters.targets],
        "voters": dict(list(reasons.items())[:200]), "doubted": len(reasons), "too_dirty": screening.too_dirty,
    }  # fmt: skip


def _lineage(running: jobs.Running, bundle: Bundle, data: str) -> dict[str, Any]:
    return {"weights": bundle.sha256, "data": data, "hyperparameters": {"learner": DEFAULT}, "seed": SEED,
            "environment": asdict(Environment.here()), "job": running.job.pk}  # fmt: skip
