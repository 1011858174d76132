"""The usual way on a server of its own, beside the product's stack and in the same database."""

from __future__ import annotations

import subprocess
import sys
from typing import Self

from benchmarks.stack import ROOT, Stack
from benchmarks.usual.beside import Beside

_SET_UP = """
import django; django.setup()
from django.core.management import call_command
call_command('migrate', run_syncdb=True, verbosity=0)
from rest_framework.authtoken.models import Token
from feedback.models import User
print(Token.objects.create(user=User.objects.create(username='usual')).key)
"""


class Usual(Beside):
    """The same granian, as many threads as the product's."""

    application, name = "benchmarks.usual.wsgi:application", "the usual way"
    path, status = "/drf/one", 401

    def __init__(self, stack: Stack, *, threads: int) -> None:
        super().__init__(stack, threads=threads)
        self.environment["DJANGO_SETTINGS_MODULE"] = "benchmarks.usual.settings"

    def __enter__(self) -> Self:
        code = f"from config import entry; entry.prepare()\n{_SET_UP}"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"the usual way could not be set up: {done.stderr[-2000:]}")
        self.token = done.stdout.split()[-1]
        return super().__enter__()
