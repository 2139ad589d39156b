"""Takes the pictures of the app that README and docs show: `python docs/screenshots.py http://127.0.0.1:7860/`

The app must be running, with its default data set; Chromium (Debian: `apt install chromium`) and the Python package
playwright must be installed. Pictures are of what a visitor sees without scrolling, on a desktop (1440 x 900) and a
phone.
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# name -> (size, theme, query, what has to be there)
PICTURES = {
    "app": (DESKTOP, "light", "", "#energy .js-plotly-plot"),
    "app-phone": (PHONE, "light", "", "#recommended tbody tr"),
    "waves": (DESKTOP, "light", "view=Waves", "#map .js-plotly-plot"),
    "compare": (DESKTOP, "dark", "beta=0.3&view=Compare", "#b-list tbody tr"),
}
FILM, SECONDS = "diffusion.gif", 1.4  # each of its frames is shown so long


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
        film(browser)
        browser.close()


def film(browser: Browser) -> None:
    """The diffusion of the first history as an animated picture: scrubber, caption and lists of each moment."""
    page = browser.new_page(viewport={"width": 1240, "height": 900})
    page.add_init_script("localStorage.setItem('sdiff-tour', '1')")
    page.goto(f"{sys.argv[1]}?__theme=light&view=Diffusion")
    page.wait_for_selector("#film-energy .js-plotly-plot", timeout=60_000)
    page.wait_for_timeout(1500)
    frames = []
    for moment in range(int(page.locator("#frame").get_attribute("max") or 0) + 1):
        page.locator("#frame").fill(str(moment))
        page.wait_for_timeout(300)
        picture = Image.open(BytesIO(page.locator("#film").screenshot()))
        frames.append(picture.convert("RGB"))
    size = frames[0].width, max(frame.height for frame in frames)
    first, *others = [ImageOps.pad(frame, size, color="white", centering=(0, 0)).quantize(64) for frame in frames]
    first.save(FOLDER / FILM, save_all=True, append_images=others, duration=int(1000 * SECONDS), loop=0, optimize=True)
    page.close()


if __name__ == "__main__":
    main()
