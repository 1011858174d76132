"""Three weeks of drift checks: steady, unusual, then a new kind of problem; with the verdict and the guard that go with them."""

from __future__ import annotations

from datetime import date, timedelta

from django.utils import timezone

from feedback.models import Inquiry, Project
from learning.models import DriftReference, DriftReport, DriftState, GuardReport, RetrainingVerdict
from tests.browser import scene

NEW = (
    "The app says my loyalty points are frozen until I scan my passport. Since when?",
    "I was asked for a photo of my ID before I could return the shoes.",
    "ポイントを使おうとしたら本人確認の写真を求められました。なぜですか。",
    "Why do you need my passport to send a parcel back?",
    "It wants a selfie with my identity card. I will not do that.",
)
P_VALUES = (0.62, 0.31, 0.84, 0.44, 0.2, 0.71, 0.55, 0.12, 0.38, 0.047, 0.21, 0.14, 0.0009, 0.0008)


def watch(project: Project) -> DriftReport:
    """Reports day by day; the last one with texts, slices and moved shares."""
    now = timezone.now()
    reference = DriftReference.objects.create(
        project=project, encoder_sha="e" * 64, sha256="5f3a" * 16, embeddings_sha256="b" * 64, size=8000, labels=2100,
        upto=now - timedelta(days=15),
    )  # fmt: skip
    ids = [
        scene.inquire(project, text, locale="ja" if "。" in text else "en", shares={"account": 0.46, "refund": 0.3}).pk
        for text in NEW
    ]
    rows = []
    for n, p in enumerate(P_VALUES):
        at = now - timedelta(days=len(P_VALUES) - 1 - n)
        rows.append(report(project, reference, p, at=at, ids=ids if n == len(P_VALUES) - 1 else []))
    judge(project, now)
    measure_loop(project, now)
    return rows[-1]


def state_of(p: float) -> DriftState:
    return DriftState.CRITICAL if p < 0.00167 else DriftState.WARNING if p <= 0.05 else DriftState.STEADY


def report(project: Project, reference: DriftReference, p: float, *, at, ids: list) -> DriftReport:
    made = DriftReport.objects.create(
        project=project, reference=reference, encoder_sha="e" * 64, trigger="daily", window="c" * 64, begins=at - timedelta(hours=20),
        ends=at, n=500, looks=30, resamples=1200, level=0.05 / 30, state=state_of(p), statistic=41.7 if p < 0.01 else 2.1,
        threshold=18.4, p_value=p, parts={"novelty": 3.1, "novel_density": 5.4, "cell_shares": 1.7}, detectors=DETECTORS,
        slices=SLICES, signals={"input": 0.0016, "prediction": 0.06, "label": 0.41, "concept": 0.33, "calibration": 0.02},
        kinds=["input", "lead"] if p < 0.01 else ["none"], shifts=SHIFTS, cpu_seconds=11.0,
        examples=[{"inquiry": str(pk), "p": 0.0025, "companions": 9 - n} for n, pk in enumerate(ids)],
    )  # fmt: skip
    DriftReport.objects.filter(pk=made.pk).update(created_at=at)
    return made


DETECTORS = [
    {"name": name, "value": value, "p": p, "drifted": p <= 0.05, "part": False}
    for name, value, p in (
        ("novelty_share", 0.11, 0.004), ("centroid", 0.083, 0.21), ("mmd", 0.061, 0.34), ("psi", 0.14, 0.62), ("ks", 0.09, 0.71),
        ("prediction_kl", 0.024, 0.18),
    )
]  # fmt: skip
SLICES = [
    {"by": "locale", "value": "en", "n": 341, "p": 0.008, "drifted": True},
    {"by": "locale", "value": "ja", "n": 159, "p": 0.12, "drifted": False},
    {"by": "channel", "value": "e-mail", "n": 402, "p": 0.03, "drifted": True},
    {"by": "category", "value": "account", "n": 96, "p": 0.008, "drifted": True},
]
SHIFTS = [
    {"category": "account", "window": 0.19, "reference": 0.11, "z": 5.3},
    {"category": "refund", "window": 0.22, "reference": 0.27, "z": -2.4},
    {"category": "delivery", "window": 0.31, "reference": 0.33, "z": -0.9},
]


