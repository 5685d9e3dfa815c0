"""Makes the pictures of `edge/hmi/README.md`: `python -m tests.support.console_pictures edge/hmi/pictures`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, expect

from core.image import encode_png
from tests.support.console import PATIENCE_MS, Hall, browser, hall, until
from tests.support.mosquitto import Mosquitto

PARTS = {"plate-1": "metal_plate", "wood-1": "wood"}
PICTURES = {
    "wall": "/",
    "line": "/lines/plate-1",
    "enrol": "/lines/plate-1/enrol",
    "calibrate": "/lines/plate-1/calibrate",
    "history": "/history?line=plate-1&kinds=anomaly",
}
_GOOD, _QUALITY = 24, 68


def prepare(plant: Hall) -> None:
    """A line that has learned what good parts are and has seen some that are not, and another that is set by hand."""
    plant.ask("threshold", line="wood-1", threshold=0.6)
    for line in PARTS:
        plant.ask("pause", line=line)  # so that the device is free for what is enrolled
    belt = plant.belts["plate-1"]
    plant.teach("plate-1")
    plant.ask("resume", line="plate-1")
    belt.show(*(belt.picture() for _ in range(_GOOD)))
    plant.ask("calibrate", line="plate-1", parts=_GOOD, accept=0.5)
    plant.ask("resume", line="wood-1")
    belt.show(*(belt.picture(defective=place % 3 == 2) for place in range(24)))
    until(lambda: len(plant.ask("history", line="plate-1", kinds=["anomaly"])["verdicts"]) > 4, "anomalies")
    held = [encode_png(belt.picture(defective=place == 3)) for place in range(4)]
    plant.ask("enroll", *held, line="plate-1", hold=True)


def take(page: Page, name: str, path: str, folder: Path) -> None:
    """One picture, once the page shows what it is about."""
    page.goto(path)
    if name in ("wall", "line"):
        expect(page.locator("canvas[data-seq]").first).to_be_visible()
    if name == "line":
        expect(page.locator(".lamp .word")).to_have_text("NG")
        page.get_by_role("button", name="Hold the picture").click()
    page.wait_for_timeout(300)
    page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=_QUALITY)


def main() -> None:
    """Writes them into the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() as work,
        Mosquitto() as broker,
        hall(Path(work), broker, PARTS) as plant,
        browser() as one,
    ):
        prepare(plant)
        page = one.new_page(base_url=plant.address, viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        for name, path in PICTURES.items():
            take(page, name, path, folder)


if __name__ == "__main__":
    main()
