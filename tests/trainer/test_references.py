# SPDX-License-Identifier: Apache-2.0
"""Models learn from pictures beside references and draw by them; dropped and unseen references are as if not there."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.main import main
from blendset_trainer.diffusion.families import Conditions, Family
from blendset_trainer.diffusion.guidance import normalise_guidance
from blendset_trainer.diffusion.reference_attention import reference_attention
from blendset_trainer.diffusion.references import denoise
from blendset_trainer.training.data.loader import Batch, Loader
from blendset_trainer.training.data.references import ReferenceSettings, draw_dropout
from blendset_trainer.training.data.sources import CaptionWeights, Source, SourceSettings, load_source
from blendset_trainer.training.finishing import finish
from blendset_trainer.training.losses import compute_losses, sample_levels
from blendset_trainer.training.setup import resolve_references
from blendset_trainer.training_runs import read_log
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.tiny_pipelines import PIXELS, Make, maker
from tests.trainer.tiny_runs import Run, config_of, prepared, run_of, weights_of
from tests.trainer.tiny_training import load

KINDS = ["stable_diffusion_xl", "flux"]
WORDLESS = {"short": 0.0, "dense": 0.0, "none": 1.0}
CHAIR = 7
UNDROPPED = {"drop_text": 0.0, "drop_images": 0.0, "drop_both": 0.0}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two sets of four views, three views of a subject without a set, one alone; a chair fills the left of each."""
    made = make_dataset(tmp_path_factory.mktemp("dataset") / "dataset")
    add_scene(made, "attic")
    ids = np.zeros((PIXELS, PIXELS), np.uint32)
    ids[:, : PIXELS // 2] = CHAIR
    random = np.random.default_rng(0)
    for subject, count, among in (("chair", 4, "orbit"), ("stool", 4, "orbit-2"), ("sofa", 3, ""), ("lamp", 1, "")):
        for number in range(count):
            rgb = random.integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8)
            add_picture(
                made, "attic", subject, number, rgb, ids, subject_objects=(CHAIR,), view_set=among, view_index=number
            )
    made.rebuild_index()
    return made


def source_of(dataset: Dataset, **settings: Any) -> Source:
    given: dict[str, Any] = {
        "name": "render",
        "dataset": str(dataset.root),
        "captions": CaptionWeights(**WORDLESS),
    } | settings
    return load_source(SourceSettings(**given), references=True)


def batches_of(source: Source, many: int, **settings: Any) -> list[Batch]:
    given: dict[str, Any] = {"count": 2, "noise": "same"} | UNDROPPED | settings
    references = ReferenceSettings(**given)
    feed = Loader([source], {"render": 1.0}, ((PIXELS, PIXELS),), micro_batch=2, seed=0, references=references)
    with feed:
        return list(islice(feed, many))


def configured(pipeline: Make, dataset: Dataset, kind: str, out: Path, **changes: Any) -> Any:
    source = [{"name": "render", "dataset": str(dataset.root), "captions": WORDLESS}]
    given = {"source": source, "model": {"method": "lora", "rank": 2}, "references": {"count": 2}}
    return config_of(pipeline(kind), dataset.root, out, **given | changes)


# ---- which references, and when --------------------------------------------------------------------------------------


def test_references_are_other_views_of_the_set_or_else_of_the_subject(dataset: Dataset) -> None:
    source = source_of(dataset)
    assert source.left_out == {"no other view of its set or subject": 1}
    groups = {
        source[number].id: {source[other].id for other in source.find_siblings(number)} for number in range(len(source))
    }
    assert groups["chair-0001"] == {"chair-0000", "chair-0002", "chair-0003"}
    assert groups["sofa-0002"] == {"sofa-0000", "sofa-0001"}
    assert "lamp-0000" not in groups


def test_they_are_others_each_time_and_the_same_on_every_run(dataset: Dataset) -> None:
    source = source_of(dataset)
    first, again = (batches_of(source, 22) for _ in range(2))
    by_sample: dict[str, set[bytes]] = {}
    for batch, same in zip(first, again, strict=True):
        assert batch.references and same.references and batch.references.pixels is not None
        assert batch.pixels is not None
        assert torch.equal(batch.references.pixels, same.references.pixels)  # type: ignore[arg-type]
        for name, picture, shown in zip(batch.ids, batch.pixels, batch.references.pixels, strict=True):
            by_sample.setdefault(name, set()).add(shown.numpy().tobytes())
            assert not any(torch.equal(picture, each) for each in shown)
            assert not torch.equal(shown[0], shown[1])
    assert all(len(combinations) > 1 for name, combinations in by_sample.items())


