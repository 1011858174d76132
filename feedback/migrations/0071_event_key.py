"""event_ids are unique over a digest of 16 bytes instead of the text (docs/decisions/0019).

The new index is built CONCURRENTLY: events are stored meanwhile, and the old one guards their ids until it is there. The
build reads the table twice and waits for transactions that began before it. Only dropping the old index then takes the
table's exclusive lock, for a change of the catalog. The last statement changes how the queue's
arrays are kept from now on, not those that are stored.
"""

import django.db.models.functions
from django.db import migrations, models

import feedback.models.events

_INDEX = """
    CREATE UNIQUE INDEX CONCURRENTLY event_key_once
    ON feedback_event ((md5(project_id::text || ':' || event_id)::uuid)) WHERE event_id IS NOT NULL"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("feedback", "0070_reply_expiry")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                # One that an interrupted build left behind is not valid.
                migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS event_key_once", migrations.RunSQL.noop),
                migrations.RunSQL(_INDEX, "DROP INDEX CONCURRENTLY IF EXISTS event_key_once"),
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="event",
                    constraint=models.UniqueConstraint(
                        feedback.models.events.EventKey("project_id", "event_id"),
                        condition=models.Q(("event_id__isnull", False)),
                        name="event_key_once",
                    ),
                )
            ],
        ),
        migrations.RemoveConstraint(model_name="event", name="event_id_once"),
        migrations.RunSQL(
            "ALTER TABLE feedback_unscored ALTER COLUMN events SET STORAGE EXTERNAL",
            "ALTER TABLE feedback_unscored ALTER COLUMN events SET STORAGE EXTENDED",
        ),
    ]
