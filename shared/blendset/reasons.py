# SPDX-License-Identifier: Apache-2.0
"""What reason codes mean: why a gate took a camera, and why a finished picture failed its last check."""

MEANINGS = {
    "clearance": "something stands too near to the camera",
    "truncated": "too much of the subject is outside the frame",
    "blocked": "at first look, something hides the subject",
    "hidden": "too little of the subject is in sight",
    "inside solid": "the camera is inside an object",
    "one surface": "one flat surface fills the picture",
    "too little in frame": "the subject is too small in the picture",
    "too much in frame": "the subject is too large in the picture",
    "near occluder": "something near covers too much of the picture",
    "outdoors": "seen from outside, and other views are from inside",
    "wall side": "seen from the wall behind it, and other views are not",
    "bare": "nothing but walls or sky",
    "too close": "crowded by something near",
    "texture missing": "a material of the subject lacks its image file",
    "hidden in picture": "the rendered pixels show too little of the subject",
    "too little in picture": "the rendered subject is too small",
    "too much in picture": "the rendered subject is too large",
    "truncated in picture": "the rendered subject is cut off by the frame",
    "dark": "too dark at any exposure",
    "dark subject": "the subject is too dark",
    "blown out": "too many pixels are plain white",
    "flat": "hardly any contrast in the picture",
    "flat subject": "hardly any contrast on the subject",
}
"""In plain words, by code."""
