"""Annotators at the queue of the real stack, over HTTP: next, answer, next, until the tasks or the cycles run out.

A cycle is one `POST queue/next` and one `POST tasks/{id}/annotations`. Every annotator signs in as a person (session and
CSRF token) and works in a thread of this process. At the end the database is asked what it accepted, and somebody without a
lease tries to answer settled tasks.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import psycopg

from benchmarks.harness import emit, parser, progress
from benchmarks.open_tasks import fill
from benchmarks.stack import Person, Stack

PASSWORD = "queue-benchmark-pass-1"
SLUG = "queue"
CATEGORIES = [{"key": f"category-{i}", "name": f"Category {i}"} for i in range(8)]
INTRUSIONS = 50
# In one process: a management command for each would take longer than the measurement.
_PEOPLE = """
import config.wsgi
from feedback.models import Membership, Project, User
project = Project.objects.get(slug={slug!r})
for name in {names!r}:
    Membership.objects.create(user=User.objects.create_user(name, password={password!r}), project=project, role="annotator")
"""


@dataclass
class Worked:
    """What one annotator did: seconds of each call, and the tasks they were handed."""

    next_s: list[float] = field(default_factory=list)
    submit_s: list[float] = field(default_factory=list)
    handed: list[tuple[int, str]] = field(default_factory=list)
    accepted: int = 0


class Cpu:
    """CPU seconds of the web process and of PostgreSQL, since it was made."""

    def __init__(self, stack: Stack, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        backend = psutil.Process(row[0]).parent()
        assert backend is not None
        self.postgres = backend
        self.web = stack.processes("granian")
        self.began = self._now()

    def _now(self) -> Counter[str]:
        """Children that have ended are in their parent's account, so nothing is lost when a connection closes."""
        found: Counter[str] = Counter()
        for name, roots in (
            ("web", self.web),
            ("postgresql", [self.postgres, *self.postgres.children(recursive=True)]),
        ):
            for process in roots:
                try:
                    t = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                ended = t.children_user + t.children_system if process.pid == self.postgres.pid else 0.0
                found[name] += t.user + t.system + ended
        return found

    def spent(self) -> dict[str, float]:
        now = self._now()
        return {name: now[name] - self.began[name] for name in now}

    def rss_mb(self) -> float:
        return float(sum(p.memory_info().rss for p in self.web if p.is_running()) / 2**20)


def connect(stack: Stack) -> psycopg.Connection[Any]:
    code = "from config import embedded; import json; print(json.dumps(embedded.database_settings()))"
    d = json.loads(stack.python(code))
    return psycopg.connect(
        host=d["HOST"], dbname=d["NAME"], user=d["USER"], port=d.get("PORT") or None, autocommit=True
    )


def set_up(stack: Stack, connection: psycopg.Connection[Any], args: argparse.Namespace) -> list[Person]:
    file = stack.home / "categories.json"
    file.write_text(json.dumps(CATEGORIES))
    stack.manage("create_project", SLUG, "--categories", str(file), "--overlap", str(args.overlap))
    stack.manage("configure", SLUG, "retrain_after_labels=100000000")
    row = connection.execute("SELECT id FROM feedback_project WHERE slug = %s", [SLUG]).fetchone()
    assert row is not None
    with connection.cursor() as cursor:
        fill(cursor, project_id=row[0], tasks=args.tasks, overlap=args.overlap)
    names = [f"{SLUG}-annotator-{i + 1}" for i in range(args.annotators + 1)]
    stack.python(_PEOPLE.format(names=names, password=PASSWORD, slug=SLUG))
    return [Person(stack.url, name, PASSWORD) for name in names]


def work(person: Person, rng: np.random.Generator, left: threading.Semaphore, done: Worked, tick: Any) -> None:
    while left.acquire(blocking=False):
        began = time.perf_counter()
        answer = person.post("/api/v1/queue/next", {"project": SLUG})
        done.next_s.append(time.perf_counter() - began)
        if answer.status_code == 204:
            return
        item = answer.json()
        done.handed.append((item["task"]["id"], item["lease"]["token"]))
        body = {
            "token": item["lease"]["token"],
            "category": f"category-{rng.integers(len(CATEGORIES))}",
            "seconds": 3.0,
        }
        began = time.perf_counter()
        answer = person.post(f"/api/v1/tasks/{item['task']['id']}/annotations", body)
        done.submit_s.append(time.perf_counter() - began)
        if answer.status_code != 201:
            raise SystemExit(f"an answer was refused with {answer.status_code}: {answer.text[:300]}")
        done.accepted += 1
        tick()


