"""Every tab looked through by axe-core: no serious finding. Skipped, with the reason, where there is no browser."""

from __future__ import annotations

import pytest

from tests.page import open_tab

TABS = ("Recommend", "Spectrum", "Compare", "Data", "Experiments", "Train")


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])  # colours know no width
def test_axe_finds_nothing_serious_in_any_tab(browser, url, theme, width):
    base = pytest.importorskip("axe_playwright_python.base", reason="needs the Python package axe-playwright-python")
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{url}?__theme={theme}")
    page.wait_for_selector("#recommended tbody tr")
    page.evaluate(base.AXE_SCRIPT)
    for tab in TABS:
        open_tab(page, tab)
        page.wait_for_timeout(1500)
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        grave = [
            (finding["id"], node["html"])
            for finding in found
            if finding["impact"] in ("serious", "critical")
            for node in finding["nodes"]
        ]
        assert not grave, f"{tab}: {grave}"
    context.close()
