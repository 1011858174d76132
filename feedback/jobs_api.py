"""Background jobs over HTTP: what runs, how far it is, why it failed; and cancelling."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback import jobs
from feedback.access import managed_project, readable_project
from feedback.models import Job
from feedback.problems import Problem, not_found

SHOWN = 50


class Jobs(APIView):
    @extend_schema(responses={200: dict}, operation_id="jobs")
    def get(self, request: Request) -> Response:
        """A project's latest jobs, newest first."""
        project = readable_project(request, scope="labels:read")
        return Response(
            {"jobs": [job_payload(j) for j in Job.objects.filter(project=project).order_by("-created_at")[:SHOWN]]}
        )


class JobCancel(APIView):
    @extend_schema(request=None, responses={202: dict}, operation_id="job_cancel")
    def post(self, request: Request, job_id: int) -> Response:
        """Cancel a job: at once when it waits, at its next step when it runs."""
        project = managed_project(request, scope="models:admin")
        job = Job.objects.filter(pk=job_id, project=project).first()
        if job is None:
            raise not_found("job")
        if not jobs.cancel(job.pk):
            raise Problem(409, "already-ended", f"The job has already ended: it is {job.state}.")
        job.refresh_from_db()
        return Response(job_payload(job), status=202)


def job_payload(job: Job) -> dict[str, Any]:
    remaining = jobs.remaining(job)
    return {
        "id": job.pk, "kind": job.kind, "state": job.state, "progress": job.progress, "stage": job.stage, "attempt": job.attempt,
        "reason": job.params.get("reason"), "remaining_seconds": None if remaining is None else round(remaining.total_seconds()),
        "errors": job.errors, "result": job.result, "created_at": job.created_at, "started_at": job.started_at,
        "finished_at": job.finished_at,
    }  # fmt: skip
