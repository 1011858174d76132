"""The pages that belong to no app: signing in and out, where each role starts, a person's preferences."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from rest_framework.throttling import BaseThrottle

from config import attempts
from feedback.models import Membership, Role, User
from labeling.access import AGENTS, EVERYBODY, LABELERS, LEADS
from labeling.shortcuts import ACTIONS, BOTH, CASES, COMPARE, DESK, Shortcuts

# The page each role starts on, the role that oversees most first.
STARTS = (
    (Role.ADMIN, "loop"),
    (Role.LEAD, "loop"),
    (Role.EXPERT, "adjudicate"),
    (Role.ANNOTATOR, "desk"),
    (Role.AGENT, "cases"),
)
PLACES = (
    ("desk", gettext_lazy("Label"), LABELERS),
    ("adjudicate", gettext_lazy("Adjudicate"), frozenset({Role.EXPERT})),
    ("cases", gettext_lazy("Escalations"), AGENTS),
    ("quality", gettext_lazy("Quality"), frozenset({Role.LEAD, Role.ADMIN})),
    ("loop", gettext_lazy("Loop"), EVERYBODY),
    ("topic-map", gettext_lazy("Topics"), EVERYBODY),
    ("drift", gettext_lazy("Drift"), EVERYBODY),
    ("model-versions", gettext_lazy("Models"), LEADS),
    ("categories", gettext_lazy("Manage"), LEADS),
)
# Pages that stand under one place.
WITHIN = {
    "case": "cases", "category": "categories", "settings": "categories", "people": "categories", "person": "categories",
    "service-level": "categories", "guideline-proposals": "categories", "category-guideline": "categories",
    "keys": "categories", "audit": "categories", "webhook-list": "categories", "webhook-action": "categories",
    "exchange": "categories", "exchange-import": "categories", "exchange-export": "categories",
    "exchange-faults": "categories", "my-work": "desk", "compare": "desk", "replies": "categories",
    "rollout-settings": "model-versions", "model-page": "model-versions", "models-compare": "model-versions",
    "drift-settings": "drift", "drift-simulation": "drift", "topic-page": "topic-map",
}  # fmt: skip
YEAR_SECONDS = 365 * 86_400


class SignIn(auth_views.LoginView):
    """Sign-in whose attempts are limited per account and address, with one and the same answer for every wrong pair."""

    template_name = "sign_in.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        wait = attempts.begin(account=request.POST.get("username", ""), address=client_address(request))
        if wait is None:
            return super().post(request, *args, **kwargs)
        minutes = max(round(wait / 60), 1)
        response = self.render_to_response(self.get_context_data(form=self.form_class(request), minutes=minutes))
        response.status_code = 429
        response["Retry-After"] = str(wait)
        return response

    def form_valid(self, form: Any) -> HttpResponse:
        attempts.succeeded(account=self.request.POST["username"], address=client_address(self.request))
        response = super().form_valid(form)
        return remember_language(response, form.get_user().preferences.get("language"))

    def form_invalid(self, form: Any) -> HttpResponse:
        response = super().form_invalid(form)
        response.status_code = 422
        return response


class Welcome(auth_views.PasswordResetConfirmView):
    """A one-time link: whoever holds it chooses their password and is signed in. It is worthless afterwards."""

    template_name = "welcome.html"
    post_reset_login = True
    success_url = "/"

    def render_to_response(self, context: dict[str, Any], **options: Any) -> Any:
        response = super().render_to_response(context, **options)
        response.status_code = 200 if self.validlink and not context["form"].errors else 422 if self.validlink else 410
        return response


def client_address(request: HttpRequest) -> str:
    """The caller's address; behind NUM_PROXIES trusted proxies the one that the outermost of them saw."""
    return str(BaseThrottle().get_ident(request))  # type: ignore[arg-type]


def remember_language(response: HttpResponse, language: str | None) -> HttpResponse:
    if language in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME, language, max_age=YEAR_SECONDS, samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE, httponly=True,
        )  # fmt: skip
    return response


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Each person's own first page."""
    own = Membership.objects.filter(user_id=_id(request), project__archived_at=None)
    held = own.select_related("project").order_by("project_id")
    return _start(list(held)) or render(request, "no_role.html", status=403)


@login_required
def project(request: HttpRequest, slug: str) -> HttpResponse:
    """A person's first page in one project."""
    held = Membership.objects.filter(user_id=_id(request), project__slug=slug).select_related("project")
    return _start(list(held)) or redirect("home")


def _id(request: HttpRequest) -> int:
    assert isinstance(request.user, User)
    return request.user.pk


