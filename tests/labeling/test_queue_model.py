"""The queue against a reference that fits on a page, in any order of claims, answers, skips, undos, expiries and deaths."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.db import connection, connections, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from feedback.models import Project, User
from feedback.problems import Problem
from feedback.services import create_project
from labeling import actions, counters, queue
from labeling.models import Annotation, LabelTask, Skip, Slot, TaskState
from tests.conftest import CATEGORIES, make_person
from tests.labeling.test_queue import add_task, answer, claim

PEOPLE = 3
# Who holds what depends on which thread was faster, and hypothesis wants the same draws whenever it repeats an example. So
# every draw is of a fixed range, and picks from whatever there is (`one_of`).
ANY = st.integers(0, 59)
KEYS = [c["key"] for c in CATEGORIES]


class Model:
    """What must be true: who holds, answered and skipped what. Nothing of how the queue does it."""

    def __init__(self) -> None:
        self.overlap: dict[int, int] = {}
        self.held: dict[int, Any] = {}  # person -> lease
        self.counted: dict[int, set[int]] = {}  # task -> people whose answer counts
        self.gone: dict[int, set[int]] = {}  # task -> people who are not to see it again
        self.lost: list[tuple[int, Any]] = []  # leases that ran out or were cleared

    def add(self, task: LabelTask) -> None:
        self.overlap[task.pk], self.counted[task.pk], self.gone[task.pk] = task.overlap, set(), set()

    def free(self, person: int) -> set[int]:
        """Tasks that this person may be handed: room is left, and they have not had it."""
        holding = [lease.task_id for lease in self.held.values()]
        return {
            t for t, room in self.overlap.items()
            if len(self.counted[t]) + holding.count(t) < room and person not in self.gone[t] | self.counted[t]
        }  # fmt: skip


def one_of(found: Iterable[int], pick: int) -> int | None:
    """The one that a number stands for; None where there is nothing."""
    there = sorted(found)
    return there[pick % len(there)] if there else None


class Queue(RuleBasedStateMachine):
    """Every rule acts on the queue and on the model; they must agree after each."""

    people: list[User]
    project: Project

    @initialize(overlaps=st.lists(st.integers(1, 3), min_size=2, max_size=5))
    def open_the_desk(self, overlaps: list[int]) -> None:
        Annotation.objects.all().delete()
        LabelTask.objects.all().delete()
        self.model, self.serial = Model(), 0
        for overlap in overlaps:
            self.a_task_comes(overlap, 0.5)

    @rule(overlap=st.integers(1, 3), priority=st.floats(0, 1))
    def a_task_comes(self, overlap: int, priority: float) -> None:
        self.serial += 1
        self.model.add(add_task(self.project, f"text {self.serial}", overlap=overlap, priority=priority))

    @rule(who=st.integers(0, PEOPLE - 1))
    def one_asks_for_the_next(self, who: int) -> None:
        free = self.model.free(who)
        lease = claim(self.project, self.people[who])
        self._handed(who, lease, free)

    def _holder(self, pick: int) -> int | None:
        """Somebody with a lease; where nobody has one, somebody asks first. None where nothing is left to hand out."""
        if not self.model.held:
            self.one_asks_for_the_next(pick % PEOPLE)
        return one_of(self.model.held, pick)

    def _handed(self, who: int, lease: Any, free: set[int]) -> None:
        if who in self.model.held:
            assert lease.token == self.model.held[who].token
        elif lease is None:
            assert not free, "something waits, and was not handed out"
        else:
            assert lease.task_id in free, "handed out without room, or to somebody who had it"
            self.model.held[who] = lease

    @rule()
    def all_ask_at_once(self) -> None:
        leases = at_once([lambda p=p: claim(self.project, p) for p in self.people])
        new = {w: lease for w, lease in enumerate(leases) if w not in self.model.held and lease is not None}
        for who, lease in enumerate(leases):
            if who in self.model.held:
                assert lease.token == self.model.held[who].token
        for who, lease in new.items():
            assert lease.task_id in self.model.free(who)
            self.model.held[who] = lease
        # A row that another claim held at that moment is passed over, so one person may come away empty-handed; asking
        # again, alone, must find whatever is left.
        for who in range(PEOPLE):
            self._handed(who, claim(self.project, self.people[who]), self.model.free(who))

    @rule(pick=ANY, category=st.sampled_from(KEYS))
    def one_answers(self, pick: int, category: str) -> None:
        if (who := self._holder(pick)) is None:
            return
        lease = self.model.held.pop(who)
        sent = answer(self.project, self.people[who], lease, category)
        again = answer(self.project, self.people[who], lease, category)
        assert sent.pk == again.pk
        assert not sent.extra
        self.model.counted[lease.task_id].add(who)

    @rule(pick=ANY)
    def one_skips(self, pick: int) -> None:
        if (who := self._holder(pick)) is None:
            return
        lease = self.model.held.pop(who)
        actions.skip(
            project_id=self.project.pk, task_id=lease.task_id, annotator_id=self.people[who].pk, token=lease.token
        )
        self.model.gone[lease.task_id].add(who)

    @rule()
    def all_leases_run_out(self) -> None:
        Slot.objects.filter(state="leased").update(lease_expires_at="2020-01-01T00:00Z")
        self.model.lost += list(self.model.held.items())
        self.model.held.clear()

    @rule(category=st.sampled_from(KEYS))
    def a_late_answer_comes(self, category: str) -> None:
        """It counts when the lease was still in place (nobody had looked), else it is kept as an extra one."""
        if not self.model.lost:
            self._holder(0)
            self.all_leases_run_out()
        if not self.model.lost:
            return
        who, lease = self.model.lost.pop()
        if who in self.model.gone[lease.task_id] | self.model.counted[lease.task_id]:
            return
        if who in self.model.held and self.model.held[who].task_id == lease.task_id:
            return
        there = Slot.objects.filter(token=lease.token, state="leased").exists()
        sent = answer(self.project, self.people[who], lease, category)
        assert sent.extra is not there
        (self.model.counted if there else self.model.gone)[lease.task_id].add(who)

    @rule(pick=ANY)
    def one_takes_something_back(self, pick: int) -> None:
        if not (had := self._had()):
            self.one_answers(pick, KEYS[0])
            had = self._had()
        if not had:
            return
        who, task = had[pick % len(had)]
        try:
            lease = actions.undo(
                project_id=self.project.pk, task_id=task, annotator_id=self.people[who].pk, seconds=600
            )
        except Problem:
            return  # too long ago: the queue is as it was, which the invariants check
        self.model.counted[task].discard(who)
        self.model.gone[task].discard(who)
        if lease is None:
            return
        assert lease.task_id == task
        queue.release(task_id=task, annotator_id=self.people[who].pk, token=lease.token)
        self._what_waits_comes_back(who)

    def _had(self) -> list[tuple[int, int]]:
        """Who has answered or skipped what."""
        return sorted((who, t) for t in self.model.overlap for who in self.model.counted[t] | self.model.gone[t])

    def _what_waits_comes_back(self, who: int) -> None:
        """What was in hand before the undo comes right after the undone item."""
        if (before := self.model.held.pop(who, None)) is None:
            return
        lease = claim(self.project, self.people[who])
        assert (lease.task_id, lease.token) == (before.task_id, before.token)
        self.model.held[who] = lease

    @rule(who=st.integers(0, PEOPLE - 1))
    def a_connection_is_killed_in_the_middle_of_a_claim(self, who: int) -> None:
        free = self.model.free(who)
        killed(lambda: claim(self.project, self.people[who]))
        self._handed(who, claim(self.project, self.people[who]), free)

    @rule(pick=ANY, category=st.sampled_from(KEYS))
    def a_connection_is_killed_in_the_middle_of_an_answer(self, pick: int, category: str) -> None:
        if (who := self._holder(pick)) is None:
            return
        lease = self.model.held[who]
        killed(lambda: answer(self.project, self.people[who], lease, category))
        assert not Annotation.objects.filter(token=lease.token).exists()

    @invariant()
    def nobody_is_counted_beyond_the_overlap_and_nothing_is_lost(self) -> None:
        for task in LabelTask.objects.all():
            counted = Annotation.objects.filter(task=task, extra=False, role="annotator")
            people = {self.people.index(a.annotator) for a in counted.select_related("annotator")}
            assert people == self.model.counted[task.pk]
            assert len(people) <= task.overlap
            assert (task.state != TaskState.OPEN) == (len(people) == task.overlap)

    @invariant()
    def the_leases_are_those_that_were_handed_out(self) -> None:
        live = Slot.objects.filter(state="leased", lease_expires_at__gt="2021-01-01T00:00Z")
        assert {s.token for s in live} == {lease.token for lease in self.model.held.values()}

    @invariant()
    def the_counters_say_what_counting_says(self) -> None:
        said = counters.read(self.project.pk)
        assert said.get("task:open", 0) == LabelTask.objects.filter(state=TaskState.OPEN).count()
        assert said.get("slot:annotator:open", 0) == Slot.objects.filter(state="open", role="annotator").count()

    @invariant()
    def the_lanes_bar_those_who_have_answered_or_skipped(self) -> None:
        for slot in Slot.objects.filter(state="open"):
            answered = Annotation.objects.filter(task=slot.task_id).values_list("annotator_id", flat=True)
            skipped = Skip.objects.filter(task=slot.task_id).values_list("annotator_id", flat=True)
            assert slot.barred == sorted({*answered, *skipped})


def at_once(works: list[Callable[[], Any]]) -> list[Any]:
    """Run each in a thread with a connection of its own, all started together; what each returned."""
    found: list[Any] = [None] * len(works)
    gate, failed = threading.Barrier(len(works)), []

    def run(i: int) -> None:
        try:
            gate.wait()
            found[i] = works[i]()
        except BaseException as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]
    return found


def killed(work: Callable[[], Any]) -> None:
    """Do it in a transaction whose connection the server cuts before the commit."""

    def run() -> None:
        try:
            with transaction.atomic():
                work()
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        except Exception:
            pass

    at_once([run])


@pytest.mark.django_db(transaction=True)
def test_the_queue_does_what_the_reference_does_in_any_order() -> None:
    project = create_project(slug="shop", name="Shop", categories=CATEGORIES, audit_rate=0.0)
    people = [make_person(project, f"annotator{n}", "annotator") for n in range(PEOPLE)]
    machine = type("Desk", (Queue,), {"project": project, "people": people})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )


def test_the_reference_itself_hands_out_only_where_room_is_left() -> None:
    model = Model()
    model.overlap, model.counted, model.gone = {1: 1, 2: 2}, {1: {0}, 2: {0}}, {1: set(), 2: {1}}
    assert [model.free(w) for w in range(3)] == [set(), set(), {2}]
