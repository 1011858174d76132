"""`manage.py prompt_template`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.models import Project
from feedback.problems import Problem
from serving import language
from serving.models import PromptTemplate


class Command(BaseCommand):
    help = (
        "List the prompt templates of a project's language model, write a new version (from a file), or take one back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("file", nargs="?", type=Path, help="the text, with {inquiry} and other variables")
        parser.add_argument("--category", default="", help="key of a category; without: for all")
        parser.add_argument("--locale", default="", help="such as ja; without: for all")
        parser.add_argument("--examples", type=Path, help='JSON: [{"inquiry": "…", "reply": "…"}, …], for {examples}')
        parser.add_argument("--take-back", type=int, metavar="N", help="version N is in force again")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        place = {"project_id": project.pk, "category": options["category"], "locale": options["locale"]}
        try:
            if options["take_back"] is not None:
                self._tell(language.take_back(**place, number=options["take_back"]))
            elif options["file"] is not None:
                examples = _json(options["examples"]) if options["examples"] else ()
                self._tell(language.add_template(**place, text=_text(options["file"]), examples=examples))
            else:
                self._list(project)
        except Problem as problem:
            raise CommandError(problem.detail) from problem

    def _tell(self, row: PromptTemplate) -> None:
        self.stdout.write(f"Version {row.number} is in force from the next tuning on ({_place(row)}).")

    def _list(self, project: Project) -> None:
        rows = PromptTemplate.objects.filter(project=project).select_related("category")
        for row in rows.order_by("category__key", "locale", "number"):
            mark = "*" if row.active else " "
            self.stdout.write(f"{mark} {row.number}  {_place(row)}  {row.sha256[:12]}  {len(row.examples)} examples")


def _place(row: PromptTemplate) -> str:
    return f"{row.category.key if row.category else 'all categories'}, {row.locale or 'all locales'}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error


def _json(path: Path) -> list[Any]:
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise CommandError(f"--examples: {path} is no JSON: {error}") from error
    if not isinstance(found, list):
        raise CommandError(f"--examples: {path} must hold a list.")
    return found
