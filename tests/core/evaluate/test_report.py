"""The HTML report: whole, self-contained, and honest about what was not measured."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from core.evaluate import charts, paper
from core.evaluate.compare import compare
from core.evaluate.report import Shown, render
from core.evaluate.result import METRICS, Evaluation
from core.image import encode_jpeg
from tests.core.evaluate.synthetic import a_class, evaluation

HOSTILE = '<script>alert("1")</script>&\'"></td>.png'
VOID = {"meta", "img", "line", "rect", "polyline"}


class Page(HTMLParser):
    """Checks that every element is closed, and collects elements and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text, single-spaced."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every such element."""
        return [attributes for name, attributes in self.elements if name == tag]


def shown(path: str = "cap/test/crack/001.png") -> Shown:
    jpeg = encode_jpeg(np.zeros((12, 12, 3), np.uint8))
    return Shown(path, "highest score of a good part", "anomalous (false alarm)", 0.7312, 0.25, jpeg, jpeg)


def page(of: Evaluation, **options: object) -> Page:
    return Page(render(of, {}, {}, **options))  # type: ignore[arg-type]


def rows(page_text: str, caption: str) -> str:
    """The HTML of the table with this caption."""
    return next(table for table in re.findall(r"<table.*?</table>", page_text, re.S) if caption in table)


def test_it_is_one_whole_self_contained_document() -> None:
    text = render(evaluation(a_class("cap")), {"cap": [shown()]}, {"Machine": "test bench", "p95": "12 ms"})
    found = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert not found.all("script")
    assert not found.all("link")
    assert not re.search(r"@import|url\(", text)
    for _, attributes in found.elements:
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:image/jpeg;base64,"))
    assert "test bench" in found.text
    assert "12 ms" in found.text
    assert "ViT-B-16-plus-240" in found.text
    assert "0123456789abcdef" * 4 in found.text


def test_links_lead_somewhere_and_ids_are_unique() -> None:
    of = evaluation(a_class("cap", variants=("alfa", "winclip")), a_class("nut"))
    found = Page(render(of, {"cap": [shown()]}, {}, compare(of, of)))
    ids = [str(attributes["id"]) for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(link["href"])[1:] for link in found.all("a")} <= set(ids)
    for chart in found.all("svg"):
        assert set(str(chart["aria-labelledby"]).split()) <= set(ids)


