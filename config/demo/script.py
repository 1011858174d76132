"""What the sample customers write, and at which pace: the same seed, the same texts.

Usual business comes from the twelve categories of the sample grammar. After a while a thirteenth kind of problem appears
(fraud in the shop's name), for which the desk has no category.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from feedback.masking import mask
from learning.sample.grammar import EMERGING_KEY, emerging, generate

NEW = EMERGING_KEY
NEW_NAME = "Scam reports"
NEW_DESCRIPTION = "Somebody pretends to be the shop: false messages, calls, pages or prizes. 詐欺: 店を名乗る偽のメッセージや電話、サイト。"
BLOCK = 300
# How many blocks an annotator looks through for a text: what is not among them was written by a visitor.
MOST_BLOCKS = 20


@dataclass(frozen=True)
class Said:
    """One text of a sample customer, with the category that it belongs to."""

    text: str
    category: str
    locale: str


@dataclass(frozen=True)
class Pace:
    """The story's clock. Rates are per second, times in seconds; counts are what each act needs as evidence."""

    locales: tuple[str, ...] = ("en", "en", "ja")  # two English customers for one Japanese
    opening: int = 300  # inquiries that lie there in the morning
    opening_rate: float = 6.0
    usual: int = 130  # inquiries of usual business that the first model answers
    spread: int = 150  # inquiries after which the new problem is plain to see
    rate: float = 1.5
    waiting_rate: float = 0.8  # while they wait for the others
    new_share: float = 0.4  # of inquiries, while the new kind of problem lasts
    after: int = 150  # inquiries that the recovered model answers, before it becomes quiet
    calm_every: float = 20.0
    first_labels: int = 105
    usual_labels: int = 40
    new_labels: int = 90
    last_labels: int = 60
    label_rate: float = 3.0  # answers of all annotators together
    slow_label_rate: float = 0.6
    look_every: float = 2.0  # a glance of the lead, or of the second shift, at the pages
    step_seconds: float = 8.0  # the lead's patience with a step of a rollout
    check_every: float = 45.0  # the lead's own drift checks, beside those that beat asks for
    noise: float = 0.06  # share of an annotator's answers that are wrong


PACES = {
    "normal": Pace(),
    # For tests: one language, as fast as the machine allows, and no more texts than the evidence needs.
    "quick": Pace(
        locales=("en",), opening=230, opening_rate=60.0, usual=60, spread=160, rate=12.0, waiting_rate=2.0, after=120,
        first_labels=92, usual_labels=20, new_labels=60, last_labels=80, label_rate=60.0, slow_label_rate=4.0,
        look_every=0.5, step_seconds=0.5, check_every=5.0,
    ),
}  # fmt: skip


def usual(seed: int, locales: tuple[str, ...]) -> Iterator[Said]:
    """Endless business of the twelve categories."""
    for block in itertools.count():
        yield from usual_block(seed, block, locales)


def usual_block(seed: int, block: int, locales: tuple[str, ...]) -> Iterator[Said]:
    streams = {lo: iter(generate(BLOCK, seed=seed + block, locale=lo)) for lo in dict.fromkeys(locales)}
    for n in range(BLOCK):
        locale = locales[n % len(locales)]
        yield Said(*next(streams[locale]), locale)


def new(seed: int, locales: tuple[str, ...]) -> Iterator[Said]:
    """Endless reports of the new kind of problem."""
    for block in itertools.count():
        yield from new_block(seed, block, locales)


def new_block(seed: int, block: int, locales: tuple[str, ...]) -> Iterator[Said]:
    streams = {lo: iter(emerging(BLOCK, seed=seed + block, locale=lo)) for lo in dict.fromkeys(locales)}
    for n in range(BLOCK):
        locale = locales[n % len(locales)]
        yield Said(next(streams[locale]), NEW, locale)


class Truth:
    """The category of a text as annotators see it (masked), for everybody who knows the seed; None for a visitor's text."""

    def __init__(self, seed: int, locales: tuple[str, ...]) -> None:
        self._known: dict[str, str] = {}
        self._blocks = iter(
            [source(seed, block, locales) for block in range(MOST_BLOCKS) for source in (usual_block, new_block)]
        )

    def of(self, text: str) -> str | None:
        while text not in self._known:
            block = next(self._blocks, None)
            if block is None:
                return None
            self._known |= {mask(said.text).text: said.category for said in block}
        return self._known[text]
