"""The layout of a Hugging Face data set on disk: `README.md` with the features, `data/SPLIT-00000-of-00001.parquet`.

It travels as a zip archive; unpacked, `datasets.load_dataset("DIRECTORY")` reads it. Splits follow the folds: train,
validation (calibrate) and test. Written without the package `datasets`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from labeling.exchange.csv_files import read_csv
from labeling.exchange.json_lines import read_jsonl
from labeling.exchange.parquet import SCHEMA, ParquetWriter, named, read_parquet
from labeling.exchange.rows import LABEL, Fault, Reading, Refused, Row, Rows

SPLITS = {"train": "train", "calibrate": "validation", "test": "test"}
MAX_UNPACKED = 4 << 30
_INT = SCHEMA.set(SCHEMA.get_field_index(LABEL), pa.field(LABEL, pa.int64()))


def write_hugging_face(pages: Iterable[Sequence[Mapping[str, Any]]], names: Sequence[str], target: Path) -> None:
    """Write the archive; `names` are the categories, whose places are the class numbers."""
    number = {name: i for i, name in enumerate(names)}
    schema = _INT.with_metadata({"huggingface": json.dumps({"info": {"features": _features(names)}})})
    counts = dict.fromkeys(SPLITS.values(), 0)
    with tempfile.TemporaryDirectory(prefix="enso-export-") as folder, ExitStack() as stack:
        writers: dict[str, ParquetWriter] = {}
        for page in pages:
            for fold, split in SPLITS.items():
                rows = [{**r, LABEL: number[r[LABEL]]} for r in page if r["fold"] == fold]
                if rows and split not in writers:
                    writers[split] = stack.enter_context(ParquetWriter(Path(folder) / split, schema))
                if rows:
                    writers[split].write(rows)
                counts[split] += len(rows)
        stack.close()
        _pack(Path(folder), writers, names, counts, target)


def _pack(folder: Path, splits: Iterable[str], names: Sequence[str], counts: Mapping[str, int], target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr("README.md", card(names, {s: n for s, n in counts.items() if n}))
        for split in splits:
            archive.write(folder / split, f"data/{split}-00000-of-00001.parquet")


def card(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """README.md: which file is which split, and the features, the label a class label."""
    features = [{"name": f.name, **_described(f, names)} for f in _INT]
    head = {
        "configs": [{"config_name": "default", "data_files": [{"split": s, "path": f"data/{s}-*"} for s in counts]}],
        "dataset_info": {"features": features},
    }
    total = sum(counts.values())
    return f"---\n{yaml.safe_dump(head, allow_unicode=True, sort_keys=False)}---\n\n{total:,} labeled inquiries.\n"


_DTYPES = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool"}


def _described(field: pa.Field, names: Sequence[str]) -> dict[str, Any]:
    """A feature in the words of the README."""
    if field.name == LABEL:
        return {"dtype": {"class_label": {"names": {str(i): n for i, n in enumerate(names)}}}}
    if pa.types.is_list(field.type):
        inner = field.type.value_type
        return {"list": [{"name": f.name, "dtype": _DTYPES[f.type]} for f in inner]}
    return {"dtype": _DTYPES[field.type]}


def _features(names: Sequence[str]) -> dict[str, Any]:
    """The same in the words of the Parquet schema."""
    found: dict[str, Any] = {}
    for field in _INT:
        if field.name == LABEL:
            found[LABEL] = {"names": list(names), "_type": "ClassLabel"}
        elif pa.types.is_list(field.type):
            inner = {f.name: {"dtype": _DTYPES[f.type], "_type": "Value"} for f in field.type.value_type}
            found[field.name] = [inner]
        else:
            found[field.name] = {"dtype": _DTYPES[field.type], "_type": "Value"}
    return found


def read_hugging_face(path: Path, reading: Reading) -> Rows:
    """Rows of every data file of the layout, in the order of their names; class numbers become names."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise Refused(f"The file is no zip archive of a data set: zip its directory. ({error})") from error
    with archive, tempfile.TemporaryDirectory(prefix="enso-import-") as folder:
        files = _data_files(archive)
        classes = _declared(archive, reading.theirs(LABEL))
        offset = 0
        for info in files:
            place = Path(folder) / f"part{Path(info.filename).suffix}"
            with archive.open(info) as source, place.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            last = 0
            for row in _rows(place, reading, classes):
                last = row.number
                yield type(row)(offset + row.number, *_rest(row))
            offset += last
            place.unlink()


def _rest(row: Row | Fault) -> tuple[Any, ...]:
    return (row.cells,) if isinstance(row, Row) else (row.field, row.advice)


def _rows(place: Path, reading: Reading, classes: Sequence[str] | None) -> Rows:
    if place.suffix == ".parquet":
        yield from read_parquet(place, reading, classes)
        return
    read = read_csv if place.suffix == ".csv" else read_jsonl
    for row in read(place, reading):
        yield Row(row.number, _numbered(dict(row.cells), classes)) if isinstance(row, Row) else row


def _numbered(cells: dict[str, Any], classes: Sequence[str] | None) -> dict[str, Any]:
    value = cells.get(LABEL)
    if classes and isinstance(value, str) and value.lstrip("-").isdigit():
        cells[LABEL] = int(value)
    return {k: v for k, v in named(cells, LABEL, classes).items() if v is not None}


def _data_files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    wanted = [
        i for i in archive.infolist() if Path(i.filename).suffix in (".parquet", ".jsonl", ".csv") and not i.is_dir()
    ]
    if not wanted:
        raise Refused("The archive holds no data files (.parquet, .jsonl or .csv): zip the directory of the data set.")
    if sum(i.file_size for i in wanted) > MAX_UNPACKED:
        raise Refused(f"The archive unpacks to more than {MAX_UNPACKED >> 30} GiB: import its files one by one.")
    return sorted(wanted, key=lambda i: i.filename)


def _declared(archive: zipfile.ZipFile, label: str) -> list[str] | None:
    """The class names of README.md, or of dataset_infos.json; None where they are declared in neither."""
    readme = next((i for i in archive.infolist() if Path(i.filename).name == "README.md"), None)
    if readme is None or readme.file_size > 1 << 20:
        return None
    try:
        head = yaml.safe_load(archive.read(readme).decode().split("---")[1])
        info = head["dataset_info"]
        features = (info[0] if isinstance(info, list) else info)["features"]
        names = next(f for f in features if f["name"] == label)["dtype"]["class_label"]["names"]
        return [str(names[k]) for k in sorted(names, key=int)] if isinstance(names, dict) else [str(n) for n in names]
    except (KeyError, IndexError, TypeError, ValueError, StopIteration, yaml.YAMLError):
        return None


@contextmanager
def zipped(path: Path) -> Iterator[Path]:
    """A directory as the archive that travels; a file as it is."""
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="enso-import-") as folder:
        target = Path(folder) / f"{path.resolve().name}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                archive.write(file, file.relative_to(path))
        yield target
