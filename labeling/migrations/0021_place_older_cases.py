from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('labeling', '0020_case_clocks'),
    ]

    operations = [
        # Cases from before get the place, the level and the risk that their priority meant.
        migrations.RunSQL(
            """
            UPDATE labeling_escalation SET
                standing = opened_at - priority * interval '8 hours',
                level = CASE WHEN priority >= 2 THEN 'urgent' WHEN priority >= 1 THEN 'high'
                             WHEN priority >= 0.5 THEN 'normal' ELSE 'low' END,
                high_risk = reasons @> '[{"code": "high_risk"}]'::jsonb,
                first_response_at = resolved_at,
                outcome = CASE WHEN state = 'resolved' THEN 'answered' ELSE '' END
            """,
            migrations.RunSQL.noop,
        ),
    ]
