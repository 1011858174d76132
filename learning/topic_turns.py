"""Who may write topics: one at a time per project."""

from __future__ import annotations

from django.db import connection


def take_turn(project_id: int) -> None:
    """In a transaction: wait for whoever writes this project's topics. Runs, arrivals, people and erasures line up here."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 9))", [f"topics:{project_id}"])
