"""`manage.py training`."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from learning.models import TrainingSettings

NAMES = ("approval", "nightly_hour", "feedback_weight")


class Command(BaseCommand):
    help = "Show or change when a project is trained and whether a person lets its versions serve: approval=yes nightly_hour=2"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument(
            "pairs", nargs="*", metavar="NAME=VALUE", help=f"{', '.join(NAMES)}; an empty value is none"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        told = TrainingSettings.of(project.pk)
        try:
            for pair in options["pairs"]:
                _set(told, pair)
            told.clean_fields(exclude=["project"])
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        if options["pairs"]:
            told.save()
        for name in NAMES:
            self.stdout.write(f"{name} = {getattr(told, name)}")


def _set(told: TrainingSettings, pair: str) -> None:
    name, equals, value = pair.partition("=")
    if not equals or name not in NAMES:
        raise CommandError(f"{pair!r} is no NAME=VALUE of a setting; known are {', '.join(NAMES)}.")
    if name == "approval":
        told.approval = value.lower() in {"1", "true", "yes"}
        return
    field = next(f for f in TrainingSettings._meta.concrete_fields if f.name == name)
    setattr(told, name, field.to_python(value or None))
