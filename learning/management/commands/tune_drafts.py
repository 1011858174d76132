"""`manage.py tune_drafts`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import JobState, Project
from feedback.problems import Problem
from learning.core.language.base import missing
from learning.draft_tasks import TUNE
from serving import language

METHODS = ("dpo", "kto", "sft")
KNOBS = {"epochs": int, "learning_rate": float, "rank": int, "batch": int, "beta": float}


class Command(BaseCommand):
    help = "Tune the language model that drafts replies for agents, now; or undo the last promotion (--rollback)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("--base", help="directory of a causal language model (default: ENSO_LANGUAGE_MODEL)")
        parser.add_argument("--method", choices=METHODS, default="dpo")
        for name, kind in KNOBS.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
        parser.add_argument("--queue", action="store_true", help="let the learner do it")
        parser.add_argument("--rollback", action="store_true", help="put back the version that wrote before, or none")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["rollback"]:
            return self._rollback(project)
        if why := missing():
            raise CommandError(why)
        params = {"method": options["method"], **{k: options[k] for k in ("base", *KNOBS) if options[k] is not None}}
        job = jobs.enqueue(kind=TUNE, project_id=project.pk, params=params)
        if options["queue"]:
            self.stdout.write(f"Job {job.pk} waits for the learner.")
            return None
        jobs.run_to_end(job)
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        r = job.result
        self.stdout.write(f"d{r['version']} {r['state']}. {r['why']}".strip())
        return None

    def _rollback(self, project: Project) -> None:
        try:
            earlier = language.rollback(project_id=project.pk)
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write("No drafts are written any more." if earlier is None else f"d{earlier.number} writes again.")
