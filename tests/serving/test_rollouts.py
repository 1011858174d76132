"""Rollouts on real rows: versions in bundles, inquiries through the service, labels through the queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from feedback import outbox
from feedback.models import Notice, Project, User, Webhook
from feedback.services import NewInquiry
from labeling import queue
from labeling import services as labeling_services
from learning.core.export import head_graph
from learning.core.heads.features import FeatureMap
from serving import registry, rollout_evidence, rollout_tasks, rollouts, services, shadow
from serving.artifacts import write_bundle
from serving.head import BIAS, GRAPH, WEIGHTS, npy_bytes
from serving.models import DecisionRecord, ModelVersion, Rollout, RolloutSettings, ShadowAnswer
from serving.rollout import takes_candidate
from serving.served import served

pytestmark = pytest.mark.django_db
TEXTS = {"refund": "I want my money back.", "delivery": "Where is my parcel?"}
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows count from the moment they are there: the tests commit nothing late, and nobody contradicts a day later."""
    monkeypatch.setattr(rollout_evidence, "SETTLED", timedelta(0))
    monkeypatch.setattr(rollout_evidence, "RIPENS", timedelta(0))


@pytest.fixture
def shop(project: Project) -> Project:
    Project.objects.filter(pk=project.pk).update(audit_rate=1.0, confidence_threshold=0.0)
    RolloutSettings.objects.create(
        project=project, mode="stepwise", minimum_per_arm=4, minimum_audited=4, maximum_looks=3, slow_ms=60_000,
        most_disagreement=1.0,
    )  # fmt: skip
    return project


def make_version(project: Project, settings: Any, *, wrong: bool = False) -> ModelVersion:
    """A head of category prototypes; a wrong one says delivery for refund and refund for delivery."""
    desk, (encoder, _) = served.desk(project.pk), served.encoder_for("a", "en")
    weights = np.stack([rows.mean(axis=0) for rows in served.prototypes(desk, encoder)], axis=1)
    if wrong:
        weights = weights[:, [1, 0, 2]]
    bundle = write_bundle(
        Path(settings.ENSO_ARTIFACTS),
        {GRAPH: head_graph(FeatureMap(len(weights))), WEIGHTS: npy_bytes(weights), BIAS: npy_bytes(np.zeros(3))},
        {"kind": "linear", "categories": list(desk.categories), "encoder_sha256": encoder.sha256, "temperature": 0.05,
         "seed": ModelVersion.objects.count()},
    )  # fmt: skip
    return registry.register(project_id=project.pk, bundle=bundle, encoder_sha=encoder.sha256)


@pytest.fixture
def serving(shop: Project, settings: Any) -> ModelVersion:
    version = registry.promote(version_id=make_version(shop, settings).pk)
    served.refresh()
    return version


@pytest.fixture
def inquire(shop: Project) -> Callable[..., list[DecisionRecord]]:
    """Inquiries of customers `first` to `first + n`, one each, answered by the service as if an app had posted them."""

    def ask(n: int, first: int = 0) -> list[DecisionRecord]:
        served.refresh()
        started = timezone.now()
        for i in range(first, first + n):
            text = list(TEXTS.values())[i % 2]
            new = NewInquiry(text=text, request_sha=b"0" * 32, locale="en", customer=f"customer-{i}")
            services.answer_inquiry(project_id=shop.pk, app_id=None, new=new)
        return list(DecisionRecord.objects.filter(decided_at__gte=started).order_by("decided_at"))

    return ask


@pytest.fixture
def label_all(shop: Project, annotator: User) -> Callable[[], int]:
    """Everything that waits for a label gets the right one, by a person at the queue."""

    def label() -> int:
        done = 0
        while lease := queue.claim(project_id=shop.pk, annotator_id=annotator.pk, roles=["annotator"], seconds=600):
            right = next(k for k, text in TEXTS.items() if text == _text_of(lease.task_id))
            given = labeling_services.Answer(
                task_id=lease.task_id, annotator_id=annotator.pk, token=lease.token, category=right, seconds=3.0
            )
            labeling_services.annotate(project_id=shop.pk, answer=given)
            done += 1
        return done

    return label


def _text_of(task_id: int) -> str:
    return labeling_services.LabelTask.objects.select_related("inquiry").get(pk=task_id).inquiry.text


def a_day_later(rollout: Rollout) -> str:
    Rollout.objects.filter(pk=rollout.pk).update(looked_at=timezone.now() - DAY)
    action = rollouts.look(rollout_id=rollout.pk)
    rollout.refresh_from_db()
    return action


