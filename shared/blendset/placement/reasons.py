# SPDX-License-Identifier: Apache-2.0
"""Why a gate rejected a camera, and why a finished picture failed its last check."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A reason code, as funnels and records spell it; `meaning` explains it in plain words."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Reason:
        """Make a member whose value is the code alone."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    CLEARANCE = "clearance", "something stands too near to the camera"
    TRUNCATED = "truncated", "too much of the subject is outside the frame"
    BLOCKED = "blocked", "at first look, something hides the subject"
    HIDDEN = "hidden", "too little of the subject is in sight"
    INSIDE_SOLID = "inside solid", "the camera is inside an object"
    ONE_SURFACE = "one surface", "one flat surface fills the picture"
    TOO_LITTLE_IN_FRAME = "too little in frame", "the subject is too small in the picture"
    TOO_MUCH_IN_FRAME = "too much in frame", "the subject is too large in the picture"
    NEAR_OCCLUDER = "near occluder", "something near covers too much of the picture"
    OUTDOORS = "outdoors", "seen from outside, and other views are from inside"
    WALL_SIDE = "wall side", "seen from the wall behind it, and other views are not"
    BARE = "bare", "nothing but walls or sky"
    TOO_CLOSE = "too close", "crowded by something near"
    TEXTURE_MISSING = "texture missing", "a material of the subject lacks its image file"
    HIDDEN_IN_PICTURE = "hidden in picture", "the rendered pixels show too little of the subject"
    TOO_LITTLE_IN_PICTURE = "too little in picture", "the rendered subject is too small"
    TOO_MUCH_IN_PICTURE = "too much in picture", "the rendered subject is too large"
    TRUNCATED_IN_PICTURE = "truncated in picture", "the rendered subject is cut off by the frame"
    DARK = "dark", "too dark at any exposure"
    DARK_SUBJECT = "dark subject", "the subject is too dark"
    BLOWN_OUT = "blown out", "too many pixels are plain white"
    FLAT = "flat", "hardly any contrast in the picture"
    FLAT_SUBJECT = "flat subject", "hardly any contrast on the subject"


def explain_reason(code: str) -> str:
    """Return what a code means; "" for a code that this version does not know."""
    return next((reason.meaning for reason in Reason if reason == code), "")
