from __future__ import annotations

import doctest
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from feedback import notices, outbox, signatures, webhooks
from feedback.models import Notice, NoticeState, OutboxEvent, Role, Webhook
from feedback.problems import Problem
from labeling import services as labeling_services
from labeling.models import LabelSource
from tests.browser.scene import close_case, inquire
from tests.conftest import make_key, make_person
from tests.servers import ROOT


class Receiver:
    """A real HTTP server on this machine that answers as it is told and keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.arrived = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                receiver.arrived.set()
                receiver.hold.wait(30)
                status = receiver.answers.pop(0) if receiver.answers else 204
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver(settings):
    settings.ENSO_OUTBOUND_ALLOW = ["127.0.0.1"]
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hook(project, receiver):
    return webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=sorted(webhooks.kinds))


@pytest.fixture
def label(project):
    """An inquiry that is labeled as delivery, with its events."""

    def settle(text="Where is it?"):
        inquiry = inquire(project, text)
        category = project.categories.get(key="delivery")
        labeling_services.settle_label(inquiry=inquiry, category_id=category.pk, source=LabelSource.SINGLE)
        outbox.relay()
        return inquiry

    return settle


def due_now() -> None:
    Notice.objects.update(due_at=timezone.now() - timedelta(seconds=1), held_until=None)
    Webhook.objects.update(open_until=None)


pytestmark = pytest.mark.django_db


class TestSignature:
    def test_its_worked_example_holds(self):
        assert doctest.testmod(signatures).failed == 0

    @given(st.binary(), st.text(), st.integers(0, 2**40), st.integers(-300, 300))
    def test_what_was_signed_is_verified_within_five_minutes(self, body, secret, at, off):
        header = signatures.sign(body, secrets=["other", secret], at=at)
        assert signatures.verified(body, header, secret=secret, now=at + off)
        assert not signatures.verified(body, header, secret=secret, now=at + 301)
        assert not signatures.verified(body + b"x", header, secret=secret, now=at)
        assert not signatures.verified(body, header, secret=secret + "x", now=at)

    @given(st.binary(), st.text())
    def test_no_header_that_was_made_up_is_verified(self, body, header):
        assert not signatures.verified(body, header, secret="s", now=0)


def test_a_label_is_told_once_with_ids_and_without_text(hook, receiver, label):
    inquiry = label()
    assert notices.send_due() == Notice.objects.count() == 2
    told = {json.loads(body)["type"]: json.loads(body) for _, body in receiver.got}
    assert set(told) == {"label.resolved", "inquiry.resolved"}
    data = told["label.resolved"]["data"]
    assert data == {
        "inquiry": str(inquiry.pk),
        "external_id": inquiry.external_id,
        "category": "delivery",
        "source": "single",
        "revision": 1,
    }
    assert "Where is it?" not in "".join(Notice.objects.values_list("body", flat=True))
    assert notices.send_due() == 0


def test_the_request_is_signed_and_names_its_event(hook, receiver, label):
    label()
    notices.send_due()
    headers, body = receiver.got[0]
    assert signatures.verified(body, headers["Enso-Signature"], secret=hook[1], now=time.time())
    assert headers["Enso-Event-Id"] == json.loads(body)["id"]
    assert headers["Enso-Event"] == json.loads(body)["type"]


def test_while_a_secret_is_rotated_both_sign(hook, receiver, label, project):
    _, fresh = webhooks.rotate_secret(project_id=project.pk, webhook_id=hook[0].pk)
    label()
    notices.send_due()
    headers, body = receiver.got[0]
    for secret in (hook[1], fresh):
        assert signatures.verified(body, headers["Enso-Signature"], secret=secret, now=time.time())
    Webhook.objects.update(old_secret_until=timezone.now() - timedelta(seconds=1))
    assert len(webhooks.secrets_of(Webhook.objects.get())) == 1


def test_only_the_kinds_that_were_chosen_are_told(project, receiver, label):
    webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["inquiry.resolved"])
    label()
    assert list(Notice.objects.values_list("kind", flat=True)) == ["inquiry.resolved"]


def test_events_of_another_project_are_not_told(other_project, receiver, label):
    webhooks.create(project_id=other_project.pk, url=receiver.url, kinds_told=sorted(webhooks.kinds))
    label()
    assert not Notice.objects.exists()


def test_escalations_are_told_when_they_open_and_when_they_are_answered(hook, project, receiver):
    agent = make_person(project, "agent", Role.AGENT)
    inquiry = inquire(project, "I am angry")
    opened = labeling_services.open_escalation(inquiry=inquiry, reasons=[{"code": "angry"}], priority=1.0)
    labeling_services.open_escalation(inquiry=inquiry, reasons=[{"code": "angry"}], priority=1.0)
    close_case(opened, agent, reply="Sorry.")
    outbox.relay()
    notices.send_due()
    told = [json.loads(body) for _, body in receiver.got]
    kinds = [t["type"] for t in told]
    assert kinds.count("escalation.opened") == kinds.count("escalation.resolved") == 1
    assert next(t for t in told if t["type"] == "escalation.opened")["data"]["reasons"] == ["angry"]


def test_a_relay_that_runs_again_makes_no_second_notice(hook, label):
    label()
    OutboxEvent.objects.update(state="pending")
    outbox.relay()
    assert Notice.objects.count() == 2


def test_a_failed_attempt_waits_by_the_schedule_and_is_tried_again(project, receiver, label):
    webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["label.resolved"])
    label()
    receiver.answers = [500]
    before = timezone.now()
    notices.send_due()
    notice = Notice.objects.get()
    assert (notice.state, notice.status, notice.attempts, notice.error) == (
        NoticeState.PENDING,
        500,
        1,
        "It answered 500.",
    )
    waits = (notice.due_at - before).total_seconds()
    assert notices.SCHEDULE[0] <= waits
    assert notices.send_due() == 0
    due_now()
    notices.send_due()
    notice.refresh_from_db()
    assert (notice.state, notice.attempts) == (NoticeState.DELIVERED, 2)
    assert len({h["Enso-Event-Id"] for h, _ in receiver.got}) == 1


@given(st.integers(1, len(notices.SCHEDULE)))
def test_each_pause_is_that_of_the_schedule_and_at_most_a_fifth_more(tries):
    assert notices.SCHEDULE[tries - 1] <= notices.delay(tries) <= notices.SCHEDULE[tries - 1] * 1.2


def test_after_the_last_attempt_a_notice_is_dead_and_can_be_replayed(project, receiver, label):
    made, _ = webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["label.resolved"])
    label()
    receiver.answers = [503] * (len(notices.SCHEDULE) + 1)
    for _ in range(len(notices.SCHEDULE) + 1):
        due_now()
        assert notices.send_next()
    assert Notice.objects.get().state == NoticeState.DEAD
    due_now()
    assert not notices.send_next()
    assert webhooks.replay(project_id=project.pk, webhook_id=made.pk) == 1
    due_now()
    notices.send_due()
    assert Notice.objects.get().state == NoticeState.DELIVERED
    assert len({h["Enso-Event-Id"] for h, _ in receiver.got}) == 1


def test_a_webhook_that_keeps_failing_is_left_alone_and_then_probed_once(project, receiver, label):
    webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["label.resolved"])
    for n in range(notices.TRIP + 2):
        label(f"Text {n}")
    receiver.answers = [500] * notices.TRIP
    notices.send_due()
    assert len(receiver.got) == notices.TRIP
    hook = Webhook.objects.get()
    assert hook.open_until > timezone.now()
    Webhook.objects.update(open_until=timezone.now() - timedelta(seconds=1))
    Notice.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert notices._claim() is not None
    assert notices._claim() is None
    Webhook.objects.update(open_until=None)
    notices.send_due()
    hook.refresh_from_db()
    assert (hook.failures, hook.open_until) == (0, None)


def test_a_worker_that_dies_in_the_middle_loses_nothing(project, receiver, label):
    webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["label.resolved"])
    label()
    dead = notices._claim()
    notices.attempt(dead)  # sent, and then the worker is killed before it can write that down
    assert notices.send_due() == 0
    Notice.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    assert notices.send_due() == 1
    assert len(receiver.got) == 2
    assert len({h["Enso-Event-Id"] for h, _ in receiver.got}) == 1
    notices.settle(dead, notices.Outcome(None, "late news of the dead"))
    assert Notice.objects.get().state == NoticeState.DELIVERED


SENDER = "import django; django.setup(); from feedback import notices; notices.send_due()"


@contextmanager
def sender():
    """A process of its own that sends what is due, on this test's database."""
    told = connection.settings_dict
    who = f"{told['USER']}:{quote(told['PASSWORD'])}" if told["PASSWORD"] else told["USER"]
    url = f"postgres://{who}@/{told['NAME']}?host={quote(str(told['HOST']), safe='')}&port={told['PORT']}"
    environment = {
        **os.environ, "DATABASE_URL": url, "ENSO_OUTBOUND_ALLOW": "127.0.0.1", "DJANGO_SETTINGS_MODULE": "config.settings",
    }  # fmt: skip
    started = subprocess.Popen([sys.executable, "-c", SENDER], cwd=ROOT, env=environment)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_sender_that_is_killed_before_it_knows_the_answer_leaves_the_notice_to_the_next_one(project, receiver, label):
    receiver.hold.clear()
    webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["label.resolved"])
    label()
    with sender() as first_sender:
        assert receiver.arrived.wait(60), first_sender.poll()
        # It waits for the answer now: it has claimed, and not yet marked.
        first_sender.send_signal(signal.SIGKILL)
        assert first_sender.wait(30) == -signal.SIGKILL
    receiver.hold.set()
    left = Notice.objects.get()
    assert (left.state, left.attempts, left.delivered_at) == (NoticeState.PENDING, 1, None)
    assert notices.send_due() == 0  # held still for the dead one
    Notice.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    assert notices.send_due() == 1
    assert Notice.objects.get().state == NoticeState.DELIVERED
    (first, said), (second, again) = receiver.got
    assert first["Enso-Event-Id"] == second["Enso-Event-Id"] == left.event
    assert said == again
    assert (first["Enso-Attempt"], second["Enso-Attempt"]) == ("1", "2")


