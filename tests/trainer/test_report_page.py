# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser, by real clicks and keys: it sorts, filters, pages and opens views, and asks no network.

Needs Chromium or Chrome (Debian: `chromium`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from blendset.dataset import Dataset
from blendset_trainer.cli.main import main
from blendset_trainer.reporting.report import report
from blendset_trainer.selection.apply_rules import apply_rules
from blendset_trainer.selection.files import get_selection_path, write_selection
from blendset_trainer.selection.rules import KeepRule, Rules
from blendset_trainer.stages.tables import read_index_with_stages
from tests.trainer.browsers import open_browser
from tests.trainer.tiny_datasets import add_picture, add_restyled, add_scene, add_view, choose, make_dataset
from tests.trainer.tiny_pipelines import stable_diffusion
from tests.trainer.tiny_runs import config_of, run_of

VIEWS = 110


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from open_browser()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a dataset with scores and a selection, and of one with views only."""
    folder = tmp_path_factory.mktemp("reports")
    rich, bare = make_dataset(folder / "rich"), make_dataset(folder / "bare")
    for scene in ("attic", "cellar"):
        add_scene(rich, scene)
    ids = np.repeat(np.array([[1, 2]], np.uint32), 16, axis=1).repeat(32, axis=0)
    for number in range(VIEWS):
        rgb = np.random.default_rng(number).integers(0, 60 + number, (32, 32, 3), np.uint8)
        scene, subject = ("attic", "lamp") if number % 2 else ("cellar", "barrel")
        checks = ("flat",) if number % 10 == 0 else ()
        framed = {"subject_objects": (1,), "subject_share": number / 200, "failed_checks": checks}
        add_picture(rich, scene, subject, number, rgb, ids, **framed)
    add_picture(bare, "attic", "lamp", 1, np.zeros((8, 8, 3), np.uint8))
    for dataset in (rich, bare):
        dataset.rebuild_index()
    assert main(["score", str(rich.root), "--with", "image-stats"]) == 0
    rules = Rules(keep=(KeepRule(column="subject_share", at_least=0.25, reason="subject too small"),))
    selection = apply_rules(read_index_with_stages(rich), rules)
    write_selection(get_selection_path(rich, "large"), selection.chosen, selection.drops)
    report(rich, out=folder / "rich.html", selection="large", training=trained(rich, folder))
    report(bare, out=folder / "bare.html")
    report(with_restyled_views(folder / "restyled"), out=folder / "restyled.html")
    return {name: folder / f"{name}.html" for name in ("rich", "bare", "restyled")}


def with_restyled_views(folder: Path) -> Dataset:
    """Two views of a lamp, and what a model made of each."""
    dataset = make_dataset(folder)
    for number in (1, 2):
        add_view(dataset, "attic", "lamp", number)
        add_restyled(dataset, "attic", "lamp", number + 2, parent=number, view_index=2 - number)
    dataset.rebuild_index()
    return dataset


def trained(dataset: Dataset, folder: Path) -> Path:
    """A run of eight steps on some of the views, and again on them as a source of the noisier half."""
    ids = [view.view_id for view in dataset.views()][:20]
    views = [{"view_id": each, "split": "train" if number % 5 else "held-out"} for number, each in enumerate(ids)]
    choose(dataset, "few", views)
    nothing_said = {"captions": {"short": 0.0, "dense": 0.0, "none": 1.0}}
    source = {"dataset": str(dataset.root), "selection": "few", **nothing_said}
    noisier = {"name": "synthetic", "bands": [{"lo": 0.5, "unit": "fraction"}]}
    sources = [source | {"name": "render", "bands": [{}]}, source | noisier]
    validation = {"prompts": ["a lamp"], "every": 16, "steps": 2}
    config = config_of(
        stable_diffusion(folder / "model"), dataset.root, folder / "run", source=sources, validation=validation
    )
    return run_of(config).state.folder


@pytest.fixture
def page(browser: Browser, pages: dict[str, Path]) -> Iterator[Page]:
    """The rich page, which must stay without errors and without requests."""
    yield from opened(browser, pages["rich"])


def opened(browser: Browser, path: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url[:80]))
    page.goto(path.as_uri())
    page.wait_for_selector(".sheet .tile")
    yield page
    allowed = (path.as_uri(), "data:image/webp;base64,", "data:image/png;base64,")
    assert [each for each in complaints if not each.startswith(allowed)] == []
    page.close()


def numbers(page: Page) -> list[int]:
    """The numbers of the views on the sheet, in its order."""
    ids = page.locator(".sheet .tile").evaluate_all("tiles => tiles.map(tile => tile.dataset.view)")
    return [int(view.rpartition("-")[2]) for view in ids]


def test_it_pages(page: Page) -> None:
    expect(page.locator("#pager")).to_contain_text("1–100")
    first = numbers(page)
    page.get_by_role("button", name="Next").first.click()
    expect(page.locator("#pager")).to_contain_text("101–110")
    assert sorted(first + numbers(page)) == list(range(VIEWS))
    expect(page.get_by_role("button", name="Next").first).to_be_disabled()


def test_it_sorts_by_a_figure(page: Page) -> None:
    page.get_by_role("button", name="Sort views by Subject's share of the picture").click()
    assert numbers(page) == list(range(100))
    page.get_by_role("button", name="Lowest first").click()
    assert numbers(page) == list(range(VIEWS - 1, VIEWS - 101, -1))


def test_it_filters_by_words_by_choice_and_by_a_bar(page: Page) -> None:
    page.get_by_label("Search").click()
    page.keyboard.type("barrel")
    expect(page.locator("#count")).to_have_text("55 of 110 views")
    page.get_by_role("combobox", name="Show").select_option(label="Failed the last check")
    expect(page.locator("#count")).to_have_text("11 of 110 views")
    page.get_by_role("button", name="Remove: Show all").click()
    expect(page.locator("#count")).to_have_text("110 views")

    page.locator("[data-figure=subject_share] .place").first.click()
    bar = numbers(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert sorted(numbers(page))[0] == sorted(bar)[-1] + 1
    page.get_by_role("button", name="Remove: Subject's share of the picture").click()
    expect(page.locator("#count")).to_have_text("110 views")


def test_the_reasons_of_the_funnel_lead_to_their_views(page: Page) -> None:
    expect(page.locator("#steps")).to_contain_text("selected by “large”")
    page.locator("#reasons").get_by_role("button", name="subject too small").click()
    assert sorted(numbers(page)) == list(range(50))
    expect(page.locator(".sheet .tile").first).to_contain_text("subject too small")


def test_passes_show_under_the_pointer(page: Page) -> None:
    picture = page.locator(".sheet .tile .frame").first
    source = picture.locator("img").get_attribute("src")
    picture.scroll_into_view_if_needed()
    picture.hover(position={"x": 60, "y": 50})
    expect(picture.locator(".kind")).to_have_text("Objects")
    assert picture.locator("img").get_attribute("src") != source
    page.mouse.move(2, 2)
    expect(picture.locator("img")).to_have_attribute("src", source or "")
    page.locator("#kinds").get_by_text("Depth").click()
    assert picture.locator("img").get_attribute("src") != source


def test_a_view_opens_turns_and_closes_by_keyboard(page: Page) -> None:
    page.locator(".sheet .tile").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="lamp")
    expect(dialog).to_contain_text("1 of 110")
    expect(dialog).to_contain_text("Not selected: subject too small")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog")).to_contain_text("2 of 110")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".sheet .tile").first).to_be_focused()


@pytest.mark.parametrize("width", [700, 1400])
def test_nothing_sticks_out_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_what_is_not_there_yet_is_a_command_and_no_empty_panel(browser: Browser, pages: dict[str, Path]) -> None:
    for page in opened(browser, pages["bare"]):
        for command in ("caption", "score", "select"):
            expect(page.locator("main")).to_contain_text(f"blendset {command} bare")
        empty = "cards => cards.filter(card => !card.innerText.trim()).map(card => card.outerHTML)"
        assert page.locator("section, .group, #reasons > div, .figure").evaluate_all(empty) == []


def test_it_shows_a_training_run_by_band_and_source(page: Page) -> None:
    charts = page.locator("#losses .figure")
    expect(charts).to_have_count(2)
    expect(charts.nth(0)).to_contain_text("render, 100 % of the band")
    expect(charts.nth(1)).to_contain_text("synthetic, 50 % of the band")
    assert page.locator("#losses polyline").count() == 3
    ends = charts.nth(0).locator("polyline").get_attribute("points")
    assert ends and ends.split()[-1].startswith("400,")
    expect(page.locator("#losses circle title").first).to_have_text(re.compile(r"held out, after 16 pictures: \d"))
    expect(page.locator("#grids figcaption")).to_have_text(["after 16 pictures", "after 32 pictures"])
    assert page.locator("#grids img").evaluate_all("all => all.every((each) => each.naturalWidth > 0)")


def test_it_shows_what_was_made_of_a_set_below_the_set(browser: Browser, pages: dict[str, Path]) -> None:
    for page in opened(browser, pages["restyled"]):
        expect(page.locator("#synthesis")).to_contain_text("2 views in 1 set")
        expect(page.locator("#synthesis h3")).to_have_text("a red lamp")
        expect(page.locator("#synthesis")).to_contain_text("blendset score restyled --with consistency")
        strips = page.locator("#synthesis .strip")
        for strip, numbers in ((0, (2, 1)), (1, (4, 3))):
            strips.nth(strip).scroll_into_view_if_needed()
            tiles = strips.nth(strip).locator(".tile")
            expect(tiles).to_have_count(2)
            ids = tiles.evaluate_all("all => all.map((each) => each.dataset.view)")
            assert ids == [f"lamp-{number:04d}" for number in numbers]
        expect(page.locator("#steps li")).to_have_text(
            [re.compile("^2best"), re.compile("^2passed.*100 %$"), re.compile("^4views in all")]
        )


def test_a_page_has_no_section_for_what_there_is_not(browser: Browser, pages: dict[str, Path]) -> None:
    for page in opened(browser, pages["bare"]):
        for section in ("Training", "Synthesis"):
            expect(page.locator(f"#{section.lower()}")).to_have_count(0)
            expect(page.locator("#sections")).not_to_contain_text(section)
