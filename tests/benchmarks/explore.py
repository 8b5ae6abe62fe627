"""`guidestore explore` on a store of many codes: first paint, memory, SQL filters, maps and frames in a real Chromium.

Bars for 1,000,000 codes of width 256: first paint under 2 s, memory under 2 GB, a filter under 1 s, no input waits over
250 ms. Where Chromium draws in software its renderer says so.
Run: python -m tests.benchmarks.explore [--codes 1000000] [--folder /dev/shm] [--store MADE] (5 GB)
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page

from tests.benchmarks.large_import import HEAD, SCRIPTS
from tests.benchmarks.measuring import show
from tests.browsing import chromium

USERS = 5


def make_store(root: Path, codes: int, dim: int) -> None:
    """A cohort of one code per case, with two labels and a split."""
    subprocess.run([sys.executable, "-c", HEAD + SCRIPTS["files"], str(root), str(codes), str(dim)], check=True)
    told = ("--cohort", "bench", "--modality", "mri", "--encoder", "net", "--store", str(root))
    command = [sys.executable, "-m", "guidestore"]
    subprocess.run([*command, "import", f"{root}.npy", "--ids", f"{root}.txt", *told], check=True, stdout=sys.stderr)
    Path(f"{root}.npy").unlink()
    Path(f"{root}.parquet").unlink()
    rng = np.random.default_rng(0)
    labels = root.with_name("labels.csv")
    ids = Path(f"{root}.txt").read_text().split("\n")
    with labels.open("w") as out:
        out.write("case_id,grade,side\n")
        grades, sides = rng.integers(3, size=codes), rng.integers(2, size=codes)
        out.writelines(f"{case},G{g},{'LR'[s]}\n" for case, g, s in zip(ids, grades, sides, strict=True))
    add = ("cohort", "add", "manifest", "bench", "--labels", str(labels), "--store", str(root))
    subprocess.run([*command, *add], check=True, stdout=sys.stderr)


def rss_mb(pid: int, peak: bool = False) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+)", status)
    return int(found[1]) // 1024 if found else 0


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def until(page: Page, expression: str) -> None:
    """Waits until it is true. Playwright's own way compiles text in the page, which the page's policy forbids."""
    while not page.evaluate(expression):
        page.wait_for_timeout(20)


def ask(page: Page, path: str) -> float:
    """Seconds of a request as the page makes it."""
    return timed(lambda: page.evaluate("path => fetch(path).then(a => a.arrayBuffer()).then(b => b.byteLength)", path))


def measure(store: Path) -> list[list[str]]:
    rows: list[list[str]] = []

    def told(what: str, value: str) -> None:
        rows.append([what, value])
        print(f"{what}: {value}", file=sys.stderr)

    command = [sys.executable, "-m", "guidestore", "explore", "bench", "--store", str(store), "--port", "0"]
    began = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = re.search(r"open (\S+)", server.stdout.readline())
        assert url
        told("ready after", f"{time.perf_counter() - began:.2f} s")
        root = url[1].partition("?")[0]
        with chromium("--enable-unsafe-swiftshader") as browser:
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            page = context.new_page()
            page.set_default_timeout(600_000)
            page.goto(url[1], wait_until="commit")
            until(page, "performance.getEntriesByName('first-contentful-paint').length > 0")
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            told("first paint, cohort", f"{paint / 1000:.2f} s")
            began = time.perf_counter()
            page.wait_for_selector("body[data-shown]")
            told("then until its sections stand", f"{time.perf_counter() - began:.2f} s")
            began = time.perf_counter()
            page.wait_for_selector("#cases tbody tr")
            told("then until cases are listed (the table of facts is made)", f"{time.perf_counter() - began:.2f} s")
            filters = {
                "grade = 'G1' AND side = 'L'": "grade+%3D+%27G1%27+AND+side+%3D+%27L%27",
                "case_id LIKE '%77%'": "case_id+LIKE+%27%2577%25%27",
                "i % 3 = 0": "i+%25+3+%3D+0",
            }
            for where, encoded in filters.items():
                told(f"filter, first page: {where}", f"{ask(page, f'data/cases?cohort=bench&where={encoded}'):.2f} s")
                told(f"filter, all numbers: {where}", f"{ask(page, f'data/select?cohort=bench&where={encoded}'):.2f} s")
            told("colours by a label", f"{ask(page, 'data/colours?cohort=bench&by=grade'):.2f} s")
            told("memory so far", f"{rss_mb(server.pid):,} MB, peak {rss_mb(server.pid, peak=True):,} MB")
            began = time.perf_counter()
            page.goto(f"{root}?page=map&cohort=bench")
            page.wait_for_selector("body[data-ready=map]")
            told("maps ready (PCA)", f"{time.perf_counter() - began:.2f} s")
            plot = page.locator(".plot").first
            canvas = plot.locator("canvas").first
            until(page, WHOLE)
            told("maps whole", f"{time.perf_counter() - began:.2f} s")
            told("points in each", f"{int(canvas.get_attribute('data-points') or 0):,}")
            told("renderer", canvas.get_attribute("data-renderer") or "")
            told("input waits while a map moves, longest", f"{moved(page, plot):.0f} ms")
            began = time.perf_counter()
            until(page, WHOLE)
            told("whole again after", f"{time.perf_counter() - began:.2f} s")
            told("a case of them", f"{ask(page, 'data/case?cohort=bench&case=case-000000007'):.2f} s")
            told("its neighbours", f"{ask(page, neighbours_path(page)):.2f} s")
            told("memory", f"{rss_mb(server.pid):,} MB, peak {rss_mb(server.pid, peak=True):,} MB")
            slowest = page.evaluate(AT_ONCE, [USERS, "data/select?cohort=bench&where=grade+%3D+%27G2%27"])
            told(f"{USERS} users filter at once, slowest", f"{slowest / 1000:.2f} s")
    finally:
        server.terminate()
        server.wait(30)
    return rows


WHOLE = "[...document.querySelectorAll('.plot canvas:not(.over)')].every(c => c.dataset.drawn === c.dataset.points)"
AT_ONCE = """
([users, path]) => Promise.all([...Array(users)].map((_, at) => {
  const began = performance.now();
  return fetch(path + `+OR+i+%3D+${at}`).then(a => a.arrayBuffer()).then(() => performance.now() - began);
})).then(all => Math.max(...all))
"""


def neighbours_path(page: Page) -> str:
    name = page.evaluate("fetch('data/maps?cohort=bench').then(a => a.json()).then(m => m.code_sets[0].name)")
    return f"data/neighbours?cohort=bench&case=case-000000007&code_set={name}"


def moved(page: Page, plot: Any) -> float:
    """Milliseconds that the longest of 30 movements of a pressed pointer waits until the page has dealt with it."""
    page.evaluate(
        "document.querySelector('.plot').addEventListener('pointermove', event => "
        "{ window.waits = [...(window.waits ?? []), performance.now() - event.timeStamp]; })"
    )
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    for step in range(30):
        page.mouse.move(box["x"] + 200 + 3 * step, box["y"] + 200 + step)
    page.mouse.up()
    return float(page.evaluate("Math.max(...window.waits)"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--folder", type=Path, default=None, help="where the store is made")
    parser.add_argument("--store", type=Path, default=None, help="one that was made before; made there where it is not")
    given = parser.parse_args()
    os.environ["PYTHONWARNINGS"] = "ignore"
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        store = given.store or Path(folder) / "store"
        if not store.exists():
            make_store(store, given.codes, given.dim)
        show(f"explore on {given.codes:,} codes of width {given.dim}", ["what", "measured"], measure(store))


if __name__ == "__main__":
    main()
