"""`manage.py create_project`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.keys import SCOPES, create_key
from feedback.models import ClientApp, Project
from feedback.services import create_project

FIELDS = {"key", "name", "names", "description", "examples", "guideline", "high_risk"}


class Command(BaseCommand):
    help = "Create a project from a file of categories, and print an API key for it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="short name in URLs and requests, such as shop")
        parser.add_argument("--name", help="name for people (default: the slug)")
        parser.add_argument(
            "--categories", type=Path, required=True,
            help="CSV with the columns key[,name,description,high_risk], or JSON: a list of objects",
        )  # fmt: skip
        parser.add_argument("--overlap", type=int, default=1, help="annotations that each task needs")

    def handle(self, *args: Any, **options: Any) -> None:
        slug: str = options["slug"]
        if Project.objects.filter(slug=slug).exists():
            raise CommandError(f"There is already a project {slug!r}. Choose another slug.")
        categories = read_categories(options["categories"])
        try:
            project = create_project(
                slug=slug, name=options["name"] or slug, categories=categories, overlap=options["overlap"]
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        _, secret = create_key(app=ClientApp.objects.get(project=project), scopes=list(SCOPES))
        self.stdout.write(f"Project {slug} with {len(categories)} categories.")
        self.stdout.write(f"API key (shown once): {secret}")


def read_categories(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV or JSON file as Category fields; CommandError naming the row that is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise CommandError(f"{path} holds no categories: give at least one row with a key.")
    return [_category(row, n) for n, row in enumerate(rows, 1)]


def _category(row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, dict) or not row.get("key"):
        raise CommandError(f"Row {number} has no key.")
    unknown = sorted(str(k) for k in set(row) - FIELDS)
    if unknown:
        raise CommandError(f"Row {number} has an unknown column {unknown[0]!r}; known are {', '.join(sorted(FIELDS))}.")
    given = {k: v for k, v in row.items() if v not in (None, "")}
    given.setdefault("name", str(given["key"]).replace("_", " ").replace("-", " "))
    given["high_risk"] = str(given.get("high_risk", "")).lower() in {"1", "true", "yes"}
    return given
