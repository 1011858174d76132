"""What one machine trains, another serves and goes on from, through a bucket alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from feedback.models import Job, Project
from learning.models import Snapshot
from learning.owner import Owner
from learning.snapshots import read_manifest
from serving import services
from serving.models import Delta
from serving.s3 import Bucket
from serving.served import served
from tests.learning.following import TEXT, ask, keys, label


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_heads")
def test_another_machine_serves_the_version_and_its_delta_and_reads_the_snapshot(
    shelf: Bucket,
    elsewhere: Callable[[], None],
    desk: Project,
    add_labels: Callable[..., None],
    train: Callable[[Project], Job],
    keeper: Owner,
) -> None:
    add_labels(desk, 40)
    job = train(desk)
    assert job.state == "done", job.errors
    keeper.step()
    label(ask(desk, TEXT), keys(desk)[0])
    keeper.step()
    assert Delta.objects.count() == 1
    elsewhere()
    served.forget()
    assert services.predict(project_id=desk.pk, texts=[TEXT], locales=["en"])[0]["model"] == "v1"
    assert next(iter(served.desk(desk.pk).heads.values())).delta == 1
    assert len(read_manifest(Snapshot.objects.get().sha256)["labels"]) == 40
