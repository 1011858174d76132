"""The permission matrix: every URL and method × every kind of caller × own and foreign project.

What is tried comes from the URLconf, so a new endpoint is tried from its first day; what is expected is declared once, in
`ACCESS` below. An endpoint that is missing there fails with the line to add. A caller who is not let in gets 401, 403, 404 or
the way to the sign-in page, never anything of the project; a foreign project is never told from one that does not exist.
"""

from __future__ import annotations

import copy
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from feedback import jobs
from feedback.keys import SCOPES
from feedback.models import ApiKey, Category, Inquiry, Job, Membership, Project, Role, Status, User
from feedback.models.webhooks import Notice, Webhook
from feedback.principals import digest
from feedback.services import NewInquiry, add_reply, create_project, record_inquiry
from labeling import comparing, drafts
from labeling import services as labeling_services
from labeling.case_models import CaseBatch, CaseFinding, FindingKind
from labeling.exchange.files import keep_file
from labeling.exchange.models import ImportFault
from labeling.models import Annotation, ComparisonAnswer, LabelTask, TaskKind
from learning.models import DriftReference, DriftReport, Snapshot, Topic, TopicMember, TrainingRun
from serving.models import Alias, DecisionRecord, ModelVersion, PolicyVersion, Rollout
from tests.conftest import CATEGORIES, make_key, make_person

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = frozenset(Role.values)
KEYS = frozenset(f"key:{scope}" for scope in SCOPES)
MEMBERS = ROLES
SIGNED_IN = ROLES | {"none", "superuser"}
LABELERS = frozenset({"annotator", "expert"})
AGENTS = frozenset({"agent", "lead", "admin"})
LEADS = frozenset({"lead", "admin"})


def key(*scopes: str) -> frozenset[str]:
    return frozenset(f"key:{scope}" for scope in scopes)


PUBLIC = frozenset({"anonymous", "key:none"}) | SIGNED_IN | KEYS

