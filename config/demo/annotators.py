"""Sample annotators: two for each language on the first shift, an expert, and a second shift for what the lead sends.

They keep up with the first labels, then slow down so that a visitor always finds something to do. What fits no category
they skip, with that reason; the second shift, which has skipped nothing, labels it once there is a category.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from config.demo.desk import App, Clock, Person
from config.demo.script import NEW, NEW_NAME, Pace, Truth
from learning.sample.grammar import KEYS

RESOLVED = "resolved"


class Annotators:
    """One process plays them all."""

    def __init__(
        self, app: App, first: Sequence[Person], second: Sequence[Person], expert: Person, pace: Pace, *, seed: int,
        told: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.app, self.pace, self.told = app, pace, told
        self.first, self.second, self.expert = list(first), list(second), expert
        self.truth = Truth(seed, pace.locales)
        self.rng, self.clock = random.Random(seed + 1), Clock()  # noqa: S311 - sample data

    def play(self) -> None:
        if not self.app.has_learned():
            self.told("Annotators: the first labels.")
            self.work(self.first, self.pace.label_rate, labels=self.pace.first_labels)
            self.told("Annotators: slower now; the queue is yours, too.")
            self.until_served()
            self.work(self.first, self.pace.slow_label_rate, labels=self.pace.usual_labels, until=self.sent)
            self.wait_for(self.sent)
            self.told("Annotators: the lead has sent a new kind of problem; the second shift labels it.")
            everybody = [*self.second, *self.first]
            self.work(everybody, self.pace.label_rate, labels=self.pace.new_labels)
            self.work(everybody, self.pace.slow_label_rate, labels=10**6, until=self.app.has_learned)
            self.work(everybody, self.pace.label_rate, labels=self.pace.last_labels)
        self.told("Annotators: done. What is in the queue now is yours.")

    def work(
        self, people: Sequence[Person], rate: float, *, labels: int, until: Callable[[], bool] | None = None
    ) -> None:
        """Answer until so many labels are settled, or it is so."""
        settled, turn = 0, 0
        while settled < labels and not (until is not None and turn % 10 == 0 and until()):
            self.clock.wait(rate)
            settled += self.label(people[turn % len(people)], noise=self.pace.noise)
            turn += 1
            if turn % 8 == 0:
                settled += self.label(self.expert, noise=0.0)

    def until_served(self) -> None:
        """Wait for the first version; where its gates stopped it, label on until the next training begins."""
        while self.app.serving() is None:
            if self.app.training():
                self.clock.wait(1 / self.pace.look_every)
            else:
                self.work(self.first, self.pace.label_rate, labels=5)

    def wait_for(self, so: Callable[[], bool]) -> None:
        while not so():
            self.clock.wait(1 / self.pace.look_every)

    def sent(self) -> bool:
        """Whether the lead has made a category of a topic: its inquiries come first in the queue then."""
        return any(t["name"] == NEW_NAME for t in self.app.get("/topics")["topics"])

    def label(self, person: Person, *, noise: float) -> bool:
        """One item, if there is one; whether its label is settled by that."""
        item = claim(person)
        if item is None:
            return False
        right = self.truth.of(item["task"]["text"])
        if right is None:  # a visitor's inquiry: leave it to people
            return self._skip(person, item, "unclear")
        category = self.rng.choice(KEYS) if self.rng.random() < noise else right
        given = {"token": item["lease"]["token"], "category": category}
        answer = person.send(f"/tasks/{item['task']['id']}/annotations", given)
        if answer.status_code == 201:
            return bool(answer.json()["state"] == RESOLVED)
        return self._skip(person, item, "missing") if category == NEW else False

    def _skip(self, person: Person, item: dict[str, Any], reason: str) -> bool:
        person.send(f"/tasks/{item['task']['id']}/skip", {"token": item["lease"]["token"], "reason": reason})
        return False


def claim(person: Person) -> dict[str, Any] | None:
    answer = person.send("/queue/next")
    return dict(answer.json()) if answer.status_code == 200 else None
