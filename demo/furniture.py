# SPDX-License-Identifier: Apache-2.0
"""The pieces of the demonstration room: each function returns the parts of one piece, standing on z = 0 and facing -y.

Sizes are metres and taken from real furniture, so that cameras and lenses behave as they do in an artist's file.
"""

from __future__ import annotations

import math

import bpy

from shapes import (
    Parts,
    Point,
    lathe,
    make_ball,
    make_box,
    make_bulb,
    make_collection,
    make_cord,
    make_instance,
    make_plate,
    make_ring,
    make_rod,
    make_sheet,
    mirror,
    repeat,
)

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def make_sofa() -> Parts:
    width, depth = 2.1, 0.9
    cushion, wool = "rust wool", "rust wool"
    return [
        make_box((width - 0.1, depth - 0.06, 0.2), (0, 0, 0.27), wool, 0.03),
        mirror(make_box((0.17, depth, 0.5), (width / 2 - 0.085, 0, 0.42), wool, 0.06)),
        make_box((width - 0.3, 0.2, 0.66), (0, depth / 2 - 0.1, 0.5), wool, 0.06),
        mirror(make_box((0.865, 0.68, 0.17), (0.4375, -0.1, 0.45), cushion, 0.055)),
        mirror(make_box((0.85, 0.19, 0.42), (0.4375, 0.2, 0.72), cushion, 0.07, (-10, 0, 0))),
        mirror(make_rod((0.9, 0.36, 0.18), (0.94, 0.39, 0), 0.026, "walnut", 0.016), "XY"),
        make_ball((0.23, 0.22, 0.085), (-0.66, 0.0, 0.745), "teal velvet", (68, 6, 12), 0.5),
        make_ball((0.2, 0.19, 0.075), (-0.4, -0.13, 0.7), "cream wool", (62, -8, -10), 0.5),
        make_ball((0.23, 0.22, 0.085), (0.68, 0.0, 0.745), "mustard wool", (68, -6, -14), 0.5),
    ]


def make_armchair() -> Parts:
    frame = "teak"
    return [
        make_box((0.6, 0.62, 0.14), (0, -0.02, 0.4), "mustard wool", 0.05, (-5, 0, 0)),
        make_box((0.58, 0.14, 0.56), (0, 0.3, 0.72), "mustard wool", 0.055, (-16, 0, 0)),
        make_box((0.5, 0.1, 0.16), (0, 0.2, 0.58), "cream wool", 0.045, (-16, 0, 0)),
        mirror(make_rod((0.34, -0.31, 0), (0.34, -0.28, 0.6), 0.016, frame, 0.024)),
        mirror(make_rod((0.34, 0.42, 0), (0.34, 0.3, 0.58), 0.016, frame, 0.024)),
        mirror(make_box((0.065, 0.74, 0.032), (0.34, 0.02, 0.61), frame, 0.012, (-2, 0, 0))),
        mirror(make_rod((0.34, -0.3, 0.31), (0.34, 0.36, 0.29), 0.02, frame)),
        make_rod((-0.34, -0.29, 0.31), (0.34, -0.29, 0.31), 0.02, frame),
        make_rod((-0.34, 0.34, 0.3), (0.34, 0.34, 0.3), 0.02, frame),
        mirror(make_rod((0.29, 0.3, 0.3), (0.29, 0.47, 0.98), 0.02, frame, 0.015)),
    ]


def make_coffee_table() -> Parts:
    legs = [_polar_to_xy(angle, 0.36) for angle in (90, 210, 330)]
    feet = [_polar_to_xy(angle, 0.42) for angle in (90, 210, 330)]
    return [
        lathe([(0, 0.385), (0.42, 0.385), (0.47, 0.41), (0.47, 0.42), (0, 0.42)], (0, 0, 0), "walnut", columns=72),
        lathe([(0, 0.17), (0.3, 0.17), (0.3, 0.19), (0, 0.19)], (0, 0, 0), "walnut", columns=72),
        *[make_rod((*foot, 0), (*leg, 0.39), 0.014, "walnut", 0.025) for leg, foot in zip(legs, feet, strict=True)],
        make_box((0.2, 0.27, 0.02), (-0.05, 0.02, 0.2), "book ivory", 0.003, (0, 0, 24)),
        make_box((0.18, 0.25, 0.018), (-0.05, 0.02, 0.219), "book blue", 0.003, (0, 0, 12)),
    ]