def test_tables_and_pictures_can_be_read_aloud() -> None:
    found = Page(render(evaluation(a_class("cap")), {"cap": [shown()]}, {}))
    assert all(head.get("scope") in ("col", "row", "colgroup", "rowgroup") for head in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert all(image.get("alt") for image in found.all("img"))
    assert len(found.all("desc")) == len(found.all("svg")) > 0


def test_hostile_names_stay_text() -> None:
    result = a_class(HOSTILE, defects=(HOSTILE,), broken=(f"{HOSTILE}: no picture",))
    of = evaluation(result, dataset=HOSTILE, model=HOSTILE)
    changed = compare(of, evaluation(a_class(HOSTILE, defects=(HOSTILE, "new"))))
    found = Page(render(of, {HOSTILE: [shown(HOSTILE)]}, {HOSTILE: HOSTILE}, changed))
    assert not found.all("script")
    assert HOSTILE in "".join(found.words)


@pytest.mark.parametrize(
    ("names", "figures"),
    [
        (paper.MVTEC, ("93.2", "78.9", "98.9")),
        (paper.VISA, ("81.2", "63.8", "89.4")),
    ],
    ids=["MVTec AD", "VisA"],
)
def test_the_papers_figures_stand_beside_exactly_its_data_sets(names: frozenset[str], figures: tuple[str, ...]) -> None:
    classes = [a_class(name, good=6, defects=("crack",), seeds=1) for name in sorted(names)]
    whole = rows(render(evaluation(*classes), {}, {}), "Mean over the classes")
    assert "paper, Table 1" in whole
    assert "paper, Tables 4 and 5" in whole
    assert all(f"<td>{figure}" in whole for figure in figures)
    for other in (classes[1:], [*classes, a_class("cap")]):
        text = render(evaluation(*other), {}, {})
        assert 'class="paper"' not in text
        assert paper.SOURCE.replace("'", "&#39;") not in text


def test_ablations_stand_beside_the_papers_rows() -> None:
    variants = ("alfa", "no aligner", "no contextual scoring", "no language model")
    classes = [a_class(name, 6, ("crack",), variants=variants, seeds=1) for name in sorted(paper.MVTEC)]
    table = rows(render(evaluation(*classes), {}, {}), "distance from ALFA")
    assert "ALFA without aligner" in table
    assert "92.0 <small>(−1.2)</small>" in table
    assert "ALFA without contextual scoring" in table
    assert table.count('class="paper"') == 3
    assert "distance from" not in render(evaluation(a_class("cap")), {}, {})


@pytest.mark.parametrize(
    ("variant", "key"),
    [
        ("no aligner", "aligner"),
        ("without contextual scoring", "contextual"),
        ("no-contextual", "contextual"),
        ("no masks", None),
        ("aligner", None),
        ("no aligner for text", None),
        ("alfa", None),
        ("", None),
    ],
)
def test_names_of_ablations(variant: str, key: str | None) -> None:
    assert paper.component(variant) == key


def test_the_papers_figures_are_whole() -> None:
    for names, count in ((paper.MVTEC, 15), (paper.VISA, 12)):
        assert len(names) == count
        published = paper.paper_rows(names)
        assert {(row.variant, row.shots) for row in published} >= {(m, s) for m in paper.METHODS for s in (0, 1, 2, 4)}
        assert all(len(row.means) == len(METRICS) for row in published)
        assert all((row.deviations is None) == (row.shots == 0) for row in published)
    first = next(row for row in paper.paper_rows(paper.MVTEC) if (row.variant, row.shots) == ("alfa", 1))
    assert (first.mean("pro"), first.deviation("pro")) == (89.6, 1.2)


def test_missing_numbers_are_dashes_with_the_reason() -> None:
    of = evaluation(a_class("unmasked", masked=False), a_class("allgood", defects=()), a_class("whole"))
    text = render(of, {}, {})
    found = Page(text)
    assert "–<sup>a</sup>" in text
    assert "nan" not in found.text.lower()
    assert "None:" in found.text  # of the files left out
    assert found.text.count("None") == 1
    assert "No masks: pixel metrics need the defects' places." in found.text
    assert "The test parts are of one label only" in found.text
    assert "No defective test parts." in found.text
    assert "Over 1 of 3 classes; without unmasked, allgood." in found.text
    assert "No curves: the test parts are of one label only." in found.text


def test_settings_that_some_classes_lack() -> None:
    found = page(evaluation(a_class("cap"), a_class("nut", shots=(0,)), a_class("idle", shots=())))
    assert "Not run in this setting." in found.text
    assert "Nothing was run on this class." in found.text


def test_no_class_and_no_run() -> None:
    assert "Nothing was run." in page(evaluation()).text
    assert "Nothing was run." in page(evaluation(a_class("cap", shots=()))).text


def test_runs_without_a_threshold() -> None:
    result = a_class("cap")
    bare = tuple(run.model_copy(update={"operation": None, "deciles": ()}) for run in result.runs)
    found = page(evaluation(result.model_copy(update={"runs": bare})))
    assert "No calibrated threshold in this run." in found.text
    assert "Small and large defects" not in found.text


def test_the_main_variant_is_the_first_where_alfa_was_not_run() -> None:
    assert "WinCLIP, 4 shots" in page(evaluation(a_class("cap", variants=("winclip",)))).text


def test_broken_files_are_listed() -> None:
    assert (
        "cap/test/good/7.png: is empty"
        in page(evaluation(a_class("cap", broken=("cap/test/good/7.png: is empty",)))).text
    )


def test_changes_since_an_earlier_evaluation() -> None:
    old = evaluation(a_class("cap"))
    new = evaluation(a_class("cap", defects=("crack",)), model="ViT-L-14")
    found = page(new, comparison=compare(old, new))
    assert "Changes since the earlier evaluation" in found.text
    assert "model: ViT-B-16-plus-240 before, ViT-L-14 now" in found.text
    assert "Pictures only in the earlier evaluation" in found.text
    assert "cap: cap/test/scratch/000.png" in found.text
    assert "No change." in page(old, comparison=compare(old, old)).text


def test_the_same_evaluation_gives_the_same_report() -> None:
    assert render(evaluation(a_class("cap")), {}, {}) == render(evaluation(a_class("cap")), {}, {})


def test_curves_pass_through_their_corners() -> None:
    scores, labels = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    xs, ys = charts.roc(scores, labels) or ((), ())
    assert list(zip(xs, ys, strict=True)) == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]  # a tie is one slanted step
    xs, ys = charts.precision_recall(scores, labels) or ((), ())
    expected = [(0, 1), (0.5, 1), (0.5, 2 / 3), (1, 2 / 3), (1, 0.5), (1, 0.5)]
    np.testing.assert_allclose(list(zip(xs, ys, strict=True)), expected)
    assert charts.roc(scores, np.ones(4, bool)) is None
    assert charts.precision_recall(scores, np.zeros(4, bool)) is None


@pytest.mark.parametrize("threshold", [None, 0.5, 0.9])
def test_a_histogram_of_equal_scores(threshold: float | None) -> None:
    svg = charts.histogram("key", "title", np.full(3, 0.5), np.array([True, False, False]), threshold)
    assert "nan" not in svg
    assert svg.count('class="good"') == svg.count('class="defective"') == 1


def browser() -> str:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    path = next((one for one in found if one), None)
    if path is None:
        raise RuntimeError("no Chromium here; run: sudo sh deploy/system-packages.sh test")
    return path


def test_a_browser_prints_it(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render(evaluation(a_class("cap")), {"cap": [shown()]}, {}), "utf-8")
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--print-to-pdf={tmp_path / 'report.pdf'}",
    ]
    subprocess.run([*command, (tmp_path / "report.html").as_uri()], check=True, capture_output=True, timeout=90)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
