"""What tunes a language model, and what has it write drafts for open cases. Torch is loaded by the tuning alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from celery import shared_task

from feedback import jobs
from labeling import drafts
from learning.draft_prompts import prompt_for, values_of
from serving import language
from serving.drafter import TEMPLATES, Drafter
from serving.models import LanguageStage, LanguageVersion
from serving.prompts import Template

TUNE, WRITE = "tune_drafts", "draft_replies"
AT_ONCE = 50  # cases of one job; the next minute brings the next ones


@jobs.handler(TUNE, queue="learn")
def tune(running: jobs.Running) -> dict[str, Any]:
    """Tune, judge and promote a project's language model."""
    from learning.draft_tuning import tune_drafts

    return tune_drafts(running)


@jobs.handler(WRITE, queue="learn")
def write(running: jobs.Running) -> dict[str, Any]:
    """Drafts for open cases by the version in service, for agents to approve."""
    project_id = running.job.project_id
    version = language.in_production(project_id=project_id)
    cases = list(drafts.without_one(project_id=project_id)[:AT_ONCE]) if version is not None else []
    if version is None or not cases:
        return {"drafts": 0}
    drafter, templates = _opened(version.manifest_sha, version.pk)
    made = 0
    for n, case in enumerate(cases):
        running.report(n / len(cases), f"drafting for {len(cases)} cases")
        written = drafter.write(prompt_for(values_of(case.inquiry), templates))
        # What the limit cut off is no reply.
        text = written.text if written is not None and written.ended else ""
        kept = drafts.propose(project_id=project_id, case_id=case.pk, text=text, source=f"d{version.number}")
        made += bool(kept and text)
    return {"drafts": made, "version": version.number}


@lru_cache(maxsize=1)
def _opened(manifest_sha: str, version_id: int) -> tuple[Drafter, list[Template]]:
    """One model stays in memory: the next minute's cases ask the same one."""
    bundle = language.open_bundle(LanguageVersion.objects.get(pk=version_id))
    return Drafter.load(bundle), [Template.of(t) for t in msgspec.json.decode(bundle.read(TEMPLATES))]


@shared_task(name="learning.schedule_drafts")
def schedule_drafts() -> int:
    """Have drafts written where a project has a language model in service and cases without one."""
    serving = LanguageVersion.objects.filter(stage=LanguageStage.PRODUCTION).values_list("project_id", flat=True)
    waiting = [pk for pk in serving if drafts.without_one(project_id=pk).exists()]
    for pk in waiting:
        jobs.enqueue(kind=WRITE, project_id=pk)
    return len(waiting)
