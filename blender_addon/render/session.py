# SPDX-License-Identifier: GPL-3.0-or-later
"""A render session: the scene held still, our camera moved through it, pixels read back.

Everything that would make Cycles synchronise the scene again (passes, lights, objects) is set once, before the first
render.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from blendset.cameras import SENSOR_MM, Camera
from blendset.config import RenderSettings
from blendset.errors import BlendsetError, MemoryShortage
from blendset.exposure import ViewTransform
from blendset.exr import read_exr
from blendset.quality import strip_png_text

from ..compat import OBJECT_INDEX_PASS, USE_SAMPLE_SUBSET_SINCE
from ..scene import devices
from ..scene.layers import list_other_layers, render_only
from ..scene.overrides import Overrides
from ..scene.snapshot import OpenScene
from .formats import EXR, PNG, use_image_format
from .instances import find_object_ids
from .lighting import add_light
from .view_transform import read_image, tabulate_view_transform

CLIP_NEAR, CLIP_FAR = 1e-4, 50.0
"""Clip range of a camera that has none of its own, as shares of the scene's diagonal."""
SAMPLING_PATTERN = "TABULATED_SOBOL"
"""Blue noise, Blender's default, keeps the sample count of the render before it: a view's noise would depend on the
view before."""
OUT_OF_MEMORY = ("out of memory", "out of gpu memory", "cuda_error_out_of_memory", "failed to allocate")


@dataclass(frozen=True, eq=False)
class Pixels:
    """What one render call gave: scene-linear colour (H, W, 3), planar depth (H, W), infinite where there is nothing,
    world normal (H, W, 3), and object ids (H, W), 0 where there is nothing."""

    colour: NDArray[np.float32]
    depth: NDArray[np.float32]
    normal: NDArray[np.float32]
    ids: NDArray[np.uint32]


