"""What an answer costs over HTTP: `POST /predict` and `POST /inquiries` with the full cascade, beside a bare Django view.

Starts the real stack (web, workers, PostgreSQL, Redis) with a project that has a student, heads for both encoders and
thresholds between them, and on a server of its own, the same granian with as many processes and threads, a bare Django JSON
view. The load generator is a process of its own on the same cores. Closed loop: so many connections, each with one request
under way. Open loop: requests are due at a fixed rate, and their time counts from then. CPU is that of the web processes and of
all PostgreSQL processes (which includes what workers ask of it meanwhile); `share_of_bare` is the bare view's CPU per request
by ours. Each of these waits until the learner is idle. At the end requests go on while a model is swapped, a rollout goes up
by steps and is taken back: `lost` counts acknowledged inquiries that are not in the database, `failed_under_change` answers
of 500 and above and broken connections.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.harness import emit, load_corpus, parser, progress
from benchmarks.ingest_load import Meter, postmaster
from benchmarks.stack import ROOT, Stack
from benchmarks.usual.bare_server import Bare
from config.stack import usual_web_processes

CONNECTIONS = 8
MOST_LEARNING_SECONDS = 300
RATES = (300, 600)
PATHS = {"predict": "/api/v1/predict", "inquiries": "/api/v1/inquiries"}


class Bench:
    """The same texts against one endpoint after the other."""

    def __init__(self, stack: Stack, args: Namespace, world: dict[str, Any]) -> None:
        self.stack, self.args, self.world = stack, args, world
        self.headers = {"Authorization": f"Api-Key {world['key']}", "Content-Type": "application/json"}
        self.database = postmaster(stack)
        self.texts = load_corpus(args.data, seed=args.seed, size=args.texts).test_texts
        self._files = 0

    def web(self) -> list[psutil.Process]:
        return self.stack.processes("granian", "config.wsgi")

    def bodies(self, name: str, count: int) -> Path:
        """A file of `count` bodies, one a line: held-out texts, of 5,000 customers."""
        rng, self._files = random.Random(self.args.seed + self._files), self._files + 1
        path = self.stack.home / f"bodies-{self._files}"
        with path.open("w") as handle:
            for n in range(count):
                body: dict[str, Any] = {"text": self.texts[rng.randrange(len(self.texts))]}
                if name == "inquiries":
                    body |= {"external_id": f"{self._files}-{n}", "customer": f"customer-{rng.randrange(5000)}"}
                handle.write(json.dumps(body) + "\n")
        return path

    def start(self, url: str, path: str, bodies: Path, **how: Any) -> subprocess.Popen[bytes]:
        parts = urlsplit(url)
        spec = {
            "host": parts.hostname,
            "port": parts.port,
            "path": path,
            "headers": self.headers,
            "bodies": str(bodies),
        } | how
        file = bodies.with_suffix(".spec")
        file.write_text(json.dumps(spec))
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving_load", str(file)], cwd=ROOT, stdout=subprocess.PIPE
        )

    def settled(self) -> None:
        """Until the learner has nothing to do: what learning takes from the same cores is not the price of an answer."""
        end = time.monotonic() + MOST_LEARNING_SECONDS
        while self.stack.rows("SELECT 1 FROM feedback_job WHERE state IN ('queued', 'running') LIMIT 1"):
            if time.monotonic() > end:
                raise SystemExit(f"the learner is still at work after {MOST_LEARNING_SECONDS} s")
            time.sleep(1.0)

    def answers(self, name: str, **how: Any) -> dict[str, Any]:
        """What an endpoint gives beside an idle learner."""
        self.settled()
        return self.measure(self.stack.url, PATHS[name], self.bodies(name, self.args.bodies), self.web, **how)

    def measure(self, url: str, path: str, bodies: Path, web: Callable[[], Any], **how: Any) -> dict[str, Any]:
        """Warm up, then load for a while; what came back, and CPU µs per request of the web and of PostgreSQL.

        What the warm-up stored is not sent again: the answer to a repetition is another path.
        """
        warmed = finish(self.start(url, path, bodies, seconds=self.args.warm, connections=CONNECTIONS))["requests"]
        meters = (Meter(web, None), Meter(list, self.database))
        before = [m.read() for m in meters]
        found = finish(self.start(url, path, bodies, first=warmed, seconds=self.args.seconds, **how))
        web_cpu, database_cpu = (m.read() - b for m, b in zip(meters, before, strict=True))
        n = max(found["requests"], 1)
        errors = sum(v for k, v in found["statuses"].items() if int(k) >= 300) + found["broken"]
        return {
            **{k: found[k] for k in ("rps", "p50_ms", "p95_ms", "p99_ms")}, "errors": errors,
            "web_cpu_us": 1e6 * web_cpu / n, "database_cpu_us": 1e6 * database_cpu / n,
            "cpu_us_per_request": 1e6 * (web_cpu + database_cpu) / n, "generator_cpu_us": 1e6 * found["own_cpu_s"] / n,
        }  # fmt: skip


def finish(load: subprocess.Popen[bytes]) -> dict[str, Any]:
    said, _ = load.communicate()
    if load.returncode:
        raise SystemExit("the load generator failed")
    return dict(json.loads(said))


def compare(bench: Bench, bare: Bare) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the bare view's figures, each endpoint's by name): closed loop in turns with the bare view, then open loop.

    `/predict` comes first, because it stores nothing that the learner would take up.
    """
    taken: dict[str, list[dict[str, Any]]] = {"bare": []}
    for name in progress([n for n in PATHS for _ in range(bench.args.turns)], "closed loop"):
        bodies = bench.bodies("predict", 1000)
        one = bench.measure(bare.url, "/bare", bodies, lambda: bare.processes, connections=CONNECTIONS)
        one["cpu_us_per_request"] = one["web_cpu_us"]  # it has no database: what runs there is the workers'
        taken["bare"].append(one)
        for connections in (CONNECTIONS, *bench.args.connections):
            row = name if connections == CONNECTIONS else f"{name}, {connections} connections"
            taken.setdefault(row, []).append(bench.answers(name, connections=connections))
    found = {name: min(turns, key=lambda f: float(f["cpu_us_per_request"])) for name, turns in taken.items()}
    bare_figures = found.pop("bare")
    for figures in found.values():
        figures["share_of_bare"] = bare_figures["cpu_us_per_request"] / figures["cpu_us_per_request"]
    for name in progress(PATHS, "open loop"):
        for rate in bench.args.rates:
            found[f"{name} at {rate}/s"] = bench.answers(name, rate=rate, connections=CONNECTIONS)
    return bare_figures, found


