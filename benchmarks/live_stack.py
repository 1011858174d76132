"""From the POST of an annotation to the answer that has learned it, over HTTP on a real stack under load."""

from __future__ import annotations

import csv
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np

from benchmarks.harness import Corpus, progress
from benchmarks.loop import slugify
from benchmarks.stack import Person, Stack, with_patience
from feedback.masking import mask

PASSWORD = "live-benchmark-pass-1"
SLUG = "live"
BUSY_CLIENTS = 2
PATIENCE = 60.0


def served_after(corpus: Corpus, *, labels: int, base: int, seed: int, kill: bool = False) -> dict[str, Any]:
    """Percentiles in milliseconds over ``labels`` annotations, the owner's CPU per label, and labels that were lost (0).

    With ``kill`` the process that follows labels is killed -9 in the middle.
    """
    with Stack() as stack:
        key = _project(stack, corpus, base, seed)
        person = Person(stack.url, "labeler", PASSWORD)
        api = httpx.Client(base_url=stack.url, headers={"Authorization": f"Api-Key {key}"}, timeout=60)
        named = zip(corpus.train_texts, corpus.train_labels, strict=True)
        truth = {mask(t).text: slugify(corpus.categories[y]) for t, y in named}
        texts = corpus.train_texts[base : base + 5 * labels]
        _post(api, texts)
        walls: list[float] = []
        with _busy(stack.url, key, corpus.test_texts):
            for n in progress(range(labels), "labels"):
                if kill and n == labels // 2:
                    stack.processes("follow_labels")[0].send_signal(signal.SIGKILL)
                walls.append(_one(api, person, truth))
        cpu = sum(sum(p.cpu_times()[:2]) for p in stack.processes("follow_labels"))
        lost = _lost(stack)
    ms = 1000 * np.array(walls)
    return {
        "served_after_ms": {"p50": float(np.median(ms)), "p95": float(np.quantile(ms, 0.95)), "max": float(ms.max())},
        "served_after_labels": labels, "owner_cpu_s": cpu, "busy_clients": BUSY_CLIENTS, "lost": lost,
    }  # fmt: skip


def _project(stack: Stack, corpus: Corpus, base: int, seed: int) -> str:
    """A project with a model trained on ``base`` labels; its key."""
    categories, labels = stack.home / "categories.json", stack.home / "labels.csv"
    rows = [{"key": slugify(c), "name": n} for c, n in zip(corpus.categories, corpus.names, strict=True)]
    categories.write_text(json.dumps(rows))
    with labels.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        writer.writerows(
            (t, slugify(corpus.categories[y]))
            for t, y in zip(corpus.train_texts[:base], corpus.train_labels, strict=False)
        )
    said = stack.manage_all(
        ["create_project", SLUG, "--categories", str(categories), "--overlap", "1"],
        ["configure", SLUG, "retrain_after_labels=1000000", "confidence_threshold=1.0", "audit_rate=0"],
        ["create_person", "labeler", "--project", SLUG, "--role", "annotator", "--password", PASSWORD],
        ["import_labels", SLUG, str(labels)],
        ["train", SLUG],
    )
    return said[0].split()[-1]


def _post(api: httpx.Client, texts: list[str]) -> None:
    for n, text in enumerate(texts):
        body = {"text": text, "external_id": f"live-{n}", "locale": "en"}
        with_patience(lambda body=body: api.post("/api/v1/inquiries", json=body)).raise_for_status()


def _one(api: httpx.Client, person: Person, truth: dict[str, str]) -> float:
    """Seconds from the POST of one annotation to the first answer with other probabilities for the same text.

    Tasks outside the train fold teach nothing: they come last in the queue, and there are more than enough of the others.
    """
    task = person.post("/api/v1/queue/next", {}).json()
    text = task["task"]["text"]
    before = _probabilities(api, text)
    # A text with an order number comes masked: which category it gets does not change what a label costs.
    body = {"token": task["lease"]["token"], "category": truth.get(text) or next(iter(truth.values()))}
    begun = time.perf_counter()
    person.post(f"/api/v1/tasks/{task['task']['id']}/annotations", body).raise_for_status()
    while _probabilities(api, text) == before:
        if time.perf_counter() - begun > PATIENCE:
            raise SystemExit(f"a label was not served within {PATIENCE:.0f} s")
        time.sleep(0.01)
    return time.perf_counter() - begun


def _probabilities(api: httpx.Client, text: str) -> dict[str, float]:
    answer = with_patience(lambda: api.post("/api/v1/predict", json={"text": text, "locale": "en"}))
    return dict(answer.json()["probabilities"])


@contextmanager
def _busy(url: str, key: str, texts: list[str]) -> Iterator[None]:
    """Clients that ask one question after another, so that the web process is never idle."""
    stop = threading.Event()

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        with httpx.Client(base_url=url, headers={"Authorization": f"Api-Key {key}"}, timeout=60) as client:
            while not stop.is_set():
                body = {"text": texts[int(rng.integers(len(texts)))], "locale": "en"}
                with_patience(lambda body=body: client.post("/api/v1/predict", json=body))

    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(BUSY_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _lost(stack: Stack) -> int:
    """Settled labels of the train fold that the last published delta does not count (negative: counted twice)."""
    settled = (
        "SELECT count(*) FROM labeling_label l JOIN feedback_inquiry i ON i.id = l.inquiry_id "
        "WHERE i.fold = 0 AND l.source <> 'imported'"
    )
    end = time.monotonic() + PATIENCE
    while True:
        labels, served = (
            int(stack.rows(settled)[0][0]),
            int(stack.rows("SELECT max(changes) FROM serving_livestate")[0][0]),
        )
        if labels == served or time.monotonic() > end:
            return labels - served
        time.sleep(0.2)
