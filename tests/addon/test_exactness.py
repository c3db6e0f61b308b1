# SPDX-License-Identifier: Apache-2.0
"""Pictures agree with their records: what stands at a known place is found there, to half a pixel and a thousandth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from blendset.cameras import Array, Camera
from blendset.records import ViewRecord
from tests.addon import scenes, scenes_instances
from tests.addon.runs import SMALL, Outcome, import_addon, render_dataset, with_options

RADIUS = 0.22
MARKS = {f"Mark {n}": (x, y, z) for n, (x, y, z) in enumerate([
    (-2.0, 0.5, 0.4), (-0.9, -0.6, 1.7), (0.0, 0.8, 0.9), (0.9, -0.4, 0.3), (1.9, 0.2, 2.1), (0.3, 1.4, 2.6),
])}  # fmt: skip
LENSES: dict[str, dict[str, object]] = {
    "plain": {},
    "fitted across": {"sensor_fit": "HORIZONTAL", "sensor_width": 30.0, "sensor_height": 12.0},
    "fitted upright": {"sensor_fit": "VERTICAL", "sensor_width": 40.0, "sensor_height": 24.0},
    "shifted": {"shift_x": 0.12, "shift_y": -0.08},
    "shifted across": {"sensor_fit": "HORIZONTAL", "shift_x": -0.1, "shift_y": 0.1},
    "shifted upright": {"sensor_fit": "VERTICAL", "sensor_height": 26.0, "shift_x": 0.1, "shift_y": 0.15},
}
SHAPES = {"square": (96, 96, 1.0, 1.0), "wide": (160, 90, 1.0, 1.0), "upright": (90, 160, 1.0, 1.0),
          "wide by its pixels": (80, 90, 2.0, 1.0), "upright by its pixels": (90, 80, 1.0, 2.0)}  # fmt: skip
OWN = with_options(
    with_options(SMALL, "cameras", preset="scene-cameras", views=len(LENSES), scene_views=0.0),
    "render",
    resolution=160,
    samples=1,
    denoise=False,
    lighting="scene",
)


def build_balls(path: Path, shape: tuple[int, int, float, float] = (96, 96, 1.0, 1.0)) -> dict[str, Array]:
    """A file with six balls at known places before the stage, and a camera for each lens; returns where Blender says
    that each camera sees them, in shares of the picture from its lower left corner."""
    scenes.tidy(path)
    for name in scenes.STAGE:
        bpy.data.objects[name].location.y += 2.0
    for name, at in MARKS.items():
        scenes._add_thing(name, "ball", at, (0.8, 0.7, 0.2), size=RADIUS / 0.6)
    scene, render = bpy.context.scene, bpy.context.scene.render
    render.resolution_x, render.resolution_y, render.pixel_aspect_x, render.pixel_aspect_y = shape
    bpy.data.objects.remove(scene.camera)
    for turn, (name, settings) in enumerate(LENSES.items()):
        camera = scenes._link(bpy.data.objects.new(name, bpy.data.cameras.new(name)))
        camera.location, camera.scale = (2.0 * turn - 5.0, -9.0, 2.5), (1.5, 1.5, 1.5)
        camera.rotation_euler = (Vector((0.0, 0.5, 1.2)) - camera.location).to_track_quat("-Z", "Y").to_euler()
        camera.rotation_euler.rotate_axis("Z", 0.05 * turn)
        for setting, value in ({"lens": 40.0} | settings).items():
            setattr(camera.data, setting, value)
    bpy.context.view_layer.update()
    image_positions = {
        name: np.array([world_to_camera_view(scene, bpy.data.objects[name], Vector(at)) for at in MARKS.values()])
        for name in LENSES
    }
    scenes._save(path, {})
    return image_positions


def project(view: ViewRecord, points: Array) -> Array:
    """Pixels (N, 2) of world points, by the textbook from the numbers of the record."""
    record = view.camera
    camera_from_world = np.linalg.inv(np.reshape(record.world_from_camera, (4, 4)))
    x, y, z = (points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]).T
    return np.stack([record.cx + record.fx * x / -z, record.cy - record.fy * y / -z], axis=1)


def project_outlines(view: ViewRecord) -> Array:
    """Middles of the outlines of all balls in pixels (N, 2): of near ones farther out than their centres, for the
    outline lies at the angles `off` - `half` to `off` + `half` from the axis of the camera."""
    centres = np.array(list(MARKS.values()))
    camera_from_world = np.linalg.inv(np.reshape(view.camera.world_from_camera, (4, 4)))
    local = centres @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    off = np.arctan2(np.hypot(local[:, 0], local[:, 1]), -local[:, 2])
    half = np.arcsin(RADIUS / np.linalg.norm(local, axis=1))
    farther = (np.tan(off + half) + np.tan(off - half)) / 2 / np.tan(off)
    middle = np.array([view.camera.cx, view.camera.cy])
    return np.asarray(middle + (project(view, centres) - middle) * farther[:, None])


def find_middle(outcome: Outcome, view: ViewRecord, name: str) -> Array | None:
    """The middle of a ball in the id pass, in pixels; None where it is not seen whole."""
    mine = np.isin(outcome.read_passes(view).id, outcome.find_ids(name))
    rows, columns = np.nonzero(mine)
    area = np.pi * (view.camera.fx * RADIUS) ** 2 / np.linalg.norm(get_position(view) - MARKS[name]) ** 2
    edge = mine[0].any() or mine[-1].any() or mine[:, 0].any() or mine[:, -1].any()
    return None if edge or len(rows) < 0.93 * area else np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def compute_positions(outcome: Outcome, view: ViewRecord) -> Array:
    """What depth and camera give: the place (H, W, 3) that each pixel shows; the camera's where there is nothing."""
    depth = outcome.read_passes(view).depth
    return Camera.from_record(view.camera).unproject(np.where(np.isfinite(depth), depth, 0.0))


