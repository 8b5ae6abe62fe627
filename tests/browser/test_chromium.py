"""Where no Chromium can be had, tests that need it are skipped with that reason; under CI they fail."""

from __future__ import annotations

import pytest

from tests import browsing


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "_system", lambda: None)
    monkeypatch.setattr(browsing, "_playwrights", lambda playwright: None)
    monkeypatch.setattr(browsing, "_debians", lambda: None)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_it(ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="there is no Chromium"), browsing.chromium():
        pass


def test_it_shows_pages() -> None:
    with browsing.chromium() as browser:
        page = browser.new_page()
        page.set_content("<h1>codes</h1>")
        assert page.inner_text("h1") == "codes"
