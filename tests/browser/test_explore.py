"""The page of `guidestore explore` in a real browser: what a colleague clicks, and what a hostile name does not do."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from guidestore.embeddings.store import EmbeddingStore
from guidestore.flows.encoding.import_codes import import_codes
from guidestore.warehouse.indexer import build_index
from tests.browsing import chromium, faults_of
from tests.explore_store import EVIL, served
from tests.flows.serving.waiting import WAIT_SECONDS
from tests.report_store import CLASSES, write

GL = ("--enable-unsafe-swiftshader",)
"""Chromium draws WebGL in software where it is told that this is safe enough."""
EXPECTED = re.compile(r"GPU stall due to ReadPixels|responded with a status of 40[04] ")
"""What Chromium says of drawing in software, and of what the page says in a sentence."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*GL) as browser:
        yield browser


@pytest.fixture(scope="module")
def url(page_store: Path) -> Iterator[str]:
    with served(page_store) as url:
        yield url


@contextmanager
def opened(browser: Browser, url: str, width: int = 1400, **more) -> Iterator[Page]:
    """A window that has the token, of a user who would be told of any complaint, and who has no network."""
    expect.set_options(timeout=1000 * WAIT_SECONDS)
    context = browser.new_context(viewport={"width": width, "height": 900}, **more)
    page = context.new_page()
    page.set_default_timeout(1000 * WAIT_SECONDS)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    root = url.partition("?")[0]
    assert [one for one in said if not EXPECTED.search(one)] == []
    assert [one for one in asked if not one.startswith((root, "data:", "blob:"))] == []
    context.close()


def at(page: Page, query: str) -> Page:
    page.goto(page.url.partition("?")[0] + f"?{query}")
    page.wait_for_selector("body[data-shown]")
    return page


def row_of(page: Page, target: str, row: str):
    rows = page.locator("#verdicts ~ div tbody tr, section[aria-labelledby=verdicts] tbody tr")
    return rows.filter(has=page.get_by_role("cell", name=target, exact=True)).filter(
        has=page.get_by_role("cell", name=row, exact=True)
    )


def test_which_patients_does_guidance_turn_wrong(browser: Browser, url: str) -> None:
    """From the start by clicks alone: the cohort, its verdict, the cases, one of them, its place on the map."""
    with opened(browser, url) as page:
        assert "token" not in page.url
        page.get_by_role("link", name="skin", exact=True).first.click()
        verdict = row_of(page, "DIAG", "G(I)+I").first
        verdict.wait_for()
        assert verdict.get_by_role("rowheader").inner_text() in ("cannot tell", "guidance helps", "no effect", "hurts")
        verdict.get_by_role("link", name="turned wrong by G(I)+I, DIAG").click()
        expect(page.locator("#cases [role=status]")).to_have_text(re.compile(r"\d+ of 90 cases"))
        assert set(page.locator("#cases td.turned-wrong").all_inner_texts()) == {"turned wrong"}
        case = page.locator("#cases tbody th a").first
        name = case.inner_text()
        case.click()
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        said = page.locator("section[aria-labelledby=predictions] table").first.locator("tbody tr")
        said = {row.locator("th").inner_text(): row.locator("td").first.inner_text() for row in said.all()}
        assert said["G(I)+I"].startswith("wrong")
        page.get_by_role("link", name="on the map").click()
        expect(page.locator(".card a")).to_have_text(name)