def _polar_to_xy(degrees: float, radius: float) -> tuple[float, float]:
    return radius * math.cos(math.radians(degrees)), radius * math.sin(math.radians(degrees))


def make_side_table() -> Parts:
    return [
        lathe(
            [(0, 0.5), (0.23, 0.5), (0.24, 0.51), (0.24, 0.535), (0.225, 0.535), (0.225, 0.515), (0, 0.515)],
            (0, 0, 0),
            "bottle green enamel",
        ),
        make_rod((0, 0, 0.02), (0, 0, 0.5), 0.016, "brass"),
        lathe([(0, 0), (0.16, 0), (0.16, 0.012), (0.03, 0.022), (0, 0.022)], (0, 0, 0), "brass"),
    ]


def make_rug(length: float, width: float) -> Parts:
    fringe = repeat(
        make_rod(
            (length / 2, -width / 2 + 0.02, 0.006),
            (length / 2 + 0.07, -width / 2 + 0.02, 0.004),
            0.004,
            "cream wool",
            0.006,
        ),
        int(width / 0.03),
        (0, 0.03, 0),
    )
    return [make_box((length, width, 0.012), (0, 0, 0.006), "rug", 0.004), mirror(fringe)]


def make_floor_lamp() -> Parts:
    feet = [_polar_to_xy(angle, 0.3) for angle in (30, 150, 270)]
    return [
        *[make_rod((*foot, 0), (foot[0] * 0.06, foot[1] * 0.06, 1.3), 0.016, "ash", 0.02) for foot in feet],
        lathe([(0, 1.27), (0.045, 1.27), (0.045, 1.32), (0.012, 1.33), (0.012, 1.45), (0, 1.45)], (0, 0, 0), "brass"),
        lathe([(0.24, 1.36), (0.15, 1.72)], (0, 0, 0), "paper shade"),
        make_ring(0.24, 0.004, (0, 0, 1.36), "brass"),
        make_ring(0.15, 0.004, (0, 0, 1.72), "brass"),
        mirror(make_rod((0.012, 0, 1.44), (0.19, 0, 1.6), 0.004, "brass")),
        make_cord(
            [
                (0, 0, 1.27),
                (0.02, 0.1, 0.6),
                (0, 0.14, 0.02),
                (0.1, 0.2, 0.006),
                (0.3, 0.24, 0.006),
                (0.42, 0.33, 0.05),
                (0.42, 0.345, 0.3),
            ],
            0.005,
            "black metal",
        ),
        *make_bulb((0, 0, 1.52), 38, 0.035),
    ]


def make_table_lamp() -> Parts:
    base = [
        (0, 0),
        (0.075, 0),
        (0.08, 0.01),
        (0.12, 0.07),
        (0.13, 0.12),
        (0.11, 0.18),
        (0.05, 0.24),
        (0.03, 0.26),
        (0, 0.26),
    ]
    return [
        lathe(base, (0, 0, 0), "celadon glaze"),
        make_rod((0, 0, 0.25), (0, 0, 0.36), 0.01, "brass"),
        lathe([(0.185, 0.3), (0.115, 0.53)], (0, 0, 0), "paper shade"),
        mirror(make_rod((0.008, 0, 0.35), (0.16, 0, 0.38), 0.003, "brass")),
        make_cord(
            [(0, 0.08, 0.02), (0.02, 0.15, 0.006), (0.1, 0.17, 0.006), (0.22, 0.19, 0.006)], 0.004, "black metal"
        ),
        *make_bulb((0, 0, 0.4), 14, 0.028),
    ]


