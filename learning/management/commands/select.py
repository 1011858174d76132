"""`manage.py select`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from labeling.models import LabelTask, TaskState
from learning import outlooks
from learning.core.stopping import ENOUGH
from learning.queueing import rescore_tasks

SHOWN = 10


class Command(BaseCommand):
    help = (
        "Rank a project's open label tasks anew with its query strategy. With --explain nothing is written: it says what "
        "comes first and why, what the queue is made of, and what the next labels should bring."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--explain", action="store_true", help="say why instead of ranking")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["explain"]:
            self._explain(project)
        else:
            changed = rescore_tasks(project_id=project.pk)
            self.stdout.write(f"{changed} tasks moved under the strategy {project.strategy}.")

    def _explain(self, project: Project) -> None:
        open_tasks = LabelTask.objects.filter(project=project, state=TaskState.OPEN)
        kinds = Counter(open_tasks.values_list("kind", flat=True))
        risky = open_tasks.filter(risk__gt=0).count()
        made_of = ", ".join(f"{n:,} {kind}" for kind, n in sorted(kinds.items())) or "nothing"
        self.stdout.write(f"Strategy {project.strategy}. Open: {made_of}; {risky:,} of them raised by risk.")
        for n, task in enumerate(open_tasks.exclude(kind="audit").order_by("-priority", "id")[:SHOWN], 1):
            self.stdout.write(f"{n:>3}. task {task.pk}, priority {task.priority:.3f}: {_in_words(task.reason)}")
        self.stdout.write(_outlook(outlooks.curve(project)))


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
