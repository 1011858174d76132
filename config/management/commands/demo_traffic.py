"""`manage.py demo_traffic`: one of the processes that tell the story of `make demo`, over HTTP like everybody else."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config import sample_desk
from config.demo.annotators import Annotators
from config.demo.customers import Customers
from config.demo.desk import App, Person, address
from config.demo.lead import Lead
from config.demo.script import PACES
from feedback.models import Inquiry

ROLES = ("customers", "annotators", "lead")
# Two turns in three are English, like the customers.
JAPANESE = ("sample7", "sample8")
FIRST_SHIFT, SECOND_SHIFT = ("sample1", "sample2", "sample1", "sample2"), ("sample4", "sample5")
EXPERT, LEAD = "sample3", "sample6"


class Command(BaseCommand):
    help = (
        "Play the sample customers, annotators or lead of the demo, until the story is told; then wait to be stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=ROLES)
        parser.add_argument("--seed", type=int, default=7)
        parser.add_argument("--pace", choices=PACES, default="normal")
        parser.add_argument("--inquiries", type=int, default=5000, help="customers ask so many and then no more")

    def handle(self, *args: Any, **options: Any) -> None:
        url, desk = address(), sample_desk.load()
        app, pace, seed = App(url, desk.key), PACES[options["pace"]], options["seed"]

        def person(name: str) -> Person:
            return Person(url, name, desk.people[name][0])

        if options["role"] == "customers":
            before = Inquiry.objects.filter(project__slug=sample_desk.SLUG).count()
            Customers(app, pace, seed=seed, before=before, told=self._told).play(options["inquiries"])
        elif options["role"] == "annotators":
            names = [*FIRST_SHIFT, *(JAPANESE if "ja" in pace.locales else ())]
            known = {n: person(n) for n in {*names, *SECOND_SHIFT}}
            first, second = [known[n] for n in names], [known[n] for n in SECOND_SHIFT]
            Annotators(app, first, second, person(EXPERT), pace, seed=seed, told=self._told).play()
        else:
            Lead(app, person(LEAD), pace, seed=seed, told=self._told).play()
        signal.pause()  # the stack ends with the first of its processes

    def _told(self, line: str) -> None:
        self.stdout.write(line)
