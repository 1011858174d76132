"""The picture of a chart, made by the browser from its drawing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feedback.models import Project, User
from tests.browser import drift_scene


def test_a_chart_is_kept_as_a_png_of_twice_its_size_with_its_colours(
    shop: Project, people: dict[str, User], visit: Callable[..., Any], tmp_path: Path
) -> None:
    drift_scene.watch(shop)
    page = visit(people["lead"]).go("/p/shop/loop")
    with page.expect_download() as found:
        page.locator("#chart-drift button[data-png]").click()
    kept = tmp_path / found.value.suggested_filename
    found.value.save_as(kept)
    assert kept.name == "shop-drift.png"
    assert kept.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    drawing = page.locator("#chart-drift svg.drawing")
    shown = [float(n) for n in (drawing.get_attribute("viewBox") or "").split()[2:]]
    assert list(struct.unpack(">II", kept.read_bytes()[16:24])) == [2 * n for n in shown]
    # The model's teal is in it: the style travels with the file.
    teal = page.evaluate(
        """async (address) => {
            const image = new Image();
            image.src = address;
            await image.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let i = 0; i < data.length; i += 4)
                count += data[i] === 0x0b && data[i + 1] === 0x5f && data[i + 2] === 0x6b;
            return count;
        }""",
        page.locator("#chart-drift button[data-png]").get_attribute("data-png"),
    )
    assert teal > 50