def make_pendant_lamp(drop: float) -> Parts:
    """Hangs from z = 0, the ceiling, with its rim `drop` below."""
    dome = [(0.28, 0), (0.275, 0.03), (0.23, 0.14), (0.14, 0.21), (0.05, 0.235), (0.035, 0.26)]
    lining = [(0.985 * radius, height - 0.004) for radius, height in dome[:5]]
    return [
        lathe(dome, (0, 0, -drop), "bottle green enamel"),
        lathe(lining, (0, 0, -drop), "white lacquer"),
        lathe([(0, 0.23), (0.04, 0.23), (0.036, 0.3), (0.012, 0.32), (0, 0.32)], (0, 0, -drop), "brass"),
        make_cord([(0, 0, 0.31 - drop), (0, 0, -drop / 2), (0, 0, 0)], 0.005, "black metal"),
        lathe([(0, -0.03), (0.05, -0.025), (0.06, 0), (0, 0)], (0, 0, 0), "brass"),
        *make_bulb((0, 0, 0.13 - drop), 30, 0.04),
    ]


def make_bookshelf(books: list[bpy.types.Collection]) -> Parts:
    width, depth, height, levels = 1.0, 0.32, 1.95, 5
    gap = (height - 0.12) / levels
    board = make_box((width - 0.04, depth - 0.02, 0.024), (0, 0, 0.1), "ash", 0.003)
    return [
        mirror(make_box((0.028, depth, height), (width / 2 - 0.014, 0, height / 2), "ash", 0.004)),
        repeat(board, levels + 1, (0, 0, gap)),
        make_box((width - 0.05, 0.012, height - 0.1), (0, depth / 2 - 0.01, height / 2 + 0.03), "ash", 0.002),
        *_make_books(books, width, [0.112 + level * gap for level in range(levels)]),
        lathe(
            [(0, 0), (0.05, 0), (0.085, 0.06), (0.08, 0.14), (0.035, 0.2), (0.045, 0.23), (0.04, 0.23), (0, 0.2)],
            (0.26, -0.02, 0.112 + 3 * gap),
            "cobalt glaze",
        ),
        make_ball((0.07, 0.07, 0.07), (-0.3, -0.02, 0.182 + 2 * gap), "brass"),
        make_box((0.2, 0.16, 0.16), (0.3, -0.02, 0.192 + gap), "wicker", 0.02),
    ]


# Which books stand on each shelf, by index, and where along it the row begins.
BOOK_ROWS = (
    ("0123401230412304013", -0.46),
    ("31204130213", -0.46),
    ("2041302413", -0.1),
    ("04132013120", -0.46),
    ("1302", -0.2),
)


def _make_books(books: list[bpy.types.Collection], width: float, shelves: list[float]) -> Parts:
    """Rows of instanced books, each leaning on nothing because the next one stands beside it."""
    placed: Parts = []
    for (row, x), shelf in zip(BOOK_ROWS, shelves, strict=True):
        for design in map(int, row):
            thickness = BOOKS[design][1][0]
            x += thickness / 2
            if x + thickness / 2 < width / 2 - 0.03:
                placed.append(make_instance(books[design], (x, 0.0, shelf)))
            x += thickness / 2 + 0.0015
    return placed


BOOKS = (
    ("book red", (0.034, 0.2, 0.27)),
    ("book blue", (0.046, 0.19, 0.25)),
    ("book ivory", (0.028, 0.18, 0.23)),
    ("book green", (0.04, 0.2, 0.26)),
    ("book ochre", (0.05, 0.17, 0.22)),
)


def make_book_designs() -> list[bpy.types.Collection]:
    """The five books that shelves and stacks instance."""
    return [make_collection("book", _make_book(finish, size)) for finish, size in BOOKS]


def _make_book(finish: str, size: Point) -> Parts:
    width, depth, height = size
    return [
        mirror(make_box((0.003, depth, height), (width / 2 - 0.0015, 0, height / 2), finish, 0.001)),
        make_box((width, 0.004, height), (0, -depth / 2 + 0.002, height / 2), finish, 0.0015),
        make_box((width - 0.005, depth - 0.012, height - 0.01), (0, 0, height / 2), "page", 0.0005),
        make_box((width + 0.001, 0.003, 0.018), (0, -depth / 2 + 0.001, height * 0.72), "brass", 0.0005),
    ]


