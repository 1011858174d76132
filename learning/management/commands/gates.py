"""`manage.py gates`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from learning.models import GateSettings


class Command(BaseCommand):
    help = "Show or change what a project demands of a model version before it serves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("thresholds", nargs="*", help="name=value")
        parser.add_argument("--checks", type=Path, help="YAML with functionality, directional and invariance")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        told = GateSettings.of(project.pk)
        told.thresholds = {**told.thresholds, **dict(_pair(given) for given in options["thresholds"])}
        if options["checks"] is not None:
            told.checks = _read(options["checks"])
        try:
            told.clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        if options["thresholds"] or options["checks"]:
            told.save()
        for name, value in told.thresholds_in_force.as_dict().items():
            self.stdout.write(f"{name}={value:g}")


def _pair(given: str) -> tuple[str, float]:
    name, _, value = given.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise CommandError(f"Write a threshold as name=number, not {given!r}.") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}.") from error