def changes(bench: Bench) -> list[tuple[str, Callable[[], httpx.Response]]]:
    """A model swap, a rollback of it, a rollout that goes up by a step, and its end, each over the API."""
    second, api = bench.world["second"], f"{bench.stack.url}/api/v1"

    def post(path: str) -> httpx.Response:
        return httpx.post(f"{api}/{path}", headers=bench.headers, timeout=60)

    def rollout(move: str) -> httpx.Response:
        listed = httpx.get(f"{api}/rollouts", headers=bench.headers, timeout=60).json()["rollouts"]
        return post(f"rollouts/{listed[0]['id']}/{move}")

    return [
        ("swap", lambda: post(f"models/{second}/promote")), ("rollback", lambda: post(f"models/{second}/rollback")),
        ("shadow", lambda: post(f"models/{second}/rollout")), ("canary at 1 %", lambda: rollout("advance")),
        ("canary at 5 %", lambda: rollout("advance")), ("canary at 25 %", lambda: rollout("advance")),
        ("rollout aborted", lambda: rollout("abort")),
    ]  # fmt: skip


def under_change(bench: Bench) -> dict[str, Any]:
    """Store inquiries at a fixed rate while models change; what failed, and what was acknowledged and is not there."""
    count, plan = int(bench.args.change_rate * bench.args.change_seconds), changes(bench)
    bodies = bench.bodies("inquiries", count)
    load = bench.start(
        bench.stack.url, PATHS["inquiries"], bodies, seconds=bench.args.change_seconds + 30, rate=bench.args.change_rate,
        once=True, connections=CONNECTIONS,
    )  # fmt: skip
    done = []
    for name, change in progress(plan, "changes"):
        time.sleep(bench.args.change_seconds / (len(plan) + 1))
        answer = change()
        if not answer.is_success:
            raise SystemExit(f"{name} was refused: {answer.text}")
        done.append(name)
    found = finish(load)
    names = [json.loads(line)["external_id"] for line in bodies.read_text().splitlines()]
    acknowledged = [names[n] for n in found["acknowledged"]]
    kept = bench.stack.rows("SELECT count(*) FROM feedback_inquiry WHERE external_id = ANY(%s)", acknowledged)[0][0]
    failed = sum(v for k, v in found["statuses"].items() if int(k) >= 500) + found["broken"]
    return {
        "lost": len(acknowledged) - int(kept), "acknowledged_under_change": len(acknowledged), "failed_under_change": failed,
        "sent_under_change": count, "p99_ms_under_change": found["p99_ms"], "changes": done,
        "arms": dict(bench.stack.rows("SELECT arm, count(*) FROM serving_decisionrecord GROUP BY 1")),
    }  # fmt: skip


