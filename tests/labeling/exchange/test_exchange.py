"""Labels out, labels in: through the database, the jobs and the API."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile

import pyarrow.parquet as pq
import pytest
import yaml
from django.core.management import CommandError, call_command
from django.utils import timezone

from feedback import jobs
from feedback.models import AuditEvent, Category, Inquiry, Job, JobState, Project
from feedback.services import create_project
from labeling import queue, services
from labeling.exchange import files, imports, label_import
from labeling.exchange.exports import stream, write_file
from labeling.exchange.formats import format_of
from labeling.exchange.labels import pseudonym
from labeling.exchange.models import ExchangeFile, ImportFault
from labeling.exchange.rows import Reading
from labeling.models import Label, LabelTask, TaskKind
from tests.conftest import CATEGORIES, make_key
from tests.test_permissions import make_task

pytestmark = pytest.mark.django_db


def ask(project, content, name="labels.csv", kind=label_import.IMPORT, **params):
    pieces = iter([content if isinstance(content, bytes) else content.encode()])
    return imports.ask_for_import(kind=kind, project_id=project.pk, name=name, pieces=pieces, params=params)


def imported(project, content, name="labels.csv", **params):
    job = ask(project, content, name, **params)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.errors
    return job


def faults(job):
    return [(f.row, f.field, f.advice) for f in ImportFault.objects.filter(job=job).order_by("pk")]


def table(count, label="delivery"):
    return "text,label,external_id\n" + "".join(f"Where is parcel number {n}?,{label},e{n}\n" for n in range(count))


def labels_of(project):
    return dict(Label.objects.filter(project=project).values_list("inquiry__external_id", "category__key"))


def agree(project, annotator, colleague, text="Where is it?"):
    """A task that two people answered the same way, with a suggestion that one of them saw."""
    inquiry, _ = make_task(project, "unused")
    LabelTask.objects.filter(inquiry=inquiry).delete()
    Inquiry.objects.filter(pk=inquiry.pk).update(text=text, external_id="e-1")
    inquiry.refresh_from_db()
    delivery = Category.objects.get(project=project, key="delivery")
    task = services.open_task(
        inquiry=inquiry, kind=TaskKind.SELECTION, overlap=2, priority=1.0, reason={}, suggestion_id=delivery.pk
    )
    for person, seen in ((annotator, True), (colleague, False)):
        lease = queue.claim(project_id=project.pk, annotator_id=person.pk, roles=["annotator"], seconds=60)
        answer = services.Answer(task.pk, person.pk, lease.token, "delivery", saw_suggestion=seen, seconds=2.5)
        services.annotate(project_id=project.pk, answer=answer)
    return inquiry


def test_an_import_stores_inquiries_with_their_labels_and_forgets_the_file(project):
    job = imported(project, table(3))
    assert labels_of(project) == {"e0": "delivery", "e1": "delivery", "e2": "delivery"}
    assert job.result == {"stored": 3}
    assert ExchangeFile.objects.count() == 0


def test_importing_twice_changes_nothing(project):
    imported(project, table(3))
    assert imported(project, table(3)).result == {"known": 3}
    assert Inquiry.objects.count() == 3


def test_rows_without_an_id_of_their_own_are_known_by_their_text(project):
    content = "text,label\nWhere is it?,delivery\nWhere is it?,delivery\n"
    assert imported(project, content).result == {"stored": 1, "known": 1}


def test_bad_rows_are_told_and_all_others_are_stored(project):
    content = "text,label\nWhere is it?,delivery\n  ,refund\nI want money,refunds\nMoney back,Refund\nno label,\n"
    job = imported(project, content)
    assert job.result == {"stored": 2, "refused": 3}
    assert [(row, field) for row, field, _ in faults(job)] == [(3, "text"), (4, "label"), (6, "label")]
    assert "there is no category 'refunds'" in faults(job)[1][2]


def test_new_categories_are_made_where_the_import_may(project):
    job = imported(project, "text,label\na b,Card arrival\nc d,card arrival\nえ,返金\n", add_categories=True)
    assert job.result == {"stored": 3, "categories": 2}
    made = Category.objects.filter(project=project, key__in=["card-arrival", label_import.key_of("返金")])
    assert sorted(made.values_list("name", flat=True)) == ["Card arrival", "返金"]


def test_an_external_id_of_another_text_is_a_fault(project):
    imported(project, "text,label,external_id\nWhere is it?,delivery,e1\n")
    job = imported(project, "text,label,external_id\nSomething else,refund,e1\n")
    assert [(row, field) for row, field, _ in faults(job)] == [(2, "text")]
    assert labels_of(project) == {"e1": "delivery"}


def test_a_known_inquiry_needs_no_text(project):
    imported(project, "text,label,external_id\nWhere is it?,delivery,e1\n")
    assert imported(project, "external_id,label\ne1,refund\ne2,refund\n").result == {"changed": 1, "refused": 1}
    assert labels_of(project) == {"e1": "refund"}


def test_what_people_settled_is_not_overwritten_unless_asked(project, annotator, colleague):
    agree(project, annotator, colleague)
    content = "external_id,label\ne-1,refund\n"
    assert imported(project, content).result == {"refused": 1}
    assert imported(project, content, overwrite=True).result == {"changed": 1}
    assert labels_of(project) == {"e-1": "refund"}


def test_rows_without_a_label_become_tasks_where_asked(project):
    job = imported(project, "text,label\nWhere is it?,\n", unlabeled="queue")
    assert job.result == {"queued": 1}
    assert LabelTask.objects.get().kind == TaskKind.IMPORTED
    assert imported(project, "text,label\nWhere is it?,\n", unlabeled="queue").result == {"known": 1}


def test_a_file_that_cannot_be_read_is_told_and_is_no_failure_of_the_job(project):
    job = imported(project, "body,label\na,b\n")
    assert "no column 'text'" in job.result["file"]
    assert faults(job)[0][0] == 0


def test_an_empty_file_or_an_unknown_ending_is_refused_at_once(project):
    with pytest.raises(imports.Refused, match="empty"):
        ask(project, "")
    with pytest.raises(imports.Refused, match="name the format"):
        ask(project, "x", name="labels.xlsx")


def test_a_killed_import_goes_on_after_its_last_batch(project, monkeypatch):
    monkeypatch.setattr(imports, "BATCH", 10)
    real, seen = label_import.store, []

    class Killed(BaseException):
        """Nothing that the job could catch: as good as a kill."""

    def store(job, items):
        if len(seen) == 2:
            raise Killed
        seen.append(len(items))
        return real(job, items)

    job = ask(project, table(35) + ",,bad\n")
    running = jobs.claim(job.pk)
    with pytest.raises(Killed):
        imports.run_import(running, imports.Importer(store))
    jobs.fail(job.pk, running.token, running.job.attempt, "killed")
    assert Label.objects.count() == 20
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.result == {"stored": 35, "refused": 1}
    assert len(faults(job)) == 1
    assert Label.objects.count() == 35


def test_a_worker_that_was_given_up_for_dead_stores_nothing_more(project):
    job = ask(project, table(3))
    ghost = jobs.claim(job.pk)
    jobs.fail(job.pk, ghost.token, 1, "given up")
    with pytest.raises(jobs.Fenced):
        imports.run_import(ghost, imports.Importer(label_import.store))
    assert Label.objects.count() == 0


def test_asking_again_for_an_unfinished_import_gives_that_import(project):
    assert ask(project, table(3)).pk == ask(project, table(3)).pk
    assert ask(project, table(3), overwrite=True).pk != ask(project, table(3)).pk


def test_an_import_of_inquiries_answers_each_as_if_it_were_posted(project):
    job = imported(
        project, "text,external_id\nI want my money back,q1\nSomebody stole my card,q2\n,q3\n", kind="import_inquiries"
    )
    assert job.result == {"stored": 2, "refused": 1}
    assert Inquiry.objects.get(external_id="q2").escalations.count() == 1
    again = imported(project, "text,external_id\nI want my money back,q1\nOther,q2\n", kind="import_inquiries")
    assert again.result == {"known": 1, "refused": 1}


def test_the_audit_names_who_asked_for_an_import(project, annotator):
    job = ask(project, table(1), user=annotator.pk)
    Job.objects.filter(pk=job.pk).update(params={**job.params, "user": annotator.pk})
    jobs.run(job.pk)
    event = AuditEvent.objects.get(kind="label")
    assert (event.user_id, event.context) == (annotator.pk, {"job": job.pk})


def exported(project, name="jsonl"):
    return b"".join(stream(name, project_id=project.pk))


def test_a_label_is_exported_with_where_it_comes_from(project, annotator, colleague):
    agree(project, annotator, colleague)
    record = json.loads(exported(project))
    assert (record["label"], record["source"], record["resolution"], record["revision"]) == (
        "delivery",
        "agreed",
        "agreed",
        1,
    )
    assert (record["agreement"], record["annotators"], record["saw_suggestion"]) == (1.0, 2, True)
    assert record["suggestion"] == "delivery"
    assert [a["saw_suggestion"] for a in record["annotations"]] == [True, False]


def test_annotators_are_pseudonyms_that_differ_between_projects(project, other_project, annotator, colleague):
    agree(project, annotator, colleague)
    names = [a["annotator"] for a in json.loads(exported(project))["annotations"]]
    assert names == [pseudonym(project.pk, annotator.pk), pseudonym(project.pk, colleague.pk)]
    assert pseudonym(other_project.pk, annotator.pk) not in names
    assert b"annotator@" not in exported(project)
    assert annotator.username not in names


def test_a_withdrawn_label_and_another_project_are_not_exported(project, other_project, annotator, colleague):
    inquiry = agree(project, annotator, colleague)
    imported(other_project, table(1))
    services.withdraw_label(inquiry=inquiry)
    assert exported(project) == b""


def test_no_cell_of_an_export_starts_a_formula_and_the_text_comes_back(project, annotator, colleague):
    text = '=HYPERLINK("http://evil.example","click")'
    agree(project, annotator, colleague, text=text)
    content = exported(project, "csv")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert rows[0]["text"] == f"'{text}"
    assert not any(c.startswith(("=", "+", "-", "@")) for c in rows[0].values())
    copy = create_project(slug="copy", name="Copy", categories=CATEGORIES)
    imported(copy, content)
    assert Inquiry.objects.get(project=copy).text == text


@pytest.mark.parametrize("name", ["csv", "jsonl", "label-studio", "parquet", "hugging-face"])
def test_each_format_comes_back_with_the_same_texts_and_labels(name, project, tmp_path):
    texts = ["Where is it?\nSecond line", "返金してください、「早く」", '  =1+1, "quoted"', "e\u0301 🐈"]
    content = "".join(
        json.dumps({"text": t, "label": c, "locale": "en"}) + "\n"
        for t, c in zip(texts, ["refund", "delivery"] * 2, strict=True)
    )
    imported(project, content, name="labels.jsonl")
    write_file(name, tmp_path / "out", project_id=project.pk)
    copy = create_project(slug="copy", name="Copy", categories=CATEGORIES)
    job = imported(copy, (tmp_path / "out").read_bytes(), name="out", format=name)
    assert job.result == {"stored": 4}, faults(job)
    both = [
        sorted(Label.objects.filter(project=p).values_list("inquiry__text", "category__key")) for p in (project, copy)
    ]
    assert both[0] == both[1]
    assert Inquiry.objects.filter(project=copy).values_list("metadata", flat=True)[0] == {}


def test_an_export_that_is_imported_where_it_came_from_changes_nothing(project):
    imported(project, "text,label\nWhere is it?,delivery\n")
    assert imported(project, exported(project, "csv")).result == {"known": 1}


def test_label_studio_gets_the_settled_label_as_ground_truth_and_each_answer(project, annotator, colleague):
    agree(project, annotator, colleague)
    (task,) = json.loads(exported(project, "label-studio"))
    settled, *answers = task["annotations"]
    assert settled["ground_truth"]
    assert settled["result"] == [
        {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["delivery"]}}
    ]
    assert len(answers) == 2
    assert not any("completed_by" in a for a in task["annotations"])
    assert task["predictions"][0]["result"][0]["value"]["choices"] == ["delivery"]


def test_the_hugging_face_layout_declares_the_label_as_a_class(project, tmp_path):
    imported(project, table(30))
    write_file("hugging-face", tmp_path / "data.zip", project_id=project.pk)
    with zipfile.ZipFile(tmp_path / "data.zip") as archive:
        archive.extractall(tmp_path)
    head = yaml.safe_load((tmp_path / "README.md").read_text().split("---")[1])
    (label,) = [f for f in head["dataset_info"]["features"] if f["name"] == "label"]
    assert label["dtype"]["class_label"]["names"] == {"0": "refund", "1": "delivery", "2": "fraud"}
    splits = {f["split"]: f["path"] for f in head["configs"][0]["data_files"]}
    tables = [pq.read_table(p) for s in splits for p in tmp_path.glob(splits[s])]
    assert sum(t.num_rows for t in tables) == 30
    assert {v for t in tables for v in t["label"].to_pylist()} == {1}
    features = json.loads(tables[0].schema.metadata[b"huggingface"])["info"]["features"]
    assert features["label"] == {"names": ["refund", "delivery", "fraud"], "_type": "ClassLabel"}


def settle_many(project, count):
    """Labels as they lie in the tables, written in bulk."""
    category = project.categories.first()
    inquiries = Inquiry.objects.bulk_create(
        Inquiry(
            project=project, request_sha=b"0" * 32, text="Where is it? " * 20, group_sha=b"0" * 16, fold=0, status="resolved",
            received_at=timezone.now(),
        )
        for _ in range(count)
    )  # fmt: skip
    Label.objects.bulk_create(
        Label(inquiry=i, project=project, category=category, source="single", settled_at=timezone.now())
        for i in inquiries
    )


def peak_of_export(project, name):
    tracemalloc.start()
    size = sum(len(piece) for piece in stream(name, project_id=project.pk))
    top = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size, top


def test_memory_does_not_grow_with_the_number_of_labels(project, monkeypatch):
    monkeypatch.setattr("labeling.exchange.labels.PAGE", 100)
    settle_many(project, 400)
    few = {name: peak_of_export(project, name) for name in ("csv", "jsonl", "label-studio") for _ in (1, 2)}
    settle_many(project, 1600)
    for name, (size, top) in few.items():
        size_of_many, top_of_many = peak_of_export(project, name)
        assert size_of_many > 4.5 * size
        assert top_of_many < 1.3 * top, name


def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path):
    def peak(rows):
        path = tmp_path / f"{rows}.csv"
        path.write_text(table(rows))
        tracemalloc.start()
        read = sum(1 for _ in format_of("x.csv").read(path, Reading()))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read == rows
        return top

    peak(100)
    assert peak(20_000) < 1.3 * peak(2_000)


def test_the_api_streams_labels_to_a_key_that_may_read_them(project, client):
    imported(project, table(2))
    headers = {"Authorization": f"Api-Key {make_key(project, 'labels:read')}"}
    answer = client.get("/api/v1/labels", headers=headers)
    assert answer.streaming
    assert [json.loads(line)["external_id"] for line in b"".join(answer.streaming_content).splitlines()] == ["e0", "e1"]
    assert answer["Content-Disposition"] == 'attachment; filename="shop-labels.jsonl"'


def test_the_api_leaves_out_what_was_settled_before(project, client):
    imported(project, table(2))
    headers = {"Authorization": f"Api-Key {make_key(project, 'labels:read')}"}
    answer = client.get("/api/v1/labels", {"since": timezone.now().isoformat()}, headers=headers)
    assert b"".join(answer.streaming_content) == b""


@pytest.mark.parametrize(
    ("query", "field"),
    [("format=xml", "format"), ("format=parquet", "format"), ("since=monday", "since"), ("since=2026-01-01", "since"), ("page=2", "page")],
)  # fmt: skip
def test_a_wrong_parameter_is_named(query, field, project, client):
    answer = client.get(
        f"/api/v1/labels?{query}", headers={"Authorization": f"Api-Key {make_key(project, 'labels:read')}"}
    )
    assert (answer.status_code, json.loads(answer.content)["field"]) == (422, field)


def test_a_file_is_made_in_the_background_and_found_under_the_job(project):
    imported(project, table(5))
    job = jobs.enqueue(kind="export_labels", project_id=project.pk, params={"format": "parquet"}, exclusive=False)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.result["labels"] == 5
    content = b"".join(files.pieces_of(job.result["file"]))
    assert pq.read_table(io.BytesIO(content)).num_rows == 5


def test_files_go_when_their_time_is_over_or_somebody_is_erased(project):
    old = files.keep_file(project_id=project.pk, name="old", pieces=[b"x" * 600_000])
    assert old.chunks.count() == 3
    ExchangeFile.objects.update(expires_at=timezone.now())
    files.keep_file(project_id=project.pk, name="new", pieces=[b"x"])
    assert files.forget_expired() == 1
    assert files.forget_files(project_id=project.pk) == 1


def test_the_commands_import_and_export(project, tmp_path, capsys):
    source, errors, target = tmp_path / "in.csv", tmp_path / "errors.csv", tmp_path / "out.jsonl"
    source.write_text(table(2) + "Lost?,nowhere,e9\n")
    call_command("import_labels", "shop", str(source), "--errors", str(errors))
    said = capsys.readouterr()
    assert "2 stored, 1 refused" in said.out
    assert "row 4: label there is no category" in said.err
    assert list(csv.reader(io.StringIO(errors.read_text("utf-8-sig"))))[1][:2] == ["4", "label"]
    call_command("export_labels", "shop", "--output", str(target))
    assert len(target.read_text().splitlines()) == 2


def test_the_import_command_says_what_is_wrong_with_the_file(project, tmp_path):
    (tmp_path / "in.csv").write_text("body\nx\n")
    with pytest.raises(CommandError, match="no column 'text'"):
        call_command("import_labels", "shop", str(tmp_path / "in.csv"))
    with pytest.raises(CommandError, match="There is no project"):
        call_command("import_labels", "nowhere", str(tmp_path / "in.csv"))


def test_a_directory_of_a_data_set_is_imported(project, tmp_path):
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': refund\n"
        "          '1': delivery\n---\n"
    )
    (folder / "data" / "train.jsonl").write_text(
        '{"text": "Where?", "label": 1}\n{"text": "Money", "label": 0}\n{"text": "?", "label": -1}\n'
    )
    call_command("import_labels", "shop", str(folder))
    assert sorted(Label.objects.values_list("inquiry__text", "category__key")) == [
        ("Money", "refund"),
        ("Where?", "delivery"),
    ]
    assert Project.objects.count() == 1