def test_the_other_questions_of_docs_browser(browser: Browser, url: str) -> None:
    """Each by the clicks that docs/browser.md names."""
    with opened(browser, url) as page:
        start = page.url
        page.get_by_role("link", name="skin", exact=True).first.click()
        line = row_of(page, "DIAG", "G(I)+I").first
        line.get_by_role("link", name="turned right by G(I)+I, DIAG").click()
        expect(page.locator("#cases td.turned-right").first).to_be_visible()
        assert set(page.locator("#cases td.turned-right").all_inner_texts()) == {"turned right"}
        row_of(page, "DIAG", "G(I)+I").first.get_by_role("link", name="map of G(I)+I, DIAG").click()
        page.wait_for_selector("body[data-ready=map]")
        expect(page.locator(".legend")).to_contain_text("turned wrong")
        at(page, "page=cohort&cohort=skin")
        page.get_by_label("WHERE (SQL)").fill("DIAG LIKE '%melanoma%'")
        page.get_by_label("id has").fill("lesion-02")
        page.locator("#cases").get_by_role("button", name="Show").click()
        expect(page.locator("#cases [role=status]")).to_have_text(re.compile(r"\d of 90 cases"))
        page.get_by_role("link", name="lesion-027", exact=True).click()
        expect(page.locator("section[aria-labelledby=predictions] th[scope=row]").first).to_have_text("S+I")
        near = page.locator("section[aria-labelledby=neighbours] .pair > div")
        expect(near).to_have_count(2)
        for side, modality in zip(near.all(), ("clinical", "dermoscopy"), strict=True):
            assert side.locator("select").input_value().startswith(f"skin/{modality}/made")
            expect(side.locator("tbody tr")).to_have_count(12)
        expect(page.locator("section[aria-labelledby=lineage] tbody tr")).to_have_count(2)
        at(page, "page=cohort&cohort=skin").get_by_role("link", name="Compare two heads").click()
        page.get_by_label("on cases of").select_option("test")
        page.get_by_role("button", name="What b gained over a").click()
        expect(
            page.get_by_role("heading", name=re.compile("In AUROC, (a|b) is better|it cannot be told"))
        ).to_be_visible()
        expect(page.get_by_role("heading", name=re.compile(r"Called otherwise \(\d+\)"))).to_be_visible()
        assert faults_of(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 1400
        page.goto(start)
        page.get_by_role("link", name="1 in quarantine").click()
        expect(page.locator("#cases tbody tr")).to_have_count(1)
        page.locator("#cases tbody a").first.click()
        expect(page.get_by_role("note")).to_contain_text("In quarantine")
        page.get_by_role("link", name="Snapshots").click()
        page.get_by_label("snapshot a").fill("3")
        page.get_by_label("snapshot b").fill("5")
        page.get_by_role("button", name="What changed from a to b").click()
        expect(page.get_by_role("heading", name="From snapshot 3 to 5")).to_be_visible()


def test_a_case_that_comes_moves_no_other(browser: Browser, page_store: Path, tmp_path: Path) -> None:
    """Points go by number. A page that is open, and a link that was sent, mean the cases that they meant."""
    store = tmp_path / "store"
    shutil.copytree(page_store, store)
    codes = write(tmp_path / "codes.csv", ["case_id", *(f"c{d}" for d in range(5))], [["a-first", *range(5)]])
    with served(store) as own, opened(browser, own) as page:
        at(page, "page=map&cohort=skin&case=lesion-027").wait_for_selector("body[data-ready=map]")
        expect(page.locator(".card a")).to_have_text("lesion-027")
        plot, kept = page.locator(".plot").first, page.locator(".card a")
        plot.press("Enter")
        expect(kept).not_to_have_text("lesion-027")
        name = kept.inner_text()
        assert f"case={name}" in page.url
        import_codes(EmbeddingStore.open(store), codes, cohort="skin", modality="clinical", encoder="made")
        build_index(EmbeddingStore.open(store))
        page.get_by_label("id has").fill("lesion-050")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("1 of 90 cases fit")).to_be_visible()
        expect(kept).to_have_text("lesion-050")
        page.get_by_label("id has").fill("")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("90 cases", exact=True)).to_be_visible()
        plot.press("Enter")
        expect(kept).to_have_text(name)
        page.reload()
        page.wait_for_selector("body[data-ready=map]")
        expect(page.get_by_text("91 cases", exact=True)).to_be_visible()
        expect(kept).to_have_text(name)
        at(page, "page=map&cohort=skin&case=lesion-777").wait_for_selector("body[data-ready=map]")
        expect(page.get_by_text("skin has no case lesion-777")).to_be_visible()


