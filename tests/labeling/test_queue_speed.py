"""What a claim reads, however long the queue is and whoever asks: pages of the database, not times."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.db import connection, transaction

from benchmarks.open_tasks import fill
from feedback.models import Category, Project, User
from labeling import counters, lanes, selectors
from labeling.models import Slot

# A claim touches the heads of the lanes, the conditions of one candidate, and the indexes that the update writes.
MOST_PAGES = 150


def plan_of(project: Project, user: User) -> dict[str, Any]:
    """The claim as PostgreSQL ran it (and took back)."""
    given = {
        "project": project.pk, "annotator": user.pk, "role": "annotator", "token": uuid.uuid4(), "seconds": 60.0,
        "reserve": False,
    }  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + lanes.CLAIM, given)
        found = cursor.fetchone()[0]
        transaction.set_rollback(True)
    plans = found if isinstance(found, list) else json.loads(found)
    return dict(plans[0]["Plan"])


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(n for child in plan.get("Plans", []) for n in nodes(child))]


def pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def answer_first(project: Project, user: User, tasks: int) -> None:
    """`user` has answered the first slot of the best tasks; the second slots are open."""
    category = Category.objects.filter(project=project).first()
    assert category is not None
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH best AS (SELECT id, task_id FROM labeling_slot WHERE project_id = %(project)s AND number = 1 AND state = 'open' "
            "  ORDER BY priority DESC LIMIT %(tasks)s), "
            "done AS (UPDATE labeling_slot s SET state = 'done', annotator_id = %(user)s, token = gen_random_uuid() "
            "  FROM best WHERE s.id = best.id RETURNING s.id, s.task_id, s.token) "
            "INSERT INTO labeling_annotation (task_id, slot_id, annotator_id, category_id, role, token, saw_suggestion, extra, gold, "
            "  superseded, created_at) SELECT task_id, id, %(user)s, %(category)s, 'annotator', token, false, false, false, false, "
            "  now() FROM done",
            {"project": project.pk, "tasks": tasks, "user": user.pk, "category": category.pk},
        )
        cursor.execute(
            "UPDATE labeling_slot s SET barred = ARRAY[%s::bigint] FROM labeling_annotation a "
            "WHERE a.task_id = s.task_id AND a.annotator_id = %s AND s.state = 'open'",
            [user.pk, user.pk],
        )
        analyse = "ANALYZE" if connection.in_atomic_block else "VACUUM ANALYZE"
        cursor.execute(f"{analyse} labeling_slot, labeling_annotation")


@pytest.fixture
def long_queue(project: Project) -> Project:
    with connection.cursor() as cursor:
        fill(cursor, project_id=project.pk, tasks=3_000, overlap=2)
    return project


# Committed, and vacuumed as the server does by itself: index entries of rows that this transaction changed would still be read.
@pytest.mark.django_db(transaction=True)
def test_a_claim_reads_the_heads_of_the_lanes_alone(long_queue: Project, annotator: User, colleague: User) -> None:
    before = plan_of(long_queue, annotator)
    answer_first(long_queue, annotator, 2_000)
    for person in (annotator, colleague):
        after = plan_of(long_queue, person)
        scans = [n for n in nodes(after) if n.get("Relation Name") == "labeling_slot" and "Scan" in n["Node Type"]]
        assert all(n["Node Type"].startswith("Index") for n in scans)
        assert not [n for n in nodes(after) if n["Node Type"] == "Sort" and n["Actual Rows"] > 10]
        assert pages(after) < MOST_PAGES
        assert max(n["Actual Rows"] * n["Actual Loops"] for n in scans) < 20
    assert pages(before) < MOST_PAGES


@pytest.mark.django_db
def test_it_reads_as_little_in_a_queue_ten_times_as_long(
    project: Project, other_project: Project, annotator: User
) -> None:
    with connection.cursor() as cursor:
        fill(cursor, project_id=project.pk, tasks=300, overlap=2)
        fill(cursor, project_id=other_project.pk, tasks=3_000, overlap=2)
    short, long = pages(plan_of(project, annotator)), pages(plan_of(other_project, annotator))
    assert long <= 1.5 * short + 10


@pytest.mark.django_db
def test_the_counters_are_right_and_their_folding_changes_nothing(long_queue: Project, annotator: User) -> None:
    answer_first(long_queue, annotator, 100)
    Slot.objects.filter(project=long_queue, state="open")[:1].get().delete()
    said = counters.read(long_queue.pk)
    assert said["slot:annotator:open"] == Slot.objects.filter(project=long_queue, state="open").count() == 5_899
    assert said["task:open"] == 3_000
    counters.fold()
    assert counters.read(long_queue.pk) == said
    assert selectors.waiting(project_id=long_queue.pk, role="annotator") == 5_899


@pytest.mark.django_db
def test_reading_them_asks_one_question_whatever_the_length(
    long_queue: Project, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        counters.read(long_queue.pk)
