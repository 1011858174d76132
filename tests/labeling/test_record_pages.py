"""The pages of leads for import, export and the audit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from feedback import jobs
from feedback.audit import acting
from feedback.models import AuditEvent, Category, Job, JobState, Role
from labeling.audit import PAGE_SIZE
from labeling.exchange import label_import
from labeling.models import Label
from tests.conftest import make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def lead(project, client):
    person = make_person(project, "lead", Role.LEAD)
    client.force_login(person)
    return person


def path(project, name="exchange", *args):
    return reverse(name, args=[project.slug, *args])


def send(client, project, content, name="labels.csv", **fields):
    file = SimpleUploadedFile(name, content.encode())
    return client.post(path(project, "exchange-import"), {"kind": "labels", "file": file, **fields})


def test_an_uploaded_file_becomes_an_import_of_whoever_sent_it(project, client, lead):
    answer = send(client, project, "Frage,label\nWo ist es?,delivery\n", text_column="Frage")
    assert answer["Location"] == path(project)
    job = Job.objects.get(kind=label_import.IMPORT)
    assert (job.params["user"], job.params["columns"]) == (lead.pk, {"text": "Frage"})
    jobs.run(job.pk)
    assert Label.objects.get().inquiry.text == "Wo ist es?"
    assert "1 stored" in client.get(path(project)).content.decode()


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [("x", "labels.xlsx", "name the format"), ("", "labels.csv", "empty")],
)
def test_a_file_of_no_use_is_refused_with_what_to_do_and_nothing_is_kept(content, name, says, project, client, lead):
    file = SimpleUploadedFile(name, content.encode())
    answer = client.post(path(project, "exchange-import"), {"kind": "labels", "file": file})
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not Job.objects.exists()


def test_the_refused_rows_are_a_file_to_download(project, client, lead):
    send(client, project, "text,label\nWhere?,nowhere\n")
    job = Job.objects.get()
    jobs.run(job.pk)
    answer = client.get(path(project, "exchange-faults", job.pk))
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()
    assert lines[1].startswith('"2","label","there is no category \'nowhere\'')
    assert path(project, "exchange-faults", job.pk) in client.get(path(project)).content.decode()


def test_a_running_import_can_be_cancelled(project, client, lead):
    send(client, project, "text,label\nWhere?,delivery\n")
    job = Job.objects.get()
    client.post(path(project, "exchange-cancel", job.pk))
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


def test_the_list_answers_304_until_something_changes(project, client, lead):
    first = client.get(path(project, "exchange-live"))
    assert client.get(path(project, "exchange-live"), headers={"If-None-Match": first["ETag"]}).status_code == 304
    send(client, project, "text,label\nWhere?,delivery\n")
    assert client.get(path(project, "exchange-live"), headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_a_format_that_streams_is_sent_at_once_and_another_is_made_in_the_background(project, client, lead):
    send(client, project, "text,label\nWhere?,delivery\n")
    jobs.run(Job.objects.get().pk)
    streamed = client.post(path(project, "exchange-export"), {"format": "csv"}, follow=True)
    assert b"".join(streamed.streaming_content).startswith(b"\xef\xbb\xbf")
    client.post(path(project, "exchange-export"), {"format": "parquet"})
    job = Job.objects.get(kind="export_labels")
    jobs.run(job.pk)
    made = client.get(path(project, "exchange-file", job.pk))
    content = b"".join(made.streaming_content)
    assert content.startswith(b"PAR1")
    assert int(made["Content-Length"]) == len(content)


def change(project, count, **fields):
    for n in range(count):
        Category.objects.filter(project=project, key="refund").update(position=100 + n, **fields)


def shown(answer):
    return [row["event"].pk for row in answer.context["rows"]]


def test_the_audit_says_who_changed_what(project, client, lead):
    with acting(user=lead.pk, request="r-77"):
        Category.objects.filter(project=project, key="refund").update(name="Money back", guideline="Secret wording")
    text = client.get(path(project, "audit")).content.decode()
    assert "Money back" in text
    assert "r-77" in text
    assert "text changed" in text
    assert "Secret wording" not in text


def test_the_audit_is_read_page_by_page_without_a_gap(project, client, lead):
    change(project, PAGE_SIZE + 20)
    AuditEvent.objects.count()
    seen, query = [], ""
    while True:
        answer = client.get(path(project, "audit") + query)
        seen += shown(answer)
        if not (query := answer.context["older"]):
            break
    own = AuditEvent.objects.filter(project=project).order_by("-at", "-id")
    assert seen == list(own.values_list("pk", flat=True))


def test_rows_of_one_moment_are_neither_lost_nor_shown_twice(project, client, lead):
    moment = timezone.now() + timedelta(days=1)
    AuditEvent.objects.bulk_create(
        AuditEvent(project=project, at=moment, kind="project", object="1", action="update", db_user="x")
        for _ in range(PAGE_SIZE + 5)
    )
    first = client.get(path(project, "audit"))
    second = client.get(path(project, "audit") + first.context["older"])
    assert not set(shown(first)) & set(shown(second))
    both = shown(first) + shown(second)
    assert len([pk for pk in both if AuditEvent.objects.get(pk=pk).at == moment]) == PAGE_SIZE + 5


def test_the_audit_is_filtered_by_person_kind_number_and_day(project, client, lead, annotator):
    with acting(user=annotator.pk):
        change(project, 1)
    with acting(user=lead.pk):
        change(project, 1, high_risk=True)
    refund = Category.objects.get(project=project, key="refund")

    def ask(**query):
        return client.get(path(project, "audit"), query)

    assert {row["who"] for row in ask(person=annotator.pk).context["rows"]} == {"annotator"}
    assert {row["event"].kind for row in ask(kind="role").context["rows"]} == {"role"}
    assert {row["event"].object for row in ask(kind="category", object=refund.pk).context["rows"]} == {str(refund.pk)}
    tomorrow = (timezone.now() + timedelta(days=1)).date()
    assert shown(ask(**{"from": tomorrow})) == []
    assert shown(ask(to=tomorrow)) == shown(ask())


@pytest.mark.parametrize(
    "query", ["person=x", "kind=x", "from=yesterday", "from=2026-13-45", "before=1-x", "before=99999999999999999-1"]
)
def test_a_filter_that_makes_no_sense_is_left_out(query, project, client, lead):
    assert client.get(f"{path(project, 'audit')}?{query}").status_code == 200


def test_changes_in_another_project_are_not_shown(project, other_project, client, lead):
    change(other_project, 3)
    assert not {row["event"].project_id for row in client.get(path(project, "audit")).context["rows"]} - {project.pk}
