"""The formats by name: how each is read, and where it is made (streamed to the caller, or a file made by a worker)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext_lazy

from labeling.exchange.csv_files import read_csv
from labeling.exchange.json_lines import read_jsonl
from labeling.exchange.label_studio import read_label_studio
from labeling.exchange.rows import Reading, Refused, Rows


@dataclass(frozen=True)
class Format:
    """`streams` is whether the web process writes it; the others load pyarrow and are made by a worker."""

    name: str
    label: object
    suffixes: tuple[str, ...]
    media_type: str
    streams: bool
    read: Callable[[Path, Reading], Rows]
    # About how many rows a file has, where that is told without reading it all row by row; else 0.
    count: Callable[[Path], int] = lambda path: 0


def _lines(path: Path) -> int:
    with path.open("rb") as handle:
        return sum(piece.count(b"\n") for piece in iter(lambda: handle.read(1 << 20), b""))


def _parquet_rows(path: Path) -> int:
    from labeling.exchange.parquet import count_rows

    return count_rows(path)


def _parquet(path: Path, reading: Reading) -> Rows:
    from labeling.exchange.parquet import read_parquet

    return read_parquet(path, reading)


def _hugging_face(path: Path, reading: Reading) -> Rows:
    from labeling.exchange.hugging_face import read_hugging_face

    return read_hugging_face(path, reading)


FORMATS = {
    f.name: f
    for f in (
        Format("csv", gettext_lazy("CSV, for spreadsheets"), (".csv", ".tsv", ".txt"), "text/csv; charset=utf-8", True, read_csv, _lines),
        Format("jsonl", gettext_lazy("JSON Lines"), (".jsonl", ".ndjson"), "application/x-ndjson", True, read_jsonl, _lines),
        Format("label-studio", gettext_lazy("Label Studio JSON"), (".json",), "application/json", True, read_label_studio),
        Format("parquet", gettext_lazy("Parquet"), (".parquet", ".pq"), "application/vnd.apache.parquet", False, _parquet, _parquet_rows),
        Format("hugging-face", gettext_lazy("Hugging Face data set (zip)"), (".zip",), "application/zip", False, _hugging_face),
    )
}  # fmt: skip
STREAMED = tuple(f.name for f in FORMATS.values() if f.streams)


def format_of(filename: str, named: str = "") -> Format:
    """The format that a caller names, or that the file's ending tells. Raises `Refused`."""
    if named:
        if named not in FORMATS:
            raise Refused(f"There is no format {named!r}: choose one of {', '.join(FORMATS)}.")
        return FORMATS[named]
    suffix = Path(filename).suffix.lower()
    found = next((f for f in FORMATS.values() if suffix in f.suffixes), None)
    if found is None:
        known = ", ".join(s for f in FORMATS.values() for s in f.suffixes)
        raise Refused(f"The ending of {Path(filename).name!r} tells no format (known: {known}): name the format.")
    return found
