"""Where the microseconds of an answer go: each stage alone, in one thread of a process like the web server's.

Run by `benchmarks.serving --profile` in the environment of its stack. Prints one JSON object: µs of CPU per call of each stage,
over the same held-out texts. Stages overlap where one calls another (`student` holds `tokens and rows`); `edge` is what is left
of a whole call to the WSGI application: routing, key, limits, decoding, encoding.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import load_corpus
from config import entry

ROUNDS = 3


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=Path)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--texts", type=int, default=4000)
    p.add_argument("--calls", type=int, default=1000)
    p.add_argument("--key", required=True)
    args = p.parse_args()
    entry.prepare()
    from config.wsgi import application

    texts = load_corpus(args.data, seed=args.seed, size=args.texts).test_texts[: args.calls]
    json.dump(stages(application, args.key, texts), sys.stdout)


def per_call(work: Callable[[Any], Any], given: Sequence[Any]) -> float:
    """CPU µs of this thread per call, of the fastest of a few rounds: the thread that looks for new models is not counted."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for one in given:
            work(one)
        rounds.append(time.thread_time() - began)
    return 1e6 * min(rounds) / len(given)


def stages(application: Any, key: str, texts: list[str]) -> dict[str, float]:
    """µs by stage for the texts that the student keeps, and of a whole call for all of them."""
    import msgspec
    import numpy as np

    from feedback.keys import principal_of_key
    from feedback.masking import mask
    from serving import engine, services
    from serving.cascade import goes_up
    from serving.encoder import language_of
    from serving.served import served

    desk = served.desk(principal_of_key(key).project_id)
    ((teacher, step),) = desk.steps.items()
    head = desk.heads[step.encoder.sha256]
    risky = np.zeros(len(head.categories), bool)
    # The student reads what masking leaves; only texts that masking leaves alone let the stages be added up.
    same = [t for t in texts if mask(t, desk.order_templates).text == t]
    kept = [t for t in same if served.predict(desk, [t], [""])[0].teacher_sha]
    x = {t: step.encoder.encode_with_known_share([t]) for t in kept}
    p = {t: head.head.predict(x[t][0]) for t in kept}
    made = {t: served.predict(desk, [t], [""])[0] for t in kept}
    tones = np.zeros(1, np.float32)
    found = {
        "mask": per_call(lambda t: mask(t, desk.order_templates), kept),
        "language": per_call(lambda t: language_of(t, ""), kept),
        "tokens and rows": per_call(step.encoder._bags.of_one, kept),
        "student": per_call(lambda t: step.encoder.encode_with_known_share([t]), kept),
        "head": per_call(lambda t: head.head.predict(x[t][0]), kept),
        "tone": per_call(lambda t: served.sentiment(step.encoder, "en", x[t][0]), kept),
        "goes up?": per_call(lambda t: goes_up(step, desk.policy, p[t], known=x[t][1], tones=tones, risky=risky), kept),
        "prediction": per_call(lambda t: engine.one(step.encoder, head, p[t][0], 0.0, x[t][0][0], teacher_sha=teacher), kept),
        "decision and answer": per_call(lambda t: services._preview(desk, made[t], "", {}), kept),
        "answer as JSON": per_call(lambda t: msgspec.json.encode(services._preview(desk, made[t], "", {})), kept),
        "predict, without HTTP": per_call(lambda t: services.predict(project_id=desk.project_id, texts=[t], locales=[""]), kept),
        "encoder alone": per_call(lambda t: served.encoder_by_sha(teacher).encode([t]), texts[:100]),
    }  # fmt: skip
    found["answer as JSON"] -= found["decision and answer"]
    for name in ("predict", "inquiries"):
        found[f"POST /{name}, kept by the student"] = per_call(_caller(application, key, name), kept)
        found[f"POST /{name}, all texts"] = per_call(_caller(application, key, name), texts)
    found["edge"] = found["POST /predict, kept by the student"] - found["predict, without HTTP"]
    return {"kept_share": len(kept) / max(len(same), 1), **{k: round(v, 1) for k, v in found.items()}}


def _caller(application: Any, key: str, name: str) -> Callable[[str], None]:
    """One WSGI request."""

    def call(text: str) -> None:
        body = json.dumps({"text": text}).encode()
        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": f"/api/v1/{name}", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80",
            "HTTP_HOST": "127.0.0.1", "HTTP_AUTHORIZATION": f"Api-Key {key}", "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr,
            "REMOTE_ADDR": "127.0.0.1",
        }  # fmt: skip
        said: list[str] = []
        answer = application(environ, lambda status, headers: said.append(status))
        b"".join(answer)
        if close := getattr(answer, "close", None):  # PEP 3333: only where there is something to close.
            close()
        if not said[0].startswith("20"):
            raise SystemExit(f"{name} was answered with {said[0]}")

    return call


if __name__ == "__main__":
    main()
