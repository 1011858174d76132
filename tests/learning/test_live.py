"""Labels in PostgreSQL → the owner of the live head → a delta → the next answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from django.db import transaction
from django.utils import timezone

from feedback.models import Category, Fold, Inquiry, Project
from feedback.services import add_categories, touch_project
from labeling.models import Label
from labeling.services import withdraw_label
from learning import owner
from learning.owner import Owner
from serving import deltas
from serving.models import DecisionRecord, Delta, LiveState, ModelVersion
from serving.served import served
from tests.learning.following import TEXT, ask, exact, follower_of, keys, label, probability

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_heads")]


def test_a_label_is_in_the_next_answer_and_recorded_with_it(shop: Project, keeper: Owner) -> None:
    key = keys(shop)[0]
    before = probability(shop, key)
    label(ask(shop, TEXT), key)
    assert keeper.step() == 1
    assert probability(shop, key) > before
    record = DecisionRecord.objects.get(inquiry=ask(shop, TEXT))
    assert (record.model.number, record.delta) == (1, 1)
    assert Delta.objects.get().changes == 1


def test_nothing_new_publishes_nothing(shop: Project, keeper: Owner) -> None:
    assert [keeper.step(), keeper.step()] == [0, 0]
    assert not Delta.objects.exists()


def test_a_withdrawn_label_leaves_the_answers_as_they_were(shop: Project, keeper: Owner) -> None:
    key, inquiry = keys(shop)[0], ask(shop, TEXT)
    before = probability(shop, key)
    label(inquiry, key)
    keeper.step()
    with transaction.atomic():
        withdraw_label(inquiry=inquiry)
    assert keeper.step() == 1
    assert probability(shop, key) == pytest.approx(before, abs=1e-4)


def test_labels_of_the_calibrate_and_test_folds_change_nothing(shop: Project, keeper: Owner) -> None:
    inquiry = ask(shop, TEXT)
    Inquiry.objects.filter(pk=inquiry.pk).update(fold=Fold.TEST)
    label(inquiry, keys(shop)[0])
    assert keeper.step() == 0


def test_an_imported_inquiry_is_followed_once_it_is_labeled(
    shop: Project, keeper: Owner, add_labels: Callable[..., None]
) -> None:
    keeper.step()
    add_labels(shop, 6, seed=7)  # stored without an answer, hence without an embedding
    assert keeper.step() == 1
    assert exact(follower_of(keeper)) <= 1e-9


def test_a_new_owner_goes_on_where_a_killed_one_stopped(shop: Project, keeper: Owner) -> None:
    for n, key in enumerate(keys(shop)[:3]):
        label(ask(shop, f"{TEXT} {n}"), key)
    keeper.step()
    first = follower_of(keeper)
    with owner.lock_connection() as locks:
        assert not Owner(locks).followers
        keeper._locks.close()  # as the kernel does with a killed process
        second = Owner(locks)
        label(ask(shop, TEXT), keys(shop)[0])
        assert second.step() == 1
        after = follower_of(second)
        assert after.head.number == 2
        assert after.changes == 4
        assert exact(after) <= 1e-9
        first.follow()
        with pytest.raises(deltas.Replaced):
            first.publish()
    assert LiveState.objects.get().number == 2


def test_two_owners_never_follow_one_version(shop: Project, keeper: Owner) -> None:
    keeper.step()
    with owner.lock_connection() as locks:
        second = Owner(locks)
        second.step()
        assert not second.followers


def test_labels_that_come_while_a_model_is_trained_are_in_it_when_it_is_promoted(
    shop: Project, train: Callable[[Project], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from learning import pipelines

    real, key = pipelines.export, keys(shop)[0]

    def late(*args: object) -> object:
        label(ask(shop, TEXT), key)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pipelines, "export", late)
    train(shop)
    version = ModelVersion.objects.get(stage="production")
    assert version.number == 2
    state = LiveState.objects.get(model=version)
    assert (state.number, state.changes) == (1, 1)
    desk = served.desk(shop.pk)
    assert desk.heads[version.encoder_sha].delta == 1


def test_a_rolled_back_version_catches_up_with_the_labels(
    shop: Project, keeper: Owner, add_labels: Callable[..., None], train: Callable[[Project], object]
) -> None:
    from serving import registry

    add_labels(shop, 30, seed=5)
    train(shop)
    registry.rollback(project_id=shop.pk, encoder_sha=ModelVersion.objects.first().encoder_sha)
    assert keeper.step() == 1
    follower = follower_of(keeper)
    assert follower.version.number == 1
    assert follower.changes > 20
    assert exact(follower) <= 1e-9


def test_a_new_category_is_answered_without_a_training(shop: Project, keeper: Owner) -> None:
    keeper.step()
    row = {"key": "parrots", "name": "Parrots", "description": "Singing parrots.", "examples": [TEXT]}
    add_categories(project_id=shop.pk, categories=[row])
    assert keeper.step() == 1
    assert probability(shop, "parrots") > 0
    assert "parrots" in follower_of(keeper).head.categories


def archive(project: Project, key: str) -> None:
    Category.objects.filter(project=project, key=key).update(archived_at=timezone.now())
    touch_project(project_id=project.pk)


def test_a_renamed_category_keeps_its_labels(shop: Project, keeper: Owner) -> None:
    keeper.step()
    old = keys(shop)[0]
    before = probability(shop, old)
    Category.objects.filter(project=shop, key=old).update(key="renamed")
    touch_project(project_id=shop.pk)
    assert keeper.step() == 1
    assert probability(shop, "renamed") == pytest.approx(before, abs=1e-3)
    assert exact(follower_of(keeper)) <= 1e-9


def test_merged_categories_are_one_in_the_next_delta(shop: Project, keeper: Owner) -> None:
    keeper.step()
    first, second = keys(shop)[:2]
    texts = list(Label.objects.filter(category__key=second).values_list("inquiry__text", flat=True))
    before = np.mean([probability(shop, first, t) + probability(shop, second, t) for t in texts])
    for found in Label.objects.filter(category__key=second).select_related("inquiry"):
        label(found.inquiry, first)
    archive(shop, second)
    assert keeper.step() == 1
    assert second not in follower_of(keeper).head.categories
    assert np.mean([probability(shop, first, t) for t in texts]) > before - 0.05
    assert exact(follower_of(keeper)) <= 1e-9


def test_an_archived_category_is_never_answered_again(shop: Project, keeper: Owner) -> None:
    keeper.step()
    key = keys(shop)[0]
    text = Label.objects.filter(category__key=key).first().inquiry.text
    archive(shop, key)
    assert probability(shop, key, text) == 0.0  # at once, by the process that serves
    ask(shop, text)
    keeper.step()
    assert key not in follower_of(keeper).head.categories
    assert probability(shop, key, text) == 0.0
