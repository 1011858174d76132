"""Feedback events over HTTP into PostgreSQL: one by one and in batches, beside the usual ways on the same server.

Starts the real stack (web, workers, PostgreSQL, Redis) and, in the same database and under the same granian with as many
threads, a DRF view with a token in the database and an ORM insert, DRF many=True with bulk_create (with and without the
look-up of each event_id that ModelSerializer makes; `batch_ratio` is against the cheaper one without) and a plain Django
view. Ours stores unique ids, checks repeated ids for another body, masks comments, joins inquiries and keeps scores; the
others only store. CPU is that of the web server and of all PostgreSQL processes, folding of scores in the database included;
what the worker does behind it (folding, sentiment of comments) is told apart. With --faults (the default but for
--no-faults) the web process, the worker and PostgreSQL are each killed once during a load whose clients repeat what was
not answered; `lost` counts acknowledged events that are not in the database afterwards.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import httpx
import psutil

from benchmarks.harness import emit, parser, progress
from benchmarks.ingest_load import Meter, Outcome, Target, events, postmaster, send, usual
from benchmarks.stack import ROOT, Stack, with_patience
from benchmarks.usual.server import Usual

# The row that a batch is held against, and the same view as ModelSerializer makes it, with a look-up for each event_id.
UNCHECKED, CHECKED = "drf many, ids unchecked", "drf many, ids checked"
# A worker that needs less than this share of a core has nothing to do; longer than that nobody waits for it.
IDLE_SHARE, SETTLE_SECONDS = 0.05, 60.0
INQUIRIES = """
    INSERT INTO feedback_inquiry (id, project_id, external_id, request_sha, text, locale, customer, channel, metadata,
        group_sha, fold, status, model, received_at)
    SELECT gen_random_uuid(), p.id, 'order-' || n, '\\x00', 'Where is order ' || n || '?', 'en', '', '', '{}', '\\x00', 0,
        'answered', 'v1', now() FROM feedback_project p, generate_series(1, %s) n WHERE p.slug = 'ingest' RETURNING 1"""


def set_up(stack: Stack, inquiries: int) -> dict[str, str]:
    """A project without limits, with inquiries to speak about; the headers of its key."""
    categories = stack.home / "categories.json"
    categories.write_text(json.dumps([{"key": "delivery", "name": "Delivery"}, {"key": "refund", "name": "Refund"}]))
    made, _ = stack.manage_all(
        ["create_project", "ingest", "--categories", str(categories)],
        ["configure", "ingest", "limit_per_minute=100000000", "limit_burst=100000000"],
    )
    key = made.split()[-1]
    stack.rows(INQUIRIES, inquiries)
    return {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}


class Bench:
    """One way after the other over the same events."""

    def __init__(self, stack: Stack, args: Any) -> None:
        self.stack, self.args = stack, args
        self.database = postmaster(stack)
        self.names = [f"order-{n}" for n in range(1, args.inquiries + 1)]
        self.supply = events(self.names, args.seed)

    def ours(self) -> list[psutil.Process]:
        return self.stack.processes("granian", "config.wsgi")

    def measure(self, what: str, target: Target, bodies: Sequence[bytes], web: Callable[[], Any], per: int) -> Figures:
        """Warm up with a tenth, then measure the rest; `per` events in each body."""
        warm = max(len(bodies) // 10, 1)
        send(target, bodies[:warm], connections=self.args.connections)
        meter = Meter(web, self.database)
        worker = Meter(lambda: self.stack.processes("celery", "io@"), None)
        settle(worker)
        before, worked = meter.read(), worker.read()
        outcome = send(target, bodies[warm:], connections=self.args.connections)
        cpu, behind = meter.read() - before, worker.read() - worked
        bad = [a for a in outcome.answers if a[0] != 201]
        if bad:
            raise SystemExit(f"{what}: {len(bad)} requests were not answered with 201, the first: {bad[0]}")
        return Figures(what, outcome, len(bodies) - warm, per, cpu, behind)

    def one_by_one(self, as_usual: bool) -> list[bytes]:
        given = islice(self.supply, self.args.singles)
        return [json.dumps(usual(e) if as_usual else e).encode() for e in given]

    def batches(self, as_usual: bool) -> list[bytes]:
        rows = [
            [usual(e) if as_usual else e for e in islice(self.supply, self.args.batch)]
            for _ in range(self.args.batches)
        ]
        return [json.dumps(b).encode() for b in rows] if as_usual else [_ndjson(b) for b in rows]


def settle(worker: Meter) -> None:
    """Wait until the worker has done what the way before left behind: its statements would count as this way's."""
    end = time.monotonic() + SETTLE_SECONDS
    before = worker.read()
    while time.monotonic() < end:
        time.sleep(1.0)
        now = worker.read()
        if now - before < IDLE_SHARE:
            return
        before = now


