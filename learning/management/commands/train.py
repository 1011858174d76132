"""`manage.py train`."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import Job, JobState, Project


class Command(BaseCommand):
    help = "Train a project's heads now: here, or with --queue in the learner that runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument(
            "--queue", action="store_true", help="leave it to the running learner and show its progress"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        job = jobs.enqueue(kind="train", project_id=project.pk)
        if options["queue"]:
            self._follow(job)
        else:
            jobs.run_to_end(job)
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        for run in job.result["runs"]:
            self.stdout.write(f"v{run.get('model', '?')} {run['state']}")

    def _follow(self, job: Job) -> None:
        shown = ""
        while True:
            job.refresh_from_db()
            line = f"{job.progress:4.0%} {job.state} {job.stage}"
            if line != shown:
                self.stderr.write(line)
                shown = line
            if job.state not in jobs.UNFINISHED:
                return
            time.sleep(0.3)
