"""`manage.py compare_replies`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import JobState, Project
from feedback.problems import Problem
from learning import comparisons


class Command(BaseCommand):
    help = "Ask people to compare the replies that the policy in service is least sure between."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("--count", type=int, default=comparisons.COUNT, help="how many comparisons, at most 500")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        try:
            job = comparisons.ask(project_id=project.pk, count=options["count"])
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        jobs.run_to_end(job)
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        self.stdout.write(f"{job.result['made']} new comparisons wait on the page “Compare replies”.")
