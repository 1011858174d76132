"""Rows → evidence: what customers did with the replies that a policy showed them, as votes with their propensities.

A vote belongs to one shown reply. The strongest signal speaks for it: a thumb, else a rating, else asking the same again
(against it), else clicks and dwell beyond what is usual in its category. Only events that the app's server sent or that a
signed customer made count; what an anonymous page sends is never a preference. An agent who sent another reply of the
catalog than the one that was shown makes a comparison; one who wrote a new text votes against what was shown. Annotators
who compared two replies to an inquiry make comparisons too.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from django.db import connection

from feedback.models import Reply
from feedback.services import fold_scores
from labeling.case_models import CaseFinding, FindingKind
from labeling.models import ComparisonAnswer
from learning.core.preference.evidence import Votes, numbered
from learning.core.preference.pairs import Pairs, pairs_from_comparisons, pairs_from_replacements
from learning.core.preference.signals import SignalWeights, asked_again, from_engagement
from serving.engine import from_bytes

MOST = 20_000  # the newest showings
WEIGHTS = SignalWeights()

_SHOWN = """
SELECT s.inquiry_id, s.reply_id, s.propensity, s.candidates, extract(epoch FROM s.shown_at)::float8, i.customer,
    i.locale, i.channel, i.category_id, e.vector, score.implicit,
    (SELECT (array_agg(v.value ORDER BY v.occurred_at DESC, v.id DESC))[1] FROM feedback_event v
        WHERE v.inquiry_id = s.inquiry_id AND v.kind = 'thumbs' AND v.weight = 1),
    (SELECT (array_agg(v.value ORDER BY v.occurred_at DESC, v.id DESC))[1] FROM feedback_event v
        WHERE v.inquiry_id = s.inquiry_id AND v.kind = 'rating' AND v.weight = 1),
    (SELECT max(v.customer) FROM feedback_event v
        WHERE v.inquiry_id = s.inquiry_id AND v.weight = 1 AND v.kind IN ('thumbs', 'rating')),
    (SELECT min(v.weight) FROM feedback_event v
        WHERE v.inquiry_id = s.inquiry_id AND v.kind IN ('click', 'dwell', 'scroll')),
    EXISTS (SELECT FROM labeling_escalation x WHERE x.inquiry_id = s.inquiry_id), p.rating_min, p.rating_max,
    EXISTS (SELECT FROM feedback_event v WHERE v.inquiry_id = s.inquiry_id AND v.weight = 1 AND v.kind = 'click')
FROM serving_replyshown s JOIN feedback_inquiry i ON i.id = s.inquiry_id
JOIN feedback_project p ON p.id = i.project_id
JOIN serving_embedding e ON e.inquiry_id = s.inquiry_id AND e.encoder_sha = %s
LEFT JOIN feedback_inquiryscore score ON score.inquiry_id = s.inquiry_id
WHERE i.project_id = %s ORDER BY s.shown_at DESC, s.inquiry_id LIMIT %s
"""


@dataclass(frozen=True)
class Showings:
    """What was shown, newest first, one row per inquiry; replies are numbered by their place in ``replies``.

    ``x`` [n, d], ``logged`` [n, R] (probability of each candidate), ``escalated`` and ``again`` [n] what went wrong after,
    ``rewarded`` [n] whether it was clicked or praised.
    ``votes`` and their ``weights`` [v] are what was said of them, by ``voters``; ``groups`` [v] are for the report.
    """

    replies: tuple[int, ...]
    x: npt.NDArray[np.float32]
    shown: npt.NDArray[np.int64]
    propensity: npt.NDArray[np.float64]
    logged: npt.NDArray[np.float64]
    escalated: npt.NDArray[np.bool_]
    again: npt.NDArray[np.bool_]
    rewarded: npt.NDArray[np.bool_]
    votes: Votes
    weights: npt.NDArray[np.float64]
    voters: tuple[str, ...]
    groups: dict[str, list[str]] = field(default_factory=dict)
    comparisons: Pairs | None = None
    sha256: str = ""
    inquiries: tuple[uuid.UUID, ...] = ()


def collect(*, project_id: int, encoder_sha: str, replies: tuple[int, ...]) -> Showings:
    """The evidence on ``replies`` under one encoder variant; showings of any other reply are left out."""
    fold_scores(project_id=project_id)
    with connection.cursor() as cursor:
        cursor.execute(_SHOWN, [encoder_sha, project_id, MOST])
        at = {reply: n for n, reply in enumerate(replies)}
        rows = [r for r in cursor.fetchall() if r[1] in at]
    x = from_bytes([r[9] for r in rows]) if rows else np.zeros((0, 1), np.float32)
    shown = np.array([at[r[1]] for r in rows], dtype=np.int64)
    logged = np.zeros((len(rows), len(replies)))
    for n, r in enumerate(rows):
        for reply, share in msgspec.json.decode(r[3]).items():
            if int(reply) in at:
                logged[n, at[int(reply)]] = share
    time = np.array([r[4] for r in rows], dtype=np.float64)
    again = _again([r[5] for r in rows], time, x)
    up, weights = _signals(rows, again)
    comparisons, judged = _corrections(rows, replies, project_id)
    compared = _compared(rows, replies, project_id)
    comparisons = compared if comparisons is None else comparisons if compared is None else comparisons + compared
    up[judged], weights[judged] = 0.0, 1.0
    voted = np.flatnonzero(weights > 0)
    trusted = np.isin(voted, judged)
    names = [_voter(rows[n], agent=agent) for n, agent in zip(voted, trusted.tolist(), strict=True)]
    propensity = np.array([min(max(r[2], 1e-6), 1.0) for r in rows], dtype=np.float64)
    votes = Votes(
        voted, shown[voted], up[voted], propensity[voted], numbered(np.array(names, dtype=str)), time=time[voted],
        trusted=trusted,
    )  # fmt: skip
    groups = {
        "locale": [rows[n][6] or "-" for n in voted], "channel": [rows[n][7] or "-" for n in voted],
        "account": _account_sizes(votes),
    }  # fmt: skip
    sha = hashlib.sha256(msgspec.json.encode([[str(rows[n][0]), rows[n][1], float(up[n])] for n in voted])).hexdigest()
    return Showings(
        replies, x, shown, propensity, logged, np.array([bool(r[15]) for r in rows], dtype=bool), again,
        np.array([bool(r[18]) or bool(r[11] and r[11] > 0) for r in rows], dtype=bool), votes,
        weights[voted], tuple(sorted(set(names))), groups, comparisons, sha, tuple(r[0] for r in rows),
    )  # fmt: skip


def _signals(rows: list[Any], again: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Votes [n] and their weights [n]; 0 where nobody said anything."""
    up, weights = np.zeros(len(rows)), np.zeros(len(rows))
    # Asking again follows from inquiries, which only the app's server sends.
    weights[again] = WEIGHTS.asked_again
    engaged = np.array([r[10] is not None and r[14] == 1 for r in rows], dtype=bool)
    if engaged.any():
        cells = numbered(np.array([r[8] or 0 for r in rows])[engaged])
        liked, counts = from_engagement(np.array([r[10] for r in rows if r[10] is not None and r[14] == 1]), cells)
        at = np.flatnonzero(engaged)[counts]
        at, liked = at[~again[at]], liked[counts][~again[at]]
        up[at], weights[at] = liked, WEIGHTS.engagement
    for n, r in enumerate(rows):
        if r[11] is not None and r[11] != 0:
            up[n], weights[n] = float(r[11] > 0), WEIGHTS.thumb
        elif r[12] is not None:
            up[n] = min(max((r[12] - r[16]) / (r[17] - r[16]), 0.0), 1.0)
            weights[n] = WEIGHTS.rating
    return up, weights


