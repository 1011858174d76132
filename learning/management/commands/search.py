"""`manage.py search`."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback import jobs
from feedback.models import Project
from learning.models import Search, SearchState, TrialState

METHODS = ("ewc_replay", "derpp", "lwf")


class Command(BaseCommand):
    help = (
        "Search the options of a challenger on validation: trials run as jobs, here or with --queue in all learners that run. "
        "A search that runs already is gone on with."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--method", choices=METHODS, default=METHODS[0])
        parser.add_argument("--trials", type=int, default=24, help="sets of options to try (24)")
        parser.add_argument(
            "--width", type=int, default=4, help="of these at the same time (4); the result depends on it"
        )
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--queue", action="store_true", help="leave the trials to the running learners")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--show", action="store_true", help="show the trials of the latest search")
        what.add_argument("--cancel", action="store_true", help="end the search that runs")
        what.add_argument(
            "--take", action="store_true", help="let the project use the best options of the latest search"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        latest = Search.objects.filter(project=project).order_by("-pk").first()
        if options["show"] or options["cancel"] or options["take"]:
            if latest is None:
                raise CommandError(f"No search of {project.slug!r} has begun.")
            self._do(latest, options)
            return
        from learning import searches  # torch and optuna are loaded by this use alone

        if latest is None or latest.state != SearchState.RUNNING:
            try:
                latest = searches.begin(
                    project_id=project.pk, method=options["method"], trials=options["trials"], width=options["width"],
                    seed=options["seed"],
                )  # fmt: skip
            except searches.CannotSearch as error:
                raise CommandError(f"There can be no search: {error}.") from error
        self._follow(latest, here=not options["queue"])

    def _do(self, search: Search, options: dict[str, Any]) -> None:
        from learning import searches

        if options["show"]:
            self._show(search)
        elif options["cancel"]:
            if not searches.cancel(search.pk):
                raise CommandError(f"Search {search.pk} is {search.state} already.")
            self.stdout.write(f"search {search.pk} is cancelled")
        else:
            try:
                told = searches.take(search)
            except searches.CannotSearch as error:
                raise CommandError(f"Nothing was taken: {error}.") from error
            self.stdout.write(f"challenger = {told.challenger}, feedback_weight = {told.feedback_weight:g}")
            for name, value in told.challenger_options.items():
                self.stdout.write(f"  {name} = {value:g}")

    def _follow(self, search: Search, *, here: bool) -> None:
        from learning import searches

        shown = ""
        while search.state == SearchState.RUNNING:
            waiting = search.trials.filter(state=TrialState.WAITING).select_related("job").order_by("number")
            if here:
                for trial in waiting:
                    if trial.job is not None:
                        jobs.run_to_end(trial.job)
                searches.look_after(project_id=search.project_id)
            line = self._line(search)
            if line != shown:
                self.stderr.write(line)
                shown = line
            if not here:
                time.sleep(0.3)
            search.refresh_from_db()
        self._show(search)
        if search.state != SearchState.DONE:
            raise CommandError(f"Search {search.pk} is {search.state}. {search.why}".strip())

    def _line(self, search: Search) -> str:
        ended = search.trials.exclude(state=TrialState.WAITING).count()
        best = search.best()
        so_far = "" if best is None else f", best loss {best.loss:.4f}"
        return f"{ended / search.wanted:4.0%} {ended} of {search.wanted} trials{so_far}"

    def _show(self, search: Search) -> None:
        self.stdout.write(
            f"search {search.pk}: {search.method}, {search.state}, seed {search.seed}, width {search.width}"
        )
        best = search.best()
        for trial in search.trials.order_by("number"):
            found = (
                trial.why or trial.state
                if trial.loss is None
                else f"loss {trial.loss:.4f}, accuracy {trial.accuracy:.4f}"
            )
            options = ", ".join(f"{name} {value:.4g}" for name, value in trial.options.items())
            mark = "*" if trial == best else " "
            self.stdout.write(f"{mark} {trial.number + 1}: {found} ({options})")
