"""Actions on the page and what it shows."""

from __future__ import annotations

import time

import pytest

# Quick tests use the desktop page; a few of them and the slow tests also use the phone page.
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
    """Until the page has awaited nothing for half a second."""
    end = time.monotonic() + seconds
    quiet = 0
    while quiet < 5:
        assert time.monotonic() < end, "the page does not become idle"
        page.wait_for_timeout(100)
        quiet = quiet + 1 if page.evaluate("window.atRest()") else 0


def reload(page) -> None:
    settle(page)
    page.reload()


def open_tab(page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def move(page, slider: str, value: float) -> None:
    """Moves a slider: sets the value, then releases the pointer."""
    handle = page.locator(f"#{slider} input[type=range]")
    if not handle.is_visible() and page.locator("#controls").locator(handle).count():
        open_controls(page)
    handle.wait_for()
    while handle.input_value() != str(value):  # a panel that has just opened may still close
        handle.fill(str(value))
        page.wait_for_timeout(200)
    handle.dispatch_event("pointerup")


def fill(page, box: str, value: float) -> None:
    """Types a number into a box of the controls."""
    open_controls(page)
    settle(page)  # what is typed while the page still changes may be lost
    page.locator(f"#{box} input").fill(str(value))
    page.locator(f"#{box} input").press("Enter")


def open_controls(page) -> None:
    """On a phone, the controls are at the bottom of the screen."""
    handle = page.locator("#sheet")
    if handle.is_visible() and handle.get_attribute("aria-expanded") == "false":
        handle.click()
