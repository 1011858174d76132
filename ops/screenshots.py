"""Fresh pictures for the documentation: `python ops/screenshots.py`.

The browser suite looks at every screen of a fixed scene; this keeps its pictures of the screens that the documentation shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TO = ROOT / "docs" / "screenshots"
SCREENS = (
    "desk", "adjudication", "escalations", "loop", "drift", "topics", "models", "quality", "categories", "settings", "people",
)  # fmt: skip
SHOWN = [f"{screen}-light-en" for screen in SCREENS] + ["escalations-dark-ja"]
MOST = 200 * 1024  # bytes each


def main() -> int:
    """Run the suite's looks in English and Japanese, by day and by night; 0 when all pictures were kept."""
    with tempfile.TemporaryDirectory() as made:
        command = [sys.executable, "-m", "pytest", "-q", "tests/browser/test_screens.py"]
        looked = subprocess.run(command, cwd=ROOT, env={**os.environ, "ENSO_PICTURES": made}, check=False)  # noqa: S603 - our own interpreter and tests
        if looked.returncode:
            sys.stderr.write("A screen has a fault: the pictures stay as they are.\n")
            return looked.returncode
        return keep(Path(made))


def keep(made: Path) -> int:
    """Copy what the documentation shows; a picture that has grown too large is named and not copied."""
    large = [name for name in SHOWN if (made / f"{name}.png").stat().st_size > MOST]
    for name in large:
        sys.stderr.write(f"{name}.png is larger than {MOST // 1024} kB.\n")
    for name in SHOWN:
        if name not in large:
            shutil.copyfile(made / f"{name}.png", TO / f"{name}.png")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