def judge(project: Project, now) -> RetrainingVerdict:
    begun = (now - timedelta(days=15)).date()
    points = [{"day": d, "correct": round(40 * (0.83 + 0.09 * 0.93**d)), "n": 40} for d in range(15)]
    return RetrainingVerdict.objects.create(
        project=project, retrain=False, reason="healthy", critical_in_a_row=2, days_since_training=14.6,
        now={"value": 0.874, "lower": 0.84, "upper": 0.903, "n": 300, "effective_n": 300.0, "drawn": 340},
        before={"value": 0.913, "lower": 0.88, "upper": 0.94, "n": 200, "effective_n": 200.0},
        decay={"start": 0.921, "floor": 0.828, "rate": 0.071, "since": begun.isoformat(), "reached": 0.9, "points": points},
        expected_on=date.fromordinal(begun.toordinal() + 20), earliest_on=date.fromordinal(begun.toordinal() + 17),
        latest_on=date.fromordinal(begun.toordinal() + 31),
        monitors=[
            {"name": "guard", "chance": 0.12, "value": 60.0, "cost": 0.001, "worth": 7200.0, "pays": True},
            {"name": "input", "chance": 0.16, "value": 60.0, "cost": 0.006, "worth": 1600.0, "pays": True},
            {"name": "audit", "chance": 0.08, "value": 60.0, "cost": 22.0, "worth": 0.22, "pays": False},
        ],
    )  # fmt: skip


def measure_loop(project: Project, now) -> None:
    shares = {"refund": 0.24, "delivery": 0.33, "damaged": 0.12, "account": 0.17, "invoice": 0.09, "fraud": 0.05}
    training = {"refund": 0.31, "delivery": 0.36, "damaged": 0.1, "account": 0.11, "invoice": 0.08, "fraud": 0.04}
    for n, alpha in enumerate((0.08, 0.11, 0.16, 0.24, 0.31, 0.42)):
        made = GuardReport.objects.create(
            project=project, encoder_sha="e" * 64, labels=1500 + 120 * n, alpha=alpha, lower=alpha - 0.05, upper=alpha + 0.09,
            own=0.0, seen=0.62, ceiling=0.57, copy_rate=alpha / 0.62, exposure=0.12, eigenvalue=alpha * 1.9, power=1.9,
            shares=shares, training_shares=training, audited=300, bound=0.5, guarded=n == 5, ceiling_guarded=0.5 if n == 5 else None,
            alarms=["alpha", "exposure"] if n == 5 else [],
        )  # fmt: skip
        GuardReport.objects.filter(pk=made.pk).update(created_at=now - timedelta(days=15 - 3 * n))


def grow(project: Project, n: int) -> None:
    """`n` more checks, each with an example and a measured loop."""
    now = timezone.now()
    first = DriftReport.objects.filter(project=project).count()
    reference, _ = DriftReference.objects.get_or_create(
        project=project, sha256="a" * 64,
        defaults={"encoder_sha": "e" * 64, "embeddings_sha256": "b" * 64, "size": 400, "labels": 0, "upto": now},
    )  # fmt: skip
    inquiries = [scene.inquire(project, f"Odd {first + i}", shares={"refund": 0.5}) for i in range(n)]
    assert Inquiry.objects.filter(project=project).exists()
    report(project, reference, 0.001, at=now, ids=[i.pk for i in inquiries])
    for i in range(n):
        report(project, reference, 0.5, at=now - timedelta(minutes=first + i + 1), ids=[])
    judge(project, now)
    measure_loop(project, now)
