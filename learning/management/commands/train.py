"""`manage.py train`."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import Job, JobState, Project
from learning.models import TrainingRun


class Command(BaseCommand):
    help = "Train a project's heads now: here, or with --queue in the learner that runs. Or repeat a run and compare."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument(
            "--queue", action="store_true", help="leave it to the running learner and show its progress"
        )

        parser.add_argument(
            "--reproduce",
            type=int,
            metavar="RUN",
            help="train this run again from what it recorded; nothing is registered",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["reproduce"] is not None:
            self._reproduce(project, options["reproduce"])
            return
        job = jobs.enqueue(kind="train", project_id=project.pk, params={"reason": "hand"})
        if options["queue"]:
            self._follow(job)
        else:
            jobs.run_to_end(job)
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        for run in job.result["runs"]:
            self.stdout.write(f"v{run.get('model', '?')} {run['state']}")
        if faults := [run["why"] for run in job.result["runs"] if "why" in run]:
            raise CommandError("The labels cannot be trained on: " + "; ".join(faults))

    def _reproduce(self, project: Project, number: int) -> None:
        from learning.reproduction import reproduce  # torch and onnx are loaded by this one use alone

        run = TrainingRun.objects.filter(project=project, pk=number).select_related("model", "snapshot").first()
        if run is None:
            raise CommandError(f"There is no run {number} in {project.slug!r}.")
        try:
            result = reproduce(run, lambda share, stage: self.stderr.write(f"{share:4.0%} {stage}"))
        except LookupError as error:
            raise CommandError(f"Run {number} cannot be repeated: {error}.") from error
        if result.same:
            self.stdout.write(f"Run {number} gives the same bundle again: {result.found}")
            return
        for what, ids in (("erased", result.erased), ("changed", result.changed)):
            for pk in ids:
                self.stdout.write(f"{what} since: inquiry {pk}")
        for difference in result.differs:
            self.stdout.write(f"differs: {difference}")
        if result.found is None:
            gone = f"{len(result.erased)} rows were erased and {len(result.changed)} changed"
            raise CommandError(f"Run {number} cannot be repeated: {gone}.")
        raise CommandError(f"Run {number} gives {result.found}, not {result.expected}.")

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
