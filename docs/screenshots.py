"""Takes the pictures of the app that README and docs show: `python docs/screenshots.py http://127.0.0.1:7860/`

The app must be running, with the demo set; Chromium (Debian: `apt install chromium`) and the Python package playwright
must be installed. Pictures are of what a visitor sees without scrolling, on a desktop (1440 x 900) and a phone.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# name -> (size, theme, query, what has to be there)
PICTURES = {
    "app": (DESKTOP, "light", "", "#energy .js-plotly-plot"),
    "app-phone": (PHONE, "light", "user=7", "#recommended tbody tr"),
    "spectrum": (DESKTOP, "light", "model=demo-paper&user=7&view=Spectrum", "#reverse-path .js-plotly-plot"),
    "compare": (DESKTOP, "dark", "user=7&guidance=3&view=Compare", "#b-list tbody tr"),
}


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (size, theme, query, awaited) in PICTURES.items():
            context = browser.new_context(viewport=size, color_scheme=theme)  # pyright: ignore[reportArgumentType]
            context.add_init_script("localStorage.setItem('sdiff-tour', '1')")
            page: Page = context.new_page()
            page.goto(f"{sys.argv[1]}?__theme={theme}&{query}")
            page.wait_for_selector(awaited, timeout=60_000)
            page.wait_for_timeout(1500)  # until plots have come to rest
            page.screenshot(path=FOLDER / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
