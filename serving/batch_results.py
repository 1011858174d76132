"""The result of a prediction as a file: JSON Lines as it is kept, CSV made while it is sent, Parquet made by the worker."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from labeling.exchange.csv_files import write_csv
from labeling.exchange.files import keep_file, pieces_of, read_pieces
from labeling.exchange.models import ExchangeFile

COLUMNS = (
    "row", "external_id", "category", "confidence", "decision", "reasons", "sentiment", "model", "probabilities", "error",
)  # fmt: skip


def pages(file_id: int) -> Iterator[list[dict[str, Any]]]:
    """The lines of a result, a batch at a time."""
    for piece in pieces_of(file_id):
        yield [msgspec.json.decode(line) for line in piece.splitlines() if line]


def stream(name: str, file_id: int) -> Iterator[bytes]:
    """The result in `name`, in pieces; what is kept as Parquet is Parquet."""
    if name != "csv":
        return pieces_of(file_id)
    return write_csv((_cells(line) for page in pages(file_id) for line in page), COLUMNS)


def _cells(line: dict[str, Any]) -> list[str]:
    error = line.get("error")
    told = {
        **line,
        "reasons": " ".join(line.get("reasons", ())),
        "probabilities": msgspec.json.encode(line["probabilities"]).decode() if "probabilities" in line else "",
        "error": " ".join(filter(None, (error["field"], error["detail"]))) if error else "",
    }
    return ["" if told.get(c) is None else str(told[c]) for c in COLUMNS]


def make_parquet(project_id: int, file_id: int) -> int:
    """The same as a Parquet file, a row group per batch, in the place of the lines. Returns the number of the file."""
    import pyarrow as pa

    from labeling.exchange.parquet import ParquetWriter

    share = pa.struct([("category", pa.string()), ("share", pa.float64())])
    kinds = {"row": pa.int64(), "confidence": pa.float64(), "sentiment": pa.float64(),
             "reasons": pa.list_(pa.string()), "probabilities": pa.list_(share)}  # fmt: skip
    schema = pa.schema([(c, kinds.get(c, pa.string())) for c in COLUMNS])
    lines = ExchangeFile.objects.get(pk=file_id)
    with tempfile.TemporaryDirectory(prefix="enso-predictions-") as folder:
        path = Path(folder) / "result.parquet"
        with ParquetWriter(path, schema) as writer:
            for page in pages(file_id):
                writer.write([_row(line) for line in page])
        made = keep_file(project_id=project_id, name=lines.name, pieces=read_pieces(path))
    lines.delete()
    return made.pk


def _row(line: dict[str, Any]) -> dict[str, Any]:
    error = line.get("error")
    shares = [{"category": c, "share": float(p)} for c, p in line.get("probabilities", {}).items()]
    said = " ".join(filter(None, (error["field"], error["detail"]))) if error else None
    return {**dict.fromkeys(COLUMNS), **line, "probabilities": shares, "error": said}
