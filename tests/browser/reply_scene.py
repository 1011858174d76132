"""A desk on which replies are compared, with a policy that chooses among them and one on trial."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from feedback.models import Project
from feedback.services import add_reply
from labeling import comparing
from serving.models import PolicyTrial, PolicyVersion, ReplyShown
from tests.browser import scene


def compare_replies(project: Project, n: int = 3) -> list[int]:
    """Pairs of replies that wait to be compared, the policy that chose among them, and one on trial; the pairs' ids."""
    refund = scene.category(project, "refund")
    first = refund.replies.get(active=True, locale="en")
    second = add_reply(
        category_id=refund.pk, locale="en", slot=2, text="Your refund for {order} is under way.",
        expires_at=timezone.now() + timedelta(days=40),
    )  # fmt: skip
    gain = {"value": 0.061, "low": 0.022, "high": 0.1, "effective": 310.0}
    stopped = {
        "name": "reward hacking",
        "passed": False,
        "value": 0.2,
        "threshold": 0.0,
        "detail": "reply 2 wins thumbs",
    }
    common = {
        "project": project,
        "encoder_sha": "e" * 64,
        "manifest_sha": "m" * 64,
        "kind": "reply-policy",
        "replies": 2,
    }
    policy, tried = (
        PolicyVersion.objects.create(number=k, stage=stage, exploration=0.1, metrics={"votes": 420, "gain": gain}, gates=gates, **common)
        for k, stage, gates in ((1, "production", []), (2, "staging", []))
    )  # fmt: skip
    PolicyVersion.objects.create(number=3, stage="rejected", exploration=0.1, gates=[stopped], **common)
    PolicyTrial.objects.create(
        project=project,
        encoder_sha="e" * 64,
        candidate=tried,
        control=policy,
        plan=[10, 50, 100],
        salt="s",
        customers=61,
    )
    made = []
    for i in range(n):
        inquiry = scene.inquire(
            project, f"I was charged twice for order {i}. When do I get my money back?", waiting=False
        )
        ReplyShown.objects.create(
            inquiry=inquiry,
            policy=policy,
            reply=first,
            propensity=0.6,
            candidates={str(first.pk): 0.6, str(second.pk): 0.4},
        )
        pair = comparing.Wanted(inquiry.pk, (first.pk, second.pk), 1 - i / 10, {"rule": "close"})
        comparing.open_comparisons(project_id=project.pk, wanted=[pair])
        made.append(inquiry.comparisons.get().pk)
    return made