def get_position(view: ViewRecord) -> Array:
    """Where the camera stood."""
    return np.reshape(view.camera.world_from_camera, (4, 4))[:3, 3]


def iterate_sightings(outcome: Outcome) -> Iterator[tuple[ViewRecord, int, Array]]:
    """Every ball that a view shows whole: the view, the ball's number and where it is found."""
    for view in outcome.views:
        for number, name in enumerate(MARKS):
            if (middle := find_middle(outcome, view, name)) is not None:
                yield view, number, middle


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Views of the balls from Blendset's own cameras."""
    folder = tmp_path_factory.mktemp("placed")
    build_balls(folder / "balls.blend")
    return render_dataset(
        folder / "balls.blend",
        folder / "dataset",
        with_options(with_options(SMALL, "render", resolution=128), "cameras", views=8, scene_views=0.3),
    )


def test_known_points_are_found_where_placed_cameras_say(placed: Outcome) -> None:
    sightings = list(iterate_sightings(placed))
    assert len(sightings) >= 4
    for view, number, middle in sightings:
        assert np.linalg.norm(middle - project_outlines(view)[number]) < 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_the_artists_cameras_are_kept_with_their_framing(tmp_path: Path, shape: str) -> None:
    """The id pass, the record and Blender's own projection of the artist's camera agree on every ball."""
    path = tmp_path / "balls.blend"
    blender_says = build_balls(path, SHAPES[shape])
    outcome = render_dataset(path, tmp_path / "dataset", OWN)
    assert len(outcome.views) == len(LENSES)
    cameras = {tuple(get_position(view).round(3)): view for view in outcome.views}
    points = np.array(list(MARKS.values()))
    width, height, across, along = SHAPES[shape]
    for turn, name in enumerate(LENSES):
        view = cameras[(2.0 * turn - 5.0, -9.0, 2.5)]
        size = (view.camera.width, view.camera.height)
        assert max(size) == 160 and size[0] / size[1] == pytest.approx(width * across / (height * along), rel=0.01)
        stated = blender_says[name][:, :2] * (1, -1) * size + (0, size[1])
        assert np.abs(project(view, points) - stated).max() < 0.5
    sightings = list(iterate_sightings(outcome))
    assert len(sightings) >= 3 * len(LENSES)
    for view, number, middle in sightings:
        assert np.linalg.norm(middle - project_outlines(view)[number]) < 0.5


def test_depth_and_camera_give_back_the_scene(placed: Outcome) -> None:
    """To a thousandth of its size: every pixel of a ball lies on the ball, every pixel of the floor on the floor."""
    tolerance = 1e-3 * np.linalg.norm(np.ptp(list(MARKS.values()), axis=0))
    for view in placed.views:
        passes = placed.read_passes(view)
        points = compute_positions(placed, view)
        floor = np.isin(passes.id, placed.find_ids("Floor"))
        assert np.abs(points[floor][:, 2]).max(initial=0.0) < tolerance
        for name, at in MARKS.items():
            mine = points[np.isin(passes.id, placed.find_ids(name))]
            away = np.linalg.norm(mine - at, axis=1) - RADIUS
            assert np.abs(away).max(initial=0.0) < tolerance + 0.006 * RADIUS  # an icosphere's faces lie within


def test_nothing_is_infinitely_far_and_has_no_id(placed: Outcome) -> None:
    for view in placed.views:
        passes = placed.read_passes(view)
        assert np.array_equal(np.isinf(passes.depth), passes.id == 0)
        assert not passes.normal[passes.id == 0].any()


