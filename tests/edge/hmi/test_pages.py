"""The pages in a real browser, against a real service with a simulated line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from edge.zone import machine_zone
from tests.support.console import PATIENCE_MS, Hall, browser, hall, watched
from tests.support.hmi import PEOPLE, add_people, settings_of
from tests.support.hmi import console as console_of
from tests.support.looks import (
    centre_of,
    cut,
    map_on_screen,
    patch_on_screen,
    picture_on_screen,
    too_small,
    violations,
)
from tests.support.mosquitto import Mosquitto, free_port

PAGES = [
    "/",
    "/lines/one",
    "/lines/one/enrol",
    "/lines/one/calibrate",
    "/lines/one/threshold",
    "/lines/one/recipe",
    "/lines/one/review",
    "/history",
    "/history/one/1",
    "/shots",
    "/health",
    "/audit",
    "/about",
    "/api/v1/docs",
    "/lines/none",
]
SQUARE = 40  # pixels, painted into parts of 240
PLACE = (150, 60)  # x, y of its left top corner

pytestmark = pytest.mark.timeout(400)  # on a machine that does other things besides


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with (
        Mosquitto() as broker,
        hall(tmp_path_factory.mktemp("hall"), broker, {"one": "metal_plate"}, rate=1.0) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium: Browser, one: Hall) -> Iterator[Page]:
    context = chromium.new_context(base_url=one.address, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def test_every_page_is_whole(page: Page, one: Hall) -> None:
    """Nothing fails, nothing is refused by the policy, nothing is cut, and a finger finds what it presses."""
    wrong = watched(page)
    for path in PAGES:
        page.goto(path, wait_until="domcontentloaded")
        expect(page.locator("h1")).to_be_visible()
        assert (path, cut(page)) == (path, [])
        assert (path, too_small(page)) == (path, [])
    assert [one for one in wrong if "404" not in one] == []


def test_a_page_without_scripts_says_it_all(chromium: Browser, one: Hall) -> None:
    with chromium.new_context(base_url=one.address, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/")
        expect(page.locator(".lamp .word")).to_have_text("OK")
        page.goto("/lines/one")
        expect(page.locator("[data-show=state]").first).to_have_text("Running")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".said")).to_contain_text("is paused")
        expect(page.locator(".lamp .word")).to_have_text("PAUSED")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".said")).to_contain_text("judges again")
    assert [entry["command"] for entry in one.ask("audit", count=2)["entries"]] == ["resume", "pause"]


def test_the_wall_and_a_line_are_for_everybody(page: Page) -> None:
    """In dark, too, and all pages: `tests/benchmarks/test_hmi_story.py`."""
    for path in ("/", "/lines/one"):
        page.goto(path)
        expect(page.locator("canvas[data-seq]").first).to_be_visible()
        assert violations(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_way_in_is_for_everybody(chromium: Browser, tmp_path: Path, theme: str) -> None:
    settings = settings_of(tmp_path)
    add_people(settings)
    address = f"http://127.0.0.1:{settings.hmi.port}"
    with console_of(settings), chromium.new_context(base_url=address, color_scheme=theme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto("/history")
        for password in ("not this one", PEOPLE["vera"][1]):
            assert (violations(page), cut(page), too_small(page)) == ([], [], [])
            page.get_by_label("Name").fill("vera")
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Sign in").click()
            if password != PEOPLE["vera"][1]:
                expect(page.get_by_role("alert").filter(visible=True)).to_have_text("Name or password is wrong.")
        expect(page.locator("h1")).to_have_text("History")
        expect(page.locator("#service-lost")).to_be_visible()  # no service runs there
        expect(page.get_by_role("button", name="Sign out vera")).to_be_visible()


def test_curves_are_drawn_in_the_machines_zone_where_the_settings_name_none(chromium: Browser, one: Hall) -> None:
    service = one.settings.service.model_copy(update={"zone": None})
    hmi = one.settings.hmi.model_copy(update={"port": free_port()})
    settings = one.settings.model_copy(update={"service": service, "hmi": hmi})
    address = f"http://127.0.0.1:{hmi.port}"
    with console_of(settings), chromium.new_context(base_url=address, timezone_id="Asia/Tokyo") as context:
        page = context.new_page()
        wrong = watched(page)
        for path in ("/lines/one", "/history"):
            page.goto(path)
            expect(page.locator("[data-curve] canvas").first).to_be_visible()
            assert page.evaluate("document.body.dataset.zone ?? null") == machine_zone()
        assert wrong == []


def test_what_is_live_moves_and_stops_and_comes_back(page: Page, one: Hall) -> None:
    page.goto("/lines/one")
    expect(page.locator("#live")).to_have_attribute("data-live", "on")
    number = page.locator("[data-show=picture_seq]")
    before = number.inner_text()
    expect(number).not_to_have_text(before)
    one.stop_console()
    expect(page.locator("#console-lost")).to_be_visible()
    expect(page.locator("#live")).to_have_attribute("data-live", "off")
    one.start_console()
    expect(page.locator("#console-lost")).to_be_hidden()
    before = number.inner_text()
    expect(number).not_to_have_text(before)


def test_no_picture_takes_the_place_of_a_newer_one(page: Page, one: Hall) -> None:
    """The first one's verdict has to be asked for; here the answer takes as long as several parts."""
    page.add_init_script(
        """
        const whole = window.fetch;
        window.fetch = async (...asked) => {
          if (String(asked[0]).includes("/verdicts/")) {
            while ((window.seen || []).length < 3) await new Promise((go) => setTimeout(go, 50));
            setTimeout(() => (document.body.dataset.late = "yes"), 500);
          }
          return whole(...asked);
        };
        document.addEventListener("DOMContentLoaded", () => {
          const root = document.querySelector("[data-line]");
          delete root.dataset.verdict;
          window.seen = [];
          new MutationObserver((all) => all.forEach((change) => window.seen.push(Number(change.target.dataset.seq))))
            .observe(root, { subtree: true, attributes: true, attributeFilter: ["data-seq"] });
        });
        """
    )
    page.goto("/lines/one")
    expect(page.locator("body[data-late]")).to_be_attached()
    seen = page.evaluate("window.seen")
    assert seen == sorted(seen)


