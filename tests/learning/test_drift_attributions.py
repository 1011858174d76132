"""What the model decides by is compared with the reference of the version that serves."""

from __future__ import annotations

import pytest

from feedback.models import Project
from feedback.services import NewInquiry, record_inquiry
from learning.models import DriftSettings
from learning.sample.grammar import emerging, generate
from tests.learning.drift_world import checked

pytestmark = pytest.mark.django_db


def ask(project: Project, texts: list[str], name: str) -> None:
    for n, text in enumerate(texts):
        new = NewInquiry(text=text, request_sha=b"0" * 32, external_id=f"{name}-{n}", locale="en")
        record_inquiry(project_id=project.pk, app_id=None, new=new, status="answered", category_id=None, reply_id=None)


def reasons(project: Project) -> dict[str, float]:
    return next(d for d in checked(project).detectors if d["name"] == "attribution_ks")


@pytest.mark.usefixtures("small_heads")
def test_a_new_kind_of_problem_is_answered_for_other_reasons_than_usual(shop: Project) -> None:
    DriftSettings.objects.create(project=shop, reference_size=200, check_after=50, false_alarms=0.5)
    ask(shop, [t for t, _ in generate(170, seed=5)], "usual")
    calm = reasons(shop)
    ask(shop, emerging(100, seed=1), "new")
    shifted = reasons(shop)
    assert not calm["drifted"]
    assert shifted["drifted"]
    assert shifted["value"] > calm["value"]
    assert not shifted["part"]
