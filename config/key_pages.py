"""The page on which a lead gives programs their keys, takes them back, and sees whether they are still in use."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from django.views.decorators.http import require_POST

from feedback.keys import MAX_ORIGINS, SCOPES, checked_origin, create_key, create_public_key, revoke_key, rotate_key
from feedback.models import ApiKey, ClientApp, Role, TokenIssuer
from feedback.page_events import signing_secrets
from feedback.principals import digest
from labeling.access import Visitor, page

KEEPERS = frozenset({Role.LEAD, Role.ADMIN})
OVERLAPS = (0, 1, 7, 30)
LASTS = {
    "": gettext_lazy("It does not expire"), "30": gettext_lazy("30 days"), "90": gettext_lazy("90 days"),
    "365": gettext_lazy("One year"),
}  # fmt: skip
SCOPE_NAMES = {
    "inquiries:read": gettext_lazy("Read inquiries and their replies"),
    "inquiries:write": gettext_lazy("Send inquiries, ask for predictions"),
    "feedback:write": gettext_lazy("Send feedback"),
    "labels:read": gettext_lazy("Read labels, agreement, models and jobs"),
    "labels:write": gettext_lazy("Add labels"),
    "escalations:write": gettext_lazy("Ask for a person"),
    "models:admin": gettext_lazy("Promote and roll back models, cancel jobs"),
}
STATES = {
    "valid": (gettext_lazy("Valid"), "ok"), "ending": (gettext_lazy("Ends soon"), "warn"),
    "expired": (gettext_lazy("Expired"), "bad"), "revoked": (gettext_lazy("Revoked"), "bad"),
}  # fmt: skip


class KeyForm(forms.Form):
    """A new key: a secret one with scopes for a server, or a public one with origins for pages."""

    kind = forms.ChoiceField(
        choices=[("secret", gettext_lazy("For a server")), ("public", gettext_lazy("For web pages"))],
        initial="secret", widget=forms.RadioSelect,
    )  # fmt: skip
    app = forms.SlugField(
        label=gettext_lazy("Name of the app"), max_length=100, initial="default",
        error_messages={"invalid": gettext_lazy("Letters, digits, hyphens and underscores.")},
    )  # fmt: skip
    scopes = forms.MultipleChoiceField(
        choices=list(SCOPE_NAMES.items()), required=False, initial=["inquiries:write", "feedback:write"],
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    origins = forms.CharField(label=gettext_lazy("Origins"), required=False, widget=forms.Textarea(attrs={"rows": 2}))
    lasts = forms.ChoiceField(label=gettext_lazy("Lasts"), choices=list(LASTS.items()), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.errors if self.is_bound else ():
            if name in self.fields:
                self.fields[name].widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"fault-{name}"}

    def clean_origins(self) -> list[str]:
        lines = str(self.cleaned_data["origins"]).split()
        if self.data.get("kind") != "public":
            return []
        if not 0 < len(lines) <= MAX_ORIGINS:
            raise ValidationError(
                _("Name 1 to %(n)s origins whose pages use the key, such as https://shop.example.") % {"n": MAX_ORIGINS}
            )
        return [_origin(line) for line in lines]

    def clean_scopes(self) -> list[str]:
        chosen: list[str] = self.cleaned_data["scopes"]
        if self.data.get("kind") == "secret" and not chosen:
            raise ValidationError(_("Choose what the app may do: a key without any right is of no use."))
        return chosen

    def make(self, who: Visitor) -> tuple[ApiKey, str]:
        given = self.cleaned_data
        app, _made = ClientApp.objects.get_or_create(project=who.project, name=given["app"])
        end = timezone.now() + timedelta(days=int(given["lasts"])) if given["lasts"] else None
        if given["kind"] == "public":
            return create_public_key(app=app, origins=given["origins"], expires_at=end)
        return create_key(app=app, scopes=given["scopes"], expires_at=end)


def _origin(line: str) -> str:
    try:
        return checked_origin(line)
    except ValueError as error:
        raise ValidationError(
            _("“%(line)s” is no origin: write it as https://shop.example, without a path.") % {"line": line}
        ) from error


@page(*KEEPERS)
def keys(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The keys of a project; a new one's secret is shown in the answer to the form, once."""
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _shown(request, who, *form.make(who))
    return _render(request, who, form)


@page(*KEEPERS)
@require_POST
def rotate(request: HttpRequest, who: Visitor, key_id: int) -> HttpResponse:
    """A successor with the same rights; the old key stays valid for the chosen days."""
    _own(who, key_id)
    days = request.POST.get("overlap", "")
    if not days.isdecimal() or int(days) not in OVERLAPS:
        days = "7"
    try:
        fresh, secret = rotate_key(key_id=key_id, overlap=timedelta(days=int(days)))
    except ValueError:
        messages.error(
            request, _("This key has ended or was rotated already: rotate its successor, or create a new one.")
        )
        return redirect("keys", slug=who.project.slug)
    return _shown(request, who, fresh, secret)


@page(*KEEPERS)
@require_POST
def revoke(request: HttpRequest, who: Visitor, key_id: int) -> HttpResponse:
    key = _own(who, key_id)
    revoke_key(key_id=key.pk)
    messages.success(request, _("%(key)s is revoked. It stops working within seconds.") % {"key": key})
    return redirect("keys", slug=who.project.slug)


def _own(who: Visitor, key_id: int) -> ApiKey:
    key = ApiKey.objects.filter(pk=key_id, app__project=who.project).first()
    if key is None:
        raise Http404(_("There is no such key in this project."))
    return key


def _shown(request: HttpRequest, who: Visitor, key: ApiKey, secret: str) -> HttpResponse:
    """Never stored, so not redirected to: the secret is in this one answer."""
    signing = signing_secrets(digest(secret))[0] if key.public_key else ""
    fresh = {"key": key, "secret": secret, "signing": signing, "script": request.build_absolute_uri("/enso.js")}
    response = _render(request, who, KeyForm(), fresh=fresh)
    response["Cache-Control"] = "no-store"
    return response


def _render(request: HttpRequest, who: Visitor, form: KeyForm, **more: Any) -> HttpResponse:
    rows = ApiKey.objects.filter(app__project=who.project).select_related("app", "replaces").order_by("-created_at")
    known = [_row(key) for key in rows]
    context = {
        "form": form, "live": [k for k in known if k["live"]], "ended": [k for k in known if not k["live"]],
        "issuers": TokenIssuer.objects.filter(app__project=who.project, revoked_at=None).select_related("app"),
        "overlaps": [(days, _overlap(days)) for days in OVERLAPS], **more,
    }  # fmt: skip
    return render(request, "keys.html", context, status=422 if form.errors else 200)


def _row(key: ApiKey) -> dict[str, Any]:
    label, tone = STATES[key.state]
    rights: list[Any] = key.origins or [SCOPE_NAMES[s] for s in SCOPES if s in key.scopes]
    return {"key": key, "live": key.state in ("valid", "ending"), "label": label, "tone": tone, "rights": rights}


def _overlap(days: int) -> Any:
    if days == 0:
        return gettext_lazy("The old key ends now")
    return ngettext_lazy("The old key is valid for %(n)s more day", "The old key is valid for %(n)s more days", "n") % {
        "n": days
    }
