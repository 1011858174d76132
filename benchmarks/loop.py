"""The whole loop on the real stack: inquiries in, labels by simulated annotators, retraining, gates, export, serving.

Everything goes over HTTP to a stack of its own. After each round the test texts are scored by the model that is then
served. `--budget` counts resolved labels; annotators err with probability `--noise`, uniformly over the other
categories; the expert is right. The random baseline is a second project in the same stack with the same seed, overlap
and head. With `--faults` the web process is killed in the middle of the stream, Redis is flushed and the learner is
killed in the middle of a training.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.harness import Corpus, emit, load_corpus, parser, progress
from benchmarks.stack import Person, Stack, with_patience
from feedback.masking import mask

PASSWORD = "loop-benchmark-pass-1"
CLIENTS = 4
ROUND_SECONDS = 900.0
PATIENCE_SECONDS = 15.0  # until a training that is due has begun


@dataclass
class Project:
    """One project of the run, with its key and people."""

    slug: str
    key: str
    annotators: list[Person]
    expert: Person
    url: str
    acknowledged: set[str] = field(default_factory=set)
    annotations: int = 0
    expert_answers: int = 0
    labels: int = 0

    def api(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Api-Key {self.key}"}, timeout=120)


def set_up(stack: Stack, corpus: Corpus, slug: str, strategy: str | None, args: Any) -> Project:
    categories = stack.home / "categories.json"
    rows = [{"key": slugify(c), "name": n} for c, n in zip(corpus.categories, corpus.names, strict=True)]
    categories.write_text(json.dumps(rows))
    per_round = args.budget // args.rounds
    settings = [f"retrain_after_labels={per_round}", *([f"strategy={strategy}"] if strategy else [])]
    names = [f"{slug}-annotator-{i + 1}" for i in range(args.annotators)]
    cast = [(name, "annotator") for name in names] + [(f"{slug}-expert", "expert")]
    made, *_ = stack.manage_all(
        ["create_project", slug, "--categories", str(categories), "--overlap", str(args.overlap)],
        ["configure", slug, *settings],
        *(["create_person", n, "--project", slug, "--role", role, "--password", PASSWORD] for n, role in cast),
    )
    people = [Person(stack.url, n, PASSWORD) for n in names]
    return Project(slug, made.strip().split()[-1], people, Person(stack.url, f"{slug}-expert", PASSWORD), stack.url)


def slugify(category: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in category)


def stream(project: Project, texts: list[str], on_share: Callable[[float], None]) -> None:
    """Post every text, several clients at once; an answer that did not come is asked for again under the same id."""
    local = threading.local()

    def post(row: int) -> None:
        if not hasattr(local, "client"):
            local.client = project.api()
        body = {"text": texts[row], "external_id": f"row-{row}", "locale": "en"}
        answer = with_patience(lambda: local.client.post("/api/v1/inquiries", json=body))
        if answer.status_code not in (200, 201):
            raise SystemExit(f"inquiry {row} was answered with {answer.status_code}: {answer.text[:300]}")
        project.acknowledged.add(answer.json()["id"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        posted = pool.map(post, range(len(texts)))
        for row in progress(range(len(texts)), f"{project.slug}: inquiries"):
            next(posted)
            on_share(row / len(texts))


def annotate_until(
    project: Project, target: int, truth: dict[str, str], keys: list[str], rng: np.random.Generator, noise: float
) -> None:
    """Annotators take turns on the queue until `target` labels are resolved; each dispute goes to the expert at once."""
    turns = _turns(project.annotators)
    bar = progress(range(target - project.labels), f"{project.slug}: labels")
    steps, idle = iter(bar), 0
    while project.labels < target:
        task = _next(person := next(turns))
        idle = idle + 1 if task is None else 0
        if idle > len(project.annotators):
            break  # nothing left to label
        if task is None:
            continue
        right = truth[task["task"]["text"]]
        wrong = rng.random() < noise
        category = str(rng.choice([k for k in keys if k != right])) if wrong else right
        state = _answer(person, task, category)
        project.annotations += 1
        while state == "disputed" and (disputed := _next(project.expert)) is not None:
            _answer(project.expert, disputed, truth[disputed["task"]["text"]])
            project.expert_answers += 1
            state = "resolved"
        if state == "resolved":
            project.labels += 1
            next(steps, None)


def _turns(people: list[Person]) -> Iterator[Person]:
    while True:
        yield from people


def _next(person: Person) -> dict[str, Any] | None:
    answer = person.post("/api/v1/queue/next", {})
    return answer.json() if answer.status_code == 200 else None


def _answer(person: Person, task: dict[str, Any], category: str) -> str:
    body = {"token": task["lease"]["token"], "category": category}
    answer = person.post(f"/api/v1/tasks/{task['task']['id']}/annotations", body)
    if answer.status_code != 201:
        raise SystemExit(f"an annotation was answered with {answer.status_code}: {answer.text[:300]}")
    return str(answer.json()["state"])


def wait_for_model(stack: Stack, project: Project, labels: int) -> str:
    """The name of the version that serves and has seen at least `labels` labels, once its job has ended.

    Where a training began in the middle of the round, because audited answers were too often wrong, too few labels are left
    over for another one to be due: it is asked for by hand.
    """
    end, idle_since = time.monotonic() + ROUND_SECONDS, time.monotonic()
    with project.api() as api:
        while time.monotonic() < end:
            jobs = with_patience(lambda: api.get("/api/v1/jobs")).json()["jobs"]
            models = with_patience(lambda: api.get("/api/v1/models")).json()["models"]
            dead = [j for j in jobs if j["state"] == "dead"]
            if dead:
                raise SystemExit(f"a job died: {dead[0]['errors']}")
            serving = [m for m in models if m["lineage"].get("labels", 0) >= labels and m["stage"] != "staging"]
            busy = any(j["state"] in ("queued", "running", "failed") for j in jobs if j["kind"] == "train")
            if serving and not busy:
                return _served_name(api)
            if busy:
                idle_since = time.monotonic()
            elif time.monotonic() > idle_since + PATIENCE_SECONDS:
                stack.manage("train", project.slug, "--queue")
                idle_since = time.monotonic()
            time.sleep(0.25)
    raise SystemExit(f"no version with {labels} labels within {ROUND_SECONDS:.0f} s")


def _served_name(api: httpx.Client) -> str:
    """Wait until the web process has swapped to the version in production."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        models = with_patience(lambda: api.get("/api/v1/models")).json()["models"]
        name = next((f"v{m['number']}" for m in models if m["stage"] == "production"), None)
        if name is None:
            failed = [(m["number"], [g for g in m.get("gates", []) if not g["passed"]]) for m in models]
            raise SystemExit(f"no version came into service: {failed}")
        answer = with_patience(lambda: api.post("/api/v1/predict", json={"text": "which version?"}))
        if answer.json()["model"] == name:
            return name
        time.sleep(0.1)
    raise SystemExit(f"the web process does not serve {name}")