# Name of the URL → method → who is let in. What is not listed is open to nobody.
ACCESS: dict[str, dict[str, frozenset[str]]] = {
    "home": {"GET": MEMBERS, "POST": MEMBERS, "PUT": MEMBERS, "PATCH": MEMBERS, "DELETE": MEMBERS},
    "sign-in": {"GET": PUBLIC, "POST": PUBLIC, "PUT": PUBLIC},
    "sign-out": {"POST": PUBLIC},
    "preferences": dict.fromkeys(METHODS, SIGNED_IN),
    "language": {"POST": PUBLIC},
    "theme": {"POST": PUBLIC},
    "project": dict.fromkeys(METHODS, MEMBERS),
    "desk": dict.fromkeys(METHODS, frozenset({"annotator"})),
    "compare": dict.fromkeys(METHODS, LABELERS),
    "comparison-next": {"POST": LABELERS},
    "comparison-status": {"GET": LABELERS},
    "comparisons": {"GET": MEMBERS | key("labels:read"), "POST": LEADS | key("models:admin")},
    "replies": dict.fromkeys(METHODS, LEADS),
    "reply-act": {"POST": LEADS},
    "adjudicate": dict.fromkeys(METHODS, frozenset({"expert"})),
    "cases": dict.fromkeys(METHODS, AGENTS),
    "case": dict.fromkeys(METHODS, AGENTS),
    "case-resolve": {"POST": AGENTS},
    "case-assign": {"POST": AGENTS},
    "exchange": {"GET": LEADS},
    "exchange-live": {"GET": LEADS},
    "exchange-import": {"POST": LEADS},
    "exchange-export": {"POST": LEADS},
    "exchange-labels": {"GET": LEADS},
    "exchange-faults": {"GET": LEADS},
    "exchange-file": {"GET": LEADS},
    "exchange-cancel": {"POST": LEADS},
    "audit": {"GET": LEADS},
    "case-note": {"POST": AGENTS},
    "case-draft-dismiss": {"POST": AGENTS},
    "case-presence": dict.fromkeys(METHODS, AGENTS),
    "case-priority": {"POST": AGENTS},
    "case-snooze": {"POST": AGENTS},
    "case-batch": {"POST": AGENTS},
    "case-batch-undo": {"POST": frozenset()},  # whoever did it, and nobody else: nobody here
    "case-views": dict.fromkeys(METHODS, AGENTS),
    "service-level": dict.fromkeys(METHODS, LEADS),
    "categories": dict.fromkeys(METHODS, LEADS),
    "category": dict.fromkeys(METHODS, LEADS),
    "category-act": {"POST": LEADS},
    "category-guideline": dict.fromkeys(METHODS, LEADS),
    "category-reply": {"POST": LEADS},
    "reveal": dict.fromkeys(METHODS, AGENTS),
    "keys": dict.fromkeys(METHODS, LEADS),
    "key-revoke": {"POST": LEADS},
    "key-rotate": {"POST": LEADS},
    "my-work": dict.fromkeys(METHODS, LABELERS),
    "people": dict.fromkeys(METHODS, LEADS),
    "person": {"POST": LEADS},
    "guideline-proposals": dict.fromkeys(METHODS, LEADS),
    "guideline-decide": {"POST": LEADS},
    "quality": dict.fromkeys(METHODS, LEADS),
    "clear-leases": {"POST": LEADS},
    "settings": dict.fromkeys(METHODS, LEADS),
    "archive": {"POST": frozenset({"admin"})},
    "webhook-list": dict.fromkeys(METHODS, LEADS),
    "webhook-action": {"POST": LEADS},
    "notice-again": {"POST": LEADS},
    "projects": {**dict.fromkeys(METHODS, SIGNED_IN), "POST": frozenset({"admin", "superuser"})},
    "welcome": dict.fromkeys(METHODS, PUBLIC),
    "page-feedback": {"POST": frozenset()},
    "page-script": dict.fromkeys(METHODS, PUBLIC),
    "loop": dict.fromkeys(METHODS, MEMBERS),
    "loop-live": dict.fromkeys(METHODS, MEMBERS),
    "drift": dict.fromkeys(METHODS, MEMBERS),
    "drift-live": dict.fromkeys(METHODS, MEMBERS),
    "drift-check": {"POST": LEADS},
    "drift-settings": {"POST": LEADS},
    "drift-simulation": dict.fromkeys(METHODS, MEMBERS),
    "chart": {"GET": MEMBERS},
    "decision": dict.fromkeys(METHODS, AGENTS),
    "explanation": dict.fromkeys(METHODS, AGENTS),
    "model-page": dict.fromkeys(METHODS, MEMBERS),
    "run-report": dict.fromkeys(METHODS, MEMBERS),
    "run-report-file": dict.fromkeys(METHODS, MEMBERS),
    "models-compare": dict.fromkeys(METHODS, MEMBERS),
    "model-card": {"GET": MEMBERS | key("labels:read")},
    "model-data-card": {"GET": MEMBERS | key("labels:read")},
    "model-lineage": {"GET": MEMBERS | key("labels:read")},
    "inquiry-explanation": {"GET": AGENTS | key("inquiries:read")},
    "feedback": {"POST": key("feedback:write")},
    "jobs": {"GET": MEMBERS | key("labels:read")},
    "job-cancel": {"POST": LEADS | key("models:admin")},
    "queue-next": {"POST": LABELERS},
    "queue-status": {"GET": LABELERS},
    "task-annotations": {"POST": LABELERS},
    "task-heartbeat": {"POST": LABELERS},
    "task-release": {"POST": LABELERS},
    "task-skip": {"POST": LABELERS},
    "task-escalate": {"POST": LABELERS},
    "task-flag": {"POST": LABELERS},
    "task-undo": {"POST": LABELERS},
    "task-return": {"POST": frozenset({"expert"})},
    "queue-clear-leases": {"POST": LEADS},
    "queue-history": {"GET": LABELERS},
    "queue-statistics": {"GET": LABELERS},
    "agreement": {"GET": MEMBERS | key("labels:read")},
    "reliability": {"GET": LEADS},
    "gold": {"POST": LEADS},
    "qualifications": {"GET": LEADS, "PUT": LEADS},
    "scores": {"GET": MEMBERS | key("labels:read")},
    "scores-preview": {"POST": MEMBERS | key("labels:read")},
    "scores-weights": {"PATCH": frozenset({"admin"}) | key("models:admin")},
    "escalations": {"GET": AGENTS | key("inquiries:read")},
    "escalation": {"GET": AGENTS | key("inquiries:read")},
    "webhooks": {"GET": LEADS | key("models:admin"), "POST": LEADS | key("models:admin")},
    "webhook": {"PATCH": LEADS | key("models:admin"), "DELETE": LEADS | key("models:admin")},
    "webhook-notices": {"GET": LEADS | key("models:admin")},
    "webhook-replay": {"POST": LEADS | key("models:admin")},
    "webhook-rotate": {"POST": LEADS | key("models:admin")},
    "notice-replay": {"POST": LEADS | key("models:admin")},
    "labels": {"GET": key("labels:read")},
    "inquiries": {"POST": key("inquiries:write")},
    "inquiry": {"GET": key("inquiries:read")},
    "inquiry-escalate": {"POST": key("escalations:write")},
    "inquiry-reveal": {"POST": AGENTS},
    "predict": {"POST": key("inquiries:write")},
    "predict-batch": {"POST": key("inquiries:write")},
    "predict-stream": {"POST": key("inquiries:write")},
    "predict-files": {"POST": key("inquiries:write")},
    "predict-file": {"GET": key("inquiries:write")},
    "predict-result": {"GET": key("inquiries:write")},
    "predict-cancel": {"POST": key("inquiries:write")},
    "models": {"GET": MEMBERS | key("labels:read")},
    "model": {"GET": MEMBERS | key("labels:read")},
    "model-promote": {"POST": LEADS | key("models:admin")},
    "model-rollback": {"POST": LEADS | key("models:admin")},
    "model-alias": {"PUT": LEADS | key("models:admin"), "DELETE": LEADS | key("models:admin")},
    "policies": {"GET": MEMBERS | key("labels:read")},
    "policy-rollback": {"POST": LEADS | key("models:admin")},
    "rollouts": {"GET": MEMBERS | key("labels:read")},
    "rollout-start": {"POST": LEADS | key("models:admin")},
    "sample-size": {"GET": MEMBERS | key("labels:read")},
    "drift-reports": {"GET": MEMBERS | key("labels:read"), "POST": LEADS | key("models:admin")},
    "drift-report": {"GET": MEMBERS | key("labels:read")},
    "drift-verdicts": {"GET": MEMBERS | key("labels:read")},
    "loop-guard": {"GET": MEMBERS | key("labels:read")},
    "model-versions": dict.fromkeys(METHODS, MEMBERS),
    "model-act": {"POST": LEADS},
    "rollout-act": {"POST": LEADS},
    "rollout-settings": {"POST": LEADS},
    "topics": {"GET": MEMBERS | key("labels:read")},
    "topics-run": {"POST": LEADS | key("models:admin")},
    "topic": {"GET": MEMBERS | key("labels:read"), "PATCH": LEADS | key("models:admin")},
    "topic-map": dict.fromkeys(METHODS, MEMBERS),
    "topic-points": dict.fromkeys(METHODS, MEMBERS),
    "topic-page": dict.fromkeys(METHODS, MEMBERS),
    "topic-map-run": {"POST": LEADS},
    "topic-map-label": {"POST": LEADS},
    "topic-act": {"POST": LEADS},
    "schema": {"GET": PUBLIC},
    "docs": {"GET": PUBLIC},
    "healthz": dict.fromkeys(METHODS, PUBLIC),
    "readyz": dict.fromkeys(METHODS, PUBLIC),
    "metrics": {"GET": PUBLIC},  # from this machine; tests/config/test_observability.py
} | {f"escalation-{verb}": {"POST": AGENTS} for verb in ("assign", "note", "priority", "reply", "resolve", "snooze")}
ACCESS |= {f"rollout-{move}": {"POST": LEADS | key("models:admin")} for move in ("hold", "resume", "advance", "abort")}
ACCESS |= {f"comparison-{verb}": {"POST": LABELERS} for verb in ("verdict", "heartbeat", "release", "undo")}
ACCESS |= {f"topic-{verb}": {"POST": LEADS | key("models:admin")} for verb in ("merge", "split", "label", "category")}
# Bodies that are right but for the caller, where `{}` would be refused before anybody looks at who asks.
TOKEN = str(uuid.UUID(int=7))
BODIES: dict[str, dict[str, Any]] = {
    "inquiries": {"text": "Where is my parcel?", "dry_run": True},
    "predict": {"text": "Where is my parcel?"},
    "predict-batch": {"inquiries": [{"text": "Where is my parcel?"}]},
    "feedback": {"inquiry": "r-1", "type": "click"},
    "queue-next": {},
    "comparison-next": {},
    "comparison-verdict": {"token": TOKEN, "verdict": "tie"},
    "comparison-heartbeat": {"token": TOKEN},
    "comparison-release": {"token": TOKEN},
    "comparison-undo": {},
    "task-annotations": {"token": TOKEN, "category": "refund"},
    "task-flag": {"on": True},
    "task-undo": {},
    "task-return": {"token": TOKEN, "category": "refund", "guideline": "Money goes back."},
    "inquiry-reveal": {"reason": "The customer asked on the phone."},
    "escalation-note": {"text": "Called."},
    "gold": {"task": 1},
    "qualifications": {"person": "annotator"},
    "queue-clear-leases": {},
    "webhook": {"active": True},
    "topic": {"pinned": True},
    "topic-category": {"key": "scanner", "name": "Scanner"},
} | {f"task-{verb}": {"token": TOKEN} for verb in ("heartbeat", "release", "skip", "escalate")}
# A body that may name a project; the others name theirs in the address or in `?project=`.
NAMES_PROJECT_IN_BODY = {
    "inquiries",
    "predict",
    "predict-batch",
    "queue-next",
    "comparison-next",
    "gold",
    "qualifications",
    "queue-clear-leases",
}
# They cannot name a project at all: whatever they touch is the caller's own.
WITHOUT_PROJECT = {
    "home", "sign-in", "sign-out", "preferences", "language", "theme", "feedback", "schema", "docs", "healthz", "readyz", "metrics",
    "projects", "welcome", "page-feedback", "page-script",
}  # fmt: skip
SECRET = "Zirkonium"
# Each key asks some thousand times: here it is about who may, not about how often.
BOUNDLESS = {"limit_per_minute": 1_000_000, "limit_burst": 1_000_000}


