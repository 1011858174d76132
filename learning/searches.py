"""A search for a challenger's options, fanned out over workers: a job per trial, and rows that say what was tried and told.

No process coordinates. Whoever ends the last trial of a generation proposes the next one, in the transaction that tells its
own result: a process that is killed anywhere leaves either a trial that its job runs again, or a next generation. A result is
told once, by compare-and-set under the fencing token of the job. At most `width` trials wait in the queue, so that a training
that is asked for meanwhile waits for these and not for the whole search.
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from feedback import jobs
from feedback.models import Fold, Job
from learning.core.continual.methods import FEEDBACK, METHODS
from learning.core.continual.searching import Told, proposals
from learning.datasets import collect, encoders_with_labels
from learning.models import Search, SearchState, Snapshot, TrainingSettings, Trial, TrialState
from learning.snapshots import Material, take_snapshot
from learning.trials import evaluate, split
from serving.served import served

MOST_TRIALS, MOST_WIDTH = 1000, 64
LEAST_VALIDATION = 30  # labels


class CannotSearch(ValueError):
    """The search cannot begin, or its result cannot be taken; the message says why."""


def begin(*, project_id: int, method: str, trials: int, width: int, seed: int = 0) -> Search:
    """Fix the labels of the project's most used encoder, and ask for the first generation. Raises CannotSearch."""
    if method not in METHODS:
        raise CannotSearch(f"method: there is no {method!r}; choose from {', '.join(METHODS)}")
    for name, value, most in (("trials", trials, MOST_TRIALS), ("width", width, MOST_WIDTH)):
        if not 1 <= value <= most:
            raise CannotSearch(f"{name} must be from 1 to {most}, not {value}")
    if not 0 <= seed < 2**31:
        raise CannotSearch(f"seed must be from 0 to {2**31 - 1}, not {seed}")
    shas = encoders_with_labels(project_id=project_id)
    if not shas:
        raise CannotSearch("the project has no labels yet")
    plain, judged = (_snapshot(project_id, shas[0], strength) for strength in (0.0, 1.0))
    try:
        with transaction.atomic():
            search = Search.objects.create(
                project_id=project_id, encoder_sha=shas[0], method=method, snapshot=plain, judged=judged, seed=seed,
                wanted=trials, width=min(width, trials),
            )  # fmt: skip
            advance(search.pk)
    except IntegrityError as error:
        raise CannotSearch("a search of this project runs already: wait for it, or cancel it") from error
    return search


def advance(search_id: int) -> None:
    """If a generation has ended, ask for the next one or end the search. Call it in the transaction that told a result."""
    with transaction.atomic():
        search = Search.objects.select_for_update().get(pk=search_id)
        trials = list(search.trials.order_by("number"))
        if search.state != SearchState.RUNNING or any(t.state == TrialState.WAITING for t in trials):
            return
        last = trials[-search.width :]
        if last and all(t.state == TrialState.FAILED for t in last):
            _end(search, SearchState.FAILED, f"every trial of a generation failed: {last[-1].why}")
        elif len(trials) >= search.wanted:
            _end(search, SearchState.DONE)
        else:
            _ask(search, trials)


def run_trial(running: jobs.Running) -> dict[str, Any]:
    """Handler of `trial` jobs. One whose result was told already, or whose search has ended, does nothing."""
    trial = Trial.objects.select_related("search__snapshot", "search__judged").get(pk=running.job.params["trial"])
    if trial.state != TrialState.WAITING or trial.search.state != SearchState.RUNNING:
        return {"trial": trial.pk, "state": trial.state}
    said = f"trial {trial.number + 1} of {trial.search.wanted}"
    try:
        outcome = evaluate(trial.search, trial.options, lambda share: running.report(share, said))
        told: dict[str, Any] = {"state": TrialState.DONE, "loss": outcome.loss, "accuracy": outcome.accuracy}
    except (LookupError, ValueError) as error:  # another attempt would find the same
        told = {"state": TrialState.FAILED, "why": str(error)[:500]}
    with transaction.atomic():
        running.hold()
        _tell(trial, told)
    return {"trial": trial.pk, "state": told["state"]}


def look_after(*, project_id: int) -> int:
    """Trials whose jobs have died or were cancelled have failed; returns how many."""
    found = list(Trial.lost().filter(search__project_id=project_id).select_related("job"))
    for trial in found:
        why = trial.job.errors[-1] if trial.job and trial.job.errors else "its job was cancelled"
        with transaction.atomic():
            _tell(trial, {"state": TrialState.FAILED, "why": why[:500]})
    return len(found)


def cancel(search_id: int) -> bool:
    """End a search: trials that wait are not begun, those that run stop at their next report. False where it has ended."""
    with transaction.atomic():
        search = Search.objects.select_for_update().get(pk=search_id)
        if search.state != SearchState.RUNNING:
            return False
        _end(search, SearchState.CANCELLED)
    for job in Job.objects.filter(pk__in=search.trials.filter(state=TrialState.WAITING).values("job_id")):
        jobs.cancel(job.pk)
    return True


def take(search: Search) -> TrainingSettings:
    """Let the project's challenger be the method with the best options, and its λ the best one. Raises CannotSearch."""
    found = search.best()
    if search.state != SearchState.DONE or found is None:
        raise CannotSearch(f"search {search.pk} is {search.state}: only one that is done has a result to take")
    with transaction.atomic():
        told, _ = TrainingSettings.objects.select_for_update().get_or_create(project_id=search.project_id)
        told.challenger = search.method
        told.challenger_options = {name: v for name, v in found.options.items() if name not in FEEDBACK}
        told.feedback_weight = found.options.get("feedback_weight", told.feedback_weight)
        told.clean()
        told.save()
    return told


def _snapshot(project_id: int, encoder_sha: str, strength: float) -> Snapshot:
    """The labels with the weights that this λ gives them; texts and pool play no part."""
    dataset = collect(project_id=project_id, encoder_sha=encoder_sha, strength=strength)
    desk = served.desk(project_id)
    texts = served.prototypes(desk, served.encoder_by_sha(encoder_sha))
    material = Material(dataset, tuple(desk.categories), texts)
    learns, validates = split(material)
    if len(validates) < LEAST_VALIDATION or len(learns) < LEAST_VALIDATION:
        count = int(dataset.fold(Fold.TRAIN).sum())
        raise CannotSearch(f"{count} labels of the train fold are too few to validate options on")
    return take_snapshot(material)


def _ask(search: Search, trials: list[Trial]) -> None:
    told = [Told(t.options, t.loss) for t in trials]
    count = min(search.width, search.wanted - len(trials))
    for n, options in enumerate(proposals(METHODS[search.method].searched, told, count=count, seed=search.seed)):
        trial = Trial.objects.create(search=search, number=len(trials) + n, options=options)
        job = jobs.enqueue(kind="trial", project_id=search.project_id, params={"trial": trial.pk}, exclusive=False)
        Trial.objects.filter(pk=trial.pk).update(job=job)


def _tell(trial: Trial, told: dict[str, Any]) -> None:
    """Once: a second result of the same trial is not taken."""
    waiting = Trial.objects.filter(pk=trial.pk, state=TrialState.WAITING)
    if waiting.update(**told, finished_at=Now()):
        advance(trial.search_id)


def _end(search: Search, state: SearchState, why: str = "") -> None:
    Search.objects.filter(pk=search.pk).update(state=state, why=why[:500], finished_at=timezone.now())
