from __future__ import annotations

import doctest
import logging

import pytest
from django.db import IntegrityError, connection, transaction

from feedback import logs
from feedback.models import Inquiry
from tests.browser.scene import inquire


def test_the_worked_example_holds():
    assert doctest.testmod(logs).failed == 0


def line(**given):
    record = logging.LogRecord(
        "enso", logging.ERROR, "x.py", 1, given.pop("msg", "failed"), (), given.pop("exc_info", None)
    )
    return logs.MaskedFormatter("%(asctime)s %(message)s").format(record)


def test_a_message_is_masked_and_times_and_ids_stay():
    assert "jo@example.com" not in line(msg="no mail to jo@example.com")
    kept = "request 01a2156d-3614-7a78-9cef-bf88a07d7b50 of project 3 took 120 ms"
    assert kept in line(msg=kept)


@pytest.mark.django_db
def test_a_row_that_the_database_refused_is_not_quoted(project):
    row = inquire(project, "These are the words of a customer")
    with pytest.raises(IntegrityError) as refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE feedback_inquiry SET status = NULL WHERE id = %s", [row.pk])
    assert "words of a customer" in str(refused.value)
    written = line(exc_info=(type(refused.value), refused.value, refused.value.__traceback__))
    assert "words of a customer" not in written
    assert "null value in column" in written
    assert Inquiry.objects.exists()
