
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import feedback.models.credentials
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('feedback', '0002_default_strategy'),
    ]

    operations = [
        migrations.CreateModel(
            name='TokenIssuer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('issuer', models.CharField(max_length=300)),
                ('audience', models.CharField(max_length=300)),
                ('jwks_url', models.URLField(blank=True, default='', max_length=500)),
                ('jwks_file', models.CharField(blank=True, default='', max_length=500)),
                ('algorithms', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=8), default=feedback.models.credentials.default_algorithms, size=None)),
                ('scope_claim', models.CharField(default='scope', max_length=60)),
                ('scope_map', models.JSONField(blank=True, default=dict, help_text="{'their scope': ['feedback:write', …]}")),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name='apikey',
            name='origins',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='apikey',
            name='public_key',
            field=models.CharField(blank=True, max_length=64, null=True, unique=True),
        ),
        migrations.AddField(
            model_name='apikey',
            name='replaces',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='successors', to='feedback.apikey'),
        ),
        migrations.AddField(
            model_name='event',
            name='weight',
            field=models.FloatField(db_default=1.0, default=1.0),
        ),
        migrations.AddField(
            model_name='project',
            name='anonymous_weight',
            field=models.FloatField(default=0.2, help_text='What an event from a page counts that names no signed customer.', validators=[django.core.validators.MinValueValidator(0.0), django.core.validators.MaxValueValidator(1.0)]),
        ),
        migrations.AddField(
            model_name='project',
            name='limit_burst',
            field=models.PositiveIntegerField(default=60000, help_text='Units that a key can save up.'),
        ),
        migrations.AddField(
            model_name='project',
            name='limit_per_minute',
            field=models.PositiveIntegerField(blank=True, default=60000, help_text='Units that each key gains per minute; empty: no limit.', null=True),
        ),
        migrations.AddField(
            model_name='project',
            name='page_limit_per_minute',
            field=models.PositiveIntegerField(default=600, help_text='Requests per minute of one client address with a public key.'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('public_key', None), models.Q(('origins__len__gt', 0), ('scopes', ['feedback:write'])), _connector='OR'), name='public_key_only_writes_feedback'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(('weight__gte', 0), ('weight__lte', 1)), name='event_weight_is_share'),
        ),
        migrations.AddConstraint(
            model_name='project',
            constraint=models.CheckConstraint(condition=models.Q(('anonymous_weight__gte', 0), ('anonymous_weight__lt', 1)), name='project_anonymous_weight_below_1'),
        ),
        migrations.AddConstraint(
            model_name='project',
            constraint=models.CheckConstraint(condition=models.Q(('limit_per_minute', None), ('limit_per_minute__gte', 1), _connector='OR'), name='project_limit_positive'),
        ),
        migrations.AddConstraint(
            model_name='project',
            constraint=models.CheckConstraint(condition=models.Q(('limit_burst__gte', 1), ('page_limit_per_minute__gte', 1)), name='project_bursts_positive'),
        ),
        migrations.AddField(
            model_name='tokenissuer',
            name='app',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='issuers', to='feedback.clientapp'),
        ),
        migrations.AddConstraint(
            model_name='tokenissuer',
            constraint=models.UniqueConstraint(condition=models.Q(('revoked_at', None)), fields=('issuer', 'audience'), name='issuer_and_audience_once'),
        ),
        migrations.AddConstraint(
            model_name='tokenissuer',
            constraint=models.CheckConstraint(condition=models.Q(('jwks_url', ''), ('jwks_file', ''), _connector='XOR'), name='issuer_keys_from_one_place'),
        ),
    ]