def build_trays(path: Path) -> dict[str, Array]:
    """Two trays whose masses of pebbles stand between each other, seen from above; where the pebbles are, by tray."""
    scenes.tidy(path)
    pebble = scenes_instances.add_box("Pebble", (50.0, 0.0, 0.0), size=0.14)
    points: dict[str, Array] = {}
    for name, shift in (("Left Tray", 0.0), ("Right Tray", 0.15)):
        tray = scenes_instances.add_grid(name, 150, 0.3, (shift - 1.5, shift - 2.2, 4.0))
        scenes_instances.scatter(tray, pebble)
        points[name] = np.array([vertex.co for vertex in tray.data.vertices])
    camera = bpy.context.scene.camera
    assert camera is not None
    camera.location, camera.rotation_euler = (0.0, 0.0, 11.0), (0.0, 0.0, 0.0)
    scenes._save(path, {})
    return points


def test_pixels_of_merged_masses_belong_to_what_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both masses are instances of one object, and so have one number in Cycles' index pass."""
    monkeypatch.setattr(import_addon("scene.gathering"), "SMALLEST", 0.1)  # pebbles that are large enough to be hit
    points = build_trays(tmp_path / "trays.blend")
    outcome = render_dataset(tmp_path / "trays.blend", tmp_path / "dataset", with_options(OWN, "cameras", views=1))
    (view,) = outcome.views
    mass = {entry.instance_of: entry for entry in outcome.scene.objects if entry.instance_of in points}
    assert mass.keys() == points.keys()
    found = outcome.read_passes(view).id
    for name, places in points.items():
        columns, rows = np.floor(project(view, places + np.array([0.0, 0.0, 0.07]))).astype(int).T
        assert (found[rows, columns] == mass[name].id).all()
    assert np.isin(found, [entry.id for entry in mass.values()]).sum() > 2000


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Views of things that are mirrored and turned inside out."""
    folder = tmp_path_factory.mktemp("turned")
    scenes.negative_and_zero_scale(folder / "turned.blend")
    return render_dataset(folder / "turned.blend", folder / "dataset", with_options(SMALL, "cameras", views=6))


@pytest.mark.parametrize("which", ["placed", "turned"])
def test_normals_face_the_camera(which: str, request: pytest.FixtureRequest) -> None:
    outcome: Outcome = request.getfixturevalue(which)
    for view in outcome.views:
        passes = outcome.read_passes(view)
        towards = get_position(view) - compute_positions(outcome, view)
        hit = passes.id > 0
        assert (np.einsum("nk,nk->n", passes.normal[hit], towards[hit]) > 0).mean() > 0.995


def test_normals_are_the_surfaces_own(placed: Outcome) -> None:
    """Up on the floor; on a ball along its radius, as far as its flat faces allow. At edges Cycles averages them."""
    on_balls = []
    for view in placed.views:
        passes = placed.read_passes(view)
        top = np.abs(compute_positions(placed, view)[..., 2]) < 1e-3
        floor = erode(np.isin(passes.id, placed.find_ids("Floor")) & top)
        assert np.isclose(passes.normal[floor], (0, 0, 1), atol=1e-3).all(axis=1).mean() > 0.99
        for name, at in MARKS.items():
            mine = erode(np.isin(passes.id, placed.find_ids(name)))
            radial = (compute_positions(placed, view)[mine] - at) / RADIUS
            on_balls.append(np.einsum("nk,nk->n", passes.normal[mine], radial))
    assert (np.concatenate(on_balls) > 0.97).mean() > 0.99


def erode(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask whose eight neighbours are in it too."""
    wide = np.pad(mask, 1)
    height, width = mask.shape
    return np.asarray(np.all([wide[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0))


def test_instances_have_their_ids_where_they_stand(tmp_path: Path) -> None:
    """By collection and by geometry nodes, of an object and of a mesh that is in no object."""
    for name in ("collection_instances", "geometry_nodes_instances"):
        path = tmp_path / f"{name}.blend"
        facts = getattr(scenes, name)(path)
        positions = facts.get("instances_at") or [facts["subjects"][each] for each in facts["instances"]]
        positions = [*positions, *facts.get("parts_at", ())]
        config = with_options(with_options(SMALL, "cameras", preset="scene-cameras", views=1), "render", resolution=160)
        outcome = render_dataset(path, tmp_path / name, config)
        (view,) = outcome.views
        passes = outcome.read_passes(view)
        points = compute_positions(outcome, view)
        standing = [each for each in outcome.scene.objects if each.instance_of or each.name == facts.get("parts_of")]
        assert len({each.id for each in standing}) == len(standing)
        for position in positions:
            near = (np.abs(points[..., :2] - position[:2]) < 0.2).all(axis=-1) & (points[..., 2] > 0.05)
            ids = set(np.unique(passes.id[near]).tolist())
            there = {each.id for each in standing if is_over(each.bounds_min, each.bounds_max, position)}
            assert near.sum() > 10 and ids and ids <= there


def is_over(low: tuple[float, ...], high: tuple[float, ...], position: tuple[float, ...]) -> bool:
    """Whether a position lies over the ground that a box covers, give or take a seat's back."""
    return all(low[axis] - 0.3 <= position[axis] <= high[axis] + 0.3 for axis in range(2))
