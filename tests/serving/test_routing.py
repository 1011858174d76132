from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import routing
from serving.routing import Policy, decide


def route(policy=Policy(), *, category="refund", confidence=0.9, high_risk=False, sentiment=0.0, draw=0.99):  # noqa: B008
    return decide(policy, category=category, confidence=confidence, high_risk=high_risk, sentiment=sentiment, draw=draw)


def codes(decision):
    return [r["code"] for r in decision.reasons]


def test_the_worked_example_holds():
    assert doctest.testmod(routing).failed == 0


def test_a_sure_answer_goes_out_without_a_person():
    d = route()
    assert (d.decision, d.label, d.escalate, codes(d)) == ("auto", False, False, [])


def test_an_unsure_one_asks_annotators():
    d = route(confidence=0.69)
    assert (d.decision, d.label, d.escalate, codes(d)) == ("human", True, False, ["unsure"])


def test_an_unsure_one_is_also_escalated_where_the_project_answers_by_hand():
    assert route(Policy(answers_by_hand=True), confidence=0.1).escalate


@pytest.mark.parametrize("case", [{"high_risk": True}, {"sentiment": -0.51}])
def test_risk_and_anger_go_to_a_person_whose_resolution_is_the_label(case):
    d = route(confidence=0.2, **case)
    assert (d.decision, d.label, d.escalate) == ("human", False, True)


def test_the_thresholds_themselves_are_on_the_calm_and_sure_side():
    assert route(confidence=0.7, sentiment=-0.5).decision == "auto"


def test_without_any_category_a_person_answers():
    assert codes(route(category=None, confidence=0.0)) == ["unsure"]


@given(
    confidence=st.floats(0, 1),
    risk=st.booleans(),
    tone=st.floats(-1, 1),
    rate=st.floats(0, 1),
    draw=st.floats(0, 0.999999),
)
def test_the_audit_changes_nothing_that_the_customer_gets(confidence, risk, tone, rate, draw):
    audited = route(Policy(audit_rate=rate), confidence=confidence, high_risk=risk, sentiment=tone, draw=draw)
    plain = route(Policy(audit_rate=0.0), confidence=confidence, high_risk=risk, sentiment=tone, draw=draw)
    assert (audited.decision, audited.reasons, audited.label, audited.escalate) == (
        plain.decision, plain.reasons, plain.label, plain.escalate,
    )  # fmt: skip
    assert audited.audit == (draw < rate)


def test_a_sure_answer_with_an_open_gap_goes_to_a_person_and_says_which():
    d = routing.left_open(route(draw=0.0), ["order", "day"])
    assert (d.decision, d.label, d.escalate, d.audit, codes(d)) == ("human", False, True, True, ["gap"])
    assert "order, day" in d.reasons[0]["detail"]
