# SPDX-License-Identifier: Apache-2.0
"""A real browser for tests of pages. Needs Chromium or Chrome (Debian: `chromium`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def open_browser() -> Iterator[Browser]:
    """Yield a headless browser; skips the test where there is none, and fails it where CI has to have one."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        why = "there is no Chromium or Chrome on the path"
        pytest.fail(why) if os.environ.get("BLENDSET_REQUIRE_BLENDERS") == "1" else pytest.skip(why)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
