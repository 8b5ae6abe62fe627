"""A map of a million points in a real browser, and five users at once. Slow: run by make slow."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import numpy as np
import pytest

from guidestore.embeddings.store import EmbeddingStore
from guidestore.embeddings.types import CaseCodes, CodeSetKey, EncoderSpec
from guidestore.warehouse.indexer import build_index
from tests.browsing import chromium
from tests.explore_store import served

POINTS = 1_000_000
WAIT_MS = 250
"""That no input may wait, while Chromium draws in software on two cores."""
WHOLE = "[...document.querySelectorAll('.plot canvas:not(.over)')].every(c => c.dataset.drawn === c.dataset.points)"
WAITED = """
document.querySelector('.plot').addEventListener('pointermove', event => {
  window.waits = [...(window.waits ?? []), performance.now() - event.timeStamp];
})
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million codes of two dimensions in three clouds."""
    root = tmp_path_factory.mktemp("million") / "store"
    rng = np.random.default_rng(0)
    codes_nd = rng.normal(size=(POINTS, 2)).astype(np.float32) + 6 * rng.integers(3, size=(POINTS, 1))
    key = CodeSetKey.of("many", "mri", EncoderSpec("made", "1", "codes", 2))
    ids = tuple(f"case-{number:07d}" for number in range(POINTS))
    opened = EmbeddingStore.create(root)
    with opened.begin("codes") as transaction:
        transaction.write_codes(
            CaseCodes(ids, codes_nd.astype(np.float32), key=key), input_digests=[["0" * 64]] * POINTS
        )
    build_index(opened)
    return root


def test_it_is_thinned_while_it_moves_and_whole_when_it_stands(store: Path) -> None:
    with served(store) as url, chromium("--enable-unsafe-swiftshader") as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(600_000)
        page.goto(url)
        page.goto(url.partition("?")[0] + "?page=map&cohort=many&colour=codes")
        page.wait_for_selector("body[data-ready=map]")
        plot = page.locator(".plot").first
        canvas = plot.locator("canvas").first
        while not page.evaluate(WHOLE):
            page.wait_for_timeout(50)
        assert canvas.get_attribute("data-points") == str(POINTS)
        page.evaluate(WAITED)
        box = plot.bounding_box()
        assert box
        page.mouse.move(box["x"] + 200, box["y"] + 200)
        page.mouse.down()
        least = POINTS
        for step in range(40):
            page.mouse.move(box["x"] + 200 + 3 * step, box["y"] + 200 + step)
            least = min(least, int(canvas.get_attribute("data-drawn") or POINTS))
        page.mouse.up()
        waits = page.evaluate("window.waits")
        frames = page.evaluate("window.guidestoreFrames()")
        while not page.evaluate(WHOLE):
            page.wait_for_timeout(50)
        print(f"\nrenderer: {canvas.get_attribute('data-renderer')}")
        print(f"frames: median {np.median(frames):.0f} ms, longest {max(frames):.0f} ms, of {len(frames)}")
        print(f"inputs: median wait {np.median(waits):.0f} ms, longest {max(waits):.0f} ms")
        assert least < POINTS
        assert max(waits) < WAIT_MS


def test_five_users_at_once(store: Path) -> None:
    """Each with a filter of his own gets his own answer."""
    with served(store) as url:
        said: dict[int, int] = {}

        def ask(user: int) -> None:
            with httpx.Client(base_url=url.partition("?")[0], follow_redirects=True, timeout=120) as client:
                client.get(url).raise_for_status()
                asked = {"cohort": "many", "where": f"i % {user + 2} = 0"}
                said[user] = len(client.get("/data/select", params=asked).raise_for_status().content) // 4

        users = [threading.Thread(target=ask, args=(user,)) for user in range(5)]
        for user in users:
            user.start()
        for user in users:
            user.join()
        assert said == {user: len(range(0, POINTS, user + 2)) for user in range(5)}
