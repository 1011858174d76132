"""A missed target is announced once, by event and by mail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from feedback import outbox
from feedback.models import OutboxEvent, OutboxState, Project, Role, User
from labeling import case_resolving, escalations, services
from labeling.breaches import alert_breaches
from labeling.case_models import EntryKind, ServiceLevel
from labeling.escalations import Hand
from labeling.models import Escalation
from tests.browser.scene import inquire
from tests.conftest import make_person


@pytest.fixture
def case(project: Project) -> Escalation:
    ServiceLevel.objects.create(project=project, targets={"normal": [10, 60]}, alert_emails=["desk@example.org"])
    return services.open_escalation(inquiry=inquire(project, "A secret of mine"), reasons=[{"code": "app"}])


@pytest.fixture
def agent(project: Project) -> User:
    return make_person(project, "agent", Role.AGENT)


@pytest.fixture
def in_minutes() -> Iterator[Any]:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        start = timezone.now()
        yield lambda n: clock.move_to(start + timedelta(minutes=n))


def breaches() -> list[str]:
    rows = OutboxEvent.objects.filter(kind="escalation.breached").order_by("pk")
    return [p["clock"] for p in rows.values_list("payload", flat=True)]


def test_each_clock_is_announced_once_however_often_beat_looks(case: Escalation, in_minutes: Any) -> None:
    in_minutes(5)
    assert alert_breaches() == 0
    for _ in range(3):
        in_minutes(11)
        alert_breaches()
    assert breaches() == ["first_response"]
    in_minutes(61)
    assert (alert_breaches(), alert_breaches()) == (1, 0)
    assert breaches() == ["first_response", "resolution"]
    assert case.entries.filter(kind=EntryKind.BREACHED).count() == 2


def test_a_reply_in_time_misses_nothing(case: Escalation, agent: User, in_minutes: Any) -> None:
    case_resolving.reply(Hand(case.project_id, case.pk, case.version, agent.pk), text="We are on it.")
    in_minutes(30)
    assert alert_breaches() == 0


def test_a_resolved_case_misses_nothing(case: Escalation, agent: User, in_minutes: Any) -> None:
    how = case_resolving.Resolution(category="refund", reply="Done.")
    case_resolving.resolve(Hand(case.project_id, case.pk, case.version, agent.pk), how=how)
    in_minutes(600)
    assert alert_breaches() == 0


def test_the_mail_goes_to_the_desk_and_the_owner_once_and_tells_nothing_of_the_customer(
    case: Escalation, agent: User, in_minutes: Any
) -> None:
    User.objects.filter(pk=agent.pk).update(email="agent@example.org")
    escalations.assign(Hand(case.project_id, case.pk, case.version, agent.pk), to_id=agent.pk)
    in_minutes(11)
    alert_breaches()
    outbox.relay()
    outbox.relay()
    assert [m.to for m in mail.outbox] == [["agent@example.org", "desk@example.org"]]
    assert f"/p/shop/cases/{case.pk}" in mail.outbox[0].body
    assert "secret" not in mail.outbox[0].body + mail.outbox[0].subject


def test_a_mail_server_that_is_away_delays_the_mail_and_loses_nothing(
    case: Escalation, in_minutes: Any, settings: Any
) -> None:
    in_minutes(11)
    alert_breaches()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 1  # nobody listens there
    outbox.relay()
    event = OutboxEvent.objects.get(kind="escalation.breached")
    assert (event.state, event.attempts) == (OutboxState.PENDING, 1)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    in_minutes(20)
    outbox.relay()
    event.refresh_from_db()
    assert (event.state, len(mail.outbox)) == (OutboxState.DONE, 1)


def test_without_anybody_to_tell_the_event_is_all(case: Escalation, in_minutes: Any) -> None:
    ServiceLevel.objects.update(alert_emails=[])
    in_minutes(11)
    assert alert_breaches() == 1
    outbox.relay()
    assert mail.outbox == []
