"""What a page says of itself in a real browser: axe-core's findings, and where its heatmap is on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from core.image import Rgb
from tests.support.console import rgb_of

_AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page: Page) -> list[str]:
    """What in a page is not AA, a sentence each."""
    page.evaluate(_AXE.read_text("utf-8"))  # past the page's own policy, which would refuse a script of elsewhere
    found: dict[str, Any] = page.evaluate(
        "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})", _RULES
    )
    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]


def too_small(page: Page) -> list[str]:
    """What can be pressed and is smaller than a finger, 44 CSS pixels; links in a text are none of it."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, .button, nav a, input, select, summary, .tick")]
            .filter(one => one.checkVisibility() && !["checkbox", "radio", "range", "hidden"].includes(one.type))
            .map(one => [one, one.getBoundingClientRect()])
            .filter(([one, box]) => box.width && (box.height < 43.5 || box.width < 43.5))
            .map(([one, box]) => `${one.outerHTML.slice(0, 90)} ${box.width} x ${box.height}`)"""
    )
    return found


def cut(page: Page) -> list[str]:
    """What is cut off: a page that is wider than its window, and lines of text that do not fit into their place."""
    found: list[str] = page.evaluate(
        """() => {
            const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
            const found = wide > 0 ? [`the page is ${wide} px wider than its window`] : [];
            for (const one of document.querySelectorAll("h1, h2, .word, button, .button, dt, dd, label, .sign")) {
                if (!one.checkVisibility() || one.closest(".only-read")) continue;
                if (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline")
                    found.push(`${one.outerHTML.slice(0, 90)} ${one.scrollWidth} > ${one.clientWidth}`);
            }
            return found;
        }"""
    )
    return found


def centre_of(mask: Any) -> tuple[float, float]:
    """The middle (x, y) of what a mask marks."""
    rows, cols = np.nonzero(mask)
    assert rows.size
    return float(cols.mean()), float(rows.mean())


def picture_on_screen(page: Page, canvas: str) -> Rgb:
    """What the browser shows where a canvas is, without its map: RGB of the screen's pixels."""
    page.evaluate(
        "id => { const one = document.getElementById(id).overlay; one.opacity = 0; one.outlines = false; one.draw(); }",
        canvas,
    )
    return rgb_of(page.locator(f"#{canvas}").screenshot())


def map_on_screen(page: Page, canvas: str) -> Rgb:
    """The same with the map alone, on black."""
    page.evaluate(
        """id => {
            const one = document.getElementById(id).overlay;
            const black = new OffscreenCanvas(8, 8);
            black.getContext("2d").fillRect(0, 0, 8, 8);
            one.part.picture = black; one.opacity = 1; one.outlines = false; one.draw();
        }""",
        canvas,
    )
    return rgb_of(page.locator(f"#{canvas}").screenshot())


def patch_on_screen(page: Page, canvas: str) -> tuple[float, float]:
    """Width and height of one cell of the map, pixels of the screen."""
    width, height = page.evaluate(
        """id => {
            const canvas = document.getElementById(id);
            const head = canvas.overlay.part.head;
            const box = canvas.getBoundingClientRect();
            const scale = Math.min(box.width / head.width, box.height / head.height);
            return [head.width * scale / head.map[1], head.height * scale / head.map[0]];
        }""",
        canvas,
    )
    return float(width), float(height)
