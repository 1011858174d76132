"""The single keys of the desk and the console, and a person's own choice of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

DESK, CASES, COMPARE, BOTH = "desk", "cases", "compare", "both"
SHIFT = "Shift+"
NAMED = ("Space", "Enter", "Backspace", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight")


@dataclass(frozen=True)
class Action:
    """Something that a single key does on a page."""

    name: str
    key: str
    page: str
    label: str | Promise


ACTIONS = (
    Action("skip", "Space", DESK, gettext_lazy("Skip")),
    Action("flag", "f", DESK, gettext_lazy("Flag for the lead")),
    Action("escalate", "e", DESK, gettext_lazy("Escalate to an agent")),
    Action("undo", "z", DESK, gettext_lazy("Undo")),
    Action("guideline", "g", DESK, gettext_lazy("Guideline")),
    Action("suggestion", "s", DESK, gettext_lazy("Show the suggestion")),
    Action("keep", "l", DESK, gettext_lazy("Keep this item longer")),
    Action("filter", "/", DESK, gettext_lazy("Filter the categories")),
    Action("next_case", "j", CASES, gettext_lazy("Next case")),
    Action("previous_case", "k", CASES, gettext_lazy("Previous case")),
    Action("assign", "a", CASES, gettext_lazy("Assign to me")),
    Action("priority", "p", CASES, gettext_lazy("Priority")),
    Action("snooze", "h", CASES, gettext_lazy("Snooze")),
    Action("note", "n", CASES, gettext_lazy("Write a note")),
    Action("resolve", "e", CASES, gettext_lazy("Resolve")),
    Action("resolve_next", "Shift+e", CASES, gettext_lazy("Resolve and go to the next case")),
    Action("choose_case", "x", CASES, gettext_lazy("Choose the case for several at once")),
    Action("undo_batch", "z", CASES, gettext_lazy("Take back what was done to several cases")),
    Action("side_a", "a", COMPARE, gettext_lazy("A is better")),
    Action("side_b", "b", COMPARE, gettext_lazy("B is better")),
    Action("tie", "t", COMPARE, gettext_lazy("As good as each other")),
    Action("neither", "x", COMPARE, gettext_lazy("Neither should be sent")),
    Action("skip_pair", "Space", COMPARE, gettext_lazy("Skip")),
    Action("undo_pair", "z", COMPARE, gettext_lazy("Undo")),
    Action("keep_pair", "l", COMPARE, gettext_lazy("Keep this item longer")),
    Action("overlay", "?", BOTH, gettext_lazy("Show the keys")),
)


@dataclass(frozen=True)
class Shortcuts:
    """Whether single keys act at all, and which key does what."""

    on: bool
    keys: Mapping[str, str]

    @classmethod
    def of(cls, preferences: Mapping[str, Any]) -> Shortcuts:
        """As stored with a person; what is missing or no longer known falls back to the default."""
        stored = preferences.get("shortcuts") or {}
        own = stored.get("keys") or {}
        return cls(bool(stored.get("on", True)), {a.name: str(own.get(a.name) or a.key) for a in ACTIONS})

    @property
    def caps(self) -> dict[str, str]:
        return {name: cap(key) for name, key in self.keys.items()} if self.on else {}

    @staticmethod
    def faults(keys: Mapping[str, str]) -> dict[str, str]:
        """What is wrong with a choice of keys, by action. An empty key stands for the default."""
        found: dict[str, str] = {}
        chosen = {a: keys.get(a.name) or a.key for a in ACTIONS}
        for action, key in chosen.items():
            plain = key.removeprefix(SHIFT)
            if len(plain) != 1 and key not in NAMED:
                found[action.name] = _("Use one character, or one of: %(names)s.") % {"names": ", ".join(NAMED)}
            elif plain.isdigit():
                found[action.name] = _("Digits choose categories: use another key.")
            elif twin := next((o for o, k in chosen.items() if o != action and _collide(action, key, o, k)), None):
                found[action.name] = _("“%(key)s” already does: %(other)s.") % {"key": key, "other": twin.label}
        return found


def _collide(one: Action, key: str, other: Action, other_key: str) -> bool:
    same_page = one.page == other.page or BOTH in (one.page, other.page)
    return same_page and key.casefold() == other_key.casefold()


def key_rows(shortcuts: Shortcuts, *pages: str) -> list[tuple[str, str | Promise]]:
    """Key caps with what they do, for the overlay of a page."""
    return [(cap(shortcuts.keys[a.name]), a.label) for a in ACTIONS if a.page in pages]


def cap(key: str) -> str:
    """A key as it stands on its cap."""
    arrows = {"ArrowUp": "↑", "ArrowDown": "↓", "ArrowLeft": "←", "ArrowRight": "→"}
    if key.startswith(SHIFT):
        return "⇧" + key.removeprefix(SHIFT).upper()
    return arrows.get(key, key.upper() if len(key) == 1 else key)
