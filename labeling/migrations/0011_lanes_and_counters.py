"""Lanes, waiting time and overlap of the slots that exist; what the database holds beyond Django's constraints; counters."""

from django.db import migrations, models

FILL = """
UPDATE labeling_slot s SET
    overlap = t.overlap,
    language = lower(left(split_part(replace(i.locale, '_', '-'), '-', 1), 8)),
    barred = COALESCE((SELECT array_agg(DISTINCT x.annotator_id ORDER BY x.annotator_id) FROM (
        SELECT annotator_id FROM labeling_annotation a WHERE a.task_id = t.id
        UNION ALL SELECT annotator_id FROM labeling_skip k WHERE k.task_id = t.id) x), '{}'),
    priority = t.priority - extract(epoch FROM t.created_at - timestamptz '2020-01-01 00:00Z') / 86400 / p.patience_days
FROM labeling_labeltask t, feedback_inquiry i, feedback_project p
WHERE t.id = s.task_id AND i.id = t.inquiry_id AND p.id = s.project_id
"""

KEYS = """
ALTER TABLE labeling_slot ADD CONSTRAINT slot_overlap_is_tasks FOREIGN KEY (task_id, overlap)
    REFERENCES labeling_labeltask (id, overlap) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE labeling_annotation ADD CONSTRAINT annotation_is_holders FOREIGN KEY (slot_id, task_id, annotator_id, role)
    REFERENCES labeling_slot (id, task_id, annotator_id, role);
"""
NO_KEYS = """
ALTER TABLE labeling_annotation DROP CONSTRAINT annotation_is_holders;
ALTER TABLE labeling_slot DROP CONSTRAINT slot_overlap_is_tasks;
"""

# Statement triggers: one row of the counter for each thing that a statement changed, however many rows it touched.
COUNTERS = """
CREATE FUNCTION labeling_tally_slots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO labeling_queuetally (project_id, what, n)
        SELECT project_id, 'slot:' || role || ':open', count(*) FROM added WHERE state = 'open' GROUP BY 1, 2;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO labeling_queuetally (project_id, what, n)
        SELECT project_id, 'slot:' || role || ':open', -count(*) FROM removed WHERE state = 'open' GROUP BY 1, 2;
    ELSE
        INSERT INTO labeling_queuetally (project_id, what, n)
        SELECT project_id, 'slot:' || role || ':open', sum(d) FROM (
            SELECT project_id, role, 1 AS d FROM added WHERE state = 'open'
            UNION ALL SELECT project_id, role, -1 FROM removed WHERE state = 'open') x
        GROUP BY 1, 2 HAVING sum(d) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION labeling_tally_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO labeling_queuetally (project_id, what, n)
        SELECT project_id, 'task:' || state, count(*) FROM added GROUP BY 1, 2;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO labeling_queuetally (project_id, what, n)
        SELECT project_id, 'task:' || state, -count(*) FROM removed GROUP BY 1, 2;
    ELSE
        INSERT INTO labeling_queuetally (project_id, what, n)
        SELECT project_id, 'task:' || state, sum(d) FROM (
            SELECT project_id, state, 1 AS d FROM added UNION ALL SELECT project_id, state, -1 FROM removed) x
        GROUP BY 1, 2 HAVING sum(d) <> 0;
    END IF;
    RETURN NULL;
END $$;
"""
TRIGGERS = [
    (table, function, operation, tables)
    for table, function in (("labeling_slot", "labeling_tally_slots"), ("labeling_labeltask", "labeling_tally_tasks"))
    for operation, tables in (
        ("INSERT", "NEW TABLE AS added"),
        ("DELETE", "OLD TABLE AS removed"),
        ("UPDATE", "OLD TABLE AS removed NEW TABLE AS added"),
    )
]
ADD_TRIGGERS = "".join(
    f"CREATE TRIGGER tally_{operation.lower()} AFTER {operation} ON {table} REFERENCING {tables} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n"
    for table, function, operation, tables in TRIGGERS
)
NO_COUNTERS = (
    "".join(f"DROP TRIGGER tally_{operation.lower()} ON {table};\n" for table, _, operation, _ in TRIGGERS)
    + "DROP FUNCTION labeling_tally_slots(); DROP FUNCTION labeling_tally_tasks(); DELETE FROM labeling_queuetally;"
)
COUNT_WHAT_IS_THERE = """
INSERT INTO labeling_queuetally (project_id, what, n)
SELECT project_id, 'slot:' || role || ':open', count(*) FROM labeling_slot WHERE state = 'open' GROUP BY 1, 2;
INSERT INTO labeling_queuetally (project_id, what, n)
SELECT project_id, 'task:' || state, count(*) FROM labeling_labeltask GROUP BY 1, 2;
INSERT INTO labeling_annotatorday (project_id, annotator_id, day, answers, skips, seconds, timed)
SELECT t.project_id, a.annotator_id, (a.created_at AT TIME ZONE 'UTC')::date, count(*), 0, COALESCE(sum(a.seconds), 0), count(a.seconds)
FROM labeling_annotation a JOIN labeling_labeltask t ON t.id = a.task_id GROUP BY 1, 2, 3;
"""


class Migration(migrations.Migration):

    dependencies = [("labeling", "0010_quality")]

    operations = [
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        # Deferred checks of the rows that were just written must run before the tables can be altered.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="slot",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("role", "expert"), ("gold", True), ("number__lte", models.F("overlap")), _connector="OR"
                ),
                name="slot_within_overlap",
            ),
        ),
        migrations.AddConstraint(
            model_name="slot",
            constraint=models.CheckConstraint(
                condition=models.Q(("gold", False), models.Q(("state", "open"), _negated=True), _connector="OR"),
                name="slot_gold_is_never_open",
            ),
        ),
        migrations.RunSQL(KEYS, NO_KEYS),
        migrations.RunSQL(COUNTERS + ADD_TRIGGERS + COUNT_WHAT_IS_THERE, NO_COUNTERS),
    ]
