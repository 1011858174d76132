"""`manage.py demo`."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from config import sample_desk
from config.management.commands.run import PARTS, add_run_arguments, run


class Command(BaseCommand):
    help = "Load a sample desk, run the whole stack and let sample customers and annotators use it."

    def add_arguments(self, parser: CommandParser) -> None:
        add_run_arguments(parser)
        parser.add_argument("--no-traffic", action="store_true", help="leave the desk quiet")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        desk = sample_desk.load()
        self._introduce(desk)
        traffic = [sys.executable, "manage.py", "demo_traffic"]
        extra = {} if options["no_traffic"] else {"sample": traffic}
        sys.exit(run(self, options, parts=PARTS, extra=extra))

    def _introduce(self, desk: sample_desk.SampleDesk) -> None:
        self.stdout.write("Sample desk “demo”: 12 categories, English and Japanese. Sign in as:")
        for username, (password, roles) in desk.people.items():
            self.stdout.write(f"  {username:<12} {password:<14} {', '.join(roles)}")
        self.stdout.write(f"API key: {desk.key}")
        self.stdout.write("Starting PostgreSQL, Redis, web, workers and beat. Ctrl+C stops everything.")