def test_a_receiver_that_says_gone_is_asked_no_more(project, receiver, label):
    webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["label.resolved"])
    label()
    receiver.answers = [410]
    notices.send_due()
    assert not Webhook.objects.get().active
    due_now()
    assert notices.send_due() == 0


def test_redirects_are_not_followed(project, receiver, label):
    webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["label.resolved"])
    label()
    receiver.answers = [302]
    notices.send_due()
    assert len(receiver.got) == 1
    assert Notice.objects.get().status == 302
    assert Notice.objects.get().state == NoticeState.PENDING


def test_a_receiver_that_never_answers_costs_a_bounded_time(project, receiver, label, monkeypatch):
    monkeypatch.setattr(notices, "SECONDS", 0.3)
    webhooks.create(project_id=project.pk, url=receiver.url, kinds_told=["label.resolved"])
    label()
    receiver.hold.clear()
    notices.send_due()
    notice = Notice.objects.get()
    assert (notice.state, notice.status) == (NoticeState.PENDING, None)
    assert "did not answer" in notice.error


def test_nothing_is_sent_to_an_address_that_is_no_longer_allowed(hook, receiver, label, settings):
    label()
    settings.ENSO_OUTBOUND_ALLOW = []
    notices.send_due()
    assert receiver.got == []
    assert "ENSO_OUTBOUND_ALLOW" in Notice.objects.first().error


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x", "https://127.0.0.1/x", "https://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/",
        "https://[::ffff:10.0.0.1]/", "ftp://example.com", "https://user:secret@example.com/", "https:///x", "no url", "https://localhost/",
        "https://example.com:99999/", "https://ex ample.com/", "https://example.com/\n",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_naming_the_field(project, url):
    with pytest.raises(Problem) as refused:
        webhooks.create(project_id=project.pk, url=url, kinds_told=["label.resolved"])
    assert refused.value.field == "url"
    assert not Webhook.objects.exists()


