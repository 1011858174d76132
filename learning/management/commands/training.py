"""`manage.py training`."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from learning.core.continual.methods import BOUNDS, METHODS, WHOLE
from learning.models import Challenger, TrainingSettings

NAMES = ("approval", "nightly_hour", "feedback_weight", "challenger")


class Command(BaseCommand):
    help = "Show or change when a project is trained and whether a person lets its versions serve: approval=yes nightly_hour=2"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument(
            "pairs",
            nargs="*",
            metavar="NAME=VALUE",
            help=f"{', '.join(NAMES)}, or an option of the challenger; an empty value is none",
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
            told.clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        if options["pairs"]:
            told.save()
        for name in NAMES:
            self.stdout.write(f"{name} = {getattr(told, name)}")
        for name, value in _options(told).items():
            self.stdout.write(f"{name} = {value}")


def _set(told: TrainingSettings, pair: str) -> None:
    name, equals, value = pair.partition("=")
    if equals and name in BOUNDS:
        _set_option(told, name, value)
        return
    if not equals or name not in NAMES:
        raise CommandError(f"{pair!r} is no NAME=VALUE of a setting; known are {', '.join((*NAMES, *BOUNDS))}.")
    if name == "challenger":
        # Options are those of a method: another one begins with its own.
        told.challenger_options = told.challenger_options if value == told.challenger else {}
        told.challenger = value or Challenger.NONE
        return
    if name == "approval":
        told.approval = value.lower() in {"1", "true", "yes"}
        return
    field = next(f for f in TrainingSettings._meta.concrete_fields if f.name == name)
    setattr(told, name, field.to_python(value or None))


def _set_option(told: TrainingSettings, name: str, value: str) -> None:
    options = {n: v for n, v in told.challenger_options.items() if n != name}
    try:
        given = {name: int(value) if name in WHOLE else float(value)} if value else {}
    except ValueError as error:
        raise CommandError(f"{name} must be a number, not {value!r}.") from error
    told.challenger_options = {**options, **given}


def _options(told: TrainingSettings) -> dict[str, Any]:
    method = METHODS.get(told.challenger)
    return {} if method is None else {f"  {n}": v for n, v in method.with_options(told.challenger_options).items()}
