"""`manage.py select`."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import Category, Project
from labeling.models import LabelTask, TaskState
from learning import outlooks
from learning.core.stopping import ENOUGH
from learning.models import Selection, SelectionState
from learning.purposes import shares_of
from learning.queueing import rescore_tasks
from serving.models import LateAnswer

SHOWN = 10


class Command(BaseCommand):
    help = (
        "Rank a project's open label tasks anew with its query strategy: the head of the queue and its oldest tasks, or with "
        "--whole all of them, in parts. With --explain nothing is written: it says what comes first and why, what the queue "
        "is made of, and what the next labels should bring."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--explain", action="store_true", help="say why instead of ranking")
        what.add_argument("--whole", action="store_true", help="pick from the whole queue, however long it is")
        what.add_argument("--cancel", action="store_true", help="end the selection over the whole queue that runs")
        parser.add_argument(
            "--queue", action="store_true", help="with --whole: leave the parts to the running learners"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["explain"]:
            self._explain(project)
        elif options["whole"]:
            self._whole(project, here=not options["queue"])
        elif options["cancel"]:
            self._cancel(project)
        else:
            changed = rescore_tasks(project_id=project.pk)
            self.stdout.write(f"{changed} tasks moved under the strategy {project.strategy}.")

    def _whole(self, project: Project, *, here: bool) -> None:
        from learning import selecting  # sklearn and onnxruntime are loaded by this use alone

        begun = selecting.begin(project_id=project.pk)
        if not begun:
            self.stdout.write("No selection task of the train fold is open: there is nothing to pick from.")
        for found in begun:
            while found.state == SelectionState.RUNNING:
                parts = list(found.parts.order_by("number"))
                told = sum(p.items > 0 for p in parts)
                self.stderr.write(f"selection {found.pk}: {told} of {len(parts)} parts of {found.items:,} tasks")
                waiting = [p.job for p in found.parts.filter(found=None).select_related("job")]
                if here:
                    for job in [j for j in [*waiting, found.picker] if j is not None]:
                        jobs.run_to_end(job)
                    selecting.look_after()
                else:
                    time.sleep(0.5)
                found.refresh_from_db()
            self.stdout.write(_ended(found))

    def _cancel(self, project: Project) -> None:
        from learning import selecting

        running = Selection.objects.filter(project=project, state=SelectionState.RUNNING)
        ended = [found.pk for found in running if selecting.cancel(found.pk)]
        if not ended:
            raise CommandError(f"No selection over the whole queue of {project.slug!r} runs.")
        self.stdout.write(f"cancelled: {', '.join(f'selection {pk}' for pk in ended)}")

    def _explain(self, project: Project) -> None:
        open_tasks = LabelTask.objects.filter(project=project, state=TaskState.OPEN)
        kinds = Counter(open_tasks.values_list("kind", flat=True))
        risky = open_tasks.filter(risk__gt=0).count()
        made_of = ", ".join(f"{n:,} {kind}" for kind, n in sorted(kinds.items())) or "nothing"
        self.stdout.write(f"Strategy {project.strategy}. Open: {made_of}; {risky:,} of them raised by risk.")
        self.stdout.write(_split(project))
        answered = LateAnswer.objects.filter(project=project).count()
        self.stdout.write(
            f"{answered:,} inquiries that waited were answered by later versions, which were sure of them."
            if project.retire_sure
            else "What waits is left to people even where a later version is sure of it (retire_sure is off)."
        )
        for n, task in enumerate(open_tasks.exclude(kind="audit").order_by("-priority", "id")[:SHOWN], 1):
            self.stdout.write(f"{n:>3}. task {task.pk}, priority {task.priority:.3f}: {_in_words(task.reason)}")
        for found in Selection.objects.filter(project=project).order_by("-pk")[:1]:
            self.stdout.write(f"Last over the whole queue, {found.created_at:%Y-%m-%d %H:%M}: {_ended(found)}.")
        self.stdout.write(_outlook(outlooks.curve(project)))


def _split(project: Project) -> str:
    """How the places at the head of the queue are shared."""
    parts = ", ".join(f"{name} {share:.0%}" for name, share in shares_of(project).items())
    risky = Category.objects.filter(project=project, high_risk=True, archived_at=None).exists()
    without = "" if risky else "; no category is of high risk, so that the others have that share"
    return f"The head of the queue: {parts}{without} (risk_share and diversity_share of `configure`)."


def _ended(found: Selection) -> str:
    """What came of a selection, in a line."""
    if found.state != SelectionState.DONE:
        return f"selection {found.pk} is {found.state}: {found.why}"
    said = found.result
    return (
        f"selection {found.pk} by {found.strategy}: {said['picked']:,} picked from {said['looked_at']:,} tasks "
        f"({said['exact']:,} of them proven to be what one look at everything would pick), {said['moved']:,} moved"
    )


def _in_words(reason: dict[str, Any]) -> str:
    """The ground of a pick in one line; a task that no strategy has picked yet has none."""
    if not reason:
        return "not picked yet"
    shares = [f"{b['category']} {100 * b['share']:.0f} %" for b in reason.get("between", ())]
    said = {k: v for k, v in reason.items() if k not in ("rule", "between") and v not in (None, [], "")}
    parts = [f"by {reason.get('rule', 'the model')}"]
    parts += [f"between {', '.join(shares)}"] if shares else []
    parts += [f"{name.replace('_', ' ')} {value:.3g}" for name, value in said.items() if isinstance(value, int | float)]
    return "; ".join(parts)


def _outlook(points: list[outlooks.CurvePoint]) -> str:
    if not points:
        return (
            "No random draw has been answered by a trained version and labeled yet: nothing can be said of more labels."
        )
    lines = [f"{p.labels:>7,} labels: {100 * p.right / p.total:.1f} % right of {p.total:.0f} audited" for p in points]
    told = outlooks.expected(points)
    if len(points) < ENOUGH:
        lines.append("What more labels would bring can be said once three versions have been audited.")
    else:
        ceiling = told.ceiling
        more = (
            f"the ceiling lies at {100 * ceiling.estimate:.1f} % ({100 * ceiling.low:.1f} to {100 * ceiling.high:.1f})"
        )
        lines.append(f"By the audited learning curve {told.in_words()}; {more}.")
    return "\n".join(lines)