def make_book_stack(books: list[bpy.types.Collection]) -> Parts:
    """Three books lying on each other, each turned a little."""
    placed: Parts = []
    level = 0.0
    for design, turn in ((4, 8), (1, -10), (0, 20)):
        thickness = BOOKS[design][1][0]
        placed.append(make_instance(books[design], (0.12, 0, level + thickness / 2), turn, (0, -90, 0)))
        level += thickness
    return placed


def make_potted_plant() -> Parts:
    pot = [(0, 0), (0.14, 0), (0.2, 0.3), (0.215, 0.3), (0.215, 0.34), (0.19, 0.34), (0.185, 0.29), (0, 0.29)]
    return [
        lathe(pot, (0, 0, 0), "terracotta"),
        lathe([(0, 0.295), (0.184, 0.295)], (0, 0, 0), "soil"),
        make_cord([(0, 0, 0.28), (0.02, 0.01, 0.6), (-0.02, 0, 1.0), (0, 0, 1.5)], 0.016, "stem"),
        *[_make_leaf(index) for index in range(18)],
    ]


def _make_leaf(index: int) -> bpy.types.Object:
    """One broad leaf on a fiddle-leaf fig, spiralling up the stem by the golden angle."""
    rise = index / 17
    turn, height = index * GOLDEN_ANGLE, 0.62 + 0.9 * rise
    length, width, droop = 0.4 - 0.14 * rise, 0.13 - 0.03 * rise, 0.75 - 0.55 * rise

    def point(u: float, v: float) -> Point:
        out = 0.03 + length * v
        broad = width * math.sin(math.pi * min(1.0, 0.06 + 0.94 * v)) ** 0.7 * (0.75 + 0.5 * v)
        side = (u - 0.5) * 2 * broad
        up = height + 0.35 * out * rise + length * (0.3 * v - droop * v * v) + 0.25 * abs(side)
        return out * math.cos(turn) - side * math.sin(turn), out * math.sin(turn) + side * math.cos(turn), up

    return make_sheet(point, 8, 14, "leaf")


def make_cactus() -> Parts:
    body = [(0, 0.1), (0.05, 0.1), (0.062, 0.16), (0.062, 0.24), (0.045, 0.3), (0.02, 0.325), (0, 0.33)]
    pot = [(0, 0), (0.06, 0), (0.085, 0.11), (0.076, 0.11), (0.072, 0.095), (0, 0.095)]
    return [
        lathe(pot, (0, 0, 0), "ivory glaze"),
        lathe([(0, 0.1), (0.072, 0.1)], (0, 0, 0), "soil"),
        lathe(body, (0, 0, 0), "cactus skin", columns=96, ribs=8, depth=0.2),
        make_cord([(0.05, 0, 0.17), (0.1, 0, 0.17), (0.11, 0, 0.21), (0.11, 0, 0.26)], 0.02, "cactus skin"),
        make_ball((0.02, 0.02, 0.016), (0, 0, 0.335), "pale petal"),
    ]


def make_flower_vase() -> Parts:
    glass = [
        (0, 0),
        (0.045, 0),
        (0.055, 0.012),
        (0.06, 0.1),
        (0.042, 0.17),
        (0.055, 0.22),
        (0.052, 0.22),
        (0.039, 0.17),
        (0.057, 0.1),
        (0.051, 0.016),
        (0, 0.016),
    ]
    parts = [lathe(glass, (0, 0, 0), "glass", columns=64)]
    for index in range(7):
        x, y = _polar_to_xy(math.degrees(index * GOLDEN_ANGLE), 0.05 + 0.018 * index)
        top = 0.42 - 0.02 * index
        parts.append(
            make_cord(
                [(-0.15 * x, -0.15 * y, 0.02), (0.1 * x, 0.1 * y, 0.18), (x * 0.8, y * 0.8, 0.3), (x, y, top)],
                0.0028,
                "stem",
            )
        )
        parts.append(make_ball((0.022, 0.022, 0.034), (x, y, top + 0.02), "petal" if index % 3 else "pale petal"))
        parts.append(
            make_ball((0.016, 0.016, 0.03), (x * 1.03, y * 1.03, top + 0.03), "pale petal" if index % 3 else "petal")
        )
    return parts