def test_a_lamp_goes_by_the_state_before_the_verdict(page: Page, one: Hall) -> None:
    page.goto("/")
    word = page.locator(".lamp .word")
    expect(word).to_have_text("OK")
    one.ask("pause", line="one")
    expect(word).to_have_text("PAUSED")
    expect(page.locator(".lamp")).to_have_attribute("data-lamp", "paused")
    one.ask("resume", line="one")
    expect(word).to_have_text("OK")


def test_a_language_is_chosen_once(page: Page) -> None:
    page.goto("/history")
    page.get_by_role("button", name="Deutsch").click()
    expect(page.locator("h1")).to_have_text("Verlauf")
    page.goto("/about")
    expect(page.locator("h1")).to_have_text("Über")
    assert page.locator("html").get_attribute("lang") == "de"


def test_text_of_others_is_text(page: Page, one: Hall) -> None:
    wrong = watched(page)
    page.goto("/lines/one")
    name = "<img src=x onerror=alert(1)>{{ 7 * 7 }}"
    page.get_by_label("Name of the part").fill(name)
    page.get_by_role("button", name="Trigger").click()
    expect(page.locator(".said")).to_contain_text(name)
    assert wrong == []


@pytest.mark.parametrize("size", [(1280, 800), (800, 1280)], ids=lambda size: f"{size[0]} x {size[1]}")
def test_the_heatmap_lies_on_the_part(page: Page, one: Hall, size: tuple[int, int]) -> None:
    """A square that was painted into the inspected region is found under the peak of the map, within one patch."""
    if not one.ask("shots_list", line="one")["shots"]:
        one.teach("one", 2)
    belt = one.belts["one"]
    painted = [belt.picture() for _ in range(4)]
    for picture in painted:
        picture[PLACE[1] : PLACE[1] + SQUARE, PLACE[0] : PLACE[0] + SQUARE] = 255, 0, 255
    belt.show(*painted)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto("/lines/one")
    page.wait_for_function(
        """() => {
            const part = document.getElementById("picture").overlay?.part;
            if (!part?.tint) return false;
            const at = new OffscreenCanvas(1, 1).getContext("2d");
            const middle = [(150 + 20) / 240 * part.head.width, (60 + 20) / 240 * part.head.height];
            at.drawImage(part.picture, -middle[0], -middle[1]);
            const [red, green, blue] = at.getImageData(0, 0, 1, 1).data;
            return red > 200 && green < 90 && blue > 200;
        }"""
    )
    page.get_by_role("button", name="Hold the picture").click()
    seen = picture_on_screen(page, "picture").astype(int)
    square = centre_of((seen[..., 0] > 180) & (seen[..., 1] < 110) & (seen[..., 2] > 180))
    brightness = map_on_screen(page, "picture").max(2).astype(int)
    peak = centre_of(brightness >= np.percentile(brightness[brightness > 0], 99))
    width, height = patch_on_screen(page, "picture")
    assert abs(peak[0] - square[0]) <= width, (peak, square, width)
    assert abs(peak[1] - square[1]) <= height, (peak, square, height)


def test_a_page_says_when_the_service_is_gone_and_comes_back(page: Page, one: Hall, tmp_path: Path) -> None:
    page.goto("/")
    expect(page.locator("#service-lost")).to_be_hidden()
    one.stop_service()
    expect(page.locator("#service-lost")).to_be_visible()
    expect(page.locator(".lamp .word")).to_have_text("LOST")
    for path in PAGES[:-2:3]:
        answer = page.goto(path, wait_until="domcontentloaded")
        assert answer is not None
        assert answer.status in (200, 404), path
        expect(page.locator("#service-lost")).to_be_visible()
    page.goto("/")
    one.start_service()
    expect(page.locator("#service-lost")).to_be_hidden()
    expect(page.locator(".lamp .word")).not_to_have_text("LOST")
