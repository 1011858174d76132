"""How finely a chart over time is cut: by the day, and finer while a project is young."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Expression, Func, IntegerField, Value
from django.db.models.functions import Cast, Extract, TruncDate
from django.utils import timezone

from feedback.models import Inquiry, Project

# A project this young is shown by so many seconds: by days it would be one point for a day.
YOUNG = ((timedelta(minutes=45), 120), (timedelta(hours=3), 600), (timedelta(days=3), 3600))


@dataclass(frozen=True)
class Grain:
    """Bins of so many ``seconds``, or days of the project's calendar (None). A bin's place is a number to draw at: the day's
    ordinal, or the bin's count since 1970.
    """

    seconds: int | None

    def bin(self, field: str) -> Expression | Func:
        """Groups rows in the database; :meth:`place` makes a number of what comes back."""
        if self.seconds is None:
            return TruncDate(field)
        return Cast(Extract(field, "epoch") / Value(self.seconds) - Value(0.5), IntegerField())

    def place(self, found: Any) -> float:
        return float(found.toordinal() if self.seconds is None else found)

    def _begins(self, place: float) -> datetime:
        assert self.seconds is not None
        return timezone.localtime(
            datetime.fromtimestamp(round(place) * self.seconds, tz=timezone.get_current_timezone())
        )

    def words(self, place: float) -> str:
        """On the axis, as digits: no locale writes them differently."""
        if self.seconds is None:
            return date.fromordinal(round(place)).strftime("%m-%d")
        return f"{self._begins(place):%H:%M}"

    def named(self, place: float) -> str:
        """In the table."""
        if self.seconds is None:
            return date.fromordinal(round(place)).isoformat()
        return f"{self._begins(place):%Y-%m-%d %H:%M}"


def grain_of(project: Project) -> Grain:
    """By the age of the project's first inquiry."""
    first = (
        Inquiry.objects.filter(project=project).order_by("received_at").values_list("received_at", flat=True).first()
    )
    if first is not None:
        age = timezone.now() - first
        for young, seconds in YOUNG:
            if age < young:
                return Grain(seconds)
    return Grain(None)