def test_a_worse_candidate_is_rolled_back_by_evidence_and_told_to_webhooks(shop, serving, settings, inquire, label_all):
    Webhook.objects.create(project=shop, url="https://hooks.shop.example", kinds=["rollout.rolled_back"], secret=b"")
    candidate = make_version(shop, settings, wrong=True)
    rollout = rollouts.start(version_id=candidate.pk)
    rollouts.advance(rollout_id=rollout.pk)
    # Half of the customers, without the days before; under this salt the first 40 are shared out evenly.
    Rollout.objects.filter(pk=rollout.pk).update(step=4, salt=_even(40))
    rollout.steps.create(number=4, percent=50)
    records = inquire(40)
    assert {r.arm for r in records} == {"production", "candidate"}
    assert {r.model_name for r in records if r.arm == "candidate"} == {f"v{candidate.number}"}
    assert label_all() == 40
    assert a_day_later(rollout) == "rollback"
    assert (rollout.state, rollout.reason["code"], rollout.reason["metric"]) == ("rolled_back", "harm", "accuracy")
    candidate.refresh_from_db()
    assert candidate.stage == "rejected"
    assert [g["name"] for g in candidate.gates if not g["passed"]] == ["rollout"]
    served.refresh()
    assert {r.model_name for r in inquire(6)} == {f"v{serving.number}"}
    while outbox.relay():
        pass
    assert "rollout.rolled_back" in Notice.objects.get().body


def test_a_better_candidate_goes_from_the_shadow_to_everybody(shop, serving, settings, inquire, label_all):
    candidate = make_version(shop, settings)
    assert rollouts.release(version_id=candidate.pk) is False
    rollout = Rollout.objects.get()
    walked = []
    for step in range(10):
        if rollout.state != "running":
            break
        walked.append(rollout.course.percent)
        if rollout.course.percent in (1, 5, 25):  # few customers stand there: let them be enough
            salt = _salt(rollout.course.percent, range(100 * step, 100 * step + 12), 1, 8)
            Rollout.objects.filter(pk=rollout.pk).update(limits={**rollout.limits, "minimum_per_arm": 1}, salt=salt)
        records = inquire(12, first=100 * step)
        if rollout.course.shadow:
            assert {r.model_name for r in records} == {f"v{serving.number}"}
            assert shadow.mirror(rollout) == 12
        label_all()
        a_day_later(rollout)
    assert walked == [0, 1, 5, 25, 50]
    assert rollout.state == "completed"
    candidate.refresh_from_db()
    serving.refresh_from_db()
    assert (candidate.stage, serving.stage) == ("production", "archived")
    assert [s.reason["code"] for s in rollout.steps.order_by("number")] == ["evidence"] * 5


def _salt(percent: int, customers: range, least: int, most: int) -> str:
    """A salt under which `least` to `most` of these customers are given the candidate."""
    for k in range(100_000):
        if least <= sum(takes_candidate(f"s{k}", f"customer-{i}", percent) for i in customers) <= most:
            return f"s{k}"
    raise AssertionError("no such salt")


def _even(n: int) -> str:
    return _salt(50, range(n), n // 2, n // 2)


def test_what_the_shadow_would_have_answered_is_kept_and_shown_to_nobody(shop, serving, settings, inquire):
    rollout = rollouts.start(version_id=make_version(shop, settings, wrong=True).pk)
    records = inquire(6)
    assert {r.arm for r in records} == {"production"}
    assert rollout_tasks.advance_rollouts() == 1
    assert ShadowAnswer.objects.filter(rollout=rollout, differs=True).count() == 6
    assert rollout_evidence.shadow_disagreement(rollout.pk) == (6, 6)
    assert shadow.mirror(rollout) == 0, "each inquiry is mirrored once"


def test_a_customer_stays_with_one_arm_over_steps_and_inquiries(shop, serving, settings, inquire):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk, kind="ab")
    first = {r.inquiry.customer: r.arm for r in inquire(16)}
    assert {r.inquiry.customer: r.arm for r in inquire(16)} == first
    assert set(first.values()) == {"production", "candidate"}
    assert rollout.course.percent == 50


def test_a_candidate_that_fails_costs_nobody_an_answer_and_is_rolled_back(
    shop, serving, settings, inquire, monkeypatch
):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk, kind="ab")
    Rollout.objects.filter(pk=rollout.pk).update(salt=_even(60))
    served.refresh()

    class Broken:
        def predict(self, x: Any) -> Any:
            raise RuntimeError("no such kernel")

    trial = served.desk(shop.pk).trials[rollout.encoder_sha]
    object.__setattr__(trial.head, "head", Broken())
    records = inquire(60)
    assert {r.arm for r in records} == {"production", "fallback"}
    assert {r.model_name for r in records} == {f"v{serving.number}"}
    assert rollouts.look(rollout_id=rollout.pk) == "rollback", "errors are looked at all the time"
    rollout.refresh_from_db()
    assert rollout.reason["metric"] == "errors"


