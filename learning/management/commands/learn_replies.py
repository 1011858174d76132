"""`manage.py learn_replies`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import JobState, Project
from feedback.problems import Problem
from learning.reply_tasks import KIND
from serving import policies
from serving.models import PolicyStage, PolicyVersion


class Command(BaseCommand):
    help = (
        "Learn which replies customers prefer, now; begin with it (--start); or undo the last promotion (--rollback)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument(
            "--start", action="store_true", help="put a first policy into service where none chooses yet"
        )
        parser.add_argument(
            "--exploration", type=float, default=0.1, help="share drawn evenly from the candidates (with --start)"
        )
        parser.add_argument(
            "--ask-person-below",
            type=float,
            help="hand an inquiry to a person where no reply is expected to please this share of customers; 0 ends it",
        )
        parser.add_argument(
            "--rollback", action="store_true", help="put back what chose before: a version, or the first reply"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if not 0 <= options["exploration"] <= 1:
            raise CommandError("The exploration is a share from 0 to 1.")
        if options["ask_person_below"] is not None and not 0 <= options["ask_person_below"] < 1:
            raise CommandError("What a person is worth is an approval from 0 to below 1.")
        if options["rollback"]:
            self._rollback(project)
        else:
            self._learn(project, options)

    def _learn(self, project: Project, options: dict[str, Any]) -> None:
        params = {"start": True, "exploration": options["exploration"]} if options["start"] else {}
        if options["ask_person_below"] is not None:
            params["ask_person_below"] = options["ask_person_below"]
        job = jobs.enqueue(kind=KIND, project_id=project.pk, params=params)
        jobs.run_to_end(job)
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        for run in job.result["runs"]:
            number = f"p{run['version']} " if "version" in run else ""
            self.stdout.write(f"{number}{run['state']}, encoder {run['encoder'][:12]}. {run.get('why', '')}".strip())
        if not job.result["runs"]:
            self.stdout.write("There is nothing to choose: no category has two replies in one language.")

    def _rollback(self, project: Project) -> None:
        serving = list(PolicyVersion.objects.filter(project=project, stage=PolicyStage.PRODUCTION))
        if not serving:
            raise CommandError("No policy chooses here: there is nothing to put back.")
        for version in serving:
            try:
                earlier = policies.rollback(project_id=project.pk, encoder_sha=version.encoder_sha)
            except Problem as problem:
                raise CommandError(problem.detail) from problem
            name = "Each category's first reply is sent" if earlier is None else f"p{earlier.number} chooses"
            self.stdout.write(f"{name} again in place of p{version.number}.")
