"""How the processes of the story see the service: over HTTP, with a key or signed in, and with patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from config import embedded, stack
from config.demo.script import NEW

AWAY = 120.0  # seconds that a service may be away, while it restarts
BUSY = (429, 502, 503, 504)
UNFINISHED = ("queued", "running", "failed")
PROBE = "A message in your name wants my card number, is it a scam?"


def address() -> str:
    """Where the stack listens, once it is ready; SystemExit where it does not come up."""
    state = embedded.home() / "stack"
    end = time.monotonic() + stack.READY_WITHIN
    while time.monotonic() < end:
        lines = state.read_text().split() if state.exists() else []
        if len(lines) == 2 and stack.is_ready(lines[1]):
            return lines[1]
        time.sleep(0.5)
    raise SystemExit("The stack is not there: start it with manage.py run.")


def patiently(call: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer, asked for again while the service is away or busy. Raises httpx.TransportError after AWAY seconds."""
    end = time.monotonic() + AWAY
    while True:
        try:
            answer = call()
            if answer.status_code not in BUSY or time.monotonic() > end:
                return answer
        except httpx.TransportError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


class Clock:
    """Keeps a process at most at a rate per second, however fast the service answers."""

    def __init__(self) -> None:
        self._free_at = time.monotonic()

    def wait(self, rate: float) -> None:
        time.sleep(max(self._free_at - time.monotonic(), 0.0))
        self._free_at = max(self._free_at, time.monotonic() - 1.0) + 1 / rate


class App:
    """The shop's own program, with its key."""

    def __init__(self, url: str, key: str) -> None:
        self.http = httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Api-Key {key}"}, timeout=30)

    def get(self, path: str) -> dict[str, Any]:
        answer = patiently(lambda: self.http.get(path))
        return dict(answer.raise_for_status().json())

    def post(self, path: str, body: Any) -> httpx.Response:
        return patiently(lambda: self.http.post(path, json=body))

    def serving(self) -> str | None:
        """The name of the version that English texts get, once one that was trained is in production for everybody."""
        return next(iter(self._in_production()), None)

    def has_learned(self) -> bool:
        """Whether the version that English texts get was trained with the new category.

        A label is live at once: the version before knows the category, too, as soon as the first of its labels is settled.
        """
        return any(NEW in m["lineage"].get("category_ids", {}) for m in self._in_production().values())

    def training(self) -> bool:
        """Whether a training waits or runs."""
        return any(j["kind"] == "train" and j["state"] in UNFINISHED for j in self.get("/jobs")["jobs"])

    def _in_production(self) -> dict[str, dict[str, Any]]:
        """The version in production that reads English: name → what is known of it. Empty before the first."""
        versions = {f"v{m['number']}": m for m in self.get("/models?stage=production")["models"]}
        model = self.post("/predict", {"text": PROBE, "locale": "en"}).raise_for_status().json()["model"]
        return {model: versions[model]} if model in versions else {}


class Person:
    """Somebody who signed in."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url, self.username = url, username
        self.http = httpx.Client(base_url=url, timeout=30, follow_redirects=True)
        patiently(lambda: self.http.get("/sign-in"))
        form = {"username": username, "password": password, "csrfmiddlewaretoken": self.http.cookies["csrftoken"]}
        self.http.post("/sign-in", data=form, headers={"Referer": url})
        if "sessionid" not in self.http.cookies:
            raise SystemExit(f"{username} could not sign in: was the password changed?")

    def get(self, path: str) -> dict[str, Any]:
        return dict(patiently(lambda: self.http.get(f"/api/v1{path}")).raise_for_status().json())

    def send(self, path: str, body: Any = None, *, method: str = "POST") -> httpx.Response:
        headers = {"X-CSRFToken": self.http.cookies["csrftoken"], "Referer": self.url}
        return patiently(lambda: self.http.request(method, f"/api/v1{path}", json=body or {}, headers=headers))
