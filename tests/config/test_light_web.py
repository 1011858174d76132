"""The web process stays small: what belongs to training is not even imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.servers import ROOT

HEAVY = ("torch", "umap", "numba", "sklearn", "mlflow", "hdbscan", "pandas", "optuna", "scipy", "onnx", "opentelemetry",
         "transformers", "peft", "onnxscript", "httpx")  # fmt: skip
PROGRAM = """
import json, sys
import config.wsgi
from django.urls import get_resolver
get_resolver().url_patterns
from serving.served import served
from django.conf import settings
x = served.encoder(settings.ENSO_ENCODER).encode(["Where is my parcel?"] * 8 + ["x " * 400])
served.encoder("ngram").encode(["荷物はどこですか"])
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({"modules": sorted({m.split(".")[0] for m in sys.modules}), "rss_kb": int(status["VmRSS"].split()[0])}))
"""


@pytest.fixture(scope="module")
def web() -> dict:
    """What a web process holds after it has answered with both encoders."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", HEAVY)
def test_the_web_process_does_not_import(web, module):
    assert module not in web["modules"]


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_the_web_process_with_its_encoders_stays_under_250_mb(web):
    assert web["rss_kb"] < 250_000