class TestApi:
    @pytest.fixture
    def ask(self, client, key):
        def send(method, path, body=None, secret=None):
            return client.generic(
                method, f"/api/v1/{path}", "" if body is None else json.dumps(body), content_type="application/json",
                headers={"Authorization": f"Api-Key {secret or key}"},
            )  # fmt: skip

        return send

    def test_a_webhook_is_made_changed_rotated_and_removed(self, ask, receiver):
        made = ask("POST", "webhooks", {"url": receiver.url, "kinds": ["label.resolved"]})
        assert made.status_code == 201
        assert made.json()["secret"].startswith("whsec_")
        number = made.json()["id"]
        assert "secret" not in ask("GET", "webhooks").json()["webhooks"][0]
        assert ask("PATCH", f"webhooks/{number}", {"active": False}).json()["active"] is False
        assert ask("POST", f"webhooks/{number}/rotate").json()["secret"] != made.json()["secret"]
        assert ask("DELETE", f"webhooks/{number}").status_code == 204
        assert not Webhook.objects.exists()

    def test_a_second_webhook_with_the_same_url_is_a_conflict(self, ask, receiver):
        body = {"url": receiver.url, "kinds": ["label.resolved"]}
        assert [ask("POST", "webhooks", body).status_code for _ in range(2)] == [201, 409]

    @pytest.mark.parametrize("kinds", [[], ["label.settled"], "label.resolved", None])
    def test_kinds_that_do_not_exist_are_refused(self, ask, receiver, kinds):
        answer = ask("POST", "webhooks", {"url": receiver.url, "kinds": kinds})
        assert answer.status_code == 422
        assert answer.json()["field"].startswith("kinds")

    def test_dead_notices_are_listed_and_replayed(self, ask, hook, label):
        label()
        Notice.objects.update(state=NoticeState.DEAD)
        number = hook[0].pk
        listed = ask("GET", f"webhooks/{number}/notices?state=dead").json()["notices"]
        assert len(listed) == 2
        assert ask("POST", f"notices/{listed[0]['id']}/replay").json() == {"replayed": 1}
        assert ask("POST", f"webhooks/{number}/replay").json() == {"replayed": 1}
        assert not Notice.objects.filter(state=NoticeState.DEAD).exists()
        assert ask("GET", f"webhooks/{number}/notices?state=lost").status_code == 422

    def test_another_project_sees_and_changes_nothing(self, ask, hook, other_project, label):
        label()
        secret = make_key(other_project)
        number, notice = hook[0].pk, Notice.objects.first().pk
        assert ask("GET", "webhooks", secret=secret).json()["webhooks"] == []
        for method, path in [
            ("PATCH", f"webhooks/{number}"), ("DELETE", f"webhooks/{number}"), ("POST", f"webhooks/{number}/rotate"),
            ("POST", f"webhooks/{number}/replay"), ("GET", f"webhooks/{number}/notices"), ("POST", f"notices/{notice}/replay"),
        ]:  # fmt: skip
            assert ask(method, path, {"active": False}, secret=secret).status_code == 404, path
        assert Webhook.objects.get().active

    @pytest.mark.parametrize(
        ("role", "status"), [(Role.LEAD, 200), (Role.ADMIN, 200), (Role.AGENT, 403), (Role.ANNOTATOR, 403)]
    )
    def test_of_people_only_leads_and_admins_may(self, client, project, role, status):
        client.force_login(make_person(project, "somebody", role))
        assert client.get("/api/v1/webhooks?project=shop").status_code == status


def test_the_command_replays_what_is_dead(hook, receiver, label, capsys):
    label()
    Notice.objects.update(state=NoticeState.DEAD)
    call_command("replay_webhooks", "shop", "--now")
    assert len(receiver.got) == 2
    assert "2 notices will be sent again" in capsys.readouterr().out
