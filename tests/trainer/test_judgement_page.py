# SPDX-License-Identifier: Apache-2.0
"""Evaluations and comparisons on pages: every value with its mark at the right spot, whatever titles say, offline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import read_record, write_json
from blendset_trainer.cli.main import main
from blendset_trainer.evaluation.records import EVALUATIONS, Comparison, Difference, Evaluation, Examples, Score
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evaluation.titles import name_figure
from blendset_trainer.evaluation.votes.bradley_terry import Strength, WinRate
from blendset_trainer.evaluation.votes.count import VoteResult
from blendset_trainer.reporting.axes import choose_axis, choose_scale_axis, format_values
from blendset_trainer.reporting.comparison import write_comparison_page
from blendset_trainer.reporting.judgement import shorten_revision
from blendset_trainer.reporting.report import report
from tests.trainer.browsers import open_browser
from tests.trainer.tiny_datasets import add_view, make_dataset

HOSTILE = "<script>document.title = 'run'</script> & co"
UNITS = 6
CLIP = "clip-vit-l-14"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from open_browser()


def score(name: str, better: str, scale: str, estimate: Estimate, *, selected: bool = False) -> Score:
    scorer, _, _ = name.rpartition(".")
    revision = "5251" * 10
    return Score(
        name=name, scorer=scorer, revision=revision, scale=scale, better=better, pictures=9, estimate=estimate,
        selected=selected,
    )  # fmt: skip


def evaluation(title: str, shift: float = 0.0) -> Evaluation:
    """Of a cosine from 0.20 to 0.40 and a distance from 10 to 30, both moved, and of a grey level."""
    scores = (
        score(f"{CLIP}.similarity", "higher", "cosine, -1 to 1", Estimate(0.3 + shift, 0.2 + shift, 0.4 + shift, 9),
              selected=True),
        score("dino-base.frechet", "lower", "Fréchet distance", Estimate(20 - 50 * shift, 10, 30, 9)),
        score("image-stats.mean", "", "grey levels, 0 to 255", Estimate(102, 51, 204, 9)),
    )  # fmt: skip
    return Evaluation(
        name="result", title=title, pictures=9, unit="prompt", units=9, against="photos", against_pictures=1200, seed=0,
        scores=scores, notes=(f"{title}: a note",),
    )  # fmt: skip


def comparison(titles: Sequence[str]) -> Comparison:
    """Of sets of which each is better by CLIP, worse by the distance, and brighter than the first."""
    changes = {
        f"{CLIP}.similarity": Estimate(0.1, 0.05, 0.2, 9, 0.6),
        "dino-base.frechet": Estimate(3, 1, 5, 9),
        "image-stats.mean": Estimate(4, -4, 12, 9, 0.1),
    }
    return Comparison(
        evaluations=tuple(evaluation(title, 0.1 * number) for number, title in enumerate(titles)),
        differences=tuple(
            Difference(name=name, other=other, estimate=change, is_paired=True)
            for other in titles[1:]
            for name, change in changes.items()
        ),
        notes=("2 prompts are not in all sets and do not count",),
    )


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `blendset compare` writes of two sets of real pictures of the same prompts, one brighter."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "prompts.txt").write_text("".join(f"a lamp, {n}\n" for n in range(UNITS)), "utf-8")
    for name, low in (("dim", 0), ("bright", 100)):
        (folder / name).mkdir()
        for number in range(UNITS):
            pixels = np.random.default_rng(number).integers(low, low + 80, (6, 8, 3), np.uint8)
            Image.fromarray(pixels).resize((64, 48)).save(folder / name / f"{number}.png")
    words = ["--prompts", str(folder / "prompts.txt"), "--with", "image-stats", "--out", str(folder / "out")]
    assert main(["compare", str(folder / "dim"), str(folder / "bright"), *words]) == 0
    return folder / "out"


def make_evaluated(folder: Path) -> Dataset:
    """A view, with an evaluation of a hostile title."""
    dataset = make_dataset(folder)
    add_view(dataset, "attic", "lamp", 1)
    dataset.rebuild_index()
    write_json(dataset.root / EVALUATIONS / "result.json", evaluation(HOSTILE))
    return dataset


def open_page(browser: Browser, path: Path, width: int = 1400) -> Iterator[Page]:
    """A page that must stay without errors and without requests."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url[:300]))
    page.goto(path.as_uri())
    yield page
    assert [each for each in complaints if not each.startswith((path.as_uri(), "data:image/webp;base64,"))] == []
    page.close()


