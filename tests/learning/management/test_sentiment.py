"""`manage.py sentiment`: what it says and what it changes."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from feedback.models import Event, Project
from serving.artifacts import write_bundle
from serving.models import SentimentVersion
from serving.sentiment_registry import promote, register

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    out = StringIO()
    call_command("sentiment", *args, stdout=out)
    return out.getvalue()


@pytest.fixture
def versions(project: Project, settings) -> list[SentimentVersion]:
    """Two versions that were promoted one after the other, and one that a gate stopped."""
    bundle = write_bundle(settings.ENSO_ARTIFACTS, {"head.onnx": b"x"}, {"kind": "sentiment"})
    failed = [{"name": "anchors", "passed": False, "detail": "reads plain praise as blame"}]
    rows = [
        register(project_id=project.pk, bundle=bundle, encoder_sha="ab" * 32, stage=stage, gates=gates, lineage={"labels": 70})
        for stage, gates in (("staging", []), ("staging", []), ("rejected", failed))
    ]  # fmt: skip
    for row in rows[:2]:
        promote(version_id=row.pk)
    return rows


def test_status_says_that_the_built_in_sentences_read_where_nothing_was_learned(project):
    said = run("shop", "status")
    assert "0 comments read by the built-in sentences, 0 by versions" in said
    assert "0 rated comments since the last training" in said


def test_status_names_the_versions_and_what_stopped_one(versions):
    first, second, third, *_ = run("shop", "status").splitlines()
    assert first.startswith("s1 archived, encoder abababababab, 70 pairs")
    assert second.startswith("s2 production")
    assert third.endswith("(anchors: reads plain praise as blame)")


def test_rollback_goes_back_step_by_step_until_the_built_in_sentences_read(versions):
    assert "s1 reads again in place of s2" in run("shop", "rollback")
    assert "built-in sentences read again in place of s1" in run("shop", "rollback")
    with pytest.raises(CommandError, match="nothing to put back"):
        run("shop", "rollback")


def test_rollback_of_another_encoder_changes_nothing(versions):
    with pytest.raises(CommandError, match="nothing to put back"):
        run("shop", "rollback", "--encoder", "cd")
    assert SentimentVersion.objects.get(stage="production").number == 2


def test_train_says_so_where_no_comment_is_rated(project):
    assert "No comment has a rating" in run("shop", "train")
    assert not Event.objects.exists()


@pytest.mark.parametrize("action", ["status", "train", "rollback"])
def test_an_unknown_project_is_named(db, action):
    with pytest.raises(CommandError, match="no project 'nowhere'"):
        run("nowhere", action)
