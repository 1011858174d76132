"""Ids of a table drawn ahead, so that a row can be told before it is written. What is drawn and not used leaves a gap."""

from __future__ import annotations

import os
import threading

from django.db import connection
from django.db.models import Model

AHEAD = 50


class Sequence:
    """The ids of one table, a few dozen at a time per process."""

    def __init__(self, model: type[Model]) -> None:
        self._table, self._column = model._meta.db_table, model._meta.pk.column if model._meta.pk else "id"
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Two processes must not use the same ids: a forked child draws its own."""
        self._lock, self._left = threading.Lock(), list[int]()

    def take(self) -> int:
        """An id that nobody else gets."""
        with self._lock:
            if not self._left:
                self._left = self._draw()[::-1]
            return self._left.pop()

    def _draw(self) -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
                [self._table, self._column, AHEAD],
            )
            return [int(found) for (found,) in cursor.fetchall()]
