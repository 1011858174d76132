"""`manage.py sentiment`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import JobState, Project
from feedback.problems import Problem
from learning.sentiment_tasks import KIND, new_pairs
from serving import sentiment_registry as registry
from serving.models import CommentReading, SentimentStage, SentimentVersion


class Command(BaseCommand):
    help = (
        "Say what reads a project's comments (status); learn from its rated comments now (train); undo that (rollback)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        actions = parser.add_subparsers(dest="action", required=True, metavar="status | train | rollback")
        actions.add_parser("status", help="versions, gates that stopped one, and comments by what read them")
        train = actions.add_parser("train", help="learn from rated comments in this process, whether it is due or not")
        train.add_argument("--tune", action="store_true", help="tune the encoder's last layers as well (takes minutes)")
        rollback = actions.add_parser(
            "rollback", help="put back what read before: a version, or the built-in sentences"
        )
        rollback.add_argument("--encoder", default="", help="start of the encoder variant's sha256 (default: all)")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["action"] == "rollback":
            self._rollback(project, options["encoder"])
        elif options["action"] == "train":
            self._train(project, tune=options["tune"])
        else:
            self._status(project)

    def _status(self, project: Project) -> None:
        for version in SentimentVersion.objects.filter(project=project).order_by("number"):
            failed = "; ".join(f"{g['name']}: {g['detail']}" for g in version.gates if not g["passed"])
            pairs = version.lineage.get("labels", "?")
            self.stdout.write(
                f"s{version.number} {version.stage}, encoder {version.encoder_sha[:12]}, {pairs} pairs"
                + (f" ({failed})" if failed else "")
            )
        readings = CommentReading.objects.filter(project=project)
        anchored = readings.filter(version=None).count()
        self.stdout.write(
            f"{anchored} comments read by the built-in sentences, {readings.count() - anchored} by versions."
        )
        waiting = new_pairs(project_id=project.pk, since=jobs.last_begun(project_id=project.pk, kind=KIND))
        self.stdout.write(f"{waiting} rated comments since the last training.")

    def _train(self, project: Project, *, tune: bool) -> None:
        job = jobs.enqueue(kind=KIND, project_id=project.pk, params={"tune": True} if tune else {})
        jobs.run_to_end(job)
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        for run in job.result["runs"]:
            number = f"s{run['version']} " if "version" in run else ""
            self.stdout.write(f"{number}{run['state']}, encoder {run['encoder'][:12]}, {run['pairs']} pairs")
        if not job.result["runs"]:
            self.stdout.write("No comment has a rating of the same customer yet.")

    def _rollback(self, project: Project, encoder: str) -> None:
        same = SentimentVersion.objects.filter(project=project, encoder_sha__startswith=encoder)
        serving = list(same.filter(stage=SentimentStage.PRODUCTION))
        if not serving:
            raise CommandError("The built-in sentences read these comments: there is nothing to put back.")
        for version in serving:
            try:
                earlier = registry.rollback(project_id=project.pk, encoder_sha=version.encoder_sha)
            except Problem as problem:
                raise CommandError(problem.detail) from problem
            name = "The built-in sentences read" if earlier is None else f"s{earlier.number} reads"
            self.stdout.write(f"{name} again in place of s{version.number}.")