def read_marks(page: Page, figure: str) -> list[tuple[str, str, str]]:
    """The low end, value and high end of each dot of a figure, as its SVG has them."""
    rows = page.locator(f"[data-figure='{figure}'] svg:has(> circle)")
    mark = "svg => [svg.querySelector('line.reach').getAttribute('x1'), svg.querySelector('circle').getAttribute('cx'),"
    return [tuple(row.evaluate(f"{mark} svg.querySelector('line.reach').getAttribute('x2')]")) for row in rows.all()]


def test_marks_of_an_evaluation_lie_on_the_axis_of_its_scale(browser: Browser, tmp_path: Path) -> None:
    report(make_evaluated(tmp_path / "one"), out=tmp_path / "report.html")
    for page in open_page(browser, tmp_path / "report.html"):
        section = page.locator("#evaluation")
        expect(page.locator("#sections")).to_contain_text("Evaluation")
        assert read_marks(page, f"{CLIP}.similarity") == [("20.0%", "30.0%", "40.0%")]
        assert read_marks(page, "image-stats.mean") == [("20.0%", "40.0%", "80.0%")]
        assert read_marks(page, "dino-base.frechet") == [("33.33%", "66.67%", "100.0%")]
        expect(section.locator(f"[data-figure='{CLIP}.similarity']")).to_contain_text("CLIPScore ↑")
        expect(section.locator(f"[data-figure='{CLIP}.similarity']")).to_contain_text("0.30 [0.20, 0.40]")
        expect(section.locator(".single .badge")).to_have_text(["chose the data"])
        expect(section).to_contain_text("9 pictures; intervals are over 9 prompts; distances are to 1,200 pictures of")
        expect(section.locator("h3")).to_contain_text(HOSTILE)
        expect(section.locator(".notes")).to_have_text([f"{HOSTILE}: a note"])
        assert page.title() == f"{make_dataset(tmp_path / 'other').record.name}: dataset report"


def test_a_report_without_evaluations_has_no_section(browser: Browser, tmp_path: Path) -> None:
    dataset = make_evaluated(tmp_path / "one")
    (dataset.root / EVALUATIONS / "result.json").unlink()
    report(dataset, out=tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r'id="(evaluation|comparisons)"|--set-0|class="interval', text)
    for page in open_page(browser, tmp_path / "report.html"):
        expect(page.locator("#sections a").first).to_be_visible()
        expect(page.locator("#sections")).not_to_contain_text("Evaluation")


