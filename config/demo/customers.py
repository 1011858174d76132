"""Sample customers: they ask, read the answer, and say what they think of it.

Acts follow from what the service does, not from a timetable: usual business until a trained model has answered it for a
while, then a new kind of problem until a model in production knows it, then quiet.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice
from typing import Any

from config.demo import script
from config.demo.desk import App, Clock
from config.demo.script import Pace, Said

LOOK = 10  # inquiries between two looks at which version serves


class Customers:
    """One process plays them all. ``told`` is called with each act as it begins."""

    def __init__(self, app: App, pace: Pace, *, seed: int, before: int, told: Callable[[str], None]) -> None:
        self.app, self.pace, self.told = app, pace, told
        self.rng, self.clock = random.Random(seed), Clock()  # noqa: S311 - sample data
        # A second start goes on behind the texts of the first.
        self.usual = islice(script.usual(seed, pace.locales), before, None)
        self.new = islice(script.new(seed, pace.locales), before // 4, None)
        self.before = before

    def play(self, most: int) -> int:
        """Tell the story and go on quietly, until ``most`` inquiries were asked; returns how many were."""
        asked = self.before
        if not self.app.has_learned():
            self.told("Customers: the morning's inquiries are coming in.")
            asked += self.act(self.pace.opening_rate, least=max(self.pace.opening - asked, 0))
            asked += self.act(self.pace.rate, until=lambda: self.app.serving() is not None)
            self.told("Customers: a trained model answers; business as usual.")
            known = self.last_check()
            asked += self.act(self.pace.rate, least=self.pace.usual, until=lambda: self.last_check() > known)
            self.told("Customers: a new kind of problem appears: somebody cheats people in the shop's name.")
            asked += self.act(
                self.pace.rate, least=self.pace.spread, until=self.app.has_learned, share=self.pace.new_share
            )
            self.told("Customers: the model in production knows the new problem.")
            asked += self.act(self.pace.rate, least=self.pace.after, share=self.pace.new_share)
            self.told("The story is told. Customers go on slowly, until you stop the demo.")
        return asked + self.act(1 / self.pace.calm_every, least=max(most - asked, 0), share=self.pace.new_share / 3)

    def last_check(self) -> int:
        """The number of the last drift report, 0 before any: the calm before the new problem is worth a look, too."""
        return max((int(r["id"]) for r in self.app.get("/drift?limit=1")["reports"]), default=0)

    def act(self, rate: float, *, least: int = 0, until: Callable[[], bool] | None = None, share: float = 0.0) -> int:
        """Ask at least so many and until it is so, ``share`` of them about the new problem; returns how many."""
        asked = 0
        while asked < least or (until is not None and not (asked % LOOK == 0 and until())):
            # Who only waits for the others leaves them the machine.
            self.clock.wait(rate if asked < least else min(rate, self.pace.waiting_rate))
            self.ask(next(self.new if self.rng.random() < share else self.usual))
            asked += 1
        return asked

    def ask(self, said: Said) -> None:
        customer = f"customer-{self.rng.randrange(400)}"
        body = {"text": said.text, "locale": said.locale, "channel": "web", "customer": customer}
        answer = self.app.post("/inquiries", body)
        if answer.status_code == 201 and answer.json()["reply"] is not None:
            events = self.reaction(answer.json()["id"], right=answer.json()["category"] == said.category)
            self.app.post("/feedback", events)

    def reaction(self, inquiry: str, *, right: bool) -> list[dict[str, Any]]:
        happy = self.rng.random() < (0.85 if right else 0.15)
        events: list[dict[str, Any]] = [
            {"inquiry": inquiry, "type": "impression"},
            {"inquiry": inquiry, "type": "dwell", "value": round(self.rng.uniform(2, 60), 1)},
        ]
        if self.rng.random() < 0.5:
            events.append({"inquiry": inquiry, "type": "thumbs", "value": "up" if happy else "down"})
        if self.rng.random() < 0.2:
            events.append({"inquiry": inquiry, "type": "rating", "value": self.rng.choice([4, 5] if happy else [1, 2])})
        if self.rng.random() < 0.1:
            events.append(
                {"inquiry": inquiry, "type": "nps", "value": self.rng.choice([8, 9, 10] if happy else [1, 3, 6])}
            )
        return events
