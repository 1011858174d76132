from django.db import migrations

# Scores that were made before evidence was kept say nothing about how they were made: they are made anew from all events.
FORWARD = """
    DELETE FROM feedback_inquiryscore;
    INSERT INTO feedback_unscored (project_id, events, anew)
    SELECT project_id, '{}', array_agg(inquiry_id) FROM (
        SELECT project_id, inquiry_id, row_number() OVER (PARTITION BY project_id) / 1000 AS part
        FROM (SELECT DISTINCT project_id, inquiry_id FROM feedback_event WHERE inquiry_id IS NOT NULL) spoken_about
    ) parts GROUP BY project_id, part;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('feedback', '0050_audit'),
    ]

    operations = [
        migrations.RunSQL(FORWARD, migrations.RunSQL.noop),
    ]
