"""`manage.py topics`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import JobState, Project
from learning.models import TopicRun
from learning.topic_tasks import KIND


class Command(BaseCommand):
    help = "Find what a project's customers talk about: here and now, or with --queue in the learner that runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--refit", action="store_true", help="cluster all texts anew, not only what is new")
        parser.add_argument("--seed", type=int, help="of the layouts; the same texts and seed give the same topics")
        parser.add_argument("--queue", action="store_true", help="leave it to the running learner")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        params = {"refit": options["refit"]} | ({} if options["seed"] is None else {"seed": options["seed"]})
        job = jobs.enqueue(kind=KIND, project_id=project.pk, params=params)
        if options["queue"]:
            self.stdout.write(f"job {job.pk} waits for the learner")
            return
        jobs.run_to_end(job)
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        for run in TopicRun.objects.filter(job=job):
            self.stdout.write(
                f"{run.encoder_sha[:12]}: {run.topics} topics in {run.texts} texts ({run.kind}, seed {run.seed})"
            )
        if not TopicRun.objects.filter(job=job).exists():
            self.stdout.write("There are too few comments and doubtful inquiries for a map yet.")
