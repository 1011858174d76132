"""Manifests by hash: without a text, sharing what they share, and complete enough to train from again."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from feedback.models import Inquiry, Project
from learning import reproduction
from learning.models import TrainingRun
from learning.restoring import restore
from learning.sample.grammar import generate
from learning.snapshots import MEAN_PART, files_of, parts_of, read_manifest, succeed
from tests.learning.following import ask

IDS = [str(uuid.UUID(int=n)) for n in np.random.default_rng(0).integers(0, 2**62, 4_000)]


@given(st.integers(0, 600), st.integers(0, 10**6))
def test_parts_hold_every_row_once_and_in_order(count: int, seed: int) -> None:
    rows = random.Random(seed).sample(IDS, count)
    assert [row for part in parts_of(rows) for row in part] == rows


def test_one_more_label_touches_one_part() -> None:
    rows = sorted(IDS)
    before = {tuple(part) for part in parts_of(rows)}
    after = {tuple(part) for part in parts_of(sorted([*rows, str(uuid.UUID(int=2**61))]))}
    assert len(after - before) <= 2
    assert len(before) > len(IDS) / MEAN_PART / 2


@pytest.mark.django_db
@pytest.mark.usefixtures("small_heads")
class TestOfARun:
    @pytest.fixture
    def run(self, shop: Project) -> TrainingRun:
        return TrainingRun.objects.get()

    def test_it_names_every_label_and_holds_no_text(self, run: TrainingRun) -> None:
        files = files_of(run.snapshot.sha256)
        assert len(files) >= 3
        content = b"".join(f.read_bytes() for f in files)
        assert not [text for text in Inquiry.objects.values_list("text", flat=True) if text.encode() in content]
        # And yet every label is named, with all that training read.
        manifest = read_manifest(run.snapshot.sha256)
        assert len(manifest["labels"]) == run.snapshot.labels == 80
        assert {"inquiry", "category", "fold", "weight", "revision", "text", "group"} == set(manifest["labels"][0])

    def test_a_file_that_was_changed_is_noticed(self, run: TrainingRun) -> None:
        part = files_of(run.snapshot.sha256)[1]
        part.chmod(0o600)
        part.write_bytes(part.read_bytes().replace(b'"fold":0', b'"fold":2', 1))
        with pytest.raises(LookupError, match="was changed"):
            read_manifest(run.snapshot.sha256)

    def test_a_run_is_repeated_to_the_same_bundle(self, run: TrainingRun, shop: Project, capsys, settings) -> None:
        # Categories and labels of today are not what the run was made from.
        shop.categories.update(description="Something else altogether.")
        before = sorted(p.name for p in Path(settings.ENSO_ARTIFACTS).iterdir())
        call_command("train", "sample", "--reproduce", str(run.pk))
        assert run.model is not None
        assert f"the same bundle again: {run.model.manifest_sha}" in capsys.readouterr().out
        assert sorted(p.name for p in Path(settings.ENSO_ARTIFACTS).iterdir()) == before
        assert TrainingRun.objects.count() == 1

    def test_rows_that_were_erased_are_named(self, run: TrainingRun, capsys) -> None:
        gone = Inquiry.objects.order_by("pk").first()
        assert gone is not None
        name = str(gone.pk)
        gone.delete()
        with pytest.raises(CommandError, match="1 rows were erased"):
            call_command("train", "sample", "--reproduce", str(run.pk))
        assert f"erased since: inquiry {name}" in capsys.readouterr().out
        after = succeed(run.snapshot, {name})
        assert after is not None
        assert restore(after).whole

    def test_a_text_that_was_changed_is_named(self, run: TrainingRun) -> None:
        pk = Inquiry.objects.order_by("pk").values_list("pk", flat=True)[3]
        Inquiry.objects.filter(pk=pk).update(text="Another text.")
        assert reproduction.reproduce(run, lambda share, stage: None).changed == (str(pk),)

    def test_another_result_says_what_differs(self, run: TrainingRun, monkeypatch) -> None:
        monkeypatch.setattr("learning.fitting.SEED", 7)
        run.environment["packages"]["numpy"] = "1.0"
        run.environment["code"] = "0" * 64
        found = reproduction.reproduce(run, lambda share, stage: None)
        assert not found.same
        words = " · ".join(found.differs)
        assert "numpy 1.0 is" in words
        assert "the code that trains has changed" in words
        assert "file weights.npy" in words


@pytest.mark.django_db
def test_the_unlabeled_pool_is_part_of_what_is_repeated(desk: Project, add_labels, train) -> None:
    add_labels(desk, 40)
    for text, _ in generate(12, seed=7, locale="en"):
        ask(desk, text)
    train(desk)
    run = TrainingRun.objects.get()
    assert run.hyperparameters["unlabeled"] == 12
    ask(desk, "One more that came after the training.")
    assert reproduction.reproduce(run, lambda share, stage: None).same
    Inquiry.objects.get(pk=read_manifest(run.snapshot.sha256)["pool"][4]).delete()
    assert len(reproduction.reproduce(run, lambda share, stage: None).erased) == 1
