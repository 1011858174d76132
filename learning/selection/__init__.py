"""Which items to label next.

    strategy = get("herding")
    picks = strategy.select(state, 100, np.random.default_rng(seed))

Pure: arrays in, arrays out. A project chooses its strategy by name; `DEFAULT` is the measured winner (docs/selection.md).
"""

from learning.selection.catalogue import DEFAULT, STRATEGIES, get
from learning.selection.picks import Picks, Strategy
from learning.selection.reasons import Reason
from learning.selection.state import NearestCache, SelectionState

__all__ = ["DEFAULT", "STRATEGIES", "NearestCache", "Picks", "Reason", "SelectionState", "Strategy", "get"]
