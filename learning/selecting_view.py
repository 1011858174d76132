"""A selection's project as strategies see it: the head that serves, what is covered, and the pool by segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from learning import pools, selection
from learning.core.pool_file import Segment
from learning.models import Selection
from learning.queueing import covered_by, head_of
from learning.selection.herding import Herding
from learning.selection.parts import Looked, Part, part_of
from learning.selection.picks import Strategy
from learning.selection.state import Floats, Ints, blocks, rows_of
from learning.selection.uncertainty import MEASURES
from serving import late
from serving.engine import ServedHead, unit
from serving.served import served

PART = 50_000  # tasks that one part looks at, and a segment's more

Report = Callable[[float], None]


class View:
    """Made by `of`; with the same labels and model, the same view."""

    def __init__(self, found: Selection, head: ServedHead, dimension: int, covered: tuple[Floats, Ints, Ints]) -> None:
        self._found, self._dimension = found, dimension
        self.head, self.covered = head, covered
        self.strategy = strategy_for(found.strategy, found.items)

    @classmethod
    def of(cls, found: Selection) -> View:
        served.desk(found.project_id)
        served.refresh()
        width = served.encoder_by_sha(found.encoder_sha).dim
        covered = covered_by(found.project_id, found.encoder_sha, width)
        return cls(found, head_of(found.project_id, found.encoder_sha), width, covered)

    def part_of_segment(self, number: int, keep: int, report: Report) -> Part:
        """What a segment sends, and its ``keep`` least certain tasks. Progress is told by block of the head's beliefs, which are nearly
        all of the time."""
        found = self._found
        with pools.segment(
            project_id=found.project_id, encoder_sha=found.encoder_sha, number=number, dimension=self._dimension
        ) as held:
            cache = pools.nearest_of(held)
            unsure, sure = self._believed(held, report)
            state = selection.SelectionState(held.vectors, held.ids, *self.covered, uncertainty=unsure, cache=cache)
            part = part_of(state, self.strategy, found.wanted, found.seed, keep, whole=found.items <= PART)
            pools.keep_nearest(held, cache)
        return replace(part, sure=held.ids[sure])

    def _believed(self, held: Segment, report: Report) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
        """Every measure of uncertainty [n], and of which tasks the version is sure."""
        unsure = {name: np.empty(len(held.ids), np.float32) for name in MEASURES}
        sure = np.zeros(len(held.ids), dtype=bool)
        for rows in blocks(len(held.ids)):
            p = self.head.head.predict(unit(rows_of(held.vectors, rows)))
            for name, how in MEASURES.items():
                unsure[name][rows] = np.clip(how(p), 0.0, 1.0)
            sure[rows] = late.sure_of(
                project_id=self._found.project_id, encoder_sha=self._found.encoder_sha, probabilities=p
            )
            report(rows.stop / len(held.ids))
        return unsure, sure

    def look(self, ids: Ints, beliefs: bool) -> Looked:
        """Vectors of candidates and, where they are wanted, the head's beliefs."""
        x = pools.vectors(encoder_sha=self._found.encoder_sha, ids=ids, dimension=self._dimension)
        return Looked(x, self.head.head.predict(unit(x)) if beliefs and len(x) else None)


def strategy_for(name: str, items: int) -> Strategy:
    """A project's strategy, for a queue of so many tasks: herding looks at all of a pool that it can look at."""
    chosen = selection.get(name)
    if isinstance(chosen, Herding) and items <= min(chosen.exact_up_to, PART):
        return Herding(measure=chosen.measure, exact_up_to=chosen.exact_up_to, sample=max(items, 1))
    return chosen
