"""Audit by triggers: which columns of which tables are recorded, and who is said to act.

A trigger writes one `AuditEvent` per change of a recorded column (django-pgtrigger keeps the triggers in step with the
migrations); who acts is told to the database by django-pghistory's context, which travels with each statement of a
transaction. Columns are listed, never left out: a column that nobody listed is not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pghistory
import pgtrigger
from django.db import models

acting = pghistory.context
"""`with acting(user=3, request="…"):` says who makes the changes within; `acting(key=7)` without `with` adds to it."""

# The same as an expression in a statement of its own connection: until the end of the transaction, `%(annotator)s` acts.
ACTING = "set_config('pghistory.context_metadata', jsonb_build_object('user', %(annotator)s::bigint)::text, true)"

INSERT, UPDATE, DELETE = "insert", "update", "delete"
_OPERATIONS = {INSERT: pgtrigger.Insert, UPDATE: pgtrigger.Update, DELETE: pgtrigger.Delete}
# Only what somebody asked for: a row that the application makes by itself, for each inquiry, is no decision of a person.
ASKED_FOR = "NULLIF(current_setting('pghistory.context_metadata', true), '') IS NOT NULL"


@dataclass(frozen=True)
class Recorded:
    """What is recorded of one table. `project` is SQL over the row, `{row}` being NEW or OLD; `texts` are columns of which it
    is recorded only that they changed."""

    kind: str
    columns: Sequence[str]
    project: str = "{row}.project_id"
    texts: Sequence[str] = ()
    actions: Sequence[str] = (INSERT, UPDATE, DELETE)
    inserts_asked_for: bool = False


class AuditTrigger(pgtrigger.Trigger):  # type: ignore[misc]
    """Writes the `AuditEvent` of one action on one table."""

    when = pgtrigger.After

    def __init__(self, recorded: Recorded, action: str) -> None:
        super().__init__(name=f"audit_{action}", operation=_OPERATIONS[action], condition=_condition(recorded, action))
        self.recorded, self.action = recorded, action

    def get_func(self, model: type[models.Model]) -> str:
        """One insert: what changed as jsonb, and who acts by the settings of the transaction."""
        row = "OLD" if self.action == DELETE else "NEW"
        key = model._meta.pk
        assert key is not None
        return (
            "INSERT INTO feedback_auditevent "  # noqa: S608 - the names are ours
            "(project_id, user_id, at, kind, object, action, changes, context, db_user, db_application) "
            f"SELECT {self.recorded.project.format(row=row)}, (who->>'user')::integer, clock_timestamp(), '{self.recorded.kind}', "
            f"{row}.{key.column}::text, '{self.action}', {_changes(self.recorded, self.action)}, who - 'user', session_user, "
            "left(current_setting('application_name', true), 64) "
            "FROM (SELECT COALESCE(NULLIF(current_setting('pghistory.context_metadata', true), ''), '{}')::jsonb AS who) c; "
            "RETURN NULL;"
        )


def _condition(recorded: Recorded, action: str) -> pgtrigger.Condition | None:
    if action == INSERT and recorded.inserts_asked_for:
        return pgtrigger.Condition(ASKED_FOR)
    if action != UPDATE:
        return None
    changed = [f"OLD.{c} IS DISTINCT FROM NEW.{c}" for c in (*recorded.columns, *recorded.texts)]
    return pgtrigger.Condition(" OR ".join(changed))


def _changes(recorded: Recorded, action: str) -> str:
    """SQL of {column: [before, after]} for what differs; a text is there with null."""
    old = "NULL" if action == INSERT else "to_jsonb(OLD.{c})"
    new = "NULL" if action == DELETE else "to_jsonb(NEW.{c})"
    values = [f"'{c}', jsonb_build_array({old.format(c=c)}, {new.format(c=c)})" for c in recorded.columns]
    pairs = f"jsonb_each(jsonb_build_object({', '.join(values)}))"
    differing = "SELECT jsonb_object_agg(p.key, p.value) FROM {} p WHERE p.value->0 IS DISTINCT FROM p.value->1"
    kept = f"COALESCE(({differing.format(pairs)}), '{{}}'::jsonb)"
    if action != UPDATE:
        return kept
    texts = [
        f"CASE WHEN OLD.{c} IS DISTINCT FROM NEW.{c} THEN '{{\"{c}\": null}}'::jsonb ELSE '{{}}'::jsonb END"
        for c in recorded.texts
    ]
    return " || ".join([kept, *texts])


def record(model: type[models.Model], recorded: Recorded) -> None:
    """Have the changes of a model recorded; called once per model, when its app is ready."""
    for action in recorded.actions:
        pgtrigger.register(AuditTrigger(recorded, action))(model)


def keep_for_good(model: type[models.Model]) -> None:
    """Refuse to change or delete rows of the record itself, also by raw SQL (`pgtrigger.ignore` lets retention do it)."""
    operation = pgtrigger.Update | pgtrigger.Delete
    pgtrigger.register(pgtrigger.Protect(name="audit_stays", operation=operation))(model)


def note(**who: Any) -> None:
    """Add to who acts, where somebody is said to act at all; costs nothing elsewhere."""
    acting(**who)