def score(project: Project, corpus: Corpus, keys: list[str]) -> dict[str, float | None]:
    """Accuracy, share answered automatically and accuracy of those, by the served model."""
    predictions: list[dict[str, Any]] = []
    with project.api() as api:
        for i in range(0, len(corpus.test_texts), 500):
            batch = [{"text": t, "locale": "en"} for t in corpus.test_texts[i : i + 500]]
            answer = with_patience(lambda b=batch: api.post("/api/v1/predict/batch", json={"inquiries": b}))
            predictions += answer.json()["predictions"]
        kappa = api.get("/api/v1/agreement").json()["kappa"]
    right = np.array([p["category"] == keys[y] for p, y in zip(predictions, corpus.test_labels, strict=True)])
    auto = np.array([p["decision"] == "auto" for p in predictions])
    return {
        "accuracy": float(right.mean()),
        "kappa": kappa,
        "auto_rate": float(auto.mean()),
        "auto_accuracy": float(right[auto].mean()) if auto.any() else None,
    }


def run_project(
    stack: Stack, project: Project, corpus: Corpus, args: Any, faults: Faults | None
) -> list[dict[str, Any]]:
    keys = [slugify(c) for c in corpus.categories]
    # Annotators see texts without personal data.
    truth = {mask(t).text: keys[y] for t, y in zip(corpus.train_texts, corpus.train_labels, strict=True)}
    rng = np.random.default_rng(args.seed)
    stream(project, corpus.train_texts, faults.while_streaming if faults else lambda share: None)
    stack.manage("select", project.slug)
    rounds = [{"labels": 0, **score(project, corpus, keys)}]
    for number in range(1, args.rounds + 1):
        before = project.labels
        annotate_until(project, args.budget * number // args.rounds, truth, keys, rng, args.noise)
        if faults:
            faults.while_training(number)
        if project.labels > before:
            wait_for_model(stack, project, project.labels)
        rounds.append({"labels": project.labels, **score(project, corpus, keys)})
    return rounds


class Faults:
    """Kills and flushes at fixed points of the run."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.done = stack, set[str]()
        self.lock = threading.Lock()

    def _once(self, name: str) -> bool:
        with self.lock:
            fresh = name not in self.done
            self.done.add(name)
            return fresh

    def while_streaming(self, share: float) -> None:
        if share > 0.4 and self._once("web"):
            self.kill("granian")

    def while_training(self, number: int) -> None:
        if number == 1 and self._once("redis"):
            self.flush()
        if number == 2 and self._once("learner"):
            self._wait_for_training()
            self.kill("learn@")

    def kill(self, word: str) -> None:
        """kill -9 of the part's process with all its children, as the kernel's out-of-memory killer would do."""
        for process in self.stack.processes(word):
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue

    def flush(self) -> None:
        code = (
            "from config import embedded; import redis, os; "
            "redis.Redis.from_url(os.environ.get('REDIS_URL') or embedded.redis_url(0)).flushall()"
        )
        self.stack_python(code)

    def stack_python(self, code: str) -> None:
        import subprocess
        import sys

        subprocess.run([sys.executable, "-c", code], env=self.stack.environment, check=True)

    def _wait_for_training(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if self.stack.rows(
                "SELECT 1 FROM feedback_job WHERE kind = 'train' AND state = 'running' AND progress > 0"
            ):
                return
            time.sleep(0.05)
        raise SystemExit("no training began that could be killed")


def lost(stack: Stack, project: Project) -> int:
    """Acknowledged inquiries that are not in the database, and acknowledged labels that are not."""
    stored = {str(r[0]) for r in stack.rows(
        "SELECT i.id FROM feedback_inquiry i JOIN feedback_project p ON p.id = i.project_id WHERE p.slug = %s", project.slug
    )}  # fmt: skip
    labels = stack.rows(
        "SELECT count(*) FROM labeling_label l JOIN feedback_project p ON p.id = l.project_id WHERE p.slug = %s",
        project.slug,
    )[0][0]
    return len(project.acknowledged - stored) + max(project.labels - int(labels), 0)


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--budget", type=int, default=1000, help="resolved labels")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--annotators", type=int, default=3)
    p.add_argument("--noise", type=float, default=0.05)
    p.add_argument("--overlap", type=int, default=2)
    p.add_argument("--strategy", default=None, help="default: the product's default")
    p.add_argument("--no-random", action="store_true", help="leave the random baseline out")
    p.add_argument("--faults", action="store_true", help="kill web and learner and flush Redis on the way")
    args = p.parse_args()
    if args.quick:
        args.budget, args.rounds = min(args.budget, 60), min(args.rounds, 2)
    if args.annotators < args.overlap:
        p.error("--annotators must be at least --overlap")
    corpus = load_corpus(args.data, seed=args.seed, size=240 if args.quick else 4000)
    started = time.monotonic()
    with Stack() as stack:
        mine = set_up(stack, corpus, "loop", args.strategy, args)
        rounds = run_project(stack, mine, corpus, args, Faults(stack) if args.faults else None)
        projects, baseline = [mine], None
        if not args.no_random:
            other = set_up(stack, corpus, "random", "random", args)
            baseline = run_project(stack, other, corpus, args, None)
            projects.append(other)
        gone = sum(lost(stack, x) for x in projects)
    figures = {
        "rounds": rounds, "final_accuracy": rounds[-1]["accuracy"],
        "random_final_accuracy": baseline[-1]["accuracy"] if baseline else None, "random_rounds": baseline,
        "annotations": mine.annotations, "expert_answers": mine.expert_answers, "seconds": round(time.monotonic() - started, 1),
        "lost": gone, "faults": args.faults,
    }  # fmt: skip
    table: list[list[Any]] = [["labels", "accuracy", "random", "kappa", "auto rate", "auto accuracy"]]
    for i, r in enumerate(rounds):
        other_accuracy = f"{baseline[i]['accuracy']:.4f}" if baseline else "-"
        table.append(
            [
                r["labels"],
                f"{r['accuracy']:.4f}",
                other_accuracy,
                _show(r["kappa"]),
                _show(r["auto_rate"]),
                _show(r["auto_accuracy"]),
            ]
        )
    emit(args, figures, table)
    print(f"annotations {mine.annotations}, expert answers {mine.expert_answers}, lost {gone}, {figures['seconds']} s")


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