def test_names_that_are_markup_do_nothing(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        at(page, "page=cohort&cohort=skin")
        page.locator("section[aria-labelledby=verdicts] table").first.wait_for()
        at(page, "page=map&cohort=skin&colour=DIAG")
        expect(page.locator(".legend")).to_contain_text(CLASSES["DIAG"][2])
        at(page, "page=case&cohort=scans&case=P_3")
        expect(page.locator(".notice")).to_contain_text(EVIL)
        at(page, "page=cohort&cohort=skin&where=<img src=x onerror=alert(1)>")
        expect(page.locator("#cases [role=alert]")).to_contain_text("no condition in SQL")
        at(page, "page=sweep&cohort=skin&name=<script>alert(1)</script>")
        expect(page.get_by_role("alert")).to_contain_text("<script>alert(1)</script>")
        assert page.locator("img[src=x], main script, main b").count() == 0
        assert "owned" not in page.title()


def test_the_maps_are_linked_and_the_address_says_all(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        at(page, "page=map&cohort=skin")
        page.wait_for_selector("body[data-ready=map]")
        plots = page.locator(".plot")
        assert [plot.locator("canvas").first.get_attribute("data-points") for plot in plots.all()] == ["90", "90"]
        plots.first.focus()
        page.keyboard.press("Enter")  # the case in the middle, or none
        page.keyboard.press("+")
        page.get_by_role("button", name="Lasso", exact=True).click()
        box = plots.first.bounding_box()
        assert box
        corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.03)]
        for number, (x, y) in enumerate(corners):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if not number:
                page.mouse.down()
        page.mouse.up()
        heading = page.locator(".chosen h2")
        heading.wait_for()
        chosen = heading.inner_text()
        assert int(chosen.split()[0]) > 10
        page.get_by_label("or by").fill("i % 2 = 0")
        page.get_by_label("WHERE (SQL)").fill("PIG = 'present'")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator("#map-status")).to_contain_text("cases fit")
        expect(page.locator(".legend")).to_contain_text("true (45)")
        page.wait_for_timeout(400)  # the place of the map is told when it stands still
        address = page.url
        assert all(word in address for word in ("lasso=a_", "colour=i", "where=PIG", "va="))
        fitting = heading.inner_text()
        page.goto(address)
        page.wait_for_selector("body[data-ready=map]")
        expect(page.locator(".chosen h2")).to_have_text(fitting)
        expect(page.locator("#map-status")).to_contain_text("cases fit")
        assert page.locator("select[name=colour]").input_value() == "i % 2 = 0"


def test_images_of_a_case(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        at(page, "page=case&cohort=scans&case=P_1")
        for summary in page.locator("details.picture:not([open]) > summary").all():
            summary.click()
        expect(page.locator(".slice")).to_have_count(3)
        slider = page.get_by_label("axial slice of mri_t2")
        slider.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".slice output").first).to_have_text("18 of 32")
        expect(page.locator(".slice img").first).to_have_attribute("src", re.compile("number=17"))
        page.wait_for_selector(".slide[data-open=yes][data-drawn]")
        page.wait_for_selector(".slide canvas.over[data-tiles='16']")
        options = page.get_by_label("tiles over the slide").locator("option").all_inner_texts()
        assert options[0] == "no tiles"
        assert options[2].startswith("attention of scans/histology/clam")
        photograph = page.locator("img.photograph")
        expect(photograph).to_have_js_property("naturalWidth", 300)
        assert "P_1" in (photograph.get_attribute("alt") or "")
        at(page, "page=cohort&cohort=secret")
        page.locator("#cases tbody th a").first.click()
        expect(page.locator("details.picture p").first).to_contain_text("pseudonymized, so its images are not shown")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_down_only(browser: Browser, url: str, scheme: str) -> None:
    with opened(browser, url, 400, color_scheme=scheme) as page:
        pages = [
            "",
            "page=cohort&cohort=skin",
            "page=map&cohort=skin",
            "page=case&cohort=scans&case=P_1",
            "page=snapshots&a=3&b=5",
        ]
        for query in pages if scheme == "light" else pages[:2]:  # a scheme changes colours alone
            at(page, query)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, query
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper))) > 600) == (scheme == "light")


def test_axe_finds_no_serious_fault(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        for query in ("", "page=cohort&cohort=skin", "page=map&cohort=skin", "page=case&cohort=scans&case=P_1"):
            at(page, query)
            page.wait_for_load_state("networkidle")
            assert faults_of(page) == [], query


@pytest.mark.slow  # the tests before look at all of it
def test_pictures_for_the_docs(browser: Browser, url: str, tmp_path: Path) -> None:
    """PICTURES=docs makes those of docs/explore.md anew, at 1400 and 400 px."""
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    for width in (1400, 400):
        with opened(browser, url, width) as page:
            at(page, "page=cohort&cohort=skin")
            page.locator("section[aria-labelledby=verdicts] table").first.wait_for()
            page.screenshot(path=pictures / f"explore-cohort-{width}.png")
            at(page, "page=map&cohort=skin&colour=DIAG&case=lesion-027")
            page.wait_for_selector("body[data-ready=map]")
            expect(page.locator(".card a")).to_have_text("lesion-027")
            page.screenshot(path=pictures / f"explore-map-{width}.png")
            at(page, "page=case&cohort=scans&case=P_1")
            page.locator("details.picture:not([open]) > summary").last.click()
            page.wait_for_load_state("networkidle")
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=pictures / f"explore-case-{width}.png")
            assert (pictures / f"explore-case-{width}.png").stat().st_size > 10_000
