"""`manage.py create_person`."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from feedback.models import Membership, Project, Role, User


class Command(BaseCommand):
    help = "Create a person who signs in, or give an existing one more roles in a project."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--project", required=True)
        parser.add_argument(
            "--role", action="append", choices=Role.values, required=True, help="may be given several times"
        )
        parser.add_argument("--password", help="default: one is made and printed")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        with transaction.atomic():
            user, new = User.objects.get_or_create(username=options["username"])
            if new or options["password"]:
                self._set_password(user, options["password"])
            for role in options["role"]:
                Membership.objects.get_or_create(user=user, project=project, role=role)
        self.stdout.write(f"{user.username} is {', '.join(options['role'])} of {project.slug}.")

    def _set_password(self, user: User, given: str | None) -> None:
        password = given or secrets.token_urlsafe(9)
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        user.set_password(password)
        user.save()
        if not given:
            self.stdout.write(f"Password of {user.username} (shown once): {password}")
