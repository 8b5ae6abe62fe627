"""The system's Chromium, which `.ci/run` installs where it is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless one."""
    place = shutil.which("chromium") or shutil.which("chromium-browser")
    assert place, "there is no Chromium to look at pages with; install it, as in `apt-get install chromium`"
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root, as in most containers; the pages are our own.
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield browser
        browser.close()
