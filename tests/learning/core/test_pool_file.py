"""A pool on disk against a dictionary, whatever comes and goes, and what a process that dies in the middle leaves."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core import pool_file
from learning.core.pool_file import Change, delete, opened

WIDTH = 8


def vector(i: int) -> np.ndarray:
    return np.random.default_rng(i).standard_normal(WIDTH).astype(np.float16)


def fetch(ids: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """In batches of three; odd hundreds have no vector."""
    there = [int(i) for i in ids if i // 100 % 2 == 0]
    for start in range(0, len(there), 3):
        batch = there[start : start + 3]
        yield np.array(batch, np.int64), np.stack([vector(i) for i in batch])


def held(folder: Path) -> dict[int, np.ndarray]:
    with opened(folder, WIDTH) as segment:
        return {int(i): np.array(x) for i, x in zip(segment.ids, segment.vectors, strict=True)}


def align(folder: Path, ids: Iterable[int], fetch_=fetch) -> Change:
    with opened(folder, WIDTH) as segment:
        return segment.align(np.array(sorted(ids), np.int64), fetch_)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 399), max_size=30), max_size=6))
def test_a_segment_holds_what_was_wanted_last_and_nothing_else(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("pool")
    before: set[int] = set()
    for wanted in steps:
        there = {i for i in wanted if i // 100 % 2 == 0}
        assert align(folder, wanted) == Change(len(there - before), len(before - there))
        found = held(folder)
        assert found.keys() == there
        assert all(np.array_equal(found[i], vector(i)) for i in there)
        assert not there or (folder / pool_file.VECTORS).stat().st_size == len(there) * WIDTH * 2
        before = there


def test_what_has_left_is_not_in_the_file_any_more(tmp_path):
    align(tmp_path, range(20))
    gone = vector(3).tobytes()
    assert gone in (tmp_path / pool_file.VECTORS).read_bytes()
    align(tmp_path, set(range(20)) - {3}, None)
    assert gone not in (tmp_path / pool_file.VECTORS).read_bytes()


def test_only_what_is_missing_is_asked_for(tmp_path):
    asked: list[list[int]] = []

    def noting(ids: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        asked.append(ids.tolist())
        return fetch(ids)

    align(tmp_path, range(10), noting)
    align(tmp_path, range(5, 12), noting)
    align(tmp_path, range(5, 12), noting)
    assert asked == [list(range(10)), [10, 11]]


def test_without_a_fetch_things_only_go(tmp_path):
    align(tmp_path, range(6))
    assert align(tmp_path, {2, 4, 50}, None) == Change(0, 4)
    assert set(held(tmp_path)) == {2, 4}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (([1], np.zeros((1, WIDTH + 1))), "8 numbers"),
        (([77], np.zeros((1, WIDTH))), "not asked for"),
        (([1, 1], np.zeros((2, WIDTH))), "or twice"),
    ],
)
def test_vectors_that_do_not_fit_are_refused_and_the_segment_begins_anew(tmp_path, batch, message):
    align(tmp_path, {0})
    ids, x = batch
    with pytest.raises(ValueError, match=message):
        align(tmp_path, {0, 1}, lambda _: [(np.array(ids), x)])
    assert held(tmp_path) == {}
    assert align(tmp_path, {0, 1}) == Change(2, 0)


def test_a_file_that_does_not_fit_its_ids_is_begun_anew(tmp_path):
    align(tmp_path, range(5))
    with (tmp_path / pool_file.VECTORS).open("ab") as file:
        file.write(b"\0")
    assert held(tmp_path) == {}


def _dies_while_it_writes(folder: Path) -> None:
    def fetching(ids: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        yield from list(fetch(ids))[:1]
        os.kill(os.getpid(), signal.SIGKILL)

    align(folder, range(30, 60), fetching)


def test_a_segment_whose_writer_was_killed_is_begun_anew(tmp_path):
    align(tmp_path, range(10))
    process = multiprocessing.get_context("fork").Process(target=_dies_while_it_writes, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert held(tmp_path) == {}
    assert align(tmp_path, range(10)) == Change(10, 0)
    assert set(held(tmp_path)) == set(range(10))


def _hold(folder: Path, inside: object, leave: object) -> None:
    with opened(folder, WIDTH):
        inside.set()  # type: ignore[attr-defined]
        leave.wait()  # type: ignore[attr-defined]


def test_a_segment_that_is_deleted_while_somebody_waits_for_it_is_made_again(tmp_path):
    folder = tmp_path / "segment"
    context = multiprocessing.get_context("fork")
    inside, leave = context.Event(), context.Event()
    align(folder, range(4))
    holder = context.Process(target=_hold, args=(folder, inside, leave))
    holder.start()
    inside.wait()
    deleter = context.Process(target=delete, args=(folder,))
    waiter = context.Process(target=align, args=(folder, range(7)))
    deleter.start()
    waiter.start()
    leave.set()
    for process in (holder, deleter, waiter):
        process.join()
        assert process.exitcode == 0
    assert set(held(folder)) in ({*range(7)}, set())  # whoever came first
    assert align(folder, range(7)).went == 0


def test_deleting_what_is_not_there_is_no_fault(tmp_path):
    delete(tmp_path / "nothing")
