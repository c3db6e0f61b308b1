# SPDX-License-Identifier: Apache-2.0
"""The page of a vote in a real browser, by real clicks and keys: what a voter does there arrives in the count."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from blendset.records import read_record
from blendset_trainer.evaluation.votes.ballot import VoterFile
from blendset_trainer.evaluation.votes.count import count_votes
from blendset_trainer.evaluation.votes.page import VotePage
from tests.trainer.browsers import open_browser
from tests.trainer.tiny_ballots import BRIGHT, DIM, PROMPT, make_ballot, prefer, read_pairs, write_voter

UNITS, CHECKS = 6, 3
TOTAL = UNITS + CHECKS
KEYS = {"left": "ArrowLeft", "right": "ArrowRight", "tie": "ArrowDown"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from open_browser()


@pytest.fixture(scope="module")
def ballot(tmp_path_factory: pytest.TempPathFactory) -> VotePage:
    return make_ballot(tmp_path_factory.mktemp("ballot"), UNITS, CHECKS)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that has not voted yet."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, ballot: VotePage) -> Iterator[Page]:
    """The page, which must stay without errors and without requests."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url[:80]))
    page.goto(ballot.path.as_uri())
    yield page
    allowed = (ballot.path.as_uri(), "data:image/webp;base64,", "blob:")
    assert [each for each in complaints if not each.startswith(allowed)] == []


def begin(page: Page, name: str = "") -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Begin").click()


def download(page: Page, folder: Path, button: str = "Download votes") -> Path:
    with page.expect_download() as started:
        page.get_by_role("button", name=button, exact=True).click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_choices_by_keys_arrive_in_the_count(page: Page, ballot: VotePage, tmp_path: Path) -> None:
    begin(page, "Ada Lovelace")
    choose = prefer(BRIGHT)
    for number, pair in enumerate(read_pairs(ballot), 1):
        expect(page.locator("#count")).to_have_text(f"Pair {number} of {TOTAL}")
        expect(page.locator("#prompt")).to_have_text(PROMPT)
        page.keyboard.press(KEYS[choose(pair)])
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", str(TOTAL))

    path = download(page, tmp_path)
    assert path.name == f"votes-{ballot.ballot}-ada-lovelace.json"
    result = count_votes(ballot.key, [path])
    (rate,) = result.win_rates
    assert (rate.one, rate.other, rate.estimate.value, result.votes, result.ties) == (BRIGHT, DIM, 1.0, UNITS, 0)
    (voter,) = result.voters
    assert (voter.name, voter.checks, voter.failed_checks, result.left_out) == ("Ada Lovelace", CHECKS, 0, ())


def test_pictures_and_buttons_can_be_pressed(page: Page, ballot: VotePage, tmp_path: Path) -> None:
    begin(page)
    page.locator(".picture").first.click()
    page.locator(".picture").last.click()
    page.get_by_role("button", name="Left").click()
    page.get_by_role("button", name="Tie").click()
    page.get_by_role("button", name="Right").click()
    page.keyboard.press("t")
    page.keyboard.press("Backspace")
    expect(page.get_by_role("button", name="Tie")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowRight")
    file = read_record(download(page, tmp_path, "Download votes so far"), VoterFile)
    assert [vote.choice for vote in file.votes] == ["left", "right", "left", "tie", "right", "right"]
    assert [vote.order for vote in file.votes] == [1, 2, 3, 4, 5, 7]
    assert all(vote.milliseconds >= 0 for vote in file.votes)


def test_a_double_click_votes_once(page: Page) -> None:
    begin(page)
    page.locator(".picture").first.dblclick()
    expect(page.locator("#count")).to_have_text(f"Pair 2 of {TOTAL}")


def test_going_back_changes_one_choice_and_returns_to_the_open_pair(page: Page) -> None:
    begin(page)
    expect(page.get_by_role("button", name="Back", exact=True)).to_be_disabled()
    page.keyboard.press("Backspace")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    for number in (3, 2):
        page.get_by_role("button", name="Back", exact=True).click()
        expect(page.locator("#count")).to_have_text(f"Pair {number} of {TOTAL}")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#count")).to_have_text(f"Pair 4 of {TOTAL}")


def test_closing_the_page_loses_nothing(page: Page, context: BrowserContext, ballot: VotePage, tmp_path: Path) -> None:
    begin(page, "Bo")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.close()
    again = context.new_page()
    again.goto(ballot.path.as_uri())
    expect(again.get_by_label("Your name")).to_have_value("Bo")
    again.get_by_role("button", name=f"Continue (2 of {TOTAL} done)").click()
    for _ in range(TOTAL - 2):
        again.keyboard.press("ArrowLeft")
    file = read_record(download(again, tmp_path), VoterFile)
    assert [vote.choice for vote in file.votes] == ["right", "tie"] + ["left"] * (TOTAL - 2)
    again.on("dialog", lambda dialog: dialog.accept())
    again.get_by_role("button", name="Vote as another person").click()
    expect(again.get_by_role("button", name="Begin")).to_be_visible()
    expect(again.get_by_label("Your name")).to_have_value("")


def test_a_browser_that_keeps_nothing_is_a_warning(page: Page, tmp_path: Path) -> None:
    page.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }; }"
    )
    begin(page)
    expect(page.get_by_role("alert")).to_contain_text("Download your votes before you close it.")
    page.keyboard.press("ArrowRight")
    assert len(read_record(download(page, tmp_path, "Download votes so far"), VoterFile).votes) == 1


def test_a_voter_who_does_not_look_is_left_out(page: Page, ballot: VotePage, tmp_path: Path) -> None:
    begin(page, "Hasty")
    for _ in range(TOTAL):
        page.keyboard.press("ArrowDown")
    hasty = download(page, tmp_path)
    careful = write_voter(ballot, prefer(DIM), name="Careful")
    result = count_votes(ballot.key, [hasty, careful])
    assert result.left_out == (f"Hasty is left out, with {UNITS} votes: 3 of 3 attention checks were failed.",)
    assert (result.votes, result.win_rates[0].estimate.value) == (UNITS, 0.0)


def test_the_page_tells_nobody_which_system_made_what(page: Page, ballot: VotePage) -> None:
    source = ballot.path.read_bytes()
    for secret in (DIM, BRIGHT, "unit-", ".png", str(ballot.path.parent)):
        assert secret.encode() not in source
    begin(page)
    sizes = set()
    for _ in range(TOTAL):
        for picture in page.locator(".picture img").all():
            sizes.add(tuple(picture.evaluate("each => [each.naturalWidth, each.naturalHeight]")))
            data = base64.b64decode((picture.get_attribute("src") or "").partition(",")[2])
            assert not Image.open(io.BytesIO(data)).getexif()
        page.keyboard.press("ArrowDown")
    assert sizes == {(64, 48)}


@pytest.mark.parametrize(("width", "height"), [(380, 780), (780, 380), (1200, 800)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_pictures_and_all_buttons_fit(
    browser: Browser, ballot: VotePage, width: int, height: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=True)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(ballot.path.as_uri())
    begin(page)
    page.locator(".picture").last.tap()
    expect(page.locator("#count")).to_have_text(f"Pair 2 of {TOTAL}")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for element in page.locator(".picture, #vote button").all():
        box = element.bounding_box()
        assert box and box["height"] >= 24
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (np.mean([int(each) for each in paper[4:-1].split(",")]) > 128) == (scheme == "light")
    context.close()
