"""The report in a real browser without a network: it shows what the Python calls say, on a phone and in the dark too.

`tests.browsing` finds or fetches the browser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.results.effects import row_effects, spread
from guidestore.heads.metrics import drawn_metrics
from guidestore.warehouse.predictions import load_predictions
from guidestore.warehouse.runs import all_runs
from tests.browsing import chromium, faults_of
from tests.commandline import guidestore
from tests.report_store import CLASSES


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def opened(context: BrowserContext, file: Path) -> Page:
    """The report, once it is sure that it asked for nothing and complained of nothing."""
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri(), wait_until="networkidle")
    assert said == []
    assert asked == [file.as_uri()]
    return page


@pytest.fixture(scope="module")
def page(browser: Browser, report_file: Path) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1200, "height": 900}, offline=True) as context:
        yield opened(context, report_file)


def section_of(page: Page, target: str):
    return page.locator("section.target").filter(has=page.locator("h2", has_text=re.compile(f"^{target}$")))


def cells(table) -> list[list[str]]:
    """The text of each body row of a table."""
    return [row.locator("th, td").all_inner_texts() for row in table.locator("tbody tr").all()]


def test_it_opens_offline_under_its_headings(page: Page) -> None:
    assert page.locator("h1").all_inner_texts() == ["Is it guidance? Cohort skin"]
    parts = ["In plain words", "At a glance", *CLASSES, "Methods", "Provenance"]
    assert page.locator("h2").all_inner_texts() == ["Contents", *parts]
    assert page.locator("nav li").all_inner_texts() == parts
    headings = page.locator("h2, h3").all_inner_texts()
    assert len(headings) == len(set(headings))
    for target in CLASSES:
        assert section_of(page, target).locator("h3").all_inner_texts() == [
            f"{target}: every case accounted for",
            f"{target}: input rows",
            f"{target}: is it real?",
            f"{target}: metrics with intervals",
            f"{target}: confusion matrices",
            f"{target}: calibration",
            f"{target}: does G foretell z_S?",
            f"{target}: map of codes",
        ]
    page.locator("#summary a").first.click()  # links lead within the page
    assert page.url.endswith("#section-1")


def test_a_case_is_named_under_the_pointer_in_all_three_maps(browser: Browser, report_file: Path) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    page = opened(context, report_file)
    section = section_of(page, "PIG")
    case = section.locator("g.case").nth(4)
    points, name = case.locator("circle, path"), case.locator("text")
    assert points.count() == 3
    assert not name.is_visible()
    points.nth(1).hover()
    assert name.is_visible()
    assert re.match(r"lesion-\d{3}, (absent|present), ", name.text_content() or "")
    points.nth(2).click()
    page.mouse.move(0, 0)
    assert name.is_visible()  # the click keeps it
    widths = points.evaluate_all("all => all.map(one => getComputedStyle(one).strokeWidth)")
    assert widths == ["2.4px"] * 3
    # The same by keyboard: from the table of the cases to the map.
    section.locator("summary", has_text="cases of these maps").click()
    link = section.locator("details a", has_text="lesion-002")
    link.press("Enter")
    shown = section.locator("g.case text:visible")
    assert (shown.text_content() or "").startswith("lesion-002, ")
    context.close()


@pytest.mark.parametrize("width", [1400, 800, 400])
def test_the_verdict_is_never_cut(browser: Browser, report_file: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page = opened(context, report_file)
    for table in page.locator("table.verdicts").all():
        box = table.locator("xpath=ancestor::div[contains(@class, 'scroll')]")
        hint = box.locator(".hint")
        overflows = box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert hint.is_visible() == overflows
        for scrolled in (0, 10_000):
            box.evaluate("(box, left) => box.scrollLeft = left", scrolled)
            for verdict in table.locator(".verdict").all():
                place = verdict.bounding_box()
                assert place
                assert place["x"] >= 0
                assert place["x"] + place["width"] <= width
    assert page.locator("table.verdicts").count() == 3
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Browser, report_file: Path, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(report_file.as_uri())
    page.locator("details").evaluate_all("all => all.forEach(details => details.open = true)")
    assert faults_of(page, *(["color-contrast"] if scheme == "dark" else [])) == []
    context.close()


def test_verdicts_are_those_of_the_python_call(page: Page, report_store: Path) -> None:
    snapshot = EmbeddingStore.open(report_store).snapshot()
    runs = all_runs(snapshot)
    effects = row_effects(runs, load_predictions(snapshot, runs))
    for target in CLASSES:
        expected = []
        for effect in (effect for effect in effects if effect.head.target == target):
            of_head = effect.effect
            assert of_head is not None
            gains = [
                spread(of_head.gain_over_i),
                *(
                    f"{gain.rival.name}: {spread(gain.over)}" if gain else "–"
                    for gain in (of_head.nearest_control, of_head.nearest_reference)
                ),
                spread(of_head.gap_closed, "+.0%"),
            ]
            expected.append([f"{effect.verdict}\n{effect.head.row}", *gains])
        shown = cells(section_of(page, target).locator("table.gains"))
        assert [row[:5] for row in shown] == expected
    summary = page.locator("#summary tbody tr .verdict").all_inner_texts()
    assert summary == [effect.verdict for target in CLASSES for effect in effects if effect.head.target == target]


def test_tables_are_those_of_evaluate(page: Page, report_store: Path) -> None:
    for target in CLASSES:
        done = guidestore("evaluate", "skin", "--target", target, "--store", report_store, "--format", "json")
        expected = [
            [
                row["label"],
                *(f"{row[f'{metric}_mean']:.3f} ± {row[f'{metric}_sd']:.3f}" for metric in drawn_metrics()),
                str(row["n"]),
            ]
            for row in json.loads(done.stdout)
        ]
        assert cells(section_of(page, target).locator("table.inputs")) == expected


def test_figures_are_seen_and_told(page: Page) -> None:
    for target in CLASSES:
        section = section_of(page, target)
        figures = section.locator("svg[role=img], svg[role=group]").all()
        assert len(figures) == 4
        for figure in figures:
            box = figure.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) > 100
            assert len(figure.get_attribute("aria-label") or "") > 20
        bars = section.locator("figure.bars svg .bar").all()
        # Three metrics of five rows, six references and the four controls of either guided row.
        assert len(bars) == 3 * (5 + 6 + 2 * 4)
        for bar in bars:
            assert bar.is_visible()
            box = bar.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) > 3
        # Text of figures is text: it can be found, read out and resized.
        assert section.locator("figure.bars svg text", has_text="G(I)+I, shuffled pairs").count() == 1
        # Everything that is drawn is found under the one id that it refers to.
        broken = section.evaluate(
            "section => [...section.querySelectorAll('use')]"
            ".filter(use => !document.querySelector(use.getAttribute('href'))).length"
        )
        assert broken == 0
    assert (
        page.evaluate("(ids => ids.length - new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => e.id))")
        == 0
    )


def test_class_names_are_shown_as_they_are(page: Page) -> None:
    for target, names in CLASSES.items():
        section = section_of(page, target)
        matrices = section.locator("table.confusion").all()
        assert len(matrices) == 3
        for matrix in matrices:
            assert tuple(matrix.locator("thead th").all_inner_texts()[1:]) == names
        assert section.locator(".legend li").all_inner_texts() == list(names)
    assert page.locator("main b", has_text="bold").count() == 0


def test_a_phone_scrolls_down_only(browser: Browser, report_file: Path) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800}, offline=True)
    page = opened(context, report_file)
    page.locator("details").evaluate_all("all => all.forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    # What is wider scrolls within itself, and can be reached by keyboard.
    wide = page.locator(".scroll").evaluate_all(
        "all => all.filter(box => box.scrollWidth > box.clientWidth).map(box => box.tabIndex)"
    )
    assert wide
    assert set(wide) == {0}
    context.close()


def test_the_dark_scheme_is_dark_and_readable(browser: Browser, report_file: Path) -> None:
    lightness = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, offline=True)
        page = opened(context, report_file)
        colours = [
            page.evaluate("getComputedStyle(document.body).backgroundColor"),
            page.evaluate("getComputedStyle(document.querySelector('h1')).color"),
            page.evaluate("getComputedStyle(document.querySelector('svg text')).fill"),
        ]
        lightness[scheme] = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in colours]
        context.close()
    paper, ink, figure_ink = lightness["light"]
    assert paper > 240
    assert max(ink, figure_ink) < 80
    paper, ink, figure_ink = lightness["dark"]
    assert paper < 40
    assert min(ink, figure_ink) > 180
