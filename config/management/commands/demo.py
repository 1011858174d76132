"""`manage.py demo`."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from config import sample_desk
from config.demo.script import PACES
from config.management.commands.demo_traffic import ROLES
from config.management.commands.run import PARTS, add_run_arguments, run


class Command(BaseCommand):
    help = (
        "Load a sample desk, run the whole stack and let sample customers, annotators and a lead tell a story with it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_run_arguments(parser)
        parser.add_argument("--no-traffic", action="store_true", help="leave the desk quiet")
        parser.add_argument("--seed", type=int, default=7, help="another seed, other texts and other mistakes")
        parser.add_argument("--pace", choices=PACES, default="normal", help="quick: as fast as the machine allows")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        desk = sample_desk.load()
        self._introduce(desk)
        # The story gives way to whoever uses the desk: web and workers come first.
        play = ["nice", "-n", "5", sys.executable, "manage.py", "demo_traffic"]
        told = ["--seed", str(options["seed"]), "--pace", options["pace"]]
        extra = {} if options["no_traffic"] else {role: [*play, role, *told] for role in ROLES}
        sys.exit(run(self, options, parts=PARTS, extra=extra))

    def _introduce(self, desk: sample_desk.SampleDesk) -> None:
        self.stdout.write("Sample desk “demo”: 12 categories, English and Japanese. Sign in as:")
        for username, (password, roles) in desk.people.items():
            if not username.startswith("sample"):
                self.stdout.write(f"  {username:<12} {password:<14} {', '.join(roles)}")
        self.stdout.write("  (sample1 to sample8 are played by the story)")
        self.stdout.write(f"API key: {desk.key}")
        self.stdout.write("Starting PostgreSQL, Redis, web, workers and beat. Ctrl+C stops everything.")
