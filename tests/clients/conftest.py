"""The client as it lies in the tree; one test installs it by itself."""

from __future__ import annotations

import sys

from tests.servers import ROOT

sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))
