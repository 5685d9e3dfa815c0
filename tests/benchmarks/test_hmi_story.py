"""An operator's whole story in a real browser, and what every page looks like.

The pages are kept as pictures in the folder `$ALFA_EDGE_SCREENS`, if that is set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from core.image import Rgb
from tests.support.console import PATIENCE_MS, Hall, browser, hall, watched
from tests.support.looks import cut, too_small, violations
from tests.support.mosquitto import Mosquitto

PARTS = {"plate-1": "metal_plate", "wood-1": "wood"}
SIZES = [(1280, 800), (800, 1280)]
FURTHER_SIZES = [(800, 600), (1920, 1080), (2560, 1440)]
THEMES = ["light", "dark"]

LONG_MS = 600_000

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with Mosquitto() as broker, hall(tmp_path_factory.mktemp("hall"), broker, PARTS) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium: Browser, plant: Hall) -> Iterator[Page]:
    context = chromium.new_context(base_url=plant.address, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def good(plant: Hall, count: int = 30) -> list[Rgb]:
    return [plant.belts["plate-1"].picture() for _ in range(count)]


def test_the_operators_story(page: Page, plant: Hall) -> None:
    """Wall, line, enrol 4, calibrate, an anomaly with its heatmap and reason, a false alarm that is enrolled, found in
    the audit, another recipe.
    """
    wrong = watched(page)
    belt = plant.belts["plate-1"]
    plant.ask("recipe_copy", line="plate-1", name="plate, polished")
    belt.show(*good(plant))

    page.goto("/")
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator("canvas[data-seq]")).to_have_count(2)
    page.get_by_role("link", name="plate-1", exact=True).click()
    expect(page.locator("h1")).to_have_text("plate-1")
    plant.ask("pause", line="wood-1")  # so that the other line is done sooner

    page.get_by_role("link", name="Enrol", exact=True).click()
    page.locator("select[name=shots]").select_option("6")
    page.get_by_role("button", name="Freeze", exact=True).click()
    expect(page.locator(".said")).to_contain_text("Pictures held: 6")
    ticks = page.locator("input[name=candidates]")
    expect(ticks).to_have_count(6)
    for place in range(6):
        ticks.nth(place).set_checked(place < 4)
    if page.locator("input[name=in_spite]").count():
        page.locator("input[name=in_spite]").check()
    page.get_by_role("button", name="Enrol the chosen").click()
    expect(page.locator(".said")).to_contain_text("Pictures enrolled: 4")
    expect(ticks).to_have_count(2)

    page.get_by_role("link", name="Back to the line").click()
    page.get_by_role("link", name="Calibrate").first.click()
    page.locator("input[name=parts]").fill("12")
    expect(page.locator("#promise")).to_contain_text("7.69 %")
    page.locator("input[name=parts]").fill("24")
    expect(page.locator("#promise")).to_contain_text("24 good parts can promise 5 %")
    page.locator("input[name=good]").check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("progress")).to_be_visible()
    expect(page.locator("#run-state")).to_contain_text(re.compile(r"So far: \S+ % false alarms can be promised"))
    expect(page.locator("#run-state .said")).to_be_visible(timeout=LONG_MS)
    if page.get_by_role("button", name="Accept").count():  # its parts resemble their neighbours
        expect(page.locator("#run-state .said")).to_contain_text("Nothing was set")
        page.get_by_role("button", name="Accept").click()
    expect(page.locator("#run-state .said")).to_contain_text("Set: threshold")
    calibrated = plant.ask("recipe_show", line="plate-1")["calibration"]
    assert calibrated["rate"] is not None

    page.get_by_role("link", name="Back to the line").click()
    belt.show(*(belt.picture(defective=True) for _ in range(8)))
    expect(page.locator(".lamp .word")).to_have_text("NG")
    page.wait_for_function("() => document.getElementById('picture').overlay.part.regions.length > 0")
    expect(page.locator("[data-reasons] li").first).to_contain_text(re.compile(r": .+ \(\d\.\d{3}\)"))
    expect(page.locator(".strip .tile").first).to_be_visible()

    page.goto("/history?line=plate-1&kinds=anomaly")
    tile = page.locator(".gallery .tile").first
    number = tile.get_attribute("id")
    assert number is not None
    tile.get_by_role("button", name="False alarm").click()
    said = page.locator(f"#{number} .said")
    expect(said).to_be_visible()
    if "not enrolled" in said.inner_text():
        page.locator(f"#{number}").get_by_role("button", name="Enrol in spite of it").click()
    expect(said).to_contain_text("enrolled as shot")
    expect(page.locator(f"#{number}")).to_contain_text("Said: false alarm")

    page.goto("/shots?line=plate-1")
    expect(page.locator("section", has_text="In use").locator(".tile")).to_have_count(5)
    page.goto("/audit")
    row = page.locator("tbody tr", has_text="feedback").first
    expect(row).to_contain_text("false_alarm")
    expect(row).to_contain_text("local")

    page.goto("/lines/plate-1")
    page.get_by_role("link", name="Recipe").click()
    page.get_by_label("plate, polished").first.check()
    page.get_by_role("button", name="Judge by the chosen recipe").click()
    expect(page.locator(".said")).to_contain_text("judges by recipe plate, polished")
    expect(page.locator("[data-show=recipe]").first).to_have_text("plate, polished")
    plant.ask("resume", line="wood-1")
    assert wrong == []


def test_a_threshold_is_seen_before_it_is_set(page: Page, plant: Hall) -> None:
    page.goto("/lines/wood-1/threshold")
    page.get_by_label("Threshold").fill("0")
    expect(page.locator("#preview")).to_contain_text("100 %")
    page.get_by_label("Threshold").fill("1")
    expect(page.locator("#preview")).to_contain_text(re.compile(r"^\s*0 of the last \d+ parts \(0 %\)"))
    page.get_by_role("button", name="Set this threshold").click()
    expect(page.locator(".said")).to_contain_text("is 1.0000")
    assert plant.ask("status")["lines"]["wood-1"]["threshold"] == 1


def test_an_export_has_what_is_shown(page: Page, plant: Hall) -> None:
    page.goto("/history?line=plate-1&kinds=anomaly")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export (CSV)").click()
    rows = Path(download.value.path()).read_text("utf-8").splitlines()
    assert rows[0].startswith("line,seq,id,issued_at")
    assert len(rows) > 1
    assert all(",anomaly," in row for row in rows[1:])


def pages_of(plant: Hall) -> dict[str, str]:
    """Every page by a name, as an operator may come to it."""
    amiss = plant.ask("history", line="plate-1", kinds=["anomaly"], count=1)["verdicts"]
    return {
        "wall": "/",
        "line": "/lines/plate-1",
        "enrol": "/lines/plate-1/enrol",
        "calibrate": "/lines/plate-1/calibrate",
        "threshold": "/lines/plate-1/threshold",
        "recipe": "/lines/plate-1/recipe",
        "review": "/lines/plate-1/review",
        "history": "/history?line=plate-1",
        "history-empty": "/history?line=plate-1&part_id=none",
        "verdict": f"/history/plate-1/{amiss[0]['seq']}",
        "verdict-missing": "/history/plate-1/999999",
        "shots": "/shots?line=plate-1",
        "shots-empty": "/shots?line=wood-1",
        "health": "/health",
        "audit": "/audit",
        "about": "/about",
        "api": "/api/v1/docs",
        "refused": "/lines/none",
    }


@pytest.mark.parametrize("theme", THEMES)
def test_every_page_is_for_everybody(chromium: Browser, plant: Hall, theme: str) -> None:
    """No violation of AA, nothing cut, nothing smaller than a finger, at every size."""
    folder = Path(os.environ["ALFA_EDGE_SCREENS"]) if os.environ.get("ALFA_EDGE_SCREENS") else None
    plant.ask("enroll", line="plate-1", shots=6, hold=True)
    for width, height in SIZES:
        view = {"width": width, "height": height}
        with chromium.new_context(base_url=plant.address, viewport=view, color_scheme=theme) as context:  # type: ignore[arg-type]
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            for name, path in pages_of(plant).items():
                page.goto(path)
                if name in ("wall", "line"):
                    expect(page.locator("canvas[data-seq]").first).to_be_visible()
                page.wait_for_timeout(300)
                if folder is not None:
                    folder.mkdir(parents=True, exist_ok=True)
                    file = folder / f"{name}-{width}x{height}-{theme}.png"
                    page.screenshot(path=file, full_page=name not in ("api", "about"))
                assert (name, cut(page)) == (name, [])
                assert (name, too_small(page)) == (name, [])
                assert (name, violations(page)) == (name, [])


@pytest.mark.parametrize("size", FURTHER_SIZES, ids=lambda size: f"{size[0]} x {size[1]}")
def test_every_page_fits_other_windows(chromium: Browser, plant: Hall, size: tuple[int, int]) -> None:
    folder = Path(os.environ["ALFA_EDGE_SCREENS"]) if os.environ.get("ALFA_EDGE_SCREENS") else None
    view = {"width": size[0], "height": size[1]}
    with chromium.new_context(base_url=plant.address, viewport=view, locale="de-DE") as context:  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto("/about")
        page.get_by_role("button", name="Deutsch").click()
        expect(page.locator("h1")).to_have_text("Über")
        for name, path in pages_of(plant).items():
            page.goto(path)
            page.wait_for_timeout(200)
            assert (name, cut(page)) == (name, [])
            if folder is not None and name in ("wall", "line"):
                page.screenshot(path=folder / f"{name}-{size[0]}x{size[1]}-de.png")


def test_a_page_does_not_jump(page: Page) -> None:
    """Nothing of the wall and of a line moves as parts come."""
    for path in ("/", "/lines/plate-1"):
        page.goto(path)
        expect(page.locator("canvas[data-seq]").first).to_be_visible()
        page.wait_for_timeout(500)
        page.evaluate(
            """() => {
                window.shifts = 0;
                new PerformanceObserver(list => { for (const one of list.getEntries()) window.shifts += one.value; })
                    .observe({type: "layout-shift"});
            }"""
        )
        page.wait_for_timeout(5000)
        assert page.evaluate("window.shifts") < 0.01, path