def _ndjson(batch: Sequence[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(e).encode() for e in batch)


class Figures:
    """One row of the table."""

    def __init__(self, what: str, outcome: Outcome, requests: int, per: int, cpu: float, behind: float) -> None:
        self.what, self.events = what, requests * per
        self.rps = requests / outcome.seconds
        self.events_per_s = self.events / outcome.seconds
        self.p95_ms = outcome.p95_ms
        self.cpu_us = cpu / self.events * 1e6
        self.worker_us = behind / self.events * 1e6

    def row(self) -> list[Any]:
        return [
            self.what,
            f"{self.rps:,.0f}",
            f"{self.events_per_s:,.0f}",
            f"{self.p95_ms:.1f}",
            f"{self.cpu_us:,.1f}",
            f"{self.worker_us:,.1f}",
        ]


def compare(bench: Bench, headers: dict[str, str]) -> dict[str, Figures]:
    """Every way in turn, twice in alternation where the run is long, so that what else the machine does hits all alike."""
    stack, found = bench.stack, {}
    url = stack.url
    lines = headers | {"Content-Type": "application/x-ndjson"}
    with Usual(stack, threads=8) as other:
        theirs = {"Authorization": f"Token {other.token}", "Content-Type": "application/json"}
        base = f"http://127.0.0.1:{other.port}"
        plan: list[tuple[str, Target, bool, Callable[[], Any]]] = [
            ("enso, one", Target(url, "/api/v1/feedback", headers), False, bench.ours),
            ("drf, one", Target(base, "/drf/one", theirs), True, lambda: other.processes),
            ("plain django, one", Target(base, "/plain/one", theirs), True, lambda: other.processes),
        ]
        for what, target, as_usual, web in progress(plan, "one by one"):
            found[what] = bench.measure(what, target, bench.one_by_one(as_usual), web, 1)
        many: list[tuple[str, Target, bool, Callable[[], Any]]] = [
            ("enso, batch", Target(url, "/api/v1/feedback", lines), False, bench.ours),
            (UNCHECKED, Target(base, "/drf/many-unchecked", theirs), True, lambda: other.processes),
            (CHECKED, Target(base, "/drf/many", theirs), True, lambda: other.processes),
        ]
        for what, target, as_usual, web in progress(many, "batches"):
            found[what] = bench.measure(what, target, bench.batches(as_usual), web, bench.args.batch)
    return found


class Faults:
    """kill -9 of the web process, the worker and PostgreSQL, each once, at fixed shares of the load."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.lock = bench, threading.Lock()
        self.plan = [(0.2, self.web), (0.45, self.database), (0.7, self.worker)]
        self.killed: list[str] = []

    def __call__(self, share: float) -> None:
        with self.lock:
            due = self.plan.pop(0)[1] if self.plan and share >= self.plan[0][0] else None
        if due is not None:
            due()

    def web(self) -> None:
        self._kill("web", self.bench.ours())

    def worker(self) -> None:
        self._kill("worker", self.bench.stack.processes("celery", "io@"))

    def database(self) -> None:
        """The postmaster dies, its children with it; whoever keeps the servers starts it again."""
        self._kill("postgresql", [self.bench.database])
        psutil.wait_procs([self.bench.database], timeout=30)
        subprocess.run(
            [sys.executable, "-m", "config.embedded", "start"], cwd=ROOT, env=self.bench.stack.environment, check=True,
            capture_output=True,
        )  # fmt: skip

    def _kill(self, name: str, processes: Sequence[psutil.Process]) -> None:
        if not processes:
            raise SystemExit(f"there is no {name} process to kill")
        for process in processes:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self.killed.append(name)


def under_faults(bench: Bench, headers: dict[str, str]) -> dict[str, Any]:
    """Send events, kill what can be killed meanwhile, and count what was acknowledged and is not there."""
    given = list(islice(bench.supply, bench.args.fault_events))
    faults = Faults(bench)
    target = Target(bench.stack.url, "/api/v1/feedback", headers)
    outcome = send(
        target, [json.dumps(e).encode() for e in given], connections=bench.args.connections, patient=True, on_share=faults
    )  # fmt: skip
    fold(bench.stack, headers)
    acknowledged = [e["event_id"] for e, a in zip(given, outcome.answers, strict=True) if a[0] in (200, 201)]
    found = _stored(bench.stack, acknowledged)
    return {
        "lost": len(acknowledged) - found, "acknowledged": len(acknowledged), "refused": len(given) - len(acknowledged),
        "killed": faults.killed, "miscounted": _miscounted(bench.stack),
    }  # fmt: skip


def fold(stack: Stack, headers: dict[str, str]) -> None:
    """Ask for figures until nothing waits: whoever asks folds what is queued into the scores."""
    url = f"{stack.url}/api/v1/scores?by=day"
    while with_patience(lambda: httpx.get(url, headers=headers, timeout=120)).json()["pending"]:
        continue


def _stored(stack: Stack, ids: list[str]) -> int:
    return int(stack.rows("SELECT count(*) FROM feedback_event WHERE event_id = ANY(%s)", ids)[0][0])


def _miscounted(stack: Stack) -> int:
    """Inquiries whose scores were not made of exactly the events that are stored, and groups that do not add up."""
    wrong = stack.rows(
        """SELECT count(*) FROM (SELECT inquiry_id, count(*) AS n FROM feedback_event WHERE inquiry_id IS NOT NULL GROUP BY 1) e
        FULL JOIN feedback_inquiryscore s USING (inquiry_id) WHERE e.n IS DISTINCT FROM s.events"""
    )[0][0]
    sums = stack.rows(
        "SELECT (SELECT sum(events) FROM feedback_scorecell) IS DISTINCT FROM (SELECT sum(events) FROM feedback_inquiryscore)"
    )
    return int(wrong) + int(sums[0][0])


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--singles", type=int, default=8000, help="single events per way")
    p.add_argument("--batches", type=int, default=60, help="batches per way")
    p.add_argument("--batch", type=int, default=500, help="events per batch")
    p.add_argument("--connections", type=int, default=16)
    p.add_argument("--inquiries", type=int, default=5000)
    p.add_argument("--fault-events", type=int, default=10_000)
    p.add_argument("--no-faults", action="store_true", help="kill nothing")
    p.add_argument("--only-faults", action="store_true", help="measure nothing, only kill and count")
    args = p.parse_args()
    if args.quick:
        args.singles, args.batches, args.fault_events = 1500, 12, min(args.fault_events, 3000)
    started = time.monotonic()
    with Stack() as stack:
        headers = set_up(stack, args.inquiries)
        bench = Bench(stack, args)
        found = {} if args.only_faults else compare(bench, headers)
        faults = {"lost": 0} if args.no_faults else under_faults(bench, headers)
    figures = {**_keys(found), **faults, "seconds": round(time.monotonic() - started, 1)}
    emit(
        args,
        figures,
        [["way", "requests/s", "events/s", "p95 ms", "CPU µs/event", "worker"], *[f.row() for f in found.values()]],
    )
    print({k: v for k, v in figures.items() if k.endswith("_ratio") or k in faults})


def _keys(found: dict[str, Figures]) -> dict[str, Any]:
    if not found:
        return {}
    one, drf, plain = found["enso, one"], found["drf, one"], found["plain django, one"]
    batch, many, checked = found["enso, batch"], found[UNCHECKED], found[CHECKED]
    return {
        "single_rps": one.rps, "p95_ms": one.p95_ms, "single_cpu_us": one.cpu_us, "drf_cpu_us": drf.cpu_us,
        "plain_cpu_us": plain.cpu_us, "drf_rps": drf.rps, "drf_p95_ms": drf.p95_ms,
        "batch_events_per_s": batch.events_per_s, "batch_cpu_us_per_event": batch.cpu_us,
        "drf_many_cpu_us_per_event": many.cpu_us, "drf_many_events_per_s": many.events_per_s,
        "single_worker_cpu_us": one.worker_us, "batch_worker_cpu_us": batch.worker_us,
        "drf_many_checked_cpu_us_per_event": checked.cpu_us,
        "single_ratio": drf.cpu_us / one.cpu_us, "batch_ratio": many.cpu_us / batch.cpu_us,
        "batch_checked_ratio": checked.cpu_us / batch.cpu_us,
    }  # fmt: skip


if __name__ == "__main__":
    main()
