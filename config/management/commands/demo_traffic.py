"""`manage.py demo_traffic`: sample customers, annotators and an expert, over HTTP like everybody else."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandParser

from config import embedded, sample_desk, stack
from feedback.masking import mask
from feedback.models import Inquiry
from learning.sample.grammar import CATEGORIES, generate

FIRST_BURST = 240
LOCALES = ("en", "en", "ja")  # two English customers for one Japanese
NOISE = 0.08
# How many of the inquiries the sample annotators keep up with: most of the first, so that a model is soon trained, then
# few, so that a visitor always finds something to do.
LABELED_FIRST, LABELED_LATER = 0.5, 0.1


class Command(BaseCommand):
    help = "Post sample inquiries and feedback to the sample desk and label a part of its queue, until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seed", type=int, default=7)
        parser.add_argument("--inquiries", type=int, default=5000, help="stop after so many")

    def handle(self, *args: Any, **options: Any) -> None:
        url = _wait_for_url()
        desk = sample_desk.load()
        rng = random.Random(options["seed"])  # noqa: S311 - sample data
        customers = Customers(url, desk.key, rng)
        annotators = [Annotator(url, n, desk.people[n][0]) for n in ("sample1", "sample2")]
        expert = Annotator(url, "sample3", desk.people["sample3"][0])
        before = Inquiry.objects.filter(project__slug=sample_desk.SLUG).count()
        for text, category, _ in itertools.islice(sample(options["seed"]), before):
            customers.truth[mask(text).text] = category  # what an earlier run has asked is in the queue still
        texts = itertools.islice(sample(options["seed"]), before, before + options["inquiries"])
        for number, (text, category, locale) in enumerate(texts, before):
            customers.ask(text, category, locale)
            if rng.random() < (LABELED_FIRST if number < FIRST_BURST else LABELED_LATER):
                for person in annotators:
                    person.label_one(customers.truth, rng, noise=NOISE)
            if number < FIRST_BURST and number % 10 == 0:  # later disputes wait for a visitor
                expert.label_one(customers.truth, rng, noise=0.0)
            if number >= FIRST_BURST:
                time.sleep(rng.uniform(0.5, 2.0))


def sample(seed: int) -> Iterator[tuple[str, str, str]]:
    """Endless (text, category, locale)."""
    for block in itertools.count():
        streams = {lo: iter(generate(400, seed=seed + block, locale=lo)) for lo in set(LOCALES)}
        for n in range(300):
            locale = LOCALES[n % len(LOCALES)]
            yield (*next(streams[locale]), locale)


def _wait_for_url() -> str:
    state = embedded.home() / "stack"
    end = time.monotonic() + stack.READY_WITHIN
    while time.monotonic() < end:
        lines = state.read_text().split() if state.exists() else []
        if len(lines) == 2 and stack.is_ready(lines[1]):
            return lines[1]
        time.sleep(0.5)
    raise SystemExit("The stack is not there: start it with manage.py run.")


class Customers:
    """Ask, read the answer, and say what they think of it."""

    def __init__(self, url: str, key: str, rng: random.Random) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Api-Key {key}"}, timeout=30)
        self.rng, self.truth = rng, dict[str, str]()

    def ask(self, text: str, category: str, locale: str) -> None:
        self.truth[mask(text).text] = category  # annotators see it without personal data
        answer = self.http.post("/api/v1/inquiries", json={"text": text, "locale": locale, "channel": "web"})
        if answer.status_code != 201 or answer.json()["reply"] is None:
            return
        inquiry, right = answer.json()["id"], answer.json()["category"] == category
        happy = self.rng.random() < (0.85 if right else 0.15)
        events: list[dict[str, Any]] = [
            {"inquiry": inquiry, "type": "impression"},
            {"inquiry": inquiry, "type": "dwell", "value": round(self.rng.uniform(2, 60), 1)},
        ]
        if self.rng.random() < 0.5:
            events.append({"inquiry": inquiry, "type": "thumbs", "value": "up" if happy else "down"})
        if self.rng.random() < 0.2:
            events.append({"inquiry": inquiry, "type": "rating", "value": self.rng.choice([4, 5] if happy else [1, 2])})
        self.http.post("/api/v1/feedback", json=events)


class Annotator:
    """Labels one task at a time, and is sometimes wrong."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, follow_redirects=True)
        self.http.get("/sign-in")
        form = {"username": username, "password": password, "csrfmiddlewaretoken": self.http.cookies["csrftoken"]}
        self.http.post("/sign-in", data=form, headers={"Referer": url})
        self.url = url

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"X-CSRFToken": self.http.cookies["csrftoken"], "Referer": self.url}
        return self.http.post(path, json=body, headers=headers)

    def label_one(self, truth: dict[str, str], rng: random.Random, *, noise: float) -> None:
        claimed = self._post("/api/v1/queue/next", {})
        if claimed.status_code != 200:
            return
        task, lease = claimed.json()["task"], claimed.json()["lease"]
        right = truth.get(task["text"])
        if right is None:  # somebody else's inquiry: leave it to people
            self._post(f"/api/v1/tasks/{task['id']}/release", {"token": lease["token"]})
            return
        category = rng.choice(CATEGORIES).key if rng.random() < noise else right
        self._post(f"/api/v1/tasks/{task['id']}/annotations", {"token": lease["token"], "category": category})
