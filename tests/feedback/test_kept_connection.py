from __future__ import annotations

import pytest
from django.db import OperationalError, connection

from feedback.kept_connection import KeptConnection


@pytest.fixture
def kept():
    kept = KeptConnection()
    yield kept
    kept.close()


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_too_long_for_the_connection_is_refused(kept):
    with kept.cursor(), pytest.raises(OperationalError, match="not free"), kept.cursor(patience=0.01):
        pass
    with kept.cursor(patience=0.01) as cursor:
        assert cursor.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_broke_is_opened_anew_at_the_next_use(kept):
    with kept.cursor() as cursor:
        process = cursor.connection.info.backend_pid
    with connection.cursor() as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [process])
    with pytest.raises(OperationalError), kept.cursor() as cursor:
        cursor.execute("SELECT 1")
    with kept.cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchone() == (1,)
