"""What a hand does on the page, and what an eye reads from it."""

from __future__ import annotations

import time

import pytest

# The quick tests look at a desktop's page; a few of them, and the slow ones, at a phone's too.
WIDTHS = pytest.mark.parametrize("visit", [1440, pytest.param(390, marks=pytest.mark.slow)], indirect=True)


def titles(page) -> list[str]:
    return page.locator("#recommended tbody .title").all_inner_texts()


def changed(page, before: list[str], seconds: float = 60) -> list[str]:
    """The list as soon as it differs from `before`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (now := titles(page)) and now != before:
            return now
        page.wait_for_timeout(100)
    raise AssertionError("the list did not change")


def settle(page, seconds: float = 60) -> None:
    """Until the page has awaited nothing for half a second: an answer that is cut off by leaving is an error on
    the console."""
    end = time.monotonic() + seconds
    quiet = 0
    while quiet < 5:
        assert time.monotonic() < end, "the page does not come to rest"
        page.wait_for_timeout(100)
        quiet = quiet + 1 if page.evaluate("window.atRest()") else 0


def open_tab(page, name: str) -> None:
    """By its tab, or on a phone from the menu that holds what does not fit."""
    tab = page.get_by_role("tab", name=name)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()


def move(page, slider: str, value: float) -> None:
    """Moves a slider as a hand does: the value, then the release of the pointer."""
    handle = page.locator(f"#{slider} input[type=range]")
    if not handle.is_visible() and page.locator("#controls").locator(handle).count():
        open_controls(page)
    handle.wait_for()
    while handle.input_value() != str(value):  # one that has only just unfolded may still fall back
        handle.fill(str(value))
        page.wait_for_timeout(200)
    handle.dispatch_event("pointerup")


def fill(page, box: str, value: float) -> None:
    """Types a number into a box of the controls."""
    open_controls(page)
    page.locator(f"#{box} input").fill(str(value))
    page.locator(f"#{box} input").press("Enter")


def open_controls(page) -> None:
    """On a phone they wait at the foot of the screen."""
    handle = page.locator("#sheet")
    if handle.is_visible() and handle.get_attribute("aria-expanded") == "false":
        handle.click()
