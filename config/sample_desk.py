"""The sample desk of `make demo`: a project from the sample grammar, people with printed passwords, a key."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from django.db import transaction

from config import embedded
from feedback.keys import SCOPES, cache, create_key
from feedback.models import ApiKey, ClientApp, Membership, Project, Role, User
from feedback.services import add_reply, create_project
from labeling.quality_models import Qualification
from learning.models import DriftSettings, GateSettings
from learning.sample.grammar import CATEGORIES, replies
from serving.models import RolloutSettings

SLUG = "demo"
LOCALES = ("en", "ja")
# A quarter, so that ten minutes of traffic say how accurate the answers are; a desk at work draws a few in a hundred.
AUDITED = 0.25
PEOPLE: dict[str, list[str]] = {
    "annotator1": [Role.ANNOTATOR],
    "annotator2": [Role.ANNOTATOR],
    "expert": [Role.EXPERT, Role.ANNOTATOR],
    "agent": [Role.AGENT],
    "lead": [Role.LEAD, Role.ADMIN, Role.EXPERT, Role.ANNOTATOR, Role.AGENT],
    # These are moved by the story (config/demo), so that a visitor's own work is not in their way.
    "sample1": [Role.ANNOTATOR],
    "sample2": [Role.ANNOTATOR],
    "sample3": [Role.EXPERT],
    "sample4": [Role.ANNOTATOR],
    "sample5": [Role.ANNOTATOR],
    "sample6": [Role.LEAD],
    "sample7": [Role.ANNOTATOR],
    "sample8": [Role.ANNOTATOR],
}
# Who reads what: English must not wait until the Japanese, which the first model knows worse, are all labeled.
READERS = {"en": ("sample1", "sample2", "sample4", "sample5"), "ja": ("sample7", "sample8")}


@dataclass(frozen=True)
class SampleDesk:
    """Sign-ins (username → password, roles) and the API key, as they are printed."""

    people: dict[str, tuple[str, list[str]]]
    key: str


def load() -> SampleDesk:
    """Make the desk, or find the one that was made before; its secrets are kept beside the data, readable by the owner only."""
    if not Project.objects.filter(slug=SLUG).exists():
        with transaction.atomic():
            _make_project()
    secrets_file = embedded.home() / "demo.json"
    known = json.loads(secrets_file.read_text()) if secrets_file.exists() else None
    if known is None or not _still_valid(known["key"]):
        desk = _make_secrets()
        _write_private(secrets_file, json.dumps(asdict(desk)))
        return desk
    return SampleDesk({u: (p, r) for u, (p, r) in known["people"].items()}, known["key"])


def _make_project() -> None:
    categories = [
        {
            "key": c.key, "name": c.name["en"], "names": {"ja": c.name["ja"]},
            "description": " ".join(c.description[lo] for lo in LOCALES), "high_risk": c.high_risk,
            "examples": [e for lo in LOCALES for e in c.examples[lo]],
            "guideline": "\n".join(c.guideline[lo] for lo in LOCALES),
        }
        for c in CATEGORIES
    ]  # fmt: skip
    project = create_project(
        slug=SLUG, name="Sample desk", categories=categories, overlap=2, retrain_after_labels=90, audit_rate=AUDITED
    )
    # The first model learns from 90 labels, and later a new kind of problem is two fifths of all inquiries: a gate made for
    # a desk at work takes either for a model that has lost its balance.
    GateSettings.objects.create(project=project, thresholds={"distribution": 2.0})
    DriftSettings.objects.create(project=project, check_after=100, audited=50)
    RolloutSettings.objects.create(
        project=project, mode=RolloutSettings.Mode.STEPWISE, minimum_per_arm=20, minimum_audited=0, look_minutes=1
    )
    for category in project.categories.all():
        for locale in LOCALES:
            for slot, text in enumerate(replies(category.key, locale), 1):
                add_reply(category_id=category.pk, locale=locale, text=text, slot=slot)


def _make_secrets() -> SampleDesk:
    project = Project.objects.get(slug=SLUG)
    people = {}
    for username, roles in PEOPLE.items():
        password = secrets.token_urlsafe(9)
        user, _ = User.objects.get_or_create(username=username)
        user.set_password(password)
        user.save()
        for role in roles:
            Membership.objects.get_or_create(user=user, project=project, role=role)
        people[username] = (password, [str(r) for r in roles])
        for locale, readers in READERS.items():
            if username in readers:
                Qualification.objects.get_or_create(annotator=user, project=project, defaults={"languages": [locale]})
    _, secret = create_key(app=ClientApp.objects.get(project=project, name="default"), scopes=list(SCOPES))
    return SampleDesk(people, secret)


def _still_valid(secret: str) -> bool:
    cache.clear()
    return cache.get(secret) is not None and ApiKey.objects.exists()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
