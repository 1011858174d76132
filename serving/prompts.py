"""Prompts from templates: `{inquiry}` and its fellows are filled in, checked when the template is written. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labeling import macros

VARIABLES = ("inquiry", "category", "guideline", "locale", "examples")
MOST_EXAMPLES = 20
# What a project that wrote none goes by.
DEFAULT = "Inquiry: {inquiry}\nCategory: {category}\nReply:"


@dataclass(frozen=True)
class Template:
    """One version of a prompt; ``category`` is a key or "" for all, ``locale`` a locale or "" for all, 0 the built-in one."""

    category: str
    locale: str
    number: int
    text: str
    examples: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the bundle of the version that was tuned with it."""
        return {"category": self.category, "locale": self.locale, "number": self.number, "text": self.text,
                "examples": [list(e) for e in self.examples]}  # fmt: skip

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Template:
        examples = tuple((str(a), str(b)) for a, b in given["examples"])
        return cls(given["category"], given["locale"], int(given["number"]), given["text"], examples)


BUILT_IN = Template("", "", 0, DEFAULT)


def fault_in(text: str, examples: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """(field, what is wrong) of a template that cannot be used, else None.

    >>> fault_in("Answer: {question}", [])
    ('text', 'has the variable {question}: there are {inquiry}, {category}, {guideline}, {locale}, {examples}')
    >>> fault_in("Category: {category}", [])
    ('text', 'has to name {inquiry}: without it the model never reads what was asked')
    >>> fault_in("{inquiry}", [("Hi", "Hello")])
    ('examples', 'are nowhere in the text: write {examples} where they belong')
    >>> fault_in("{examples}{inquiry}", [("Hi", " ")])
    ('examples', 'number 1 has no reply')
    """
    found = macros.gaps(text)
    if unknown := [name for name in found if name not in VARIABLES]:
        return "text", f"has the variable {{{unknown[0]}}}: there are {', '.join(f'{{{v}}}' for v in VARIABLES)}"
    if "inquiry" not in found:
        return "text", "has to name {inquiry}: without it the model never reads what was asked"
    return _fault_in_examples(found, examples)


def _fault_in_examples(found: list[str], examples: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    if len(examples) > MOST_EXAMPLES:
        return "examples", f"are {len(examples)}; at most {MOST_EXAMPLES} are read"
    for n, pair in enumerate(examples, 1):
        for name, part in zip(("inquiry", "reply"), pair, strict=True):
            if not part.strip():
                return "examples", f"number {n} has no {name}"
    if examples and "examples" not in found:
        return "examples", "are nowhere in the text: write {examples} where they belong"
    return None


def render(template: Template, values: Mapping[str, str]) -> str:
    """The prompt; a variable without a value is empty, and values are never searched for variables.

    >>> render(Template("", "", 1, "{examples}Q: {inquiry}", (("a", "b"),)), {"inquiry": "{category}"})
    'Q: a\\nA: b\\n\\nQ: {category}'
    """
    shown = "".join(f"Q: {asked}\nA: {said}\n\n" for asked, said in template.examples)
    known = {**dict.fromkeys(VARIABLES, ""), **values, "examples": shown}
    return _filled(template.text, known)


def _filled(text: str, values: Mapping[str, str]) -> str:
    # One pass over the template alone; macros.fill leaves a gap whose value is empty, which a model would read as text.
    parts: list[str] = []
    rest = text
    while gap := next(iter(macros.gaps(rest)), None):
        before, _, rest = rest.partition(f"{{{gap}}}")
        parts += [before, values[gap]]
    return "".join([*parts, rest])


def fitting(templates: Sequence[Template], *, category: str, locale: str) -> Template:
    """The most particular one: of the category before all categories, of the locale before its language before any."""
    language = locale.replace("_", "-").split("-")[0]
    places = [(c, at) for c in (category, "") for at in (locale, language, "")]
    by_place = {(t.category, t.locale): t for t in templates}
    return next((by_place[place] for place in places if place in by_place), BUILT_IN)
