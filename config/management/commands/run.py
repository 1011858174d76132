"""`manage.py run`."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import assets, embedded, stack
from feedback.metric_files import forget_others

PARTS = ("web", "worker", "learner", "live", "beat")


class Command(BaseCommand):
    help = "Run the whole stack in this terminal: web, workers and beat. Ctrl+C stops it."

    def add_arguments(self, parser: CommandParser) -> None:
        add_run_arguments(parser)
        only = parser.add_mutually_exclusive_group()
        only.add_argument("--web-only", action="store_true", help="only the web server")
        only.add_argument("--workers-only", action="store_true", help="only the workers and beat")

    def handle(self, *args: Any, **options: Any) -> None:
        parts = ("web",) if options["web_only"] else PARTS[1:] if options["workers_only"] else PARTS
        sys.exit(run(self, options, parts=parts))


def add_run_arguments(parser: CommandParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="the next free one is taken if this one is not")
    parser.add_argument(
        "--web-workers", type=int, default=stack.usual_web_processes(),
        help=f"web processes (each holds the encoder, about 200 MB); one per core unless told, at most {stack.MOST_WEB_PROCESSES}",
    )  # fmt: skip
    parser.add_argument("--web-threads", type=int, default=8, help="threads per web process")


def run(
    command: BaseCommand, options: dict[str, Any], *, parts: tuple[str, ...], extra: dict[str, list[str]] | None = None
) -> int:
    """Migrate, collect static files and supervise the parts until Ctrl+C."""
    # A person reads this terminal; the processes take it from the environment.
    os.environ.setdefault("LOG_FORMAT", "line")
    call_command("migrate", interactive=False, verbosity=0)
    forget_others()
    assets.collect()
    try:
        port = stack.free_port(options["host"], options["port"])
    except OSError as error:
        raise CommandError(str(error)) from error
    if port != options["port"]:
        command.stderr.write(f"Port {options['port']} is taken: using {port}.")
    url = f"http://{options['host']}:{port}"
    # Whoever looks for this stack (benchmarks, the demo's traffic, `make stop`) reads where it is.
    state = embedded.home() / "stack"
    state.write_text(f"{os.getpid()}\n{url}\n")
    named = stack.commands(
        options["host"], port, parts=parts, workers=options["web_workers"], threads=options["web_threads"]
    )
    try:
        return stack.supervise(
            {**named, **(extra or {})}, url=url if "web" in parts else None,
            ready=lambda: command.stdout.write(f"Enso is ready at {url}"),
        )  # fmt: skip
    finally:
        state.unlink(missing_ok=True)
