"""A head that wrong labels make worse is frozen at its last good delta, and says so, until a person decides."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import pytest
from django.core.management import call_command
from django.template.loader import render_to_string

from feedback.models import Fold, Inquiry, OutboxEvent, Project, Role, User
from labeling import queue
from labeling.access import Visitor
from labeling.models import LabelTask, TaskKind
from labeling.services import Answer, annotate, open_task
from learning import fitting
from learning.health import figures
from learning.owner import Owner
from learning.sample.grammar import generate
from serving.models import LiveState
from serving.served import served
from tests.conftest import make_person
from tests.learning.following import ask, follower_of, keys

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_heads")]


def annotate_wrongly(project: Project, rows: list[tuple[str, str]]) -> None:
    """One annotator gives every task the same answer."""
    hasty, answer = make_person(project, "annotator"), keys(project)[0]
    for text, _ in rows:
        inquiry = ask(project, text)
        LabelTask.objects.filter(inquiry=inquiry).delete()
        open_task(inquiry=inquiry, kind=TaskKind.SELECTION, overlap=1, priority=1.0, reason={})
        lease = queue.claim(project_id=project.pk, annotator_id=hasty.pk, roles=["annotator"], seconds=600)
        assert lease is not None
        annotate(project_id=project.pk, answer=Answer(lease.task_id, hasty.pk, lease.token, answer))


def test_two_hundred_wrong_labels_by_one_annotator_freeze_the_head_until_a_person_decides(
    desk: Project,
    keeper: Owner,
    add_labels: Callable[..., None],
    train: Callable[[Project], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All of the head follows labels: so wrong ones are felt, whatever the last bits of this machine's embeddings are.
    monkeypatch.setattr(fitting, "train_heads", partial(fitting.train_heads, random_features=256, live_share=1.0))
    make_person(desk, "annotator", Role.ANNOTATOR)
    add_labels(desk, 300)
    ids = list(Inquiry.objects.order_by("pk").values_list("pk", flat=True))
    Inquiry.objects.filter(pk__in=ids[:100]).update(fold=Fold.TRAIN)
    Inquiry.objects.filter(pk__in=ids[100:]).update(fold=Fold.TEST)
    train(desk)
    keeper.step()
    assert (len(follower_of(keeper).seen), len(follower_of(keeper).head._guard.answers)) == (100, 200)
    rows, published = [row for row in generate(230, seed=77, locale="en") if row[1] != keys(desk)[0]][:200], 0
    for at in range(0, 200, 50):
        annotate_wrongly(desk, rows[at : at + 50])
        published += keeper.step()
    state = LiveState.objects.get()
    assert "guard texts fell" in state.frozen
    assert state.number == published < 4
    assert OutboxEvent.objects.get(kind="head.frozen").payload["delta"] == state.number
    served.refresh()
    assert served.desk(desk.pk).heads[state.model.encoder_sha].delta == state.number
    assert "held back" in render_to_string("learning/figures.html", figures(Visitor(User(), desk, frozenset())))

    keeper._let_go(state.pk)  # a restart neither forgets that it is frozen nor lets the wrong labels in
    keeper.step()
    assert follower_of(keeper).head.frozen
    assert LiveState.objects.get().frozen == state.frozen

    call_command("thaw", desk.slug, "--accept", stdout=io.StringIO())
    keeper.step()
    after = LiveState.objects.get()
    assert (after.frozen, after.wish) == ("", "")
    assert after.number > state.number
    keeper._let_go(state.pk)
    keeper.step()
    assert not LiveState.objects.get().frozen
