"""A shop in the middle of its day, made through the same services as a real one."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
import uuid
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from django.utils import timezone

from feedback import keys, vault
from feedback.models import (
    ApiKey,
    Category,
    ClientApp,
    Event,
    Inquiry,
    Job,
    Membership,
    Notice,
    Project,
    Role,
    Status,
    TokenIssuer,
    User,
    Webhook,
)
from feedback.services import NewInquiry, add_reply, create_project, record_inquiry
from feedback.services import add_categories as services_add
from labeling import case_resolving, escalations, queue, services
from labeling.escalations import Hand
from labeling.models import Annotation, Escalation, LabelTask, SlotRole, TaskKind
from learning.core.dataset_checks import check_labels, describe
from learning.models import RunState, Snapshot, Topic, TopicMember, TopicRun, TrainingRun
from serving.models import (
    DecisionRecord,
    ModelVersion,
    Rollout,
    RolloutEvidence,
    Stage,
)
from serving.rollout import STEPWISE, WATCHED, Limits
from serving.sequential import Tally, blank, e_value, observe

CATEGORIES: list[dict[str, Any]] = [
    {"key": "refund", "name": "Refund", "names": {"ja": "返金"}, "description": "The customer wants money back.",
     "guideline": "Choose this when money is to go back, also when the parcel is late and the customer asks for the money.",
     "examples": ["I want my money back.", "You charged me twice."]},
    {"key": "delivery", "name": "Delivery", "names": {"ja": "配送"}, "description": "Where the parcel is, or when it comes.",
     "guideline": "Late, lost and misdelivered parcels. A broken one is Damaged goods.", "examples": ["Where is my parcel?"]},
    {"key": "damaged", "name": "Damaged goods", "names": {"ja": "破損"}, "description": "It came broken."},
    {"key": "account", "name": "Account and password", "names": {"ja": "アカウント"}, "description": "Signing in, changing data."},
    {"key": "invoice", "name": "Invoice", "names": {"ja": "請求書"}, "description": "A copy, a correction, a tax number."},
    {"key": "fraud", "name": "Fraud", "names": {"ja": "不正利用"}, "description": "Somebody else used it.", "high_risk": True},
]  # fmt: skip

TEXTS = [
    (("My parcel was due on Monday and the tracking has not moved for six days. If it is lost I would rather have the money "
     "than another parcel, because the birthday was yesterday."), "en", "refund", "delivery"),
    ("注文した商品がまだ届きません。いつ届くか教えてください。届かないなら返金してほしいです。", "ja", "delivery", "refund"),
    ("The lid of the teapot arrived in three pieces. Can you send another one?", "en", "damaged", "refund"),
    ("I cannot sign in since I changed my phone. The code goes to the old number.", "en", "account", "fraud"),
    ("Please put our VAT number on the last invoice and send it again.", "en", "invoice", "account"),
    ("Where can I see how many points I have?", "en", "account", "invoice"),
    ("You took the amount twice from my card.", "en", "refund", "fraud"),
    ("パスワードを忘れてしまい、ログインできません。", "ja", "account", "fraud"),
    ("The driver left the parcel with a neighbour I do not know.", "en", "delivery", "damaged"),
    ("One of the plates is missing from the box.", "en", "damaged", "delivery"),
]  # fmt: skip


def make_shop(**settings: Any) -> Project:
    project = create_project(
        slug="shop", name="Hanabi Shop", categories=CATEGORIES, overlap=settings.pop("overlap", 2), **settings
    )
    for key, text in (
        ("delivery", "Thank you for writing. Your parcel is on its way; the carrier expects it tomorrow."),
        ("refund", "We are sorry about this. The amount goes back to your card today and arrives within five days."),
    ):
        add_reply(category_id=category(project, key).pk, locale="en", text=text)
    return project


def category(project: Project, key: str) -> Category:
    return Category.objects.get(project=project, key=key)


def make_people(project: Project) -> dict[str, User]:
    """Two annotators, an expert for disputes, an agent for customers, and a lead who may do it all."""
    cast = {
        "annotator": [Role.ANNOTATOR], "colleague": [Role.ANNOTATOR], "expert": [Role.EXPERT], "agent": [Role.AGENT],
        "lead": [Role.LEAD, Role.ANNOTATOR, Role.EXPERT, Role.AGENT], "boss": [Role.ADMIN],
    }  # fmt: skip
    people = {}
    for name, roles in cast.items():
        people[name] = User.objects.create_user(name, password="correct horse battery", first_name=name.title())
        for role in roles:
            Membership.objects.create(user=people[name], project=project, role=role)
    return people


def inquire(project: Project, text: str, *, locale: str = "en", waiting: bool = True, **fields: Any) -> Inquiry:
    new = NewInquiry(
        text=text,
        request_sha=hashlib.sha256(text.encode()).digest(),
        locale=locale,
        customer="c-1042",
        channel="e-mail",
    )
    status = Status.WAITING if waiting else Status.ANSWERED
    inquiry = record_inquiry(
        project_id=project.pk, app_id=None, new=new, status=status, category_id=None, reply_id=None
    )
    Inquiry.objects.filter(pk=inquiry.pk).update(received_at=timezone.now() - timedelta(minutes=12))
    inquiry.refresh_from_db()
    if fields:
        decide(project, inquiry, **fields)
    return inquiry


def decide(
    project: Project, inquiry: Inquiry, *, shares: dict[str, float], audit: bool = False, decision: str = "human"
) -> None:
    best = max(shares, key=lambda k: shares[k])
    DecisionRecord.objects.create(
        inquiry=inquiry, model_name="v3", encoder_sha="e" * 64, category=category(project, best), confidence=shares[best],
        probabilities=shares, sentiment=-0.62, decision=decision, audit=audit, propensity=0.05,
    )  # fmt: skip


def ask(
    project: Project,
    text: str,
    locale: str,
    first: str,
    second: str,
    *,
    kind: str = TaskKind.SELECTION,
    priority: float = 0.5,
) -> LabelTask:
    shares = {first: 0.48, second: 0.46}
    inquiry = inquire(project, text, locale=locale, shares=shares, audit=kind == TaskKind.AUDIT)
    between = [{"category": k, "share": v} for k, v in shares.items()]
    return services.open_task(
        inquiry=inquiry, kind=TaskKind(kind), overlap=project.overlap, priority=priority,
        reason={"rule": "margin", "between": between} if kind == TaskKind.SELECTION else {"rule": "audit"},
        suggestion_id=category(project, first).pk, propensity=0.05 if kind == TaskKind.AUDIT else None,
    )  # fmt: skip


def fill_queue(project: Project, n: int = len(TEXTS)) -> list[LabelTask]:
    """The first texts in this order; past them, numbered ones."""
    rows = [
        *TEXTS,
        *((f"Inquiry number {i}: where is my parcel?", "en", "delivery", "refund") for i in range(len(TEXTS), n)),
    ]
    return [ask(project, *row, priority=1.0 - i / 1000) for i, row in enumerate(rows[:n])]


def answer(
    task: LabelTask, person: User, key: str, *, role: str = SlotRole.ANNOTATOR, seconds: float = 6.0
) -> Annotation:
    """Claim and answer until it was this task."""
    lease = queue.claim(project_id=task.project_id, annotator_id=person.pk, roles=[role], seconds=600)
    assert lease is not None, "there is nothing to claim"
    assert lease.task_id == task.pk, "another task came first"
    given = services.Answer(task_id=task.pk, annotator_id=person.pk, token=lease.token, category=key, seconds=seconds)
    return services.annotate(project_id=task.project_id, answer=given)


def dispute(project: Project, people: dict[str, User], row: int = 0) -> LabelTask:
    task = ask(project, *TEXTS[row], priority=5.0)
    answer(task, people["annotator"], TEXTS[row][2])
    answer(task, people["colleague"], TEXTS[row][3], seconds=11.0)
    return task


def open_cases(project: Project) -> list[Any]:
    angry = inquire(
        project, "This is the third time I write. Nobody answers, the parcel is gone and you keep my 240 euros. I call my bank.",
        shares={"refund": 0.71, "delivery": 0.22, "fraud": 0.05},
    )  # fmt: skip
    risky = inquire(
        project, "There is an order in my account that I did not place, sent to an address I have never seen.",
        shares={"fraud": 0.93, "account": 0.05, "delivery": 0.01},
    )  # fmt: skip
    asked = inquire(
        project,
        "返金の手続きについて、担当の方と直接お話しできますか。",
        locale="ja",
        shares={"refund": 0.8, "account": 0.1},
    )
    return [
        services.open_escalation(inquiry=angry, reasons=[{"code": "angry", "detail": ""}], priority=0.8),
        services.open_escalation(inquiry=risky, reasons=[{"code": "high_risk", "detail": ""}], priority=1.3),
        services.open_escalation(
            inquiry=asked, reasons=[{"code": "app", "detail": "speaks to a person"}], priority=0.5
        ),
    ]


def close_case(case: Escalation, agent: User, key: str = "refund", reply: str = "Done.", **how: Any) -> Escalation:
    """Resolve a case as it is now."""
    case.refresh_from_db()
    hand = Hand(case.project_id, case.pk, case.version, agent.pk)
    return case_resolving.resolve(hand, how=case_resolving.Resolution(category=key, reply=reply, **how))


def work_on_cases(project: Project, people: dict[str, User]) -> list[Escalation]:
    """Cases in the middle of a day: one late, one with a note and an owner, one set aside, one resolved with a proposal."""
    now = timezone.now()
    angry, risky, asked = open_cases(project)
    late = services.open_escalation(
        inquiry=inquire(project, "Your shop charged my closed account, the bank now wants a fee from me.", shares={"refund": 0.66}),
        reasons=[{"code": "angry"}], sentiment=-0.9,
    )  # fmt: skip
    for case, minutes in ((late, 95), (risky, 19), (angry, 41)):
        opened = now - timedelta(minutes=minutes)
        moved = {
            name: getattr(case, name) - timedelta(minutes=minutes)
            for name in ("standing", "first_due_at", "resolve_due_at", "next_due_at")
        }
        Escalation.objects.filter(pk=case.pk).update(opened_at=opened, **moved)
    hand = Hand(project.pk, late.pk, 1, people["lead"].pk)
    escalations.assign(hand, to_id=people["lead"].pk)
    escalations.note(
        project_id=project.pk, case_id=risky.pk, agent_id=people["lead"].pk, text="Third report of this address today."
    )
    escalations.assign(Hand(project.pk, asked.pk, 1, people["agent"].pk), to_id=people["agent"].pk)
    aside, done = (
        services.open_escalation(inquiry=inquire(project, text, shares=shares), reasons=[reason])
        for text, shares, reason in (
            ("Please call me on Monday.", {"invoice": 0.6}, {"code": "app", "detail": "asks for a call"}),
            ("The parcel never came and the money is gone.", {"fraud": 0.5}, {"code": "high_risk"}),
        )
    )
    escalations.snooze(Hand(project.pk, aside.pk, 1, people["agent"].pk), until=now + timedelta(days=3))
    close_case(done, people["lead"], "fraud", "We have stopped the order; the amount is back on your card by Friday.",
               guideline="A parcel that was sent to an address the customer does not know is Fraud, not Delivery.")  # fmt: skip
    return [late, risky, angry, asked, aside, done]


def checked_labels(keys: list[str]) -> dict[str, Any]:
    """What the checks find about a few labels: all is well but for one category with few."""
    n = 60
    rows = pd.DataFrame({
        "inquiry": [f"i-{k}" for k in range(n)], "category": [keys[min(k // 25, len(keys) - 1)] for k in range(n)],
        "fold": [(0, 0, 0, 0, 0, 0, 0, 0, 1, 2)[k % 10] for k in range(n)], "weight": [0.9 + 0.1 * (k % 3) for k in range(n)],
        "revision": [1 + k % 2 for k in range(n)], "text": [f"{k:064x}" for k in range(n)], "group": [f"{k:016x}" for k in range(n)],
    }).astype(dict.fromkeys(["inquiry", "category", "text", "group"], "object"))  # fmt: skip
    checks = check_labels(rows, np.eye(n, dtype=np.float32), categories=keys)
    folds = [{"category": key, "all": 20, "train": 16, "calibrate": 2, "test": 2} for key in keys]
    told = {"passed": True, "labels": n, "pool": 12, "categories": folds, "checks": [asdict(c) for c in checks]}
    return told | asdict(describe(rows))


def train_once(project: Project, people: dict[str, User]) -> ModelVersion:
    """Labels, a training that learned from them, its gates, and a version in production."""
    before = timezone.now() - timedelta(hours=4)
    for row in TEXTS[2:6]:
        task = ask(project, *row, priority=9.0, kind=TaskKind.AUDIT if row[2] == "invoice" else TaskKind.SELECTION)
        answer(task, people["annotator"], row[2])
        answer(task, people["colleague"], row[2])
        Inquiry.objects.filter(task=task).update(received_at=before)
        LabelTask.objects.filter(pk=task.pk).update(created_at=before + timedelta(seconds=1))
    now = timezone.now()
    job = Job.objects.create(kind="train", project=project, state="done", progress=1.0, stage="done", started_at=now)
    snapshot = Snapshot.objects.create(
        project=project, encoder_sha="e" * 64, sha256=uuid.uuid4().hex * 2, labels=4, last_settled_at=now
    )
    version = ModelVersion.objects.create(
        project=project, number=1, encoder_sha="e" * 64, manifest_sha="f" * 64, kind="ridge", stage=Stage.PRODUCTION,
        promoted_at=now + timedelta(seconds=40), lineage={"labels": 4, "data": snapshot.sha256},
        metrics={"test_accuracy": {"value": 0.914, "low": 0.86, "high": 0.95}, "test_ece": 0.031},
        gates=[
            {"name": "parity", "passed": True, "value": 2e-7, "threshold": 1e-5, "detail": "ONNX equals the head to 2e-07."},
            {"name": "not_worse", "passed": True, "value": None, "threshold": None, "detail": "Nothing to compare with."},
        ],
    )  # fmt: skip
    TrainingRun.objects.create(
        project=project,
        job=job,
        encoder_sha="e" * 64,
        snapshot=snapshot,
        state=RunState.PROMOTED,
        model=version,
        finished_at=now + timedelta(seconds=38),
        validation=checked_labels([c.key for c in project.categories.order_by("key")]),
        report="<!doctype html><title>Labels</title>",
    )
    ModelVersion.objects.create(
        project=project, number=2, encoder_sha="e" * 64, manifest_sha="d" * 64, kind="linear", stage=Stage.REJECTED, parent=version,
        lineage={"labels": 5, "data": snapshot.sha256},
        metrics={"test_accuracy": {"value": 0.88, "low": 0.82, "high": 0.92}, "test_ece": 0.07},
        gates=[{"name": "not_worse", "passed": False, "value": -0.034, "threshold": 0.0, "detail": "Worse than v1 by 3.4 points."}],
    )  # fmt: skip
    Job.objects.create(kind="train", project=project, state="running", progress=0.42, stage="fitting the ridge head", attempt=2,
                       errors=["Attempt 1: the worker stopped answering."], token=uuid.uuid4(), started_at=now)  # fmt: skip
    return version


def add_categories(project: Project, n: int) -> None:
    """More than number keys reach."""
    rows = [{"key": f"extra-{i}", "name": f"Extra {i}", "description": ""} for i in range(n)]
    services_add(project_id=project.pk, categories=rows)


def take_over(project: Project, *others: User) -> None:
    """Others answer the first item, whose lease has run out, until nothing is left to answer."""
    task = LabelTask.objects.order_by("-priority", "pk")[0]
    for person in others:
        lease = queue.claim(project_id=project.pk, annotator_id=person.pk, roles=[SlotRole.ANNOTATOR], seconds=600)
        assert lease is not None
        assert lease.task_id == task.pk
        given = services.Answer(task_id=task.pk, annotator_id=person.pk, token=lease.token, category="refund")
        services.annotate(project_id=project.pk, answer=given)


def make_keys(shop: Project) -> None:
    """Keys in every state, one for web pages, and an issuer of tokens."""
    app = ClientApp.objects.create(project=shop, name="help-centre")
    first, _ = keys.create_key(app=ClientApp.objects.get(project=shop, name="default"), scopes=list(keys.SCOPES))
    ApiKey.objects.filter(pk=first.pk).update(last_used_at=timezone.now() - timedelta(minutes=3))
    keys.rotate_key(key_id=first.pk, overlap=timedelta(days=7))
    keys.create_public_key(app=app, origins=["https://help.hanabi.example", "https://www.hanabi.example"])
    gone, _ = keys.create_key(app=app, scopes=["labels:read"])
    keys.revoke_key(key_id=gone.pk)
    TokenIssuer.objects.create(
        app=app, issuer="https://login.hanabi.example", audience="enso", scopes=["labels:read"],
        jwks_url="https://login.hanabi.example/jwks.json",
    )  # fmt: skip


def make_webhooks(shop: Project) -> None:
    """A webhook that works, and one that was paused after its receiver stayed away."""
    now, address = timezone.now(), "https://hooks.hanabi.example"
    secret = vault.seal_text("not-sent-in-tests")
    works = Webhook.objects.create(project=shop, url=f"{address}/labels", kinds=["label.resolved"], secret=secret)
    Webhook.objects.create(
        project=shop, url=f"{address}/desk", kinds=["escalation.opened", "escalation.resolved"], secret=secret, active=False
    )  # fmt: skip
    for event, state, status, error in (
        ("e-1", "delivered", 204, ""),
        ("e-2", "dead", None, "The receiver did not answer."),
    ):
        Notice.objects.create(webhook=works, event=event, kind="label.resolved", body="{}", state=state, attempts=3,
                              due_at=now, status=status, error=error)  # fmt: skip


def try_version(project: Project, control: ModelVersion) -> Rollout:
    """A second version at 5 %, five days after it began, and a third that was rolled back before."""
    now = timezone.now()
    versions = [
        ModelVersion.objects.create(
            project=project, number=n, encoder_sha=control.encoder_sha, manifest_sha=str(n) * 64, kind="ridge", parent=control,
            stage=stage, lineage={"labels": 40 * n, "data": str(n) * 64}, gates=control.gates,
            metrics={"test_accuracy": {"value": 0.9 + n / 200, "low": 0.87, "high": 0.96}, "test_ece": 0.028},
        )
        for n, stage in ((3, Stage.REJECTED), (4, Stage.STAGING))
    ]  # fmt: skip
    shared = {
        "project": project,
        "encoder_sha": control.encoder_sha,
        "control": control,
        "plan": list(STEPWISE),
        "salt": "s",
    }
    harm = {"code": "harm", "metric": "accuracy", "p_value": 0.013}
    Rollout.objects.create(
        **shared, candidate=versions[0], state="rolled_back", step=1, reason=harm, ended_at=now - timedelta(days=7)
    )
    lacks = [{"code": "customers", "seen": 118, "needed": 200}]
    rollout = Rollout.objects.create(
        **shared,
        candidate=versions[1],
        step=2,
        limits=dataclasses.asdict(Limits()),
        reason={"code": "wait", "lacks": lacks},
    )
    for number, share in enumerate(STEPWISE[:3]):
        rollout.steps.create(number=number, percent=share, customers=118 if number == 2 else 240, looks=2)
    _show_evidence(rollout)
    return rollout


def _show_evidence(rollout: Rollout) -> None:
    seen = {m.name: blank() for m in WATCHED}
    for day in range(5):
        n = 40 + 20 * day
        for m in WATCHED:
            rate = 0.84 if m.name == "accuracy" else m.baseline * 1.1
            total = (15.0 * n, 12.0 * n) if m.kind == "mean" else (round(rate * n), round(m.baseline * n))
            arms = [Tally(n, t, 6000.0 * n) for t in total]
            seen[m.name] = observe(m, seen[m.name], *arms)
        parts = {m.name: float(e_value(m, seen[m.name])) for m in WATCHED}
        at = timezone.now() - timedelta(days=5 - day)
        rollout.looks.create(
            at=at, step=min(day, 2), action="hold", e_value=sum(parts.values()) / len(parts), parts=parts
        )
    for name, evidence in seen.items():
        RolloutEvidence.objects.create(rollout=rollout, metric=name, stored=evidence.as_json(), until=timezone.now())


TOPICS: list[tuple[str, list[str], int, str]] = [
    ("", ["tracking", "parcel", "not moved"], 64, "The tracking of my parcel has not moved for a week."),
    ("Double charge", ["charged twice", "bank statement", "card"], 41, "I was charged twice for one order."),
    ("", ["qr code", "leaflet", "online banking"], 23, "The QR code on the leaflet asks for my online banking password."),
    ("", ["crack", "teapot", "packaging"], 36, "The packaging was thin and the teapot has a crack."),
    ("", ["password", "reset link", "expired"], 30, "The reset link has expired before I could open it."),
    ("", ["返金", "振込", "手数料"], 27, "返金の振込手数料は誰が払うのですか。"),
    ("", ["invoice", "vat number", "correction"], 19, "Please correct the VAT number on my invoice."),
    ("", ["coupon", "checkout", "not accepted"], 16, "The coupon is not accepted at the checkout."),
]  # fmt: skip


def make_topics(project: Project, lead: User | None = None, *, topics: int = len(TOPICS)) -> list[Topic]:
    """A map after its second run, in which one topic was born: comments around eight places."""
    now, draw = timezone.now(), random.Random(5)
    common = {"project": project, "encoder_sha": "e" * 64}
    runs = [
        TopicRun.objects.create(
            **common, kind=kind, seed=i, reference_sha="0" * 64, texts=256, new_texts=40, topics=topics, noise=21,
            created_at=now,
        )
        for i, kind in enumerate(("fit", "extend"))
    ]  # fmt: skip
    first = Topic.objects.filter(project=project).count()
    made = []
    for i in range(topics):
        name, words, size, text = TOPICS[i % len(TOPICS)]
        at = (3.6 * math.cos(i * 2.4) * (0.4 + i / 8), 3.0 * math.sin(i * 2.4) * (0.4 + i / 8))
        born = i == 2
        topic = Topic.objects.create(
            **common, number=first + i + 1, name=name, keywords=words, size=size, slot=i % 8, born_at=now,
            born_in=runs[born], x=at[0], y=at[1], owner=lead if i == 1 else None, pinned=i == 1, muted=i == 7,
            growth=2.7 if born else 1.0, growth_z=4.1 if born else 0.3, negative=0.6, negative_low=0.4, negative_high=0.77,
            sentiment=-0.4, trend=[max(0, (d - 18 if born else 3) + draw.randint(-2, 3)) for d in range(28)],
        )  # fmt: skip
        topic.events.create(kind="birth", run=runs[born])
        if name:
            topic.events.create(kind="rename", actor=lead)
        made.append(topic)
        _fill_topic(topic, text, at, draw)
    return made


def _fill_topic(topic: Topic, text: str, at: tuple[float, float], draw: random.Random) -> None:
    now = timezone.now()
    events = Event.objects.bulk_create(
        [Event(project=topic.project, inquiry_ref=f"t-{topic.pk}-{k}", kind="comment", request_sha=b"0" * 32, occurred_at=now,
               text=text if k % 3 else f"{text} ({k})") for k in range(topic.size)]
    )  # fmt: skip
    members = TopicMember.objects.bulk_create(
        [TopicMember(project=topic.project, encoder_sha=topic.encoder_sha, event=e, topic=topic, said_at=now, vector=b"0", settled=True,
                     x=draw.gauss(at[0], 0.42), y=draw.gauss(at[1], 0.42), distance=draw.random() / 2) for e in events]
    )  # fmt: skip
    Topic.objects.filter(pk=topic.pk).update(representatives=[m.pk for m in members[:4]])