def test_marks_of_a_comparison_share_an_axis_and_differences_have_a_zero_line(browser: Browser, tmp_path: Path) -> None:
    path = write_comparison_page(comparison(["plain", HOSTILE]), tmp_path)
    for page in open_page(browser, path):
        expect(page.locator("h1")).to_have_text(f"plain against {HOSTILE}")
        assert page.title() == f"plain against {HOSTILE}"
        # one axis from 0.2 to 0.5 for both
        assert read_marks(page, f"{CLIP}.similarity") == [("0.0%", "33.33%", "66.67%"), ("33.33%", "66.67%", "100.0%")]
        expect(page.locator(f"[data-figure='{CLIP}.similarity'] .axes svg").nth(0)).to_have_text("0.20.5")
        # and one from 0 to 0.2 for the difference
        change = page.locator(f"[data-figure='{CLIP}.similarity'] .better svg:has(> line.reach)")
        assert change.locator("line.reach").evaluate("line => [line.getAttribute('x1'), line.getAttribute('x2')]") == [
            "25.0%",
            "100.0%",
        ]
        assert change.locator("line.origin").get_attribute("x1") == "0.0%"
        assert change.locator("svg:has(.value)").get_attribute("x") == "50.0%"
        expect(page.locator(".verdict b")).to_have_text(["better", "worse", "no difference"])
        expect(page.locator(".verdict").nth(1)).to_have_text("better medium effect, d 0.60+0.10 [0.05, 0.20]")
        expect(page.locator(".sets")).to_contain_text("1 better 1 worse 0 no difference")
        expect(page.locator(".notes li")).to_have_text(
            ["2 prompts are not in all sets and do not count", "plain: a note", f"{HOSTILE}: a note"]
        )


@pytest.mark.parametrize("width", [380, 900, 1400])
def test_nothing_sticks_out_sideways(browser: Browser, tmp_path: Path, width: int) -> None:
    titles = ["plain", "a-name-" * 12, "x" * 70, HOSTILE]
    compared = comparison(titles)
    write_json(tmp_path / "comparison.json", compared)
    dataset = make_evaluated(tmp_path / "one")
    report(dataset, out=tmp_path / "report.html", comparison=[tmp_path, tmp_path])
    for path in (write_comparison_page(compared, tmp_path), tmp_path / "report.html"):
        for page in open_page(browser, path, width):
            marks = page.locator(".interval").evaluate_all("all => all.map((each) => each.getBoundingClientRect())")
            assert len(marks) >= 24
            assert all(each["width"] >= 60 and each["right"] <= width for each in marks)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            wide = "all => all.filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.outerHTML)"
            assert page.locator(".forest-row > p, .single > p, .name").evaluate_all(wide) == []


def test_compare_writes_a_page_with_pictures_of_the_same_prompts(browser: Browser, compared: Path) -> None:
    examples = read_record(compared / "examples.json", Examples)
    assert sorted(each.prompt for each in examples.units) == [f"a lamp, {number}" for number in range(UNITS)]
    assert all((compared / name).is_file() for each in examples.units for name in each.pictures)
    for page in open_page(browser, compared / "comparison.html"):
        expect(page.locator(".example")).to_have_count(UNITS)
        assert page.locator(".example img").evaluate_all("all => all.every((each) => each.naturalWidth == 64)")
        greys = page.locator("[data-figure='image-stats.mean'] .verdict").nth(1)
        expect(greys).to_contain_text("more large effect")
    before = (compared / "comparison.html").read_bytes()
    write_comparison_page(read_record(compared / "comparison.json", Comparison), compared)
    assert (compared / "comparison.html").read_bytes() == before


def test_a_report_shows_comparisons(browser: Browser, compared: Path, tmp_path: Path) -> None:
    dataset, out = make_evaluated(tmp_path / "one"), tmp_path / "report.html"
    assert main(["report", str(dataset.root), "--comparison", str(compared), "--out", str(out)]) == 0
    for page in open_page(browser, out):
        expect(page.locator("#comparisons h3").first).to_have_text("dim against bright")
        expect(page.locator("#comparisons .example")).to_have_count(UNITS)
    with pytest.raises(BlendsetError, match=r"comparison\.json"):
        report(dataset, out=out, comparison=tmp_path / "nowhere")


def test_a_picture_that_is_gone_leaves_a_word(browser: Browser, compared: Path, tmp_path: Path) -> None:
    examples = read_record(compared / "examples.json", Examples)
    gone = replace(examples.units[0], pictures=("gone.png", str(compared / examples.units[0].pictures[1])))
    write_json(tmp_path / "examples.json", replace(examples, units=(gone,)))
    path = write_comparison_page(read_record(compared / "comparison.json", Comparison), tmp_path)
    for page in open_page(browser, path):
        expect(page.locator(".example .missing")).to_have_text("This picture cannot be read.")
        expect(page.locator(".example img")).to_have_count(1)


