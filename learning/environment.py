"""What the numbers of a training may depend on besides data, parameters and seed."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "onnx", "onnxruntime")
# The code that turns a snapshot into a bundle.
CODE = (
    "learning/core", "learning/fitting.py", "learning/challengers.py", "learning/pipelines.py", "serving/head.py",
    "serving/zero_shot.py",
)  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """Recorded with each run. Another processor or number of threads may sum in another order, and differ in the last bits."""

    python: str
    machine: str
    packages: dict[str, str]
    processor: str = ""
    threads: str = ""
    code: str = ""

    @classmethod
    def here(cls) -> Environment:
        return cls(
            platform.python_version(), platform.machine(), {p: version(p) for p in PACKAGES}, _processor(),
            os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())), code_digest(),
        )  # fmt: skip


@functools.cache
def code_digest() -> str:
    """SHA-256 over the names and contents of the files in CODE."""
    root = Path(__file__).resolve().parent.parent
    files = [
        f for name in CODE for f in (sorted((root / name).rglob("*.py")) if (root / name).is_dir() else [root / name])
    ]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor()