def make_wall_mirror() -> Parts:
    """Hangs with its middle at z = 0 and its back on y = 0."""
    disc = [(0, 0), (0.4, 0)]
    return [
        lathe(disc, (0, -0.02, 0), "mirror", columns=96, tilt=(90, 0, 0)),
        make_ring(0.41, 0.02, (0, -0.02, 0), "brass", (90, 0, 0)),
        lathe([(0, 0), (0.4, 0), (0.4, 0.014), (0, 0.014)], (0, -0.002, 0), "black metal", tilt=(90, 0, 0)),
    ]


def make_painting(width: float, height: float) -> Parts:
    """A sun over hills, in flat shapes a millimetre apart; hangs with its middle at z = 0 and its back on y = 0."""
    w, h = width / 2 - 0.06, height / 2 - 0.06
    waves = [(-w + 2 * w * i / 24, math.sin(i / 24 * math.tau)) for i in range(25)]
    far = [(x, -0.1 * h + 0.16 * h * wave) for x, wave in waves]
    near = [(x, -0.5 * h - 0.22 * h * wave) for x, wave in waves]
    sun = [_polar_to_xy(i * 10, 0.44 * h) for i in range(36)]
    return [
        mirror(make_box((0.03, 0.035, height), (width / 2 - 0.015, -0.0175, 0), "walnut", 0.004)),
        mirror(make_box((width - 0.06, 0.035, 0.03), (0, -0.0175, height / 2 - 0.015), "walnut", 0.004), "Z"),
        make_box((width - 0.02, 0.012, height - 0.02), (0, -0.01, 0), "white lacquer", 0.002),
        make_plate([(-w, -h), (w, -h), (w, h), (-w, h)], (0, -0.018, 0), "canvas"),
        make_plate(sun, (0.28 * w, -0.021, 0.34 * h), "paint sun"),
        make_plate([(-w, -h), (w, -h), *reversed(far)], (0, -0.024, 0), "paint dusk"),
        make_plate([(-w, -h), (w, -h), *reversed(near)], (0, -0.027, 0), "paint hill"),
    ]


def make_poster(width: float, height: float) -> Parts:
    """Three arches, one within the other; hangs as the painting does."""
    arches = (("paint hill", 0.4), ("paint dune", 0.29), ("paint sun", 0.17))
    return [
        mirror(make_box((0.02, 0.025, height), (width / 2 - 0.01, -0.0125, 0), "black metal", 0.003)),
        mirror(make_box((width - 0.04, 0.025, 0.02), (0, -0.0125, height / 2 - 0.01), "black metal", 0.003), "Z"),
        make_box((width - 0.02, 0.01, height - 0.02), (0, -0.008, 0), "canvas", 0.002),
        *[
            make_plate(_make_arch(share * width, height), (0, -0.014 - 0.003 * layer, 0), finish)
            for layer, (finish, share) in enumerate(arches)
        ],
    ]


def _make_arch(radius: float, height: float) -> list[tuple[float, float]]:
    return [
        (radius, -0.36 * height),
        *[_polar_to_xy(angle, radius) for angle in range(0, 181, 10)],
        (-radius, -0.36 * height),
    ]


def make_sideboard() -> Parts:
    width, depth = 1.6, 0.44
    door = repeat(make_box((0.5, 0.02, 0.44), (-0.52, -depth / 2 - 0.008, 0.45), "walnut", 0.004), 3, (0.52, 0, 0))
    knob = repeat(make_ball((0.013, 0.013, 0.013), (-0.34, -depth / 2 - 0.03, 0.5), "brass"), 3, (0.52, 0, 0))
    return [
        make_box((width, depth, 0.5), (0, 0, 0.45), "ash", 0.01),
        door,
        knob,
        mirror(make_rod((0.68, 0.15, 0.2), (0.74, 0.18, 0), 0.025, "walnut", 0.014), "XY"),
    ]


