"""Picking from a project's whole queue: parts that look at segments of the pool, and one that picks from what they sent.

It is a chord whose counter lies in PostgreSQL (docs/decisions/0068): whoever tells the last part asks for the picker in the same
transaction, so that no part is forgotten and none counted twice, whichever worker is killed and whether or not Redis forgets. A
part is a job like any other: it shows how far it is, can be cancelled, and is run again where its worker died.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Now

from feedback import jobs
from feedback.models import Job, Project
from labeling import placing
from labeling.models import Label, LabelTask
from learning import pools, selection
from learning.models import Selection, SelectionPart, SelectionState
from learning.purposes import in_json, mix, said
from learning.queueing import TOP, Ranked, asked, batch_size, priorities_of
from learning.selecting_view import PART, View
from learning.selection.parts import Chosen, Part, joined, least_certain, packed, reduce_parts, unpacked
from learning.selection.state import Ints
from serving import late

WRITTEN = 2_000  # priorities between two reports


def begin(*, project_id: int) -> list[Selection]:
    """Ask for a batch from every encoder variant's open tasks, one selection each. One that still runs is cancelled: since it
    began, something has changed."""
    project = Project.objects.get(pk=project_id)
    held = pools.spread(project_id=project_id)
    pools.prune(project_id=project_id, held=held)
    return [_begin(project, sha, counts) for sha, counts in held.items()]


def _begin(project: Project, encoder_sha: str, counts: dict[int, int]) -> Selection:
    for running in Selection.objects.filter(project=project, encoder_sha=encoder_sha, state=SelectionState.RUNNING):
        cancel(running.pk, "a newer one has begun")
    ids = pools.segment_ids(project_id=project.pk, encoder_sha=encoder_sha, number=max(counts))
    with transaction.atomic():
        found = Selection.objects.create(
            project=project, encoder_sha=encoder_sha, strategy=project.strategy, wanted=batch_size(project),
            items=sum(counts.values()), last_task=int(ids.max(initial=0)),
            seed=Label.objects.filter(project=project, category__isnull=False).count(),
        )  # fmt: skip
        for number, segments in enumerate(grouped(counts)):
            part = SelectionPart.objects.create(selection=found, number=number, segments=segments)
            job = jobs.enqueue(kind="select_part", project_id=project.pk, params={"part": part.pk}, exclusive=False)
            SelectionPart.objects.filter(pk=part.pk).update(job=job)
    return found


def grouped(counts: dict[int, int]) -> list[list[int]]:
    """Neighbouring segments, in groups that hold about `PART` tasks.

    >>> grouped({0: 30_000, 1: 30_000, 5: 10, 9: 60_000})
    [[0, 1], [5, 9]]
    """
    groups: list[list[int]] = [[]]
    held = 0
    for number, count in sorted(counts.items()):
        if held >= PART:
            groups.append([])
            held = 0
        groups[-1].append(number)
        held += count
    return groups


def look(running: jobs.Running) -> dict[str, Any]:
    """Handler of `select_part` jobs. One that was told already, or whose selection has ended, does nothing."""
    part = SelectionPart.objects.select_related("selection__project").get(pk=running.job.params["part"])
    if part.found is not None or part.selection.state != SelectionState.RUNNING:
        return {"part": part.pk, "selection": part.selection.state}
    view = View.of(part.selection)
    sent: list[Part] = []
    for n, number in enumerate(part.segments):

        def report(share: float, n: int = n) -> None:
            running.report((n + share) / len(part.segments), f"selection {part.selection_id}, segment {n + 1}")

        sent.append(view.part_of_segment(number, TOP, report))
    whole = joined(sent)
    with transaction.atomic():
        running.hold()
        _tell(part, packed(whole), whole.total)
    return {"part": part.pk, "items": whole.total}


def _tell(part: SelectionPart, content: bytes, items: int) -> None:
    """Once; whoever tells the last part asks for the picker."""
    found = Selection.objects.select_for_update().get(pk=part.selection_id)
    if found.state != SelectionState.RUNNING:
        return
    if not SelectionPart.objects.filter(pk=part.pk, found=None).update(found=content, items=items):
        return
    if not found.parts.filter(found=None).exists():
        picker = jobs.enqueue(
            kind="select_pick", project_id=found.project_id, params={"selection": found.pk}, exclusive=False
        )
        Selection.objects.filter(pk=found.pk).update(picker=picker)


def pick(running: jobs.Running) -> dict[str, Any]:
    """Handler of `select_pick` jobs: the batch comes first, mixed with what the other purposes ask for, then the least certain others;
    what is neither falls back.

    Written in small transactions, each of which may be repeated: a picker that was killed begins again and changes what is left.
    """
    found = Selection.objects.select_related("project").get(pk=running.job.params["selection"])
    if found.state != SelectionState.RUNNING:
        return {"selection": found.state}
    running.report(0.05, "picking")
    view = View.of(found)
    parts = [unpacked(bytes(p.found)) for p in found.parts.order_by("number") if p.found is not None]
    sure = np.concatenate([p.sure for p in parts]) if found.project.retire_sure else np.empty(0, np.int64)
    wanted = min(found.wanted, sum(p.total for p in parts) - len(sure))
    chosen = Chosen(np.empty(0, np.int64), [], 0)
    if wanted:
        chosen = reduce_parts(parts, view.strategy, wanted, found.seed, view.covered, view.look)
    ranked = _ranked(found, view, chosen, _followed_by(chosen.ids, least_certain(parts, TOP)), wanted)
    _answer(running, found, view, sure, ranked)
    moved = _write(running, found, ranked)
    result = {
        "picked": len(chosen.ids), "exact": chosen.exact, "moved": moved,
        "looked_at": found.parts.aggregate(n=Sum("items"))["n"],
    }  # fmt: skip
    with transaction.atomic():
        running.hold()
        _end(found, SelectionState.DONE, result=result)
    return {"selection": found.pk, **result}


def _answer(running: jobs.Running, found: Selection, view: View, sure: Ints, ranked: Ranked) -> None:
    """Answer late what the version is sure of, and retire what no purpose has placed."""
    project_id, sha = found.project_id, found.encoder_sha
    waiting = np.intersect1d(sure, pools.open_ids(project_id=project_id, encoder_sha=sha))
    for start in range(0, len(waiting), WRITTEN):
        running.report(0.1 + 0.4 * start / len(waiting), "answering what the model is sure of")
        part = waiting[start : start + WRITTEN]
        beliefs = view.look(part, True).probabilities
        if beliefs is not None:
            late.answer_sure(
                project_id=project_id, encoder_sha=sha, tasks=part.tolist(), probabilities=beliefs, keep=ranked.reasons
            )


def _ranked(found: Selection, view: View, chosen: Chosen, ids: Ints, wanted: int) -> Ranked:
    """The head of the queue from the picks and the least certain others ``ids``, by the project's shares."""
    said_why = {
        int(pk): in_json(found.strategy, reason, view.head.categories)
        for pk, reason in zip(chosen.ids, chosen.reasons, strict=True)
    }
    looked = view.look(ids, True)
    state = selection.SelectionState(looked.x, ids, *view.covered, probabilities=looked.probabilities)
    risks = dict(LabelTask.objects.filter(pk__in=ids.tolist()).values_list("pk", "risk"))
    lifted = np.array([risks.get(int(pk), 0.0) > 0 for pk in ids], dtype=bool)
    first = mix(found.project, state, chosen.ids, lifted, view.head, min(wanted, len(ids)))
    return Ranked(np.concatenate([first.ids, ids[~np.isin(ids, first.ids)]]), said(first, said_why))


