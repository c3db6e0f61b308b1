# SPDX-License-Identifier: Apache-2.0
"""Pictures of a view set see of each other what their masks allow and nothing else, in every family: exactly, for what
must not be seen is compared bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.families import Conditions, Family
from blendset_trainer.diffusion.lora import add_lora
from blendset_trainer.diffusion.shared_attention import ViewSets, label_tokens, rotary_positions, share_attention
from blendset_trainer.diffusion.shared_attention.processor import SharedAttnProcessor
from tests.trainer.tiny_pipelines import PIXELS, Make, maker
from tests.trainer.tiny_training import DEVICE, load

KINDS = ["flux", "stable_diffusion_3", "stable_diffusion_xl", "stable_diffusion", "pixart_sigma"]
PICTURES, GRID, TEXTS = 3, (4, 6), 5
TOKENS = GRID[0] * GRID[1]
CHAIR, LAMP = 7, 9
HEADS, WIDTH = 2, 16
CHANNELS = HEADS * WIDTH
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


# ---- single layers, in which nothing but attention takes anything from one picture to another ------------------------


@dataclass(frozen=True)
class Layer:
    """A model of one block, and how that block is called with pictures and texts (B, tokens, CHANNELS); it returns
    what becomes of both, or of pictures alone.
    """

    denoiser: Any
    call: Callable[[Any, Tensor, Tensor], Any]

    def __call__(self, pictures: Tensor, texts: Tensor, views: ViewSets | None = None) -> tuple[Tensor, Tensor]:
        self.denoiser.to(pictures)
        if views is None:
            return self._called(pictures, texts)
        with share_attention(self.denoiser, views):
            return self._called(pictures, texts)

    def _called(self, pictures: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            answer = self.call(self.denoiser, pictures, texts)
        return (answer[1], answer[0]) if isinstance(answer, tuple) else (answer, texts)


def flux(double: int, single: int) -> Layer:
    denoiser = diffusers.FluxTransformer2DModel(
        in_channels=64, num_layers=double, num_single_layers=single, attention_head_dim=WIDTH,
        num_attention_heads=HEADS, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip

    def call(model: Any, pictures: Tensor, texts: Tensor) -> Any:
        block = [*model.transformer_blocks, *model.single_transformer_blocks][0]
        rotary = model.pos_embed(torch.cat([torch.zeros(TEXTS, 3), rotary_positions(*GRID)]))
        return block(pictures, texts, torch.ones(len(pictures), CHANNELS).to(pictures), rotary)

    return Layer(denoiser, call)


def stable_diffusion_3(**more: Any) -> Layer:
    denoiser = diffusers.SD3Transformer2DModel(
        sample_size=16, in_channels=4, num_layers=2, attention_head_dim=WIDTH, num_attention_heads=HEADS,
        joint_attention_dim=32, caption_projection_dim=CHANNELS, pooled_projection_dim=32, pos_embed_max_size=16,
        **more,
    )  # fmt: skip
    return Layer(
        denoiser,
        lambda model, pictures, texts: model.transformer_blocks[0](
            pictures, texts, torch.ones(len(pictures), CHANNELS).to(pictures)
        ),
    )


def unet() -> Layer:
    denoiser = diffusers.UNet2DConditionModel(
        block_out_channels=(CHANNELS,), layers_per_block=1, norm_num_groups=8, cross_attention_dim=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",), up_block_types=("UpBlock2D",), mid_block_type=None,
        attention_head_dim=HEADS,
    )  # fmt: skip
    return Layer(
        denoiser,
        lambda model, pictures, texts: (
            model.down_blocks[0].attentions[0].transformer_blocks[0](pictures, encoder_hidden_states=texts)
        ),
    )


def pixart() -> Layer:
    denoiser = diffusers.PixArtTransformer2DModel(
        num_attention_heads=HEADS, attention_head_dim=WIDTH, cross_attention_dim=CHANNELS, num_layers=1, sample_size=16,
        caption_channels=32,
    )  # fmt: skip

    def call(model: Any, pictures: Tensor, texts: Tensor) -> Any:
        times = torch.ones(len(pictures), 6 * CHANNELS).to(pictures)
        return model.transformer_blocks[0](pictures, encoder_hidden_states=texts, timestep=times)

    return Layer(denoiser, call)


LAYERS = {
    "FLUX, double": lambda: flux(1, 0),
    "FLUX, single": lambda: flux(0, 1),
    "SD3": stable_diffusion_3,
    "SD3.5, dual": lambda: stable_diffusion_3(dual_attention_layers=(0,), qk_norm="rms_norm"),
    "U-Net": unet,
    "PixArt": pixart,
}
JOINT = [name for name in LAYERS if name.startswith(("FLUX", "SD3"))]


@pytest.fixture(scope="module", params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Layer:
    torch.manual_seed(0)
    return LAYERS[request.param]()


def chair_and_lamp() -> Tensor:
    """Ids (1, n, rows, columns) of a chair in the first two rows, lower from picture to picture, a lamp below it."""
    ids = torch.zeros(1, PICTURES, *GRID, dtype=torch.long)
    for picture in range(PICTURES):
        ids[0, picture, :2, picture:4] = CHAIR
        ids[0, picture, 3, picture : picture + 2] = LAMP
    return ids


def tokens_of(picture: int, label: int) -> Tensor:
    return chair_and_lamp()[0, picture].flatten() == label


def states(dtype: torch.dtype = torch.float32, sets: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = (sets * PICTURES, TOKENS, CHANNELS), (sets * PICTURES, TEXTS, CHANNELS)
    pictures, texts = (torch.randn(*shape, generator=generator, dtype=dtype) for shape in shapes)
    return pictures, texts


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("mode", ["foreground", "same-object"])
def test_without_objects_nothing_is_shared(layer: Layer, dtype: torch.dtype, mode: Any) -> None:
    pictures, texts = states(dtype)
    nothing = ViewSets(torch.zeros_like(chair_and_lamp()), GRID, mode)
    for shared, stock in zip(layer(pictures, texts, nothing), layer(pictures, texts), strict=True):
        torch.testing.assert_close(shared, stock, atol=CLOSE[dtype], rtol=0)


@pytest.mark.parametrize("positions", [None, torch.zeros(1, PICTURES, *GRID, 3)], ids=["gathered", "masked"])
def test_foreground_is_seen_by_all_and_background_by_nobody_else(layer: Layer, positions: Tensor | None) -> None:
    pictures, texts = states()
    views = ViewSets(chair_and_lamp(), GRID, positions=positions)
    before, _ = layer(pictures, texts, views)
    behind, _ = layer(with_noise(pictures, 1, tokens_of(1, 0)), texts, views)
    assert torch.equal(behind[[0, 2]], before[[0, 2]])
    assert not torch.equal(behind[1], before[1])
    chair, _ = layer(with_noise(pictures, 1, tokens_of(1, CHAIR)), texts, views)
    for picture in (0, 2):
        assert ((chair[picture] - before[picture]).abs().amax(dim=-1) > 1e-6).all(), "background looks at it too"


def test_an_object_is_seen_by_itself_alone(layer: Layer) -> None:
    pictures, texts = states()
    views = ViewSets(chair_and_lamp(), GRID, "same-object")
    before, _ = layer(pictures, texts, views)
    moved, _ = layer(with_noise(pictures, 1, ~tokens_of(1, CHAIR)), texts, views)
    for picture in (0, 2):
        chair = tokens_of(picture, CHAIR)
        assert torch.equal(moved[picture, chair], before[picture, chair])
        assert torch.equal(moved[picture, tokens_of(picture, 0)], before[picture, tokens_of(picture, 0)])
        lamp = tokens_of(picture, LAMP)
        assert ((moved[picture, lamp] - before[picture, lamp]).abs().amax(dim=-1) > 1e-6).all()


def test_the_scene_may_see_the_scene(layer: Layer) -> None:
    pictures, texts = states()
    views = ViewSets(chair_and_lamp(), GRID, "same-object+scene")
    before, _ = layer(pictures, texts, views)
    moved, _ = layer(with_noise(pictures, 1, tokens_of(1, 0)), texts, views)
    scene = tokens_of(0, 0)
    assert ((moved[0, scene] - before[0, scene]).abs().amax(dim=-1) > 1e-6).all()
    assert torch.equal(moved[0, ~scene], before[0, ~scene])


@pytest.mark.parametrize("mode", ["foreground", "same-object"])
def test_captions_see_their_own_picture_and_are_seen_by_it_alone(layer: Layer, mode: Any) -> None:
    pictures, texts = states()
    views = ViewSets(chair_and_lamp(), GRID, mode)
    before, words_before = layer(pictures, texts, views)
    other_words = texts.clone()
    other_words[1] += 1
    after, _ = layer(pictures, other_words, views)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.equal(after[1], before[1])
    _, words = layer(with_noise(pictures, 1, torch.ones(TOKENS, dtype=torch.bool)), texts, views)
    assert torch.equal(words[[0, 2]], words_before[[0, 2]])


def test_gathered_keys_are_masked_keys(layer: Layer) -> None:
    pictures, texts = states(sets=2)
    no_pull = torch.zeros(1, PICTURES, *GRID, 3)
    gathered, masked = ViewSets(chair_and_lamp(), GRID), ViewSets(chair_and_lamp(), GRID, positions=no_pull)
    assert masked.needs_mask and not gathered.needs_mask
    for one, other in zip(layer(pictures, texts, gathered), layer(pictures, texts, masked), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["foreground", "same-object"])
def test_a_batch_may_repeat_the_sets(layer: Layer, mode: Any) -> None:
    pictures, texts = states(sets=2)
    views = ViewSets(chair_and_lamp(), GRID, mode)
    both, _ = layer(pictures, texts, views)
    for part in (slice(None, PICTURES), slice(PICTURES, None)):
        torch.testing.assert_close(both[part], layer(pictures[part], texts[part], views)[0], atol=1e-5, rtol=0)


def test_sets_of_a_batch_do_not_see_each_other(layer: Layer) -> None:
    pictures, texts = states(sets=2)
    views = ViewSets(chair_and_lamp().repeat(2, 1, 1, 1), GRID)
    before, _ = layer(pictures, texts, views)
    after, _ = layer(with_noise(pictures, 4, tokens_of(1, CHAIR)), texts, views)
    assert torch.equal(after[:PICTURES], before[:PICTURES])
    assert not torch.equal(after[3], before[3])


def test_positions_draw_attention_to_what_is_near(layer: Layer) -> None:
    pictures, texts = states()
    far = torch.zeros(1, PICTURES, *GRID, 3)
    far[0, 1, :, 2:] = 1e3  # half a million off the logit, whose exponential is 0
    everything = torch.ones_like(chair_and_lamp())
    views = ViewSets(everything, GRID, positions=far)
    before, _ = layer(pictures, texts, views)
    away = (far[0, 1, ..., 0] > 0).flatten()
    assert torch.equal(layer(with_noise(pictures, 1, away), texts, views)[0][0], before[0])
    assert not torch.equal(layer(with_noise(pictures, 1, ~away), texts, views)[0][0], before[0])


def test_what_flux_sees_of_the_others_lies_below() -> None:
    """Two pictures under each other on one canvas, seen from the upper one, are one picture of twice the height."""
    layer = flux(1, 0)
    layer.denoiser.to(torch.float64)
    pictures, texts = states(torch.float64)
    both = ViewSets(torch.ones(1, 2, *GRID, dtype=torch.long), GRID)
    shared, _ = layer(pictures[:2], texts[:2], both)
    block = layer.denoiser.transformer_blocks[0]
    rotary = layer.denoiser.pos_embed(torch.cat([torch.zeros(TEXTS, 3), rotary_positions(2 * GRID[0], GRID[1])]))
    with torch.no_grad():
        canvas = torch.cat([pictures[:1], pictures[1:2]], dim=1)
        _, tall = block(canvas, texts[:1], torch.ones(1, CHANNELS).to(texts), rotary)
    # the upper half's image queries see own text, own picture and the lower half, as on the canvas
    torch.testing.assert_close(shared[0], tall[0, :TOKENS], atol=1e-6, rtol=0)


def with_noise(pictures: Tensor, which: int, tokens: Tensor) -> Tensor:
    """Pictures of which one has other tokens."""
    other = pictures.clone()
    other[which, tokens] += torch.randn(
        int(tokens.sum()), CHANNELS, generator=torch.Generator().manual_seed(2), dtype=other.dtype
    )
    return other


# ---- whole models and pipelines --------------------------------------------------------------------------------------


def views_of(family: Family, pictures: int, label: int = 1, **more: Any) -> ViewSets:
    """The left half of every picture shows an object."""
    ids = torch.zeros(1, pictures, PIXELS, PIXELS, dtype=torch.long, device=DEVICE)
    ids[..., : PIXELS // 2] = label
    side = PIXELS // family.pixels_per_token
    return ViewSets(ids, (side, side), **more)


def predicted(family: Family, noisy: Tensor) -> Tensor:
    level = torch.full((len(noisy),), 500) if family.axis.discrete else torch.full((len(noisy),), 0.5)
    texts = family.encode_prompts(["a red chair", "the blue lamp"][: len(noisy)])
    return family.predict(noisy, level, texts, Conditions.from_size(len(noisy), PIXELS, PIXELS))


def noise(family: Family, pictures: int = 2) -> Tensor:
    channels, side = family.pipeline.vae.config.latent_channels, PIXELS // family.pixels_per_latent
    return torch.randn(pictures, channels, side, side, generator=torch.Generator().manual_seed(3)).to(DEVICE)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_objects_is_the_stock_model(pipeline: Make, kind: str, dtype: torch.dtype) -> None:
    family = load(pipeline(kind))
    family.module.to(dtype)
    family.dtype = dtype
    raw: list[Tensor] = []
    family.module.register_forward_hook(lambda module, given, answer: raw.append(answer[0]))
    with torch.no_grad():
        predicted(family, noise(family))
        for label in (0, 1):
            with share_attention(family.module, views_of(family, 2, label)):
                predicted(family, noise(family))
    torch.testing.assert_close(raw[1], raw[0], atol=CLOSE[dtype], rtol=0)
    assert (raw[2] - raw[0]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_learn_through_it(pipeline: Make, kind: str) -> None:
    family = load(pipeline(kind))
    add_lora(family, rank=2, alpha=2)
    for name, parameter in family.module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    noisy = noise(family).requires_grad_()

    def gradients() -> list[Tensor]:
        noisy.grad = None
        family.module.zero_grad()
        with share_attention(family.module, views_of(family, 2)):
            predicted(family, noisy)[0].square().sum().backward()
        assert noisy.grad is not None
        return [noisy.grad, *(each.grad for each in family.module.parameters() if each.grad is not None)]

    plain = gradients()
    assert plain[0][1].abs().max() > 0, "the first picture's loss reaches what it sees of the second"
    adapters = {name: each.grad for name, each in family.module.named_parameters() if "lora" in name}
    assert all(grad is not None and grad.abs().max() > 0 for name, grad in adapters.items() if ".to_k." in name)
    family.module.enable_gradient_checkpointing()
    family.module.train()
    for one, other in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", ["foreground", "same-object"])
@pytest.mark.parametrize("kind", [*KINDS, "flux_schnell"])
def test_pipelines_run_with_it(pipeline: Make, kind: str, mode: Any) -> None:
    family = load(pipeline(kind))
    options = {"height": PIXELS, "width": PIXELS, "num_inference_steps": 2, "output_type": "latent"}

    def pictures() -> Tensor:
        generators = [torch.Generator().manual_seed(number) for number in (0, 1)]
        prompts = ["a red chair", "the blue lamp"]
        return family.pipeline(prompts, generator=generators, **options, **family.build_sampling_options(2.0)).images  # type: ignore[no-any-return]

    stock = pictures()
    with share_attention(family.module, views_of(family, 2, label=0, mode=mode)):
        torch.testing.assert_close(pictures(), stock, atol=1e-4, rtol=1e-4)
    with share_attention(family.module, views_of(family, 2, mode=mode)):
        shared = pictures()
    assert shared.isfinite().all()
    assert (shared - stock).abs().max() > 1e-3
    assert torch.equal(pictures(), stock)


def test_flux_with_a_control_picture_runs_with_it(pipeline: Make) -> None:
    plain = load(pipeline("flux")).pipeline.components
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=128, out_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    ).to(DEVICE)  # fmt: skip
    parts = "scheduler", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"
    control = diffusers.FluxControlPipeline(**{name: plain[name] for name in parts}, transformer=transformer)
    control.set_progress_bar_config(disable=True)
    ids = torch.ones(1, 2, PIXELS, PIXELS, dtype=torch.long, device=DEVICE)
    side = PIXELS // 4

    def pictures() -> Any:
        return control(
            ["a red chair"] * 2, control_image=torch.zeros(2, 3, PIXELS, PIXELS), height=PIXELS, width=PIXELS,
            num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="latent",
        ).images  # fmt: skip

    stock = pictures()
    with share_attention(transformer, ViewSets(ids, (side, side))):
        assert (pictures() - stock).abs().max() > 1e-3


# ---- what tokens stand for -------------------------------------------------------------------------------------------


def test_a_token_shows_what_fills_half_of_it() -> None:
    ids = torch.zeros(1, 4, 4, dtype=torch.long)
    ids[0, :2, :1] = CHAIR  # half of the first token
    ids[0, 0, 2] = LAMP  # a quarter of the second
    ids[0, 2:, :2] = CHAIR
    ids[0, 3, 1] = LAMP  # a quarter of the third; the chair has the rest
    assert label_tokens(ids, (2, 2)).tolist() == [[[CHAIR, 0], [CHAIR, 0]]]
    assert label_tokens(ids, (2, 2), share=0.0).tolist() == [[[CHAIR, LAMP], [CHAIR, 0]]]


def test_coarser_layers_see_pooled_objects() -> None:
    ids = torch.zeros(1, 2, 20, 12, dtype=torch.long)
    ids[0, 1, :8, :4] = CHAIR
    views = ViewSets(ids, (5, 3))
    assert views.find_visible_tokens(15)[0][0].tolist() == [0, 3]
    assert views.find_visible_tokens(6)[0][0].tolist() == [0]  # of 3 x 2
    with pytest.raises(BlendsetError, match="has 7 tokens, which no halving of a grid of 5 x 3 gives; give the grid"):
        views.find_visible_tokens(7)


# ---- in and out ------------------------------------------------------------------------------------------------------


def test_the_stock_processors_come_back_whatever_happens() -> None:
    layer = unet()
    stock = dict(layer.denoiser.attn_processors)
    views = ViewSets(chair_and_lamp(), GRID)
    with pytest.raises(KeyboardInterrupt), share_attention(layer.denoiser, views):
        kinds = {name.split(".")[-2]: type(each) for name, each in layer.denoiser.attn_processors.items()}
        assert kinds["attn1"] is SharedAttnProcessor and kinds["attn2"] is not SharedAttnProcessor
        raise KeyboardInterrupt
    assert layer.denoiser.attn_processors == stock


def test_what_cannot_be_is_one_sentence() -> None:
    views = ViewSets(chair_and_lamp(), GRID)
    with (
        pytest.raises(BlendsetError, match="A Linear cannot share attention; give one of FluxTransformer2DModel, SD3"),
        share_attention(torch.nn.Linear(1, 1), views),
    ):
        pass
    layer = flux(1, 1)
    pictures, texts = states()
    with pytest.raises(BlendsetError, match="given 2 pictures, which are not 1 sets of 3, nor several times that"):
        layer(pictures[:2], texts[:2], views)
    with (
        share_attention(layer.denoiser, views),
        pytest.raises(BlendsetError, match="done by SharedAttnProcessor already, which sharing would displace"),
    ):
        layer(pictures, texts, views)
    adapter = FluxIPAdapterAttnProcessor(CHANNELS, CHANNELS)
    layer.denoiser.transformer_blocks[0].attn.set_processor(adapter)
    with pytest.raises(BlendsetError, match="done by FluxIPAdapterAttnProcessor already"):
        layer(pictures, texts, views)


@pytest.mark.parametrize("backend", ["flash_varlen", "sage_varlen", "flash", "_native_flash"])
def test_backends_that_would_lose_a_mask_are_refused(backend: str) -> None:
    layer = flux(1, 0)
    for module in layer.denoiser.modules():
        if hasattr(module, "processor"):
            module.processor._attention_backend = backend
    pictures, texts = states()
    with pytest.raises(BlendsetError, match=f"backend {backend} takes no mask, which sharing in mode 'same-object'"):
        layer(pictures, texts, ViewSets(chair_and_lamp(), GRID, "same-object"))
    with share_attention(layer.denoiser, ViewSets(chair_and_lamp(), GRID)):
        pass  # gathered keys need none