def make_record_player() -> Parts:
    return [
        make_box((0.42, 0.34, 0.09), (0, 0, 0.06), "teak", 0.012),
        mirror(make_rod((0.17, 0.13, 0), (0.17, 0.13, 0.02), 0.016, "black metal"), "XY"),
        lathe([(0, 0.105), (0.15, 0.105), (0.15, 0.12), (0, 0.12)], (-0.04, 0, 0), "steel", columns=72),
        lathe([(0, 0.12), (0.145, 0.12), (0.145, 0.123), (0, 0.123)], (-0.04, 0, 0), "vinyl", columns=72),
        lathe([(0, 0.123), (0.048, 0.123), (0.048, 0.1245), (0, 0.1245)], (-0.04, 0, 0), "paint sun"),
        make_rod((0.165, 0.11, 0.105), (0.165, 0.11, 0.15), 0.02, "steel", 0.014),
        make_cord(
            [(0.165, 0.11, 0.145), (0.165, -0.02, 0.15), (0.14, -0.08, 0.145), (0.07, -0.1, 0.128)], 0.005, "steel"
        ),
        make_rod((0.17, -0.13, 0.1), (0.17, -0.13, 0.12), 0.016, "brass"),
    ]


def make_dining_table() -> Parts:
    foot = [
        (0, 0),
        (0.33, 0),
        (0.33, 0.012),
        (0.16, 0.035),
        (0.06, 0.12),
        (0.045, 0.35),
        (0.07, 0.6),
        (0.17, 0.7),
        (0, 0.7),
    ]
    top = [(0, 0.7), (0.5, 0.7), (0.56, 0.722), (0.56, 0.73), (0, 0.73)]
    return [lathe(foot, (0, 0, 0), "white lacquer", columns=72), lathe(top, (0, 0, 0), "ash", columns=96)]


def make_dining_chair() -> Parts:
    """A spindle-back chair: one leg mirrored, one spindle repeated."""
    wood = "black metal"
    spindle = repeat(make_rod((-0.15, 0.19, 0.45), (-0.15, 0.26, 0.82), 0.007, "ash"), 6, (0.06, 0, 0))
    return [
        lathe(
            [(0, 0.43), (0.19, 0.43), (0.22, 0.445), (0.22, 0.46), (0.19, 0.468), (0, 0.462)],
            (0, 0, 0),
            "ash",
            columns=64,
        ),
        mirror(make_rod((0.2, 0.2, 0), (0.14, 0.13, 0.44), 0.013, wood, 0.019), "XY"),
        mirror(make_rod((0.18, -0.175, 0.17), (0.18, 0.175, 0.17), 0.009, wood)),
        mirror(make_rod((0.17, 0.17, 0.45), (0.2, 0.26, 0.84), 0.014, wood, 0.01)),
        spindle,
        make_cord([(-0.23, 0.23, 0.83), (-0.15, 0.275, 0.845), (0.15, 0.275, 0.845), (0.23, 0.23, 0.83)], 0.022, wood),
    ]


def make_fruit_bowl() -> Parts:
    bowl = [(0, 0), (0.07, 0), (0.07, 0.012), (0.13, 0.035), (0.175, 0.09), (0.168, 0.09), (0.124, 0.042), (0, 0.02)]
    fruit = (
        ("orange peel", 0.042, (-0.05, -0.045, 0.068)),
        ("orange peel", 0.042, (0.005, 0.07, 0.072)),
        ("apple skin", 0.04, (0.048, -0.04, 0.067)),
        ("apple skin", 0.04, (-0.083, 0.04, 0.075)),
        ("orange peel", 0.041, (-0.012, 0.012, 0.122)),
    )
    return [
        lathe(bowl, (0, 0, 0), "cobalt glaze", columns=64),
        *[make_ball((radius,) * 3, at, finish) for finish, radius, at in fruit],
        make_ball((0.048, 0.033, 0.033), (0.082, 0.042, 0.07), "lemon peel", (0, 0, 110)),
    ]


