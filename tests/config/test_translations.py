"""What is compiled says what is written: a page takes its words from the .mo beside each .po."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(ROOT.glob("*/locale/*/LC_MESSAGES/django.po"))
FIELD = re.compile(r'^(msgctxt|msgid|msgstr(?:\[0\])?) ((?:".*"\n?)+)', re.MULTILINE)


def written(source: Path) -> Iterator[tuple[str, str]]:
    """(message, translation) of each entry that has one."""
    for entry in source.read_text(encoding="utf-8").split("\n\n"):
        parts = {
            name.removesuffix("[0]"): "".join(ast.literal_eval(line) for line in text.splitlines())
            for name, text in FIELD.findall(entry.strip() + "\n")
        }
        if parts.get("msgid") and parts.get("msgstr"):
            context = f"{parts['msgctxt']}\x04" if "msgctxt" in parts else ""
            yield context + parts["msgid"], parts["msgstr"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.parents[3].name)
def test_every_translation_is_compiled(source):
    with source.with_suffix(".mo").open("rb") as handle:
        catalog = gettext.GNUTranslations(handle)._catalog
    entries = dict(written(source))
    assert len(entries) > 10
    assert {m: t for m, t in entries.items() if catalog.get(m, catalog.get((m, 0))) != t} == {}
