"""One segment of a pool of vectors as a memory-mapped file of float16, brought up to date by what came and what went.

    with opened(folder, 384) as segment:
        segment.align(wanted_ids, fetch)
        segment.vectors[at]             # read from the file page by page, float16

The file is a cache of rows that lie elsewhere, so it may always be deleted. It is dense: whoever leaves is overwritten by the last
row and the file cut off, so a vector that has to be forgotten is not on disk once `align` returns. A process that is killed
while it writes leaves a mark, and the next one begins the segment anew. One process at a time has a segment open.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]
Fetch = Callable[[Ints], Iterable[tuple[Ints, Halves]]]

VECTORS, IDS, UNFINISHED = "vectors.f16", "ids.npy", "unfinished"


@dataclass(frozen=True)
class Change:
    """How many rows an alignment brought and took away."""

    came: int
    went: int


class Segment:
    """Rows [n, ``dimension``] float16 with their ids [n] int64, unique, in no order. Made by `opened`."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self.folder, self._dimension = folder, dimension
        self.ids: Ints = self._read_ids()

    @property
    def vectors(self) -> Halves:
        """The rows, mapped read-only; take them anew after `align`."""
        if not len(self.ids):
            return np.zeros((0, self._dimension), np.float16)
        return np.memmap(self.folder / VECTORS, np.float16, mode="r", shape=(len(self.ids), self._dimension))

    def align(self, wanted: Ints, fetch: Fetch | None = None) -> Change:
        """Hold the rows of ``wanted`` and no others. ``fetch`` is asked for those that are missing and gives them in batches
        (ids [m], vectors [m, d]); one that it does not give is left out. Without it nothing comes. Raises ValueError for
        vectors of another width or ids that were not asked for."""
        stays = np.isin(self.ids, wanted)
        missing = np.setdiff1d(wanted, self.ids)
        went = int((~stays).sum())
        if not went and (fetch is None or not len(missing)):
            return Change(0, 0)
        with self._unfinished():
            self._drop(stays)
            came = sum(self._append(ids, x, missing) for ids, x in fetch(missing)) if fetch and len(missing) else 0
            self._write_ids()
        return Change(came, went)

    def _drop(self, stays: npt.NDArray[np.bool_]) -> None:
        """Move the last rows that stay into the holes before them, and cut the file off behind."""
        kept = int(stays.sum())
        if kept == len(self.ids):
            return
        holes, last = np.flatnonzero(~stays[:kept]), kept + np.flatnonzero(stays[kept:])
        if kept:
            rows = np.memmap(self.folder / VECTORS, np.float16, mode="r+", shape=(len(self.ids), self._dimension))
            rows[holes] = rows[last]
            rows.flush()
            del rows
        self.ids[holes] = self.ids[last]
        self.ids = self.ids[:kept].copy()
        os.truncate(self.folder / VECTORS, kept * self._row_bytes)

    def _append(self, ids: Ints, x: Halves, missing: Ints) -> int:
        if x.shape != (len(ids), self._dimension):
            raise ValueError(f"{len(ids)} vectors of {self._dimension} numbers were expected, not {x.shape}")
        if not np.isin(ids, missing).all() or np.isin(ids, self.ids).any() or len(np.unique(ids)) < len(ids):
            raise ValueError("a vector came that was not asked for, or twice")
        with (self.folder / VECTORS).open("ab") as file:
            file.write(np.ascontiguousarray(x, np.float16).tobytes())
        self.ids = np.concatenate([self.ids, ids.astype(np.int64)])
        return len(ids)

    @contextmanager
    def _unfinished(self) -> Iterator[None]:
        """The mark is on disk before the first change and goes after the last: what lies between is not believed."""
        mark = self.folder / UNFINISHED
        _to_disk(mark, b"")
        yield
        with (self.folder / VECTORS).open("ab") as file:
            os.fsync(file.fileno())
        mark.unlink()

    def _read_ids(self) -> Ints:
        """What the file holds; begun anew where it was left half written or does not fit its ids."""
        try:
            ids: Ints = np.load(self.folder / IDS, allow_pickle=False).astype(np.int64)
            size = (self.folder / VECTORS).stat().st_size
        except (OSError, ValueError):
            ids, size = np.empty(0, np.int64), -1
        if (self.folder / UNFINISHED).exists() or size != len(ids) * self._row_bytes:
            for name in (VECTORS, IDS, UNFINISHED):
                (self.folder / name).unlink(missing_ok=True)
            return np.empty(0, np.int64)
        return ids

    def _write_ids(self) -> None:
        with (self.folder / IDS).open("wb") as file:
            np.save(file, self.ids)
            file.flush()
            os.fsync(file.fileno())

    @property
    def _row_bytes(self) -> int:
        return 2 * self._dimension


@contextmanager
def opened(folder: Path, dimension: int) -> Iterator[Segment]:
    """The segment in ``folder``, made where there is none, for this process alone until it is left. Raises OSError where the
    folder cannot be written."""
    with _locked(folder):
        folder.mkdir(exist_ok=True, mode=0o700)
        yield Segment(folder, dimension)


def width_of(folder: Path) -> int:
    """Dimensions of the vectors in a segment; 1 where it holds none, or nothing that fits together."""
    try:
        count = len(np.load(folder / IDS, allow_pickle=False))
        size = (folder / VECTORS).stat().st_size
    except (OSError, ValueError):
        return 1
    return size // (2 * count) if count and size % (2 * count) == 0 else 1


def delete(folder: Path) -> None:
    """Remove a segment; whoever has it open at this moment is waited for."""
    with _locked(folder):
        if folder.is_dir():
            shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone with the folder. The lock lies beside it and stays, so that whoever waited for it holds the same one."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with folder.with_name(f"{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _to_disk(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        os.fsync(file.fileno())
