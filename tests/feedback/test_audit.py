"""The audit: who did what when, whichever way it was done, and never a text."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from feedback.audit import acting
from feedback.audited import SETTINGS
from feedback.models import (
    ApiKey,
    AuditEvent,
    Category,
    ClientApp,
    Inquiry,
    Membership,
    Project,
    Reply,
    Role,
    TokenIssuer,
    User,
    Webhook,
)
from feedback.services import add_reply
from labeling import queue, services
from labeling.models import Annotation, Escalation, Label
from serving import registry
from serving.models import ModelVersion
from tests.browser.scene import close_case
from tests.conftest import make_key, make_person
from tests.test_permissions import make_task

pytestmark = pytest.mark.django_db


def events(**only):
    return list(AuditEvent.objects.filter(**only).order_by("pk"))


def test_a_change_is_recorded_with_what_was_and_what_is(project):
    Project.objects.get(pk=project.pk)
    project.overlap = 3
    project.save()
    (event,) = events(kind="project", action="update")
    assert event.changes == {"overlap": [1, 3]}
    assert (event.object, event.project_id) == (str(project.pk), project.pk)


def test_a_bulk_update_is_recorded_row_by_row(project):
    Category.objects.filter(project=project).update(high_risk=True)
    assert [e.changes for e in events(kind="category", action="update")] == [{"high_risk": [False, True]}] * 2


def test_raw_sql_is_recorded_with_the_user_of_the_database(project):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE feedback_project SET audit_rate = 0.5 WHERE id = %s", [project.pk])
        cursor.execute("SELECT session_user::text")
        name = cursor.fetchone()[0]
    (event,) = events(kind="project", action="update")
    assert (event.user, event.context, event.db_user) == (None, {}, name)


def test_whoever_acts_is_named_also_in_bulk_and_raw_sql(project, annotator):
    with acting(user=annotator.pk, request="r-1"):
        Category.objects.filter(key="refund").update(name="Money back")
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM feedback_membership WHERE user_id = %s", [annotator.pk])
    found = [e for e in events() if e.user_id]
    assert [(e.kind, e.action, e.user_id, e.context) for e in found] == [
        ("category", "update", annotator.pk, {"request": "r-1"}),
        ("role", "delete", annotator.pk, {"request": "r-1"}),
    ]


def test_what_nobody_listed_is_not_recorded(project):
    before = AuditEvent.objects.count()
    Project.objects.filter(pk=project.pk).update(revision=9)
    assert AuditEvent.objects.count() == before


def test_every_setting_of_a_project_is_recorded(project):
    """A new setting goes into SETTINGS of feedback/audited.py, with a migration for the trigger."""
    columns = {f.column for f in Project._meta.concrete_fields}
    assert columns - set(SETTINGS) == {"id", "created_at", "revision"}


def test_roles_keys_and_models_are_recorded(project):
    person = make_person(project, "ann", Role.EXPERT)
    Membership.objects.filter(user=person).update(role=Role.LEAD)
    make_key(project, "labels:read")
    ApiKey.objects.update(revoked_at="2026-01-01T00:00:00Z")
    version = ModelVersion.objects.create(project=project, number=1, encoder_sha="e", manifest_sha="m", kind="k")
    ModelVersion.objects.filter(pk=version.pk).update(stage="rejected")
    assert [e.changes.get("role") for e in events(kind="role")] == [[None, "expert"], ["expert", "lead"]]
    assert [sorted(e.changes) for e in events(kind="key", project=project)] == [
        ["app_id", "origins", "prefix", "scopes"],
        ["revoked_at"],
    ]
    assert [e.changes["stage"] for e in events(kind="model")] == [[None, "staging"], ["staging", "rejected"]]


def test_a_password_leaves_nothing_but_that_it_changed(annotator):
    annotator.set_password("correct horse battery")
    annotator.save()
    (event,) = events(kind="person", action="update")
    assert event.changes == {"password": None}


def test_issuers_and_webhooks_are_recorded_without_their_addresses_and_secrets(project):
    app = ClientApp.objects.get(project=project)
    TokenIssuer.objects.create(
        app=app,
        issuer="https://id.example",
        audience="enso",
        jwks_url="https://user:hidden@id.example/k",
        scopes=["labels:read"],
    )
    hook = Webhook.objects.create(
        project=project, url="https://hooks.example/hidden", kinds=["label.settled"], secret=b"hidden"
    )
    Webhook.objects.filter(pk=hook.pk).update(active=False, secret=b"hidden too")
    (issuer,) = events(kind="issuer", project=project)
    assert issuer.changes["scopes"] == [None, ["labels:read"]]
    made, stopped = events(kind="webhook", project=project)
    assert made.changes["kinds"] == [None, ["label.settled"]]
    assert stopped.changes == {"active": [True, False], "secret": None}
    assert "hidden" not in audit_as_text()


def test_the_record_can_be_neither_changed_nor_deleted(project):
    for change in (lambda: AuditEvent.objects.update(user_id=1), lambda: AuditEvent.objects.all().delete()):
        with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
            change()


def annotate(project, people):
    inquiry, task = make_task(project, "A very particular sentence about parcels", overlap=len(people))
    AuditTrail.start = AuditEvent.objects.count()
    for person in people:
        lease = queue.claim(project_id=project.pk, annotator_id=person.pk, roles=["annotator"], seconds=60)
        queue.extend(task_id=task.pk, annotator_id=person.pk, token=lease.token, seconds=60)
        services.annotate(project_id=project.pk, answer=services.Answer(task.pk, person.pk, lease.token, "delivery"))
    return inquiry, task


class AuditTrail:
    start = 0


def test_leases_leave_no_rows_and_each_answer_leaves_its_own(project, annotator, colleague):
    annotate(project, [annotator, colleague])
    found = [(e.kind, e.action) for e in events()[AuditTrail.start :]]
    assert found == [("annotation", "insert"), ("annotation", "insert"), ("task", "update"), ("label", "insert")]


def test_posting_an_inquiry_leaves_no_rows(project, post):
    make_key(project)
    post("inquiries", {"text": "hello"})  # the key's first use
    before = AuditEvent.objects.count()
    for text in ("Somebody stole my card", "I am furious! This is the worst!", "Where is it?"):
        assert post("inquiries", {"text": text}).status_code == 201
    assert Escalation.objects.exists()
    assert AuditEvent.objects.count() == before


def test_feedback_leaves_no_rows(project, post):
    before = AuditEvent.objects.count()
    post("feedback", {"inquiry": "r-1", "type": "click"})
    assert AuditEvent.objects.count() == before


def test_a_person_is_named_by_the_session_and_the_request(project, client):
    agent = make_person(project, "agent", Role.AGENT)
    inquiry, _ = make_task(project, "Help me")
    case = services.open_escalation(inquiry=inquiry, reasons=[], priority=0.5)
    client.force_login(agent)
    path = reverse("case-resolve", args=[project.slug, case.pk])
    given = {"category": "refund", "outcome": "answered", "reply": "We are sorry.", "version": case.version}
    client.post(path, given, headers={"X-Request-Id": "req-9"})
    found = events(user=agent)
    assert {(e.kind, e.action) for e in found} == {("escalation", "update"), ("label", "insert")} | {("task", "update")}
    assert {e.context["request"] for e in found} == {"req-9"}
    (escalation,) = [e for e in found if e.kind == "escalation"]
    assert escalation.changes["reply_text"] is None


def test_a_key_is_named_where_it_changes_something(project, monkeypatch):
    version = ModelVersion.objects.create(project=project, number=1, encoder_sha="e", manifest_sha="m", kind="k")
    monkeypatch.setattr(registry, "load_bundle", lambda path, sha: None)  # no bundle: what is tested is who did it
    secret = make_key(project, "models:admin")
    answer = Client().post("/api/v1/models/1/promote", headers={"Authorization": f"Api-Key {secret}"})
    assert answer.status_code == 200
    (event,) = events(kind="model", action="update")
    assert event.object == str(version.pk)
    assert event.context["key"] == ApiKey.objects.get(scopes=["models:admin"]).pk


def test_when_a_reply_ends_is_on_record(project):
    reply = add_reply(category_id=project.categories.first().pk, locale="en", text="Until Sunday.")
    ends = timezone.now() + timedelta(days=3)
    Reply.objects.filter(pk=reply.pk).update(expires_at=ends)
    (event,) = events(kind="reply", action="update")
    assert event.object == str(reply.pk)
    before, after = event.changes["expires_at"]
    assert (before, datetime.fromisoformat(after)) == (None, ends)


def audit_as_text():
    with connection.cursor() as cursor:
        cursor.execute("SELECT a::text FROM feedback_auditevent a")
        return "\n".join(row[0] for row in cursor.fetchall())


def test_no_text_of_anybody_is_ever_in_the_audit_so_erasing_it_erases_it(project, annotator, colleague, expert):
    marker = "particular sentence"
    inquiry, _ = annotate(project, [annotator, colleague])
    category = project.categories.first()
    add_reply(category_id=category.pk, locale="en", text=f"A reply with a {marker}")
    Category.objects.filter(pk=category.pk).update(
        guideline=f"G {marker}", description=f"D {marker}", examples=[f"E {marker}"]
    )
    case = services.open_escalation(inquiry=inquiry, reasons=[{"code": "app", "detail": marker}], priority=1.0)
    close_case(case, expert, key=category.key, reply=f"Dear {marker}")
    User.objects.filter(pk=expert.pk).update(email=f"{marker.replace(' ', '.')}@shop.example")
    Inquiry.objects.filter(pk=inquiry.pk).update(text=f"Edited {marker}", metadata={"note": marker})
    assert marker in Inquiry.objects.get(pk=inquiry.pk).text
    Annotation.objects.all().delete()
    Label.objects.all().delete()
    Escalation.objects.all().delete()
    Inquiry.objects.all().delete()
    kept = audit_as_text()
    assert len(events(kind="escalation")) == 2
    assert not re.search(r"particular.sentence", kept)


def test_every_audited_column_is_a_column_that_holds_no_text(project):
    """Free text is a TextField here, or a list of them; a name of at most 200 characters is ours."""
    import pgtrigger

    from feedback.audit import AuditTrigger

    seen = 0
    for model, trigger in pgtrigger.registered():
        if not isinstance(trigger, AuditTrigger):
            continue
        columns = {f.column: f for f in model._meta.concrete_fields}
        for name in trigger.recorded.columns:
            seen += 1
            assert columns[name].get_internal_type() != "TextField", f"{model.__name__}.{name} is free text"
    assert seen > 50


def test_the_project_of_what_hangs_on_another_row_is_known(project, annotator, colleague):
    annotate(project, [annotator, colleague])
    make_key(project)
    assert {e.project_id for e in events(kind__in=["annotation", "key", "label", "task"])} == {project.pk}
    assert json.loads(json.dumps(events(kind="label")[0].changes))["category_id"][0] is None


def test_a_task_that_is_opened_is_recorded_only_where_somebody_asked_for_it(project, annotator):
    inquiry, _ = make_task(project, "One")
    services.open_escalation(inquiry=inquiry, reasons=[], priority=0.5)
    assert events(kind="escalation") == []
    other, _ = make_task(project, "Two")
    with acting(user=annotator.pk):
        services.open_escalation(inquiry=other, reasons=[], priority=0.5)
    assert [(e.action, e.user_id) for e in events(kind="escalation")] == [("insert", annotator.pk)]
