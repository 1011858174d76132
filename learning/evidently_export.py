"""A stored drift report's reference and window as an Evidently report (HTML or JSON).

Evidently runs as a program of its own under a Python that has it: its import fails beside the pandas that the service is
pinned to (docs/drift.md). It is given columns of figures and names, never a text.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from learning import evidently_script
from learning.core.drift.reference import COMPONENTS
from learning.drift_evidence import Evidence, Texts, kept
from learning.drifting import fields
from learning.models import DriftReport

KINDS = (".html", ".json")
INSTALL = "python -m venv .evidently && .evidently/bin/pip install -r requirements/evidently.lock"
LONGEST = 900  # seconds
Columns = dict[str, dict[str, list[Any]]]


class NotExported(Exception):
    """Why there is no report, in a sentence."""


def export(row: DriftReport, *, python: str, kind: str) -> bytes:
    """The report as a file of ``kind`` (KINDS), made by the interpreter ``python``.

    NotExported where Evidently is absent or failed; LookupError where texts were erased since.
    """
    known, texts = kept(row)
    given = msgspec.json.encode(dict(zip(("reference", "window"), columns(known, texts), strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"report{kind}"
        _run(python, file, given)
        return file.read_bytes()


def columns(known: Evidence, texts: Texts) -> tuple[Columns, Columns]:
    """What the test looks at, of the reference and of the window.

    Both sides are alike: of a text of the reference, distance and doubt are those without itself.
    """
    reference, window = known.reference, known.window(texts)
    found = reference.compare(window)
    sides = (
        (known.texts, found.nearest_reference, known.doubt, known.predictions),
        (texts, found.nearest, window.strangeness, window.predictions),
    )
    before, now = (_side(known, *side) for side in sides)
    return before, now


def _side(
    known: Evidence, texts: Texts, distance: NDArray[Any], doubt: NDArray[Any] | None, said: NDArray[Any] | None
) -> Columns:
    reference = known.reference
    components = (texts.x - reference.mean) @ reference.axes
    numbers = {"distance to the nearest known text": distance}
    if doubt is not None:
        numbers["doubt of the head"] = doubt
    numbers |= {f"component {n + 1}": components[:, n] for n in range(min(COMPONENTS, components.shape[1]))}
    told = fields(texts.ids)
    classes: dict[str, list[Any]] = {name: [row[name] for row in told] for name in ("locale", "channel")}
    if said is not None:
        classes["predicted category"] = [known.classes[c] for c in said]
    return {"numbers": {k: np.asarray(v, np.float64).tolist() for k, v in numbers.items()}, "classes": classes}


def _run(python: str, file: Path, given: bytes) -> None:
    # Apart from the service's own packages (-I), and without Evidently's usage reports.
    command = [python, "-I", evidently_script.__file__, str(file)]
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the operator named
            command,
            input=given,
            capture_output=True,
            timeout=LONGEST,
            check=False,
            env={**os.environ, "DO_NOT_TRACK": "1"},
        )
    except OSError as error:
        raise NotExported(f"--python: {python} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise NotExported(f"Evidently was not done after {LONGEST} seconds") from error
    said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
    if done.returncode == evidently_script.ABSENT:
        raise NotExported(
            f"{python} cannot import Evidently ({said[-1]}). Install it in an environment of its own ({INSTALL}) "
            "and name that: --python .evidently/bin/python"
        )
    if done.returncode or not file.exists():
        raise NotExported(f"Evidently failed: {said[-1]}")