def make_teapot() -> Parts:
    body = [(0, 0), (0.06, 0), (0.085, 0.02), (0.1, 0.06), (0.09, 0.1), (0.055, 0.125), (0, 0.127)]
    lid = [(0.056, 0.124), (0.045, 0.138), (0.01, 0.145), (0.01, 0.15), (0.016, 0.158), (0.01, 0.167), (0, 0.168)]
    return [
        lathe(body, (0, 0, 0), "celadon glaze"),
        lathe(lid, (0, 0, 0), "celadon glaze"),
        make_cord([(0.08, 0, 0.045), (0.125, 0, 0.05), (0.135, 0, 0.1), (0.17, 0, 0.125)], 0.014, "celadon glaze"),
        make_cord([(-0.085, 0, 0.095), (-0.15, 0, 0.12), (-0.16, 0, 0.04), (-0.09, 0, 0.04)], 0.009, "teak"),
    ]


def make_mug() -> Parts:
    wall = [(0, 0), (0.036, 0), (0.041, 0.006), (0.041, 0.09), (0.037, 0.09), (0.036, 0.012), (0, 0.012)]
    return [
        lathe(wall, (0, 0, 0), "ivory glaze"),
        lathe([(0, 0.07), (0.037, 0.07)], (0, 0, 0), "soil"),
        make_cord([(0.039, 0, 0.075), (0.075, 0, 0.075), (0.075, 0, 0.025), (0.039, 0, 0.02)], 0.005, "ivory glaze"),
    ]


def make_wall_clock() -> Parts:
    """Hangs with its middle at z = 0 and its back on y = 0; five past ten."""
    ticks = [
        make_box(
            (0.007, 0.004, 0.024),
            (0.145 * math.sin(turn), -0.032, 0.145 * math.cos(turn)),
            "ink",
            0.001,
            (0, math.degrees(turn), 0),
        )
        for turn in (math.tau * hour / 12 for hour in range(12))
    ]
    return [
        lathe([(0, 0), (0.175, 0), (0.175, 0.03), (0, 0.03)], (0, 0, 0), "ivory glaze", columns=72, tilt=(90, 0, 0)),
        make_ring(0.178, 0.014, (0, -0.022, 0), "walnut", (90, 0, 0)),
        *ticks,
        make_rod((0, -0.036, 0), (-0.08, -0.036, 0.05), 0.006, "ink", 0.003),
        make_rod((0, -0.041, 0), (0.065, -0.041, 0.112), 0.004, "ink", 0.002),
        make_ball((0.011, 0.008, 0.011), (0, -0.038, 0), "brass"),
    ]


def make_curtains(opening: float, drop: float) -> Parts:
    """Two gathered lengths on one rod, drawn aside; z = 0 is the rod, x = 0 the middle of the window."""

    def point(u: float, v: float) -> Point:
        fold = math.sin(u * math.tau * 6.5)
        x = opening / 2 - 0.06 + 0.42 * u + 0.02 * v * math.sin(u * 9)
        return x, (0.024 + 0.022 * v) * fold, -0.03 - (drop - 0.05) * v

    half = opening / 2 + 0.42
    return [
        mirror(make_sheet(point, 130, 12, "linen")),
        make_rod((-half, 0, 0), (half, 0, 0), 0.013, "brass"),
        mirror(make_ball((0.026, 0.026, 0.026), (half, 0, 0), "brass")),
        mirror(repeat(make_ring(0.02, 0.003, (opening / 2 - 0.045, 0, -0.008), "brass", (0, 90, 0)), 8, (0.057, 0, 0))),
        mirror(make_rod((half - 0.04, 0, 0), (half - 0.04, 0.09, 0), 0.009, "brass")),
    ]


def make_pouf() -> Parts:
    profile = [
        (0.27 * math.sin(math.pi * step / 24) ** 0.45, 0.19 - 0.19 * math.cos(math.pi * step / 24))
        for step in range(25)
    ]
    return [
        lathe(profile, (0, 0, 0), "plum velvet", columns=160, ribs=10, depth=0.06),
        make_ball((0.03, 0.03, 0.012), (0, 0, 0.378), "brass"),
    ]


