"""A headless Chromium: the system's, else Playwright's own, else Debian's, else the reason why there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

REACH_SECONDS = 20
"""In which the place that Playwright's Chromium comes from must have begun to send it."""
FETCH_SECONDS = 600


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """It, started with these arguments, fetched where it is missing.

    Skips the test where none can be had; under CI the test fails.
    """
    with sync_playwright() as playwright:
        with FileLock(Path(tempfile.gettempdir()) / "guidestore-chromium.lock"):  # workers need it at once
            executable = _system() or _playwrights(playwright) or _debians()
        if not executable:
            reason = "there is no Chromium, and neither Playwright's nor Debian's could be had"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        # Chromium's own sandbox does not start as root, as in most containers; the pages are our own.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", *arguments])
        yield browser
        browser.close()


def faults_of(page: Page, *rules: str) -> list[str]:
    """What axe finds serious or critical on a page as it is, by all or by these rules: the rule, and the elements."""
    try:
        axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    except ModuleNotFoundError:
        reason = "axe-playwright-python is not installed; `make install` has it"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    page.evaluate(axe)  # not as a script of the page, whose policy allows none
    asked = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("asked => axe.run(document, asked)", asked)
    return [
        f"{fault['id']}: {'; '.join(node['html'][:200] for node in fault['nodes'][:5])}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def _system() -> str | None:
    # Ubuntu's is called chromium-browser.
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def _playwrights(playwright: Playwright) -> str | None:
    executable = playwright.chromium.executable_path
    if not Path(executable).exists():
        # It asks five times; once it is answered, a slow line may take as long as it needs.
        patience = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": str(REACH_SECONDS * 1000 // 5)}
        _done([sys.executable, "-m", "playwright", "install", "--no-shell", "chromium"], patience)
    # Its libraries are not fetched with it.
    return executable if Path(executable).exists() and _done([executable, "--version"]) else None


def _debians() -> str | None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        _done(["apt-get", "-qq", "update"], quiet)
        _done(["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "chromium"], quiet)
    return _system()


def _done(command: list[str], environment: dict[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(
            command, env={**os.environ, **(environment or {})}, capture_output=True, timeout=FETCH_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
