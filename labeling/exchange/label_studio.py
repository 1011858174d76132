"""Label Studio's JSON: tasks with `data`, `annotations` and `predictions`, for one single-choice control.

The mapping is in docs/exchange.md. Who annotated is not sent along: Label Studio refuses names of people that it does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from labeling.exchange.json_arrays import objects
from labeling.exchange.rows import LABEL, TEXT, Fault, Reading, Refused, Rows, renamed

CONTROL, OBJECT = "label", "text"
_encode = msgspec.json.Encoder().encode


def read_label_studio(path: Path, reading: Reading) -> Rows:
    """Tasks as rows: `data` gives the columns, the choice of the annotations the label. Flat objects (JSON-MIN) are read too."""
    number = 0
    for number, task in enumerate(objects(path), 1):
        if not isinstance(task, dict):
            yield Fault(number, "", "is no task: export the project as JSON")
        elif isinstance(task.get("data"), dict):
            yield _row(number, task, reading)
        else:
            yield renamed(number, {k: v for k, v in task.items() if k not in _OF_JSON_MIN}, reading)
    if number == 0:
        raise Refused("The file holds no task: export the project again.")


_OF_JSON_MIN = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}


def _row(number: int, task: Mapping[str, Any], reading: Reading) -> Any:
    given = task.get("annotations") or task.get("completions") or []
    counted = [a for a in given if isinstance(a, dict) and not a.get("was_cancelled")]
    decided = [a for a in counted if a.get("ground_truth")] or counted
    chosen = [choices for a in decided if (choices := _choices(a.get("result")))]
    if any(len(choices) > 1 for choices in chosen):
        return Fault(number, LABEL, "has several choices in one annotation: Enso takes one category per inquiry")
    names = sorted({choices[0] for choices in chosen})
    if len(names) > 1:
        return Fault(
            number, LABEL, f"its annotators disagree ({', '.join(names)[:150]}): settle it, or mark one as ground truth"
        )
    cells = {k: v for k, v in task["data"].items() if k != LABEL}
    return renamed(number, cells | ({LABEL: names[0]} if names else {}), reading)


def _choices(result: Any) -> list[str]:
    found = (
        [r for r in result if isinstance(r, dict) and r.get("type") == "choices"] if isinstance(result, list) else []
    )
    values = [r["value"].get("choices") or [] for r in found if isinstance(r.get("value"), dict)]
    return [str(name) for choices in values for name in (choices if isinstance(choices, list) else [])]


def write_label_studio(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """A JSON array of tasks: the settled label as ground truth, then each person's answer, and the suggestion as a prediction."""
    buffer, first = bytearray(b"["), True
    for row in rows:
        buffer += b"\n" if first else b",\n"
        buffer += _encode(_task(row))
        first = False
        if len(buffer) > 64_000:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer) + b"\n]\n"


def _task(row: Mapping[str, Any]) -> dict[str, Any]:
    data = {k: row[k] for k in ("inquiry", "external_id", TEXT, "locale", "channel") if row[k]}
    data["annotators"] = [a["annotator"] for a in row["annotations"]]
    answers = [{"result": _result(a[LABEL]), "lead_time": a["seconds"]} for a in row["annotations"] if not a["extra"]]
    suggested = row["suggestion"]
    return {
        "data": data,
        "annotations": [{"result": _result(row[LABEL]), "ground_truth": True}, *answers],
        "predictions": [{"model_version": row["suggested_by"] or "model", "result": _result(suggested)}] if suggested else [],
    }  # fmt: skip


def _result(choice: str) -> list[dict[str, Any]]:
    return [{"from_name": CONTROL, "to_name": OBJECT, "type": "choices", "value": {"choices": [choice]}}]


def interface(choices: Iterable[str]) -> str:
    """The labeling interface (XML) under which Label Studio shows what `write_label_studio` writes."""
    from xml.sax.saxutils import quoteattr

    lines = "\n".join(f"    <Choice value={quoteattr(c)}/>" for c in choices)
    return (
        f'<View>\n  <Text name="{OBJECT}" value="${TEXT}"/>\n  <Choices name="{CONTROL}" toName="{OBJECT}" choice="single">\n'
        f"{lines}\n  </Choices>\n</View>\n"
    )
