"""Writes Evidently's drift report; a program of its own, so that Evidently lives in an environment of its own.

    python -I evidently_script.py FILE < columns.json

FILE ends in .html or .json. Of standard input: {"reference": {"numbers": {name: [..]}, "classes": {name: [..]}}, "window":
the same}. Ends with 3 where Evidently is not installed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ABSENT = 3


def main() -> int:
    try:
        import evidently  # noqa: F401
    except ImportError as error:
        print(error, file=sys.stderr)  # noqa: T201 - what the caller shows
        return ABSENT
    given, file = json.load(sys.stdin), Path(sys.argv[1])
    made = report(given["reference"], given["window"])
    made.save_html(str(file)) if file.suffix == ".html" else made.save_json(str(file))
    return 0


def report(reference: dict[str, Any], window: dict[str, Any]) -> Any:
    """Evidently's preset for drift of each column, with its own tests and thresholds."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    told = DataDefinition(numerical_columns=list(reference["numbers"]), categorical_columns=list(reference["classes"]))
    sides = (
        Dataset.from_pandas(pd.DataFrame({**side["numbers"], **side["classes"]}), data_definition=told)
        for side in (window, reference)
    )
    return Report([DataDriftPreset()]).run(*sides)


if __name__ == "__main__":
    sys.exit(main())