class RenderSession:
    """A scene that is rendered from many cameras: `start` takes it over, `close` takes every change back.

    `device`, `can_denoise` and `transform` are known once it has started; `lighting` is "scene" until light is added.
    `slot` is this process's number among those that share the machine's devices, and how many those are.
    """

    def __init__(
        self,
        scene: bpy.types.Scene,
        layer: str,
        opened: OpenScene,
        settings: RenderSettings,
        slot: tuple[int, int] = (0, 1),
    ) -> None:
        self.scene, self.layer, self.other_layers = scene, scene.view_layers[layer], list_other_layers(scene, layer)
        self._opened, self._settings, self._slot = opened, settings, slot
        self._overrides = Overrides()
        self._started = False
        self.can_denoise = False
        self.device = ""
        self.lighting = "scene"

    def start(self) -> RenderSession:
        """Take the scene over, unless that is done; raises BlendsetError where no device renders."""
        if self._started:
            return self
        self._folder = Path(tempfile.mkdtemp(prefix="blendset-"))
        self._overrides.call_on_exit(shutil.rmtree, self._folder, True)
        try:
            self._camera = self._overrides.add_camera(self.scene)
            self._override_render_settings()
            self._override_passes()
            self._override_cycles()
            self.transform: ViewTransform = tabulate_view_transform(self.scene, self._folder)
        except BaseException:
            self.close()
            raise
        self._started = True
        return self

    def close(self) -> None:
        """Give the scene back as it was."""
        self._overrides.close()

    def add_light(self, kind: str) -> None:
        """Add "sky", "interior" or "studio" light for the rest of the session."""
        self.start()
        add_light(self.scene, self._opened, kind, self._overrides)
        self.lighting = kind

    # ---- settings, once --------------------------------------------------------------------------------------------

    def _override_render_settings(self) -> None:
        """Switch off whatever would crop, blur, double, stamp or post-process a picture."""
        render, override = self.scene.render, self._overrides.set
        override(render, "engine", "CYCLES")
        for name in dir(render):
            if name.startswith("use_stamp"):
                override(render, name, False)
        for name in (
            "use_border", "use_crop_to_border", "use_multiview", "use_freestyle", "use_motion_blur", "use_compositing",
            "use_sequencer", "film_transparent", "use_render_cache",
        ):  # fmt: skip
            override(render, name, False)
        self._overrides.restore_on_exit(render, "resolution_x", "resolution_y")
        override(render, "resolution_percentage", 100)
        override(render, "pixel_aspect_x", 1.0)
        override(render, "pixel_aspect_y", 1.0)
        override(render, "dither_intensity", 0.0)
        override(render, "use_persistent_data", True)

    def _override_passes(self) -> None:
        layer, override = self.layer, self._overrides.set
        render_only(self.scene, layer.name, self._overrides)
        for name in [name for name in dir(layer) if name.startswith("use_pass_")]:
            override(
                layer, name, name in {"use_pass_combined", "use_pass_z", "use_pass_normal", "use_pass_object_index"}
            )
        override(layer, "pass_alpha_threshold", 0.5)
        override(layer, "samples", 0)
        override(layer.cycles, "denoising_store_passes", False)
        for thing in bpy.data.objects:
            if thing.name_full in self._opened.pass_index_by_name:
                override(thing, "pass_index", self._opened.pass_index_by_name[thing.name_full])

    def _override_cycles(self) -> None:
        cycles, override = self.scene.cycles, self._overrides.set
        chosen = devices.choose_devices(self._settings.device, devices.list_devices(), *self._slot)
        override(cycles, "device", devices.enable_devices(chosen))
        self.device = f"{chosen[0].kind}: {', '.join(device.name for device in chosen)}"
        self._overrides.restore_on_exit(cycles, "samples", "seed", "use_denoising")
        override(cycles, "use_animated_seed", False)
        override(cycles, "use_sample_subset", False, since=USE_SAMPLE_SUBSET_SINCE)
        override(cycles, "use_preview_denoising", False)
        override(cycles, "sampling_pattern", SAMPLING_PATTERN)
        override(cycles, "use_adaptive_sampling", True)
        override(cycles, "adaptive_threshold", 0.02)
        override(cycles, "adaptive_min_samples", 0)
        override(cycles, "time_limit", 0.0)
        override(cycles, "denoising_use_gpu", chosen[0].kind != "CPU")
        try:
            override(cycles, "denoiser", "OPENIMAGEDENOISE")
            self.can_denoise = True
        except TypeError:  # this build has none
            self.can_denoise = False

    # ---- one picture -----------------------------------------------------------------------------------------------

    def render(self, camera: Camera, samples: int, seed: int, denoise: bool) -> Pixels:
        """Path trace one view and read all its passes back; the result stays Blender's for `encode_png`."""
        self._aim_camera(camera)
        cycles = self.scene.cycles
        cycles.samples, cycles.seed = samples, seed
        cycles.use_denoising = denoise and self.can_denoise
        try:
            bpy.ops.render.render(scene=self.scene.name, layer=self.layer.name)
        except RuntimeError as error:
            raise _explain_render_error(error) from error
        path = self._folder / "passes.exr"
        with use_image_format(self.scene, EXR):
            bpy.data.images["Render Result"].save_render(str(path), scene=self.scene)
        return self._sort_passes(camera, read_exr(path))

    def encode_png(self, exposure_ev: float) -> tuple[bytes, NDArray[np.float32]]:
        """The last render as PNG bytes through the scene's view transform, and its values 0..255 (H, W, 3)."""
        view, path = self.scene.view_settings, self._folder / "rgb.png"
        before = view.exposure
        try:
            view.exposure = before + exposure_ev
            with use_image_format(self.scene, PNG):
                bpy.data.images["Render Result"].save_render(str(path), scene=self.scene)
        finally:
            view.exposure = before
        return strip_png_text(path.read_bytes()), 255 * read_image(path)

    def _aim_camera(self, camera: Camera) -> None:
        render, data = self.scene.render, self._camera.data
        render.resolution_x, render.resolution_y = camera.width, camera.height
        data.sensor_fit, data.sensor_width = "AUTO", SENSOR_MM
        data.lens = camera.focal_length_mm
        data.shift_x, data.shift_y = camera.shift
        size = self._opened.snapshot.diagonal or 1.0
        data.clip_start, data.clip_end = camera.clip or (CLIP_NEAR * size, CLIP_FAR * size)
        self._camera.matrix_world = Matrix(camera.world_from_camera.tolist())

    def _sort_passes(self, camera: Camera, planes: dict[str, np.ndarray]) -> Pixels:
        def get_plane(ending: str) -> np.ndarray:
            return next(values for name, values in planes.items() if name.endswith(ending))

        def get_vector(name: str, axes: str) -> np.ndarray:
            return np.stack([get_plane(f".{name}.{axis}") for axis in axes], axis=-1).astype(np.float32)

        depth = get_plane(".Depth.Z").astype(np.float32)
        pass_indices = np.rint(get_plane(f".{OBJECT_INDEX_PASS}.X")).astype(np.int32)
        background = depth >= 1e9
        ids = find_object_ids(self._opened, camera, pass_indices, np.where(background, 0, depth), ~background)
        normal = get_vector("Normal", "XYZ")  # averaged over a pixel's samples: shorter than 1 at edges
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        return Pixels(
            colour=get_vector("Combined", "RGB"),
            depth=np.where(background, np.float32(np.inf), depth),
            normal=np.where(background[..., None], np.float32(0), normal / np.maximum(length, np.float32(1e-6))),
            ids=ids,
        )


def _explain_render_error(error: RuntimeError) -> BlendsetError:
    text = " ".join(str(error).split())
    if any(sign in text.lower() for sign in OUT_OF_MEMORY):
        return MemoryShortage(f"The device ran out of memory ({text}); render smaller, or use --device cpu.")
    return BlendsetError(
        f"Cycles could not render this scene ({text}); open it in Blender and render one picture by hand to see why."
    )