@dataclass(frozen=True)
class Endpoint:
    name: str
    route: str
    parameters: tuple[str, ...]


def endpoints(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[Endpoint]:
    """Every URL pattern of the URLconf."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from endpoints(pattern, route)
        else:
            assert isinstance(pattern, URLPattern)
            yield Endpoint(pattern.name or route, route, tuple(re.findall(r"<(?:\w+:)?(\w+)>", route)))


EVERY = sorted(endpoints(), key=lambda e: e.route)
BACK_OFFICE = [e for e in EVERY if e.route.startswith("admin/")]
ENDPOINTS = [e for e in EVERY if not e.route.startswith("admin/")]
WITH_OBJECT = [
    e for e in ENDPOINTS if set(e.parameters) - {"slug", "chart", "kind", "act"} and e.name not in WITHOUT_PROJECT
]  # every project has the same charts and acts


@dataclass(frozen=True)
class Site:
    """A project with one of everything that a URL can name."""

    project: Project
    objects: dict[str, Any]

    def path(self, endpoint: Endpoint) -> str:
        route = endpoint.route
        for name in endpoint.parameters:
            assert name in self.objects, (
                f"{endpoint.name} takes <{name}>, which the matrix does not know: make one in `make_site` "
                f'and add "{name}" to `objects`.'
            )
            start, _, rest = route.partition("<")
            route = f"{start}{self.objects[name]}{rest.partition('>')[2]}"
        return "/" + route


def make_site(slug: str, name: str) -> Site:
    project = create_project(slug=slug, name=name, categories=CATEGORIES, audit_rate=0.0, **BOUNDLESS)
    inquiry, task = make_task(project, f"{name}: where is my parcel?")
    replies = [add_reply(category_id=project.categories.all()[0].pk, locale="en", text=name, slot=n) for n in (1, 2)]
    pair = comparing.Wanted(inquiry.pk, (replies[0].pk, replies[1].pk), 0.5, {})
    comparing.open_comparisons(project_id=project.pk, wanted=[pair])
    escalation = labeling_services.open_escalation(inquiry=inquiry, reasons=[{"code": "app"}], priority=0.5)
    drafts.propose(project_id=project.pk, case_id=escalation.pk, text="It is on its way.", source="d1")
    category = Category.objects.get(project=project, key="refund")
    DecisionRecord.objects.create(
        inquiry=inquiry, model_name=name, encoder_sha="e" * 64, category=category, confidence=0.5, probabilities={"refund": 0.5},
        decision="human", propensity=0.05,
    )  # fmt: skip
    PolicyVersion.objects.create(
        project=project, number=1, encoder_sha="e" * 64, manifest_sha="m" * 64, kind=name, replies=2, exploration=0.1
    )
    model = ModelVersion.objects.create(
        project=project, number=1, encoder_sha="e" * 64, manifest_sha="m" * 64, kind=name
    )
    Alias.objects.create(project=project, name="champion", model=model)
    job = jobs.enqueue(kind="train", project_id=project.pk)
    snapshot = Snapshot.objects.create(project=project, encoder_sha="e" * 64, sha256="s" * 64, labels=1)
    run = TrainingRun.objects.create(
        project=project, job=job, encoder_sha="e" * 64, snapshot=snapshot, model=model, report=f"<p>{name}</p>"
    )
    file = keep_file(project_id=project.pk, name=f"{name}.parquet", pieces=[name.encode()])
    made = jobs.enqueue(kind="export_labels", project_id=project.pk, params={"format": "parquet"}, exclusive=False)
    Job.objects.filter(pk=made.pk).update(result={"file": file.pk})
    predicted = jobs.enqueue(kind="predict_file", project_id=project.pk, params={"result": "parquet"}, exclusive=False)
    Job.objects.filter(pk=predicted.pk).update(state="done", result={"file": file.pk})
    ImportFault.objects.create(job=made, row=1, field=name, advice=name)
    hook = Webhook.objects.create(
        project=project, url=f"https://{slug}.example/hook", kinds=["label.resolved"], secret=b"x"
    )
    notice = Notice.objects.create(webhook=hook, event="1", kind="label.resolved", body="{}", due_at=timezone.now())
    author = User.objects.create(username=f"author of {slug}")
    Membership.objects.create(user=author, project=project, role=Role.AGENT)
    batch = CaseBatch.objects.create(project=project, author=author, action="assign")
    finding = CaseFinding.objects.create(
        case=escalation, project=project, kind=FindingKind.GUIDELINE, category=category, text=name
    )
    trial = Rollout.objects.create(
        project=project, encoder_sha="e" * 64, candidate=model, control=model, plan=[0, 1, 100], salt=name
    )
    trial.steps.create(number=0, percent=0)
    topic = Topic.objects.create(
        project=project, encoder_sha="e" * 64, number=task.pk, keywords=[name], born_at=timezone.now()
    )
    TopicMember.objects.create(
        project=project, encoder_sha="e" * 64, inquiry=inquiry, topic=topic, said_at=timezone.now(), x=0.0, y=0.0
    )
    report = make_report(project)
    api_key = ApiKey.objects.get(digest=digest(make_key(project)))
    objects = {
        "category_id": category.pk, "webhook_id": hook.pk, "notice_id": notice.pk, "batch_id": batch.pk,
        "finding_id": finding.pk, "user_id": author.pk, "key_id": api_key.pk, "action": "pause", "uidb64": "MA", "token": "x",
        "slug": slug, "task_id": task.pk, "case_id": escalation.pk, "inquiry_id": inquiry.pk, "job_id": job.pk,
        "exchange_id": made.pk, "number": model.number, "rollout_id": trial.pk, "deed": "promote", "move": "hold", "alias": "champion",
        "prediction_id": predicted.pk, "topic": topic.number, "act": "pin",
        "comparison_id": inquiry.comparisons.get().pk, "report_id": report.pk, "run_id": run.pk, "chart": "drift", "kind": "csv",
    }  # fmt: skip
    return Site(project, objects)


def make_report(project: Project) -> DriftReport:
    now = timezone.now()
    reference = DriftReference.objects.create(
        project=project, encoder_sha="e" * 64, sha256="a" * 64, embeddings_sha256="b" * 64, size=400, labels=0, upto=now
    )
    return DriftReport.objects.create(
        project=project, reference=reference, encoder_sha="e" * 64, trigger="hand", window="c" * 64, begins=now, ends=now, n=100,
        looks=30, resamples=1200, level=0.002, state="steady", statistic=1.0, threshold=9.0, p_value=0.5,
    )  # fmt: skip


def make_task(project: Project, text: str, *, overlap: int = 1) -> tuple[Inquiry, LabelTask]:
    new = NewInquiry(text=text, request_sha=b"0" * 32)
    inquiry = record_inquiry(
        project_id=project.pk, app_id=None, new=new, status=Status.WAITING, category_id=None, reply_id=None
    )
    task = labeling_services.open_task(
        inquiry=inquiry, kind=TaskKind.IMPORTED, overlap=overlap, priority=0.5, reason={}
    )
    return inquiry, task


@dataclass
class Matrix:
    own: Site
    foreign: Site
    callers: dict[str, tuple[Client, dict[str, str]]]

    def ask(self, caller: str, method: str, endpoint: Endpoint, site: Site) -> tuple[int, str, str]:
        """Status, place that a redirect leads to, and body; whatever the request did is undone."""
        client, headers = self.callers[caller]
        path = site.path(endpoint)
        body = dict(BODIES.get(endpoint.name, {}))
        if endpoint.name == "topic-merge":
            body["into"] = site.objects["topic"]
        if endpoint.name in NAMES_PROJECT_IN_BODY:
            body["project"] = site.project.slug
        if endpoint.name not in WITHOUT_PROJECT and "slug" not in endpoint.parameters:
            path += f"?project={site.project.slug}"
        point, cookies = transaction.savepoint(), copy.deepcopy(client.cookies)
        response = client.generic(method, path, json.dumps(body), content_type="application/json", headers=headers)
        content = b"".join(response.streaming_content) if response.streaming else response.content
        transaction.savepoint_rollback(point)
        client.cookies = cookies  # whoever signed out is signed in again
        return response.status_code, response.headers.get("Location", ""), content.decode(errors="replace")


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[Matrix]:
    """Two projects and every kind of caller, made once: a request is undone by its savepoint, all of it at the end."""
    # Static files under their plain names: browser tests of the same run collect only a part of them.
    plain = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with override_settings(STORAGES=plain), django_db_blocker.unblock(), transaction.atomic():
        yield make_matrix()
        transaction.set_rollback(True)


@pytest.fixture
def matrix(world: Matrix, django_db_blocker: Any) -> Iterator[Matrix]:
    with django_db_blocker.unblock():
        point = transaction.savepoint()
        yield world
        transaction.savepoint_rollback(point)


def make_matrix() -> Matrix:
    own, foreign = make_site("shop", "Shop"), make_site("bank", SECRET)
    callers: dict[str, tuple[Client, dict[str, str]]] = {"anonymous": (Client(raise_request_exception=False), {})}
    people = {role: make_person(own.project, role, role) for role in Role.values}
    for person in people.values():
        Annotation.objects.create(
            task_id=own.objects["task_id"],
            annotator=person,
            category=own.project.categories.all()[0],
            token=TOKEN,
            extra=True,
        )  # so that there is something to take back
        ComparisonAnswer.objects.create(
            comparison_id=own.objects["comparison_id"], annotator=person, verdict="skip", swapped=False, token=TOKEN
        )
    people |= {
        "none": User.objects.create(username="none"),
        "superuser": User.objects.create(username="root", is_superuser=True),
    }
    for name, person in people.items():
        client = Client(raise_request_exception=False)
        client.force_login(person)
        callers[name] = (client, {})
    for scope in SCOPES:
        callers[f"key:{scope}"] = keyed(make_key(own.project, scope))
    callers["key:none"] = keyed(unscoped(own.project))
    return Matrix(own, foreign, callers)


def keyed(secret: str) -> tuple[Client, dict[str, str]]:
    return Client(raise_request_exception=False), {"Authorization": f"Api-Key {secret}"}


def unscoped(project: Project) -> str:
    """A key whose scopes were taken away since it was made."""
    secret = make_key(project, SCOPES[0])
    ApiKey.objects.filter(digest=digest(secret)).update(scopes=[])
    return secret


def refused(status: int, place: str) -> bool:
    """Not let in: said so, sent to sign in, or sent home without a word about the project."""
    return status in (401, 403, 404, 405) or (status == 302 and (place.startswith("/sign-in") or place == "/"))


@pytest.mark.django_db  # one mark asks pytest-django for the database that `world` uses
def test_every_endpoint_is_declared_in_the_matrix() -> None:
    unknown = sorted({e.name for e in ENDPOINTS} - ACCESS.keys())
    lines = "\n".join(f'    "{name}": {{"GET": MEMBERS, "POST": LEADS}},' for name in unknown)
    assert not unknown, f"Say in tests/test_permissions.py, in ACCESS, who may use which method of these:\n{lines}"
    gone = sorted(ACCESS.keys() - {e.name for e in ENDPOINTS})
    assert not gone, f"Take these out of ACCESS in tests/test_permissions.py; no URL has such a name: {gone}"


def test_no_two_endpoints_share_a_name() -> None:
    names = [e.name for e in ENDPOINTS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.name)
def test_each_method_lets_in_whom_it_should_and_nobody_else(endpoint: Endpoint, matrix: Matrix) -> None:
    declared = ACCESS.get(endpoint.name, {})
    wrong = []
    for method in METHODS:
        allowed = declared.get(method, frozenset())
        for caller in matrix.callers if allowed else ("anonymous", *ROLES, "superuser", *KEYS):
            status, place, _ = matrix.ask(caller, method, endpoint, matrix.own)
            let_in = not refused(status, place) or allowed == PUBLIC
            if status >= 500 and endpoint.name != "readyz":
                wrong.append(f"{method} breaks for {caller}: {status}")
            if let_in != (caller in allowed):
                said = "is let in" if let_in else "is refused"
                wrong.append(f"{method}: {caller} {said} ({status} {place}); ACCESS says otherwise")
    assert not wrong, f"{endpoint.name} ({endpoint.route}):\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "endpoint", [e for e in ENDPOINTS if e.name not in WITHOUT_PROJECT], ids=lambda e: e.name
)  # fmt: skip
def test_a_foreign_project_does_not_exist_for_anybody(endpoint: Endpoint, matrix: Matrix) -> None:
    wrong = []
    for method in METHODS:
        if not ACCESS.get(endpoint.name, {}).get(method):
            continue
        for caller in matrix.callers:
            status, place, body = matrix.ask(caller, method, endpoint, matrix.foreign)
            if not refused(status, place) or status == 405:
                wrong.append(f"{method}: {caller} gets {status} {place}")
            if SECRET in body:
                wrong.append(f"{method}: {caller} is told something of the foreign project ({status})")
    assert not wrong, f"{endpoint.name} ({endpoint.route}):\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "endpoint", WITH_OBJECT, ids=lambda e: e.name
)  # fmt: skip
def test_an_object_of_a_foreign_project_is_not_found_under_ones_own(endpoint: Endpoint, matrix: Matrix) -> None:
    """The own project in the address, a foreign object in it."""
    own, foreign = matrix.own, matrix.foreign
    ModelVersion.objects.filter(project=foreign.project).update(number=7)
    PolicyVersion.objects.filter(project=foreign.project).update(number=7)
    mixed = Site(own.project, {**foreign.objects, "slug": own.project.slug, "number": 7})
    wrong = []
    for method, allowed in ACCESS.get(endpoint.name, {}).items():
        for caller in allowed:
            status, place, body = matrix.ask(caller, method, endpoint, mixed)
            if status not in (403, 404) or SECRET in body:
                wrong.append(f"{method}: {caller} gets {status} {place}")
    assert not wrong, f"{endpoint.name} ({endpoint.route}):\n" + "\n".join(wrong)


def test_the_back_office_is_for_superusers_alone(matrix: Matrix) -> None:
    wrong = []
    for endpoint in BACK_OFFICE:
        path = "/" + re.sub(r"<[^>]*>|\(\?P<[^)]*\)\$", "1", endpoint.route)
        for caller, (client, headers) in matrix.callers.items():
            response = client.get(path, headers=headers)
            place = response.headers.get("Location", "")
            if response.status_code >= 500:
                wrong.append(f"{path} breaks for {caller}: {response.status_code}")
            elif caller != "superuser" and not (
                response.status_code == 403
                or "login" in place
                or "sign-in" in place
                or endpoint.name in ("login", "logout")
            ):
                wrong.append(f"{path}: {caller} is let in ({response.status_code} {place})")
    assert not wrong, "\n".join(wrong)
    client, _ = matrix.callers["superuser"]
    assert client.get("/admin/").status_code == 200
