"""The page on which people compare two replies to an inquiry."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from labeling.access import LABELERS, Visitor, page
from labeling.shortcuts import BOTH, COMPARE, Shortcuts, key_rows


@page(*LABELERS)
def compare(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The pairs are fetched by its script: a GET must not take one from the queue."""
    shortcuts = Shortcuts.of(who.user.preferences)
    context = {
        "project": who.project, "caps": shortcuts.caps, "keys": key_rows(shortcuts, COMPARE, BOTH),
        "shortcuts_on": shortcuts.on,
        "desk": {
            "project": who.project.slug, "user": who.user.pk, "api": reverse("comparison-next").removesuffix("comparisons/next"),
            "signIn": f"{reverse('sign-in')}?next={request.path}",
            "shortcuts": {"on": shortcuts.on, "keys": dict(shortcuts.keys)}, "language": get_language(), "words": _words(),
        },
    }  # fmt: skip
    return render(request, "labeling/compare.html", context)


def _words() -> dict[str, str]:
    """What the script says, in the language of the page."""
    return {
        "pair": _("Comparison {n}"),
        "received": _("Received {when}"),
        "lost": _("Your time on this pair has run out. You can still answer; the answer is kept, but may not be counted."),
        "next": _("Saved. Next pair."),
        "skipped": _("Skipped. Next pair."),
        "extra": _("Your time on that pair had run out: your answer is kept, but not counted."),
        "refused": _("Not saved: {why}"),
        "saving": _("Saving"),
        "saved": _("Saved"),
        "kept": _("No connection. Your answer is kept on this device and sent when the connection is back."),
        "signed_out": _("You have been signed out. Your answers are kept on this device and sent as soon as you sign in again."),
        "undone": _("Taken back: the pair is in front of you again."),
        "undone_later": _("Taken back. The pair comes again."),
        "nothing_to_undo": _("There is nothing to take back."),
        "offline_empty": _("No connection. The next pair comes when the connection is back."),
        "kept_longer": _("Yours for {time} more."),
    }  # fmt: skip
