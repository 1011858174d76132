"""A project's thresholds and checks: what may be written, and what is refused with a reason."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from feedback.models import Project
from learning.gates.behaviour import directional, functionality, invariance
from learning.gates.checks import PERTURBATIONS, Checks
from learning.gates.result import DEFAULTS
from learning.models import GateSettings
from tests.learning.gates.world import KEYS, data, evidence

GOOD = """
functionality: [{text: test 0, category: c0}]
directional: [{text: test 0, add: more, category: c1, expect: up}]
invariance: [case]
"""


def test_checks_are_read_as_they_are_written() -> None:
    checks = Checks.parse(GOOD)
    assert (checks.functionality[0].category, checks.directional[0].expect, checks.invariance) == (
        "c0",
        "up",
        ("case",),
    )
    assert Checks.parse("") == Checks()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "not YAML"),
        ("- a", "must be a mapping"),
        ("fun: []", "no checks 'fun'"),
        ("functionality: [{text: a}]", "functionality.0. must have exactly text, category"),
        ("functionality: 3", "functionality.0."),
        ("directional: [{text: a, add: b, category: c, expect: sideways}]", "up or down"),
        ("invariance: [upside-down]", "must be a list of"),
    ],
)
def test_a_fault_in_the_checks_is_named(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Checks.parse(text)


@pytest.mark.parametrize("given", [{"speed": 1}, {"margin": -0.1}, {"margin": True}, {"margin": float("nan")}])
def test_a_threshold_that_does_not_exist_or_is_no_share_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        DEFAULTS.moved(given)


def row_of(texts: list[str]) -> np.ndarray:
    """Reads "test N …" as the N-th test text, and the word "more" as a text of the next category."""
    _, test = data()
    x = np.stack([test.x[int(t.split()[1])] for t in texts])
    other = test.x[list(test.keys).index("c1")]
    return np.stack([other if "more" in t else row for t, row in zip(texts, x, strict=True)])


def test_expected_answers_and_movements_are_judged() -> None:
    _, test = data()
    at = list(test.keys).index("c0")
    text = GOOD.replace("test 0", f"test {at}")
    given = evidence(checks=Checks.parse(text), encode=row_of)
    assert directional(given).passed
    down = evidence(checks=Checks.parse(text.replace("expect: up", "expect: down")), encode=row_of)
    assert not directional(down).passed
    answer = given.candidate.answers(row_of([f"test {at}"]))[0]
    for key in KEYS:
        expected = evidence(
            checks=Checks.parse(f"functionality: [{{text: test {at}, category: {key}}}]"), encode=row_of
        )
        assert functionality(expected).passed == (key == answer)


def test_an_answer_that_depends_on_capitals_is_fragile() -> None:
    def shouting(texts: list[str]) -> np.ndarray:
        _, test = data()
        return np.stack([test.x[(7 if t.isupper() or t.islower() else 0) + int(t.split()[1]) % 200] for t in texts])

    _, test = data()
    titled = [f"Test {n}" for n in range(len(test))]
    steady = evidence(test=type(test)(test.x, test.keys, test.groups, titled), checks=Checks(invariance=("case",)))
    constant = replace(
        steady.serving, probabilities=lambda x: np.eye(len(KEYS), dtype=np.float32)[np.zeros(len(x), int)]
    )
    assert not invariance(replace(steady, encode=shouting, serving=constant)).passed
    few = steady.test.only(np.arange(len(test)) < 4)
    assert invariance(replace(steady, encode=shouting, serving=constant, test=few)).passed, "four texts show nothing"


@pytest.mark.parametrize("name", list(PERTURBATIONS))
def test_perturbations_keep_the_words(name: str) -> None:
    rng = np.random.default_rng(0)
    text = "Where is my parcel number 12345?"
    changed = PERTURBATIONS[name](text, rng)
    assert changed != text
    assert len(changed) >= len(text)


@pytest.mark.django_db
def test_thresholds_and_checks_are_kept_with_the_project(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "checks.yml"
    path.write_text(GOOD)
    out = io.StringIO()
    call_command("gates", project.slug, "margin=0.01", "--checks", str(path), stdout=out)
    assert "margin=0.01" in out.getvalue()
    told = GateSettings.of(project.pk)
    assert (told.thresholds_in_force.margin, told.parsed_checks.invariance) == (0.01, ("case",))
    with pytest.raises(CommandError, match="no gate threshold 'speed'"):
        call_command("gates", project.slug, "speed=1")
    assert GateSettings.of(project.pk).thresholds == {"margin": 0.01}
