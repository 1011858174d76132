"""`manage.py erase_customer`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import JobState, Project
from learning import erasure

ENDED = (JobState.DONE, JobState.CANCELLED, JobState.DEAD)


class Command(BaseCommand):
    help = "Erase everything that is held about a customer of a project, in all apps and heads, and print the receipt."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("customer", help="the app's own name for the customer, as it was posted")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        try:
            job = erasure.erase_customer(project_id=project.pk, customer=options["customer"].strip())
        except ValueError as error:
            raise CommandError(f"Nothing was erased: {error}.") from error
        while job.state not in ENDED:
            jobs.run(job.pk)
            job.refresh_from_db()
        if job.state != JobState.DONE:
            raise CommandError("; ".join(job.errors) or f"the job was {job.state}")
        self.stdout.write(json.dumps(job.result, indent=1, ensure_ascii=False))
