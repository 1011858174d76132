"""How many looks share the month's chance of a false alarm."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from learning.models import DriftReport

LOOKS = 30  # a month of daily checks
MOST_LOOKS = 100  # checks that new inquiries may ask for in a month: more would leave each one too small a level
MONTH = timedelta(days=30)


def looks_now(project_id: int) -> int:
    """How many looks share the level, the coming one included."""
    return max(LOOKS, looks_made(project_id) + 1)


def looks_made(project_id: int) -> int:
    """Checks of the last thirty days; one check may have looked at several languages."""
    lately = DriftReport.objects.filter(project_id=project_id, created_at__gt=timezone.now() - MONTH)
    return lately.values("job").distinct().count()
