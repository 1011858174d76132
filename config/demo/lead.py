"""The sample lead: looks at the pages, makes a category of a newborn topic, and moves rollouts on.

A desk of four hundred customers has too few for the evidence that a rollout would wait for; the lead moves it on by hand, and
the rollout's history says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from config.demo.desk import UNFINISHED, App, Clock, Person
from config.demo.script import NEW, NEW_DESCRIPTION, NEW_NAME, Pace, Truth

MOSTLY = 0.6  # of a topic's typical texts


class Lead:
    """Acts by what the service shows, so that a second start goes on where the first was."""

    def __init__(self, app: App, person: Person, pace: Pace, *, seed: int, told: Callable[[str], None]) -> None:
        self.app, self.person, self.pace, self.told = app, person, pace, told
        self.truth, self.clock = Truth(seed, pace.locales), Clock()
        self.checked = self.mapped = self.moved = time.monotonic()
        self.seen: set[tuple[int, int]] = set()
        self.judged: dict[int, int] = {}  # size of each topic when its texts were read
        self.made = False

    def play(self) -> None:
        """Until a model that knows the new problem is in production and nothing is under way, in no language."""
        while not (self.app.has_learned() and not self.app.training() and not self.running_rollouts()):
            self.clock.wait(1 / self.pace.look_every)
            self.look()
        self.told("Lead: the new problem is known and served. Over to you.")

    def look(self) -> None:
        """One glance at everything."""
        self.roll_out()
        if self.made or self.app.serving() is None:
            return
        alarmed = any(r["state"] == "critical" for r in self.person.get("/drift?limit=5")["reports"])
        topics = self.person.get("/topics")["topics"]
        if not alarmed:
            self.check_now()
        if (found := self.newborn(topics) if alarmed else None) is not None:
            self.make_category(found)
        elif alarmed or not topics:
            self.find_topics()

    def roll_out(self) -> None:
        """Start what waits for a person, and move on what has been at its step for long enough."""
        running = self.running_rollouts()
        for rollout in running:
            step = (rollout["id"], len(rollout["steps"]))
            if step in self.seen and time.monotonic() - self.moved >= self.pace.step_seconds:
                self.person.send(f"/rollouts/{rollout['id']}/advance")
            elif step not in self.seen:
                self.seen.add(step)
                self.moved = time.monotonic()
                self.told(f"Lead: v{rollout['candidate']} answers {rollout['percent']} % of the customers.")
        if not running:
            for number in self.waiting():
                self.person.send(f"/models/{number}/rollout")

    def running_rollouts(self) -> list[dict[str, Any]]:
        found = self.person.get("/rollouts")["rollouts"]
        return [r for r in found if r["state"] == "running"]

    def waiting(self) -> list[int]:
        """The newest version of each encoder that waits in staging behind an older one in production."""
        versions = self.person.get("/models")["models"]
        serving = {m["encoder"]: m["number"] for m in versions if m["stage"] == "production"}
        newest = {m["encoder"]: m["number"] for m in reversed(versions) if m["stage"] == "staging"}
        return [number for sha, number in newest.items() if number > serving.get(sha, number)]

    def check_now(self) -> None:
        if time.monotonic() - self.checked >= self.pace.check_every:
            self.checked = time.monotonic()
            self.person.send("/drift")

    def find_topics(self) -> None:
        """Ask for a run, unless one is under way or the last was a moment ago."""
        jobs = self.person.get("/jobs")["jobs"]
        busy = any(j["kind"] == "topics" and j["state"] in UNFINISHED for j in jobs)
        if not busy and time.monotonic() - self.mapped >= self.pace.check_every:
            self.mapped = time.monotonic()
            self.person.send("/topics/runs", {"refit": False})

    def newborn(self, topics: list[dict[str, Any]]) -> int | None:
        """The number of the topic whose typical texts are mostly about the new problem."""
        for topic in (t for t in topics if self.judged.get(t["number"]) != t["size"]):
            self.judged[topic["number"]] = topic["size"]
            texts = [t["text"] for t in self.person.get(f"/topics/{topic['number']}")["texts"]]
            if texts and sum(self.truth.of(t) == NEW for t in texts) / len(texts) >= MOSTLY:
                return int(topic["number"])
        return None

    def make_category(self, number: int) -> None:
        """Once: where an earlier start has made it, the service says so."""
        self.person.send(f"/topics/{number}", {"name": NEW_NAME}, method="PATCH")
        made = self.person.send(
            f"/topics/{number}/category", {"key": NEW, "name": NEW_NAME, "description": NEW_DESCRIPTION}
        )
        self.made = made.status_code in (201, 409)
        if made.status_code == 201:
            self.told(f"Lead: topic {number} is new; it is a category now, and its inquiries are being labeled.")