def shares(stack: Stack) -> dict[str, Any]:
    """Of what was stored: which share the fast step answered, and which became a task or a case."""
    fast, auto, total = stack.rows(
        "SELECT count(*) FILTER (WHERE s.id IS NOT NULL), count(*) FILTER (WHERE decision = 'auto'), count(*) "
        "FROM serving_decisionrecord d LEFT JOIN serving_student s ON s.encoder_sha = d.encoder_sha"
    )[0]
    return {"fast_share": fast / max(total, 1), "auto_share": auto / max(total, 1), "decisions": total}


def table(bare: dict[str, Any], found: dict[str, Any]) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = [
        ["", "req/s", "p50 ms", "p95 ms", "p99 ms", "CPU µs", "of it PostgreSQL", "of bare", "errors"]
    ]
    for name, f in {"bare view": {**bare, "share_of_bare": 1.0, "database_cpu_us": 0.0}, **found}.items():
        share = f"{f['share_of_bare']:.1%}" if "share_of_bare" in f else ""
        rows.append([
            name, f"{f['rps']:,.0f}", f"{f['p50_ms']:.1f}", f"{f['p95_ms']:.1f}", f"{f['p99_ms']:.1f}",
            f"{f['cpu_us_per_request']:,.0f}", f"{f['database_cpu_us']:,.0f}", share, f["errors"],
        ])  # fmt: skip
    return rows


def build(stack: Stack, args: Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.serving_world", "--texts", str(args.texts), "--labels", str(args.labels),
               "--seed", str(args.seed), *(["--data", str(args.data.resolve())] if args.data else [])]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=stack.environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the project could not be made: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def profile(bench: Bench) -> dict[str, float]:
    """CPU µs of each stage of an answer (benchmarks/serving_profile.py)."""
    args = bench.args
    command = [sys.executable, "-m", "benchmarks.serving_profile", "--key", bench.world["key"], "--seed", str(args.seed),
               "--texts", str(args.texts), *(["--data", str(args.data.resolve())] if args.data else [])]  # fmt: skip
    environment = bench.stack.environment | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the profile failed: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def arguments() -> Namespace:
    p = parser(__doc__ or "")
    p.add_argument(
        "--texts", type=int, default=6000, help="texts that the student is distilled on and the heads learn from"
    )
    p.add_argument("--labels", type=int, default=1500)
    p.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    p.add_argument("--warm", type=float, default=2.0)
    p.add_argument("--turns", type=int, default=3, help="closed loops per endpoint; the one with the least CPU counts")
    p.add_argument("--rates", type=int, nargs="*", default=list(RATES))
    p.add_argument(
        "--connections", type=int, nargs="*", default=[4], help=f"of further closed loops beside that of {CONNECTIONS}"
    )
    p.add_argument("--bodies", type=int, default=60_000)
    p.add_argument("--change-rate", type=float, default=150.0, help="inquiries per second while models change")
    p.add_argument("--change-seconds", type=float, default=24.0)
    p.add_argument("--web-workers", type=int, default=usual_web_processes(), help="of Enso and of the bare view")
    p.add_argument("--profile", action="store_true", help="also the µs of each stage, in a process of its own")
    p.add_argument("--only", choices=("profile", "changes"), help="nothing but this")
    args = p.parse_args()
    if args.quick:
        args.texts, args.labels, args.turns, args.seconds, args.warm = 1300, 400, 1, 2.0, 0.5
        args.bodies, args.change_seconds, args.connections = 8_000, 9.0, []
    return args


def measured(bench: Bench) -> tuple[dict[str, Any], list[Sequence[Any]]]:
    """The figures and their table."""
    args, figures, rows = bench.args, dict[str, Any](), list[Sequence[Any]]()
    if args.profile or args.only == "profile":
        figures["stages_cpu_us"] = profile(bench)
        rows = [["stage", "CPU µs"], *([k, f"{v:,.1f}"] for k, v in figures["stages_cpu_us"].items())]
    if args.only is None:
        with Bare(bench.stack, workers=args.web_workers) as bare:
            bare_figures, found = compare(bench, bare)
        figures |= {
            "endpoints": found,
            "bare_rps": bare_figures["rps"],
            "bare_cpu_us_per_request": bare_figures["cpu_us_per_request"],
        }
        rows = table(bare_figures, found)
    if args.only != "profile":
        figures |= under_change(bench) | shares(bench.stack)
    return figures, rows or [
        ["", "count"],
        *([k, figures[k]] for k in ("lost", "failed_under_change", "acknowledged_under_change")),
    ]


def main() -> None:
    args, started = arguments(), time.monotonic()
    with Stack(web_workers=args.web_workers) as stack:
        bench = Bench(stack, args, build(stack, args))
        figures, rows = measured(bench)
    figures |= {
        "world": {k: v for k, v in bench.world.items() if k != "key"}, "connections": CONNECTIONS,
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    emit(args, figures, rows)
    print({k: v for k, v in figures.items() if k not in ("endpoints", "world", "arms")})


if __name__ == "__main__":
    main()
