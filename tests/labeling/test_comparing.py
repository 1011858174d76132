"""Comparing replies: who is handed what, what an answer says, and how far people agree."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from feedback.models import Category, Inquiry, Membership, Project, Reply, Role, User
from feedback.services import add_reply
from labeling import comparing
from labeling.erasure import erase
from labeling.models import Comparison, ComparisonAnswer, ComparisonSlot, Qualification, Slot
from tests.browser.scene import inquire
from tests.conftest import make_person

Call = Callable[..., Any]
pytestmark = pytest.mark.django_db


def make_replies(project: Project) -> tuple[Reply, Reply]:
    category = Category.objects.get(project=project, key="refund")
    return (
        add_reply(category_id=category.pk, locale="en", text="See the help page."),
        add_reply(category_id=category.pk, locale="en", text="Your money is on its way.", slot=2),
    )


def make_pair(project: Project, text: str = "I want my money back", *, value: float = 0.5, **how: Any) -> Comparison:
    replies = list(Reply.objects.filter(project=project).order_by("pk")) or make_replies(project)
    inquiry = inquire(project, text, waiting=False, locale=how.pop("locale", "en"))
    wanted = comparing.Wanted(inquiry.pk, (replies[1].pk, replies[0].pk), value, {"rule": "close"})
    comparing.open_comparisons(project_id=project.pk, wanted=[wanted], **how)
    return Comparison.objects.get(inquiry=inquiry)


def take(project: Project, user: User) -> Any:
    return comparing.claim(project_id=project.pk, annotator_id=user.pk, seconds=600)


def say(project: Project, user: User, said: str, pair: Comparison | None = None) -> ComparisonAnswer:
    """Claim what comes and answer it, in the words of the stored pair: first or second, tie, neither, skip."""
    lease = take(project, user)
    assert lease is not None
    assert pair is None or lease.task_id == pair.pk
    return comparing.answer(
        project_id=project.pk, comparison_id=lease.task_id, annotator_id=user.pk, token=lease.token,
        said=seen_as(said, lease.task_id, user),
    )  # fmt: skip


def seen_as(said: str, comparison_id: int, user: User) -> str:
    if said not in ("first", "second"):
        return said
    return "b" if (said == "first") == comparing.is_swapped(comparison_id, user.pk) else "a"


def test_a_pair_is_asked_of_as_many_people_as_the_overlap_and_of_nobody_twice(
    project: Project, annotator: User, colleague: User, expert: User
) -> None:
    pair = make_pair(project, overlap=2)
    assert say(project, annotator, "first").verdict == "first"
    assert take(project, annotator) is None
    say(project, colleague, "first")
    assert take(project, expert) is None
    pair.refresh_from_db()
    assert (pair.verdict, pair.settled_at is not None) == ("first", True)


def test_where_people_differ_there_is_no_verdict_but_both_answers_stay(
    project: Project, annotator: User, colleague: User
) -> None:
    pair = make_pair(project, overlap=2)
    say(project, annotator, "first")
    say(project, colleague, "second")
    pair.refresh_from_db()
    assert (pair.verdict, pair.settled_at is not None) == ("", True)
    assert sorted(pair.answers.values_list("verdict", flat=True)) == ["first", "second"]


def test_the_most_telling_pair_comes_first_and_only_in_a_language_that_the_person_reads(
    project: Project, annotator: User
) -> None:
    make_pair(project, "one", value=0.1)
    close = make_pair(project, "two", value=0.9)
    japanese = make_pair(project, "三", value=1.0, locale="ja")
    Qualification.objects.create(project=project, annotator=annotator, languages=["en"])
    assert take(project, annotator).task_id == close.pk
    Qualification.objects.update(languages=[])
    ComparisonSlot.objects.filter(state="leased").update(
        state="open", annotator=None, token=None, lease_expires_at=None
    )
    assert take(project, annotator).task_id == japanese.pk


def test_which_reply_is_a_depends_on_the_person_and_what_is_stored_does_not(project: Project) -> None:
    pairs = [make_pair(project, f"Inquiry {n}", overlap=1) for n in range(24)]
    people = [make_person(project, f"p{n}", Role.ANNOTATOR) for n in range(2)]
    shown = {}
    for pair in pairs:
        for person in people:
            seen = comparing.payload(comparison_id=pair.pk, annotator_id=person.pk)
            shown[pair.pk, person.pk] = seen["a"]["text"] == pair.second.text
            assert comparing.verdict_of("a", swapped=shown[pair.pk, person.pk]) == (
                "second" if shown[pair.pk, person.pk] else "first"
            )
    assert set(shown.values()) == {True, False}
    assert any(shown[p.pk, people[0].pk] != shown[p.pk, people[1].pk] for p in pairs)


def test_the_same_answer_twice_is_one_and_another_one_is_refused(project: Project, annotator: User, call: Call) -> None:
    make_pair(project)
    item = call(annotator, "comparisons/next").json()
    path, body = f"comparisons/{item['task']['id']}/verdict", {"token": item["lease"]["token"], "verdict": "tie"}
    first = call(annotator, path, body)
    assert (first.status_code, first.json()["extra"], first.json()["next"]) == (201, False, None)
    assert call(annotator, path, body).json()["answer"] == first.json()["answer"]
    assert call(annotator, path, {**body, "verdict": "neither"}).status_code == 409
    assert ComparisonAnswer.objects.get().verdict == "tie"


def test_an_answer_on_a_lost_lease_is_kept_and_does_not_count(
    project: Project, annotator: User, colleague: User
) -> None:
    pair = make_pair(project, overlap=1)
    lease = take(project, annotator)
    ComparisonSlot.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert say(project, colleague, "second", pair).slot_id is not None
    late = comparing.answer(
        project_id=project.pk, comparison_id=pair.pk, annotator_id=annotator.pk, token=lease.token, said="tie"
    )
    assert late.slot_id is None
    pair.refresh_from_db()
    assert pair.verdict == "second"


def test_a_skip_leaves_the_pair_to_others(project: Project, annotator: User, colleague: User) -> None:
    pair = make_pair(project, overlap=1)
    assert say(project, annotator, "skip").slot_id is None
    assert take(project, annotator) is None
    say(project, colleague, "neither", pair)


def test_undo_opens_the_pair_again_for_the_same_person(project: Project, annotator: User, call: Call) -> None:
    pair = make_pair(project, overlap=1)
    say(project, annotator, "first")
    back = call(annotator, f"comparisons/{pair.pk}/undo")
    assert back.json()["next"]["task"]["id"] == pair.pk
    pair.refresh_from_db()
    assert (pair.verdict, pair.settled_at, pair.answers.count()) == ("", None, 0)
    assert call(annotator, f"comparisons/{pair.pk}/undo").status_code == 404


def test_a_lease_is_renewed_given_back_and_refused_when_lost(project: Project, annotator: User, call: Call) -> None:
    pair = make_pair(project)
    token = call(annotator, "comparisons/next").json()["lease"]["token"]
    assert call(annotator, "comparisons/next").json()["lease"]["token"] == token
    assert call(annotator, f"comparisons/{pair.pk}/heartbeat", {"token": token}).json()["lease"]["expires_in"] > 500
    assert call(annotator, f"comparisons/{pair.pk}/release", {"token": token}).status_code == 204
    assert call(annotator, f"comparisons/{pair.pk}/heartbeat", {"token": token}).status_code == 409
    assert call(annotator, f"comparisons/{pair.pk}/heartbeat", {"token": str(uuid.uuid4())}).status_code == 409


def test_a_pair_is_not_asked_twice_of_one_inquiry_whatever_its_order(project: Project) -> None:
    first, second = make_replies(project)
    inquiry = inquire(project, "Refund?", waiting=False)
    wanted = [comparing.Wanted(inquiry.pk, pair, 0.5, {}) for pair in ((first.pk, second.pk), (second.pk, first.pk))]
    assert comparing.open_comparisons(project_id=project.pk, wanted=wanted) == 1


def test_strangers_and_people_without_the_role_get_nothing(
    project: Project, annotator: User, outsider: User, call: Call
) -> None:
    pair = make_pair(project)
    assert call(outsider, "comparisons/next", {"project": "shop"}).status_code == 404
    assert call(outsider, f"comparisons/{pair.pk}/undo").status_code == 404
    agent = make_person(project, "agent", Role.AGENT)
    assert call(agent, "comparisons/next").status_code == 403
    assert call(annotator, "comparisons/next").status_code == 200


def test_agreement_and_the_share_of_the_left_side_are_reported(
    project: Project, annotator: User, colleague: User
) -> None:
    for n in range(4):
        pair = make_pair(project, f"Inquiry {n}", overlap=2)
        said = "first" if n % 2 else "second"
        say(project, annotator, said, pair)
        say(project, colleague, said if n else "tie", pair)
    found = comparing.progress(project_id=project.pk)
    assert (found["asked"], found["settled"], found["agreed"]) == (4, 4, 0.75)
    assert found["answers"] == {"first": 4, "second": 3, "tie": 1, "neither": 0}
    # Krippendorff's α by hand: 8 values, 1 of 4 pairs differs; 1 − (2·1/8) / ((64 − 16 − 9 − 1)/(8·7)).
    assert found["alpha"] == pytest.approx(1 - 0.25 / (38 / 56), abs=1e-4)
    assert 0 <= found["left_sided"] <= 1


def test_erasing_a_customer_takes_their_comparisons_along(project: Project, annotator: User) -> None:
    make_pair(project)
    say(project, annotator, "first")
    assert erase(project_id=project.pk, customer=Inquiry.objects.get().customer)["comparisons"] == 1
    assert not ComparisonAnswer.objects.exists()


@pytest.fixture
def call(client: Client) -> Call:
    def send(user: User, path: str, body: dict[str, Any] | None = None) -> Any:
        client.force_login(user)
        return client.post(f"/api/v1/{path}", body or {}, content_type="application/json")

    return send


@pytest.mark.django_db(transaction=True)
def test_people_who_ask_at_once_never_get_the_same_slot(project: Project) -> None:
    for n in range(6):
        make_pair(project, f"Inquiry {n}", overlap=1)
    people = [make_person(project, f"p{n}", Role.ANNOTATOR) for n in range(8)]
    gate, got = threading.Barrier(len(people)), []

    def work(person: User) -> None:
        try:
            gate.wait()
            got.append(take(project, person))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(p,)) for p in people]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    leases = [g for g in got if g is not None]
    assert len({g.slot_id for g in leases}) == len(leases) == 6
    assert Slot.objects.count() == 0
    assert Membership.objects.count() == 8


def test_a_pair_whose_reply_was_retired_is_asked_no_longer_unless_somebody_has_begun(
    project: Project, annotator: User
) -> None:
    begun, waiting = make_pair(project, "one", value=0.9), make_pair(project, "two", value=0.1)
    lease = take(project, annotator)
    assert lease.task_id == begun.pk
    Reply.objects.filter(pk=begun.first_id).update(active=False)
    comparing.open_comparisons(project_id=project.pk, wanted=[])
    assert list(Comparison.objects.all()) == [begun]
    assert waiting.pk != begun.pk
