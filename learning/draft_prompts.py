"""What a prompt may say of an inquiry, for tuning and for writing alike."""

from __future__ import annotations

from feedback.models import Inquiry
from serving import prompts
from serving.prompts import Template


def values_of(inquiry: Inquiry) -> dict[str, str]:
    """The variables of a template, and ``key``, the category's key, by which the template is found."""
    category = inquiry.category
    return {
        "inquiry": inquiry.text, "locale": inquiry.locale, "key": category.key if category else "",
        "category": category.name if category else "", "guideline": category.guideline if category else "",
    }  # fmt: skip


def prompt_for(asked: dict[str, str], templates: list[Template]) -> str:
    """The prompt of what `values_of` says about an inquiry."""
    return prompts.render(prompts.fitting(templates, category=asked["key"], locale=asked["locale"]), asked)
