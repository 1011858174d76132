#!/usr/bin/env python
"""Enso's command line: `python manage.py help` lists what it does."""

from __future__ import annotations

import os
import sys

# Commands that touch neither PostgreSQL nor Redis must not start them.
SERVERLESS = {
    "help",
    "version",
    "--help",
    "--version",
    "build_encoder",
    "collectstatic",
    "makemessages",
    "compilemessages",
    "check",
    "stop",
}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config import embedded, entry

    command = next((a for a in sys.argv[1:]), "help")
    if command not in SERVERLESS and not {"--help", "-h"} & set(sys.argv):
        try:
            entry.prepare()
        except embedded.ServerError as error:
            sys.exit(f"enso: {error}")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
