"""Parquet, by pyarrow: loaded by the worker and the commands alone, never by the web process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from labeling.exchange.rows import LABEL, TEXT, Reading, Refused, Rows, renamed

BATCH = 500
ANNOTATION = pa.struct([
    ("annotator", pa.string()), ("label", pa.string()), ("role", pa.string()), ("seconds", pa.float64()),
    ("saw_suggestion", pa.bool_()), ("extra", pa.bool_()), ("guideline", pa.int64()), ("at", pa.string()),
])  # fmt: skip
SCHEMA = pa.schema([
    *((n, pa.string()) for n in ("inquiry", "external_id", TEXT, "locale", "channel", LABEL, "label_name", "source", "resolution")),
    ("agreement", pa.float64()), ("annotators", pa.int64()), ("saw_suggestion", pa.bool_()), ("suggestion", pa.string()),
    ("suggested_by", pa.string()), ("fold", pa.string()), ("revision", pa.int64()), ("settled_at", pa.string()),
    ("annotations", pa.list_(ANNOTATION)),
])  # fmt: skip


def read_parquet(path: Path, reading: Reading, names: Sequence[str] | None = None) -> Rows:
    """Rows of a Parquet file, a batch at a time; numbers of a class label are named by `names` or by the file's own features."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise Refused(f"The file is no Parquet file: export it again. ({error})") from error
    with file:
        columns = set(file.schema_arrow.names)
        if not {reading.theirs(TEXT), "external_id", "inquiry"} & columns:
            raise Refused(
                f"There is no column {reading.theirs(TEXT)!r}; the file has {', '.join(sorted(columns))[:300]}."
            )
        classes = names or class_names(file.schema_arrow.metadata, reading.theirs(LABEL))
        number = 0
        for batch in file.iter_batches(batch_size=BATCH):
            for cells in batch.to_pylist():
                number += 1
                yield renamed(number, named(cells, reading.theirs(LABEL), classes), reading)


def count_rows(path: Path) -> int:
    """How many rows a file says that it has; 0 where it is no Parquet file."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError):
        return 0


def named(cells: dict[str, Any], label: str, classes: Sequence[str] | None) -> dict[str, Any]:
    """The cells with the number of a class replaced by its name; −1 is the layout's word for none."""
    value = cells.get(label)
    if classes and isinstance(value, int):
        return {**cells, label: classes[value] if 0 <= value < len(classes) else None}
    return cells


def class_names(metadata: Mapping[bytes, bytes] | None, label: str) -> list[str] | None:
    """The class names that the Hugging Face layout keeps in the schema, where it does."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [str(n) for n in features[label]["names"]]
    except (KeyError, ValueError, TypeError):
        return None


class ParquetWriter:
    """A Parquet file in the making: a page of rows is a row group, so that memory stays constant."""

    def __init__(self, path: Path, schema: pa.Schema = SCHEMA) -> None:
        self._writer, self._schema = pq.ParquetWriter(path, schema, compression="zstd"), schema

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._writer.write_table(pa.Table.from_pylist([dict(r) for r in rows], schema=self._schema))

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