def _followed_by(first: Ints, others: Ints) -> Ints:
    """At most `TOP` in all, or as many as are first."""
    rest = others[~np.isin(others, first)]
    return np.concatenate([first, rest[: max(TOP - len(first), 0)]])


def _write(running: jobs.Running, found: Selection, ranked: Ranked) -> int:
    """Priorities in (0, 1] for the order, 0 for whatever else is open; returns how many changed."""
    project_id, sha = found.project_id, found.encoder_sha
    running.report(0.5, "writing the order of the queue")
    ranked = asked(ranked, pools.open_ids(project_id=project_id, encoder_sha=sha))
    raised = pools.open_ids(project_id=project_id, encoder_sha=sha, raised=True)
    behind = np.setdiff1d(raised[raised <= found.last_task], ranked.ids)
    ids = np.concatenate([ranked.ids, behind])
    values = np.concatenate([priorities_of(ranked.ids), np.zeros(len(behind))])
    moved = 0
    for start in range(0, len(ids), WRITTEN):
        running.report(0.5 + 0.5 * start / len(ids), "writing the order of the queue")
        part = slice(start, start + WRITTEN)
        moved += placing.reprioritise(priorities=dict(zip(ids[part].tolist(), values[part].tolist(), strict=True)))
    placing.explain(reasons=ranked.reasons)
    return moved


def cancel(selection_id: int, why: str = "somebody cancelled it") -> bool:
    """End a selection: its jobs stop, and the order of the queue stays as far as it was written. False where it has ended."""
    with transaction.atomic():
        found = Selection.objects.select_for_update().get(pk=selection_id)
        if found.state != SelectionState.RUNNING:
            return False
        _end(found, SelectionState.CANCELLED, why=why)
        for job in _jobs_of(found):
            jobs.cancel(job)
    return True


def look_after() -> int:
    """End selections one of whose jobs died or was cancelled; returns how many."""
    lost = list(Selection.lost().distinct())
    for found in lost:
        died = Job.objects.filter(pk__in=_jobs_of(found)).exclude(errors=[]).order_by("pk").first()
        cancel(found.pk, f"a part failed: {died.errors[-1]}"[:500] if died else "a part of it was cancelled")
    return len(lost)


def _jobs_of(found: Selection) -> list[int]:
    own = found.parts.exclude(job=None).values_list("job_id", flat=True)
    return [*own, *([found.picker_id] if found.picker_id else [])]


def _end(found: Selection, state: SelectionState, **told: Any) -> None:
    Selection.objects.filter(pk=found.pk, state=SelectionState.RUNNING).update(state=state, finished_at=Now(), **told)
    found.parts.update(found=None)  # what was sent is of use to nobody any more