def test_votes_stand_on_axes_around_chance(browser: Browser, tmp_path: Path) -> None:
    votes = VoteResult(
        title="vote", question="Which picture is better?",
        strengths=(Strength("tuned", Estimate(0.5, 0.25, 0.75, 9)), Strength("plain", Estimate(-0.5, -0.75, -0.25, 9))),
        win_rates=(WinRate("plain", "tuned", Estimate(0.25, 0.1, 0.4, 9), 30, 2),),
        votes=30, ties=2, units=9, voters=(), left_out=("v3 failed",), notes=(), order_bias=0.2,
    )  # fmt: skip
    path = write_comparison_page(comparison(["plain", "tuned"]), tmp_path, votes)
    for page in open_page(browser, path):
        section = page.locator("section:has(#votes-title)")
        expect(section.locator("h2")).to_have_text("Votes: Which picture is better?")
        expect(section).to_contain_text("30 votes (2 ties) on 9 units. A model judged 20% of its pairs otherwise")
        dots = section.locator("circle").evaluate_all("all => all.map((each) => each.getAttribute('cx'))")
        assert dots == ["25.0%", "75.0%", "25.0%"]
        origins = section.locator("line.origin").evaluate_all("all => all.map((each) => each.getAttribute('x1'))")
        assert origins == ["50.0%"] * 3


def test_axes_hold_their_values_in_few_round_steps() -> None:
    rng = np.random.default_rng(0)
    for exponent in range(-9, 9):
        low, high = sorted(rng.normal(size=2) * 10.0**exponent)
        numbers = choose_axis([low, high]).numbers
        assert numbers[0] <= low <= high <= numbers[-1]
        assert 2 <= len(numbers) <= 5
        assert high - low > 0.2 * (numbers[-1] - numbers[0])
    assert choose_axis([0, 0]).ticks[1].text == "0"
    assert choose_scale_axis("share, 0 to 1", [Estimate(0.9, 0.8, 1.1, 9)]).numbers == (0, 0.5, 1, 1.5)
    assert choose_scale_axis("cosine, -1 to 1", [Estimate(0.1, -0.1, 0.2, 9)]).numbers == (-1, 1)
    assert choose_scale_axis("true or false", [Estimate(0.1, 0, 0.2, 9)]).numbers == (0, 1)


def test_numbers_have_the_digits_that_their_intervals_bear() -> None:
    narrow, wide = Estimate(0.31236, 0.30512, 0.31984, 9), Estimate(0.4, 0.3, 0.5, 9)
    assert format_values([narrow]) == [("0.312", "[0.305, 0.320]")]
    assert format_values([narrow, wide]) == [("0.312", "[0.305, 0.320]"), ("0.400", "[0.300, 0.500]")]
    assert format_values([Estimate(-1234.5, -1300, -1170, 9)], is_signed=True) == [("−1234", "[−1300, −1170]")]
    assert format_values([Estimate(0.002, -0.2, 0.2, 9)], is_signed=True) == [("+0.00", "[−0.20, 0.20]")]
    assert format_values([Estimate(3, 3, 3, 9)]) == [("3", "")]


def test_figures_have_the_names_of_their_field() -> None:
    assert name_figure(CLIP, f"{CLIP}.retrieval") == "CLIP-R"
    assert name_figure("masked-dino-base", "masked-dino-base.references") == "M-DINO, identity"
    assert name_figure("geometry", "geometry.agreement") == "Geometric agreement"
    assert name_figure("unknown", "unknown.some_thing") == "Some thing"
    assert shorten_revision(f"{'a1' * 20} over {'b2' * 20}, v2") == "a1a1a1a1 over b2b2b2b2, v2"