def _again(customers: list[str], time: npt.NDArray[np.float64], x: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whose customer asks the same again; an inquiry without a customer is nobody's first."""
    named = np.array([bool(c) for c in customers], dtype=bool)
    found = np.zeros(len(customers), dtype=bool)
    if named.sum() > 1:
        ids = numbered(np.array(customers, dtype=str)[named])
        found[named] = asked_again(ids, time[named], x[named])
    return found


def _corrections(
    rows: list[Any], replies: tuple[int, ...], project_id: int
) -> tuple[Pairs | None, npt.NDArray[np.int64]]:
    """Agents' replacements: comparisons where they sent a reply of the catalog, and showings (rows) they rejected else."""
    at, place = {r[0]: n for n, r in enumerate(rows)}, {reply: n for n, reply in enumerate(replies)}
    texts = dict(Reply.objects.filter(pk__in=replies).values_list("text", "pk"))
    found = CaseFinding.objects.filter(project_id=project_id, kind=FindingKind.PREFERRED_REPLY)
    sent: list[tuple[int, int, int]] = []
    rejected: list[int] = []
    for inquiry, old, text in found.values_list("case__inquiry_id", "rejected_id", "entry__text"):
        if inquiry not in at or old not in place or rows[at[inquiry]][1] != old:
            continue
        if (new := texts.get(text.strip())) is not None:
            sent.append((at[inquiry], place[old], place[new]))
        else:
            rejected.append(at[inquiry])
    pairs = pairs_from_replacements(*np.array(sent, dtype=np.int64).T) if sent else None
    return pairs, np.array(sorted(set(rejected)), dtype=np.int64)


# What an annotator said of a stored pair, in the words of `pairs_from_comparisons`.
_SAID = {"first": "a", "second": "b", "tie": "tie", "neither": "neither"}


def _compared(rows: list[Any], replies: tuple[int, ...], project_id: int) -> Pairs | None:
    """Annotators' comparisons that count, each answer by itself: where people differ, so does the evidence."""
    at, place = {r[0]: n for n, r in enumerate(rows)}, {reply: n for n, reply in enumerate(replies)}
    given = ComparisonAnswer.objects.filter(comparison__project_id=project_id, slot__isnull=False).order_by("pk")
    said = given.values_list("comparison__inquiry_id", "comparison__first_id", "comparison__second_id", "verdict")
    known = [(at[i], place[a], place[b], _SAID[v]) for i, a, b, v in said if i in at and a in place and b in place]
    if not known:
        return None
    inquiry, first, second, verdict = zip(*known, strict=True)
    return pairs_from_comparisons(np.array(inquiry), np.array(first), np.array(second), list(verdict))


def _voter(row: Any, *, agent: bool) -> str:
    """Who voted: an agent, the customer whom the event or the inquiry names, or (nobody is named) this inquiry alone."""
    return f"agent {row[0]}" if agent else f"customer {row[13] or row[5]}" if row[13] or row[5] else f"inquiry {row[0]}"


def _account_sizes(votes: Votes) -> list[str]:
    size = np.bincount(votes.voter)[votes.voter] if len(votes) else np.zeros(0)
    return ["1-2 votes" if s < 3 else "3-9 votes" if s < 10 else "10 votes or more" for s in size]
