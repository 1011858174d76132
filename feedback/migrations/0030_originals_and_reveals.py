# What is masked in customers' texts is kept sealed; who reveals it is on record.

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('feedback', '0020_keys_issuers_and_limits'),
    ]

    operations = [
        migrations.AddField(
            model_name='project',
            name='order_templates',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=60), blank=True, default=list, help_text='How own order numbers look: EN-999999.', size=None),
        ),
        migrations.CreateModel(
            name='Original',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event', models.UUIDField(null=True, unique=True)),
                ('sealed', models.BinaryField()),
                ('inquiry', models.OneToOneField(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='original', to='feedback.inquiry')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='feedback.project')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('event__isnull', False), ('inquiry', None)), models.Q(('event', None), ('inquiry__isnull', False)), _connector='OR'), name='original_of_one_text')],
            },
        ),
        migrations.CreateModel(
            name='Reveal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('inquiry_ref', models.UUIDField()),
                ('reason', models.CharField(max_length=500)),
                ('shown_at', models.DateTimeField(auto_now_add=True)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reveals', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reveals', to='feedback.project')),
            ],
            options={
                'indexes': [models.Index(fields=['project', '-shown_at'], name='reveal_recent'), models.Index(fields=['inquiry_ref'], name='reveal_by_inquiry')],
                'constraints': [models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='reveal_has_reason')],
            },
        ),
    ]