def _start(held: list[Membership]) -> HttpResponse | None:
    for role, name in STARTS:
        if place := next((m for m in held if m.role == role), None):
            return redirect(name, slug=place.project.slug)
    return None


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Change the language, also before signing in, and stay on the same page."""
    chosen = request.POST.get("language", "")
    if isinstance(request.user, User) and chosen in dict(settings.LANGUAGES):
        request.user.preferences["language"] = chosen
        request.user.save(update_fields=["preferences"])
    return remember_language(_back(request), chosen)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark or as the system has it."""
    chosen = request.POST.get("theme", "")
    if isinstance(request.user, User) and chosen in THEMES:
        request.user.preferences["theme"] = chosen
        request.user.save(update_fields=["preferences"])
    return _back(request)


def _back(request: HttpRequest) -> HttpResponseRedirect:
    to = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(to, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(to if safe else reverse("home"))


THEMES = {"system": gettext_lazy("As the system"), "light": gettext_lazy("Light"), "dark": gettext_lazy("Dark")}
DENSITIES = {"comfortable": gettext_lazy("Comfortable"), "compact": gettext_lazy("Compact")}


KEY_PAGES = (
    (DESK, gettext_lazy("Labeling and adjudication")),
    (CASES, gettext_lazy("Escalations")),
    (COMPARE, gettext_lazy("Comparing replies")),
    (BOTH, gettext_lazy("Both")),
)


class PreferencesForm(forms.Form):
    """A person's own taste: language, theme, density and keys."""

    language = forms.ChoiceField(label=gettext_lazy("Language"), choices=settings.LANGUAGES)
    theme = forms.ChoiceField(label=gettext_lazy("Theme"), choices=list(THEMES.items()))
    density = forms.ChoiceField(label=gettext_lazy("Density"), choices=list(DENSITIES.items()))
    shortcuts = forms.BooleanField(label=gettext_lazy("Single-key shortcuts"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for action in ACTIONS:
            self.fields[f"key_{action.name}"] = forms.CharField(label=str(action.label), max_length=12, required=False)

    def clean(self) -> dict[str, Any]:
        """Each key is one character or a named key, and does one thing only within its page."""
        given = super().clean() or {}
        for name, why in Shortcuts.faults({a.name: given.get(f"key_{a.name}", "") for a in ACTIONS}).items():
            self.add_error(f"key_{name}", why)
        return given

    @property
    def key_groups(self) -> list[tuple[Any, list[Any]]]:
        """The fields of the keys, by the page that they act on: the same key may do one thing on each."""
        return [(title, [self[f"key_{a.name}"] for a in ACTIONS if a.page == page]) for page, title in KEY_PAGES]


@login_required
def preferences(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)
    form = PreferencesForm(request.POST or None, initial=_initial(user))
    if request.method != "POST" or not form.is_valid():
        return render(request, "preferences.html", {"form": form}, status=422 if form.errors else 200)
    given = form.cleaned_data
    keys = {a.name: given[f"key_{a.name}"] for a in ACTIONS if given[f"key_{a.name}"] not in ("", a.key)}
    user.preferences |= {
        "language": given["language"], "theme": given["theme"], "density": given["density"],
        "shortcuts": {"on": given["shortcuts"], "keys": keys},
    }  # fmt: skip
    user.save(update_fields=["preferences"])
    return remember_language(redirect(reverse("preferences") + "?saved"), given["language"])


def _initial(user: User) -> dict[str, Any]:
    known, shortcuts = user.preferences, Shortcuts.of(user.preferences)
    return {
        "language": known.get("language", "en"),
        "theme": known.get("theme", "system"),
        "density": known.get("density", "comfortable"),
        "shortcuts": shortcuts.on,
        **{f"key_{name}": key for name, key in shortcuts.keys.items()},
    }


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context of every page: theme and density, the project in view, and the places its visitor may go."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"theme": "system", "density": "comfortable", "places": [], "languages": settings.LANGUAGES}
    known = user.preferences
    return {
        "theme": known.get("theme", "system"), "density": known.get("density", "comfortable"),
        "languages": settings.LANGUAGES, "themes": THEMES, **_whereabouts(request, user),
    }  # fmt: skip


def _whereabouts(request: HttpRequest, user: User) -> dict[str, Any]:
    own = Membership.objects.filter(user=user, project__archived_at=None)
    held = list(own.select_related("project").order_by("project__name"))
    match = request.resolver_match
    slug = match.kwargs.get("slug") if match else None
    here = next((m.project for m in held if m.project.slug == slug), held[0].project if held else None)
    roles = {m.role for m in held if here and m.project_id == here.pk}
    at = (match.url_name or "") if match else ""
    at = WITHIN.get(at, at)
    places = [
        {"name": name, "label": label, "url": reverse(name, args=[here.slug]), "current": at == name}
        for name, label, allowed in PLACES
        if here and roles & allowed
    ]  # fmt: skip
    others = sorted({m.project for m in held if here and m.project_id != here.pk}, key=lambda p: p.name)
    return {"here": here, "places": places, "other_projects": others}