def test_without_evidence_a_step_holds_and_says_what_is_missing_and_when_it_waited_too_long(shop, serving, settings):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk)
    codes = []
    for _ in range(3):
        assert a_day_later(rollout) == "hold"
        codes.append(rollout.reason["code"])
    assert codes == ["wait", "wait", "late"]
    assert rollout.reason["lacks"][0] == {"code": "customers", "seen": 0, "needed": 4}
    assert rollout.step == 0


def test_the_look_of_today_is_not_taken_twice(shop, serving, settings, inquire):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk)
    assert a_day_later(rollout) == "hold"
    assert rollouts.look(rollout_id=rollout.pk) == "wait"
    assert rollout.looks.count() == 1


def test_a_look_that_a_person_overtook_changes_nothing(shop, serving, settings, monkeypatch):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk)
    real = rollout_evidence.gather

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        rollouts.abort(rollout_id=rollout.pk)
        return real(*args, **kwargs)

    monkeypatch.setattr(rollout_evidence, "gather", meanwhile)
    assert a_day_later(rollout) == "nothing"
    assert rollout.state == "aborted"


def test_there_is_one_rollout_at_a_time_per_encoder_and_the_database_says_so(shop, serving, settings):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk)
    second = make_version(shop, settings)
    with pytest.raises(rollouts.Problem, match="under way"):
        rollouts.start(version_id=second.pk)
    fields = {f.attname: getattr(rollout, f.attname) for f in Rollout._meta.fields if f.name != "id"}
    with pytest.raises(IntegrityError), transaction.atomic():
        Rollout.objects.create(**fields)
    rollouts.abort(rollout_id=rollout.pk)
    assert rollouts.start(version_id=second.pk).state == "running"


def test_people_hold_resume_advance_and_abort(shop, serving, settings):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk)
    assert rollouts.hold(rollout_id=rollout.pk, by="lead").state == "held"
    assert a_day_later(rollout) == "hold"
    assert rollouts.resume(rollout_id=rollout.pk).state == "running"
    assert rollouts.advance(rollout_id=rollout.pk, by="lead").course.percent == 1
    assert rollouts.abort(rollout_id=rollout.pk).state == "aborted"
    assert ModelVersion.objects.get(pk=rollout.candidate_id).stage == "staging"
    with pytest.raises(rollouts.Problem, match="cannot be held"):
        rollouts.hold(rollout_id=rollout.pk)


def test_a_rollout_ends_when_another_version_is_promoted(shop, serving, settings):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk)
    registry.promote(version_id=make_version(shop, settings).pk)
    assert rollouts.look(rollout_id=rollout.pk) == "abort"
    rollout.refresh_from_db()
    assert rollout.reason == {"code": "overtaken", "version": 3}


def test_a_candidate_whose_bundle_is_damaged_is_rolled_back_and_serves_nobody(shop, serving, settings, inquire):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk, kind="ab")
    weights = registry.bundle_path(rollout.candidate.manifest_sha) / WEIGHTS
    weights.chmod(0o600)
    weights.write_bytes(b"")
    assert {r.arm for r in inquire(8)} == {""}
    assert rollouts.look(rollout_id=rollout.pk) == "rollback"
    rollout.refresh_from_db()
    assert rollout.reason["code"] == "corrupt"


def test_a_direct_project_promotes_at_once(shop, serving, settings):
    RolloutSettings.objects.update(mode="direct")
    assert rollouts.release(version_id=make_version(shop, settings).pk) is True
    assert not Rollout.objects.exists()


def test_the_first_version_of_a_stepwise_project_is_promoted_at_once(shop, settings):
    assert rollouts.release(version_id=make_version(shop, settings).pk) is True


def test_a_version_that_comes_during_a_rollout_waits_in_staging(shop, serving, settings):
    rollouts.release(version_id=make_version(shop, settings).pk)
    later = make_version(shop, settings)
    assert rollouts.release(version_id=later.pk) is False
    assert Rollout.objects.get().candidate_id != later.pk


def test_a_customer_who_writes_often_counts_once_per_look(shop, serving, settings, inquire):
    rollout = rollouts.start(version_id=make_version(shop, settings).pk, kind="ab")
    for _ in range(3):
        inquire(10)
    gathered = rollout_evidence.gather(rollout, now=timezone.now(), guards_only=False)
    escalations = next(g for g in gathered if g.metric.name == "escalations")
    assert escalations.treated + escalations.control == 10


def test_erasing_a_customer_erases_what_the_shadow_said_about_them(shop, serving, settings, inquire):
    from serving import erasure

    rollout = rollouts.start(version_id=make_version(shop, settings).pk)
    inquire(4)
    shadow.mirror(rollout)
    erasure.erase(project_id=shop.pk, customer="customer-1")
    assert ShadowAnswer.objects.count() == 3
