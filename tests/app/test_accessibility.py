"""axe-core checks every tab for serious violations. Skipped without a browser."""

from __future__ import annotations

import pytest

from sdiff.base.paths import ASSETS
from tests.page import open_tab, settle

TABS = ("Recommend", "Diffusion", "Waves", "Compare", "Data", "Experiments", "Train")


# Colours do not depend on the width; the quick tests check the first tab.
LOOKS = [
    ("light", 1440, TABS[:1]),
    *(pytest.param(*look, TABS, marks=pytest.mark.slow) for look in (("light", 1440), ("dark", 390))),
]


@pytest.mark.parametrize(("theme", "visit", "tabs"), LOOKS, indirect=["visit"])
def test_axe_reports_no_serious_violation(visit, theme, tabs):
    base = pytest.importorskip("axe_playwright_python.base", reason="needs the Python package axe-playwright-python")
    page = visit(f"?__theme={theme}&k=5")  # a longer list has the same kinds of components
    page.evaluate(base.AXE_SCRIPT)
    page.wait_for_selector("#energy .js-plotly-plot")  # the last component of the first tab
    for tab in tabs:
        open_tab(page, tab)
        if tab == "Data":  # with the whole form for a table of one's own
            page.set_input_files("#own-table input[type=file]", ASSETS / "sample.csv")
            page.locator("#own-report").filter(has_text="18 of 18 items have a title").wait_for()
        settle(page)
        part = "document" if tab == tabs[0] else "'#views'"  # nothing outside the tabs changes
        found = page.evaluate(f"axe.run({part}, {{ resultTypes: ['violations'] }})")["violations"]
        grave = [
            (finding["id"], node["html"])
            for finding in found
            if finding["impact"] in ("serious", "critical")
            for node in finding["nodes"]
        ]
        assert not grave, f"{tab}: {grave}"