def make_yarn_basket() -> Parts:
    wall = [
        (0, 0),
        (0.16, 0),
        (0.185, 0.08),
        (0.2, 0.2),
        (0.195, 0.3),
        (0.183, 0.3),
        (0.185, 0.2),
        (0.165, 0.08),
        (0, 0.02),
    ]
    wool = (
        ("rose wool", (0.06, 0.05, 0.25)),
        ("cream wool", (-0.085, 0.02, 0.24)),
        ("mustard wool", (0.03, -0.09, 0.245)),
    )
    return [
        lathe(wall, (0, 0, 0), "wicker", columns=72),
        make_ring(0.19, 0.012, (0, 0, 0.3), "wicker"),
        *[
            lathe(_make_ball_profile(0.088), at, finish, columns=96, ribs=26, depth=0.035, tilt=(30, 20, 0))
            for finish, at in wool
        ],
        mirror(make_ring(0.045, 0.009, (0.2, 0, 0.31), "teak", (0, 90, 0))),
        make_rod((-0.09, 0.1, 0.2), (-0.19, 0.16, 0.5), 0.005, "steel"),
    ]


def _make_ball_profile(radius: float) -> list[tuple[float, float]]:
    return [(radius * math.sin(math.pi * i / 16), -radius * math.cos(math.pi * i / 16)) for i in range(17)]


def make_desk_globe() -> Parts:
    tilt = math.radians(23)
    arc = [(0.155 * math.sin(a), 0.0, 0.25 + 0.155 * math.cos(a)) for a in (tilt + math.pi * i / 12 for i in range(13))]
    return [
        make_ball((0.14, 0.14, 0.14), (0, 0, 0.25), "globe", (0, 23, 0)),
        make_cord([*arc], 0.007, "brass"),
        lathe(
            [(0, 0), (0.1, 0), (0.1, 0.015), (0.03, 0.03), (0.014, 0.06), (0.014, 0.1), (0, 0.1)], (0, 0, 0), "walnut"
        ),
    ]


def make_telescope() -> Parts:
    feet = [_polar_to_xy(angle, 0.42) for angle in (30, 150, 270)]
    aim = math.radians(24)

    def along(distance: float) -> Point:
        return 0.0, -distance * math.cos(aim), 1.2 + distance * math.sin(aim)

    return [
        *[make_rod((*foot, 0), (foot[0] * 0.1, foot[1] * 0.1, 1.1), 0.012, "teak", 0.018) for foot in feet],
        lathe([(0, 1.05), (0.05, 1.05), (0.05, 1.11), (0.03, 1.15), (0, 1.2)], (0, 0, 0), "black metal"),
        make_rod(along(-0.38), along(0.52), 0.045, "ivory glaze", 0.05),
        make_rod(along(0.5), along(0.62), 0.062, "black metal"),
        make_rod(along(-0.5), along(-0.36), 0.03, "brass"),
        make_rod(along(-0.58), along(-0.5), 0.02, "black metal"),
        *[make_rod(along(mark - 0.015), along(mark + 0.015), 0.0535, "brass") for mark in (-0.2, 0.25)],
    ]


def make_door() -> Parts:
    """A panelled door in its frame, closed; its back on y = 0."""
    return [
        make_box((0.86, 0.04, 2.05), (0, -0.025, 1.03), "bottle green enamel", 0.004),
        mirror(
            repeat(make_box((0.3, 0.014, 0.78), (0.2, -0.046, 0.56), "bottle green enamel", 0.012), 2, (0, 0, 0.92))
        ),
        mirror(make_box((0.09, 0.06, 2.06), (0.475, -0.03, 1.03), "white lacquer", 0.006)),
        make_box((1.04, 0.06, 0.09), (0, -0.03, 2.105), "white lacquer", 0.006),
        make_rod((-0.35, -0.045, 1.02), (-0.35, -0.1, 1.02), 0.012, "brass"),
        make_rod((-0.35, -0.1, 1.02), (-0.23, -0.1, 1.02), 0.011, "brass"),
    ]
