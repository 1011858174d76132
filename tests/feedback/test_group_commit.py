from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from feedback.group_commit import Busy, GroupCommit

LONG = 60.0


class Work:
    """Doubles numbers, in groups that the test can hold back."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.started, self.go_on = threading.Event(), threading.Event()

    def __call__(self, items):
        self.groups.append(list(items))
        self.started.set()
        assert self.go_on.wait(LONG)
        return [2 * i for i in items]


@pytest.fixture
def work():
    return Work()


def gathered(commit: GroupCommit, count: int) -> None:
    """Wait until `count` items stand in the queue."""
    while len(commit._queue) < count:
        threading.Event().wait(0.001)


def test_a_lone_item_is_done_at_once():
    commit = GroupCommit(lambda items: [i + 1 for i in items], largest=8, waiting=8, patience=LONG)
    assert commit.submit(1) == 2


def test_items_that_come_while_a_group_runs_share_the_next(work):
    commit = GroupCommit(work, largest=8, waiting=8, patience=LONG)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(commit.submit, 1)
        assert work.started.wait(LONG)
        rest = [pool.submit(commit.submit, n) for n in (2, 3, 4)]
        gathered(commit, 3)
        work.go_on.set()
        assert first.result() == 2
        assert [r.result() for r in rest] == [4, 6, 8]
    assert [len(g) for g in work.groups] == [1, 3]


def test_no_group_is_larger_than_allowed(work):
    commit = GroupCommit(work, largest=2, waiting=8, patience=LONG)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(commit.submit, 0)
        assert work.started.wait(LONG)
        rest = [pool.submit(commit.submit, n) for n in range(1, 6)]
        gathered(commit, 5)
        work.go_on.set()
        assert {first.result(), *[r.result() for r in rest]} == {0, 2, 4, 6, 8, 10}
    assert max(len(g) for g in work.groups) == 2


def test_one_bad_item_fails_alone(work):
    def refuse_13(items):
        results = work(items)
        if 13 in items:
            raise ValueError("13")
        return results

    commit = GroupCommit(refuse_13, largest=8, waiting=8, patience=LONG)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(commit.submit, 1)
        assert work.started.wait(LONG)
        rest = {n: pool.submit(commit.submit, n) for n in (2, 13, 4)}
        gathered(commit, 3)
        work.go_on.set()
        assert first.result() == 2
        assert (rest[2].result(), rest[4].result()) == (4, 8)
        with pytest.raises(ValueError, match="13"):
            rest[13].result()


def test_what_is_nobodys_fault_is_not_tried_item_by_item(work):
    def away(items):
        work(items)
        raise ConnectionError("away")

    commit = GroupCommit(away, largest=8, waiting=8, patience=LONG, shared=(ConnectionError,))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(commit.submit, 1)
        assert work.started.wait(LONG)
        rest = [pool.submit(commit.submit, n) for n in (2, 3)]
        gathered(commit, 2)
        work.go_on.set()
        for one in (first, *rest):
            with pytest.raises(ConnectionError):
                one.result()
    assert [len(g) for g in work.groups] == [1, 2]


def test_a_full_queue_refuses(work):
    commit = GroupCommit(work, largest=8, waiting=1, patience=LONG)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commit.submit, 1)
        assert work.started.wait(LONG)
        second = pool.submit(commit.submit, 2)
        gathered(commit, 1)
        with pytest.raises(Busy, match="full"):
            commit.submit(3)
        work.go_on.set()
        assert (first.result(), second.result()) == (2, 4)


def test_whoever_waits_too_long_leaves_the_queue(work):
    commit = GroupCommit(work, largest=8, waiting=8, patience=0.01)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commit.submit, 1)
        assert work.started.wait(LONG)
        with pytest.raises(Busy, match="long"):
            commit.submit(2)
        work.go_on.set()
        assert first.result() == 2
    assert work.groups == [[1]]
    assert commit.submit(5) == 10


def test_the_lead_is_passed_on_after_a_failure():
    calls = []

    def once(items):
        calls.append(list(items))
        if len(calls) == 1:
            raise ValueError("first")
        return items

    commit = GroupCommit(once, largest=8, waiting=8, patience=LONG)
    with pytest.raises(ValueError, match="first"):
        commit.submit(1)
    assert commit.submit(2) == 2