def run(people: list[Person], args: argparse.Namespace) -> list[Worked]:
    left, bar = threading.Semaphore(args.cycles), progress(range(args.cycles), "cycles")
    steps, lock = iter(bar), threading.Lock()

    def tick() -> None:
        with lock:
            next(steps, None)

    done = [Worked() for _ in people]
    threads = [
        threading.Thread(target=work, args=(p, np.random.default_rng(args.seed + i), left, done[i], tick))
        for i, p in enumerate(people)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    bar.close()
    return done


def duplicates(done: list[Worked], overlap: int) -> int:
    """Hand-outs beyond what a task has room for: a lease given twice, one person twice, or more people than slots."""
    tasks = Counter(task for w in done for task, _ in w.handed)
    tokens = Counter(token for w in done for _, token in w.handed)
    own = sum(n - 1 for w in done for n in Counter(task for task, _ in w.handed).values())
    return sum(n - overlap for n in tasks.values() if n > overlap) + sum(n - 1 for n in tokens.values()) + own


def intrude(person: Person, done: list[Worked]) -> int:
    """Answers without a lease on tasks that have all they need; returns how many came back as counted."""
    tasks = list({task for w in done for task, _ in w.handed})[:INTRUSIONS]
    counted = 0
    for task in tasks:
        body = {"token": str(uuid.uuid4()), "category": "category-0"}
        answer = person.post(f"/api/v1/tasks/{task}/annotations", body)
        counted += answer.status_code == 201 and not answer.json()["extra"]
    return counted


def accepted_beyond(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "SELECT COALESCE(sum(n - overlap), 0) FROM (SELECT t.overlap, count(*) n FROM labeling_annotation a "
        "JOIN labeling_labeltask t ON t.id = a.task_id WHERE NOT a.extra AND a.role = 'annotator' GROUP BY t.id) x "
        "WHERE n > overlap"
    ).fetchone()
    assert row is not None
    return int(row[0])


def percentile(seconds: list[float], q: float) -> float:
    return round(1000 * float(np.percentile(seconds, q)), 2) if seconds else 0.0


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--annotators", type=int, default=8)
    p.add_argument("--tasks", type=int, default=10_000)
    p.add_argument("--overlap", type=int, default=1)
    p.add_argument("--cycles", type=int, default=4_000, help="stop after this many cycles")
    args = p.parse_args()
    if args.quick:
        args.tasks, args.cycles = min(args.tasks, 2_000), min(args.cycles, 500)
    with Stack() as stack, connect(stack) as connection:
        people = set_up(stack, connection, args)
        for person in people:  # the first call of each warms connections and caches
            person.post("/api/v1/queue/next", {"project": SLUG})
        cpu, began = Cpu(stack, connection), time.monotonic()
        done = run(people[:-1], args)
        seconds, spent, rss = time.monotonic() - began, cpu.spent(), cpu.rss_mb()
        beyond = accepted_beyond(connection) + intrude(people[-1], done)
    report(args, done, seconds, spent, rss, beyond)


def report(
    args: argparse.Namespace, done: list[Worked], seconds: float, spent: dict[str, float], rss: float, beyond: int
) -> None:
    cycles = sum(w.accepted for w in done)
    next_s, submit_s = [s for w in done for s in w.next_s], [s for w in done for s in w.submit_s]
    per_cycle = {name: round(1000 * s / max(cycles, 1), 2) for name, s in spent.items()}
    figures = {
        "annotators": args.annotators, "tasks": args.tasks, "overlap": args.overlap, "cycles": cycles,
        "cycles_per_s": round(cycles / seconds, 1),
        "next_p50_ms": percentile(next_s, 50), "next_p95_ms": percentile(next_s, 95),
        "submit_p50_ms": percentile(submit_s, 50), "submit_p95_ms": percentile(submit_s, 95),
        "duplicates": duplicates(done, args.overlap), "over_overlap_accepted": beyond,
        "server_cpu_ms_per_cycle": round(sum(per_cycle.values()), 2), "cpu_ms_per_cycle": per_cycle, "rss_mb": round(rss, 1),
    }  # fmt: skip
    shown = {k: v for k, v in figures.items() if not isinstance(v, dict)} | {
        f"cpu {k}": v for k, v in per_cycle.items()
    }
    emit(args, figures, [["figure", "value"], *([k, v] for k, v in shown.items())])


if __name__ == "__main__":
    main()
