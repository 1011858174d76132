"""`manage.py check_drift`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import JobState, Project
from learning import drift_tasks
from learning.models import DriftReport, RetrainingVerdict


class Command(BaseCommand):
    help = "Compare a project's newest inquiries with what its model has learned, judge, and measure the loop: now, and here."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--queue", action="store_true", help="leave it to the running learner")
        parser.add_argument("--rebuild", type=int, metavar="REPORT", help="make a kept report again from its evidence")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["rebuild"] is not None:
            self._rebuild(project, options["rebuild"])
            return
        job = drift_tasks.ask(project_id=project.pk)
        if options["queue"]:
            self.stdout.write(f"job {job.pk} is {job.state}")
            return
        jobs.run_to_end(job)
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        self._say(job.pk)

    def _say(self, job_id: int) -> None:
        reports = list(DriftReport.objects.filter(job=job_id).order_by("pk"))
        for r in reports:
            self.stdout.write(f"report {r.pk}: {r.state}, p = {r.p_value:.4f} of {r.level:.4f}, {', '.join(r.kinds)}")
        if not reports:
            self.stdout.write("There are too few texts to compare yet.")
        verdict = RetrainingVerdict.objects.get(job=job_id)
        self.stdout.write(
            f"verdict: {verdict.reason}" + (f", training job {verdict.training_id}" if verdict.retrain else "")
        )

    def _rebuild(self, project: Project, report_id: int) -> None:
        from learning import drifting  # scipy is loaded where it is needed

        row = DriftReport.objects.filter(pk=report_id, project=project).select_related("reference").first()
        if row is None:
            raise CommandError(f"There is no report {report_id} in {project.slug!r}.")
        try:
            found = drifting.rebuild(row)
        except LookupError as error:
            raise CommandError(f"report {report_id} cannot be rebuilt: {error}") from error
        same = "the same figures" if found.same else f"other figures (was p = {row.p_value:.4f})"
        self.stdout.write(
            f"report {report_id} rebuilt: statistic {found.statistic:.3f}, p = {found.p_value:.4f}: {same}"
        )
