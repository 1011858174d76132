"""`manage.py configure`."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import BooleanField

from feedback.models import Project
from feedback.services import SCORE_SETTINGS, rescore_project, touch_project
from learning import selection

FIXED = {"id", "slug", "created_at", "revision"}


class Command(BaseCommand):
    help = "Show a project's settings, or change them: configure shop overlap=2 audit_rate=0.1"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("pairs", nargs="*", metavar="NAME=VALUE")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        for pair in options["pairs"]:
            self._set(project, pair)
        try:
            project.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        if options["pairs"]:
            project.save()
            touch_project(project_id=project.pk)
            if SCORE_SETTINGS & {pair.partition("=")[0] for pair in options["pairs"]}:
                rescore_project(project_id=project.pk)
        for name in settings_of(project):
            self.stdout.write(f"{name} = {getattr(project, name)}")

    def _set(self, project: Project, pair: str) -> None:
        name, equals, value = pair.partition("=")
        if not equals or name not in settings_of(project):
            raise CommandError(f"{pair!r} is no NAME=VALUE of a setting; known are {', '.join(settings_of(project))}.")
        try:
            field = Project._meta.get_field(name)
            typed = value.lower() in {"1", "true", "yes"} if isinstance(field, BooleanField) else field.to_python(value)  # type: ignore[union-attr]
        except (ValidationError, FieldDoesNotExist) as error:
            raise CommandError(f"{name} cannot be {value!r}.") from error
        if name == "strategy":
            _check_strategy(value)
        setattr(project, name, typed)


def _check_strategy(name: str) -> None:
    try:
        selection.get(name)
    except ValueError as error:
        raise CommandError(str(error)) from error


def settings_of(project: Project) -> list[str]:
    return [f.name for f in project._meta.concrete_fields if f.name not in FIXED]
