"""The pictures of the README's tour: `python ops/tour.py [--pace quick]`.

Tells the story of `make demo` in a home of its own, waits until the database says that the model has recovered, and
photographs what the lead would see. Takes as long as the story (about ten minutes on two free cores).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.stack import Stack  # noqa: E402 - the repository is no package of its own

TO = ROOT / "docs" / "screenshots"
MOST = 200 * 1024  # bytes each
PATIENCE = 3000.0
# What to photograph: page of the project, and what must be there.
SCREENS = {
    "loop": ("loop", ".strip"),
    "accuracy": ("loop", "#chart-accuracy .drawing"),
    "drift": ("drift", ".texts"),
    "topics": ("topics", "#map[data-draws]"),
    "models": ("models", "main table"),
}
SHOWN_FROM = {"accuracy": "#trends"}
# Inquiries that the recovered model has answered.
TOLD = """
SELECT count(*) FROM serving_decisionrecord d WHERE d.decided_at > (
    SELECT min(r.ended_at) FROM serving_rollout r JOIN serving_modelversion m ON m.id = r.candidate_id
    WHERE r.state = 'completed' AND m.lineage->'category_ids' ? 'scam_report')
"""
ENOUGH = 160


def main() -> int:
    """0 when all pictures were kept; one that is too large is named."""
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--pace", default="normal")
    p.add_argument("--to", type=Path, default=TO)
    args = p.parse_args()
    with Stack(command=("demo", "--pace", args.pace)) as stack:
        until_told(stack)
        password = json.loads((stack.home / "demo.json").read_text())["people"]["lead"][0]
        return photograph(stack.url, password, args.to)


def until_told(stack: Stack) -> None:
    end = time.monotonic() + PATIENCE
    while stack.rows(TOLD)[0][0] < ENOUGH:
        if time.monotonic() > end:
            raise SystemExit("The story was not told to its end.")
        time.sleep(2)


def photograph(url: str, password: str, to: Path) -> int:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    large = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce", locale="en")
        page.goto(f"{url}/sign-in")
        page.fill("[name=username]", "lead")
        page.fill("[name=password]", password)
        page.press("[name=password]", "Enter")
        page.wait_for_url("**/p/demo/**")
        for name, (path, ready) in SCREENS.items():
            kept = to / f"tour-{name}.png"
            take(page, f"{url}/p/demo/{path}", ready, SHOWN_FROM.get(name), kept)
            if kept.stat().st_size > MOST:
                large.append(kept.name)
        browser.close()
    for name in large:
        sys.stderr.write(f"{name} is larger than {MOST // 1024} kB.\n")
    return 1 if large else 0


def take(page: Page, address: str, ready: str, begins: str | None, to: Path) -> None:
    page.goto(address)
    page.wait_for_selector(ready)
    if begins:
        page.locator(begins).evaluate("e => scrollTo(0, e.getBoundingClientRect().top + scrollY - 16)")
    page.screenshot(path=to, animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
