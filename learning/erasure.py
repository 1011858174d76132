"""Erasing a customer: a resumable job over all apps, with a receipt.

Snapshots get successors without the customer's rows; labels, embeddings, decisions and texts are deleted; topics are summed
up again without them; the live heads count again, which removes the customer's labels exactly; and a training is asked for,
so that what cannot unlearn is replaced; bundles that hold vectors of texts are deleted once they serve no more. Every step
may be repeated: what is gone is not found again.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

from django.db import transaction

from feedback import erasure as feedback_erasure
from feedback import jobs
from feedback.erasure import inquiries_of
from feedback.models import Job
from labeling import erasure as labeling_erasure
from learning import continual_states, owner, pools, resuming, topic_erasure
from learning.models import Snapshot
from learning.owner import Owner
from learning.snapshots import succeed
from serving import deltas, language, registry
from serving import erasure as serving_erasure
from serving.models import LiveState, ModelVersion, Stage

RECOUNT_SECONDS = 60.0
APPS = (("labeling", labeling_erasure.erase), ("serving", serving_erasure.erase), ("feedback", feedback_erasure.erase))


def erase_customer(*, project_id: int, customer: str) -> Job:
    """Ask for the erasure of everything that is held about a customer. ValueError without one."""
    if not customer:
        raise ValueError("name the customer: without one, all anonymous inquiries would be meant")
    return jobs.enqueue(kind="erase", project_id=project_id, params={"customer": customer}, exclusive=False)


def erase(running: jobs.Running) -> dict[str, Any]:
    """Handler of `erase` jobs; the receipt is its result. It names no inquiry and quotes nothing."""
    customer, project_id = running.job.params["customer"], running.job.project_id
    done = dict(running.job.checkpoint)
    if "inquiries" not in done:
        found = inquiries_of(project_id=project_id, customer=customer).values_list("pk", flat=True)
        done["inquiries"] = [str(pk) for pk in found]
        done["topics"] = topic_erasure.touched(project_id=project_id, customer=customer)
        running.save_checkpoint(done)
    running.report(0.1, "writing successor snapshots")
    done["snapshots"] = _succeeded(project_id, set(done["inquiries"]))
    for n, (app, erase_in) in enumerate(APPS):
        running.report(0.3 + 0.1 * n, f"erasing in {app}")
        counted = erase_in(project_id=project_id, customer=customer)
        kept = done.setdefault(app, counted)
        done[app] = {name: max(kept.get(name, 0), count) for name, count in counted.items()}
        running.save_checkpoint(done)
    running.report(0.6, "saying topics again")
    for sha in done["topics"]:
        topic_erasure.say_again(project_id=project_id, encoder_sha=sha)
    running.report(0.7, "unlearning")
    recounted = _recounted(project_id)
    running.report(0.9, "forgetting challengers")
    touched = _touched(project_id, done)
    continual_states.erase(project_id=project_id, snapshots=set(done["snapshots"]))
    receipt = _receipt(touched, customer, done, recounted)
    with transaction.atomic():
        running.hold()
        # The request itself must not keep what it asked to forget.
        Job.objects.filter(pk=running.job.pk).update(
            params={"customer_sha256": receipt["customer_sha256"]}, checkpoint={}
        )
        why = "it was trained with a customer who was erased"
        registry.bar(version_ids=touched, why=why)
        language.bar(project_id=project_id, inquiries=done["inquiries"], why=why)
        if receipt["retrain"]:
            jobs.enqueue(kind="train", project_id=project_id, params={"reason": "erasure"})
    registry.forget_vectors(project_id=project_id)
    pools.forget_closed(project_id=project_id)
    resuming.forget_all(project_id=project_id)
    return receipt


def _succeeded(project_id: int, erased: set[str]) -> dict[str, str]:
    """Snapshot → successor, by the starts of their hashes."""
    found = {}
    for snapshot in Snapshot.objects.filter(project_id=project_id).order_by("pk"):
        if (after := succeed(snapshot, erased)) is not None:
            found[snapshot.sha256[:12]] = after.sha256[:12]
    return found


def _recounted(project_id: int) -> dict[str, int]:
    """Version → delta that is without the customer. Done by the process that follows labels, or here where none runs."""
    states = LiveState.objects.filter(model__project_id=project_id, model__stage=Stage.PRODUCTION)
    for pk in states.values_list("pk", flat=True):
        deltas.wish(version_id=pk, wish=LiveState.Wish.RECOUNT)
    until = time.monotonic() + RECOUNT_SECONDS
    with owner.lock_connection() as locks:
        own = Owner(locks)
        while states.filter(wish=LiveState.Wish.RECOUNT).exists():
            if time.monotonic() > until:
                raise TimeoutError("the live heads have not been counted again: does `follow_labels` hang?")
            own.step()
            time.sleep(owner.LOOK_EVERY)
    return {f"v{state.model.number}": state.number for state in states.select_related("model")}


def _receipt(touched: list[int], customer: str, done: dict[str, Any], recounted: dict[str, int]) -> dict[str, Any]:
    """What was deleted, what was unlearned exactly, and which versions must not be promoted again."""
    versions = ModelVersion.objects.filter(pk__in=touched).order_by("number")
    return {
        "customer_sha256": hashlib.sha256(customer.encode()).hexdigest(),
        "deleted": {app: done[app] for app, _ in APPS},
        "topic_members": sum(done["topics"].values()),
        "snapshots": done["snapshots"],
        "unlearned_exactly": recounted,
        "retrain": [f"v{v.number}" for v in versions],
    }


def _touched(project_id: int, done: dict[str, Any]) -> list[int]:
    """Versions that were trained from a snapshot with the customer, or by a network that once was: what serves is replaced, the
    others stay out of service."""
    states = continual_states.touched(project_id=project_id, snapshots=set(done["snapshots"]))
    networks = {state.run.model_id for state in states}
    versions = ModelVersion.objects.filter(project_id=project_id).exclude(stage=Stage.REJECTED)
    return [v.pk for v in versions if str(v.lineage.get("data", ""))[:12] in done["snapshots"] or v.pk in networks]
