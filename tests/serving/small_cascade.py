"""A cascade at a small size, of real parts: a tiny transformer as teacher, a student distilled from it, a head for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from feedback.models import Inquiry, Project, Status
from feedback.recording import NewInquiry, inquiry_columns
from learning.core.distill import DistillConfig, distill, write_student
from learning.core.encoder_export import export_encoder
from learning.core.encoder_source import local_source
from learning.core.export import head_graph
from learning.core.heads.features import FeatureMap
from serving import registry, students
from serving.artifacts import write_bundle
from serving.encoder import OnnxEncoder
from serving.head import BIAS, GRAPH, WEIGHTS, npy_bytes
from serving.models import Cascade, ModelVersion, Student
from serving.served import served
from tests.learning.core.tiny_bert import WORDS, bert_tensors, write_checkpoint

SMALL = DistillConfig(width=32, hidden=32, epochs=12, batch=32, learning_rate=1e-2, least_count=1)
KNOWN = "my parcel is late"
NOVEL = "zebra quartz violin"  # no word of the teacher's vocabulary
NAME = "tiny-teacher"


# Categories in the teacher's own words, so that it can tell their texts apart without a label.
CATEGORIES = [
    {"key": "refund", "name": "Money back", "examples": ["money back please", "please my money back"]},
    {"key": "delivery", "name": "My parcel is late", "examples": ["my parcel is late", "a parcel is late"]},
    {"key": "order", "name": "Where is my order", "examples": ["where is my order", "where a order is"]},
]


def sentences(n: int, seed: int = 0) -> list[str]:
    """Distinct sentences of the teacher's words, none of them twice in one."""
    rng, found = np.random.default_rng(seed), dict[str, None]()
    while len(found) < n:
        found[" ".join(rng.choice(WORDS[4:], rng.integers(4, 9), replace=False))] = None
    return list(found)


def stammered(text: str) -> str:
    """The same words, each three times: every word is known, and a third of the pairs was never seen."""
    return " ".join(w for word in text.split() for w in [word] * 3)


def write_teacher(root: Path) -> Path:
    """The folder of encoders that holds the teacher: random weights that do not hear the order of words, so that a student can
    learn in a second what takes real text a minute."""
    tensors = bert_tensors(np.random.default_rng(5))
    tensors["embeddings.position_embeddings.weight"] *= 0
    source = local_source(write_checkpoint(root / "checkpoint", tensors))
    export_encoder(source, root / "encoders" / NAME, variant="fp32", name=NAME)
    return root / "encoders"


def use_teacher(encoders: Path, settings: Any) -> OnnxEncoder:
    """Let this process serve with the teacher in that folder."""
    settings.ENSO_ENCODERS, settings.ENSO_ENCODER = encoders, NAME
    served._encoders.pop(NAME, None)
    teacher = served.encoder(NAME)
    assert isinstance(teacher, OnnxEncoder)
    return teacher


def store(project: Project, texts: list[str]) -> list[Inquiry]:
    news = [NewInquiry(text=text, request_sha=b"", locale="en") for text in texts]
    columns = [
        inquiry_columns(
            project_id=project.pk, app_id=None, new=new, status=Status.RESOLVED, category_id=None, reply_id=None
        )
        for new in news
    ]
    return Inquiry.objects.bulk_create(Inquiry(**c) for c in columns)


def make_student(project: Project, teacher: OnnxEncoder, encoders: Path) -> Student:
    """Distilled on sentences and in production, as the job leaves it."""
    texts, tokenizer = sentences(300), encoders / NAME / "tokenizer.json"
    made = distill(
        texts, teacher.encode(texts), teacher=teacher, tokenizer=tokenizer, rng=np.random.default_rng(0), config=SMALL
    )
    aside = students.folder("x").with_name("aside")
    aside.parent.mkdir(parents=True, exist_ok=True)
    sha = write_student(made, aside, name="student", teacher=teacher, tokenizer=tokenizer, texts_sha256="0")
    aside.rename(students.folder(sha))
    row = Student(
        project_id=project.pk, teacher_sha=teacher.sha256, encoder_sha=sha, texts=len(texts), texts_sha="0" * 64
    )
    return students.register(row, passed=True)


def make_head(project: Project, settings: Any, encoder: Any, *, sharp: float = 0.02, name: int = 0) -> ModelVersion:
    """A head in production that says for each category how near a sentence of its own is."""
    keys = list(served.desk(project.pk).categories)
    x = encoder.encode(["money back please", KNOWN, "where is a a a order"])[: len(keys)]
    bundle = write_bundle(
        Path(settings.ENSO_ARTIFACTS),
        {GRAPH: head_graph(FeatureMap(encoder.dim)), WEIGHTS: npy_bytes(x.T), BIAS: npy_bytes(np.zeros(len(keys)))},
        {"kind": "linear", "categories": keys, "encoder_sha256": encoder.sha256, "temperature": sharp, "seed": name},
    )
    version = registry.register(project_id=project.pk, bundle=bundle, encoder_sha=encoder.sha256)
    return registry.promote(version_id=version.pk)


def put_before(
    student: Student, fast: ModelVersion, slow: ModelVersion, *, least_sure: float = 0.0, least_known: float = 0.5
) -> Cascade:
    return Cascade.objects.create(
        student=student, fast=fast, slow=slow, least_sure=least_sure, least_known=least_known, margin=0.001, up_share=0.1,
        expected_loss=0.0, texts=300,
    )  # fmt: skip
