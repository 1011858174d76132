"""`manage.py name_version`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from feedback.problems import Problem
from serving import registry


class Command(BaseCommand):
    help = "Let a name, such as champion, stand for a model version; with --remove for none."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("name")
        parser.add_argument("version", nargs="?", help="number, or another name of the version")
        parser.add_argument("--remove", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        if options["remove"]:
            if not registry.unname(project_id=project.pk, name=options["name"]):
                raise CommandError(f"No version is called {options['name']!r}.")
            return
        version = registry.find(project_id=project.pk, wanted=options["version"] or "")
        if version is None:
            raise CommandError(f"There is no version {options['version']!r} in {project.slug!r}.")
        try:
            registry.name_version(version_id=version.pk, name=options["name"])
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"{options['name']} is v{version.number}.")
