"""Cells that a spreadsheet would take for a formula. Pure.

A cell that starts like a formula gets an apostrophe in front, and the row's column `guarded` names it: so the apostrophe can
be taken off again by whoever reads the file, and an apostrophe that was there before is never taken for ours.
"""

from __future__ import annotations

from collections.abc import Mapping

# Full-width forms are formulas too where the spreadsheet speaks Japanese or Chinese.
STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "|", "%")
GUARDED = "guarded"


def starts_formula(cell: str) -> bool:
    """Whether a spreadsheet could compute this cell; leading blanks do not hide a formula from all of them.

    >>> starts_formula("=1+1"), starts_formula(" =1+1"), starts_formula("1 = 1")
    (True, True, False)
    """
    return cell.startswith(STARTS) or cell.lstrip().startswith(STARTS)


def guard(row: Mapping[str, str]) -> dict[str, str]:
    """The row with every formula defused, and `guarded` naming the cells.

    >>> guard({"text": "=1+1", "label": "refund"})
    {'text': "'=1+1", 'label': 'refund', 'guarded': 'text'}
    """
    named = [name for name, cell in row.items() if starts_formula(cell)]
    safe = {name: f"'{cell}" if name in named else cell for name, cell in row.items()}
    return {**safe, GUARDED: " ".join(named)}


def unguard(row: Mapping[str, str]) -> dict[str, str]:
    """What `guard` was given. A row that nobody guarded stays as it is: nothing else is ever taken off.

    >>> unguard({"text": "'=1+1", "guarded": "text"}), unguard({"text": "'=1+1"})
    ({'text': '=1+1'}, {'text': "'=1+1"})
    """
    named = row.get(GUARDED, "").split()
    return {
        name: cell[1:] if name in named and cell.startswith("'") else cell for name, cell in row.items() if name != GUARDED
    }  # fmt: skip
