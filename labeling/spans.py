"""Spans of time as people say them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _


def duration(span: timedelta) -> str:
    """Two units at most, never broken over a line: "3 h 4 min", "2 d 5 h", "45 s"."""
    return _worded(max(round(span.total_seconds()), 0)).replace(" ", "\u00a0")


def _worded(total: int) -> str:
    days, hours, minutes, seconds = total // 86_400, total // 3600 % 24, total // 60 % 60, total % 60
    if days:
        return _("%(d)s d %(h)s h") % {"d": days, "h": hours} if hours else _("%(d)s d") % {"d": days}
    if hours:
        return _("%(h)s h %(m)s min") % {"h": hours, "m": minutes} if minutes else _("%(h)s h") % {"h": hours}
    return _("%(m)s min") % {"m": minutes} if minutes else _("%(s)s s") % {"s": seconds}


def since(moment: datetime | None) -> str:
    """How long ago, in whole minutes so that a polled page does not change every second; nothing waits: a dash."""
    if moment is None:
        return "–"
    span = timezone.now() - moment
    if span < timedelta(minutes=1):
        return _("less than a minute")
    return duration(timedelta(minutes=int(span.total_seconds() // 60)))