def test_only_the_subject_is_seen_unless_asked_otherwise(dataset: Dataset) -> None:
    source = source_of(dataset)
    for masked in (True, False):
        seen = batches_of(source, 1, masked=masked)[0].visibility
        assert seen is not None
        assert seen[..., : PIXELS // 2].all() and bool(seen[..., PIXELS // 2 :].any()) is not masked


def test_where_there_are_too_few_the_rest_is_unseen(dataset: Dataset) -> None:
    for batch in batches_of(source_of(dataset), 6, count=3):
        assert batch.visibility is not None
        shown = batch.visibility.flatten(2).any(dim=2).sum(dim=1).tolist()
        assert shown == [2 if name.startswith("sofa") else 3 for name in batch.ids]


def test_captions_and_references_are_dropped_as_often_as_asked() -> None:
    settings = ReferenceSettings(count=1, drop_text=0.1, drop_images=0.2, drop_both=0.3)
    draws = [draw_dropout(settings, 0, f"view-{number}", repeat) for number in range(500) for repeat in range(8)]
    shares = [draws.count(each) / len(draws) for each in ((True, False), (False, True), (True, True))]
    assert shares == pytest.approx([0.1, 0.2, 0.3], abs=0.03)
    assert draws[:8] == [draw_dropout(settings, 0, "view-0", repeat) for repeat in range(8)]


def test_a_dropped_caption_is_no_caption_and_dropped_references_are_unseen(dataset: Dataset) -> None:
    source = source_of(dataset)
    words = source.rows.set_column(source.rows.schema.get_field_index("dense"), "dense", [["a chair"] * len(source)])
    settings = replace(source.settings, captions=CaptionWeights(short=0, dense=1, none=0))
    worded = replace(source, rows=words, settings=settings)
    for drops in ({"drop_text": 1.0}, {"drop_images": 1.0}, {"drop_both": 1.0}, {}):
        (batch,) = batches_of(worded, 1, **drops)
        assert batch.visibility is not None
        assert set(batch.captions) == ({""} if drops.keys() & {"drop_text", "drop_both"} else {"a chair"})
        assert bool(batch.visibility.any()) is not bool(drops.keys() & {"drop_images", "drop_both"})
    assert set(worded.list_captions(worded[0])) == {"", "a chair"}, "references are encoded without words"


# ---- training --------------------------------------------------------------------------------------------------------


def losses_of(run: Run, batch: Batch) -> Tensor:
    torch.manual_seed(0)
    levels = sample_levels(run.data.plan, batch, seed=0)
    with torch.no_grad(), reference_attention(run.model, batch.visibility):
        return compute_losses(run.model, run.data.encode_prompts, batch, levels, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unseen_is_as_if_not_there(pipeline: Make, dataset: Dataset, kind: str, tmp_path: Path) -> None:
    run = prepared(configured(pipeline, dataset, kind, tmp_path))
    batch = batches_of(run.data.sources[0], 1)[0]
    assert batch.references
    alone = losses_of(run, replace(batch, references=None))
    blind = replace(batch.references, visibility=torch.zeros_like(batch.references.visibility))
    torch.testing.assert_close(losses_of(run, replace(batch, references=blind)), alone, atol=1e-5, rtol=1e-5)
    assert batch.references.pixels is not None
    other = replace(blind, pixels=255 - batch.references.pixels)
    assert torch.equal(
        losses_of(run, replace(batch, references=other)), losses_of(run, replace(batch, references=blind))
    )
    assert ((losses_of(run, batch) - alone).abs() > 1e-5).all()


@pytest.mark.parametrize(("kind", "shown"), [("stable_diffusion_xl", "same"), ("flux", "clean")])
def test_references_have_the_noise_that_their_family_gives_them(
    pipeline: Make, dataset: Dataset, kind: str, shown: str, tmp_path: Path
) -> None:
    run = prepared(configured(pipeline, dataset, kind, tmp_path))
    times: list[Tensor] = []
    run.model.module.register_forward_pre_hook(
        lambda module, given, options: times.append(options["timestep"].unflatten(0, (-1, 3))), with_kwargs=True
    )
    settings = resolve_references(run.model, ReferenceSettings(count=2))
    assert settings.noise == shown
    for noise in ("same", "clean"):
        losses_of(run, batches_of(run.data.sources[0], 1, noise=noise)[0])
    same, clean = times
    assert torch.equal(same, same[:, :1].expand(-1, 3))
    assert (clean[:, 0] > 0).all() and not clean[:, 1:].any()


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_learns_beside_references_and_an_interrupted_one_is_the_same(
    pipeline: Make, dataset: Dataset, kind: str, cache: bool, tmp_path: Path
) -> None:
    often = {"count": 2, "drop_text": 0.2, "drop_images": 0.2, "drop_both": 0.2}

    def run(out: str, samples: int) -> Run:
        changes = {"train": {"cache": cache, "samples": samples}, "references": often}
        learning = {"optimizer": {"learning_rate": 1e-2}}
        return run_of(configured(pipeline, dataset, kind, tmp_path / out, **changes, **learning))

    whole = run("whole", 12)
    run("parts", 8)
    again = run("parts", 12)
    before, after = weights_of(prepared(configured(pipeline, dataset, kind, tmp_path / "new"))), weights_of(whole)
    assert any(not torch.equal(before[name], after[name]) for name in after)
    assert all(torch.equal(after[name], each) for name, each in weights_of(again).items())
    logs = [
        [row["loss"] for row in read_log(each.state.folder / "log.jsonl") if "loss" in row] for each in (whole, again)
    ]
    assert logs[0] == logs[1]


def test_gradient_checkpointing_changes_nothing(pipeline: Make, dataset: Dataset, tmp_path: Path) -> None:
    weights = []
    for checkpointing in (False, True):
        model = {"method": "lora", "rank": 2, "gradient_checkpointing": checkpointing}
        changes = {"model": model, "train": {"samples": 4}}
        out = tmp_path / str(checkpointing)
        weights.append(weights_of(run_of(configured(pipeline, dataset, "flux", out, **changes))))
    for name, each in weights[0].items():
        torch.testing.assert_close(weights[1][name], each, atol=1e-6, rtol=1e-5)


def test_what_cannot_be_is_one_sentence(pipeline: Make, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match=r"PixArt-Σ cannot be shown references; use references\.count = 0, or a"):
        prepared(configured(pipeline, dataset, "pixart_sigma", tmp_path))
    with pytest.raises(BlendsetError, match=r"'render' has no single views of a dataset, which references are taken"):
        source_of(dataset, layout="grid")
    lonely = make_dataset(tmp_path / "lonely")
    add_scene(lonely, "attic")
    add_picture(lonely, "attic", "lamp", 0, np.zeros((PIXELS, PIXELS, 3), np.uint8))
    lonely.rebuild_index()
    with pytest.raises(BlendsetError, match=r"no other view of its set or subject: 1\); render several views of each"):
        source_of(lonely)


# ---- guidance --------------------------------------------------------------------------------------------------------


def test_guidance_is_the_published_formula() -> None:
    unconditional = torch.tensor([[[0.0, 0.0]]])
    image = torch.tensor([[[3.0, 4.0]]])  # 5 away
    full = torch.tensor([[[3.0, 14.0]]])  # 10 further
    guided = normalise_guidance(unconditional, image, full, image_scale=2.0, text_scale=3.0, dims=(1, 2))
    torch.testing.assert_close(guided, torch.tensor([[[3.0 + 2 * 3, 4.0 + 2 * 4 + 3 * 5]]]))


def test_guidance_takes_each_picture_by_itself_and_bears_equal_predictions() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two, three = torch.randn(3, 4, 2, 8, 8, generator=generator)
    dims = (1, 2, 3)
    together = normalise_guidance(one, two, three, 8.0, 7.5, dims)
    for row in range(4):
        part = slice(row, row + 1)
        torch.testing.assert_close(together[part], normalise_guidance(one[part], two[part], three[part], 8, 7.5, dims))
    assert torch.equal(normalise_guidance(one, one, one, 8.0, 7.5, dims), one)
    assert torch.equal(normalise_guidance(one, one, three, 8.0, 7.5, dims), one)
    assert torch.equal(normalise_guidance(one, two, two, 8.0, 7.5, dims), two)


# ---- sampling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "flux_schnell"])
def test_our_loop_denoises_as_the_pipeline_does(pipeline: Make, kind: str) -> None:
    family = load(pipeline(kind))
    channels, side = family.pipeline.vae.config.latent_channels, PIXELS // family.pixels_per_latent
    noise = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        texts = family.encode_prompts(["a red chair"])
        conditions = replace(Conditions.from_size(1, PIXELS, PIXELS), guidance=3.5)

        def predict(noisy: Tensor, level: Tensor) -> Tensor:
            return family.predict(noisy, level, texts, conditions)

        ours = denoise(family, predict, noise.to(family.module.device), 4, torch.Generator())
    options: dict[str, Any] = {"guidance_scale": 3.5 if kind.startswith("flux") else 1.0}
    options |= family.build_sampling_options(None) | {"num_inference_steps": 4, "height": PIXELS, "width": PIXELS}
    stock = family.pipeline("a red chair", latents=start(family, noise), output_type="latent", **options).images
    torch.testing.assert_close(ours, family.unpack_latents(stock, PIXELS, PIXELS).float(), atol=1e-4, rtol=1e-4)


def start(family: Family, noise: Tensor) -> Tensor:
    """Noise as the pipeline takes it."""
    noise = noise.to(family.module.device)
    if family.name != "FLUX":
        return noise
    return family.pipeline._pack_latents(noise, 1, *noise.shape[1:])  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model_draws_by_references(pipeline: Make, dataset: Dataset, kind: str, tmp_path: Path) -> None:
    lora = finish(*run_of(configured(pipeline, dataset, kind, tmp_path / "run", train={"samples": 4})))
    pictures = {
        "red": Image.new("RGB", (40, 60), (255, 0, 0)),
        "blue": Image.new("RGB", (60, 40), (0, 0, 255)),
        "clear": Image.new("RGBA", (60, 40), (0, 0, 255, 0)),
        "clear red": Image.new("RGBA", (60, 40), (255, 0, 0, 0)),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")

    def drawn(*references: str, more: tuple[str, ...] = ()) -> bytes:
        out = tmp_path / f"out {' '.join((*references, *more))}"
        words = [word for name in references for word in ("--reference", str(tmp_path / f"{name}.png"))]
        given = ["--lora", str(lora), "--steps", "2", "--width", str(PIXELS), "--height", str(PIXELS), *words, *more]
        assert main(["sample", str(pipeline(kind)), "--prompt", "a chair", "--out", str(out), *given]) == 0
        return (out / "0000.png").read_bytes()

    red = drawn("red")
    assert drawn("red") == red
    assert drawn("blue") != red
    assert drawn("red", "blue", more=("--image-scale", "20")) != red
    assert drawn("clear") == drawn("clear red"), "what can be seen through is not seen"


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--reference", "nowhere.png"], "nowhere.png cannot be read", 1),
        (
            ["--reference", "a.png", "--cfg-scale", "5"],
            "--cfg-scale and --embedded-guidance are for pictures without references",
            2,
        ),
        (["--text-scale", "5"], "--image-scale and --text-scale are for pictures with references", 2),
    ],
)
def test_mistakes_in_sampling_are_one_sentence(
    pipeline: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str, code: int
) -> None:
    size = ["--width", str(PIXELS), "--height", str(PIXELS)]
    given = ["--prompt", "a chair", "--out", str(tmp_path / "out"), *size, *words]
    assert main(["sample", str(pipeline("flux")), *given]) == code
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_other_families_draw_by_no_references(
    pipeline: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--prompt", "a chair", "--out", str(tmp_path), "--reference", "a.png"]
    assert main(["sample", str(pipeline("pixart_sigma")), *given]) == 1
    assert "PixArt-Σ cannot be shown references; leave them out" in capsys.readouterr().err
