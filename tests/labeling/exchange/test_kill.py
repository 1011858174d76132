"""An import whose process is killed goes on where it stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from feedback import jobs
from feedback.models import Inquiry, Job, JobState
from labeling.models import Label
from tests.labeling.exchange.test_exchange import table
from tests.servers import ROOT

ROWS = 500
PROGRAM = """
import sys
from config import entry
entry.prepare()
import django
django.setup()
from django.core.management import call_command
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
call_command("import_labels", "shop", sys.argv[2])
"""


def until(seen, seconds=120):
    """Wait for another process, and not for ever."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "the import did not start"
        time.sleep(0.05)


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_an_import_killed_in_the_middle_is_finished_by_the_next_worker(project, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text(table(ROWS) + "one cell only\n")
    command = [sys.executable, "-c", PROGRAM, connection.settings_dict["NAME"], str(file)]
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    until(lambda: process.poll() is not None or Job.objects.filter(checkpoint__rows__gte=200).exists())
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, said.read_text()
    assert 200 <= Label.objects.count() < ROWS
    Job.objects.filter(state=JobState.RUNNING).update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    jobs.sweep()
    job = Job.objects.get(kind="import_labels")
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.result) == (JobState.DONE, 2, {"stored": ROWS, "refused": 1})
    assert Label.objects.count() == Inquiry.objects.count() == ROWS
