"""The student answers what it is sure of and knows; the rest goes up, and what breaks is answered by what stands behind it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.models import Inquiry, Project
from feedback.services import touch_project
from serving import reading, students
from serving.cascade import ANGER_DOUBT, Step, goes_up, one_goes_up, sureness
from serving.models import DecisionRecord, Embedding
from serving.routing import Policy
from serving.served import served
from tests.serving import small_cascade as small

STEP = Step(encoder=None, fast=1, slow=2, least_sure=1.0, least_known=0.5)  # type: ignore[arg-type]
SURE = np.array([[0.97, 0.02, 0.01]])


def up(p=SURE, *, known=1.0, tone=0.0, risky=(False, False, False), policy=None) -> bool:
    found = goes_up(
        STEP, policy or Policy(), p, known=np.array([known]), tones=np.array([tone]), risky=np.array(risky, bool)
    )
    return bool(found[0])


def test_what_it_is_sure_of_and_knows_stays():
    assert not up()


@pytest.mark.parametrize(
    "changed",
    [
        {"p": np.array([[0.5, 0.45, 0.05]])}, {"known": 0.4}, {"tone": -0.5 + ANGER_DOUBT - 0.01}, {"risky": (True, False, False)},
        {"p": np.array([[0.6, 0.01, 0.01]])},
    ],
    ids=["two are near", "it knows too little", "perhaps angry", "risky", "a person would be asked"],
)  # fmt: skip
def test_what_would_take_a_persons_time_or_is_new_goes_up(changed):
    assert up(**changed)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 20), k=st.integers(2, 6))
def test_sureness_is_the_log_ratio_of_the_two_largest(seed, n, k):
    p = np.random.default_rng(seed).dirichlet(np.ones(k), n)
    ordered = np.sort(p, axis=1)
    np.testing.assert_allclose(sureness(p), np.log(ordered[:, -1] / ordered[:, -2]), atol=1e-9)


@given(
    seed=st.integers(0, 2**32 - 1), k=st.integers(1, 6), known=st.floats(0, 1), tone=st.floats(-1, 1), risk=st.integers(0, 5),
    sharpness=st.floats(0.05, 3),
)  # fmt: skip
def test_one_text_goes_up_exactly_where_it_would_go_up_among_others(seed, k, known, tone, risk, sharpness):
    p = np.random.default_rng(seed).dirichlet(np.full(k, sharpness))
    risky, rules = np.arange(k) == risk, Policy()
    alone = one_goes_up(STEP, rules, p.tolist(), known=known, tone=tone, risky=risky)
    among = goes_up(STEP, rules, p[None, :], known=np.array([known]), tones=np.array([tone]), risky=risky)
    assert alone == among[0]


def test_a_text_with_two_equal_answers_goes_up_alone_too():
    assert one_goes_up(STEP, Policy(), [0.5, 0.5], known=1.0, tone=0.0, risky=np.zeros(2, bool))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    return small.write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def teacher(encoders, settings):
    return small.use_teacher(encoders, settings)


@pytest.fixture
def shop(project):
    Project.objects.filter(pk=project.pk).update(confidence_threshold=0.0, anger_threshold=-1.0)
    return project


@pytest.fixture
def cascade(shop, teacher, encoders, settings):
    """Two heads and a student before its teacher, served."""
    student = small.make_student(shop, teacher, encoders)
    fast = small.make_head(shop, settings, students.opened(student.encoder_sha), name=1)
    slow = small.make_head(shop, settings, teacher)
    made = small.put_before(student, fast, slow)
    served.refresh()
    return made


def answered_by(post, text=small.KNOWN) -> str:
    return post("predict", {"text": text, "locale": "en"}).json()["model"]


@pytest.mark.django_db
def test_the_student_answers_first_and_what_it_does_not_know_goes_to_its_teacher(cascade, post):
    assert answered_by(post) == f"v{cascade.fast.number}"
    assert answered_by(post, small.NOVEL) == f"v{cascade.slow.number}"


@pytest.mark.django_db
def test_a_text_that_it_is_not_sure_of_goes_up(cascade, post):
    type(cascade).objects.update(least_sure=1e6)
    served.forget()
    assert answered_by(post) == f"v{cascade.slow.number}"


@pytest.mark.django_db
def test_thresholds_hold_for_the_pair_that_they_were_chosen_for(cascade, shop, teacher, settings, post):
    other = small.make_head(shop, settings, teacher, sharp=0.03)
    served.refresh()
    assert answered_by(post) == f"v{other.number}"


@pytest.mark.django_db
def test_a_batch_is_split_between_the_steps_in_its_order(cascade, post):
    texts = [small.KNOWN, small.NOVEL, small.KNOWN]
    found = post("predict/batch", {"inquiries": [{"text": t, "locale": "en"} for t in texts]}).json()["predictions"]
    fast, slow = f"v{cascade.fast.number}", f"v{cascade.slow.number}"
    assert [p["model"] for p in found] == [fast, slow, fast]


@pytest.mark.django_db
def test_what_the_student_answered_is_on_record_as_its_own_and_its_vector_is_not_kept(cascade, post):
    made = post("inquiries", {"text": small.KNOWN, "locale": "en"}).json()
    record = DecisionRecord.objects.get(inquiry_id=made["id"])
    assert (record.model_id, record.encoder_sha) == (cascade.fast_id, cascade.student.encoder_sha)
    assert not Embedding.objects.filter(inquiry_id=made["id"]).exists()


@pytest.mark.django_db
def test_a_student_whose_files_were_changed_is_not_opened_and_its_teacher_answers(cascade, post):
    (students.folder(cascade.student.encoder_sha) / "weights.npz").write_bytes(b"changed")
    students._open.clear()
    served.forget()
    assert answered_by(post) == f"v{cascade.slow.number}"


@pytest.mark.django_db
def test_a_student_that_breaks_costs_nobody_an_answer(cascade, post):
    step = served.desk(cascade.student.project_id).steps[cascade.student.teacher_sha]
    step.encoder._bags = None  # whatever it is asked now, it raises
    assert {answered_by(post) for _ in range(8)} == {f"v{cascade.slow.number}"}
    assert reading.breaker(cascade.student.encoder_sha).state == "open"
    students._open.clear()


@pytest.mark.django_db
def test_a_broken_encoder_sends_everything_to_people_and_nothing_is_lost(shop, teacher, post, monkeypatch):
    def broken(texts):
        raise RuntimeError("the graph fails")

    served.desk(shop.pk)
    served.head(served.desk(shop.pk), teacher)
    monkeypatch.setattr(teacher, "encode", broken)
    answers = [post("inquiries", {"text": small.KNOWN, "locale": "en"}) for _ in range(7)]
    assert {a.status_code for a in answers} == {201}
    assert {(a.json()["decision"], a.json()["reasons"][0]["code"]) for a in answers} == {("human", "unread")}
    assert all(a.json()["escalation"] for a in answers)
    assert Inquiry.objects.filter(status="waiting").count() == DecisionRecord.objects.count() == 7
    assert reading.breaker(teacher.sha256).state == "open"


@pytest.mark.django_db
def test_an_encoder_that_works_again_answers_again(shop, teacher, post, monkeypatch):
    reading.breaker(teacher.sha256)._circuit = reading.breaker(teacher.sha256)._circuit.__class__("open", 0, 1, 0.0)
    touch_project(project_id=shop.pk)
    assert post("predict", {"text": small.KNOWN, "locale": "en"}).json()["category"]
    assert reading.breaker(teacher.sha256).state == "closed"
