"""How a program proves who it is: keys that Enso issues, and issuers of tokens that a project trusts."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


def default_algorithms() -> list[str]:
    return ["RS256", "ES256"]


class ApiKey(models.Model):
    """A client app's key: only its SHA-256 is stored (256 random bits need no slow hash), the prefix is for people.

    A public key (`pk_…`) is written into web pages, so it is no secret: it is kept whole, may only write feedback, and
    only for pages of the origins it is bound to.
    """

    app = models.ForeignKey("feedback.ClientApp", on_delete=models.CASCADE, related_name="keys")
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    public_key = models.CharField(max_length=64, null=True, blank=True, unique=True)
    origins = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    scopes = ArrayField(models.CharField(max_length=32))
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    # The key that this one takes over from; both are valid until that one expires.
    replaces = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="successors")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(public_key=None) | Q(scopes=["feedback:write"], origins__len__gt=0),
                name="public_key_only_writes_feedback",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"


class TokenIssuer(models.Model):
    """An identity provider whose signed tokens (JWT) speak for a client app.

    A token names its row by `iss` and `aud`, gets what its scope claim says (translated by `scope_map` where that is
    given), and never more than `scopes`.
    """

    app = models.ForeignKey("feedback.ClientApp", on_delete=models.CASCADE, related_name="issuers")
    issuer = models.CharField(max_length=300)
    audience = models.CharField(max_length=300)
    jwks_url = models.URLField(max_length=500, blank=True, default="")
    jwks_file = models.CharField(max_length=500, blank=True, default="")
    algorithms = ArrayField(models.CharField(max_length=8), default=default_algorithms)
    scope_claim = models.CharField(max_length=60, default="scope")
    scope_map = models.JSONField(default=dict, blank=True, help_text="{'their scope': ['feedback:write', …]}")
    scopes = ArrayField(models.CharField(max_length=32))
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # One token belongs to one project.
            models.UniqueConstraint(
                fields=["issuer", "audience"], condition=Q(revoked_at=None), name="issuer_and_audience_once"
            ),
            models.CheckConstraint(condition=Q(jwks_url="") ^ Q(jwks_file=""), name="issuer_keys_from_one_place"),
        ]

    def __str__(self) -> str:
        return self.issuer
